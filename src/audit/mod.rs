//! Tasks against facts: what does not hold, where, and what would mend it.

pub mod connections;
pub mod effective;
mod finding;
pub mod health;
mod package;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::HostError;
use crate::facts::Facts;
use crate::modules::{Context, Outcome};
use crate::playbook::BoundTask;
use crate::service::{self, Running};

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
    /// The earliest the broker can notice a dead consumer.
    pub broker_best: f64,
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
}

/// The facts of every host of a run, or why there are none.
pub type Cluster = BTreeMap<String, std::result::Result<Facts, HostError>>;

/// The tasks of every host, in playbook order.
pub type Tasks = BTreeMap<String, Vec<BoundTask>>;

/// The verdict on every host that has tasks. A host without facts is an error of that host alone.
///
/// Tasks are checked in playbook order; invariants ([`crate::modules::Module::is_invariant`]) come last.
pub fn audit(tasks: &Tasks, cluster: &Cluster) -> BTreeMap<String, Result<HostAudit, HostError>> {
    let services = services(cluster);
    let mut audits: BTreeMap<&str, Result<Ledger, HostError>> = BTreeMap::new();
    for (host, bound) in tasks {
        let facts = match cluster.get(host) {
            Some(Ok(facts)) => facts,
            Some(Err(error)) => {
                audits.insert(host, Err(error.clone()));
                continue;
            }
            None => {
                audits
                    .insert(host, Err(HostError::Malformed { message: "no facts of this host".to_owned() }));
                continue;
            }
        };
        let mut ledger = Ledger { outcomes: vec![None; bound.len()] };
        for (at, task) in bound.iter().enumerate().filter(|(_, task)| !task.module.is_invariant()) {
            let context = Context { host, facts, services: &services[host.as_str()], cluster, task };
            let outcome = task.module.check(&context);
            ledger.outcomes[at] = Some(outcome);
        }
        audits.insert(host, Ok(ledger));
    }
    tasks
        .iter()
        .map(|(host, bound)| {
            let ledger = audits.remove(host.as_str()).expect("every host was audited above");
            let verdict = ledger.map(|mut ledger| {
                let facts = cluster[host].as_ref().expect("an audited host has facts");
                for (at, task) in bound.iter().enumerate().filter(|(_, task)| task.module.is_invariant()) {
                    let context = Context { host, facts, services: &services[host.as_str()], cluster, task };
                    ledger.outcomes[at] = Some(task.module.check(&context));
                }
                ledger.close(bound)
            });
            (host.clone(), verdict)
        })
        .collect()
}

/// The services of every host that was read.
fn services(cluster: &Cluster) -> BTreeMap<&str, Vec<Running>> {
    let read = cluster.iter().filter_map(|(host, facts)| Some((host.as_str(), facts.as_ref().ok()?)));
    read.map(|(host, facts)| (host, service::running(facts))).collect()
}

/// What the tasks of one host decided, by their place in the playbook.
struct Ledger {
    outcomes: Vec<Option<Outcome>>,
}

impl Ledger {
    fn close(self, bound: &[BoundTask]) -> HostAudit {
        let mut audit = HostAudit::default();
        for (task, outcome) in bound.iter().zip(self.outcomes) {
            let standing = match outcome.expect("every task was checked, invariants last") {
                Outcome::NotApplicable(subject) => Standing::NotApplicable(subject),
                Outcome::Checked { findings, changes } => {
                    audit.changes.extend(changes);
                    let standing = if findings.is_empty() { Standing::Holds } else { Standing::Fails };
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
}
