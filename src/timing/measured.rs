//! The model against what was measured: Linux 6.18 sockets in network namespaces, and a cluster of three
//! hosts with RabbitMQ 3.10.8, oslo.messaging 14.0.3, py-amqp 5.1.1 and cinder 21.3.1.

use super::*;

/// The last byte came up to this long before the cut: the fault is injected 1 s after the call.
const BEFORE_THE_CUT: f64 = 1.0;

/// Bounds the window must have, exactly: best and worst.
type Times = (Option<f64>, Option<f64>);

fn connection(heartbeat: u32, listener_keepalive: bool, keepalive: (u32, u32, u32)) -> Connection {
    let (time, intvl, probes) = keepalive;
    Connection {
        heartbeat,
        listener_keepalive,
        keepalive: Keepalive { time, intvl, probes },
        retries2: 15,
        user_timeout: None,
        armed: None,
        blocked: false,
        rpc_response_timeout: Some(60.0),
        // py-amqp 5.1.1 with the heartbeat_rate of oslo.messaging 14.0.3.
        client: Client { heartbeat_rate: 2, ..Client::current(heartbeat) },
    }
}

const LISTENER_ON: bool = true;
const LISTENER_OFF: bool = false;
const DEFAULT: (u32, u32, u32) = (7200, 75, 9);

#[test]
fn the_rules_of_thumb() {
    fn check(what: &str, span: Span, expected: Times, by: Decider) {
        let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 0.051,
            (a, b) => a == b,
        };
        assert!(close(span.best, expected.0) && close(span.worst, expected.1), "{what}: {span:?}");
        assert_eq!(span.decided_by, by, "{what}");
    }
    use Decider::{Heartbeat, Keepalive, Nothing, Retries2, UserTimeout};
    let off = connection(60, LISTENER_OFF, DEFAULT);
    check("T = 60", window(&off).idle, (Some(120.0), Some(180.0)), Heartbeat);
    check("T = 60, reply", window(&off).in_flight, (Some(120.0), Some(180.0)), Heartbeat);
    let t15 = connection(15, LISTENER_OFF, DEFAULT);
    check("T = 15", window(&t15).idle, (Some(30.0), Some(45.0)), Heartbeat);
    let t10 = connection(10, LISTENER_OFF, DEFAULT);
    check("T = 10", window(&t10).idle, (Some(20.0), Some(30.0)), Heartbeat);

    let incident = connection(0, LISTENER_ON, (60, 5, 2));
    check("T = 0, idle", window(&incident).idle, (Some(70.0), Some(78.75)), Keepalive);
    check("T = 0, reply", window(&incident).in_flight, (Some(924.6), Some(1138.65)), Retries2);
    let unset = connection(0, LISTENER_OFF, (60, 5, 2));
    check("keepalive unset, idle", window(&unset).idle, (None, None), Nothing);
    check("keepalive unset, reply", window(&unset).in_flight, (Some(924.6), None), Nothing);
    check("keepalive unset, reply at once", unset.notices(Some(0.0)), (Some(924.6), Some(1059.9)), Retries2);

    let limited = Connection { user_timeout: Some(10.0), ..incident };
    check("TCP_USER_TIMEOUT, idle", window(&limited).idle, (Some(65.0), Some(73.125)), Keepalive);
    check("TCP_USER_TIMEOUT, reply", limited.notices(Some(0.0)), (Some(10.0), Some(22.2)), UserTimeout);

    // The alarm pauses the receiver only: the broker's own heartbeats still go out, within T.
    let blocked = Connection { blocked: true, ..off };
    check("blocked", window(&blocked).idle, (Some(924.6), Some(1119.9)), Retries2);
    let nothing = Connection { blocked: true, ..unset };
    check("blocked, T = 0", window(&nothing).idle, (None, None), Nothing);

    // TripleO's 10 s fires only if the broker sends nothing meanwhile; the rest wait for 3T.
    let tripleo = connection(60, LISTENER_ON, (5, 1, 5));
    check("5/1/5 beside T = 60", window(&tripleo).idle, (Some(10.0), Some(180.0)), Heartbeat);
    // With a short tcp_retries2 those end soon as well.
    let both = Connection { retries2: 5, ..tripleo };
    check("5/1/5 and retries2 = 5", window(&both).idle, (Some(10.0), Some(39.0)), Retries2);
}

#[test]
fn retransmission_is_reckoned_as_the_kernel_does() {
    fn check(retries2: u32, lower: f64) {
        let bound = retries2_bound(retries2);
        assert!((bound.lower - lower).abs() < 1e-9, "{retries2}: {bound:?}");
        assert!(bound.upper > lower && bound.upper < 2.5 * lower + 1.0, "{retries2}: {bound:?}");
    }
    check(3, 3.0);
    check(5, 12.6);
    check(6, 25.4);
    check(7, 51.0);
    check(8, 102.2);
    check(10, 324.6);
    check(15, 924.6);
}

#[test]
fn heartbeats_are_negotiated() {
    fn check(client: u32, broker: u32, expected: u32) {
        assert_eq!(negotiated_heartbeat(client, broker), expected);
    }
    check(60, 640, 60);
    check(60, 5, 5);
    check(60, 0, 60);
    check(0, 60, 0);
    check(0, 0, 0);
}

/// Sockets alone: keepalive, `tcp_retries2`, `TCP_USER_TIMEOUT`, when data is first sent after the drop,
/// and after how many seconds the socket died (`None`: not within 20 s). The last acknowledgement came
/// about 0.3 s before the drop.
#[test]
fn every_measured_socket_lies_in_its_window() {
    fn check(
        row: &str,
        listener: bool,
        keepalive: (u32, u32, u32),
        retries2: u32,
        user_timeout: Option<f64>,
        data: Option<f64>,
        died: Option<f64>,
    ) {
        let socket = Connection { retries2, user_timeout, ..connection(0, listener, keepalive) };
        contains(row, socket.notices(data.map(|at| at + 0.3)), died.map(|died| (died + 0.3, 0.1)), 20.0);
    }
    let on = LISTENER_ON;
    check("1", on, (3, 1, 3), 15, None, None, Some(5.8));
    check("8", LISTENER_OFF, (3, 1, 3), 15, None, None, None);
    check("2", on, (3, 1, 3), 5, None, Some(1.0), Some(14.3));
    check("9", on, (3, 1, 3), 5, None, Some(4.5), Some(17.8));
    check("6", on, (3, 1, 3), 5, None, Some(2.0), Some(15.5));
    check("24", on, (1, 1, 1), 15, None, Some(3.0), Some(1.7));
    check("3", on, (3, 1, 3), 15, Some(12.0), None, Some(12.1));
    check("4", on, (3, 1, 3), 15, Some(4.0), None, Some(3.8));
    check("5", on, (3, 1, 3), 15, Some(5.0), Some(1.0), Some(6.6));
    check("21", on, (6, 1, 9), 15, Some(6.0), None, Some(6.9));
    check("22", on, (6, 1, 9), 15, Some(2.0), None, Some(6.9));
    // The sysctl was lowered to 3 after connecting: the armed timer keeps 15.
    check("7", on, (15, 1, 3), 15, None, None, Some(17.8));
}

/// `measured` is seconds after the last byte and how much earlier it may have been; `None`: not noticed
/// while someone `watched`.
fn contains(row: &str, span: Span, measured: Option<(f64, f64)>, watched: f64) {
    match measured {
        Some((seconds, slack)) => {
            let best = span.best.unwrap_or_else(|| panic!("{row}: never noticed, but was at {seconds}"));
            assert!(best <= seconds + slack, "{row}: {seconds} is before {span:?}");
            let worst = span.worst.unwrap_or(f64::INFINITY);
            assert!(seconds <= worst, "{row}: {seconds} is after {span:?}");
        }
        None => assert!(span.worst.is_none_or(|worst| worst > watched), "{row}: {span:?}"),
    }
}

/// What happened to the call.
#[derive(Clone, Copy, PartialEq)]
enum Call {
    Ok,
    Timeout,
}

/// What the model says about it beforehand.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Forecast {
    Survives,
    MaySurvive,
    Lost,
}

/// When the broker closed a socket.
#[derive(Clone, Copy)]
enum Gone {
    /// Nobody looked.
    NotMeasured,
    /// Not before the caller gave up.
    TooLate,
    /// So many seconds after the cut.
    At(f64),
}

/// A run on the cluster.
struct Run {
    row: &'static str,
    connection: Connection,
    /// Seconds from the start of the call to its reply; the cut comes 1 s after the start.
    replies: f64,
    /// The client got no error from the cut.
    unnoticed: bool,
    /// When the broker closed its idle socket.
    idle_gone: Gone,
    /// When it closed the socket that carried the reply.
    gone: Gone,
    call: Call,
    forecast: Forecast,
}

impl Run {
    fn new(row: &'static str, connection: Connection, replies: f64) -> Self {
        let call = Call::Ok;
        let forecast = Forecast::Survives;
        Self {
            row,
            connection,
            replies,
            unnoticed: false,
            idle_gone: Gone::NotMeasured,
            gone: Gone::NotMeasured,
            call,
            forecast,
        }
    }

    fn retries2(mut self, retries2: u32) -> Self {
        self.connection.retries2 = retries2;
        self
    }

    fn user_timeout(mut self, seconds: f64) -> Self {
        self.connection.user_timeout = Some(seconds);
        self
    }

    fn scaled(mut self) -> Self {
        self.connection.rpc_response_timeout = Some(12.0);
        self
    }

    fn unnoticed(mut self) -> Self {
        self.unnoticed = true;
        self
    }

    fn idle_gone(mut self, seconds: f64) -> Self {
        self.idle_gone = Gone::At(seconds);
        self
    }

    fn gone(mut self, seconds: f64) -> Self {
        self.gone = Gone::At(seconds);
        self
    }

    fn never_gone(mut self) -> Self {
        self.gone = Gone::TooLate;
        self
    }

    fn is(mut self, call: Call, forecast: Forecast) -> Self {
        self.call = call;
        self.forecast = forecast;
        self
    }

    /// Both the times and the outcome.
    fn check(&self) {
        let row = self.row;
        let window = window(&self.connection);
        let delivered = self.replies - 1.0;
        let broker = self.connection.notices(Some(delivered));
        let watched = self.connection.rpc_response_timeout.unwrap();
        for (gone, span) in [(self.idle_gone, window.idle), (self.gone, broker)] {
            match gone {
                Gone::NotMeasured => {}
                Gone::TooLate => contains(row, span, None, watched),
                Gone::At(seconds) => contains(row, span, Some((seconds, BEFORE_THE_CUT)), watched),
            }
        }

        let client =
            if self.unnoticed { window.client_worst } else { self.connection.client.reconnect_delay };
        let deadline = watched - 1.0;
        let forecast = if broker.worst.is_some_and(|worst| worst.max(client) < deadline) {
            Forecast::Survives
        } else if broker.best.is_some_and(|best| best - BEFORE_THE_CUT < deadline) {
            Forecast::MaySurvive
        } else {
            Forecast::Lost
        };
        assert_eq!(forecast, self.forecast, "{row}: {broker:?}, client {client}");
        match self.call {
            Call::Ok => assert_ne!(forecast, Forecast::Lost, "{row}"),
            Call::Timeout => assert_ne!(forecast, Forecast::Survives, "{row}"),
        }

        // The verdict over every moment a reply may be delivered is never better than the one for this.
        let age = if self.unnoticed { window.survivable_age } else { window.survivable_age_noticed };
        if age.reaches(1.0) && age.seconds() != Some(1.0) {
            assert_eq!(forecast, Forecast::Survives, "{row}: {age:?}");
        }
    }
}

#[test]
fn every_measured_incident_lies_in_its_window() {
    use Call::{Ok, Timeout};
    use Forecast::{Lost, MaySurvive, Survives};
    let on = |ka, heartbeat| connection(heartbeat, LISTENER_ON, ka);
    let off = |heartbeat| connection(heartbeat, LISTENER_OFF, DEFAULT);
    let runs = [
        Run::new("r2", on((60, 5, 2), 0), 5.0).idle_gone(69.9).never_gone().is(Timeout, Lost),
        Run::new("r3", on((60, 5, 2), 0), 50.0).idle_gone(70.8).never_gone().is(Timeout, Lost),
        Run::new("r4", on((30, 5, 2), 0), 50.0).idle_gone(40.2).gone(40.2).is(Ok, Survives),
        Run::new("r5", on((30, 5, 2), 0), 5.0).idle_gone(39.9).never_gone().is(Timeout, Lost),
        Run::new("r8", on((30, 5, 2), 0), 5.0).retries2(5).idle_gone(40.9).gone(17.4).is(Ok, Survives),
        Run::new("r1", off(60), 5.0).gone(178.8).is(Timeout, Lost),
        Run::new("r7", off(20), 5.0).gone(59.0).is(Ok, MaySurvive),
        Run::new("r6", off(15), 5.0).gone(43.9).is(Ok, Survives),
        Run::new("e1", on(DEFAULT, 60), 5.0).retries2(5).gone(18.0).is(Ok, Survives),
        Run::new("e2", on(DEFAULT, 60), 28.0).retries2(5).gone(41.0).is(Ok, Survives),
        Run::new("e3", on(DEFAULT, 60), 45.0).retries2(5).gone(43.0).is(Ok, MaySurvive),
        Run::new("r9", on((60, 5, 2), 0), 5.0).user_timeout(10.0).gone(14.6).is(Ok, Survives),
        Run::new("r10", on((60, 5, 2), 0), 50.0).user_timeout(10.0).gone(59.6).is(Timeout, MaySurvive),
        Run::new("e7", on((10, 5, 2), 60), 5.0).user_timeout(15.0).gone(19.5).is(Ok, Survives),
        Run::new("e8", on((10, 5, 2), 60), 28.0).user_timeout(15.0).gone(14.4).is(Ok, Survives),
        Run::new("e9", on((60, 5, 2), 60), 45.0).user_timeout(15.0).gone(44.4).is(Ok, MaySurvive),
        Run::new("e5", on((6, 1, 2), 60), 20.0).gone(7.1).is(Ok, MaySurvive),
        Run::new("e4", on((6, 1, 2), 60), 45.0).gone(7.1).is(Ok, MaySurvive),
        Run::new("e6", on((15, 5, 1), 60), 45.0).gone(19.3).is(Ok, MaySurvive),
        Run::new("f1", on((15, 5, 1), 60), 45.0).never_gone().is(Timeout, MaySurvive),
        Run::new("f2", on(DEFAULT, 15), 5.0).unnoticed().gone(43.9).is(Ok, Survives),
        Run::new("f3", on((10, 5, 2), 60), 5.0)
            .user_timeout(15.0)
            .unnoticed()
            .gone(19.7)
            .is(Timeout, MaySurvive),
    ];
    for run in &runs {
        run.check();
    }
}

#[test]
fn a_client_that_got_no_error_reconnects_within_its_window() {
    fn check(row: &str, connection: Connection, reconnected: Option<f64>, watched: f64) {
        let worst = window(&connection).client_worst;
        match reconnected {
            Some(seconds) => assert!(seconds <= worst, "{row}: {seconds} > {worst}"),
            None => assert!(worst > watched, "{row}: {worst}"),
        }
    }
    check("f2", connection(15, LISTENER_ON, DEFAULT), Some(31.8), 0.0);
    check("f3", connection(60, LISTENER_ON, (10, 5, 2)), None, 62.0);
}

#[test]
fn a_real_cinder_answers_as_forecast() {
    use Call::{Ok, Timeout};
    use Forecast::{Lost, MaySurvive, Survives};
    let on = |ka, heartbeat| connection(heartbeat, LISTENER_ON, ka);
    let runs = [
        Run::new("60/5/2, D = 5", on((60, 5, 2), 60), 5.0).is(Timeout, Lost),
        Run::new("60/5/2, D = 45", on((60, 5, 2), 60), 45.0).is(Timeout, Lost),
        Run::new("30/5/2, D = 45", on((30, 5, 2), 60), 45.0).is(Timeout, MaySurvive),
        Run::new("30/5/2, D = 5", on((30, 5, 2), 60), 5.0).is(Timeout, Lost),
        Run::new("retries2 = 5", on((30, 5, 2), 60), 5.0).retries2(5).is(Ok, Survives),
        Run::new("T = 15", on((60, 5, 2), 15), 5.0).is(Ok, Survives),
    ];
    for run in &runs {
        run.check();
    }
}

#[test]
fn the_same_holds_at_a_fifth_of_the_scale() {
    use Call::{Ok, Timeout};
    use Forecast::{Lost, MaySurvive, Survives};
    let on = |ka| connection(0, LISTENER_ON, ka);
    let hb = |heartbeat| connection(heartbeat, LISTENER_OFF, DEFAULT);
    let runs = [
        Run::new("12/1/2, D = 3", on((12, 1, 2)), 3.0).is(Timeout, Lost),
        Run::new("12/1/2, D = 10", on((12, 1, 2)), 10.0).is(Timeout, Lost),
        Run::new("6/1/2, D = 3", on((6, 1, 2)), 3.0).is(Timeout, Lost),
        Run::new("6/1/2, D = 10", on((6, 1, 2)), 10.0).is(Ok, Survives),
        Run::new("off, D = 10", connection(0, LISTENER_OFF, (6, 1, 2)), 10.0).is(Timeout, Lost),
        Run::new("retries2 = 3", on((6, 1, 2)), 3.0).retries2(3).gone(9.0).is(Ok, Survives),
        Run::new("retries2 = 4", on((6, 1, 2)), 3.0).retries2(4).gone(9.0).is(Ok, MaySurvive),
        Run::new("retries2 = 5", on((6, 1, 2)), 3.0).retries2(5).gone(15.5).is(Timeout, Lost),
        Run::new("T = 2", hb(2), 3.0).gone(5.0).is(Ok, Survives),
        Run::new("T = 3", hb(3), 3.0).gone(7.9).is(Ok, Survives),
        Run::new("T = 4", hb(4), 3.0).gone(11.0).is(Ok, MaySurvive),
    ];
    for run in runs {
        run.scaled().check();
    }
}
