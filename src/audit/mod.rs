//! Tasks against facts: what does not hold, where, and what would mend it.

pub mod brokers;
pub mod connections;
pub mod effective;
mod finding;
pub mod health;
mod package;
mod resolve;
pub mod windows;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::HostError;
use crate::facts::Facts;
use crate::modules::{Context, Outcome};
use crate::plan::{Action, Restart, simulate};
use crate::playbook::BoundTask;
use crate::service::{self, Running};
use crate::waiver::Waivers;

pub use finding::{Evidence, Finding, Level, Remedy, Severity, Status};

/// One AMQP connection's detection window (a service of this host, and one broker), in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowRow {
    /// The service that consumes, `cinder-volume`.
    pub service: String,
    /// Inventory name of the broker's host, or its address where it is not in the inventory.
    pub broker: String,
    /// Negotiated heartbeat, 0 when off.
    pub heartbeat: f64,
    /// The earliest the broker can notice a dead consumer; null: never.
    pub broker_best: Option<f64>,
    /// The latest; null: never.
    pub broker_worst: Option<f64>,
    /// The setting that decides the latest.
    pub decided_by: String,
    /// The latest the client can notice and be connected again; null: never.
    pub client_worst: Option<f64>,
    /// The smallest `rpc_response_timeout` of the services that consume on that broker; null: none.
    pub rpc_response_timeout: Option<f64>,
    /// How old a call may already be when the connection dies and still get its reply; negative:
    /// replies are lost; null: there is no bound on one side.
    pub survivable_age: Option<f64>,
}

/// How a task stands on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its subject exists and it holds.
    Holds,
    /// Its subject exists and it does not hold, or that is unknown: there are findings.
    Fails,
    /// Its subject does not exist on this host: neither a finding nor a pass.
    NotApplicable(String),
}

/// The verdict on one host.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostAudit {
    /// Each task's id and how it stands, in playbook order.
    pub tasks: Vec<(String, Standing)>,
    /// What does not hold, worst first.
    pub findings: Vec<Finding>,
    /// What would mend it, in playbook order.
    pub changes: Vec<crate::plan::Change>,
    /// The windows of this host's services.
    pub windows: Vec<WindowRow>,
    /// The same after every change of the run.
    pub windows_after: Vec<WindowRow>,
}

/// Did the service start before this time, by its host's clock? What it read was changed since.
pub fn is_older(running: &Running, modified_at: i64) -> bool {
    /// A start time is reckoned from clock ticks since boot, so it can be a second off.
    const TICK: i64 = 1;
    running.started_at.is_some_and(|started| started + TICK < modified_at)
}

/// The facts of every host of a run, or why there are none.
pub type Cluster = BTreeMap<String, std::result::Result<Facts, HostError>>;

/// The windows of every host's services, by inventory name.
pub type Windows = BTreeMap<String, Vec<windows::Pair>>;

/// The tasks of every host, in playbook order.
pub type Tasks = BTreeMap<String, Vec<BoundTask>>;

/// The verdict on every host that has tasks. A host without facts is an error of that host alone.
///
/// Tasks are checked in playbook order; invariants ([`crate::modules::Module::is_invariant`]) come last,
/// and also see what the changes of all other tasks would make of the cluster.
pub fn audit(tasks: &Tasks, cluster: &Cluster) -> BTreeMap<String, Result<HostAudit, HostError>> {
    audit_with(tasks, cluster, &Waivers::default())
}

/// The same, with the findings of waived tasks marked. What a waiver in force is for is left as it is: there
/// are no changes for it, and [`HostAudit::windows_after`] does without them.
pub fn audit_with(
    tasks: &Tasks,
    cluster: &Cluster,
    waivers: &Waivers,
) -> BTreeMap<String, Result<HostAudit, HostError>> {
    let services = services(cluster);
    let windows = windows::pairs(cluster, &services);
    let check = |host: &str, task: &BoundTask, facts, windows, windows_after| {
        let services = &services[host];
        task.module.check(&Context { host, facts, services, cluster, windows, windows_after, task })
    };
    let none = Windows::new();
    let mut outcomes: BTreeMap<(&str, usize), Outcome> = BTreeMap::new();
    let each = || {
        let read =
            tasks.iter().filter_map(|(host, bound)| Some((host, bound, cluster.get(host)?.as_ref().ok()?)));
        read.flat_map(|(host, bound, facts)| {
            bound.iter().enumerate().map(move |(at, task)| (host.as_str(), at, task, facts))
        })
    };
    for (host, at, task, facts) in each().filter(|(_, _, task, _)| !task.module.is_invariant()) {
        let outcome = check(host, task, facts, &none, &none);
        outcomes.insert((host, at), waive(outcome, host, task, waivers));
    }
    let after = after(cluster, &outcomes);
    let then = windows::pairs(&after, &self::services(&after));
    for (host, at, task, facts) in each().filter(|(_, _, task, _)| task.module.is_invariant()) {
        let outcome = check(host, task, facts, &windows, &then);
        outcomes.insert((host, at), waive(outcome, host, task, waivers));
    }
    tasks
        .iter()
        .map(|(host, bound)| {
            let verdict = match cluster.get(host) {
                None => Err(HostError::Malformed { message: "no facts of this host".to_owned() }),
                Some(Err(error)) => Err(error.clone()),
                Some(Ok(_)) => {
                    let own = bound.iter().enumerate().map(|(at, task)| {
                        (task, outcomes.remove(&(host.as_str(), at)).expect("every task was checked above"))
                    });
                    let rows = |windows: &Windows| {
                        windows.get(host).into_iter().flatten().filter_map(windows::Pair::row).collect()
                    };
                    Ok(HostAudit { windows_after: rows(&then), ..close(own, rows(&windows)) })
                }
            };
            (host.clone(), verdict)
        })
        .collect()
}

/// Marks the findings that a waiver is for; of what is waived nothing is changed.
fn waive(outcome: Outcome, host: &str, task: &BoundTask, waivers: &Waivers) -> Outcome {
    match (outcome, waivers.for_task(host, &task.id)) {
        (Outcome::Checked { mut findings, changes }, Some(waived)) => {
            let changes = if waived.expired { changes } else { Vec::new() };
            for finding in findings.iter_mut().filter(|finding| !finding.is_note()) {
                finding.waived = Some(waived.clone());
            }
            Outcome::Checked { findings, changes }
        }
        (outcome, _) => outcome,
    }
}

/// The cluster after every change that the tasks want, and the restarts these owe.
fn after(cluster: &Cluster, outcomes: &BTreeMap<(&str, usize), Outcome>) -> Cluster {
    let mut after = cluster.clone();
    let mut owed: std::collections::BTreeSet<(&Restart, &str)> = std::collections::BTreeSet::new();
    for ((host, _), outcome) in outcomes {
        let Outcome::Checked { changes, .. } = outcome else { continue };
        for change in changes {
            if let Action::Restart(restart) = &change.action {
                owed.insert((restart, host));
                continue;
            }
            // A file that cannot be edited stays as it is: the plan will say that it is blocked.
            if simulate::after(&mut after, host, [&change.action]).is_ok() {
                owed.extend(change.owes.iter().map(|restart| (restart, *host)));
            }
        }
    }
    // A restart's order begins with its role: brokers first, on every host.
    for (restart, host) in owed {
        simulate::act(&mut after, host, &Action::Restart(restart.clone()));
    }
    after
}

/// The services of every host that was read.
fn services(cluster: &Cluster) -> BTreeMap<&str, Vec<Running>> {
    let read = cluster.iter().filter_map(|(host, facts)| Some((host.as_str(), facts.as_ref().ok()?)));
    read.map(|(host, facts)| (host, service::running(facts))).collect()
}

/// The verdict on one host.
fn close<'a>(outcomes: impl Iterator<Item = (&'a BoundTask, Outcome)>, windows: Vec<WindowRow>) -> HostAudit {
    let mut audit = HostAudit { windows, ..HostAudit::default() };
    for (task, outcome) in outcomes {
        let standing = match outcome {
            Outcome::NotApplicable(subject) => Standing::NotApplicable(subject),
            Outcome::Checked { findings, changes } => {
                let standing =
                    if findings.iter().all(Finding::is_note) { Standing::Holds } else { Standing::Fails };
                audit.changes.extend(changes);
                audit.findings.extend(findings);
                standing
            }
        };
        audit.tasks.push((task.id.clone(), standing));
    }
    // Stable: among equals the playbook's order stays.
    audit.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    audit
}
