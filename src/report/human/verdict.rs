//! The answer in a few sentences, and the worst window as a drawing.

use std::collections::BTreeSet;

use super::drift;
use super::merge::{Chapter, Entry};
use super::names::names;
use super::text::{Ink, beside, clauses, count, folded, listed, paint};
use super::windows::{Fate, Group, span};
use crate::audit::{Remedy, Severity, Status, WindowRow};
use crate::report::{HostFault, HostStatus, Report, Style};
use crate::timing::{Charset, drawing, duration};

/// The widest drawing that is easy to read.
const WIDEST: usize = 100;

/// The answer: are replies lost, whose, what decides it, what would mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The first words; may be empty.
    pub lead: String,
    /// How they are meant.
    pub ink: Ink,
    /// Two or three sentences that go on from there.
    pub text: String,
    /// What else must be known: hosts without an answer, with hints, and checks without one.
    pub more: Vec<String>,
}

/// The answer as paragraphs of text.
pub fn sentences(
    report: &Report,
    groups: &[Group<'_>],
    then: &[Group<'_>],
    chapters: &[Chapter<'_>],
    style: Style,
) -> String {
    told(&answer(report, groups, then, chapters), style)
}

/// An answer as paragraphs of text.
pub fn told(answer: &Answer, style: Style) -> String {
    let columns: usize = style.width.into();
    let Answer { lead, ink, text, more } = answer;
    let block = beside("", format!("{lead} {text}").trim(), 0, columns);
    let mut out = block.replacen(lead, &paint(lead, *ink, style.colour), 1);
    for line in more {
        out.push_str(&beside("", line, 0, columns));
    }
    out
}

/// `then` are the windows after every change that the playbook asks for.
pub fn answer(report: &Report, groups: &[Group<'_>], then: &[Group<'_>], chapters: &[Chapter<'_>]) -> Answer {
    if report.drift.is_some() {
        return drift::answer(report);
    }
    let (lead, ink, mut text) = match groups.first() {
        None => unknown(report),
        Some(worst) if worst.loses() => {
            let (lead, text) = lost(worst, groups);
            (lead, Ink::Red, text)
        }
        Some(worst) => {
            let (lead, text) = kept(worst);
            (lead, Ink::Green, text)
        }
    };
    if groups.first().is_some_and(Group::loses)
        && let Some(mend) = mend(chapters, then)
    {
        text.push_str(&format!(" {mend}"));
    }
    if groups.first().is_some_and(Group::loses) && chapters.is_empty() {
        text.push_str(" The playbook's strategy does not cover that, and nothing in it asks for more.");
    }
    let more = not_read(report).into_iter().chain(not_known(chapters)).collect();
    Answer { lead, ink, text, more }
}

/// The worst of these windows.
pub fn picture(title: &str, groups: &[Group<'_>], style: Style) -> String {
    let Some(worst) = groups.first() else { return String::new() };
    let (service, host, broker) = worst.owners.first().expect("a group has owners");
    let columns: usize = style.width.into();
    let mut out = beside("", &format!("{title} ({service} on {host}, broker {broker}):"), 0, columns);
    let drawn = drawing(&worst.timeline(), columns.min(WIDEST), Charset::Unicode);
    // The drawing's last line says in words what the sentences have said.
    let lines: Vec<&str> = drawn.lines().collect();
    for line in &lines[..lines.len() - 1] {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Nothing to compute windows from.
fn unknown(report: &Report) -> (String, Ink, String) {
    let read = report.hosts.values().any(|host| host.error.is_none());
    let doubts = report
        .hosts
        .values()
        .flat_map(|host| &host.findings)
        .any(|finding| finding.status == Status::Unknown);
    let (lead, ink, text) = if !read {
        ("Nothing is known:", Ink::Red, "no host could be read.")
    } else if doubts {
        (
            "Not known:",
            Ink::Yellow,
            "no detection window could be computed, so nobody knows whether replies survive.",
        )
    } else {
        ("", Ink::Green, "No service of these hosts talks to a broker, so there is no reply to lose.")
    };
    (lead.to_owned(), ink, text.to_owned())
}

fn lost(worst: &Group<'_>, groups: &[Group<'_>]) -> (String, String) {
    let row = &worst.row;
    let timeout = row.rpc_response_timeout;
    let wait = timeout.map_or("callers wait without end".to_owned(), |timeout| {
        format!("callers give up after {}", duration(timeout))
    });
    let always = row.broker_best.zip(timeout).is_none_or(|(best, timeout)| best >= timeout);
    let lead = if always { "Replies are lost" } else { "Replies can be lost" };
    let (why, decides) = match (row.broker_worst, row.client_worst) {
        (None, _) | (_, None) => (
            format!("when a connection to a broker dies: the broker may never notice, and {wait}."),
            "No setting bounds that.".to_owned(),
        ),
        (Some(broker), Some(client))
            if worst.client_is_slower() && timeout.is_some_and(|most| broker < most) =>
        {
            (
                format!(
                    "when a connection dies and its client is not told: the broker notices within {}, but the client \
                 is back only after up to {}, and {wait}.",
                    duration(broker),
                    duration(client)
                ),
                String::new(),
            )
        }
        (best_known, _) => {
            let needs = span(row.broker_best, best_known);
            (
                format!(
                    "when a connection to a broker dies: the broker needs {needs} to notice, and {wait}."
                ),
                decided(row),
            )
        }
    };
    let losers = || groups.iter().filter(|group| group.loses()).flat_map(|group| &group.owners);
    let services: BTreeSet<&str> = losers().map(|(service, _, _)| *service).collect();
    let hosts: BTreeSet<&str> = losers().map(|(_, host, _)| *host).collect();
    let services: Vec<String> = services.into_iter().map(str::to_owned).collect();
    let hosts: Vec<&str> = hosts.into_iter().collect();
    let whom = format!("This concerns the calls of {} on {}.", listed(&services), names(&hosts));
    let text = [why, decides, whom].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
    (lead.to_owned(), text)
}

fn kept(worst: &Group<'_>) -> (String, String) {
    let row = &worst.row;
    let lead = "Replies survive".to_owned();
    let slower = row.broker_worst.into_iter().chain(row.client_worst).fold(0.0, f64::max);
    let text = match (worst.fate(), row.rpc_response_timeout) {
        (Fate::Survives(age), Some(timeout)) => format!(
            "the death of a broker connection where the call is at most {} old: broker and client notice within \
             {}, and callers give up after {}. {}",
            duration(age.floor()),
            duration(slower),
            duration(timeout),
            decided(row)
        ),
        _ => format!(
            "the death of a broker connection: broker and client notice within {}, and callers wait without end.",
            duration(slower)
        ),
    };
    (lead, text)
}

/// Which setting decides when the broker notices, in a sentence.
fn decided(row: &WindowRow) -> String {
    let WindowRow { heartbeat, decided_by, .. } = row;
    match decided_by.as_str() {
        "heartbeat_timeout_threshold" => {
            format!("The AMQP heartbeat of {} decides that ({decided_by}).", duration(*heartbeat))
        }
        setting => {
            let whose = match setting {
                setting if setting.starts_with("net.ipv4.") => " of the broker's host",
                "TCP_USER_TIMEOUT" => " of the broker's sockets",
                _ => "",
            };
            let lead = if *heartbeat == 0.0 { "AMQP heartbeats are off, so " } else { "" };
            format!("{lead}{setting}{whose} decides that.")
        }
    }
}

/// What would mend the worst of it: values that a remediation sets, else what the first finding says.
fn mend(chapters: &[Chapter<'_>], then: &[Group<'_>]) -> Option<String> {
    let critical = || {
        chapters.iter().flat_map(|chapter| &chapter.entries).filter(|entry| {
            entry.first.severity == Severity::Critical
                && entry.first.status == Status::Fail
                && entry.first.remedy != Remedy::None
        })
    };
    let mut values: Vec<String> = Vec::new();
    for entry in critical().filter(|entry| entry.first.remedy == Remedy::Automatic && entry.is_plain()) {
        for told in &entry.told {
            // `key [group] of services` is the key here; the finding below has it all.
            let key = told.subject.split(' ').next().unwrap_or(&told.subject);
            let text = format!("{} = {}", key.strip_prefix("net.ipv4.").unwrap_or(key), told.expected);
            if !values.contains(&text) {
                values.push(text);
            }
        }
    }
    if !values.is_empty() {
        let values = listed(&values);
        return Some(match then.first().filter(|group| group.loses()) {
            None => format!("`trueup remediate` would mend it with {values}."),
            Some(group) => format!("`trueup remediate` would set {values}. {}", still(group)),
        });
    }
    // What a connection needs is said by the findings about settings and processes, where there are any.
    let tells = |entry: &&Entry<'_>| entry.told.iter().all(|told| !told.subject.contains(" with "));
    let first = critical().find(tells).or_else(|| critical().next())?;
    let text = clauses(&folded(&first.mend));
    let text = text.split("; not covered").next().unwrap_or(&text).to_owned();
    Some(match first.first.remedy {
        Remedy::Automatic => match then.first().filter(|group| group.loses()) {
            None => format!("`trueup remediate` would mend it: {text}."),
            Some(group) => format!("`trueup remediate` would do this: {text}. {}", still(group)),
        },
        _ => format!("To mend it: {text}."),
    })
}

/// How it would be after changes that do not suffice.
fn still(group: &Group<'_>) -> String {
    match (group.row.broker_worst, group.row.client_worst) {
        (Some(broker), Some(client)) => format!(
            "That is not all of it: after it the broker would notice within {}, and a client that is not told be \
             back within {}.",
            duration(broker),
            duration(client)
        ),
        _ => "That is not all of it: after it the broker might still never notice.".to_owned(),
    }
}

/// So many reasons why hosts could not be read are told.
const SHOWN: usize = 5;

/// Hosts without an answer, and why, and what to do about that.
pub fn not_read(report: &Report) -> Vec<String> {
    let mut by_reason: Vec<(HostStatus, &HostFault, Vec<&str>)> = Vec::new();
    for (name, host) in &report.hosts {
        let Some(fault) = &host.error else { continue };
        match by_reason.iter_mut().find(|(_, known, _)| known.message == fault.message) {
            Some((_, _, hosts)) => hosts.push(name),
            None => by_reason.push((host.status, fault, vec![name])),
        }
    }
    let mut lines = Vec::new();
    for (at, (status, fault, hosts)) in by_reason.iter().take(SHOWN).enumerate() {
        let word = if *status == HostStatus::Unreachable { "Not reached" } else { "Failed" };
        lines.push(format!("{word}: {}: {}", names(hosts), fault.message));
        // Of the next host with the same trouble the hint would differ in the address alone.
        let kind = std::mem::discriminant(&fault.cause);
        let said = by_reason[..at].iter().any(|(_, other, _)| std::mem::discriminant(&other.cause) == kind);
        if let Some(hint) = fault.cause.hint().filter(|_| !said) {
            lines.push(format!("hint: {hint}"));
        }
    }
    if by_reason.len() > SHOWN {
        let left: usize = by_reason[SHOWN..].iter().map(|(_, _, hosts)| hosts.len()).sum();
        lines.push(format!("and {} for other reasons", count(left, "more host")));
    }
    lines
}

/// How much could not be established, beside a verdict on the rest.
fn not_known(chapters: &[Chapter<'_>]) -> Option<String> {
    let entries = chapters.iter().flat_map(|chapter| &chapter.entries);
    let unknown: usize = entries
        .filter(|entry| entry.first.status == Status::Unknown)
        .map(|entry| entry.hosts.len() * entry.told.len())
        .sum();
    let verb = if unknown == 1 { "has" } else { "have" };
    (unknown > 0)
        .then(|| format!("{} {verb} no answer; unknown is never compliant.", count(unknown, "check")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_setting_decides() {
        let check = |heartbeat: f64, setting: &str, expected: &str| {
            let row = WindowRow {
                service: String::new(),
                broker: String::new(),
                heartbeat,
                broker_best: None,
                broker_worst: None,
                decided_by: setting.to_owned(),
                client_worst: None,
                rpc_response_timeout: None,
                survivable_age: None,
            };
            assert_eq!(decided(&row), expected);
        };
        check(
            0.0,
            "net.ipv4.tcp_retries2",
            "AMQP heartbeats are off, so net.ipv4.tcp_retries2 of the broker's host decides that.",
        );
        check(60.0, "net.ipv4.tcp_retries2", "net.ipv4.tcp_retries2 of the broker's host decides that.");
        check(
            60.0,
            "heartbeat_timeout_threshold",
            "The AMQP heartbeat of 60 s decides that (heartbeat_timeout_threshold).",
        );
        check(15.0, "TCP_USER_TIMEOUT", "TCP_USER_TIMEOUT of the broker's sockets decides that.");
    }
}
