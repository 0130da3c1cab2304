//! What a line means for the life of a connection or of a call.
//!
//! The wording is that of the sources, release by release:
//! - oslo.messaging `_drivers/impl_rabbit.py`, `_drivers/amqpdriver.py`, read at 1.5.1 (Kilo), 1.8.3, 2.5.0,
//!   5.17.1 (Ocata), 9.5.0, 14.0.0 (Zed), 16.1.0 and 18: `Connected`/`Reconnected to AMQP server on` (with the
//!   connection's id and the client's port since 3.1.0), `is unreachable` (with the *old* client port in some
//!   releases), `closed the connection`, `Failed to consume`, `recoverable connection/channel error`.
//!   Since 8 or so `MessagingTimeout` is raised with its arguments apart, so a log shows
//!   `('Timed out waiting for a reply to message ID %s.', '05e7…')`; since 14.7.0 with the reply queue.
//! - py-amqp `connection.py` and `transport.py`: `Too many heartbeats missed`, `Server unexpectedly closed
//!   connection`, `Socket closed`.
//! - RabbitMQ `rabbit_reader.erl`, `rabbit_alarm.erl`, `rabbit_node_monitor.erl`, `rabbit.erl`, read at 3.6.16,
//!   3.7.28, 3.10.8, 3.12.0, 4.1.0 and 4.3.5. The reason of a close stands on the next line; since 4.1 the
//!   duration is in the brackets and the Erlang process may be missing.

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;

use super::line::regex;

/// Something that happened, with whom and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, by the clock and zone of its host.
    pub at: Timestamp,
    /// On which host it was written.
    pub host: String,
    /// The file, or `journal`.
    pub path: String,
    /// The line's number, where it is known.
    pub line: Option<u64>,
    /// Its place in the file in bytes, where a scan told.
    pub offset: Option<u64>,
    /// The service, `cinder-api`; empty where the line does not tell.
    pub service: String,
    /// The process, where the line names it.
    pub pid: Option<u32>,
    /// The request it belongs to.
    pub request: Option<String>,
    /// What.
    pub kind: Kind,
}

impl Event {
    /// File and line.
    pub fn source(&self) -> String {
        self.line.map_or_else(|| self.path.clone(), |line| format!("{}:{line}", self.path))
    }

    /// Did a caller give up here?
    pub fn is_of_a_lost_call(&self) -> bool {
        matches!(self.kind, Kind::GaveUp { .. })
    }
}

/// Where a broker listens, as a line names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a client had no connection any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `[Errno 32]`.
    BrokenPipe,
    /// `[Errno 104]`.
    Reset,
    /// `[Errno 103]`: this host gave the connection up.
    Aborted,
    /// `[Errno 110]`, or the socket's own timeout: nothing came for some time.
    TimedOut,
    /// The client missed the broker's heartbeats: nothing came for some time.
    Heartbeats,
    /// An end of file where an answer was expected.
    Closed,
    /// The broker said goodbye: it was stopped, or somebody closed the connection.
    Forced,
    /// `[Errno 111]`: nobody listens there.
    Refused,
    /// `[Errno 113]` and its relatives: no way there.
    Unreachable,
    /// Something else.
    Other,
}

impl Cause {
    /// The cause in the words of an exception.
    pub fn of(text: &str) -> Self {
        const WORDS: &[(Cause, &[&str])] = &[
            (
                Cause::Heartbeats,
                &[
                    "heartbeats missed",
                    "missed heartbeats",
                    "eartbeat response not received",
                    "eartbeat timeout",
                ],
            ),
            (Cause::Forced, &["CONNECTION_FORCED", "(320)", "forced connection closure"]),
            (Cause::BrokenPipe, &["Errno 32]", "Broken pipe", "EPIPE"]),
            (Cause::Reset, &["Errno 104]", "ECONNRESET", "reset by peer"]),
            (Cause::Aborted, &["Errno 103]", "ECONNABORTED", "connection abort"]),
            (Cause::Refused, &["Errno 111]", "ECONNREFUSED", "refused"]),
            (
                Cause::Unreachable,
                &[
                    "Errno 113]",
                    "Errno 101]",
                    "EHOSTUNREACH",
                    "ENETUNREACH",
                    "No route to host",
                    "Name or service not known",
                    "EAI_",
                ],
            ),
            (Cause::TimedOut, &["Errno 110]", "ETIMEDOUT", "timed out", "Timed out"]),
            (
                Cause::Closed,
                &[
                    "unexpectedly closed",
                    "Socket closed",
                    "Connection already closed",
                    "Connection to broker lost",
                    "EOF",
                ],
            ),
        ];
        let found = WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
        found.map_or(Self::Other, |(cause, _)| *cause)
    }

    /// Could a client only meet it while it was trying to connect?
    pub fn is_of_connecting(self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable)
    }

    /// Was the connection dead for some time before the client knew?
    pub fn is_late(self) -> bool {
        matches!(self, Self::TimedOut | Self::Heartbeats)
    }

    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::BrokenPipe => "broken pipe",
            Self::Reset => "connection reset",
            Self::Aborted => "connection aborted",
            Self::TimedOut => "connection timed out",
            Self::Heartbeats => "missed heartbeats",
            Self::Closed => "closed without a word",
            Self::Forced => "closed by the broker",
            Self::Refused => "connection refused",
            Self::Unreachable => "no route",
            Self::Other => "connection error",
        }
    }
}

/// Why a broker closed a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goodbye {
    /// No heartbeats for two to three intervals of so many seconds.
    Heartbeats(u32),
    /// TCP gave up: keepalive, retransmission or `TCP_USER_TIMEOUT`.
    TcpTimeout,
    /// The client's end or reset came.
    ClientGone,
    /// The client closed it as it should.
    Normal,
    /// Something else, in its words.
    Other(String),
}

impl Goodbye {
    /// The reason that stands on the line after `closing AMQP connection`.
    fn of(text: &str) -> Self {
        if let Some(found) = MISSED.captures(text) {
            return Self::Heartbeats(found[1].parse().unwrap_or_default());
        }
        if text.contains("etimedout") || text.contains("{error,timeout}") || text.contains("ehostunreach") {
            return Self::TcpTimeout;
        }
        if ["unexpectedly closed", "econnreset", "epipe", "{error,closed}", "enotconn"]
            .iter()
            .any(|word| text.contains(word))
        {
            return Self::ClientGone;
        }
        Self::Other(text.trim().chars().take(120).collect())
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A client found its connection gone, or an attempt to connect failed.
    Lost {
        /// Why.
        cause: Cause,
        /// Its words.
        words: String,
        /// To which broker, where that is said.
        broker: Option<Endpoint>,
        /// oslo.messaging's id of the connection.
        connection: Option<String>,
        /// The client's port of the lost connection.
        port: Option<u16>,
        /// Do the words say that it was an attempt to connect?
        attempt: bool,
    },
    /// A client tries a broker.
    Trying {
        /// Which.
        broker: Endpoint,
    },
    /// A client has a connection.
    Connected {
        /// To which broker.
        broker: Endpoint,
        /// oslo.messaging's id of the connection.
        connection: Option<String>,
        /// The client's port of it.
        port: Option<u16>,
        /// `Reconnected`: it had one before.
        again: bool,
    },
    /// A caller gave up.
    GaveUp {
        /// The call's id.
        message: String,
    },
    /// A reply came for which nobody waits any more.
    LateReply {
        /// The call's id.
        message: String,
    },
    /// The client was told that its connection is blocked, or no longer.
    Blocked {
        /// False: no longer.
        on: bool,
    },
    /// A server had no queue to send its reply to.
    ReplyDropped {
        /// The call's id.
        message: String,
    },
    /// A call was sent.
    Called {
        /// The call's id.
        message: String,
        /// To which topic.
        topic: String,
    },
    /// An API request came in.
    Asked {
        /// `POST`.
        method: String,
        /// Its path.
        path: String,
    },
    /// Which action a request to `…/action` was.
    Action {
        /// `os-detach`.
        name: String,
    },
    /// An API request was answered.
    Answered {
        /// `POST`; empty where the line does not say.
        method: String,
        /// Its path.
        path: String,
        /// HTTP status.
        status: u16,
        /// Seconds it took, where the line says so.
        took: Option<f64>,
        /// Is the line's time that of the request, not of the answer?
        dated_by_request: bool,
    },
    /// A frame of a traceback: the remote method that was called.
    Frame {
        /// The service it was called on, `cinder-volume`.
        target: String,
        /// `detach_volume`.
        method: String,
    },
    /// Something else that a service wrote about a request.
    Said {
        /// Its words.
        text: String,
    },
    /// A broker took a connection.
    Accepted {
        /// Whose.
        peer: Peer,
    },
    /// A broker learned the name of a connection.
    Named {
        /// Whose.
        peer: Peer,
    },
    /// A broker closed a connection.
    Closed {
        /// Whose.
        peer: Peer,
        /// Why.
        why: Goodbye,
    },
    /// An alarm on a broker that blocks publishers, set or cleared.
    Alarm {
        /// `memory`, `disk`.
        what: String,
        /// False: cleared.
        on: bool,
    },
    /// A broker started or stopped.
    Broker {
        /// True: it started.
        up: bool,
    },
    /// A broker saw another node come or go.
    Node {
        /// The node, `rabbit@ctl2`.
        node: String,
        /// False: it went.
        up: bool,
    },
}

/// A client as a broker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The broker's end.
    pub broker: Endpoint,
    /// The name it gave itself: `PROGRAM:PID:UUID` from oslo.messaging.
    pub name: Option<String>,
}

impl Peer {
    /// oslo.messaging's id of the connection, from its name.
    pub fn connection(&self) -> Option<&str> {
        self.name.as_deref()?.rsplit(':').next().filter(|id| id.len() == 36)
    }

    /// The client's process, from its name.
    pub fn pid(&self) -> Option<u32> {
        self.name.as_deref()?.rsplit(':').nth(1)?.parse().ok()
    }
}

macro_rules! patterns {
    ($($name:ident = $pattern:expr;)*) => {
        $(static $name: LazyLock<Regex> = LazyLock::new(|| regex($pattern));)*
    };
}

patterns! {
    CONNECTION_ID = r"^\[([0-9a-f]{8}-[0-9a-f-]{27})\] ";
    UNREACHABLE = r"AMQP server (?:on )?(\S+):(\d+) (?:is unreachable|closed the connection\. Check login credentials): (.*)";
    OLD_PORT = r"Client port: (\d+)";
    CONNECTED = r"(Connected|Reconnected) to AMQP server on (\S+):(\d+)(?: via \[\S*\] client)?(?: with port (\d+))?";
    TRYING = r"Connecting to AMQP server on (\S+):(\d+)";
    RECOVERABLE = r"recoverable connection/channel error occur\w*, try\w* to reconnect: (.*)";
    CONSUME = r"Failed to (?:consume message from queue|publish message to topic '[^']*'): (.*)";
    FAILED = r"(?:Connection failed: |Unable to connect to AMQP server on )(.*)";
    MESSAGE = r"Timed out waiting for a reply.*?\b([0-9a-f]{32})\b";
    TIMEOUT_QUEUE = r"reply_\S+";
    LATE = r"No calling threads waiting for msg_id ?: ?([0-9a-f]{32})";
    DROPPED = r"(?:doesn't exists?, drop reply to|The reply) ([0-9a-f]{32})(?: failed to send after .* missing queue| cannot be sent .*abandoning)?";
    CALLED = r"CALL msg_id: ([0-9a-f]{32}) exchange '[^']*' topic '([^']*)'";
    ASKED = r"^(GET|POST|PUT|PATCH|DELETE|HEAD) (\S+)$";
    ACTION = r#"Action(?: body)?: .*?\{\s*['"]([\w:-]+)['"]"#;
    RETURNED = r"^(\S+) returned with HTTP (\d{3})";
    ACCESS = r#""(GET|POST|PUT|PATCH|DELETE|HEAD) (\S+) HTTP/[\d.]+" (?:status: )?(\d{3})(?: (?:len: )?\S+(?: (?:time: )?(\d+\.\d+))?)?"#;
    UWSGI = r"\] (GET|POST|PUT|PATCH|DELETE|HEAD) (\S+) => generated \d+ bytes in (\d+) msecs \(HTTP/[\d.]+ (\d{3})\)";
    RPCAPI = r#"/([a-z]+)/([a-z_]+)/rpcapi\.pyc?", line \d+, in (\w+)"#;
    PEER = r"AMQP connection (?:<[\d.]+> )?\(?(\S+):(\d+) -> (\S+?):(\d+)(?: - ([^,)]*))?";
    NAMED = r"onnection (?:<[\d.]+> )?\(?(\S+):(\d+) -> (\S+?):(\d+)\)? has a client-provided name: (\S+)";
    MISSED = r"missed heartbeats from client, timeout: (\d+)s";
    ALARM = r"(memory|disk|file_descriptor)\S* resource limit alarm (set|cleared)";
    NODE = r"rabbit on node '?([\w@.-]+?)'? (up|down)";
}

fn port(text: &str) -> u16 {
    text.parse().unwrap_or_default()
}

/// An address without the brackets and the mapping of IPv4 in IPv6.
fn address(text: &str) -> String {
    let text = text.trim_matches(['[', ']', '(']);
    text.strip_prefix("::ffff:").unwrap_or(text).to_owned()
}

/// What a line says; `None` for one that says nothing of interest.
pub fn kind(text: &str) -> Option<Kind> {
    if text.contains("AMQP connection") || text.contains("client-provided name") {
        return broker_connection(text);
    }
    client(text).or_else(|| call(text)).or_else(|| api(text)).or_else(|| broker(text))
}

fn client(text: &str) -> Option<Kind> {
    let connection = CONNECTION_ID.captures(text).map(|found| found[1].to_owned());
    let lost = |words: &str, broker: Option<Endpoint>, attempt: bool| {
        let words = words.split(" Trying again in").next().unwrap_or(words).trim_end_matches('.');
        Kind::Lost {
            cause: Cause::of(words),
            words: words.to_owned(),
            broker,
            connection: connection.clone(),
            port: OLD_PORT.captures(text).map(|found| port(&found[1])).filter(|port| *port > 0),
            attempt,
        }
    };
    if let Some(found) = CONNECTED.captures(text) {
        return Some(Kind::Connected {
            broker: Endpoint { host: address(&found[2]), port: port(&found[3]) },
            connection,
            port: found.get(4).map(|found| port(found.as_str())),
            again: &found[1] == "Reconnected",
        });
    }
    if let Some(found) = UNREACHABLE.captures(text) {
        let broker = Endpoint { host: address(&found[1]), port: port(&found[2]) };
        return Some(lost(&found[3], Some(broker), false));
    }
    if let Some(found) = TRYING.captures(text) {
        return Some(Kind::Trying { broker: Endpoint { host: address(&found[1]), port: port(&found[2]) } });
    }
    if let Some(found) = RECOVERABLE.captures(text).or_else(|| CONSUME.captures(text)) {
        // What a consumer cannot read is no matter of the connection.
        let words = &found[1];
        let of_queue = words.contains("NOT_FOUND") || words.contains("PRECONDITION_FAILED");
        return (!of_queue).then(|| lost(words, None, false));
    }
    if let Some(found) = FAILED.captures(text) {
        return Some(lost(&found[1], None, true));
    }
    if text.contains("The broker has blocked the connection") {
        return Some(Kind::Blocked { on: true });
    }
    if text.contains("The broker has unblocked the connection") {
        return Some(Kind::Blocked { on: false });
    }
    None
}

fn call(text: &str) -> Option<Kind> {
    if text.contains("Timed out waiting for a reply") {
        // The name of the reply queue may end in another id of that form.
        let bare = TIMEOUT_QUEUE.replace_all(text, "");
        return MESSAGE.captures(&bare).map(|found| Kind::GaveUp { message: found[1].to_owned() });
    }
    if let Some(found) = LATE.captures(text) {
        return Some(Kind::LateReply { message: found[1].to_owned() });
    }
    if let Some(found) = DROPPED.captures(text) {
        let final_word = text.contains("drop reply to") || text.to_ascii_lowercase().contains("abandoning");
        return final_word.then(|| Kind::ReplyDropped { message: found[1].to_owned() });
    }
    if let Some(found) = CALLED.captures(text) {
        return Some(Kind::Called { message: found[1].to_owned(), topic: found[2].to_owned() });
    }
    RPCAPI.captures(text).map(|found| Kind::Frame {
        target: format!("{}-{}", &found[1], &found[2]),
        method: found[3].to_owned(),
    })
}

fn api(text: &str) -> Option<Kind> {
    if let Some(found) = UWSGI.captures(text) {
        return Some(Kind::Answered {
            method: found[1].to_owned(),
            path: path(&found[2]),
            status: found[4].parse().ok()?,
            took: found[3].parse::<f64>().ok().map(|millis| millis / 1000.0),
            dated_by_request: true,
        });
    }
    if let Some(found) = ACCESS.captures(text) {
        let number = |at: usize| found.get(at).and_then(|number| number.as_str().parse().ok());
        return Some(Kind::Answered {
            method: found[1].to_owned(),
            path: path(&found[2]),
            status: found[3].parse().ok()?,
            took: number(4),
            // eventlet writes its line through the service's logger at the end; web servers date theirs by
            // the request (Apache's %t).
            dated_by_request: number(4).is_none(),
        });
    }
    if let Some(found) = RETURNED.captures(text) {
        let status = found[2].parse().ok()?;
        return Some(Kind::Answered {
            method: String::new(),
            path: path(&found[1]),
            status,
            took: None,
            dated_by_request: false,
        });
    }
    if let Some(found) = ASKED.captures(text) {
        return Some(Kind::Asked { method: found[1].to_owned(), path: path(&found[2]) });
    }
    ACTION.captures(text).map(|found| Kind::Action { name: found[1].to_owned() })
}

/// The path of a URL, without its query: a query may hold what should not be shown.
fn path(url: &str) -> String {
    let url = url.split('?').next().unwrap_or(url);
    let path = url.split_once("://").map_or(url, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    path.to_owned()
}

fn broker_connection(text: &str) -> Option<Kind> {
    let peer = |found: &regex::Captures<'_>| Peer {
        host: address(&found[1]),
        port: port(&found[2]),
        broker: Endpoint { host: address(&found[3]), port: port(&found[4]) },
        name: found.get(5).map(|name| name.as_str().trim().to_owned()),
    };
    if let Some(found) = NAMED.captures(text) {
        return Some(Kind::Named { peer: peer(&found) });
    }
    let peer = peer(&PEER.captures(text)?);
    if text.contains("accepting AMQP connection") {
        return Some(Kind::Accepted { peer });
    }
    if !text.contains("closing AMQP connection") {
        return None;
    }
    // A JSON log has both lines in one; elsewhere the reason is the next line (`because`).
    let reason = text.split_once('\n').map(|(_, reason)| reason);
    let why = match reason {
        Some(reason) => Goodbye::of(reason),
        None if text.trim_end().ends_with(':') => Goodbye::Other(String::new()),
        None => Goodbye::Normal,
    };
    Some(Kind::Closed { peer, why })
}

/// The second line of a `closing AMQP connection`.
pub fn because(text: &str) -> Goodbye {
    Goodbye::of(text)
}

fn broker(text: &str) -> Option<Kind> {
    if let Some(found) = ALARM.captures(text) {
        return Some(Kind::Alarm { what: found[1].to_owned(), on: &found[2] == "set" });
    }
    if let Some(found) = NODE.captures(text) {
        return Some(Kind::Node { node: found[1].to_owned(), up: &found[2] == "up" });
    }
    if text.starts_with("Starting RabbitMQ") {
        return Some(Kind::Broker { up: true });
    }
    let stops = ["RabbitMQ is asked to stop", "Stopping RabbitMQ", "Successfully stopped RabbitMQ"];
    stops.iter().any(|words| text.starts_with(words)).then_some(Kind::Broker { up: false })
}
