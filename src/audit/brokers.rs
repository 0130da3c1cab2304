//! The broker's side of a connection: what its files, its kernel and its live sockets say.

use super::Evidence;
use super::windows::{kernel, namespace};
use crate::conf::rabbitmq::{Listen, Source};
use crate::facts::{Facts, Reading};
use crate::plan::Role;
use crate::service::{self, Running};
use crate::timing::{Decider, Keepalive};

pub mod files;

use files::Files;

/// RabbitMQ offers this heartbeat, in seconds, where nothing else is set (3.7 to 4.3, `deps/rabbit/Makefile`).
const DEFAULT_HEARTBEAT: u32 = 60;

/// What the broker does with a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// Do its sockets have SO_KEEPALIVE?
    pub listener_keepalive: bool,
    /// Keepalive of its kernel, in its network namespace.
    pub keepalive: Keepalive,
    /// `tcp_retries2` there.
    pub retries2: u32,
    /// `TCP_USER_TIMEOUT` of its sockets, in seconds.
    pub user_timeout: Option<f64>,
    /// Where each of these is set.
    pub evidence: Vec<(Decider, Evidence)>,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it is set.
    pub evidence: Evidence,
}

/// The broker's service on a host, if there is one.
pub fn service_of(services: Vec<Running>) -> Option<Running> {
    services.into_iter().find(|running| running.service.role == Role::Broker)
}

/// The heartbeat that the broker offers, in seconds; RabbitMQ's default where that is not known.
pub fn heartbeat(facts: &Facts) -> u32 {
    offered(facts).map_or(DEFAULT_HEARTBEAT, |found| found.value)
}

/// The heartbeat that the running node offers, in seconds; `None` where its files were changed since it
/// started, or are not known.
pub fn running_heartbeat(facts: &Facts) -> Option<u32> {
    let broker = service_of(service::running(facts))?;
    let files = Files::of(facts, Some(&broker)).ok()?;
    let heartbeat = files.effective().heartbeat.ok()?.value;
    u32::try_from(heartbeat).ok().filter(|_| !files.changed_after_start(&broker))
}

/// Do the files of the broker turn keepalive on for its listeners?
///
/// # Errors
/// Why it is not known.
pub fn listener_keepalive(facts: &Facts) -> Result<bool, String> {
    let broker = service_of(service::running(facts));
    let listen = Files::of(facts, broker.as_ref())?.effective().listen?;
    Ok(listen.keepalive.value == Some(true))
}

/// The heartbeat that the broker offers, in seconds, and where it is set.
///
/// # Errors
/// Why it is not known.
pub fn offered(facts: &Facts) -> Result<Placed<u32>, String> {
    let broker = service_of(service::running(facts));
    let found = Files::of(facts, broker.as_ref())?.effective().heartbeat?;
    let source = found.source.to_string();
    let value = u32::try_from(found.value)
        .map_err(|_| format!("{source}: heartbeat = {} is out of range", found.value))?;
    Ok(Placed { value, evidence: Evidence { source, text: format!("heartbeat = {value}") } })
}

/// The broker's side.
///
/// # Errors
/// What of it is not known, and why.
pub fn side(facts: &Facts) -> Result<Side, String> {
    match &facts.rabbitmq {
        Reading::Known(_) => {}
        Reading::Absent => return Err(format!("no broker was found on {}", facts.host)),
        Reading::Unknown(reason) => return Err(format!("the broker on {}: {reason}", facts.host)),
    }
    let broker = service_of(service::running(facts));
    let files = Files::of(facts, broker.as_ref())?;
    let namespace = broker.as_ref().and_then(|broker| namespace(facts, broker));
    let (keepalive, retries2) = kernel(facts, namespace);
    let (Some(keepalive), Some(retries2)) = (keepalive, retries2) else {
        return Err(format!("the kernel's TCP settings of {} were not read", facts.host));
    };
    let on = facts.host.as_str();
    let listen = files.effective().listen?;
    let on_in_files = listen.keepalive.value == Some(true);
    let changed_since = broker.as_ref().is_some_and(|broker| files.changed_after_start(broker));
    // Where the node has not read its files as they are now, its sockets tell; without any, no keepalive is
    // the worse of the two.
    let listener_keepalive = if changed_since { armed(facts).unwrap_or(false) } else { on_in_files };
    // In milliseconds; 0 is the kernel's own way.
    let user_timeout = listen.user_timeout.value.filter(|milliseconds| *milliseconds > 0);
    let Keepalive { time, intvl, probes } = keepalive;
    let mut evidence = vec![
        (
            Decider::Keepalive,
            Evidence {
                source: format!("sysctl net.ipv4.tcp_keepalive_{{time,intvl,probes}} on {on}"),
                text: format!("{time}/{intvl}/{probes}"),
            },
        ),
        (
            Decider::Retries2,
            Evidence {
                source: format!("sysctl net.ipv4.tcp_retries2 on {on}"),
                text: format!("net.ipv4.tcp_retries2 = {retries2}"),
            },
        ),
        (Decider::Nothing, keepalive_evidence(&listen)),
    ];
    evidence.extend(user_timeout.map(|milliseconds| {
        let source = listen.user_timeout.source.to_string();
        (Decider::UserTimeout, Evidence { source, text: format!("TCP_USER_TIMEOUT {milliseconds} ms") })
    }));
    Ok(Side {
        listener_keepalive,
        keepalive,
        retries2,
        user_timeout: user_timeout.map(|milliseconds| milliseconds as f64 / 1000.0),
        evidence,
    })
}

fn keepalive_evidence(listen: &Listen) -> Evidence {
    let text = match (listen.keepalive.value, &listen.source) {
        (Some(on), _) => format!("tcp_listen_options.keepalive = {on}"),
        (None, Source::Default) => "listeners have no keepalive".to_owned(),
        (None, Source::File { .. }) => "tcp_listen_options without keepalive".to_owned(),
    };
    Evidence { source: listen.keepalive.source.to_string(), text }
}

/// Is the keepalive timer of the broker's sockets armed? `None` where no idle socket shows.
pub fn armed(facts: &Facts) -> Option<bool> {
    let rabbit = facts.rabbitmq.known()?;
    let ports: Vec<u16> = rabbit.listeners.iter().map(|listener| listener.port).collect();
    let sockets = facts.sockets.known()?;
    let idle = |timer: Option<&str>| timer.is_none() || timer == Some("keepalive");
    let ours =
        sockets.iter().filter(|socket| ports.contains(&socket.local_port) && idle(socket.timer.as_deref()));
    ours.map(|socket| socket.timer.is_some()).reduce(|one, other| one && other)
}
