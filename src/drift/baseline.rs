//! What a verified run left on a host: the saved form, one JSON document a host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit::{Finding, Level};
use crate::error::{Diagnostic, Place, Result};
use crate::facts::Facts;
use crate::format_version::can_read;
use crate::plan::content::sha256;
use crate::playbook::BoundTask;

/// The version of the saved form. A file with another major version is refused.
pub const FORMAT_VERSION: &str = "1.0";

/// What a verified run left on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// [`FORMAT_VERSION`] of the tool that wrote it.
    pub format_version: String,
    /// Version of the tool.
    pub trueup: String,
    /// When it was saved, RFC 3339.
    pub saved_at: String,
    /// The command that saved it: `remediate`, `apply`, `drift --accept`.
    pub command: String,
    /// The playbook that it was verified against.
    pub playbook: String,
    /// The [`fingerprint`] of each task, by id.
    pub tasks: BTreeMap<String, String>,
    /// What did not hold even then.
    pub findings: Vec<Fault>,
    /// What was read, secrets masked.
    pub facts: Facts,
}

/// A finding of a baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The task's id.
    pub task: String,
    /// What it is about.
    pub subject: String,
    /// Where the truth was looked for.
    pub level: Level,
    /// What was.
    pub actual: String,
}

impl Fault {
    /// The part of a finding by which it is known again.
    pub fn of(finding: &Finding) -> Self {
        Self {
            task: finding.task.clone(),
            subject: finding.subject.clone(),
            level: finding.level,
            actual: finding.actual.clone(),
        }
    }

    /// Is it the same? Numbers in a sentence (ages, counts of sockets) may differ; a value may not.
    pub fn is_same(&self, finding: &Finding) -> bool {
        let alike = |one: &str, other: &str| {
            let plain = |text: &str| -> String { text.chars().filter(|c| !c.is_ascii_digit()).collect() };
            one == other || (one.contains(' ') && plain(one) == plain(other))
        };
        (&self.task, &self.subject, self.level) == (&finding.task, &finding.subject, finding.level)
            && alike(&self.actual, &finding.actual)
    }
}

/// Tells whether a task still asks for the same on a host: a hash, because what it asks for may be secret.
pub fn fingerprint(task: &BoundTask) -> String {
    sha256(format!("{:?} {:?}", task.module, task.severity).as_bytes())
}

/// The document of a baseline, secrets masked.
pub fn to_json(baseline: &Baseline) -> String {
    let masked = Baseline { facts: baseline.facts.masked(), ..baseline.clone() };
    let mut text = serde_json::to_string_pretty(&masked).expect("a baseline has string keys");
    text.push('\n');
    text
}

/// The baseline in `text`, the content of `path`.
pub fn from_json(path: &str, text: &str) -> Result<Baseline> {
    let baseline: Baseline = serde_json::from_str(text).map_err(|error| {
        Diagnostic::new(format!("not a baseline: {error}"))
            .at(Place::new(path, text, error.line(), error.column(), 1))
            .hint("`trueup drift --accept` saves what is now as the baseline")
    })?;
    if !can_read(FORMAT_VERSION, &baseline.format_version) {
        return Err(Diagnostic::new(format!(
            "`{path}` is a baseline of format {}, and this trueup reads format {FORMAT_VERSION}",
            baseline.format_version
        ))
        .hint("`trueup drift --accept` saves it again"));
    }
    Ok(baseline)
}
