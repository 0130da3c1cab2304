//! Detection windows over the hosts of a run: every service, with every broker it can be connected to.

use std::collections::BTreeMap;

use super::effective::{Effective, Origin, RABBIT, Settings, View};
use super::{Cluster, Evidence, WindowRow, brokers, connections, package, resolve};
use crate::conf::oslo;
use crate::facts::{AmqpConnection, Facts, Reading};
use crate::messaging::{self, ClientSettings, Release};
use crate::plan::Role;
use crate::service::Running;
use crate::timing::{self, Connection, Decider, Keepalive, Window};

/// A service of a host and one broker that it can be connected to.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The service, `cinder-volume`.
    pub service: String,
    /// Inventory name of the broker's host; the address in the URL where it is none of the run's hosts.
    pub broker: String,
    /// The window, or why it is not known.
    pub outcome: Result<Measured, String>,
}

/// A window that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What it follows from.
    pub connection: Connection,
    /// The window.
    pub window: Window,
    /// Is the heartbeat that of a live connection, or what the files would negotiate?
    pub live: bool,
    /// The settings it rests on, each with its place, the heartbeat first.
    pub evidence: Vec<(Decider, Evidence)>,
    /// Whose timeout is the smallest, and where that is set.
    pub timeout: Evidence,
}

impl Pair {
    /// The row of a report, where the window is known.
    pub fn row(&self) -> Option<WindowRow> {
        let Measured { connection, window, .. } = self.outcome.as_ref().ok()?;
        Some(WindowRow {
            service: self.service.clone(),
            broker: self.broker.clone(),
            heartbeat: f64::from(connection.heartbeat),
            broker_best: window.broker_best,
            broker_worst: window.broker_worst,
            decided_by: window.decided_by.setting().to_owned(),
            client_worst: Some(window.client_worst),
            rpc_response_timeout: window.rpc_response_timeout,
            survivable_age: window.survivable_age.seconds(),
        })
    }
}

/// A service that consumes, its settings, and the brokers it may be connected to.
struct Consumer<'a> {
    host: &'a str,
    facts: &'a Facts,
    running: &'a Running,
    settings: Result<Settings<'a>, String>,
    /// Each as the URL names it.
    brokers: Vec<String>,
}

/// The pairs of every host, by inventory name.
pub fn pairs(cluster: &Cluster, services: &BTreeMap<&str, Vec<Running>>) -> BTreeMap<String, Vec<Pair>> {
    let mut consumers = Vec::new();
    for (host, running) in services {
        let Some(Ok(facts)) = cluster.get(*host) else { continue };
        let clients = running.iter().filter(|running| running.service.role != Role::Broker && running.runs());
        consumers.extend(clients.map(|running| consumer(host, facts, running)));
    }
    let timeouts = timeouts(cluster, &consumers);
    let mut pairs: BTreeMap<String, Vec<Pair>> =
        services.keys().map(|host| ((*host).to_owned(), Vec::new())).collect();
    for consumer in &consumers {
        let own = pairs.get_mut(consumer.host).expect("a consumer's host is among the services'");
        let pair = |broker: &str, outcome| Pair {
            service: consumer.running.service.name.clone(),
            broker: broker.to_owned(),
            outcome,
        };
        let settings = match &consumer.settings {
            Ok(settings) => settings,
            Err(reason) => {
                own.push(pair("any broker", Err(reason.clone())));
                continue;
            }
        };
        let mut seen = Vec::new();
        for address in &consumer.brokers {
            let host = resolve::host(cluster, consumer.facts, address);
            // One host by its name and by its address is one broker.
            if host.is_some_and(|host| seen.contains(&host)) {
                continue;
            }
            seen.extend(host);
            own.push(match host {
                None => pair(
                    address,
                    Err(format!("`{address}` is none of the run's hosts, so its side is not known")),
                ),
                Some(host) => pair(host, measure(cluster, consumer, settings, host, &timeouts)),
            });
        }
    }
    pairs
}

fn consumer<'a>(host: &'a str, facts: &'a Facts, running: &'a Running) -> Consumer<'a> {
    let settings = Settings::read(facts, running, View::Process);
    let (settings, brokers) = match settings {
        Err(reason) => (Err(reason), Vec::new()),
        Ok(settings) => match settings.brokers() {
            Ok(brokers) => (Ok(settings), brokers),
            Err(reason) => (Err(reason), Vec::new()),
        },
    };
    Consumer { host, facts, running, settings, brokers }
}

/// The smallest `rpc_response_timeout` of all that wait for replies on a broker, by the broker's host;
/// `None`: nobody there has one.
fn timeouts<'a>(
    cluster: &'a Cluster,
    consumers: &[Consumer<'_>],
) -> BTreeMap<&'a str, (Option<f64>, Evidence)> {
    let mut smallest: BTreeMap<&str, (Option<f64>, Evidence)> = BTreeMap::new();
    for consumer in consumers.iter().filter(|consumer| consumer.running.service.replies) {
        // One that cannot be read is unknown by itself; it says nothing about the others.
        let Ok(settings) = &consumer.settings else { continue };
        let Ok((timeout, evidence)) = timeout(consumer, settings) else { continue };
        for address in &consumer.brokers {
            let Some(host) = resolve::host(cluster, consumer.facts, address) else { continue };
            let entry = smallest.entry(host).or_insert_with(|| (timeout, evidence.clone()));
            if timeout.is_some_and(|timeout| entry.0.is_none_or(|known| timeout < known)) {
                *entry = (timeout, evidence.clone());
            }
        }
    }
    smallest
}

fn timeout(consumer: &Consumer<'_>, settings: &Settings<'_>) -> Result<(Option<f64>, Evidence), String> {
    let found = settings.option("DEFAULT", "rpc_response_timeout")?;
    let text = found.value.clone().unwrap_or_default();
    let seconds = oslo::integer(&text).map_err(|reason| format!("rpc_response_timeout: {reason}"))?;
    let service = &consumer.running.service.name;
    let evidence = Evidence {
        source: found.origin.to_string(),
        text: format!("rpc_response_timeout = {text} ({service} on {})", consumer.host),
    };
    Ok((seconds.map(|seconds| seconds as f64), evidence))
}

fn measure(
    cluster: &Cluster,
    consumer: &Consumer<'_>,
    settings: &Settings<'_>,
    host: &str,
    timeouts: &BTreeMap<&str, (Option<f64>, Evidence)>,
) -> Result<Measured, String> {
    let facts = match &cluster[host] {
        Ok(facts) => facts,
        Err(error) => return Err(format!("the broker's host {host}: {error}")),
    };
    let side = brokers::side(facts)?;
    let (client, threshold) = client(consumer, settings)?;
    let (rpc_response_timeout, timeout_from) = match timeouts.get(host) {
        Some((timeout, evidence)) => (*timeout, evidence.clone()),
        None => timeout(consumer, settings)?,
    };
    let offered = brokers::offered(facts)?;
    let live: Vec<&AmqpConnection> = connections::of(cluster, consumer.facts, consumer.running)
        .into_iter()
        .filter(|(at, _)| *at == host)
        .map(|(_, connection)| connection)
        .collect();
    // The longest that was negotiated decides; none at all is the worst.
    let negotiated =
        live.iter().map(|connection| connection.heartbeat).max_by_key(|heartbeat| match heartbeat {
            0 => u32::MAX,
            heartbeat => *heartbeat,
        });
    let by_files = timing::negotiated_heartbeat(client.heartbeat_threshold, offered.value);
    let heartbeat = negotiated.unwrap_or(by_files);
    let mut evidence = Vec::new();
    if let Some(negotiated) = negotiated.filter(|negotiated| *negotiated != by_files) {
        evidence.push((
            Decider::Heartbeat,
            Evidence {
                source: format!("rabbitmqctl list_connections on {host}"),
                text: format!("negotiated heartbeat {negotiated}"),
            },
        ));
    }
    evidence.push((Decider::Heartbeat, threshold));
    if offered.value != 0 && offered.value < client.heartbeat_threshold {
        evidence.push((Decider::Heartbeat, offered.evidence));
    }
    evidence.extend(side.evidence);
    let blocked = live.iter().any(|connection| matches!(connection.status.as_str(), "blocked" | "blocking"));
    let armed = live.iter().filter_map(|connection| connections::armed(connection, facts)).max();
    let connection = Connection {
        heartbeat,
        listener_keepalive: side.listener_keepalive,
        keepalive: side.keepalive,
        // `ss` rounds, so a second more is still the time in force.
        armed: armed.filter(|fires| *fires > side.keepalive.time + 1),
        retries2: side.retries2,
        user_timeout: side.user_timeout,
        blocked,
        rpc_response_timeout,
        client,
    };
    let window = timing::window(&connection);
    Ok(Measured { connection, window, live: negotiated.is_some(), evidence, timeout: timeout_from })
}

/// The client's side, and where its heartbeat threshold is set.
fn client(consumer: &Consumer<'_>, settings: &Settings<'_>) -> Result<(timing::Client, Evidence), String> {
    let option = |key: &str| settings.option(RABBIT, key);
    let whole = |found: &Effective| -> Result<u32, String> {
        let text = found.value.clone().unwrap_or_default();
        let number = oslo::integer(&text).map_err(|reason| format!("{}: {reason}", found.name.1))?;
        u32::try_from(number.unwrap_or(0)).map_err(|_| format!("{} = {text} is negative", found.name.1))
    };
    let threshold = option("heartbeat_timeout_threshold")?;
    // Kilo's first releases had no such option and no rate.
    let rate = option("heartbeat_rate")?;
    let delay = option("kombu_reconnect_delay")?;
    let delay_text = delay.value.clone().unwrap_or_default();
    let delay = oslo::float(&delay_text).map_err(|reason| format!("kombu_reconnect_delay: {reason}"))?;
    let (keepalive, retries2) = kernel(consumer.facts, namespace(consumer.facts, consumer.running));
    let settings_read = ClientSettings {
        heartbeat_timeout_threshold: whole(&threshold)?,
        heartbeat_rate: whole(&rate)?,
        kombu_reconnect_delay: delay.unwrap_or(0.0),
        // What is not read counts as the kernel's default, which is the slowest there is in practice.
        keepalive: keepalive.unwrap_or(Keepalive::KERNEL),
        retries2: retries2.unwrap_or(15),
    };
    let amqp = package::version(consumer.facts, consumer.running, "amqp").and_then(Release::parse);
    let client = messaging::client(settings_read, settings.release.as_ref(), amqp.as_ref());
    let evidence = Evidence {
        source: match &threshold.origin {
            Origin::Set(_) | Origin::Url(_) | Origin::Default(_) => threshold.origin.to_string(),
        },
        text: format!(
            "heartbeat_timeout_threshold = {} ({})",
            settings_read.heartbeat_timeout_threshold, consumer.running.service.name
        ),
    };
    Ok((client, evidence))
}

/// The network namespace of a service; `None`: the host's own.
pub fn namespace<'a>(facts: &'a Facts, running: &Running) -> Option<&'a str> {
    let process = running.main_pid.and_then(|pid| facts.processes.get(&pid))?;
    process.network_namespace.as_deref()
}

/// Keepalive and `tcp_retries2` of a network namespace, where they were read.
pub fn kernel(facts: &Facts, namespace: Option<&str>) -> (Option<Keepalive>, Option<u32>) {
    let readings = match namespace {
        None => Some(&facts.sysctls),
        Some(namespace) => facts.namespaces.get(namespace),
    };
    let number = |key: &str| -> Option<u32> {
        readings?.get(&format!("net.ipv4.{key}")).and_then(Reading::known)?.trim().parse().ok()
    };
    let keepalive =
        match (number("tcp_keepalive_time"), number("tcp_keepalive_intvl"), number("tcp_keepalive_probes")) {
            (Some(time), Some(intvl), Some(probes)) => Some(Keepalive { time, intvl, probes }),
            _ => None,
        };
    (keepalive, number("tcp_retries2"))
}
