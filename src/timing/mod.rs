//! The detection model: how long each side needs to notice that the other is dead.
//!
//! A client that loses its connection without a FIN reconnects, but the broker keeps the old
//! connection as a consumer and goes on delivering replies into it until it notices that the
//! connection is dead. A caller that gives up first loses a reply that was sent.
//! [`window()`] says how long that takes at best and at worst, and which setting decides it.
//!
//! Every time is in seconds and counts **from the last byte that arrived before the connection
//! died**, because that is where every timer of both sides starts. The model is pure arithmetic; its
//! specification is the set of measurements in `measured.rs`.
//!
//! # What rules a dead connection, seen from the broker
//! - **AMQP heartbeat** T: the receiver looks every T whether bytes came and gives up after two looks
//!   without, so between 2T and 3T (RabbitMQ `rabbit_heartbeat.erl`).
//! - **Data in flight**: a reply, or the broker's own heartbeat, is retransmitted until
//!   `tcp_retries2` or `TCP_USER_TIMEOUT` ends it. As long as anything is unacknowledged, *no
//!   keepalive probe is sent at all* (Linux `tcp_keepalive_timer`: `packets_out` reschedules).
//! - **TCP keepalive**: only where the listener asks for it, and only if it finishes before the broker
//!   sends anything.
//!
//! # Exceptions, stated rather than modelled
//! - While a memory or disk alarm blocks a connection the heartbeat receiver is paused
//!   (`rabbit_reader:maybe_block`); [`Connection::blocked`] takes that timer out.
//! - Bytes from a client that lives but does not read (a stopped process) are not a dead connection.
//! - A heartbeat thread starved by its own process (eventlet under `mod_wsgi`) drops connections that
//!   are alive; shorter heartbeats make that more likely.

mod drawing;
mod solve;

#[cfg(test)]
mod measured;
#[cfg(test)]
mod tests;

pub use drawing::{Axis, Charset, Timeline, Words, drawing, duration};
pub use solve::{
    Consumer, LONGEST_HEARTBEAT, Reach, SHORT_KEEPALIVE, SHORT_RETRIES2, SHORTEST_HEARTBEAT, Scope, Setting,
    SettingEdit, Solution, Strategy, solve,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How late a kernel timer may be, as a factor: its wheel rounds up by at most an eighth of the delay
/// (Linux `kernel/time/timer.c`: 64 buckets a level, each level eight times coarser).
const LATE: f64 = 1.125;

/// Smallest retransmission timeout of Linux (`TCP_RTO_MIN`), which `tcp_retries2` is reckoned with.
const RTO_MIN: f64 = 0.2;

/// Largest retransmission timeout of Linux (`TCP_RTO_MAX`); the doubling stops there.
const RTO_MAX: f64 = 120.0;

/// The retransmission timeout that a connection between two hosts of one site has at most:
/// `RTO_MIN` plus a smoothed round trip that delayed acknowledgements may lift to some 40 ms.
const RTO_SITE: f64 = 0.3;

/// Keepalive timers of a socket or host: `net.ipv4.tcp_keepalive_{time,intvl,probes}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// Idle seconds before the first probe.
    pub time: u32,
    /// Seconds between probes.
    pub intvl: u32,
    /// Unanswered probes that end the connection.
    pub probes: u32,
}

impl Keepalive {
    /// Linux's own: two hours, and then some.
    pub const KERNEL: Self = Self { time: 7200, intvl: 75, probes: 9 };

    /// What `tcp(7)` promises: `time + probes * intvl`, in seconds.
    pub fn sum(self) -> f64 {
        f64::from(self.time) + f64::from(self.intvl) * f64::from(self.probes)
    }

    /// Seconds until an idle socket dies. A `TCP_USER_TIMEOUT` replaces the count of probes: the socket
    /// dies at the first probe time past it, after one probe at least (`tcp_keepalive_timer`).
    fn idle(self, user_timeout: Option<f64>) -> Bound {
        let time = f64::from(self.time);
        let lower = match user_timeout {
            None => self.sum(),
            Some(limit) => {
                let intvl = f64::from(self.intvl.max(1));
                time + intvl * ((limit - time) / intvl).ceil().max(1.0)
            }
        };
        Bound { lower, upper: lower * LATE }
    }
}

/// The client's end of a connection: oslo.messaging over py-amqp.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Client {
    /// `heartbeat_timeout_threshold` of its configuration, in seconds; the timers of
    /// oslo.messaging use this, not the negotiated value.
    pub heartbeat_threshold: u32,
    /// `heartbeat_rate`: it looks every threshold / rate / 2 seconds.
    pub heartbeat_rate: u32,
    /// `TCP_USER_TIMEOUT` of its socket in seconds: the threshold since oslo.messaging 5.0.0.
    pub user_timeout: Option<f64>,
    /// Keepalive of its socket: 60/10/9 since py-amqp 2.1.4, before that its host's.
    pub keepalive: Keepalive,
    /// `tcp_retries2` of its host.
    pub retries2: u32,
    /// Seconds between noticing and connecting again: `kombu_reconnect_delay`.
    pub reconnect_delay: f64,
}

impl Client {
    /// What a current oslo.messaging does with this threshold, all else at its default.
    pub fn current(heartbeat_threshold: u32) -> Self {
        Self {
            heartbeat_threshold,
            heartbeat_rate: 3,
            user_timeout: (heartbeat_threshold > 0).then(|| f64::from(heartbeat_threshold)),
            keepalive: Keepalive { time: 60, intvl: 10, probes: 9 },
            retries2: 15,
            reconnect_delay: 1.0,
        }
    }

    /// Seconds from the last byte until a client that got no error notices, at worst.
    fn notices(&self, heartbeat: u32) -> Decided {
        let in_flight = give_up(self.retries2, self.user_timeout);
        if heartbeat == 0 {
            // It sends nothing of its own accord: what was in flight at the cut is retransmitted,
            // and if nothing was, keepalive runs. Neither switches the other off any more.
            let idle = self.keepalive.idle(self.user_timeout).upper;
            return if idle >= in_flight.bound.upper {
                Decided::new(idle, Decider::Keepalive)
            } else {
                Decided::new(in_flight.bound.upper, in_flight.decider)
            };
        }
        let heartbeat = f64::from(heartbeat);
        let tick = f64::from(self.heartbeat_threshold) / f64::from(self.heartbeat_rate.max(1)) / 2.0;
        // py-amqp gives up 2T after the look at which it last saw new bytes: that look may come a tick
        // after the bytes, and the look that gives up a tick after 2T.
        let missed = Decided::new(2.0 * heartbeat + 2.0 * tick, Decider::Heartbeat);
        // Its own heartbeat is in flight T and a tick after the last one at the latest.
        let sent = Decided::new(heartbeat + tick + in_flight.bound.upper, in_flight.decider);
        missed.earlier(sent)
    }
}

/// One AMQP connection of a service that consumes, and what decides about its death.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// Negotiated heartbeat in seconds, 0 = off; see [`negotiated_heartbeat`].
    pub heartbeat: u32,
    /// `tcp_listen_options.keepalive`: RabbitMQ's default listener has none, and then the kernel's
    /// keepalive settings do nothing.
    pub listener_keepalive: bool,
    /// Keepalive of the broker's host, as a socket takes it when its timer is armed next.
    pub keepalive: Keepalive,
    /// Seconds until the timer of a live socket fires that was armed with a longer time: a changed sysctl
    /// does not reach it before (Linux `tcp_keepalive_timer` reads the settings only when it fires).
    /// `None` where every timer follows [`Self::keepalive`].
    pub armed: Option<u32>,
    /// `net.ipv4.tcp_retries2` of the broker's host (network namespace).
    pub retries2: u32,
    /// `TCP_USER_TIMEOUT` of the broker's socket in seconds (only by `advanced.config`).
    pub user_timeout: Option<f64>,
    /// Blocked by a memory or disk alarm: the heartbeat receiver is paused.
    pub blocked: bool,
    /// Smallest `rpc_response_timeout` of the services that consume on this broker, in seconds;
    /// `None` when there is no timeout.
    pub rpc_response_timeout: Option<f64>,
    /// The other end.
    pub client: Client,
}

/// The heartbeat that client and broker agree on, in seconds: the smaller one, the other one where one
/// is 0, and off where the client's is 0 (py-amqp `Connection._on_tune`; RabbitMQ takes the answer as
/// it is).
pub fn negotiated_heartbeat(client: u32, broker: u32) -> u32 {
    match (client, broker) {
        (0, _) => 0,
        (client, 0) => client,
        (client, broker) => client.min(broker),
    }
}

/// A lower and an upper bound, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bound {
    /// Never earlier.
    pub lower: f64,
    /// Never later, between two hosts of one site.
    pub upper: f64,
}

/// How long Linux retransmits before it gives a connection up, with this `tcp_retries2`.
///
/// It does not count retransmissions. It reckons the time that so many would take if the first came
/// after 0.2 s and each next one after twice as long, up to 120 s, and gives up at the first
/// retransmission timer that fires later than that (`retransmits_timed_out`). The real first timeout is
/// longer than 0.2 s, and the clock starts at the first *re*transmission, so the end comes up to one
/// doubling later.
pub fn retries2_bound(retries2: u32) -> Bound {
    // 0.2 s doubled nine times is 102.4 s; once more would be above 120 s.
    let doublings = retries2.min(9);
    let reckoned =
        (f64::from(2_u32 << doublings) - 1.0) * RTO_MIN + f64::from(retries2 - doublings) * RTO_MAX;
    timer_bound(reckoned)
}

/// The first firing of a doubling retransmission timer at which at least `limit` seconds have passed
/// since the first retransmission.
fn timer_bound(limit: f64) -> Bound {
    // The firing before the last came within `limit` of the first retransmission. The last wait is
    // then at most as long as all before it together, and one timeout more.
    let last_wait = (limit + 2.0 * RTO_SITE).min(RTO_MAX);
    Bound { lower: limit, upper: limit + RTO_SITE + last_wait * LATE }
}

/// What ends a connection with data in flight, and how long after the data was sent.
struct InFlight {
    bound: Bound,
    decider: Decider,
}

/// `TCP_USER_TIMEOUT` takes the place of `tcp_retries2`; it is not the smaller of the two
/// (`retransmits_timed_out` reckons a time only where none is given). Kernels before 4.19 look at it
/// only when a retransmission timer fires, so it has the same upper bound.
fn give_up(retries2: u32, user_timeout: Option<f64>) -> InFlight {
    match user_timeout {
        Some(limit) => InFlight { bound: timer_bound(limit), decider: Decider::UserTimeout },
        None => InFlight { bound: retries2_bound(retries2), decider: Decider::Retries2 },
    }
}

/// The setting that decides how long detection takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decider {
    /// The AMQP heartbeat (`heartbeat_timeout_threshold`).
    Heartbeat,
    /// TCP keepalive of the broker's host.
    Keepalive,
    /// `net.ipv4.tcp_retries2` of the broker's host.
    Retries2,
    /// `TCP_USER_TIMEOUT` of the socket.
    UserTimeout,
    /// Nothing: it may never be noticed.
    Nothing,
}

impl Decider {
    /// The setting's name as an operator would search for it.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat_timeout_threshold",
            Self::Keepalive => "net.ipv4.tcp_keepalive_*",
            Self::Retries2 => "net.ipv4.tcp_retries2",
            Self::UserTimeout => "TCP_USER_TIMEOUT",
            Self::Nothing => "nothing",
        }
    }
}

/// A time with the setting that decides it.
#[derive(Debug, Clone, Copy)]
struct Decided {
    seconds: f64,
    by: Decider,
}

impl Decided {
    fn new(seconds: f64, by: Decider) -> Self {
        Self { seconds, by }
    }

    fn earlier(self, other: Self) -> Self {
        if other.seconds < self.seconds { other } else { self }
    }
}

/// From when to when something is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// Seconds at best; `None` when it is never noticed.
    pub best: Option<f64>,
    /// Seconds at worst; `None` when there is no bound.
    pub worst: Option<f64>,
    /// What decides the worst case.
    pub decided_by: Decider,
}

impl Span {
    fn new(best: impl IntoIterator<Item = f64>, worst: Option<Decided>) -> Self {
        Self {
            best: best.into_iter().reduce(f64::min),
            worst: worst.map(|worst| worst.seconds),
            decided_by: worst.map_or(Decider::Nothing, |worst| worst.by),
        }
    }

    /// The later of two, case by case.
    fn worse(self, other: Self) -> Self {
        let best = [self.best, other.best].into_iter().flatten().reduce(f64::min);
        let later = match (self.worst, other.worst) {
            (None, _) => self,
            (_, None) => other,
            (Some(a), Some(b)) => {
                if b > a {
                    other
                } else {
                    self
                }
            }
        };
        Self { best, ..later }
    }
}

/// How long a call may already have been running when its connection dies, so that its reply is still
/// in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SurvivableAge {
    /// So many seconds; at or below zero replies are lost.
    Seconds(f64),
    /// There is no `rpc_response_timeout`, and the death is noticed some day: every reply arrives.
    Unlimited,
    /// Nothing bounds the detection: replies are lost whatever the timeout.
    Never,
}

impl SurvivableAge {
    fn of(timeout: Option<f64>, noticed: Option<f64>) -> Self {
        match (timeout, noticed) {
            (_, None) => Self::Never,
            (None, Some(_)) => Self::Unlimited,
            (Some(timeout), Some(noticed)) => Self::Seconds(timeout - noticed),
        }
    }

    /// The seconds, if there is a number: what reports print.
    pub fn seconds(self) -> Option<f64> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Unlimited | Self::Never => None,
        }
    }

    /// Is a call survivable that has been running for `wanted` seconds?
    pub fn reaches(self, wanted: f64) -> bool {
        match self {
            Self::Seconds(seconds) => seconds >= wanted && seconds > 0.0,
            Self::Unlimited => true,
            Self::Never => false,
        }
    }
}

/// How long each side needs to notice that the other is dead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// The broker, while nothing but heartbeats is sent to the dead consumer.
    pub idle: Span,
    /// The broker, when a reply is delivered to the dead consumer: the event of every lost reply.
    pub in_flight: Span,
    /// The broker at best, in seconds.
    pub broker_best: Option<f64>,
    /// The broker at worst, in seconds; `None` when there is no bound.
    pub broker_worst: Option<f64>,
    /// The setting that decides the broker's worst case.
    pub decided_by: Decider,
    /// The client at worst, when it got no error, until it is connected again; in seconds.
    pub client_worst: f64,
    /// The setting that decides the client's worst case.
    pub client_decided_by: Decider,
    /// The smallest `rpc_response_timeout`, in seconds, as it was given.
    pub rpc_response_timeout: Option<f64>,
    /// Timeout minus the slower of the two sides.
    pub survivable_age: SurvivableAge,
    /// The same when the client noticed the cut at once (its socket got an error).
    pub survivable_age_noticed: SurvivableAge,
}

impl Connection {
    /// When probing ends an idle connection, where the listener has keepalive. A timer armed with a longer
    /// time makes the worst case later; another socket of the same service may follow the new settings.
    fn probing(&self) -> Option<Bound> {
        let armed = Keepalive { time: self.keepalive.time.max(self.armed.unwrap_or(0)), ..self.keepalive };
        self.listener_keepalive.then(|| Bound {
            lower: self.keepalive.idle(self.user_timeout).lower,
            upper: armed.idle(self.user_timeout).upper,
        })
    }

    /// From when to when the broker notices. `delivered` is when it delivers a reply to the dead
    /// consumer (seconds after the last byte), `None` if it never does.
    pub fn notices(&self, delivered: Option<f64>) -> Span {
        let heartbeat = f64::from(self.heartbeat);
        // The broker sends a heartbeat when it finds, every T/2, that it has sent nothing since its last
        // look. Where it had, it skips once, so that its first byte after the cut comes within T.
        let own = (self.heartbeat > 0).then_some(Bound { lower: 0.0, upper: heartbeat });
        let first_byte = match (own, delivered) {
            (own, None) => own,
            (None, Some(at)) => Some(Bound { lower: at, upper: at }),
            (Some(own), Some(at)) => Some(Bound { lower: 0.0, upper: own.upper.min(at) }),
        };
        self.noticed(first_byte)
    }

    /// The same, when the broker sends its first byte to the dead consumer within `first_byte`.
    fn noticed(&self, first_byte: Option<Bound>) -> Span {
        let heartbeat = f64::from(self.heartbeat);
        let monitored = self.heartbeat > 0 && !self.blocked;
        let in_flight = give_up(self.retries2, self.user_timeout);
        let keepalive = self.probing();

        let mut best = Vec::with_capacity(3);
        if monitored {
            best.push(2.0 * heartbeat);
        }
        let tcp = match (first_byte, keepalive) {
            (None, None) => None,
            (None, Some(keepalive)) => {
                best.push(keepalive.lower);
                Some(Decided::new(keepalive.upper, Decider::Keepalive))
            }
            (Some(byte), None) => {
                best.push(byte.lower + in_flight.bound.lower);
                Some(Decided::new(byte.upper + in_flight.bound.upper, in_flight.decider))
            }
            // Probing has ended the connection before any byte is sent.
            (Some(byte), Some(keepalive)) if keepalive.upper <= byte.lower => {
                best.push(keepalive.lower);
                Some(Decided::new(keepalive.upper, Decider::Keepalive))
            }
            // The byte may come first: then probing stops for good and retransmission decides. It
            // cannot come later than probing would have ended.
            (Some(byte), Some(keepalive)) => {
                if keepalive.lower <= byte.upper {
                    best.push(keepalive.lower);
                }
                best.push(byte.lower + in_flight.bound.lower);
                let last_byte = byte.upper.min(keepalive.upper);
                Some(Decided::new(last_byte + in_flight.bound.upper, in_flight.decider))
            }
        };
        let missed = monitored.then(|| Decided::new(3.0 * heartbeat, Decider::Heartbeat));
        let worst = match (missed, tcp) {
            (Some(missed), Some(tcp)) => Some(missed.earlier(tcp)),
            (missed, tcp) => missed.or(tcp),
        };
        Span::new(best, worst)
    }

    /// The window when a reply is delivered at any time before the broker has noticed.
    fn with_reply(&self) -> Span {
        let own = (self.heartbeat > 0).then(|| f64::from(self.heartbeat));
        let probing = self.probing().map(|bound| bound.upper);
        let best = self.notices(Some(0.0)).best;
        match [own, probing].into_iter().flatten().reduce(f64::min) {
            Some(upper) => Span { best, ..self.noticed(Some(Bound { lower: 0.0, upper })) },
            // No timer runs until the reply is sent, which may be any time after the cut.
            None => Span { best, worst: None, decided_by: Decider::Nothing },
        }
    }
}

/// How long each side of `connection` needs to notice that the other is dead.
pub fn window(connection: &Connection) -> Window {
    let idle = connection.notices(None);
    let in_flight = connection.with_reply();
    let broker = idle.worse(in_flight);
    let client = connection.client.notices(connection.heartbeat);
    let client_worst = client.seconds + connection.client.reconnect_delay;
    let age = |client: f64| {
        SurvivableAge::of(connection.rpc_response_timeout, broker.worst.map(|worst| worst.max(client)))
    };
    Window {
        idle,
        in_flight,
        broker_best: broker.best,
        broker_worst: broker.worst,
        decided_by: broker.decided_by,
        client_worst,
        client_decided_by: client.by,
        rpc_response_timeout: connection.rpc_response_timeout,
        survivable_age: age(client_worst),
        survivable_age_noticed: age(connection.client.reconnect_delay),
    }
}
