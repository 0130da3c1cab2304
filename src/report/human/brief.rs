//! `--format summary`: the answer on one screen, with a line or two for each task that does not hold.

use super::merge::{Chapter, Entry, chapters};
use super::names::names;
use super::text::{beside, count};
use super::{changes, drift, findings, next, standing, verdict, windows};
use crate::report::{Report, Style, severity_word};

/// So many tasks are told.
const SHOWN: usize = 8;

/// A longer word for what is stands in `--format human`.
const SHORT: usize = 60;

/// A report for a person who wants to know whether all is well.
pub fn write(report: &Report, style: Style) -> String {
    let style = Style { width: style.width.min(super::WIDEST), ..style };
    let mut parts = vec![super::heading(report, style)];
    parts.extend(body(report, style));
    super::joined(parts)
}

/// The same without its heading, in parts.
pub fn body(report: &Report, style: Style) -> Vec<String> {
    let style = Style { diff: false, ..style };
    let well = super::all_holds(report);
    let mut parts = vec![changes::failures(report, style)];
    if report.drift.is_some() {
        parts.extend(drift::brief(report, style));
    } else {
        let (now, then) = (
            windows::grouped(super::rows(report, super::now)),
            windows::grouped(super::rows(report, super::then)),
        );
        let chapters = chapters(report);
        parts.push(verdict::sentences(report, &now, &then, &chapters, style));
        parts.push(if well { super::holding(report, style) } else { standing::table(report, style) });
        parts.push(tasks(&chapters, report.hosts.len(), style));
    }
    parts.push(next::all(report, well, style));
    parts
}

/// What does not hold, a line or two a task.
fn tasks(chapters: &[Chapter<'_>], hosts: usize, style: Style) -> String {
    let mut out = String::new();
    // What a connection needs is what the sentences have said.
    let connections = |entry: &Entry<'_>| entry.told.iter().all(|told| told.subject.contains(" with "));
    let others = chapters.iter().filter(|chapter| !chapter.entries.iter().all(connections));
    let others: Vec<_> = others.collect();
    for chapter in others.iter().take(SHOWN) {
        out.push_str(&task(chapter, hosts, style));
    }
    if others.len() > SHOWN {
        out.push_str(&format!("and {}\n", count(others.len() - SHOWN, "more task")));
    }
    out
}

fn task(chapter: &Chapter<'_>, hosts: usize, style: Style) -> String {
    let Some(first) = chapter.entries.first() else { return String::new() };
    let parts = findings::parts(first);
    let (_, is) = parts.values.last().map_or(("", ""), |(label, text)| (*label, text.as_str()));
    let is = if is.is_empty() || is.chars().count() > SHORT { String::new() } else { format!(": {is}") };
    let on = match first.hosts.len() {
        all if all == hosts => String::new(),
        _ => format!(" on {}", names(&first.hosts)),
    };
    let more = match chapter.entries.len() - 1 {
        0 => String::new(),
        left => format!("; and {}", count(left, "other finding")),
    };
    let what = if first.is_plain() { values(first) } else { parts.what };
    let text = format!("{}: {what}{is}{on}{more}", chapter.first.task);
    let block = beside(severity_word(chapter.severity), &text, 10, style.width.into());
    let word = severity_word(chapter.severity);
    block.replacen(word, &super::text::paint(word, super::text::ink(chapter.severity), style.colour), 1)
}

/// `heartbeat_timeout_threshold 0 → 15`: the key alone, without its section and services.
fn values(entry: &Entry<'_>) -> String {
    let value = |told: &super::merge::Told| {
        let subject = windows::short(&told.subject);
        let key = subject.split(' ').next().unwrap_or(subject);
        format!("{key} {} → {}", told.actual, told.expected)
    };
    entry.told.iter().map(value).collect::<Vec<_>>().join(", ")
}
