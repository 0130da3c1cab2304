//! The smallest set of edits after which replies survive, by one of four strategies.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, Keepalive, SurvivableAge, Window, retries2_bound, window};

/// The shortest heartbeat we propose, in seconds: below it RabbitMQ warns of connections dropped alive.
pub const SHORTEST_HEARTBEAT: u32 = 5;

/// The longest we propose, in seconds: RabbitMQ advises 5 to 20.
pub const LONGEST_HEARTBEAT: u32 = 20;

/// The keepalive we propose: 10 s, `TripleO`'s values since 2015.
pub const SHORT_KEEPALIVE: Keepalive = Keepalive { time: 5, intvl: 1, probes: 5 };

/// The values of `tcp_retries2` we propose, mildest first: below 5 a busy network loses connections.
pub const SHORT_RETRIES2: [u32; 2] = [6, 5];

/// How to make the broker notice in time, or callers wait longer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Shorter AMQP heartbeats: the only one that covers every kind of death.
    #[default]
    Heartbeat,
    /// TCP keepalive on the broker's hosts.
    Keepalive,
    /// A lower `tcp_retries2` on the broker's hosts.
    Retries2,
    /// A longer `rpc_response_timeout` in every service that consumes.
    RpcTimeout,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 4] = [Self::Heartbeat, Self::Keepalive, Self::Retries2, Self::RpcTimeout];

    /// Its name in a playbook.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Keepalive => "keepalive",
            Self::Retries2 => "retries2",
            Self::RpcTimeout => "rpc_timeout",
        }
    }

    /// The strategy with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == name)
    }
}

/// A service that consumes, and its connection. The timeout in `connection` is the service's own; what
/// counts is the smallest of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Consumer {
    /// The service, `cinder-api`.
    pub service: String,
    /// Its connection to the broker.
    pub connection: Connection,
}

/// A setting that can be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// `[oslo_messaging_rabbit] heartbeat_timeout_threshold`, seconds.
    HeartbeatTimeoutThreshold,
    /// `[DEFAULT] rpc_response_timeout`, seconds.
    RpcResponseTimeout,
    /// `tcp_listen_options.keepalive` of RabbitMQ. Setting it alone replaces the default list, so all of
    /// `backlog`, `nodelay`, `linger` and `exit_on_close` are written with it.
    ListenerKeepalive,
    /// `net.ipv4.tcp_keepalive_time`, seconds.
    KeepaliveTime,
    /// `net.ipv4.tcp_keepalive_intvl`, seconds.
    KeepaliveIntvl,
    /// `net.ipv4.tcp_keepalive_probes`.
    KeepaliveProbes,
    /// `net.ipv4.tcp_retries2`.
    Retries2,
}

impl Setting {
    /// Its name where it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::HeartbeatTimeoutThreshold => "heartbeat_timeout_threshold",
            Self::RpcResponseTimeout => "rpc_response_timeout",
            Self::ListenerKeepalive => "tcp_listen_options.keepalive",
            Self::KeepaliveTime => "net.ipv4.tcp_keepalive_time",
            Self::KeepaliveIntvl => "net.ipv4.tcp_keepalive_intvl",
            Self::KeepaliveProbes => "net.ipv4.tcp_keepalive_probes",
            Self::Retries2 => "net.ipv4.tcp_retries2",
        }
    }
}

/// Where a setting is edited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// In the configuration of one service, wherever it runs.
    Service(String),
    /// On every host with a broker.
    BrokerHosts,
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SettingEdit {
    /// Where.
    pub scope: Scope,
    /// What.
    pub setting: Setting,
    /// Its value now.
    pub from: String,
    /// Its value afterwards.
    pub to: String,
}

impl fmt::Display for SettingEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.scope {
            Scope::Service(service) => service,
            Scope::BrokerHosts => "broker hosts",
        };
        write!(f, "{place}: {} {} -> {}", self.setting.name(), self.from, self.to)
    }
}

/// How far a solution reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Replies are lost.
    Missed,
    /// The wanted age, while no reply is in flight: which is not when replies are lost.
    WhileIdle,
    /// The wanted age, for a client that notices the cut at once.
    WhenNoticed,
    /// The wanted age, whatever dies.
    Wanted,
}

/// What a strategy gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The edits, none when nothing has to change.
    pub edits: Vec<SettingEdit>,
    /// The window of each consumer after them, in the order given.
    pub windows: Vec<Window>,
    /// How far that reaches.
    pub reach: Reach,
    /// What it does not cover, one sentence each.
    pub not_covered: Vec<String>,
}

/// The smallest set of edits by `strategy` after which a call that has been running for `wanted` seconds
/// survives the death of any of these connections; or as near as the strategy comes, and what is missing.
pub fn solve(consumers: &[Consumer], strategy: Strategy, wanted: f64) -> Solution {
    let after = match strategy {
        Strategy::Heartbeat => shorten_heartbeats(consumers, wanted),
        Strategy::Keepalive => shorten_keepalive(consumers, wanted),
        Strategy::Retries2 => shorten_retransmission(consumers, wanted),
        Strategy::RpcTimeout => lengthen_timeouts(consumers, wanted),
    };
    let windows = windows(&after);
    let reach = reach(&windows, wanted);
    let not_covered = not_covered(&after, &windows, strategy, wanted, reach);
    Solution { edits: edits(consumers, &after), windows, reach, not_covered }
}

/// The smallest timeout of all.
fn smallest_timeout(consumers: &[Consumer]) -> Option<f64> {
    consumers.iter().filter_map(|consumer| consumer.connection.rpc_response_timeout).reduce(f64::min)
}

fn windows(consumers: &[Consumer]) -> Vec<Window> {
    let rpc_response_timeout = smallest_timeout(consumers);
    let each = consumers.iter().map(|consumer| consumer.connection);
    each.map(|connection| window(&Connection { rpc_response_timeout, ..connection })).collect()
}

fn reach(windows: &[Window], wanted: f64) -> Reach {
    let all = |age: fn(&Window) -> SurvivableAge| windows.iter().all(|window| age(window).reaches(wanted));
    if all(|window| window.survivable_age) {
        Reach::Wanted
    } else if all(|window| window.survivable_age_noticed) {
        Reach::WhenNoticed
    } else if all(|window| SurvivableAge::of(window.rpc_response_timeout, window.idle.worst)) {
        Reach::WhileIdle
    } else {
        Reach::Missed
    }
}

fn shorten_heartbeats(consumers: &[Consumer], wanted: f64) -> Vec<Consumer> {
    let rpc_response_timeout = smallest_timeout(consumers);
    let enough = |connection: &Connection| {
        window(&Connection { rpc_response_timeout, ..*connection }).survivable_age.reaches(wanted)
    };
    let mend = |consumer: &Consumer| {
        let now = consumer.connection;
        let mut candidates =
            (SHORTEST_HEARTBEAT..=LONGEST_HEARTBEAT).rev().map(|heartbeat| with_heartbeat(now, heartbeat));
        if enough(&now) {
            return consumer.clone();
        }
        let connection = candidates.find(enough).unwrap_or_else(|| {
            let shortest =
                if now.heartbeat == 0 { SHORTEST_HEARTBEAT } else { SHORTEST_HEARTBEAT.min(now.heartbeat) };
            with_heartbeat(now, shortest)
        });
        Consumer { service: consumer.service.clone(), connection }
    };
    consumers.iter().map(mend).collect()
}

/// The same connection after its service was given another threshold.
fn with_heartbeat(connection: Connection, heartbeat: u32) -> Connection {
    let mut client = connection.client;
    client.user_timeout = client.user_timeout.map(|_| f64::from(heartbeat));
    client.heartbeat_threshold = heartbeat;
    Connection { heartbeat, client, ..connection }
}

fn with_keepalive(connection: Connection) -> Connection {
    let now = connection.keepalive;
    let keepalive = if now.sum() > SHORT_KEEPALIVE.sum() { SHORT_KEEPALIVE } else { now };
    Connection { listener_keepalive: true, keepalive, ..connection }
}

/// The same consumers after a change on the broker's hosts, which reaches every connection.
fn with_hosts(consumers: &[Consumer], change: impl Fn(Connection) -> Connection) -> Vec<Consumer> {
    let each = consumers.iter();
    each.map(|consumer| Consumer {
        service: consumer.service.clone(),
        connection: change(consumer.connection),
    })
    .collect()
}

fn shorten_keepalive(consumers: &[Consumer], wanted: f64) -> Vec<Consumer> {
    if reach(&windows(consumers), wanted) >= Reach::WhileIdle {
        return consumers.to_vec();
    }
    with_hosts(consumers, with_keepalive)
}

fn shorten_retransmission(consumers: &[Consumer], wanted: f64) -> Vec<Consumer> {
    let enough = |consumers: &Vec<Consumer>| reach(&windows(consumers), wanted) >= Reach::WhenNoticed;
    let lowered = |connection: Connection, retries2: u32| Connection {
        retries2: connection.retries2.min(retries2),
        ..connection
    };
    let mut candidates = vec![consumers.to_vec()];
    for keepalive in [false, true] {
        for retries2 in SHORT_RETRIES2 {
            candidates.push(with_hosts(consumers, |connection| {
                let connection = lowered(connection, retries2);
                if keepalive { with_keepalive(connection) } else { connection }
            }));
        }
    }
    let nearest = candidates.last().cloned().unwrap_or_default();
    candidates.into_iter().find(enough).unwrap_or(nearest)
}

fn lengthen_timeouts(consumers: &[Consumer], wanted: f64) -> Vec<Consumer> {
    let Some(needed) = needed_timeout(&windows(consumers), wanted) else { return consumers.to_vec() };
    let lengthen = |mut connection: Connection| {
        connection.rpc_response_timeout = connection.rpc_response_timeout.map(|now| now.max(needed));
        connection
    };
    with_hosts(consumers, lengthen)
}

/// The timeout with which a call of the wanted age survives, whole seconds; `None` when none is long
/// enough.
fn needed_timeout(windows: &[Window], wanted: f64) -> Option<f64> {
    let each = windows.iter().map(|window| Some(window.broker_worst?.max(window.client_worst)));
    each.collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::max).map(|slower| (slower + wanted).ceil())
}

/// What differs, each edit once.
fn edits(before: &[Consumer], after: &[Consumer]) -> Vec<SettingEdit> {
    let mut edits: Vec<SettingEdit> = Vec::new();
    for (before, after) in before.iter().zip(after) {
        let service = Scope::Service(before.service.clone());
        let (now, then) = (&before.connection, &after.connection);
        let threshold = |connection: &Connection| connection.client.heartbeat_threshold.to_string();
        let timeout = |connection: &Connection| {
            connection.rpc_response_timeout.map_or_else(|| "none".to_owned(), |seconds| seconds.to_string())
        };
        let sides = [
            (service.clone(), Setting::HeartbeatTimeoutThreshold, threshold(now), threshold(then)),
            (service, Setting::RpcResponseTimeout, timeout(now), timeout(then)),
            host(Setting::ListenerKeepalive, &now.listener_keepalive, &then.listener_keepalive),
            host(Setting::KeepaliveTime, &now.keepalive.time, &then.keepalive.time),
            host(Setting::KeepaliveIntvl, &now.keepalive.intvl, &then.keepalive.intvl),
            host(Setting::KeepaliveProbes, &now.keepalive.probes, &then.keepalive.probes),
            host(Setting::Retries2, &now.retries2, &then.retries2),
        ];
        for (scope, setting, from, to) in sides {
            let known =
                edits.iter().any(|edit| edit.scope == scope && edit.setting == setting && edit.to == to);
            if from != to && !known {
                edits.push(SettingEdit { scope, setting, from, to });
            }
        }
    }
    edits
}

fn host(setting: Setting, from: &impl ToString, to: &impl ToString) -> (Scope, Setting, String, String) {
    (Scope::BrokerHosts, setting, from.to_string(), to.to_string())
}

fn not_covered(
    consumers: &[Consumer],
    windows: &[Window],
    strategy: Strategy,
    wanted: f64,
    reach: Reach,
) -> Vec<String> {
    let connections = || consumers.iter().map(|consumer| &consumer.connection);
    let heartbeat = connections().map(|connection| connection.heartbeat).max().unwrap_or(0);
    let retries2 = connections().map(|connection| connection.retries2).max().unwrap_or(0);
    let client = windows.iter().map(|window| window.client_worst).fold(0.0, f64::max);
    let bound = retries2_bound(retries2);
    let mut said = Vec::new();
    match strategy {
        Strategy::Heartbeat => {
            said.push(
                "a connection that a memory or disk alarm has blocked: its heartbeat timer is paused until the \
                 alarm clears"
                    .to_owned(),
            );
        }
        Strategy::Keepalive => {
            said.push(format!(
                "a reply in flight: while one is unacknowledged no probe is sent, and tcp_retries2 = {retries2} \
                 decides after {:.0} s or more",
                bound.lower
            ));
            if heartbeat > 0 {
                said.push(format!(
                    "a death after which the broker sends a heartbeat of its own before probing ends: that stops \
                     the probes too, and 3 x {heartbeat} s decides"
                ));
            }
        }
        Strategy::Retries2 => {
            said.push(format!(
                "a client that has not noticed the cut: it waits on the dead connection for up to {client:.0} s"
            ));
            said.push(format!(
                "other traffic of these hosts: tcp_retries2 = {retries2} gives up every TCP connection after \
                 {:.0} to {:.0} s without an answer (RFC 1122 asks for at least 100 s)",
                bound.lower, bound.upper
            ));
        }
        Strategy::RpcTimeout => {
            said.push(
                "the wait itself: a caller still waits as long as the broker takes to notice, and an HTTP client \
                 or load balancer before it may give up first"
                    .to_owned(),
            );
        }
    }
    let lacks = match strategy {
        Strategy::Heartbeat | Strategy::RpcTimeout => reach < Reach::Wanted,
        Strategy::Retries2 => reach < Reach::WhenNoticed,
        Strategy::Keepalive => reach < Reach::WhileIdle,
    };
    if lacks {
        said.push(match needed_timeout(windows, wanted) {
            Some(needed) => format!(
                "a call that has been running for {wanted} s: that needs rpc_response_timeout = {needed} in every \
                 service that consumes, or {}",
                if strategy == Strategy::Heartbeat { "a smaller age" } else { "shorter heartbeats" }
            ),
            None => "any call: nothing bounds how long the broker takes to notice; turn heartbeats on".to_owned(),
        });
    }
    said
}
