//! Which loss of a connection cost which call, and what the other calls were lost to.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::brokers::{Brokers, Notice};
use super::call::{Call, calls};
use super::event::{Event, Goodbye, Kind};
use super::process::{Loss, Process, losses};
use super::{
    Decided, Found, Incident, LostCall, NoticedBy, OtherCall, SurvivedLoss, Verdict, seconds, timeline,
};

/// A caller's patience where nothing tells it: oslo.messaging's `rpc_response_timeout`, 60 in every release.
const TIMEOUT: f64 = 60.0;

/// How long a dead consumer may have been there where no broker's log tells: three heartbeats of the default
/// `heartbeat_timeout_threshold`.
const DEAD: f64 = 180.0;

/// A client notices by its own means within twice the default heartbeat.
const UNNOTICED: f64 = 125.0;

/// Further than any loss that a call is laid to.
const FAR: f64 = 1e9;

/// Connections that one host lost so close together were lost to one cause.
const TOGETHER: f64 = 5.0;

/// Queues give a reply back at once when a dead consumer's connection is closed.
const GIVEN_BACK: f64 = 10.0;

/// Connections of one host that were lost together.
struct Cut<'a> {
    losses: Vec<(&'a Loss, Vec<Notice>)>,
    calls: Vec<(&'a Call, usize)>,
}

/// What these events amount to. `events` may be in any order, and the same line may come from two sources.
pub fn find(mut events: Vec<Event>) -> Found {
    name_services(&mut events);
    order(&mut events);
    let brokers = Brokers::new(&events);
    let losses = losses(&events);
    let calls = calls(&events);
    let mut cuts = cuts(&losses, &brokers);
    let mut found = Found { skews: brokers.skews(), ..Found::default() };
    for call in &calls {
        match verdict(call, &mut cuts, &events, &brokers) {
            (Verdict::DeadConsumer, _) => {}
            (verdict, why) => found.others.push(OtherCall { verdict, why, call: lost(call, None) }),
        }
    }
    for cut in &cuts {
        if cut.calls.is_empty() {
            found.survived.push(survived(cut, &brokers));
        } else {
            found.incidents.push(incident(cut, &events, &brokers));
        }
    }
    found.incidents.sort_by_key(|incident| incident.cut_at);
    found
}

/// By time, each once: of the lines that say one thing, the one that says most.
fn order(events: &mut Vec<Event>) {
    events.sort_by(|one, other| {
        let poor = |event: &Event| (event.request.is_none(), event.line.is_none());
        let place = |event: &Event| (event.path.clone(), event.line);
        one.at
            .cmp(&other.at)
            .then_with(|| poor(one).cmp(&poor(other)))
            .then_with(|| place(one).cmp(&place(other)))
    });
    let mut kept: Vec<Event> = Vec::with_capacity(events.len());
    for event in events.drain(..) {
        let same = |one: &&Event| one.kind == event.kind && one.host == event.host && one.pid == event.pid;
        let now = kept.iter().rev().take_while(|one| one.at == event.at);
        if !now.into_iter().any(|one| same(&one)) {
            kept.push(event);
        }
    }
    *events = kept;
}

/// Lines of a process that do not tell its service get it from those that do.
fn name_services(events: &mut [Event]) {
    let key = |event: &Event| (event.host.clone(), event.path.clone(), event.pid);
    let mut known = BTreeMap::new();
    for event in events.iter().filter(|event| !event.service.is_empty()) {
        known.entry(key(event)).or_insert_with(|| event.service.clone());
    }
    for event in events.iter_mut().filter(|event| event.service.is_empty()) {
        if let Some(service) = known.get(&key(event)) {
            event.service.clone_from(service);
        }
    }
}

fn cuts<'a>(losses: &'a [Loss], brokers: &Brokers) -> Vec<Cut<'a>> {
    let mut cuts: Vec<Cut<'a>> = Vec::new();
    for loss in losses {
        let next = losses.iter().find(|next| next.process == loss.process && next.at > loss.at);
        let notices = brokers.notices(loss, next.map(|next| next.at));
        let same = cuts.iter_mut().rev().find(|cut| {
            let (first, _) = cut.losses[0];
            first.process.host == loss.process.host && seconds(first.at, loss.at) <= TOGETHER
        });
        match same {
            Some(cut) => cut.losses.push((loss, notices)),
            None => cuts.push(Cut { losses: vec![(loss, notices)], calls: Vec::new() }),
        }
    }
    cuts
}

/// What a call was lost to, and how that is known; one that was lost to a dead consumer is put to its cut.
fn verdict<'a>(
    call: &'a Call,
    cuts: &mut [Cut<'a>],
    events: &[Event],
    brokers: &Brokers,
) -> (Verdict, String) {
    let timeout = call.waited().unwrap_or(TIMEOUT);
    let began = call.gave_up.checked_sub(SignedDuration::from_secs_f64(timeout)).unwrap_or(call.gave_up);
    let client = &call.process.host;
    if let Some((at, host)) = &call.dropped {
        let why =
            format!("{host} had no queue to send the reply to, {:.1} s after the call", seconds(began, *at));
        return (Verdict::ReplyQueueGone, why);
    }
    if let Some(at) = blocked(&call.process, began, call.gave_up, events) {
        let why = format!(
            "the broker had blocked the caller's connection {:.1} s before it gave up",
            seconds(at, call.gave_up)
        );
        return (Verdict::Blocked, why);
    }
    let candidate = candidate(call, timeout, cuts);
    if let Some((cut, at)) = candidate {
        let (loss, notices) = &cuts[cut].losses[at];
        if let Some(why) = broker_was_down(call, loss, brokers) {
            return (Verdict::BrokerDown, why);
        }
        let slow = call.late.filter(|late| {
            if call.was_served() {
                return false;
            }
            let returned =
                notices.iter().any(|notice| (-2.0..=GIVEN_BACK).contains(&seconds(notice.at, *late)));
            !notices.is_empty() && !returned
        });
        // Its consumer was alive when the reply came: the broker had not just given it back.
        if let Some(late) = slow {
            let why = format!(
                "the reply came {:.1} s after the caller gave up, and not when a broker closed a dead connection",
                seconds(call.gave_up, late)
            );
            return (Verdict::SlowServer, why);
        }
        cuts[cut].calls.push((call, at));
        return (Verdict::DeadConsumer, String::new());
    }
    if let Some((at, host, what)) = brokers.alarm_between(client, began, call.gave_up) {
        let why = format!(
            "the {what} alarm of {host} was in force, set {:.0} s before the caller gave up",
            seconds(at, call.gave_up)
        );
        return (Verdict::Blocked, why);
    }
    if let Some((at, host)) = brokers.down_between(client, began, call.gave_up, None) {
        let why = format!(
            "the broker on {host} went or came {:.0} s before the caller gave up",
            seconds(at, call.gave_up)
        );
        return (Verdict::BrokerDown, why);
    }
    if let Some(late) = call.late {
        let why = format!(
            "the reply came {:.1} s after the caller gave up; its connection had not been lost",
            seconds(call.gave_up, late)
        );
        return (Verdict::SlowServer, why);
    }
    (Verdict::NeverAnswered, never(call))
}

fn never(call: &Call) -> String {
    match call.said.iter().rfind(|(at, ..)| *at <= call.gave_up) {
        Some((at, host, _)) => format!(
            "no connection was lost, and no reply came; {host} last wrote about the request {:.1} s before the caller gave up",
            seconds(*at, call.gave_up)
        ),
        None => "no connection was lost, no reply came, and no server wrote about the request: \
                 does somebody consume the topic?"
            .to_owned(),
    }
}

/// The loss of the caller's process that a call may have been lost to: the last one before its caller gave up,
/// or else the first one after, of a client that noticed late.
fn candidate(call: &Call, timeout: f64, cuts: &[Cut<'_>]) -> Option<(usize, usize)> {
    let mut best: Option<(f64, (usize, usize))> = None;
    for (number, cut) in cuts.iter().enumerate() {
        for (at, (loss, notices)) in cut.losses.iter().enumerate() {
            let after = seconds(loss.at, call.gave_up);
            let dead = notices.last().map_or(DEAD, |notice| seconds(loss.at, notice.at));
            let after_the_cut = after >= 0.0 && after <= dead.max(0.0) + timeout;
            let before_it_was_noticed =
                (loss.cause.is_late() || call.was_served()) && after < 0.0 && -after <= UNNOTICED;
            // The nearest before, and all of those before any after.
            let distance = if after >= 0.0 { after } else { FAR - after };
            let nearer = best.is_none_or(|(known, _)| distance < known);
            if loss.process == call.process && (after_the_cut || before_it_was_noticed) && nearer {
                best = Some((distance, (number, at)));
            }
        }
    }
    best.map(|(_, place)| place)
}

/// A broker that goes or comes within so many seconds of a loss is its cause.
const AROUND: f64 = 10.0;

/// Was it that there was no broker, rather than one that did not know?
fn broker_was_down(call: &Call, loss: &Loss, brokers: &Brokers) -> Option<String> {
    let name = |loss: &Loss| {
        loss.broker().map_or("the broker".to_owned(), |broker| {
            brokers.host(broker).unwrap_or_else(|| broker.to_string())
        })
    };
    if loss.broker_was_down {
        return Some(format!("{} was down: {}", name(loss), loss.cause.words()));
    }
    let back = loss.back.as_ref().map(|(at, _)| *at);
    if loss.at <= call.gave_up && back.is_none_or(|back| back >= call.gave_up) && !loss.cause.is_late() {
        return Some("the caller had no connection to any broker until it gave up".to_owned());
    }
    let from = loss.at.checked_sub(SignedDuration::from_secs_f64(AROUND)).ok()?;
    let to = loss.at.checked_add(SignedDuration::from_secs_f64(AROUND)).ok()?;
    let (at, host) = brokers.down_between(&loss.process.host, from, to, loss.broker())?;
    Some(format!(
        "the broker on {host} went or came {:.1} s from the loss of the connection",
        seconds(loss.at, at).abs()
    ))
}

/// When the caller's connection was blocked, if it still was while the call waited.
fn blocked(process: &Process, began: Timestamp, gave_up: Timestamp, events: &[Event]) -> Option<Timestamp> {
    let mut since = None;
    for event in events.iter().take_while(|event| event.at <= gave_up) {
        let Kind::Blocked { on } = event.kind else { continue };
        if Process::of(event) == *process {
            if !on && event.at < began {
                since = None;
            } else if on {
                since = Some(event.at);
            }
        }
    }
    since
}

/// A lost call; how old it was at the cut is known where the cut is.
fn lost(call: &Call, cut: Option<(Timestamp, bool)>) -> LostCall {
    let began = call.began(None);
    LostCall {
        message_id: call.message.clone(),
        request_id: call.request.clone(),
        host: call.process.host.clone(),
        service: call.process.service.clone(),
        pid: call.process.pid,
        operation: call.operation(),
        asked_at: call.asked,
        sent_at: began,
        gave_up_at: call.gave_up,
        waited_seconds: call.waited(),
        age_at_cut: cut.filter(|(_, exact)| *exact).zip(began).map(|((cut, _), began)| seconds(began, cut)),
        seconds_after_cut: cut.map_or(0.0, |(cut, _)| seconds(cut, call.gave_up)),
        late_reply_at: call.late,
        http_status: call.answer.map(|(_, status, _)| status),
        source: call.source.clone(),
        today: None,
    }
}

/// The moment a cut's broker noticed: that of the connection which carried the replies, as far as can be told.
fn noticed(cut: &Cut<'_>) -> (Option<Notice>, Option<Timestamp>) {
    let late: Vec<Timestamp> = cut.calls.iter().filter_map(|(call, _)| call.late).collect();
    let involved = |at: usize| cut.calls.is_empty() || cut.calls.iter().any(|(_, of)| *of == at);
    let notices = || {
        cut.losses.iter().enumerate().filter(|(at, _)| involved(*at)).flat_map(|(_, (_, notices))| notices)
    };
    // A reply came back when its connection was closed; else the last one to be closed counts.
    let returned = notices()
        .find(|notice| late.iter().any(|late| (-2.0..=GIVEN_BACK).contains(&seconds(notice.at, *late))));
    let notice = returned.or_else(|| notices().max_by_key(|notice| notice.at)).cloned();
    (notice, late.into_iter().min())
}

fn survived(cut: &Cut<'_>, brokers: &Brokers) -> SurvivedLoss {
    let (first, _) = &cut.losses[0];
    let (notice, _) = noticed(cut);
    let mut services: Vec<String> = cut
        .losses
        .iter()
        .map(|(loss, _)| loss.process.service.clone())
        .filter(|name| !name.is_empty())
        .collect();
    services.sort();
    services.dedup();
    let back = cut
        .losses
        .iter()
        .filter_map(|(loss, _)| Some(seconds(loss.at, loss.back.as_ref()?.0)))
        .max_by(f64::total_cmp);
    SurvivedLoss {
        client: first.process.host.clone(),
        services,
        at: first.at,
        cause: first.cause.words().to_owned(),
        lost_broker: broker(cut, brokers),
        reconnect_seconds: back,
        notice_seconds: notice.map(|notice| seconds(first.at, notice.at)),
    }
}

fn broker(cut: &Cut<'_>, brokers: &Brokers) -> Option<String> {
    let named = cut.losses.iter().find_map(|(loss, _)| loss.broker());
    let closed =
        || cut.losses.iter().flat_map(|(_, notices)| notices).next().map(|notice| notice.host.clone());
    named.map(|broker| brokers.host(broker).unwrap_or_else(|| broker.to_string())).or_else(closed)
}

fn incident(cut: &Cut<'_>, events: &[Event], brokers: &Brokers) -> Incident {
    // Of the processes that lost calls, the first; the others only lost connections.
    let hit = |at: usize| cut.calls.iter().any(|(_, of)| *of == at);
    let losses = || cut.losses.iter().enumerate().filter(|(at, _)| hit(*at)).map(|(_, (loss, _))| *loss);
    let first = losses().min_by_key(|loss| loss.at).expect("a call belongs to one of the losses");
    let (notice, late) = noticed(cut);
    let noticed_at = notice.as_ref().map(|notice| notice.at).or(late);
    // A client that noticed late: what its loss did cost or its broker noticed dates it better.
    let evidence = cut.calls.iter().map(|(call, _)| call.gave_up).chain(noticed_at);
    let cut_at = evidence.fold(first.at, Timestamp::min);
    let cut_is_exact = cut_at == first.at && !first.cause.is_late();
    let calls: Vec<LostCall> =
        cut.calls.iter().map(|(call, _)| lost(call, Some((cut_at, cut_is_exact)))).collect();
    let joined = losses().find_map(|loss| loss.back.as_ref());
    Incident {
        client: first.process.host.clone(),
        cut_at,
        cut_is_exact,
        cause: first.cause.words().to_owned(),
        lost_broker: broker(cut, brokers),
        joined_broker: joined.map(|(_, broker)| brokers.host(broker).unwrap_or_else(|| broker.to_string())),
        reconnected_at: joined.map(|(at, _)| *at),
        noticed_at,
        noticed_by: match (&notice, late) {
            (Some(_), _) => NoticedBy::BrokerLog,
            (None, Some(_)) => NoticedBy::LateReply,
            (None, None) => NoticedBy::Unknown,
        },
        notice_seconds: noticed_at.map(|at| seconds(cut_at, at)),
        decided: decided(notice.as_ref(), late, brokers),
        timeline: timeline::of(
            cut.losses.iter().map(|(loss, notices)| (*loss, notices.as_slice())),
            &cut.calls.iter().map(|(call, _)| *call).collect::<Vec<_>>(),
            cut_at,
            events,
            brokers,
        ),
        calls,
    }
}

/// The setting that decided, from the broker's own words.
fn decided(notice: Option<&Notice>, late: Option<Timestamp>, brokers: &Brokers) -> Decided {
    let (setting, why) = match notice.map(|notice| &notice.why) {
        Some(Goodbye::Heartbeats(interval)) => (
            Some("heartbeat_timeout_threshold"),
            format!("the broker missed heartbeats, which were {interval} s apart: it looks two to three times"),
        ),
        Some(Goodbye::TcpTimeout) => (
            None,
            "TCP gave up before heartbeats did: tcp_retries2 where a reply was in flight, keepalive where none was".to_owned(),
        ),
        Some(Goodbye::ClientGone) => (None, "the network came back before any timer of the broker had fired".to_owned()),
        Some(Goodbye::Normal) => (None, "the broker closed it in the usual way".to_owned()),
        Some(Goodbye::Other(words)) => (None, format!("the broker's words: {words}")),
        None if late.is_some() => (None, "the reply that came late dates it; the broker's log is not among those read".to_owned()),
        None if brokers.are_known() => (None, "no broker's log has a line about the dead connection: it had not noticed by their end".to_owned()),
        None => (None, "no broker's log is among those read".to_owned()),
    };
    Decided { setting: setting.map(str::to_owned), why }
}
