//! The calls that nobody got an answer to, and everything the logs say about each.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::event::{Event, Kind};
use super::process::Process;
use super::seconds;

/// A call whose caller gave up.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its id.
    pub message: String,
    /// Who called.
    pub process: Process,
    /// The request it was part of.
    pub request: Option<String>,
    /// When it was sent, if a line says so.
    pub sent: Option<Timestamp>,
    /// When the API request came in that it was part of.
    pub asked: Option<Timestamp>,
    /// When its caller gave up.
    pub gave_up: Timestamp,
    /// Where that stands.
    pub source: String,
    /// The API request: method and path.
    pub api: Option<(String, String)>,
    /// Which action it was.
    pub action: Option<String>,
    /// The remote method, and the service it is of.
    pub method: Option<(String, String)>,
    /// The topic it was sent to.
    pub topic: Option<String>,
    /// The HTTP status that came of it, when, and after how many seconds.
    pub answer: Option<(Timestamp, u16, Option<f64>)>,
    /// When a reply came for which nobody waited any more.
    pub late: Option<Timestamp>,
    /// The server could not deliver its reply: there was no queue.
    pub dropped: Option<(Timestamp, String)>,
    /// What servers wrote about the request, by time.
    pub said: Vec<(Timestamp, String, String)>,
}

impl Call {
    /// The operation as a person says it.
    pub fn operation(&self) -> String {
        let method = self.method.as_ref().map(|(target, method)| format!("{method} on {target}"));
        let api = self.api.as_ref().map(|(verb, path)| format!("{verb} {path}"));
        match (&self.action, method) {
            (Some(action), Some(method)) => format!("{action} ({method})"),
            (Some(action), None) => action.clone(),
            (None, Some(method)) => method,
            (None, None) => api
                .or_else(|| self.topic.as_ref().map(|topic| format!("a call to {topic}")))
                .unwrap_or_else(|| "a call".to_owned()),
        }
    }

    /// How long its caller waited: exactly, or as long as an API request that did little else, or unknown.
    pub fn waited(&self) -> Option<f64> {
        const STEP: f64 = 30.0;
        const BEFORE: f64 = 3.0;
        if let Some(sent) = self.sent {
            return Some(seconds(sent, self.gave_up));
        }
        // `rpc_response_timeout` is hardly ever anything but a multiple of 30, and what an API does before
        // its call takes moments.
        let whole = seconds(self.asked?, self.gave_up);
        let timeout = (whole / STEP).floor() * STEP;
        (timeout >= STEP && whole - timeout <= BEFORE).then_some(timeout)
    }

    /// Was a server done with it long before its reply came or its caller gave up? A server that writes about
    /// a request more than once writes when it begins and when it ends.
    pub fn was_served(&self) -> bool {
        const LONG: f64 = 10.0;
        let last = self.said.iter().map(|(at, ..)| *at).max();
        self.said.len() > 1 && last.is_some_and(|last| seconds(last, self.gave_up) >= LONG)
    }

    /// When it was sent, or probably was; `timeout` is the caller's `rpc_response_timeout`, where known.
    pub fn began(&self, timeout: Option<f64>) -> Option<Timestamp> {
        let waited = self.waited().or(timeout)?;
        self.sent.or_else(|| self.gave_up.checked_sub(SignedDuration::from_secs_f64(waited)).ok())
    }
}

/// Every call that somebody gave up waiting for, by time.
pub fn calls(events: &[Event]) -> Vec<Call> {
    let mut calls: BTreeMap<&str, Call> = BTreeMap::new();
    for event in events {
        let Kind::GaveUp { message } = &event.kind else { continue };
        let new = || Call {
            message: message.clone(),
            process: Process::of(event),
            request: event.request.clone(),
            sent: None,
            asked: None,
            gave_up: event.at,
            source: event.source(),
            api: None,
            action: None,
            method: None,
            topic: None,
            answer: None,
            late: None,
            dropped: None,
            said: Vec::new(),
        };
        let call = calls.entry(message).or_insert_with(new);
        // The same exception is logged where it passes, and on other hosts too: the first is the caller's.
        if event.at < call.gave_up {
            let request = call.request.take();
            *call = new();
            call.request = call.request.take().or(request);
        } else if event.host == call.process.host && event.pid == call.process.pid {
            call.request = call.request.take().or_else(|| event.request.clone());
        }
    }
    let by_request = requests(events);
    for event in events {
        match &event.kind {
            Kind::Called { message, topic } => {
                if let Some(call) = calls.get_mut(message.as_str()) {
                    call.sent = Some(event.at);
                    call.topic = Some(topic.clone());
                }
            }
            Kind::LateReply { message } => {
                if let Some(call) = calls.get_mut(message.as_str()) {
                    call.late.get_or_insert(event.at);
                }
            }
            Kind::ReplyDropped { message } => {
                if let Some(call) = calls.get_mut(message.as_str()) {
                    call.dropped.get_or_insert_with(|| (event.at, event.host.clone()));
                }
            }
            _ => {}
        }
    }
    let mut calls: Vec<Call> = calls.into_values().collect();
    calls.sort_by(|one, other| one.gave_up.cmp(&other.gave_up).then_with(|| one.message.cmp(&other.message)));
    let mut answered = BTreeSet::new();
    for call in &mut calls {
        for event in
            call.request.as_ref().and_then(|request| by_request.get(request.as_str())).into_iter().flatten()
        {
            belongs(call, event);
        }
        frames(call, events);
        if call.answer.is_none() {
            unnamed_answer(call, events, &mut answered);
        }
    }
    calls
}

fn requests(events: &[Event]) -> BTreeMap<&str, Vec<&Event>> {
    let mut by_request: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        if let Some(request) = &event.request {
            by_request.entry(request).or_default().push(event);
        }
    }
    by_request
}

/// What a line of the same request says about the call.
fn belongs(call: &mut Call, event: &Event) {
    let at_caller = event.host == call.process.host;
    match &event.kind {
        Kind::Asked { method, path } if at_caller && event.at <= call.gave_up => {
            call.asked.get_or_insert(event.at);
            call.api.get_or_insert_with(|| (method.clone(), path.clone()));
        }
        Kind::Action { name } if at_caller => {
            call.action.get_or_insert_with(|| name.clone());
        }
        Kind::Answered { method, path, status, took, .. } if at_caller && event.at >= call.gave_up => {
            let answer = call.answer.get_or_insert((event.at, *status, *took));
            answer.2 = answer.2.or(*took);
            if !method.is_empty() {
                call.api.get_or_insert_with(|| (method.clone(), path.clone()));
            }
        }
        Kind::Said { text } if !at_caller || event.service != call.process.service => {
            call.said.push((event.at, event.host.clone(), format!("{}: {text}", event.service)));
        }
        _ => {}
    }
}

/// The events, which are sorted by time, of so many seconds round a moment.
fn around(events: &[Event], at: Timestamp, reach: f64) -> &[Event] {
    let from = events.partition_point(|event| seconds(at, event.at) < -reach);
    let to = events.partition_point(|event| seconds(at, event.at) <= reach);
    &events[from..to]
}

/// The traceback of the exception, beside it in the same process.
fn frames(call: &mut Call, events: &[Event]) {
    for event in around(events, call.gave_up, 1.0) {
        if let Kind::Frame { target, method } = &event.kind
            && Process::of(event) == call.process
        {
            call.method = Some((target.clone(), method.clone()));
        }
    }
}

/// An access log without request ids: the first answer of 500 and more, right after the caller gave up.
fn unnamed_answer<'a>(call: &mut Call, events: &'a [Event], taken: &mut BTreeSet<(&'a str, Option<u64>)>) {
    for event in events {
        let Kind::Answered { method, path, status, took, dated_by_request } = &event.kind else { continue };
        let fits = event.request.is_none()
            && event.host == call.process.host
            && (event.service == call.process.service || event.service.is_empty())
            && *status >= 500
            && took.is_none_or(|took| took >= 1.0)
            && call.api.as_ref().is_none_or(|(_, of_call)| of_call == path)
            && is_timely(call, event.at, *dated_by_request && took.is_none());
        if fits && taken.insert((&event.path, event.line)) {
            let began = took.and_then(|took| event.at.checked_sub(SignedDuration::from_secs_f64(took)).ok());
            let at = if *dated_by_request && took.is_none() { call.gave_up } else { event.at };
            call.answer = Some((at, *status, *took));
            call.api.get_or_insert_with(|| (method.clone(), path.clone()));
            call.asked = call.asked.or(began);
            return;
        }
    }
}

/// Can a line of an access log be of the request that a call was part of? It may have whole seconds, and the
/// time of the request or of the answer.
fn is_timely(call: &Call, at: Timestamp, dated_by_request: bool) -> bool {
    const SOON: f64 = 3.0;
    if !dated_by_request {
        return (-1.0..=SOON).contains(&seconds(call.gave_up, at));
    }
    match call.asked {
        Some(asked) => seconds(asked, at).abs() <= 1.5,
        None => call
            .waited()
            .is_some_and(|waited| (waited - 1.0..=waited + SOON).contains(&seconds(at, call.gave_up))),
    }
}
