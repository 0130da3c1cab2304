//! What would change or has changed: hosts with the same changes together.

use super::names::names;
use super::text::{Ink, beside, count, paint};
use crate::report::{ChangeOutcome, ChangeRow, Report, Style};

/// So many hosts are told one by one; the rest is counted.
const SHOWN: usize = 8;

/// Hosts with the same changes.
pub struct Group<'a> {
    /// Their names, in the order in which they take their turn.
    pub hosts: Vec<&'a str>,
    /// The changes of the first.
    pub changes: &'a [ChangeRow],
}

/// Every change, in the order in which hosts take their turn.
pub fn all(report: &Report, style: Style) -> String {
    let mut groups = groups(report);
    // A host that was not reached is told of with the failure that stopped the run, one that refused with its reason.
    let untouched =
        |change: &ChangeRow| matches!(change.outcome, ChangeOutcome::NotReached | ChangeOutcome::Refused);
    groups.retain(|group| !group.changes.iter().all(untouched));
    let mut out = String::new();
    for group in groups.iter().take(SHOWN) {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&one(group, report, style));
    }
    if groups.len() > SHOWN {
        let left: usize = groups[SHOWN..].iter().map(|group| group.hosts.len()).sum();
        out.push_str(&format!(
            "\nand changes on {}; `--format json` has them all\n",
            count(left, "more host")
        ));
    }
    out
}

/// What a rollback has put back.
pub fn put_back(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for group in groups(report) {
        let back = group.changes.iter().filter(|change| change.outcome == ChangeOutcome::RolledBack);
        let back: Vec<&str> = back.map(|change| change.what.as_str()).collect();
        if !back.is_empty() {
            let text = format!("{} as before this was done: {}.", names(&group.hosts), back.join(", "));
            let verb = if group.hosts.len() == 1 { "is" } else { "are" };
            let text = text.replacen(" as before", &format!(" {verb} as before"), 1);
            out.push_str(&beside("", &text, 0, style.width.into()));
        }
    }
    out
}

/// What refused, what failed, what was put back, what was not reached; empty where all went well.
pub fn failures(report: &Report, style: Style) -> String {
    let columns: usize = style.width.into();
    let mut out = refusals(report, style);
    // What no step has failed at.
    for (name, host) in &report.hosts {
        let of_a_step = host.changes.iter().any(|change| change.outcome == ChangeOutcome::Failed);
        let Some(failure) = host.failure.as_ref().filter(|_| !of_a_step) else { continue };
        let lead = format!("{name} failed:");
        let text = beside("", &format!("{lead} {}.", failure.step), 0, columns);
        out.push_str(&text.replacen(&lead, &paint(&lead, Ink::Red, style.colour), 1));
        out.push_str(&beside("  why", &failure.reason, 12, columns));
    }
    let mut waiting: Vec<(&str, &str)> = Vec::new();
    for group in groups(report) {
        let with = |outcome| group.changes.iter().filter(move |change| change.outcome == outcome);
        let Some(at) = group.changes.iter().position(|change| change.outcome == ChangeOutcome::Failed) else {
            let reason = with(ChangeOutcome::NotReached).find_map(|change| change.reason.as_deref());
            if with(ChangeOutcome::NotReached).next().is_some()
                && with(ChangeOutcome::Refused).next().is_none()
            {
                let reason = reason.unwrap_or("the run stopped before its turn");
                waiting.extend(group.hosts.iter().map(|host| (*host, reason)));
            }
            continue;
        };
        let failed = &group.changes[at];
        let lead = format!("{} failed:", names(&group.hosts));
        let step = format!("{lead} step {} of {}, {}.", at + 1, group.changes.len(), failed.what);
        out.push_str(&beside("", &step, 0, columns).replacen(
            &lead,
            &paint(&lead, Ink::Red, style.colour),
            1,
        ));
        if let Some(reason) = &failed.reason {
            out.push_str(&beside("  why", reason, 12, columns));
        }
        let back: Vec<&str> = with(ChangeOutcome::RolledBack).map(|change| change.what.as_str()).collect();
        if !back.is_empty() {
            out.push_str(&beside("  put back", &back.join("; "), 12, columns));
        }
        let left: Vec<&str> = with(ChangeOutcome::Changed).map(|change| change.what.as_str()).collect();
        if !left.is_empty() {
            out.push_str(&beside("  STILL SO", &left.join("; "), 12, columns));
        }
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (host, reason) in waiting {
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, hosts)) => hosts.push(host),
            None => reasons.push((reason, vec![host])),
        }
    }
    for (reason, hosts) in reasons {
        out.push_str(&beside("", &format!("{}: nothing was changed: {reason}.", names(&hosts)), 0, columns));
    }
    out
}

/// Hosts that did not take part, those with the same reason together.
fn refusals(report: &Report, style: Style) -> String {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, host) in &report.hosts {
        let Some(reason) = &host.refused else { continue };
        match by_reason.iter_mut().find(|(known, _)| known == reason) {
            Some((_, hosts)) => hosts.push(name),
            None => by_reason.push((reason, vec![name])),
        }
    }
    let mut out = String::new();
    for (reason, hosts) in by_reason {
        let lead = format!("{} refused:", names(&hosts));
        let text = beside("", &format!("{lead} nothing was changed."), 0, style.width.into());
        out.push_str(&text.replacen(&lead, &paint(&lead, Ink::Red, style.colour), 1));
        out.push_str(&beside("  why", reason, 12, style.width.into()));
    }
    out
}

/// Hosts with changes, those with the same ones together.
pub fn groups(report: &Report) -> Vec<Group<'_>> {
    let turns = report.batches.iter().flatten().flatten().map(String::as_str);
    let mut order: Vec<&str> = Vec::new();
    for host in turns.chain(report.hosts.keys().map(String::as_str)) {
        if !order.contains(&host) {
            order.push(host);
        }
    }
    let mut groups: Vec<Group<'_>> = Vec::new();
    for name in order {
        let Some(host) = report.hosts.get(name).filter(|host| !host.changes.is_empty()) else { continue };
        match groups.iter_mut().find(|group| same(group.changes, &host.changes)) {
            Some(group) => group.hosts.push(name),
            None => groups.push(Group { hosts: vec![name], changes: &host.changes }),
        }
    }
    groups
}

/// The same changes, whatever stands round them in the files?
fn same(one: &[ChangeRow], other: &[ChangeRow]) -> bool {
    let blank = |row: &ChangeRow| ChangeRow { diff: String::new(), ..row.clone() };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| blank(one) == blank(other))
}

impl<'a> Group<'a> {
    /// Does every change stand the same?
    pub fn is_alike(&self) -> bool {
        self.changes.windows(2).all(|pair| pair[0].outcome == pair[1].outcome)
    }

    /// How they stand, and on which hosts.
    pub fn heading(&self, report: &Report) -> (&'static str, String) {
        let outcome = self.changes.first().map(|change| change.outcome);
        let verb = match outcome.filter(|_| self.is_alike()) {
            Some(ChangeOutcome::Pending) => "Would change",
            Some(ChangeOutcome::Changed) => "Changed",
            Some(ChangeOutcome::Unchanged) => "Nothing was left to change",
            Some(ChangeOutcome::Blocked) => "Cannot be changed by trueup",
            _ => "Changes",
        };
        let on = match self.hosts.as_slice() {
            [only] => format!("on {only}"),
            hosts => format!("on each of {}{}", names(hosts), pace(hosts, report)),
        };
        (verb, on)
    }

    /// The diffs of change `at` that differ, each with its hosts.
    pub fn diffs(&self, at: usize, report: &'a Report) -> Vec<(&'a str, Vec<&'a str>)> {
        let mut texts: Vec<(&str, Vec<&str>)> = Vec::new();
        for host in &self.hosts {
            let text = report.hosts[*host].changes[at].diff.as_str();
            match texts.iter_mut().find(|(known, _)| *known == text) {
                Some((_, hosts)) => hosts.push(host),
                None => texts.push((text, vec![host])),
            }
        }
        texts
    }
}

fn one(group: &Group<'_>, report: &Report, style: Style) -> String {
    let columns: usize = style.width.into();
    let alike = group.is_alike();
    let (verb, on) = group.heading(report);
    let head = format!("{verb} {on}:");
    let mut out = beside("", &head, 0, columns).replacen(verb, &paint(verb, Ink::Bold, style.colour), 1);
    let indent = 2 + group.changes.len().to_string().len() + 2;
    for (number, change) in group.changes.iter().enumerate() {
        let tasks = change.tasks.join(", ");
        let mut text = match change.outcome {
            ChangeOutcome::Blocked => tasks,
            _ if tasks.is_empty() => change.what.clone(),
            _ => format!("{} ({tasks})", change.what),
        };
        let word = change.outcome.word();
        if !alike {
            text = format!("{word}: {text}");
        }
        // Why it failed stands at the top of the report.
        if let Some(reason) = change.reason.as_ref().filter(|_| change.outcome != ChangeOutcome::Failed) {
            text.push_str(&format!(": {reason}"));
        }
        let row = beside(&format!("  {}.", number + 1), &text, indent, columns);
        let row =
            if alike { row } else { row.replacen(word, &paint(word, ink(change.outcome), style.colour), 1) };
        out.push_str(&row);
    }
    if style.diff {
        out.push_str(&diffs(group, report, style));
    }
    out
}

/// The changes of files: each once, and which hosts it is of where they differ.
fn diffs(group: &Group<'_>, report: &Report, style: Style) -> String {
    let mut out = String::new();
    for at in 0..group.changes.len() {
        let texts = group.diffs(at, report);
        for (text, hosts) in texts.iter().filter(|(text, _)| !text.is_empty()).take(SHOWN) {
            if texts.len() > 1 {
                out.push_str(&beside("", &format!("on {}:", names(hosts)), 4, style.width.into()));
            }
            out.push_str(&diff(text, style));
        }
        if texts.len() > SHOWN {
            out.push_str(&format!("    and {} of other hosts\n", count(texts.len() - SHOWN, "more diff")));
        }
    }
    out
}

/// Does each host wait for the one before?
fn pace(hosts: &[&str], report: &Report) -> String {
    let Some(batches) = &report.batches else { return String::new() };
    let largest =
        batches.iter().map(|batch| batch.iter().filter(|host| hosts.contains(&host.as_str())).count()).max();
    match largest {
        Some(1) => ", one after the other".to_owned(),
        Some(most) if most == hosts.len() => ", all at once".to_owned(),
        Some(most) => format!(", up to {most} at once"),
        None => String::new(),
    }
}

fn ink(outcome: ChangeOutcome) -> Ink {
    match outcome {
        ChangeOutcome::Changed | ChangeOutcome::Unchanged => Ink::Green,
        ChangeOutcome::Failed | ChangeOutcome::RolledBack | ChangeOutcome::Refused => Ink::Red,
        ChangeOutcome::Pending | ChangeOutcome::NotReached | ChangeOutcome::Blocked => Ink::Yellow,
    }
}

fn diff(text: &str, style: Style) -> String {
    text.lines()
        .map(|line| {
            let ink = match line.as_bytes().first() {
                Some(b'+') => Ink::Green,
                Some(b'-') => Ink::Red,
                _ => Ink::Faint,
            };
            format!("{}\n", paint(&format!("    {line}"), ink, style.colour))
        })
        .collect()
}
