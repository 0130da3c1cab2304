//! How a plan went on each host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How it went on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostOutcome {
    /// Inventory name.
    pub host: String,
    /// The end of it.
    pub result: Ending,
    /// What was done, in order.
    pub done: Vec<String>,
    /// What was restarted.
    pub restarted: Vec<String>,
    /// What could not be planned, with its reason.
    pub blocked: Vec<super::Blocked>,
}

/// How a host's part of a plan ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Ending {
    /// Every step was carried out and every gate passed.
    Applied,
    /// Nothing was begun: the run stopped before this host's turn.
    NotReached,
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
        !matches!(self, Self::Applied | Self::NotReached)
    }
}
