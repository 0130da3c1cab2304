//! `trueup incidents` for the person on call: what was lost and whether it would be again, then why, then
//! line by line.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::{IncidentReport, LOGS, SourceReport};
use crate::incidents::today::{Fate, Outlook};
use crate::incidents::{Incident, LostCall, Moment, NoticedBy, OtherCall, Verdict, when};
use crate::report::Style;
use crate::report::human::text::{Ink, beside, count, listed, paint, width, wrap};
use crate::timing::duration;

/// The widest text that is easy to read.
const WIDEST: u16 = 120;

/// Other calls of one kind that are told one by one.
const TOLD: usize = 5;

/// Incidents that are told with their timelines.
const TIMELINES: usize = 10;

/// The width of the labels of an incident.
const LABEL: usize = 10;

/// Lost calls of one incident that are told one by one.
const CALLS: usize = 8;

/// The report for a person, legible in 80 columns.
pub(super) fn write(report: &IncidentReport, style: Style) -> String {
    let page = Page { style: Style { width: style.width.min(WIDEST), ..style }, report };
    let mut parts = vec![page.heading(), page.verdict()];
    let (told, left) = report.found.incidents.split_at(report.found.incidents.len().min(TIMELINES));
    parts.extend(told.iter().enumerate().map(|(number, incident)| page.incident(number + 1, incident)));
    if !left.is_empty() {
        parts.push(page.lines(&format!(
            "And {} more; --since and --until narrow it, --format json has all.",
            count(left.len(), "incident")
        )));
    }
    parts.extend([page.others(), page.survived(), page.reading(), page.next()]);
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

struct Page<'a> {
    style: Style,
    report: &'a IncidentReport,
}

impl Page<'_> {
    fn columns(&self) -> usize {
        self.style.width.into()
    }

    fn lines(&self, text: &str) -> String {
        beside("", text, 0, self.columns())
    }

    fn ink(&self, text: &str, ink: Ink) -> String {
        paint(text, ink, self.style.colour)
    }

    /// The zone that a host's times are told in.
    fn zone(&self, host: &str) -> TimeZone {
        let own = self.report.sources.get(host).or_else(|| self.report.sources.values().next());
        own.map_or(TimeZone::UTC, |source| zone(&source.zone))
    }

    fn heading(&self) -> String {
        let report = self.report;
        let files: usize = report.sources.values().map(|source| source.files).sum();
        let bytes: u64 = report.sources.values().map(|source| source.bytes).sum();
        let hosts = if report.sources.contains_key(LOGS) {
            String::new()
        } else {
            format!("{}, ", count(report.sources.len(), "host"))
        };
        let zone = self.zone("");
        let mut text = format!("trueup incidents: {hosts}{} searched, {}", count(files, "log"), size(bytes));
        if let Some(since) = report.since {
            text.push_str(&format!(", since {}", moment(since, &zone)));
        }
        if let Some(until) = report.until {
            text.push_str(&format!(", until {}", moment(until, &zone)));
        }
        wrap(&text, self.columns()).iter().map(|line| format!("{}\n", self.ink(line, Ink::Bold))).collect()
    }

    fn verdict(&self) -> String {
        let found = &self.report.found;
        let Some(first) = found.incidents.first() else {
            let text = if found.others.is_empty() {
                "No call was lost to a dead consumer, and none to anything else that these logs tell."
            } else {
                "No call was lost to a dead consumer."
            };
            return wrap(text, self.columns())
                .iter()
                .map(|line| format!("{}\n", self.ink(line, Ink::Green)))
                .collect();
        };
        let calls = self.report.summary.lost_calls;
        let was = if calls == 1 { "was" } else { "were" };
        let zone = self.zone(&first.client);
        let when = match found.incidents.len() {
            1 => format!("on {}", moment(first.cut_at, &zone)),
            number => format!(
                "in {number} incidents from {} to {}",
                moment(first.cut_at, &zone),
                moment(found.incidents[number - 1].cut_at, &zone)
            ),
        };
        let lead = format!(
            "{} {was} lost to a dead consumer, {when} ({}).",
            count(calls, "call"),
            zone_name(&zone, first.cut_at)
        );
        let mut out: String = wrap(&lead, self.columns())
            .iter()
            .map(|line| format!("{}\n", self.ink(line, Ink::Red)))
            .collect();
        out.push_str(&self.lines(&self.decided()));
        out.push_str(&self.today());
        out
    }

    /// Which setting decided, over all incidents.
    fn decided(&self) -> String {
        let incidents = &self.report.found.incidents;
        let mut settings: BTreeMap<&str, usize> = BTreeMap::new();
        for setting in incidents.iter().filter_map(|incident| incident.decided.setting.as_deref()) {
            *settings.entry(setting).or_default() += 1;
        }
        if settings.is_empty() {
            let whys: BTreeSet<&str> =
                incidents.iter().map(|incident| incident.decided.why.as_str()).collect();
            let why = whys.first().filter(|_| whys.len() == 1).map(|why| format!(": {why}"));
            return format!(
                "Which setting decided is not known{}.",
                why.unwrap_or_else(|| ", see each incident".to_owned())
            );
        }
        let names: Vec<String> = settings.keys().map(|name| (*name).to_owned()).collect();
        let known: usize = settings.values().sum();
        let of = if known == incidents.len() { String::new() } else { format!(" in {known} of them") };
        let slowest = incidents.iter().filter_map(|incident| incident.notice_seconds).max_by(f64::total_cmp);
        let took = slowest.map(|took| format!(": the broker noticed after {took:.0} s")).unwrap_or_default();
        format!("What decided{of}: {}{took}.", listed(&names))
    }

    fn today(&self) -> String {
        let summary = &self.report.summary;
        let judged = summary.would_survive + summary.may_be_lost + summary.would_be_lost;
        if judged == 0 {
            let text = if self.report.audited {
                "What today's settings would make of it is not known: no host of these calls could be audited."
            } else {
                "Today's settings were not looked at."
            };
            return self.lines(text);
        }
        let outlooks = || {
            self.report
                .found
                .incidents
                .iter()
                .flat_map(|incident| &incident.calls)
                .filter_map(|call| call.today.as_ref())
        };
        let worst =
            outlooks().max_by(|one, other| one.fate.cmp(&other.fate)).expect("at least one was judged");
        let ink = match worst.fate {
            Fate::Survives => Ink::Green,
            Fate::MayBeLost => Ink::Yellow,
            Fate::Lost => Ink::Red,
        };
        let mut parts = Vec::new();
        for (number, fate) in [
            (summary.would_be_lost, Fate::Lost),
            (summary.may_be_lost, Fate::MayBeLost),
            (summary.would_survive, Fate::Survives),
        ] {
            if number > 0 {
                let all = if number == judged && judged == 1 {
                    "it".to_owned()
                } else if number == judged {
                    "all of them".to_owned()
                } else {
                    number.to_string()
                };
                parts.push(format!("{all} {}", fate.words()));
            }
        }
        let text = format!("With today's settings {}: {}.", listed(&parts), window(worst));
        wrap(&text, self.columns()).iter().map(|line| format!("{}\n", self.ink(line, ink))).collect()
    }

    fn incident(&self, number: usize, incident: &Incident) -> String {
        let zone = self.zone(&incident.client);
        let host =
            if incident.client.is_empty() { String::new() } else { format!(" on {}", incident.client) };
        let when = if incident.cut_is_exact { "" } else { "not later than " };
        let title = format!("Incident {number}{host}, {when}{}", moment(incident.cut_at, &zone));
        let mut out = format!("{}\n", self.ink(&title, Ink::Bold));
        let row = |label: &str, text: &str| beside(&format!("  {label}"), text, LABEL + 2, self.columns());
        out.push_str(&row("lost", &connection(incident)));
        out.push_str(&row("broker", &noticing(incident, &zone)));
        for call in incident.calls.iter().take(CALLS) {
            out.push_str(&row("call", &lost_call(call, incident, &zone)));
            if let Some(today) = &call.today {
                out.push_str(&row("today", &format!("{}: this call {}", window(today), today.fate.words())));
            }
        }
        if incident.calls.len() > CALLS {
            out.push_str(&row("", &format!("and {}", count(incident.calls.len() - CALLS, "more call"))));
        }
        out.push('\n');
        out.push_str(&self.timeline(&incident.timeline, &zone));
        out
    }

    fn timeline(&self, moments: &[Moment], zone: &TimeZone) -> String {
        let hosts: Vec<&str> =
            moments.iter().map(|moment| moment.host.as_str()).filter(|host| !host.is_empty()).collect();
        let several = hosts.iter().any(|host| *host != hosts[0]);
        let who = |moment: &Moment| match (several, moment.who.is_empty()) {
            (true, false) => format!("{} {}", moment.host, moment.who),
            (true, true) => moment.host.clone(),
            (false, _) => moment.who.clone(),
        };
        let wide = moments.iter().map(|moment| width(&who(moment))).max().unwrap_or_default();
        let mut out = String::new();
        for moment in moments {
            let clock = clock(moment.at, zone);
            let label = format!("  {clock} {:>+8.1} s  {:<wide$}  ", moment.seconds, who(moment));
            out.push_str(&beside(&label, &moment.what, width(&label), self.columns()));
        }
        out
    }

    /// Calls that were lost to something else, by kind.
    fn others(&self) -> String {
        let others = &self.report.found.others;
        if others.is_empty() {
            return String::new();
        }
        let mut kinds: BTreeMap<Verdict, Vec<&OtherCall>> = BTreeMap::new();
        for other in others {
            kinds.entry(other.verdict).or_default().push(other);
        }
        let title = format!("{} without an answer for other reasons", count(others.len(), "call"));
        let mut out = format!("{}\n", self.ink(&title, Ink::Bold));
        for (verdict, calls) in kinds {
            out.push_str(&beside(
                "  ",
                &format!("{}: {}", verdict.words(), count(calls.len(), "call")),
                2,
                self.columns(),
            ));
            for other in calls.iter().take(TOLD) {
                let zone = self.zone(&other.call.host);
                let text = format!(
                    "{} {}, {}: {}",
                    moment(other.call.gave_up_at, &zone),
                    caller(&other.call),
                    other.call.operation,
                    other.why
                );
                out.push_str(&beside("    ", &text, 6, self.columns()));
            }
            if calls.len() > TOLD {
                out.push_str(&format!("    and {} more\n", calls.len() - TOLD));
            }
        }
        out
    }

    /// Losses of connections that cost nothing.
    fn survived(&self) -> String {
        let survived = &self.report.found.survived;
        if survived.is_empty() {
            return String::new();
        }
        let losses = if survived.len() == 1 { "loss" } else { "losses" };
        let title = format!("{} {losses} of connections without a lost call", survived.len());
        let mut out = format!("{}\n", self.ink(&title, Ink::Bold));
        for loss in survived.iter().rev().take(TOLD) {
            let zone = self.zone(&loss.client);
            let mut text = format!("{} {}", moment(loss.at, &zone), loss.client);
            if !loss.services.is_empty() {
                text.push_str(&format!(" ({})", listed(&loss.services)));
            }
            text.push_str(&format!(": {}", loss.cause));
            if let Some(broker) = &loss.lost_broker {
                text.push_str(&format!(", broker {broker}"));
            }
            match loss.reconnect_seconds {
                Some(back) => text.push_str(&format!(", back after {back:.1} s")),
                None => text.push_str(", not seen to be back"),
            }
            match loss.notice_seconds {
                Some(after) if after < 0.0 => {
                    text.push_str(&format!(", the broker had noticed {:.1} s before", -after));
                }
                Some(after) => text.push_str(&format!(", the broker noticed after {after:.1} s")),
                None => {}
            }
            out.push_str(&beside("  ", &text, 4, self.columns()));
        }
        if survived.len() > TOLD {
            out.push_str(&format!("  and {} before\n", survived.len() - TOLD));
        }
        out
    }

    /// What limits the answer: hosts, files, lines, clocks.
    fn reading(&self) -> String {
        let mut notes = Vec::new();
        for (host, source) in &self.report.sources {
            notes.extend(limits(host, source));
        }
        for skew in &self.report.found.skews {
            let off = duration(skew.ahead.abs());
            let way = if skew.ahead > 0.0 { "ahead of" } else { "behind" };
            let zone = if skew.is_a_zone() { "; they write times of different zones" } else { "" };
            notes.push(format!(
                "the clock of {} is {off} {way} that of {}{zone}: its times are shown corrected",
                skew.host, skew.of
            ));
        }
        if notes.is_empty() {
            return String::new();
        }
        let mut out = format!("{}\n", self.ink("What to know about the logs", Ink::Bold));
        for note in notes {
            out.push_str(&beside("  ", &note, 4, self.columns()));
        }
        out
    }

    fn next(&self) -> String {
        if self.report.found.incidents.is_empty() {
            return String::new();
        }
        let summary = &self.report.summary;
        let logs = self.report.sources.contains_key(LOGS);
        let mut hints = Vec::new();
        if summary.would_be_lost + summary.may_be_lost > 0 {
            hints.push("`trueup plan` shows what would keep it from happening again");
        }
        if !self.report.audited {
            hints.push(
                "with an inventory (-i) it is told whether today's settings would lose these calls again",
            );
        }
        if logs
            && self.report.found.incidents.iter().any(|incident| incident.noticed_by == NoticedBy::Unknown)
        {
            hints.push(
                "the brokers' logs (/var/log/rabbitmq) tell when each noticed, and why: add them with --log",
            );
        }
        hints.iter().map(|hint| beside("hint: ", hint, 6, self.columns())).collect()
    }
}

fn limits(host: &str, source: &SourceReport) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(fault) = &source.error {
        notes.push(format!("{host}: not read: {}", fault.message));
        return notes;
    }
    if source.files == 0 {
        notes.push(format!("{host}: no log was found"));
    }
    if source.skipped > 0 {
        notes.push(format!(
            "{host}: {} could not be read: no time, or broken",
            count(usize::try_from(source.skipped).unwrap_or(usize::MAX), "line")
        ));
    }
    for (path, reason) in &source.unread {
        notes.push(format!("{host}: {path}: {reason}"));
    }
    for path in &source.cut {
        notes.push(format!("{host}: {path}: only the newest lines were read, there were too many"));
    }
    if let Some(ahead) = source.clock_ahead {
        let way = if ahead > 0.0 { "ahead of" } else { "behind" };
        notes.push(format!("{host}: its clock is {} {way} this machine's today", duration(ahead.abs())));
    }
    if let Some(fault) = &source.audit_error {
        notes.push(format!("{host}: today's settings are not known: {}", fault.message));
    }
    notes
}

fn connection(incident: &Incident) -> String {
    let from = incident.lost_broker.as_ref().map_or("a broker that no line names".to_owned(), Clone::clone);
    let mut text = format!("the connection to {from}: {}", incident.cause);
    if !incident.cut_is_exact {
        text.push_str("; it had been dead for some time when the client noticed");
    }
    match (&incident.reconnected_at, &incident.joined_broker) {
        (Some(at), Some(broker)) => text.push_str(&format!(
            "; connected again after {:.1} s, to {broker}",
            crate::incidents::seconds(incident.cut_at, *at)
        )),
        _ => text.push_str("; not seen to be connected again"),
    }
    text
}

fn noticing(incident: &Incident, zone: &TimeZone) -> String {
    let setting = incident.decided.setting.as_ref().map(|setting| format!("{setting} decided: "));
    let setting = setting.unwrap_or_default();
    let why = &incident.decided.why;
    let (Some(at), Some(after)) = (incident.noticed_at, incident.notice_seconds) else {
        return format!("not known when it noticed: {why}");
    };
    let about = if incident.noticed_by == NoticedBy::LateReply { "about " } else { "" };
    if incident.cut_is_exact {
        format!("noticed {about}{after:.1} s after the cut; {setting}{why}")
    } else {
        format!("noticed {about}at {}; {setting}{why}", clock(at, zone))
    }
}

fn caller(call: &LostCall) -> String {
    let service = if call.service.is_empty() { "a service" } else { &call.service };
    let pid = call.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
    let host = if call.host.is_empty() { String::new() } else { format!(" on {}", call.host) };
    format!("{service}{pid}{host}")
}

fn lost_call(call: &LostCall, incident: &Incident, zone: &TimeZone) -> String {
    let mut text =
        format!("{} by {}; gave up at {}", call.operation, caller(call), clock(call.gave_up_at, zone));
    if incident.cut_is_exact {
        text.push_str(&format!(", {:.1} s after the cut", call.seconds_after_cut));
    }
    if let Some(waited) = call.waited_seconds {
        text.push_str(&format!(", having waited {waited:.1} s"));
    }
    if let Some(status) = call.http_status {
        text.push_str(&format!(" → HTTP {status}"));
    }
    if let Some(late) = call.late_reply_at {
        let after = crate::incidents::seconds(call.gave_up_at, late);
        text.push_str(&format!("; its reply came {after:.1} s later"));
    }
    if let Some(request) = &call.request_id {
        text.push_str(&format!("; {request}"));
    }
    text
}

fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string()
}

/// `the broker would notice after 30 to 45 s (heartbeat_timeout_threshold)`.
fn window(outlook: &Outlook) -> String {
    let waits = outlook.rpc_response_timeout.map_or("callers wait without end".to_owned(), |timeout| {
        format!("callers wait {}", duration(timeout))
    });
    let broker = match outlook.broker_worst {
        None => "the broker might never notice".to_owned(),
        Some(worst) => format!("the broker would notice after {} at most", duration(worst)),
    };
    let slower = match (outlook.client_worst, outlook.broker_worst) {
        (Some(client), Some(broker)) if client > broker => format!(", the client after {}", duration(client)),
        _ => String::new(),
    };
    format!("{broker}{slower} ({} decides), {waits}", outlook.decided_by)
}

fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).ok().or_else(|| when::offset(name)).unwrap_or(TimeZone::UTC)
}

fn zone_name(zone: &TimeZone, at: Timestamp) -> String {
    let offset = at.to_zoned(zone.clone()).strftime("%:z").to_string();
    match zone.iana_name() {
        Some("UTC" | "Etc/UTC") => "UTC".to_owned(),
        Some(name) => format!("{name}, UTC{offset}"),
        None if zone.to_offset(at) == Offset::UTC => "UTC".to_owned(),
        None => format!("UTC{offset}"),
    }
}

fn size(bytes: u64) -> String {
    const STEPS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut step = 0;
    while value >= 1024.0 && step + 1 < STEPS.len() {
        value /= 1024.0;
        step += 1;
    }
    if step == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", STEPS[step]) }
}
