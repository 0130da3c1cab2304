//! What the brokers say of a service that was restarted: a connection counts where the broker has it too.

use std::collections::BTreeMap;

use super::{Waiting, main_process, waiting};
use crate::audit::effective::{RABBIT, Settings, View};
use crate::audit::{Cluster, brokers, connections};
use crate::facts::{Facts, Rabbit, Reading, ReplyQueue};
use crate::plan::{Restart, Role, rollout};
use crate::service::{self, Running};
use crate::timing::negotiated_heartbeat;

/// How long a service may take, in seconds since its start, to open as many connections as it had. After
/// that, fewer are enough where all its queues have their consumers: oslo.messaging opens connections for
/// sending when they are needed, and a pool that had grown under load is owed to nobody.
const POOL_GROWS_FOR: i64 = 30;

/// A restart, and what was read of its host and of every broker before and after it.
#[derive(Debug, Clone, Copy)]
pub struct Restarted<'a> {
    /// Inventory name.
    pub host: &'a str,
    /// The restart.
    pub restart: &'a Restart,
    /// Read just before.
    pub before: &'a Cluster,
    /// Read just now.
    pub after: &'a Cluster,
}

/// Nothing, when the brokers see the service as they did before; else what is missing.
///
/// - A node is seen running by every other node, nothing is partitioned, no alarm is in force, and every
///   queue of a service that had a consumer has one again.
/// - A service has connections again, as many as before or all its consumers; each has the heartbeat that
///   its settings now give; the queues that only this host serves have as many consumers as before.
/// - No reply queue has got a second consumer.
///
/// A broker that does not belong to the inventory says nothing, and then this is not asked of it.
pub fn awaited(restarted: &Restarted<'_>, settled: i64) -> Option<Waiting> {
    let specific = match restarted.restart.role {
        Role::Broker => cluster(restarted).or_else(|| served(restarted)),
        // An API connects with its first call; what it does open must be right.
        Role::Api => heartbeat(restarted),
        Role::RpcServer | Role::Agent => {
            consumers(restarted).or_else(|| back(restarted, settled)).or_else(|| heartbeat(restarted))
        }
    };
    specific.or_else(|| one_consumer(restarted))
}

impl Restarted<'_> {
    fn service(&self) -> Option<(&Facts, Running)> {
        let facts = self.after.get(self.host)?.as_ref().ok()?;
        let mut services = service::running(facts).into_iter();
        Some((facts, services.find(|running| running.restarts_as() == Some(&self.restart.name))?))
    }
}

fn nodes(cluster: &Cluster) -> impl Iterator<Item = &Rabbit> {
    cluster.values().flatten().filter_map(|facts| facts.rabbitmq.known()).filter(|node| node.running)
}

fn cluster(restarted: &Restarted<'_>) -> Option<Waiting> {
    let own = restarted.after.get(restarted.host)?.as_ref().ok()?.rabbitmq.known()?;
    let trouble = rollout::trouble(own, restarted.after)?;
    waiting("a whole cluster, as every node sees it", trouble.seen)
}

/// Queues of services that had a consumer and have none.
fn served(restarted: &Restarted<'_>) -> Option<Waiting> {
    let (had, has) = (listed(restarted.before)?, listed(restarted.after)?);
    let topics: Vec<&str> =
        service::services().iter().flat_map(|service| &service.queues).map(String::as_str).collect();
    let is_known = |name: &str| topics.iter().any(|topic| of_topic(name, topic).is_some());
    let silent: Vec<&str> = had
        .iter()
        .filter(|(name, consumers)| **consumers > 0 && is_known(name) && has.get(*name) == Some(&0))
        .map(|(name, _)| *name)
        .collect();
    let first = silent.first()?;
    let more = if silent.len() > 1 { format!(" and {} more", silent.len() - 1) } else { String::new() };
    waiting("a consumer on every queue of a service", format!("none on {first}{more}"))
}

/// The queues that only this host serves for a service, and their consumers; `None` where no broker told.
pub(super) fn own_queues<'a>(
    facts: &Facts,
    running: &Running,
    cluster: &'a Cluster,
) -> Option<BTreeMap<&'a str, u32>> {
    let names = host_names(facts, running);
    let is_own = |queue: &str| server_of(queue, running).is_some_and(|server| is_here(server, &names));
    let mut queues = listed(cluster)?;
    queues.retain(|queue, consumers| *consumers > 0 && is_own(queue));
    Some(queues)
}

/// Which server of a service a queue belongs to; nothing for the queue that they share.
fn server_of<'a>(queue: &'a str, running: &Running) -> Option<&'a str> {
    running.service.queues.iter().find_map(|topic| of_topic(queue, topic))
}

fn is_here(server: &str, names: &[String]) -> bool {
    names.iter().any(|host| is_on(server, host))
}

/// The queues of all brokers and their consumers; `None` where no broker told.
fn listed(cluster: &Cluster) -> Option<BTreeMap<&str, u32>> {
    let mut found: Option<BTreeMap<&str, u32>> = None;
    for queue in nodes(cluster).filter_map(|node| node.queues.known()).flatten() {
        // Every node lists the queues of its whole cluster, and one that starts may not know all yet.
        let consumers = found.get_or_insert_default().entry(&queue.name).or_default();
        *consumers = queue.consumers.max(*consumers);
    }
    found
}

/// What stands behind the topic: nothing for the queue that all servers share, and else which of them it
/// belongs to.
fn of_topic<'a>(queue: &'a str, topic: &str) -> Option<&'a str> {
    let rest = queue.strip_prefix(topic)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }
}

fn consumers(restarted: &Restarted<'_>) -> Option<Waiting> {
    let (facts, running) = restarted.service()?;
    let had = listed(restarted.before)?;
    let Some(has) = listed(restarted.after) else {
        let unknown = |node: &Rabbit| node.queues.unknown().map(str::to_owned);
        let reason = nodes(restarted.after).find_map(unknown).unwrap_or_else(|| "no broker told".to_owned());
        return waiting("the queues of a broker", reason);
    };
    let names = host_names(facts, &running);
    let mut shared = Vec::new();
    let mut has_own = false;
    for (name, had) in had.iter().filter(|(_, consumers)| **consumers > 0) {
        let now = has.get(name).copied().unwrap_or_default();
        match server_of(name, &running) {
            Some("") => shared.push((name, *had, now)),
            Some(server) if is_here(server, &names) => {
                has_own = true;
                if now < *had {
                    return waiting(format!("{} on {name}", count_of(*had)), now.to_string());
                }
            }
            // Another service's or host's, or one named after a process that is gone.
            _ => {}
        }
    }
    // Servers on other hosts share these, and may be restarting too: where this host's own queues tell, one
    // consumer is enough.
    let missing = shared.into_iter().find(|(_, had, now)| *now < if has_own { 1 } else { *had })?;
    let (name, had, now) = missing;
    waiting(format!("{} on {name}", count_of(if has_own { 1 } else { had })), now.to_string())
}

fn count_of(consumers: u32) -> String {
    if consumers == 1 { "a consumer".to_owned() } else { format!("{consumers} consumers") }
}

/// The names that the queues of this host can end in: its own, and what its configuration calls it.
fn host_names(facts: &Facts, running: &Running) -> Vec<String> {
    let short = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
    let configured = Settings::read(facts, running, View::Process)
        .and_then(|settings| settings.option("DEFAULT", "host"))
        .ok()
        .and_then(|found| found.value);
    let mut names = vec![facts.hostname.clone(), short(&facts.hostname)];
    names.extend(configured);
    names.retain(|name| !name.is_empty());
    names
}

/// `ctl1@lvm`, `ctl1.example.org` and `ctl1` are on `ctl1`; `ctl10` is not.
fn is_on(server: &str, host: &str) -> bool {
    server.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '.', ':', '#']))
}

/// Does it have its connections again? Only where every node tells: it may be connected to any of them.
fn back(restarted: &Restarted<'_>, settled: i64) -> Option<Waiting> {
    let (facts, running) = restarted.service()?;
    if !all_tell(restarted.after) {
        return None;
    }
    let name = &restarted.restart.name;
    let count = |cluster: &Cluster| {
        let facts = cluster.get(restarted.host)?.as_ref().ok()?;
        let services = service::running(facts);
        let running = services.iter().find(|running| running.restarts_as() == Some(name))?;
        Some(connections::of(cluster, facts, running).len())
    };
    let (had, has) = (count(restarted.before)?, count(restarted.after)?);
    let age = main_process(facts, name).map_or(0, |main| facts.read_at - main.started_at);
    let in_time = settled > 0 && age < POOL_GROWS_FOR;
    if (has == 0 && had > 0) || (has < had && in_time) {
        let seen = format!("{has} in the brokers' own lists");
        return waiting(format!("{had} AMQP connections of {}", running.service.name), seen);
    }
    None
}

/// Is there a list of connections of every node that runs?
fn all_tell(cluster: &Cluster) -> bool {
    let told: Vec<&Rabbit> = nodes(cluster).filter(|node| node.connections.known().is_some()).collect();
    let tells = |member: &String| told.iter().any(|node| node.node == *member);
    !told.is_empty() && nodes(cluster).flat_map(|node| &node.running_members).all(tells)
}

/// Does each of its connections have the heartbeat that its settings now give?
fn heartbeat(restarted: &Restarted<'_>) -> Option<Waiting> {
    let (facts, running) = restarted.service()?;
    let asked: u32 = Settings::read(facts, &running, View::Process)
        .and_then(|settings| settings.option(RABBIT, "heartbeat_timeout_threshold"))
        .ok()?
        .value?
        .trim()
        .parse()
        .ok()?;
    connections::of(restarted.after, facts, &running).into_iter().find_map(|(broker, connection)| {
        let broker_facts = restarted.after.get(broker)?.as_ref().ok()?;
        let offered = brokers::running_heartbeat(broker_facts)?;
        let expected = negotiated_heartbeat(asked, offered);
        if connection.heartbeat == expected {
            return None;
        }
        let what = format!("a heartbeat of {expected} s on each AMQP connection of {}", running.service.name);
        waiting(what, format!("{} s at the broker on {broker}", connection.heartbeat))
    })
}

/// A reply queue that has got a second consumer: a dead and a live one, and every other reply is lost.
fn one_consumer(restarted: &Restarted<'_>) -> Option<Waiting> {
    let doubled = |cluster: &'_ Cluster| -> Vec<ReplyQueue> {
        let queues = nodes(cluster).filter_map(|node| match &node.reply_queues {
            Reading::Known(queues) => Some(queues),
            Reading::Absent | Reading::Unknown(_) => None,
        });
        queues.flatten().filter(|queue| queue.consumers > 1).cloned().collect()
    };
    let before = doubled(restarted.before);
    let new =
        doubled(restarted.after).into_iter().find(|queue| before.iter().all(|old| old.name != queue.name))?;
    waiting("one consumer a reply queue", format!("{} on {}", new.consumers, new.name))
}

#[cfg(test)]
#[path = "brokers_tests.rs"]
pub(super) mod tests;
