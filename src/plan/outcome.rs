//! How a plan went on each host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How it went on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostOutcome {
    /// Inventory name.
    pub host: String,
    /// The end of it.
    pub ending: Ending,
    /// For each step that was carried out, in order: did it change anything? The step after the last
    /// of them is the one that failed, where one did.
    pub done: Vec<bool>,
}

/// How a host's part of a plan ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Ending {
    /// Every step was carried out, every gate passed, the host's own facts show it, and it is confirmed.
    Applied,
    /// Nothing was begun.
    NotReached {
        /// Why not: the run stopped before this host's turn, or a host could not be reached.
        reason: String,
    },
    /// Nothing was done: the host has changed since the plan was made, another run holds it, or it could
    /// not put itself back.
    Refused {
        /// What stands in the way, and what to do about it.
        reason: String,
    },
    /// A step or gate failed, and everything was put back.
    RolledBack {
        /// The step.
        step: String,
        /// Why it failed.
        reason: String,
    },
    /// The host did not hear of the run for as long as its lease is, or was booted, and put itself back.
    PutItselfBack {
        /// The step that found it so.
        step: String,
        /// What it found.
        reason: String,
    },
    /// The run is still open on the host: it could not be reached, or somebody else goes on with it.
    Open {
        /// The step.
        step: String,
        /// Why it failed.
        reason: String,
        /// What happens next, and what can be typed.
        next: String,
    },
    /// A step or gate failed, and so did the way back: a person must look.
    Broken {
        /// The step.
        step: String,
        /// Why it failed.
        reason: String,
        /// What could not be put back.
        left: String,
    },
}

impl Ending {
    /// Did it not end well?
    pub fn failed(&self) -> bool {
        !matches!(self, Self::Applied | Self::NotReached { .. })
    }

    /// Is every byte of the host as it was before?
    pub fn is_back(&self) -> bool {
        matches!(self, Self::RolledBack { .. } | Self::PutItselfBack { .. })
    }

    /// Why it did not end well, for the step at which it ended.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Applied => None,
            Self::NotReached { reason } | Self::Refused { reason } | Self::PutItselfBack { reason, .. } => {
                Some(reason.clone())
            }
            Self::RolledBack { reason, .. } => Some(format!("{reason}; everything was put back")),
            Self::Open { reason, next, .. } => Some(format!("{reason}; {next}")),
            Self::Broken { reason, left, .. } => {
                Some(format!("{reason}; NOT everything could be put back: {left}"))
            }
        }
    }
}
