//! What a task that does not hold leaves behind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::playbook::BoundTask;
use crate::waiver::Waived;

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
    /// The waiver that is for it, in force or not; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waived>,
}

impl Finding {
    /// A certain finding of this task, which only a person can mend until something better is known.
    pub fn new(task: &BoundTask, level: Level, subject: impl Into<String>) -> Self {
        Self {
            task: task.id.clone(),
            title: task.name.clone(),
            severity: task.severity,
            level,
            status: Status::Fail,
            subject: subject.into(),
            expected: String::new(),
            actual: String::new(),
            evidence: Vec::new(),
            remedy: Remedy::Manual,
            mend: String::new(),
            why: task.why.clone(),
            waived: None,
        }
    }

    /// What should be, and what is.
    #[must_use]
    pub fn differs(mut self, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        self.expected = expected.into();
        self.actual = actual.into();
        self
    }

    /// What should be, and why it is not known what is.
    #[must_use]
    pub fn unknown(mut self, expected: impl Into<String>, reason: impl Into<String>) -> Self {
        self.status = Status::Unknown;
        self.differs(expected, format!("unknown: {}", reason.into()))
    }

    /// Something this rests on.
    #[must_use]
    pub fn evidence(mut self, source: impl Into<String>, text: impl Into<String>) -> Self {
        self.evidence.push(Evidence { source: source.into(), text: text.into() });
        self
    }

    /// `trueup remediate` mends it, thus.
    #[must_use]
    pub fn automatic(mut self, mend: impl Into<String>) -> Self {
        self.remedy = Remedy::Automatic;
        self.mend = mend.into();
        self
    }

    /// Only a person can mend it, thus.
    #[must_use]
    pub fn manual(mut self, mend: impl Into<String>) -> Self {
        self.remedy = Remedy::Manual;
        self.mend = mend.into();
        self
    }

    /// Nothing is to be done about it here, for this reason.
    #[must_use]
    pub fn settled(mut self, mend: impl Into<String>) -> Self {
        self.remedy = Remedy::None;
        self.mend = mend.into();
        self
    }

    /// Is it only worth knowing? It does not make a host differ from what should hold: nothing is to be done
    /// about it.
    pub fn is_note(&self) -> bool {
        self.severity == Severity::Info && self.remedy == Remedy::None && self.status == Status::Fail
    }

    /// Has somebody taken responsibility for it, until a day that is not over?
    pub fn is_waived(&self) -> bool {
        self.waived.as_ref().is_some_and(|waived| !waived.expired)
    }

    /// Does it make a host differ from what should hold?
    pub fn counts(&self) -> bool {
        !self.is_note() && !self.is_waived()
    }

    /// As bad as this, at most.
    #[must_use]
    pub fn at_most(mut self, severity: Severity) -> Self {
        self.severity = self.severity.min(severity);
        self
    }
}
