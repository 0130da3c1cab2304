//! What happened while working: one closed enum from the work to its display.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::error::HostError;
use crate::plan::outcome::HostOutcome;

/// Something that happened. The work only sends events; `cli/progress.rs` alone shows them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A probe of this many hosts starts.
    ProbeStarted {
        /// How many hosts.
        hosts: usize,
    },
    /// A host's turn to be read has come.
    Probing {
        /// Inventory name.
        host: String,
    },
    /// One host's facts were read, or could not be.
    Probed {
        /// Inventory name.
        host: String,
        /// `None`: read.
        error: Option<HostError>,
    },
    /// A batch of hosts starts to change.
    BatchStarted {
        /// From 1.
        number: usize,
        /// How many batches there are.
        of: usize,
        /// Inventory names.
        hosts: Vec<String>,
        /// Steps of all its hosts together.
        steps: usize,
    },
    /// A step begins.
    StepStarted {
        /// Inventory name.
        host: String,
        /// What it does, in a few words.
        step: String,
    },
    /// A step ended.
    StepDone {
        /// Inventory name.
        host: String,
        /// What it does, in a few words.
        step: String,
        /// `false`: there was nothing left to do.
        changed: bool,
        /// How long it took, in seconds where it is written.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        took: Duration,
    },
    /// A step or gate failed; what follows is the way back.
    StepFailed {
        /// Inventory name.
        host: String,
        /// What it does, in a few words.
        step: String,
        /// Why.
        reason: String,
    },
    /// A host does not take part in the run; nothing was changed on it.
    Refused {
        /// Inventory name.
        host: String,
        /// What stands in the way, and what can be done about it.
        reason: String,
    },
    /// A health gate waits.
    Waiting {
        /// Inventory name.
        host: String,
        /// What is awaited.
        awaited: String,
        /// What is seen now.
        seen: String,
    },
    /// A host is put back.
    RollingBack {
        /// Inventory name.
        host: String,
    },
    /// A host was put back, or not.
    RolledBack {
        /// Inventory name.
        host: String,
        /// `None`: every byte is back and the services run.
        error: Option<String>,
    },
    /// A host's part of the run has ended.
    HostEnded(HostOutcome),
    /// Something the reader of the log should know.
    Note {
        /// Inventory name, if it is about one host.
        host: Option<String>,
        /// One line.
        text: String,
    },
}

fn seconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// Where events go: one callback, called from many tasks.
pub type Events = std::sync::Arc<dyn Fn(Event) + Send + Sync>;

/// Events go nowhere.
pub fn silent() -> Events {
    std::sync::Arc::new(|_| {})
}
