//! Verdicts, strategies and properties of the model.

use proptest::prelude::{
    Just, Strategy as Generator, any, prop, prop_assert, prop_assert_eq, prop_assert_ne, prop_oneof, proptest,
};

use super::{
    Client, Connection, Consumer, Decider, Keepalive, Reach, Setting, Span, Strategy, SurvivableAge, solve,
    window,
};

fn current(heartbeat: u32) -> Connection {
    Connection {
        heartbeat,
        listener_keepalive: false,
        keepalive: Keepalive::KERNEL,
        retries2: 15,
        user_timeout: None,
        armed: None,
        blocked: false,
        rpc_response_timeout: Some(60.0),
        client: Client::current(heartbeat),
    }
}

/// The cluster of the incident: oslo.messaging without heartbeats, keepalive 60/5/2 on both ends.
fn seed_era() -> Connection {
    let keepalive = Keepalive { time: 60, intvl: 5, probes: 2 };
    let client = Client { keepalive, user_timeout: None, heartbeat_rate: 2, ..Client::current(0) };
    Connection { listener_keepalive: true, keepalive, client, ..current(0) }
}

fn one(connection: Connection) -> Vec<Consumer> {
    vec![Consumer { service: "cinder-api".to_owned(), connection }]
}

#[test]
fn both_eras_lose_replies_and_for_different_reasons() {
    fn check(connection: Connection, idle: Decider, in_flight: Decider, client: f64) {
        let window = window(&connection);
        assert_eq!((window.idle.decided_by, window.in_flight.decided_by), (idle, in_flight));
        assert!(!window.survivable_age.reaches(0.0) && !window.survivable_age_noticed.reaches(0.0));
        assert!(window.survivable_age.seconds().unwrap() <= -118.0, "{window:?}");
        assert!((window.client_worst - client).abs() < 0.01, "{window:?}");
    }
    check(seed_era(), Decider::Keepalive, Decider::Retries2, 1060.9);
    check(current(60), Decider::Heartbeat, Decider::Heartbeat, 141.0);
}

/// A timer armed before the sysctl was lowered fires when it was set to, whatever the sysctl says now.
#[test]
fn an_armed_timer_keeps_its_time() {
    fn check(armed: Option<u32>, heartbeat: u32, idle: Option<f64>) {
        let connection = Connection { armed, heartbeat, client: Client::current(heartbeat), ..seed_era() };
        let window = window(&connection);
        assert_eq!(
            (window.idle.best, window.idle.worst),
            (Some(70.0_f64.min(window.idle.best.unwrap())), idle)
        );
    }
    check(None, 0, Some(70.0 * 1.125));
    check(Some(30), 0, Some(70.0 * 1.125));
    check(Some(7190), 0, Some(7200.0 * 1.125));
    // Heartbeats do not wait for it.
    check(Some(7190), 15, Some(45.0));
}

#[test]
fn an_age_says_what_survives() {
    fn check(timeout: Option<f64>, noticed: Option<f64>, wanted: f64, survives: bool, seconds: Option<f64>) {
        let age = SurvivableAge::of(timeout, noticed);
        assert_eq!((age.reaches(wanted), age.seconds()), (survives, seconds), "{age:?}");
    }
    check(Some(60.0), Some(45.0), 15.0, true, Some(15.0));
    check(Some(60.0), Some(45.0), 15.1, false, Some(15.0));
    check(Some(60.0), Some(60.0), 0.0, false, Some(0.0));
    check(Some(60.0), Some(180.0), 0.0, false, Some(-120.0));
    check(None, Some(180.0), 1000.0, true, None);
    check(Some(60.0), None, 0.0, false, None);
    check(None, None, 0.0, false, None);
}

#[test]
fn every_strategy_proposes_the_fewest_edits_it_can() {
    fn check(what: &str, consumers: &[Consumer], strategy: &str, wanted: f64, reach: Reach, edits: &[&str]) {
        let solution = solve(consumers, Strategy::parse(strategy).unwrap(), wanted);
        let actual: Vec<String> = solution.edits.iter().map(ToString::to_string).collect();
        assert_eq!(actual, edits, "{what}: {:?}", solution.windows);
        assert_eq!(solution.reach, reach, "{what}: {:?}", solution.windows);
        assert!(!solution.not_covered.is_empty(), "{what}");
    }
    use Reach::{Missed, Wanted, WhenNoticed, WhileIdle};
    let now = one(current(60));
    check("current", &now, "heartbeat", 15.0, Wanted, &["cinder-api: heartbeat_timeout_threshold 60 -> 15"]);
    check(
        "current, age 5",
        &now,
        "heartbeat",
        5.0,
        Wanted,
        &["cinder-api: heartbeat_timeout_threshold 60 -> 18"],
    );
    check(
        "current, age 45",
        &now,
        "heartbeat",
        45.0,
        Wanted,
        &["cinder-api: heartbeat_timeout_threshold 60 -> 5"],
    );
    check("too much", &now, "heartbeat", 50.0, Missed, &["cinder-api: heartbeat_timeout_threshold 60 -> 5"]);
    check("mended", &one(current(15)), "heartbeat", 15.0, Wanted, &[]);
    let mixed = [one(current(60)), one(current(15))].concat();
    check("mixed", &mixed, "heartbeat", 15.0, Wanted, &["cinder-api: heartbeat_timeout_threshold 60 -> 15"]);
    let heat = Connection { rpc_response_timeout: Some(600.0), ..current(60) };
    check("long timeout", &one(heat), "heartbeat", 15.0, Wanted, &[]);
    let heat = Consumer { service: "heat-engine".to_owned(), connection: heat };
    check(
        "the smallest timeout counts for all",
        &[one(current(60)), vec![heat]].concat(),
        "heartbeat",
        15.0,
        Wanted,
        &[
            "cinder-api: heartbeat_timeout_threshold 60 -> 15",
            "heat-engine: heartbeat_timeout_threshold 60 -> 15",
        ],
    );
    let seed = one(seed_era());
    check("seed", &seed, "heartbeat", 15.0, Wanted, &["cinder-api: heartbeat_timeout_threshold 0 -> 15"]);

    let sysctls = [
        "broker hosts: net.ipv4.tcp_keepalive_time 60 -> 5",
        "broker hosts: net.ipv4.tcp_keepalive_intvl 5 -> 1",
        "broker hosts: net.ipv4.tcp_keepalive_probes 2 -> 5",
    ];
    check("seed", &seed, "keepalive", 15.0, WhileIdle, &sysctls);
    let kernel = [
        "broker hosts: tcp_listen_options.keepalive false -> true",
        "broker hosts: net.ipv4.tcp_keepalive_time 7200 -> 5",
        "broker hosts: net.ipv4.tcp_keepalive_intvl 75 -> 1",
        "broker hosts: net.ipv4.tcp_keepalive_probes 9 -> 5",
    ];
    check("beside heartbeats it decides nothing", &now, "keepalive", 15.0, Missed, &kernel);
    check("mended", &one(current(15)), "keepalive", 15.0, Wanted, &[]);

    let lower = "broker hosts: net.ipv4.tcp_retries2 15 -> 5";
    check("seed", &seed, "retries2", 15.0, WhenNoticed, &[&sysctls[..], &[lower]].concat());
    check("current", &now, "retries2", 15.0, WhenNoticed, &[&kernel[..], &[lower]].concat());
    let patient = one(Connection { rpc_response_timeout: Some(120.0), ..current(60) });
    check(
        "patient",
        &patient,
        "retries2",
        3.0,
        WhenNoticed,
        &["broker hosts: net.ipv4.tcp_retries2 15 -> 6"],
    );
    check("too much", &seed, "retries2", 30.0, WhileIdle, &[&sysctls[..], &[lower]].concat());

    check("current", &now, "rpc_timeout", 15.0, Wanted, &["cinder-api: rpc_response_timeout 60 -> 195"]);
    let deaf = one(Connection { listener_keepalive: false, ..seed_era() });
    check("nothing bounds it", &deaf, "rpc_timeout", 15.0, Missed, &[]);
    check("nobody", &[], "heartbeat", 15.0, Wanted, &[]);
}

#[test]
fn every_strategy_says_what_it_does_not_cover() {
    fn check(connection: Connection, strategy: Strategy, wanted: f64, says: &[&str]) {
        let said = solve(&one(connection), strategy, wanted).not_covered;
        for expected in says {
            assert!(said.iter().any(|sentence| sentence.contains(expected)), "{expected}: {said:#?}");
        }
        assert_eq!(said.len(), says.len(), "{said:#?}");
    }
    check(current(60), Strategy::Heartbeat, 15.0, &["alarm"]);
    check(current(60), Strategy::Heartbeat, 50.0, &["alarm", "rpc_response_timeout = 65"]);
    check(seed_era(), Strategy::Keepalive, 15.0, &["a reply in flight"]);
    let sayings = ["a reply in flight", "a heartbeat of its own", "shorter heartbeats"];
    check(current(60), Strategy::Keepalive, 15.0, &sayings);
    check(seed_era(), Strategy::Retries2, 15.0, &["has not noticed the cut", "other traffic"]);
    check(current(60), Strategy::RpcTimeout, 15.0, &["the wait itself"]);
    let deaf = Connection { listener_keepalive: false, ..seed_era() };
    check(deaf, Strategy::RpcTimeout, 15.0, &["the wait itself", "turn heartbeats on"]);
}

fn connections() -> impl Generator<Value = Connection> {
    let keepalive = (1_u32..8000, 1_u32..100, 1_u32..12);
    let keepalive = keepalive.prop_map(|(time, intvl, probes)| Keepalive { time, intvl, probes });
    (
        prop_oneof![Just(0_u32), 1_u32..120],
        any::<bool>(),
        keepalive,
        0_u32..20,
        prop::option::of(1_u32..60),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.9, 1_u32..900),
        prop::option::weighted(0.2, 1_u32..8000),
    )
        .prop_map(
            |(heartbeat, listener_keepalive, keepalive, retries2, user_timeout, blocked, timeout, armed)| {
                Connection {
                    heartbeat,
                    listener_keepalive,
                    keepalive,
                    retries2,
                    user_timeout: user_timeout.map(f64::from),
                    armed,
                    blocked,
                    rpc_response_timeout: timeout.map(f64::from),
                    client: Client::current(heartbeat),
                }
            },
        )
}

/// No bound is worse than any.
fn worst(span: Span) -> f64 {
    span.worst.unwrap_or(f64::INFINITY)
}

proptest! {
    #[test]
    fn a_window_is_one(connection in connections(), delivered in prop::option::of(0_u32..300)) {
        let window = window(&connection);
        for span in [window.idle, window.in_flight, connection.notices(delivered.map(f64::from))] {
            prop_assert!(span.best.unwrap_or(f64::INFINITY) <= worst(span), "{:?}", span);
            prop_assert_eq!(span.worst.is_none(), span.decided_by == Decider::Nothing);
        }
        prop_assert!(worst(window.idle) <= worst(window.in_flight));
        // Whenever the reply comes, before anyone noticed, the window holds.
        if let Some(at) = delivered.map(f64::from) {
            let span = connection.notices(Some(at));
            prop_assert!(worst(span) <= worst(window.in_flight) + 1e-9, "{:?} {:?}", span, window);
            prop_assert!(span.best >= window.broker_best, "{:?} {:?}", span, window);
        }
    }

    #[test]
    fn a_shorter_timer_never_makes_it_worse(connection in connections(), less in 1_u32..100) {
        let base = window(&connection);
        let lower = |value: u32| value.saturating_sub(less).max(1);
        let shorter = [
            Connection { heartbeat: if connection.heartbeat == 0 { 0 } else { lower(connection.heartbeat) }, ..connection },
            Connection { retries2: connection.retries2.saturating_sub(less), ..connection },
            Connection { keepalive: Keepalive { time: lower(connection.keepalive.time), ..connection.keepalive }, ..connection },
            Connection { listener_keepalive: true, ..connection },
            Connection { blocked: false, ..connection },
            Connection { armed: None, ..connection },
        ];
        for connection in shorter {
            let window = window(&connection);
            prop_assert!(worst(window.idle) <= worst(base.idle) + 1e-9, "{:?}", connection);
            prop_assert!(worst(window.in_flight) <= worst(base.in_flight) + 1e-9, "{:?}", connection);
        }
    }

    #[test]
    fn a_longer_timeout_never_hurts(connection in connections(), more in 0_u32..600) {
        let longer = connection.rpc_response_timeout.map(|seconds| seconds + f64::from(more));
        let longer = Connection { rpc_response_timeout: longer, ..connection };
        let wanted = 15.0;
        prop_assert!(
            !window(&connection).survivable_age.reaches(wanted) || window(&longer).survivable_age.reaches(wanted)
        );
    }

    #[test]
    fn a_solution_does_what_it_says(
        connections in prop::collection::vec(connections(), 1..4),
        strategy in prop::sample::select(Strategy::ALL.to_vec()),
        wanted in 1_u32..60,
    ) {
        let wanted = f64::from(wanted);
        let name = |(number, connection)| Consumer { service: format!("service-{number}"), connection };
        let before: Vec<Consumer> = connections.into_iter().enumerate().map(name).collect();
        let solution = solve(&before, strategy, wanted);
        if solution.reach == Reach::Wanted {
            prop_assert!(solution.windows.iter().all(|window| window.survivable_age.reaches(wanted)));
        } else {
            prop_assert!(solution.windows.iter().any(|window| !window.survivable_age.reaches(wanted)));
        }
        if strategy == Strategy::RpcTimeout && solution.windows.iter().all(|window| window.broker_worst.is_some()) {
            prop_assert_eq!(solution.reach, Reach::Wanted);
        }
        for edit in &solution.edits {
            prop_assert_ne!(&edit.from, &edit.to);
            if edit.setting == Setting::HeartbeatTimeoutThreshold {
                let to: u32 = edit.to.parse().unwrap();
                prop_assert!((5..=20).contains(&to), "{}", edit);
            }
        }
        prop_assert!(!solution.not_covered.is_empty());
    }
}
