//! Lost calls in the logs: which were lost to a dead consumer, when, and what else it was that looks alike.
//!
//! ```text
//!  lines ─► Line ─► Event ─┬─► losses of connections, by process ─┐
//!  (line, stamp, read)     ├─► what the brokers noticed           ├─► judge ─► Found ─► today (audit)
//!                          └─► calls that nobody answered         ┘
//! ```
//! A call is lost to a dead consumer when its caller lost its connection without the broker knowing,
//! connected again, and gave up while the broker still delivered replies into the dead connection. Its
//! neighbours are in [`Verdict`].
//!
//! # Where do I add …
//! - a form of a line: `line.rs`, of a time: `stamp.rs`, each with a row in its table of tests;
//! - a message of a client or broker: `event.rs`, and its fixed part in [`PATTERNS`];
//! - a neighbour: a [`Verdict`], its rule in `judge.rs`, and a case in `tests/incidents/`.

mod brokers;
mod call;
mod event;
mod judge;
mod line;
pub mod place;
mod process;
mod read;
mod stamp;
mod timeline;
pub mod today;
pub mod when;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use event::Event;
pub use judge::find;
pub use read::{Part, Read, Source, read};

/// The fixed strings that lines of interest hold: what a scan looks for on a host. Each stands for a
/// message in `event.rs`, where its source is.
pub const PATTERNS: &[&str] = &[
    "AMQP server ",
    "Failed to consume message from queue",
    "Failed to publish message to topic",
    "recoverable connection/channel error",
    "Connection failed: ",
    "Timed out waiting for a reply",
    "No calling threads waiting for msg_id",
    "blocked the connection",
    "drop reply to",
    "failed to send after",
    "sec abandoning",
    "returned with HTTP 5",
    "HTTP/1.1\" 5",
    "HTTP/1.0\" 5",
    "HTTP/1.1\" status: 5",
    "(HTTP/1.1 5",
    "AMQP connection <",
    "AMQP connection (",
    "client-provided name",
    "resource limit alarm",
    "rabbit on node",
    "Starting RabbitMQ",
    "topping RabbitMQ",
    "stopped RabbitMQ",
    "RabbitMQ is asked to stop",
];

/// What became of a call, and so of what it was part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The broker delivered its reply into a connection that was dead, or kept it for one.
    DeadConsumer,
    /// The server had no queue to send its reply to.
    ReplyQueueGone,
    /// The broker was stopped, or no broker could be reached.
    BrokerDown,
    /// An alarm kept the broker from taking messages.
    Blocked,
    /// The reply came, after the caller had given up, and no connection had been lost.
    SlowServer,
    /// No reply came and no connection was lost: nobody worked on it, or not to the end.
    NeverAnswered,
}

impl Verdict {
    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::DeadConsumer => "lost to a dead consumer",
            Self::ReplyQueueGone => "the reply queue was gone",
            Self::BrokerDown => "no broker",
            Self::Blocked => "the broker was blocked by an alarm",
            Self::SlowServer => "the server was slow",
            Self::NeverAnswered => "no reply was seen",
        }
    }
}

/// What the logs say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// Losses of connections that cost calls, by time.
    pub incidents: Vec<Incident>,
    /// Calls that got no answer for another reason, by time.
    pub others: Vec<OtherCall>,
    /// Losses of connections that cost nothing the logs know of.
    pub survived: Vec<SurvivedLoss>,
    /// Clocks that are apart; times of brokers have been corrected by it.
    pub skews: Vec<Skew>,
}

/// One loss of a host's connections, and the calls it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// The client's host; empty where the logs do not name it.
    pub client: String,
    /// When the connection was cut: when the client knew, or not later than this.
    pub cut_at: Timestamp,
    /// False: the client noticed late, so the connection was dead for some time before.
    pub cut_is_exact: bool,
    /// Why, in a few words.
    pub cause: String,
    /// The broker that the connection was to, where a line names it: a host of a log, or an address.
    pub lost_broker: Option<String>,
    /// The broker that the client went to.
    pub joined_broker: Option<String>,
    /// When it was connected again.
    pub reconnected_at: Option<Timestamp>,
    /// When the broker noticed; absent where no log tells.
    pub noticed_at: Option<Timestamp>,
    /// How that is known.
    pub noticed_by: NoticedBy,
    /// Seconds from the cut until then.
    pub notice_seconds: Option<f64>,
    /// The setting that decided how long the broker took.
    pub decided: Decided,
    /// The calls, by the time their callers gave up.
    pub calls: Vec<LostCall>,
    /// What happened, in order.
    pub timeline: Vec<Moment>,
}

/// How the moment is known in which a broker noticed a dead connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticedBy {
    /// The broker's log says so.
    BrokerLog,
    /// The reply came late: it had been returned to the queue.
    LateReply,
    /// It is not known; the broker's log was not among those read, or does not tell.
    Unknown,
}

/// The setting that decided how long a broker took to notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    /// `heartbeat_timeout_threshold`, `net.ipv4.tcp_retries2`…; absent: not known.
    pub setting: Option<String>,
    /// How that is known, as a sentence.
    pub why: String,
}

/// A call that was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LostCall {
    /// oslo.messaging's id of it.
    pub message_id: String,
    /// The request it was part of.
    pub request_id: Option<String>,
    /// The caller's host; empty where the logs do not name it.
    pub host: String,
    /// The caller's service; empty where the logs do not tell.
    pub service: String,
    /// The caller's process.
    pub pid: Option<u32>,
    /// What failed: an API's action, a remote method, or a path.
    pub operation: String,
    /// The API request that it was part of came in then.
    pub asked_at: Option<Timestamp>,
    /// The call was sent then, as far as the logs tell.
    pub sent_at: Option<Timestamp>,
    /// Its caller gave up then.
    pub gave_up_at: Timestamp,
    /// How long it waited, in seconds.
    pub waited_seconds: Option<f64>,
    /// How old the call was when the connection was cut; negative: it was sent after.
    pub age_at_cut: Option<f64>,
    /// Seconds from the cut until its caller gave up.
    pub seconds_after_cut: f64,
    /// The reply came then, too late.
    pub late_reply_at: Option<Timestamp>,
    /// The HTTP status that came of it.
    pub http_status: Option<u16>,
    /// Where the timeout stands.
    pub source: String,
    /// What today's settings would make of it; absent where nothing was audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub today: Option<today::Outlook>,
}

/// A call that got no answer for another reason than a dead consumer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OtherCall {
    /// What it was.
    pub verdict: Verdict,
    /// How that is known, as a sentence.
    pub why: String,
    /// The call; its `seconds_after_cut` is 0.
    pub call: LostCall,
}

/// A loss of connections that cost no call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SurvivedLoss {
    /// The client's host.
    pub client: String,
    /// Its services.
    pub services: Vec<String>,
    /// When the client knew.
    pub at: Timestamp,
    /// Why, in a few words.
    pub cause: String,
    /// The broker it was to.
    pub lost_broker: Option<String>,
    /// Seconds until it was connected again.
    pub reconnect_seconds: Option<f64>,
    /// Seconds until the broker noticed.
    pub notice_seconds: Option<f64>,
}

/// Two clocks that are apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Skew {
    /// Whose clock.
    pub host: String,
    /// Compared with whose.
    pub of: String,
    /// So many seconds ahead; negative: behind.
    pub ahead: f64,
}

impl Skew {
    /// A clock that is off by hours or halves of them is right in another zone.
    pub fn is_a_zone(&self) -> bool {
        const HALF_HOUR: f64 = 1800.0;
        let halves = (self.ahead / HALF_HOUR).round();
        halves != 0.0 && (self.ahead - halves * HALF_HOUR).abs() < 5.0
    }
}

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// When, by the client's clock.
    pub at: Timestamp,
    /// Seconds from the cut.
    pub seconds: f64,
    /// Where it was written.
    pub host: String,
    /// Who wrote it: a service, or `broker`.
    pub who: String,
    /// What happened.
    pub what: String,
    /// File and line.
    pub source: String,
}

/// Seconds from one moment to another.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::event::{Kind, kind};
    use super::*;

    fn logs(folder: &Path, texts: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                logs(&path, texts);
            } else {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }

    /// A search finds every line that means something by itself; the others are found by what these name.
    #[test]
    fn every_line_of_interest_holds_a_pattern() {
        let mut texts = Vec::new();
        logs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/incidents"), &mut texts);
        let mut seen = 0;
        for line in texts.iter().flat_map(|text| text.lines()) {
            let text = line::Lines::default().read(line.trim().as_bytes(), false).text;
            let found = kind(&text).filter(|kind| match kind {
                Kind::Asked { .. } | Kind::Action { .. } | Kind::Called { .. } | Kind::Frame { .. } => false,
                Kind::Answered { status, .. } => *status >= 500,
                _ => true,
            });
            if found.is_some() {
                seen += 1;
                assert!(PATTERNS.iter().any(|pattern| line.contains(pattern)), "{line}");
            }
        }
        assert!(seen > 100, "{seen}");
    }
}
