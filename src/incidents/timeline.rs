//! What happened in an incident, line by line.

use jiff::Timestamp;

use super::brokers::{Brokers, Notice};
use super::call::Call;
use super::event::{Event, Goodbye, Kind};
use super::process::{Loss, Process};
use super::{Moment, seconds};

/// So many lines of servers about one request are told.
const SAID: usize = 6;

/// A loss and its calls as moments, by time. `cut` is second 0.
pub(super) fn of<'a>(
    losses: impl Iterator<Item = (&'a Loss, &'a [Notice])>,
    calls: &[&Call],
    cut: Timestamp,
    events: &[Event],
    brokers: &Brokers,
) -> Vec<Moment> {
    let mut moments = Vec::new();
    let mut push = |at: Timestamp, host: &str, who: &str, what: String, source: &str| {
        moments.push(Moment {
            at,
            seconds: seconds(cut, at),
            host: host.to_owned(),
            who: who.to_owned(),
            what,
            source: source.to_owned(),
        });
    };
    for (loss, notices) in losses {
        for event in events.iter().filter(|event| {
            event.at >= loss.at && event.at <= loss.last && Process::of(event) == loss.process
        }) {
            let Some(what) = of_connection(&event.kind, brokers) else { continue };
            push(event.at, &event.host, &who(event), what, &event.source());
        }
        for notice in notices {
            push(notice.at, &notice.host, "broker", of_notice(notice), &notice.source);
        }
    }
    for call in calls {
        for event in events.iter().filter(|event| concerns(event, call)) {
            if let Some(what) = of_call(&event.kind) {
                push(event.at, &event.host, &who(event), what, &event.source());
            }
        }
        if let Some((at, status, took)) = &call.answer {
            let took = took.map(|took| format!(", after {took:.1} s")).unwrap_or_default();
            push(*at, &call.process.host, &call.process.service, format!("answers HTTP {status}{took}"), "");
        }
        for (at, host, words) in call.said.iter().take(SAID) {
            push(*at, host, "", words.clone(), "");
        }
    }
    moments.sort_by_key(|moment| moment.at);
    // Several connections of a process, and several lines of one thing.
    moments.dedup_by(|one, other| {
        one.what == other.what
            && one.who == other.who
            && one.host == other.host
            && seconds(other.at, one.at) <= 1.0
    });
    moments
}

fn who(event: &Event) -> String {
    match (event.service.is_empty(), event.pid) {
        (true, _) => event.path.clone(),
        (false, Some(pid)) => format!("{} {pid}", event.service),
        (false, None) => event.service.clone(),
    }
}

fn of_connection(kind: &Kind, brokers: &Brokers) -> Option<String> {
    let name = |broker: &super::event::Endpoint| match brokers.host(broker) {
        Some(host) if host != broker.host => format!("{broker} ({host})"),
        _ => broker.to_string(),
    };
    match kind {
        Kind::Lost { cause, broker: Some(broker), .. } => {
            Some(format!("loses its connection to {}: {}", name(broker), cause.words()))
        }
        Kind::Lost { cause, broker: None, .. } => Some(format!("loses a connection: {}", cause.words())),
        Kind::Trying { broker } => Some(format!("tries {}", name(broker))),
        Kind::Connected { broker, .. } => Some(format!("is connected to {}", name(broker))),
        _ => None,
    }
}

fn of_notice(notice: &Notice) -> String {
    let why = match &notice.why {
        Goodbye::Heartbeats(interval) => format!("missed heartbeats, {interval} s apart"),
        Goodbye::TcpTimeout => "TCP timed out".to_owned(),
        Goodbye::ClientGone => "the client closed it".to_owned(),
        Goodbye::Normal => "as asked".to_owned(),
        Goodbye::Other(words) => words.clone(),
    };
    format!("closes the dead connection from port {}: {why}", notice.port)
}

/// Is the event about this call, or about the request it was part of?
fn concerns(event: &Event, call: &Call) -> bool {
    match &event.kind {
        Kind::GaveUp { message } => *message == call.message && event.source() == call.source,
        Kind::LateReply { message } | Kind::Called { message, .. } => *message == call.message,
        Kind::Asked { .. } | Kind::Action { .. } => {
            event.request.is_some() && event.request == call.request && event.host == call.process.host
        }
        _ => false,
    }
}

fn of_call(kind: &Kind) -> Option<String> {
    match kind {
        Kind::GaveUp { message } => Some(format!("gives up waiting for the reply to {message}")),
        Kind::LateReply { message } => {
            Some(format!("gets the reply to {message}, for which nobody waits any more"))
        }
        Kind::Called { topic, .. } => Some(format!("calls {topic}")),
        Kind::Asked { method, path } => Some(format!("is asked: {method} {path}")),
        Kind::Action { name } => Some(format!("finds the action: {name}")),
        _ => None,
    }
}
