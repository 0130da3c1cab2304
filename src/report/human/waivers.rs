//! Waivers: what does not count and until when, what counts again, and waivers that are for nothing.

use super::names::names;
use super::text::{Ink, beside, count, paint};
use super::windows::short;
use crate::audit::{Finding, Status};
use crate::report::{Report, Style};
use crate::waiver::{WaiverRow, WaiverStanding};

/// So many differences are told of one waiver.
const SHOWN: usize = 4;

/// Every waiver that this run had to do with.
pub fn all(report: &Report, style: Style) -> String {
    let columns: usize = style.width.into();
    let mut out = String::new();
    let mut chapter = |standing: WaiverStanding, title: &str, ink: Ink| {
        let mut rows = report.waivers.iter().filter(|row| row.standing == standing).peekable();
        if rows.peek().is_some() {
            out.push_str(&format!("{}\n", paint(title, ink, style.colour)));
        }
        for row in rows {
            out.push_str(&beside("  -", &told(report, row), 4, columns));
        }
    };
    chapter(WaiverStanding::Expired, "Waivers that have ended; what they were for counts:", Ink::Red);
    chapter(WaiverStanding::MatchesNothing, "Waivers that match nothing:", Ink::Yellow);
    chapter(WaiverStanding::InForce, "Waived, so it does not count and is left as it is:", Ink::Bold);
    chapter(WaiverStanding::NotNeeded, "Waivers with nothing left to waive:", Ink::Faint);
    out
}

fn told(report: &Report, row: &WaiverRow) -> String {
    let WaiverRow { task, reason, owner, until, source, .. } = row;
    let hosts: Vec<&str> = row.hosts.iter().map(String::as_str).collect();
    let on = if hosts.is_empty() { String::new() } else { format!(" on {}", names(&hosts)) };
    let what = differences(report, row);
    let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
    let why = format!("{owner} says: {reason} ({source})");
    match row.standing {
        WaiverStanding::Expired if row.findings == 0 => format!("{task}{on}: ended on {until}; {why}"),
        WaiverStanding::Expired => {
            let findings = count(row.findings, "finding");
            format!("{task}{on}: ended on {until}, {findings}{what}; {why}")
        }
        WaiverStanding::MatchesNothing => {
            format!("{task}{on}: {}; {why}", row.fault.as_deref().unwrap_or_default())
        }
        WaiverStanding::InForce => format!("{task}{on}: until {until}{what}; {why}"),
        WaiverStanding::NotNeeded | WaiverStanding::NotLookedAt => {
            format!("{task}{on}: until {until}; {why}")
        }
    }
}

/// What the findings of a waiver say, in short, each once.
pub fn differences(report: &Report, row: &WaiverRow) -> String {
    let mut texts: Vec<String> = Vec::new();
    let hosts = report.hosts.iter().filter(|(name, _)| row.hosts.contains(*name));
    for finding in hosts.flat_map(|(_, host)| &host.findings) {
        let own = finding.waived.as_ref().is_some_and(|waived| waived.source == row.source);
        let text = difference(finding);
        if own && finding.task.starts_with(&row.task) && !texts.contains(&text) {
            texts.push(text);
        }
    }
    let left = texts.len().saturating_sub(SHOWN);
    texts.truncate(SHOWN);
    let mut text = texts.join(", ");
    if left > 0 {
        text.push_str(&format!(" and {left} more"));
    }
    text
}

fn difference(finding: &Finding) -> String {
    let subject = short(&finding.subject);
    let plain = |text: &str| !text.is_empty() && text.chars().count() <= 24 && !text.contains(' ');
    match finding.status {
        Status::Fail if plain(&finding.actual) && plain(&finding.expected) => {
            format!("{subject} is {}, not {}", finding.actual, finding.expected)
        }
        Status::Fail => subject.to_owned(),
        Status::Unknown => format!("{subject} is not known"),
    }
}
