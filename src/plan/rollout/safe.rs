//! Why a restart is not safe now.

use std::fmt;

use crate::audit::Cluster;
use crate::audit::brokers::{self, files::Files};
use crate::audit::connections;
use crate::facts::{Facts, Question, Quorum, Rabbit, Reading};
use crate::plan::rollout::{Instances, witnesses};
use crate::plan::{Restart, Role};
use crate::service::{self, RestartWay};

/// What the operator allows in so many words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allow {
    /// Quorum queues may be without a majority while a node restarts (`--allow-quorum-loss`).
    pub quorum_loss: bool,
}

/// The flag that allows it.
const FLAG: &str = "--allow-quorum-loss";

/// A look at everything that a restart depends on.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Inventory name of the host that restarts a service.
    pub host: &'a str,
    /// The restart.
    pub restart: &'a Restart,
    /// Where services ran when the plan was made.
    pub instances: &'a Instances,
    /// Facts of the host, and of the others that [`witnesses`] names, just read.
    pub cluster: &'a Cluster,
    /// What the operator allows.
    pub allow: Allow,
}

/// One reason why a restart is not safe now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What is in the way.
    pub seen: String,
    /// What a person can do.
    pub mend: String,
    /// It may pass by itself, so waiting is worth it.
    pub passes: bool,
    /// An operator may go on in spite of it, with a flag that `mend` names: a plan is made all the same.
    pub may_be_allowed: bool,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.seen, self.mend)
    }
}

impl Obstacle {
    fn passing(seen: String, mend: impl Into<String>) -> Self {
        Self { seen, mend: mend.into(), passes: true, may_be_allowed: false }
    }

    fn lasting(seen: String, mend: impl Into<String>) -> Self {
        Self { passes: false, ..Self::passing(seen, mend) }
    }

    fn unless_allowed(self) -> Self {
        Self { may_be_allowed: true, ..self }
    }
}

/// What to ask the host itself beyond what is always read, just before this restart.
pub fn questions(restart: &Restart) -> &'static [Question] {
    match restart.role {
        Role::Broker => &[Question::Quorum],
        Role::RpcServer | Role::Agent | Role::Api => &[],
    }
}

/// Why this restart is not safe now; nothing when it is.
///
/// Asked when a plan is made, and again just before each restart, because batches take their time.
pub fn obstacles(look: &Look<'_>) -> Vec<Obstacle> {
    let mut found: Vec<Obstacle> = not_ours(look).into_iter().collect();
    match look.restart.role {
        Role::Broker => found.extend(broker(look)),
        Role::RpcServer | Role::Api => {
            found.extend(last_instance(look));
            found.extend(unwell_brokers(look));
        }
        // An agent serves its own host, and no other instance stands in for it.
        Role::Agent => found.extend(unwell_brokers(look)),
    }
    found.retain(|obstacle| !(obstacle.may_be_allowed && look.allow.quorum_loss));
    found
}

/// Pacemaker, say, has taken the service over since the plan was made.
fn not_ours(look: &Look<'_>) -> Option<Obstacle> {
    let facts = look.cluster.get(look.host)?.as_ref().ok()?;
    service::running(facts).into_iter().find_map(|running| match &running.restart {
        RestartWay::Blocked(how) if running.restarts_as() == Some(&look.restart.name) => {
            Some(Obstacle::lasting(format!("{} is not ours to restart", look.restart.name), how.clone()))
        }
        _ => None,
    })
}

fn last_instance(look: &Look<'_>) -> Option<Obstacle> {
    let runs = |host: &str| {
        let facts = look.cluster.get(host)?.as_ref().ok()?;
        let is_up = |running: &service::Running| {
            let unit = running.unit.as_ref().and_then(|unit| facts.units.get(unit));
            running.service.name == look.restart.service
                && running.runs()
                && unit.is_none_or(|unit| unit.active == "active")
        };
        service::running(facts).iter().any(is_up).then_some(())
    };
    let others = witnesses(look.host, look.restart, look.instances);
    // One that does not run, or is the only one there is, takes nothing away.
    if others.is_empty() || runs(look.host).is_none() || others.iter().any(|host| runs(host).is_some()) {
        return None;
    }
    let service = &look.restart.service;
    Some(Obstacle::passing(
        format!("no other {service} runs now, and {} ran it when the plan was made", others.join(", ")),
        format!("start {service} there first: a restart here would leave none"),
    ))
}

/// A service that starts on a partitioned or blocked cluster serves nobody, and nobody can tell. Asked of
/// the brokers that it is connected to, or of all where that is not known.
fn unwell_brokers(look: &Look<'_>) -> Option<Obstacle> {
    let facts = look.cluster.get(look.host)?.as_ref().ok()?;
    let services = service::running(facts);
    let running = services.iter().find(|running| running.restarts_as() == Some(&look.restart.name))?;
    let connected = connections::of(look.cluster, facts, running);
    let nodes = look
        .cluster
        .iter()
        .filter(|(host, _)| connected.is_empty() || connected.iter().any(|(broker, _)| broker == host));
    let nodes = nodes.filter_map(|(_, facts)| facts.as_ref().ok()?.rabbitmq.known());
    nodes.filter(|node| node.running).find_map(|node| {
        let views = views(node, look.cluster);
        partitioned(&views).or_else(|| alarmed(&views))
    })
}

/// What stands against stopping this host's node.
///
/// What is asked is what every node of the cluster says, not only the node itself: a partition is often
/// seen from one side only.
fn broker(look: &Look<'_>) -> Vec<Obstacle> {
    let Some(Ok(facts)) = look.cluster.get(look.host) else { return Vec::new() };
    let own = match &facts.rabbitmq {
        // It cannot get worse, and a restart may mend it.
        Reading::Absent => return Vec::new(),
        Reading::Known(own) if !own.running => return Vec::new(),
        Reading::Known(own) => own,
        Reading::Unknown(reason) => {
            let seen = format!("the node on {} does not say how its cluster is: {reason}", look.host);
            return vec![Obstacle::passing(seen, "`rabbitmqctl cluster_status` there must work first")];
        }
    };
    let mut found = unasked(look);
    let views = views(own, look.cluster);
    found.extend(partitioned(&views));
    found.extend(alarmed(&views));
    found.extend(members_down(&views));
    found.extend(in_maintenance(own, &views));
    found.extend(quorum(own));
    found.extend(both_pause(facts, own));
    found
}

/// What is wrong with the cluster of a node, as any of its nodes sees it: it may pass.
pub fn trouble(own: &Rabbit, cluster: &Cluster) -> Option<Obstacle> {
    let views = views(own, cluster);
    partitioned(&views).or_else(|| alarmed(&views)).or_else(|| members_down(&views))
}

/// What the running nodes of the same cluster say; a site can have several clusters.
fn views<'a>(own: &Rabbit, cluster: &'a Cluster) -> Vec<&'a Rabbit> {
    let nodes = cluster.values().flatten().filter_map(|facts| facts.rabbitmq.known());
    nodes
        .filter(|node| node.running && node.members.iter().any(|member| own.members.contains(member)))
        .collect()
}

/// Hosts that had a node when the plan was made, and that cannot be asked now: unknown is never safe.
fn unasked(look: &Look<'_>) -> Vec<Obstacle> {
    let reason = |host: &str| match look.cluster.get(host)? {
        Err(error) => Some(error.to_string()),
        Ok(facts) => facts.rabbitmq.unknown().map(str::to_owned),
    };
    let others = witnesses(look.host, look.restart, look.instances).into_iter();
    let silent = others.filter_map(|host| Some((host, reason(host)?)));
    let obstacle = |(host, reason)| {
        let seen = format!("the node on {host} cannot be asked about the cluster: {reason}");
        Obstacle::passing(seen, "it must answer before another node stops")
    };
    silent.map(obstacle).collect()
}

fn partitioned(views: &[&Rabbit]) -> Option<Obstacle> {
    let seen =
        views.iter().find_map(|node| match (node.partitions.as_slice(), node.other_partitions.first()) {
            ([], None) => None,
            ([], Some(others)) => Some(format!("{} sees {others} partitioned", node.node)),
            (from, _) => Some(format!("{} is partitioned from {}", node.node, from.join(", "))),
        })?;
    Some(Obstacle::passing(seen, "heal the partition first (`rabbitmqctl cluster_status`)"))
}

fn alarmed(views: &[&Rabbit]) -> Option<Obstacle> {
    let node = views.iter().find(|node| !node.alarms.is_empty())?;
    Some(Obstacle::passing(
        format!("an alarm is in force: {}", node.alarms.join(", ")),
        "publishers are blocked until it clears: free memory or disk there",
    ))
}

fn members_down(views: &[&Rabbit]) -> Option<Obstacle> {
    let (node, down) = views.iter().map(|node| (node, node.down())).find(|(_, down)| !down.is_empty())?;
    Some(Obstacle::passing(
        format!("{} sees {} down", node.node, down.join(", ")),
        "another restart would take a second node of the cluster away: start it, or forget it with \
         `rabbitmqctl forget_cluster_node`",
    ))
}

/// A node in maintenance mode takes no clients; on the node itself the quorum check passes whatever
/// depends on it.
fn in_maintenance(own: &Rabbit, views: &[&Rabbit]) -> Option<Obstacle> {
    let node = views.iter().flat_map(|node| &node.maintenance).next()?;
    let mend = format!("end it with `rabbitmq-upgrade revive -n {node}`");
    let seen = format!("{node} is in maintenance mode");
    Some(if *node == own.node {
        let seen = format!("{seen}, so its quorum check says nothing");
        Obstacle::lasting(seen, format!("{mend}, or go on with {FLAG}")).unless_allowed()
    } else {
        Obstacle::lasting(format!("{seen} and takes no clients"), mend)
    })
}

/// The first release with quorum queues, and with the check.
const QUORUM_QUEUES_SINCE: [u32; 2] = [3, 8];

fn quorum(own: &Rabbit) -> Option<Obstacle> {
    let unknown = |reason: &str| {
        let seen = format!("whether quorum queues need {} is not known: {reason}", own.node);
        Obstacle::passing(seen, format!("`rabbitmq-diagnostics` must answer there, or go on with {FLAG}"))
            .unless_allowed()
    };
    let Quorum { status, message } = match &own.quorum {
        Reading::Absent => return None,
        Reading::Unknown(reason) => return Some(unknown(reason)),
        Reading::Known(answer) => answer,
    };
    match status {
        0 => return None,
        64 if own.version.as_deref().and_then(release).is_some_and(|it| it < QUORUM_QUEUES_SINCE) => {
            return None;
        }
        64 | 127 => return Some(unknown(message)),
        _ => {}
    }
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let more = if lines.len() > 3 { format!(" (and {} more)", lines.len() - 3) } else { String::new() };
    let said = lines.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let seen = format!("check_if_node_is_quorum_critical failed with exit code {status}: {said}{more}");
    Some(if own.members.len() == 2 {
        let mend = format!(
            "it can never pass on a cluster of two nodes, where a majority is both; these queues are down while \
             the node restarts: add a third node, or go on with {FLAG}"
        );
        Obstacle::lasting(seen, mend).unless_allowed()
    } else {
        let mend = format!("wait until every member of these queues is online, or go on with {FLAG}");
        Obstacle::passing(seen, mend).unless_allowed()
    })
}

fn release(version: &str) -> Option<[u32; 2]> {
    let mut parts = version.split('.').map(str::parse);
    Some([parts.next()?.ok()?, parts.next()?.ok()?])
}

/// With `pause_minority`, one node of two is no majority, so the other one pauses while this one is away
/// (`rabbit_node_monitor:handle_dead_node`); without effect since 4.3.
fn both_pause(facts: &Facts, own: &Rabbit) -> Option<Obstacle> {
    let counts = own.version.as_deref().and_then(release).is_none_or(|release| release < [4, 3]);
    if own.members.len() != 2 || !counts {
        return None;
    }
    let service = brokers::service_of(service::running(facts));
    let files = Files::of(facts, service.as_ref()).ok()?;
    let handling = files.effective().cluster_partition_handling.ok()?;
    (handling.value == "pause_minority").then(|| {
        let seen = format!(
            "the cluster has two nodes and pause_minority ({}): the other one pauses too while {} restarts",
            handling.source, own.node
        );
        let mend =
            format!("add a third node or use autoheal, or go on with {FLAG}: no broker serves meanwhile");
        Obstacle::lasting(seen, mend).unless_allowed()
    })
}

#[cfg(test)]
#[path = "safe_tests.rs"]
mod tests;
