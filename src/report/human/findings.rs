//! Every finding, once: by task, what is wrong, where, why it matters, what would mend it.

use super::merge::{Chapter, Entry, places, sources};
use super::names::names;
use super::text::{Ink, beside, clauses, count, folded, ink, paint, width};
use super::windows::short;
use crate::audit::{Evidence, Level, Remedy, Status};
use crate::report::{Style, severity_word};

/// Columns of the labels below an entry.
const LABELS: usize = 11;

/// Where an entry's lines begin.
const MARGIN: usize = 4;

/// So many entries of a task are told.
const SHOWN: usize = 6;

/// So many lines say what an entry rests on.
const EVIDENCE: usize = 4;

/// The findings by task; `hosts` is how many hosts the run has.
pub fn all(chapters: &[Chapter<'_>], hosts: usize, style: Style) -> String {
    chapters.iter().map(|chapter| one(chapter, hosts, style)).collect()
}

fn one(chapter: &Chapter<'_>, hosts: usize, style: Style) -> String {
    let columns: usize = style.width.into();
    let word = severity_word(chapter.severity);
    let first = chapter.first;
    // Painted after wrapping, so that colour takes no room.
    let title =
        beside(&format!("{word}:"), &format!("{} ({})", first.title, first.task), width(word) + 2, columns);
    let title = title.replacen(word, &paint(word, ink(chapter.severity), style.colour), 1);
    let mut out = format!("\n{title}");
    for line in beside("", &first.why, 2, columns).lines() {
        out.push_str(&format!("{}\n", paint(line, Ink::Faint, style.colour)));
    }
    for entry in chapter.entries.iter().take(SHOWN) {
        out.push_str(&told(entry, chapter, hosts, style));
    }
    if chapter.entries.len() > SHOWN {
        let left = count(chapter.entries.len() - SHOWN, "more finding");
        out.push_str(&beside(
            "",
            &format!("and {left} of this task; `--format json` has them all"),
            2,
            columns,
        ));
    }
    out
}

fn told(entry: &Entry<'_>, chapter: &Chapter<'_>, hosts: usize, style: Style) -> String {
    let columns: usize = style.width.into();
    let mut about = Vec::new();
    if entry.first.severity != chapter.severity {
        about.push(severity_word(entry.first.severity).to_owned());
    }
    about.extend(entry.levels.iter().map(|at| level(*at).to_owned()));
    let on = match entry.hosts.len() {
        _ if hosts == 1 => String::new(),
        all if all == hosts && hosts > 3 => format!(" on all {hosts} hosts"),
        _ => format!(" on {}", names(&entry.hosts)),
    };
    let parts = parts(entry);
    let mut out = beside("  -", &format!("{} ({}{on})", parts.what, about.join(", ")), MARGIN, columns);
    let mut line = |label: &str, text: &str| {
        let label = format!("{:MARGIN$}{label}", "");
        let rows = beside(&label, text, MARGIN + LABELS, columns);
        out.push_str(&match rows.strip_prefix(&label) {
            Some(rest) => format!("{}{rest}", paint(&label, Ink::Faint, style.colour)),
            None => rows,
        });
    };
    for (label, text) in &parts.values {
        line(label, text);
    }
    for (at, text) in parts.places.iter().take(EVIDENCE).enumerate() {
        let more = if at + 1 == EVIDENCE && parts.places.len() > EVIDENCE { " …" } else { "" };
        line(if at == 0 { "where" } else { "" }, &format!("{text}{more}"));
    }
    line(parts.remedy, &parts.mend);
    out
}

/// An entry in words.
pub struct Parts {
    /// What it is about; with its values, where they are short.
    pub what: String,
    /// What should be and what is, or why that is not known, each with its label; empty where `what` says it.
    pub values: Vec<(&'static str, String)>,
    /// What it rests on, one line each.
    pub places: Vec<String>,
    /// Who mends it.
    pub remedy: &'static str,
    /// What would mend it.
    pub mend: String,
}

/// The words of an entry, the same in every format for people.
pub fn parts(entry: &Entry<'_>) -> Parts {
    let plain = entry.is_plain();
    let told = &entry.told[0];
    let values = match entry.first.status {
        _ if plain => Vec::new(),
        Status::Unknown => {
            let reason = told.actual.strip_prefix("unknown: ").unwrap_or(&told.actual);
            vec![("not known", reason.to_owned())]
        }
        Status::Fail => vec![("should be", told.expected.clone()), ("is", told.actual.clone())],
    };
    // That a live value was read from the kernel goes without saying.
    let live = |evidence: &&Evidence| plain && evidence.source.starts_with("sysctl ");
    let evidence: Vec<Evidence> = entry.evidence.iter().filter(|evidence| !live(evidence)).cloned().collect();
    Parts {
        what: if plain { short_values(entry) } else { subjects(entry) },
        values,
        places: if plain && entry.told.len() > 1 { places(&evidence) } else { sources(&evidence) },
        remedy: remedy(entry.first.remedy),
        mend: clauses(&folded(&entry.mend)),
    }
}

/// `tcp_keepalive_time 60 → 5, tcp_keepalive_intvl 5 → 1`
fn short_values(entry: &Entry<'_>) -> String {
    let value = |told: &super::merge::Told| {
        let subject = short(&told.subject);
        let colon = if told.actual.contains(' ') || subject.contains(' ') { ":" } else { "" };
        format!("{subject}{colon} {} → {}", told.actual, told.expected)
    };
    entry.told.iter().map(value).collect::<Vec<_>>().join(", ")
}

fn subjects(entry: &Entry<'_>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for told in &entry.told {
        let subject = short(&told.subject);
        if !seen.contains(&subject) {
            seen.push(subject);
        }
    }
    seen.join(", ")
}

/// Who mends it, for a person.
pub fn remedy(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Automatic => "remediate",
        Remedy::Manual => "by hand",
        Remedy::None => "no action",
    }
}

/// Where the truth was looked for, for a person.
pub fn level(level: Level) -> &'static str {
    match level {
        Level::File => "in the files",
        Level::Boot => "after a reboot",
        Level::Running => "running now",
        Level::Connection => "in live connections",
    }
}
