//! The answer of `trueup incidents`.

mod human;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, HostFault, Style};
use crate::error::Exit;
use crate::incidents::Found;
use crate::incidents::today::Fate;

/// The name in [`IncidentReport::sources`] of files that the command line names.
pub const LOGS: &str = "logs";

/// The answer of `trueup incidents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentReport {
    /// The version of this form.
    pub format_version: String,
    /// Version of the tool.
    pub trueup: String,
    /// `incidents`.
    pub command: String,
    /// When the run started, RFC 3339.
    pub started_at: String,
    /// Only what happened from then on was asked for.
    pub since: Option<Timestamp>,
    /// Only what happened until then was asked for.
    pub until: Option<Timestamp>,
    /// What was read, by host; `logs` for files of the command line.
    pub sources: BTreeMap<String, SourceReport>,
    /// What was found.
    #[serde(flatten)]
    pub found: Found,
    /// Was today's configuration audited?
    pub audited: bool,
    /// Counts.
    pub summary: IncidentSummary,
}

/// What was read of one host's logs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceReport {
    /// Why nothing was read.
    pub error: Option<HostFault>,
    /// The zone of times that name none: an IANA name or an offset.
    pub zone: String,
    /// Files that were searched.
    pub files: usize,
    /// Their size in bytes, as they are on disk.
    pub bytes: u64,
    /// Lines of interest.
    pub lines: u64,
    /// Lines of interest that could not be read.
    pub skipped: u64,
    /// Files that could not be searched, and why.
    pub unread: BTreeMap<String, String>,
    /// Files of which older lines were left out, because there were too many.
    pub cut: Vec<String>,
    /// Seconds that the host's clock is ahead of this machine's today, where they are apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead: Option<f64>,
    /// Why today's settings are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_error: Option<HostFault>,
}

/// Counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentSummary {
    /// Incidents.
    pub incidents: usize,
    /// Calls that were lost in them.
    pub lost_calls: usize,
    /// Of these, calls that would survive with today's settings.
    pub would_survive: usize,
    /// That may be lost again.
    pub may_be_lost: usize,
    /// That would be lost again.
    pub would_be_lost: usize,
    /// Calls without an answer for other reasons.
    pub other_calls: usize,
    /// Losses of connections without a lost call.
    pub survived_losses: usize,
    /// Lines of interest that could not be read.
    pub skipped_lines: u64,
}

/// A format of this report.
#[derive(Debug)]
pub struct IncidentFormat {
    /// The value of `--format`.
    pub name: &'static str,
    /// One line for `--help`.
    pub summary: &'static str,
    /// Writes a report.
    pub write: fn(&IncidentReport, Style) -> String,
}

/// Every format; the first is the default.
pub const INCIDENT_FORMATS: &[IncidentFormat] = &[
    IncidentFormat { name: "human", summary: "what was lost, why, and each timeline", write: human::write },
    IncidentFormat { name: "json", summary: "for programs; see the JSON schema", write: json },
];

impl IncidentReport {
    /// A report with its counts.
    pub fn new(
        started_at: impl Into<String>,
        span: (Option<Timestamp>, Option<Timestamp>),
        sources: BTreeMap<String, SourceReport>,
        found: Found,
        audited: bool,
    ) -> Self {
        let fates: Vec<Fate> = found
            .incidents
            .iter()
            .flat_map(|incident| &incident.calls)
            .filter_map(|call| Some(call.today.as_ref()?.fate))
            .collect();
        let with = |fate| fates.iter().filter(|one| **one == fate).count();
        let summary = IncidentSummary {
            incidents: found.incidents.len(),
            lost_calls: found.incidents.iter().map(|incident| incident.calls.len()).sum(),
            would_survive: with(Fate::Survives),
            may_be_lost: with(Fate::MayBeLost),
            would_be_lost: with(Fate::Lost),
            other_calls: found.others.len(),
            survived_losses: found.survived.len(),
            skipped_lines: sources.values().map(|source| source.skipped).sum(),
        };
        Self {
            format_version: FORMAT_VERSION.to_owned(),
            trueup: env!("CARGO_PKG_VERSION").to_owned(),
            command: "incidents".to_owned(),
            started_at: started_at.into(),
            since: span.0,
            until: span.1,
            sources,
            found,
            audited,
            summary,
        }
    }

    /// What the process exits with: 2 where a call was lost to a dead consumer, 4 where a host's logs are
    /// not known.
    pub fn exit(&self) -> Exit {
        let found = if self.found.incidents.is_empty() { Exit::Compliant } else { Exit::Findings };
        let unread = self.sources.values().any(|source| source.error.is_some());
        if unread { found.worst(Exit::Unreachable) } else { found }
    }
}

fn json(report: &IncidentReport, _style: Style) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has string keys and finite numbers");
    text.push('\n');
    text
}

/// The JSON schema of this report; the published copy is `schema/incidents-1.0.json`.
pub fn incident_schema() -> Schema {
    schema_for!(IncidentReport)
}

#[cfg(test)]
mod tests {
    /// Run with `TRUEUP_UPDATE=1` to write the schema anew after a change of the report.
    #[test]
    fn the_published_schema_of_incidents_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/incidents-1.0.json");
        let current = format!("{}\n", serde_json::to_string_pretty(&super::incident_schema()).unwrap());
        if std::env::var_os("TRUEUP_UPDATE").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            published == current,
            "schema/incidents-1.0.json is stale: TRUEUP_UPDATE=1 cargo test schema"
        );
    }
}
