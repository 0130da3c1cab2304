//! What a task is for, in words: `trueup explain TASK`.

use serde_json::Value;

use super::{Filled, Task, Vars};
use crate::audit::Severity;
use crate::report::{beside, wrap};
use crate::timing::{self, Charset, Client, Connection, Keepalive, Strategy, Timeline};

/// Columns of the labels.
const LABELS: usize = 11;

/// The module whose windows are drawn.
const DRAWN: &str = "detection_window";

/// oslo.messaging's default heartbeat, in seconds.
const HEARTBEAT: u64 = 60;

/// oslo.messaging's default `rpc_response_timeout`, in seconds.
const TIMEOUT: f64 = 60.0;

/// Why a task is there, how bad it is when it does not hold, what it changes, and where that can be read, in
/// `width` columns; with the values of the playbook where it gives them all.
pub fn explain(task: &Task, filled: Option<&Filled>, width: usize) -> String {
    let mut text = beside("", &format!("{}: {}", task.id, task.name), 0, width);
    if !task.why.is_empty() {
        text.push('\n');
        text.push_str(&beside("", &task.why, 0, width));
    }
    text.push('\n');
    let mut line = |label: &str, words: &str| text.push_str(&beside(label, words, LABELS, width));
    line("Severity", severity(task.severity));
    match task.kind {
        Some(kind) => line("Module", &format!("{}: {}", kind.name, kind.summary)),
        None => line("Module", "command: runs round each batch"),
    }
    let arguments = filled.map_or(&task.arguments, |filled| &filled.arguments);
    for (name, value) in arguments {
        line("", &format!("{name}: {}", plain(value)));
    }
    if let (Some(_), Some(name)) = (filled, task.arguments.get("src")) {
        line("", &format!("src: {}", plain(name)));
    }
    for condition in &task.when {
        line("When", &plain(&condition.value));
    }
    if let (Some(filled), false) = (filled, task.when.is_empty()) {
        line("", if filled.holds { "(so by default)" } else { "(not so by default)" });
    }
    let wanted = filled.and_then(|filled| filled.src.as_deref()).unwrap_or_default();
    let settings = wanted.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with('#'));
    for (number, row) in settings.enumerate() {
        line(if number == 0 { "Settings" } else { "" }, row);
    }
    if !task.tags.is_empty() {
        line("Tags", &task.tags.join(", "));
    }
    line("Written", &task.place.to_string());
    let window = filled.filter(|_| task.kind.is_some_and(|kind| kind.name == DRAWN));
    if let Some(connection) = window.and_then(|filled| connection(&filled.vars)) {
        text.push_str("\nWhat the playbook's values give, at worst:\n");
        let timeline = Timeline::from(&timing::window(&connection));
        text.push_str(&timing::drawing(&timeline, width.min(100), Charset::Unicode));
    }
    if !task.references.is_empty() {
        text.push_str("\nSources:\n");
        for reference in &task.references {
            for row in wrap(reference, width) {
                text.push_str(&format!("  {row}\n"));
            }
        }
    }
    text
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical: calls are lost when a connection dies",
        Severity::Warning => "warning: calls can be lost under conditions that are not everyday",
        Severity::Info => "info: worth knowing",
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The connection of a current oslo.messaging once the play's strategy has been followed; `None` where the
/// play's variables are not those of the built-in playbook.
fn connection(vars: &Vars) -> Option<Connection> {
    let number = |name: &str| vars.get(name).and_then(Value::as_u64);
    let keepalive = vars.get("tcp_keepalive")?;
    let timer = |name: &str| keepalive.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let strategy = vars.get("strategy").and_then(Value::as_str)?;
    let strategy = Strategy::ALL.into_iter().find(|known| known.name() == strategy)?;
    let heartbeat = match strategy {
        Strategy::Heartbeat => number("heartbeat_timeout_threshold")?,
        Strategy::Keepalive | Strategy::Retries2 | Strategy::RpcTimeout => HEARTBEAT,
    };
    let heartbeat = u32::try_from(heartbeat).ok()?;
    let by_keepalive = matches!(strategy, Strategy::Heartbeat | Strategy::Keepalive);
    Some(Connection {
        heartbeat,
        listener_keepalive: by_keepalive,
        keepalive: Keepalive { time: timer("time")?, intvl: timer("intvl")?, probes: timer("probes")? },
        retries2: match strategy {
            Strategy::Retries2 => u32::try_from(number("tcp_retries2")?).ok()?,
            Strategy::Heartbeat | Strategy::Keepalive | Strategy::RpcTimeout => 15,
        },
        user_timeout: None,
        armed: None,
        blocked: false,
        rpc_response_timeout: match strategy {
            Strategy::RpcTimeout => vars.get("rpc_response_timeout").and_then(Value::as_f64),
            Strategy::Heartbeat | Strategy::Keepalive | Strategy::Retries2 => Some(TIMEOUT),
        },
        client: Client::current(heartbeat),
    })
}
