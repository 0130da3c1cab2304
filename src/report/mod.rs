//! The answer of a run, and the formats it can be written in, in one visible table: [`FORMATS`].

mod drift;
mod html;
mod human;
pub mod incidents;
mod json;
mod jsonl;
mod junit;
mod markdown;
mod matrix;
mod prometheus;
mod rollout;
mod sarif;
mod view;
mod waive;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::{Finding, HostAudit, Severity, Standing, WindowRow};
use crate::drift::Difference;
use crate::error::{Exit, HostError};
use crate::waiver::WaiverRow;

pub(crate) use human::{beside, wrap};
pub use json::{as_json, schema};
pub use jsonl::event;

/// The version of the JSON form. A reader may rely on everything but what a higher minor version adds.
pub const FORMAT_VERSION: &str = "1.0";

/// A format: its word on the command line, and how a report is written in it.
#[derive(Debug)]
pub struct Format {
    /// The value of `--format`.
    pub name: &'static str,
    /// One line for `--help`.
    pub summary: &'static str,
    /// Writes a report.
    pub write: fn(&Report, Style) -> String,
    /// Writes what happens, as it happens, `at` a time in RFC 3339; only of formats that have it.
    pub event: Option<fn(at: &str, event: &crate::event::Event) -> String>,
}

/// Every format; the first is the default.
pub const FORMATS: &[Format] = &[
    Format { name: "human", summary: "tables and prose", write: human::write, event: None },
    Format { name: "summary", summary: "the same on one screen", write: human::brief::write, event: None },
    Format { name: "json", summary: "for programs; see the JSON schema", write: json::write, event: None },
    Format {
        name: "jsonl",
        summary: "events while it works, then the answer, one JSON object a line",
        write: jsonl::write,
        event: Some(jsonl::event),
    },
    Format { name: "junit", summary: "for CI: a host is a suite", write: junit::write, event: None },
    Format { name: "sarif", summary: "for code scanning: SARIF 2.1.0", write: sarif::write, event: None },
    Format {
        name: "prometheus",
        summary: "for node_exporter's textfile collector (FILE.prom)",
        write: prometheus::write,
        event: None,
    },
    Format { name: "markdown", summary: "for tickets and wikis", write: markdown::write, event: None },
    Format { name: "html", summary: "one page that needs nothing else", write: html::write, event: None },
];

/// The format with this name.
pub fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// How a person wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Colour; it never carries meaning alone.
    pub colour: bool,
    /// Columns of the terminal.
    pub width: u16,
    /// Show the changes of files as diffs (`--diff`).
    pub diff: bool,
    /// Lines of the terminal: a longer answer ends with its summary, which is what stays on the screen. `None`: it
    /// goes elsewhere.
    pub rows: Option<u16>,
}

impl Default for Style {
    fn default() -> Self {
        Self { colour: false, width: 80, diff: false, rows: None }
    }
}

/// The answer of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`FORMAT_VERSION`].
    pub format_version: String,
    /// Version of the tool.
    pub trueup: String,
    /// The command that answered: `audit`, `plan`, `remediate`, `apply`, `verify`.
    pub command: String,
    /// When the run started, RFC 3339.
    pub started_at: String,
    /// The playbook.
    pub playbook: Option<String>,
    /// How long it took, in seconds; absent where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Every host of the run, by inventory name.
    pub hosts: BTreeMap<String, HostReport>,
    /// The rollout: each batch's hosts, in order; absent where nothing was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<Vec<Vec<String>>>,
    /// Under which name the run can be rolled back or resumed; absent where nothing was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What was compared with the last verified run; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Compared>,
    /// Every waiver of the run and how it stands; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<WaiverRow>,
    /// Counts.
    pub summary: Summary,
}

/// The answer on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostReport {
    /// How it stands.
    pub status: HostStatus,
    /// Why nothing is known about it, or what went wrong on it.
    pub error: Option<HostFault>,
    /// Why it did not take part in the run, with nothing changed on it; absent where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Where its part of the run failed, and why; absent where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Every task and how it stands, in playbook order.
    pub tasks: Vec<TaskStanding>,
    /// What does not hold, worst first.
    pub findings: Vec<Finding>,
    /// The detection windows of its services.
    pub windows: Vec<WindowRow>,
    /// What they were before the changes that were made; absent where nothing was changed, or not read before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows_before: Vec<WindowRow>,
    /// What they would be after every change that the playbook asks for; absent where that is the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows_after: Vec<WindowRow>,
    /// What would change or has changed, in order; absent where nothing was planned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeRow>,
    /// What differs from the last verified run and from what should hold; absent where nothing does, or where that
    /// was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Difference>,
}

/// How the part of a host in a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The step, or what followed the last of them.
    pub step: String,
    /// Why, what became of the host, and what is left to do.
    pub reason: String,
}

/// How a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostStatus {
    /// Every task holds, has no subject there, or is waived.
    Compliant,
    /// Something does not hold, or is not known.
    Findings,
    /// No connection, or it was lost.
    Unreachable,
    /// Reached, and then something went wrong.
    Failed,
}

impl HostStatus {
    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Compliant => "compliant",
            Self::Findings => "findings",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
        }
    }
}

/// What went wrong on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostFault {
    /// Which, for programs.
    pub cause: HostError,
    /// The same for people.
    pub message: String,
}

/// How a task stands on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStanding {
    /// The task's id.
    pub task: String,
    /// How it stands.
    pub standing: Standing,
}

/// One thing that would be done or was done on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeRow {
    /// The tasks that want it; none for a command of the playbook.
    pub tasks: Vec<String>,
    /// What it does, in a few words.
    pub what: String,
    /// The change of the file as a unified diff, secrets masked; empty where no file changes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub diff: String,
    /// How it stands with it.
    pub outcome: ChangeOutcome,
    /// Why, where that needs saying: the reason of a failure or of a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How it stands with a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// It would be done.
    Pending,
    /// It was done.
    Changed,
    /// There was nothing left to do.
    Unchanged,
    /// It failed.
    Failed,
    /// It was done, and put back after a later failure.
    RolledBack,
    /// The host refused the whole run before anything was changed on it.
    Refused,
    /// The run stopped before its turn.
    NotReached,
    /// It cannot be planned: a person is needed.
    Blocked,
}

impl ChangeOutcome {
    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "would change",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::Refused => "refused",
            Self::NotReached => "not reached",
            Self::Blocked => "blocked",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Changed | Self::Unchanged => Exit::Compliant,
            Self::Pending | Self::Blocked | Self::NotReached => Exit::Findings,
            Self::Failed | Self::RolledBack | Self::Refused => Exit::Failed,
        }
    }
}

/// What a run was compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// When the baseline of each host was saved, RFC 3339, by inventory name; a host without one is not here.
    pub baselines: BTreeMap<String, String>,
    /// Hosts that are new or gone.
    pub cluster: Vec<Difference>,
}

/// Counts of hosts, and of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Hosts of the run.
    pub hosts: usize,
    /// Hosts on which everything holds.
    pub compliant: usize,
    /// Findings on all hosts together, without the waived ones.
    pub findings: usize,
    /// Findings that a waiver in force is for.
    #[serde(default)]
    pub waived: usize,
    /// Differences from the last verified run and from what should hold, without the waived ones.
    #[serde(default)]
    pub drift: usize,
    /// Hosts that were not reached.
    pub unreachable: usize,
    /// Hosts that failed.
    pub failed: usize,
    /// Hosts that refused the run; each counts by how it stands, too.
    #[serde(default)]
    pub refused: usize,
}

impl HostReport {
    /// The verdict on a host that was audited.
    pub fn audited(audit: HostAudit) -> Self {
        let counts = audit.findings.iter().any(Finding::counts);
        let status = if counts { HostStatus::Findings } else { HostStatus::Compliant };
        let tasks = audit.tasks.into_iter().map(|(task, standing)| TaskStanding { task, standing }).collect();
        Self {
            status,
            error: None,
            refused: None,
            failure: None,
            tasks,
            findings: audit.findings,
            windows_before: Vec::new(),
            windows_after: if audit.windows_after == audit.windows {
                Vec::new()
            } else {
                audit.windows_after
            },
            windows: audit.windows,
            changes: Vec::new(),
            drift: Vec::new(),
        }
    }

    /// A host about which nothing is known.
    pub fn broken(error: HostError) -> Self {
        Self {
            status: if unreachable(&error) { HostStatus::Unreachable } else { HostStatus::Failed },
            error: Some(HostFault { message: error.to_string(), cause: error }),
            refused: None,
            failure: None,
            tasks: Vec::new(),
            findings: Vec::new(),
            windows: Vec::new(),
            windows_before: Vec::new(),
            windows_after: Vec::new(),
            changes: Vec::new(),
            drift: Vec::new(),
        }
    }

    /// A host of a plan that this run did not read.
    pub fn unread() -> Self {
        Self::audited(HostAudit::default())
    }

    /// Does what remains wrong here need a person?
    pub fn needs_a_person(&self) -> bool {
        let mut open = self.findings.iter().filter(|finding| !finding.is_waived());
        open.any(|finding| finding.remedy == crate::audit::Remedy::Manual)
    }

    fn exit(&self) -> Exit {
        let status = match self.status {
            HostStatus::Compliant => Exit::Compliant,
            HostStatus::Findings => Exit::Findings,
            HostStatus::Unreachable => Exit::Unreachable,
            HostStatus::Failed => Exit::Failed,
        };
        let status = if self.refused.is_some() { status.worst(Exit::Failed) } else { status };
        let drifted = self.drift.iter().any(Difference::counts);
        let status = if drifted { status.worst(Exit::Findings) } else { status };
        self.changes.iter().map(|change| change.outcome.exit()).fold(status, Exit::worst)
    }

    /// The same when the host was to be put back.
    fn exit_when_back(&self) -> Exit {
        if self.refused.is_some() {
            return Exit::Failed;
        }
        match self.status {
            HostStatus::Compliant | HostStatus::Findings => Exit::Compliant,
            HostStatus::Unreachable => Exit::Unreachable,
            HostStatus::Failed => Exit::Failed,
        }
    }
}

/// The command whose answer is that everything is as it was.
pub const ROLLBACK: &str = "rollback";

impl Report {
    /// The report of a run that audited these hosts.
    pub fn new(
        command: impl Into<String>,
        started_at: impl Into<String>,
        playbook: Option<String>,
        audits: BTreeMap<String, Result<HostAudit, HostError>>,
    ) -> Self {
        let hosts = audits
            .into_iter()
            .map(|(host, verdict)| (host, verdict.map_or_else(HostReport::broken, HostReport::audited)))
            .collect();
        let mut report = Self {
            format_version: FORMAT_VERSION.to_owned(),
            trueup: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.into(),
            started_at: started_at.into(),
            playbook,
            seconds: None,
            hosts,
            batches: None,
            run: None,
            drift: None,
            waivers: Vec::new(),
            summary: Summary::default(),
        };
        report.count();
        report
    }

    /// Counts again; owed after a change of [`Report::hosts`].
    pub fn count(&mut self) {
        let findings = || self.hosts.values().flat_map(|host| &host.findings);
        let with = |status| self.hosts.values().filter(|host| host.status == status).count();
        self.summary = Summary {
            hosts: self.hosts.len(),
            compliant: with(HostStatus::Compliant),
            findings: findings().filter(|finding| !finding.is_waived()).count(),
            waived: findings().filter(|finding| finding.is_waived()).count(),
            drift: self.differences().filter(|(_, difference)| difference.counts()).count(),
            unreachable: with(HostStatus::Unreachable),
            failed: with(HostStatus::Failed),
            refused: self.hosts.values().filter(|host| host.refused.is_some()).count(),
        };
    }

    /// What the process exits with.
    pub fn exit(&self) -> Exit {
        let interrupted = |host: &HostReport| {
            host.error.as_ref().is_some_and(|fault| fault.cause == HostError::Interrupted)
        };
        if self.hosts.values().any(interrupted) {
            return Exit::Interrupted;
        }
        let cluster = self.drift.iter().flat_map(|compared| &compared.cluster);
        let cluster = if cluster.count() > 0 { Exit::Findings } else { Exit::Compliant };
        // After a rollback everything is found again that was found before: that is what was asked for.
        let exit = if self.command == ROLLBACK { HostReport::exit_when_back } else { HostReport::exit };
        self.hosts.values().map(exit).fold(cluster, Exit::worst)
    }
}

/// Was the host not reached, or not reached to the end?
fn unreachable(error: &HostError) -> bool {
    match error {
        HostError::NameNotResolved { .. }
        | HostError::Refused { .. }
        | HostError::ConnectTimeout { .. }
        | HostError::HostKeyUnknown { .. }
        | HostError::HostKeyChanged { .. }
        | HostError::Authentication { .. }
        | HostError::Deadline { .. }
        | HostError::Disconnected { .. }
        | HostError::Unanswered { .. }
        | HostError::Ssh { .. } => true,
        HostError::SudoPassword
        | HostError::SudoRefused { .. }
        | HostError::CommandFailed { .. }
        | HostError::Malformed { .. }
        | HostError::Held { .. }
        | HostError::NotOpen { .. }
        | HostError::TakenOver { .. }
        | HostError::NoFailsafe { .. }
        | HostError::NotSafe { .. }
        | HostError::Stale { .. }
        | HostError::Interrupted => false,
    }
}

/// The word for a severity.
fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}
