//! `--format human`: the verdict first, then what it rests on, then what to do next.

pub(super) mod brief;
pub(super) mod changes;
pub(super) mod drift;
pub(super) mod findings;
pub(super) mod grid;
pub(super) mod merge;
pub(super) mod names;
pub(super) mod next;
mod standing;
pub(super) mod text;
pub(super) mod verdict;
pub(super) mod waivers;
pub(super) mod windows;

use std::collections::BTreeSet;

use super::{ChangeOutcome, HostReport, HostStatus, ROLLBACK, Report, Style};
use crate::audit::{Standing, WindowRow};
pub(super) use standing::{cell, rank};
use text::{Ink, count, paint};
pub(crate) use text::{beside, wrap};

/// The widest text that is easy to read.
const WIDEST: u16 = 120;

/// A report for a person, legible in 80 columns.
pub(super) fn write(report: &Report, style: Style) -> String {
    let style = Style { width: style.width.min(WIDEST), ..style };
    let mut parts = if report.command == ROLLBACK {
        rolled_back(report, style)
    } else if report.drift.is_some() {
        drift::parts(report, style)
    } else {
        audited(report, style)
    };
    let end = next::all(report, all_holds(report), style);
    // What is left on the screen when all has been said shall say it all.
    let lines = parts.iter().chain([&end]).map(|part| part.lines().count() + 1).sum::<usize>();
    let scrolls = style.rows.is_some_and(|rows| lines > rows.into());
    if scrolls && report.command != ROLLBACK {
        parts.push(format!("{}\n", paint("In short", Ink::Bold, style.colour)));
        parts.extend(brief::body(report, style));
    } else {
        parts.push(end);
    }
    joined(parts)
}

/// Parts with an empty line between them.
fn joined(mut parts: Vec<String>) -> String {
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn rolled_back(report: &Report, style: Style) -> Vec<String> {
    vec![heading(report, style), changes::failures(report, style), changes::put_back(report, style)]
}

fn audited(report: &Report, style: Style) -> Vec<String> {
    let (now, then) = (windows::grouped(rows(report, now)), windows::grouped(rows(report, then)));
    let chapters = merge::chapters(report);
    let mut parts = vec![heading(report, style)];
    parts.push(changes::failures(report, style));
    parts.push(verdict::sentences(report, &now, &then, &chapters, style));
    parts.push(verdict::picture("At worst", &now, style));
    let well = all_holds(report);
    if now.len() > 1 && !well {
        parts.push(windows::table(&now, style));
    }
    parts.push(if well { holding(report, style) } else { standing::table(report, style) });
    // A plan says how it mends; what it does not mend must still be told.
    let told = if pending(report) { merge::left(chapters) } else { chapters };
    parts.push(findings::all(&told, report.hosts.len(), style).trim_start().to_owned());
    parts.push(waivers::all(report, style));
    parts.push(changes::all(report, style));
    if pending(report) {
        parts.push(verdict::picture("After these changes, at worst", &then, style));
    }
    parts
}

/// Only what would be done, for the question whether to do it.
pub(super) fn changes(report: &Report, style: Style) -> String {
    changes::all(report, Style { width: style.width.min(WIDEST), ..style })
}

/// Only what differs, all of it, for the question whether to accept it.
pub(super) fn differences(report: &Report, style: Style) -> String {
    joined(drift::all(report, Style { width: style.width.min(WIDEST), ..style }))
}

/// The windows of a host as they are.
pub(super) fn now(host: &HostReport) -> &Vec<WindowRow> {
    &host.windows
}

/// The windows of a host after every change that the playbook asks for.
pub(super) fn then(host: &HostReport) -> &Vec<WindowRow> {
    if host.windows_after.is_empty() { &host.windows } else { &host.windows_after }
}

/// The windows of all hosts, each with its host.
pub(super) fn rows<'a>(
    report: &'a Report,
    windows: impl Fn(&'a HostReport) -> &'a Vec<WindowRow>,
) -> impl Iterator<Item = (&'a str, &'a WindowRow)> {
    report
        .hosts
        .iter()
        .flat_map(move |(name, host)| windows(host).iter().map(move |row| (name.as_str(), row)))
}

fn heading(report: &Report, style: Style) -> String {
    let playbook = report.playbook.as_deref().map(|name| format!(", playbook {name}")).unwrap_or_default();
    let hosts = count(report.hosts.len(), "host");
    let line = format!("trueup {}: {hosts}{playbook}, {}", report.command, report.started_at);
    let lines = wrap(&line, style.width.into());
    lines.iter().map(|line| format!("{}\n", paint(line, Ink::Bold, style.colour))).collect()
}

/// Is something still to be done by a remediation?
pub(super) fn pending(report: &Report) -> bool {
    let mut all = report.hosts.values().flat_map(|host| &host.changes);
    all.any(|change| change.outcome == ChangeOutcome::Pending)
}

/// Does every task hold on every host, with nothing to add?
fn all_holds(report: &Report) -> bool {
    report.hosts.values().all(|host| {
        host.status == HostStatus::Compliant
            && (&host.refused, &host.failure) == (&None, &None)
            && host.findings.is_empty()
            && host.tasks.iter().all(|row| row.standing == Standing::Holds)
    })
}

fn holding(report: &Report, style: Style) -> String {
    let hosts: Vec<&str> = report.hosts.keys().map(String::as_str).collect();
    let tasks: BTreeSet<&str> =
        report.hosts.values().flat_map(|host| &host.tasks).map(|row| row.task.as_str()).collect();
    let text = match tasks.len() {
        0 => return String::new(),
        1 => format!("The task holds on {}.", names::names(&hosts)),
        number => format!("All {number} tasks hold on {}.", names::names(&hosts)),
    };
    beside("", &text, 0, style.width.into())
}
