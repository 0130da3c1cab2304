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
    /// Every step was carried out and every gate passed.
    Applied,
    /// Nothing was begun.
    NotReached {
        /// Why not: the run stopped before this host's turn, or a host could not be reached.
        reason: String,
    },
    /// The host has changed since the plan was made; nothing was done.
    Stale {
        /// What differs.
        reason: String,
    },
    /// A step or gate failed, and everything was put back.
    RolledBack {
        /// The step.
        step: String,
        /// Why it failed.
        reason: String,
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
    /// Did it end well, or was nothing begun?
    pub fn failed(&self) -> bool {
        !matches!(self, Self::Applied | Self::NotReached { .. })
    }

    /// Why it did not end well, for the step at which it ended.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Applied => None,
            Self::NotReached { reason } | Self::Stale { reason } => Some(reason.clone()),
            Self::RolledBack { reason, .. } => Some(format!("{reason}; everything was put back")),
            Self::Broken { reason, left, .. } => {
                Some(format!("{reason}; NOT everything could be put back: {left}"))
            }
        }
    }
}
