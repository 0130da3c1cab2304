//! Tasks against facts: what does not hold, where, and what would mend it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::HostError;
use crate::facts::Facts;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Calls can be lost under conditions that are not everyday.
    Warning,
    /// Calls are lost when a connection dies.
    Critical,
}

/// Where the truth was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The effective value over all files.
    File,
    /// What the next reboot gives.
    Boot,
    /// The kernel in the service's network namespace, or a process older than its file.
    Running,
    /// A live socket's timer, or the negotiated heartbeat.
    Connection,
}

/// What is known about a task that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It certainly does not hold.
    Fail,
    /// It could not be established; unknown is never compliant.
    Unknown,
}

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// `trueup remediate`.
    Automatic,
    /// A person, as `mend` says.
    Manual,
    /// Nothing is to be done here; another finding's remedy mends this one too, or time does.
    None,
}

/// What a finding rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// `path:line` on the host, or the command that answered.
    pub source: String,
    /// What stands there, secrets masked.
    pub text: String,
}

/// A task that does not hold on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The task's id.
    pub task: String,
    /// The task's name.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// Where the truth was looked for.
    pub level: Level,
    /// Certain, or not known.
    pub status: Status,
    /// What it is about: a service, a kernel setting, a file.
    pub subject: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub actual: String,
    /// What that rests on.
    pub evidence: Vec<Evidence>,
    /// Who can mend it.
    pub remedy: Remedy,
    /// What would mend it, one sentence.
    pub mend: String,
    /// Why it matters: the task's `why`.
    pub why: String,
}

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
    pub tasks: Vec<(String, Option<Standing>)>,
    /// What does not hold, worst first.
    pub findings: Vec<Finding>,
    /// What would mend it, in playbook order.
    pub changes: Vec<crate::plan::Change>,
    /// The windows of this host's services.
    pub windows: Vec<WindowRow>,
}

/// The facts of every host of a run, or why there are none.
pub type Cluster = BTreeMap<String, std::result::Result<Facts, HostError>>;
