//! `trueup drift`: whose doing each difference is, the ones that break something first.

use super::names::names;
use super::text::{Ink, beside, count, paint, width};
use super::verdict::Answer;
use super::{heading, verdict, waivers};
use crate::audit::Evidence;
use crate::drift::{Cause, Kind};
use crate::report::drift::{CAUSES, Group, groups, line, sentence, whose};
use crate::report::{HostStatus, Report, Style, waive};

/// So many differences of one cause are told.
const SHOWN: usize = 10;

/// So many lines of a diff are shown; `--format json` has them all.
const LINES: usize = 12;

/// So many lines say what a cause rests on.
const EVIDENCE: usize = 3;

/// Columns of the labels below a difference.
const LABELS: usize = 13;

/// So many differences are told on one screen.
const ON_ONE_SCREEN: usize = 8;

/// A longer name of the hosts does not lead the answer.
const LEAD: usize = 40;

/// The answer for a person who was woken by it.
pub fn parts(report: &Report, style: Style) -> Vec<String> {
    let mut parts = vec![heading(report, style), verdict::told(&answer(report), style)];
    parts.extend(chapters(&open(report), SHOWN, report, style));
    parts.push(waivers::all(report, style));
    parts
}

/// Every difference, the waived ones too, by cause.
pub fn all(report: &Report, style: Style) -> Vec<String> {
    chapters(&groups(report), usize::MAX, report, style)
}

/// The differences by cause, at most so many of each.
fn chapters(groups: &[Group<'_>], most: usize, report: &Report, style: Style) -> Vec<String> {
    let mut parts = Vec::new();
    for cause in CAUSES {
        let own: Vec<&Group<'_>> = groups.iter().filter(|group| group.first.cause == cause).collect();
        if !own.is_empty() {
            parts.push(chapter(cause, &own, most, report.hosts.len(), style));
        }
    }
    parts
}

/// The same on one screen: a line or two a difference.
pub fn brief(report: &Report, style: Style) -> Vec<String> {
    let columns: usize = style.width.into();
    let mut groups = open(report);
    groups.sort_by_key(|group| {
        (CAUSES.iter().position(|cause| *cause == group.first.cause), group.first.breaks.is_empty())
    });
    let indent = groups.iter().map(|group| width(whose(group.first.cause))).max().unwrap_or(0) + 2;
    let mut out = String::new();
    for group in groups.iter().take(ON_ONE_SCREEN) {
        let word = whose(group.first.cause);
        let breaks = match group.first.breaks.as_slice() {
            [] => String::new(),
            tasks => format!(" (breaks {})", tasks.join(", ")),
        };
        let text = format!("{}{}{breaks}", line(group.first), on_hosts(group, report.hosts.len()));
        let block = beside(word, &text, indent, columns);
        out.push_str(&block.replacen(word, &paint(word, ink(group.first.cause), style.colour), 1));
    }
    if groups.len() > ON_ONE_SCREEN {
        out.push_str(&format!("and {}\n", count(groups.len() - ON_ONE_SCREEN, "more difference")));
    }
    vec![verdict::told(&answer(report), style), out]
}

/// The differences that count.
fn open(report: &Report) -> Vec<Group<'_>> {
    groups(report).into_iter().filter(|group| group.first.counts()).collect()
}

/// How it stands, in a word, and what that means.
pub fn answer(report: &Report) -> Answer {
    let (lead, ink, text) = sentences(report);
    Answer { lead, ink, text, more: verdict::not_read(report) }
}

fn sentences(report: &Report) -> (String, Ink, String) {
    let all = || report.differences().filter(|(_, difference)| difference.counts());
    let number = all().count();
    let broken = all().filter(|(_, difference)| !difference.breaks.is_empty()).count();
    let baselines = report.drift.as_ref().map(|compared| &compared.baselines);
    let mut days: Vec<&str> =
        baselines.into_iter().flat_map(|all| all.values()).map(String::as_str).collect();
    days.sort_unstable();
    days.dedup();
    let since = match days.as_slice() {
        [] => return without(number),
        [only] => format!("the verified run of {only}"),
        [first, .., last] => format!("the verified runs of {first} to {last}"),
    };
    let read = report.hosts.values().filter(|host| host.error.is_none()).count();
    if number == 0 {
        if read == 0 {
            return ("Nothing is known:".to_owned(), Ink::Red, "no host could be read.".to_owned());
        }
        let waived = if report.differences().next().is_some() { ", what is waived left out" } else { "" };
        let text = format!("{} as {since} left {}{waived}.", on(read), if read == 1 { "it" } else { "them" });
        return ("No drift:".to_owned(), Ink::Green, text);
    }
    let mut hosts: Vec<&str> = all().map(|(host, _)| host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let named = names(&hosts);
    let short = width(&named) <= LEAD;
    let lead = if short { format!("Drift on {named}:") } else { format!("Drift on {} hosts:", hosts.len()) };
    let whom = if short { String::new() } else { format!(", on {named}") };
    let mut text = format!("{} from {since}{whom}.", count(number, "difference"));
    text.push_str(&match broken {
        0 => " Everything that should hold still holds.".to_owned(),
        1 if number == 1 => " It breaks what should hold.".to_owned(),
        1 => " One of them breaks what should hold.".to_owned(),
        all if all == number => " All of them break what should hold.".to_owned(),
        some => format!(" {some} of them break what should hold."),
    });
    (lead, if broken > 0 { Ink::Red } else { Ink::Yellow }, text)
}

fn on(hosts: usize) -> String {
    if hosts == 1 { "1 host is".to_owned() } else { format!("{hosts} hosts are") }
}

/// There is nothing to compare with but what should hold.
fn without(number: usize) -> (String, Ink, String) {
    let text = "no verified run has left a baseline, so nobody can say what has changed since.";
    match number {
        0 => ("No drift known:".to_owned(), Ink::Yellow, format!("what should hold holds; {text}")),
        some => {
            let lead = "Not as it should be:".to_owned();
            (lead, Ink::Red, format!("{}; {text}", count(some, "difference")))
        }
    }
}

fn chapter(cause: Cause, groups: &[&Group<'_>], most: usize, hosts: usize, style: Style) -> String {
    let title = format!("{}:", sentence(cause));
    let mut out = format!("{}\n", paint(&title, ink(cause), style.colour));
    for group in groups.iter().take(most) {
        out.push_str(&told(group, hosts, style));
    }
    if groups.len() > most {
        let left = count(groups.len() - most, "more difference");
        out.push_str(&beside(
            "",
            &format!("and {left}; `--format json` has them all"),
            2,
            style.width.into(),
        ));
    }
    out
}

/// How a cause is meant.
pub fn ink(cause: Cause) -> Ink {
    match cause {
        Cause::Host => Ink::Red,
        Cause::Tool | Cause::Policy | Cause::Unknown => Ink::Yellow,
        Cause::NeverConverged => Ink::Bold,
    }
}

/// Which hosts have it, where that needs saying.
fn on_hosts(group: &Group<'_>, hosts: usize) -> String {
    if hosts == 1 || group.first.kind == Kind::Host {
        String::new()
    } else {
        format!(" on {}", names(&group.hosts))
    }
}

fn told(group: &Group<'_>, hosts: usize, style: Style) -> String {
    let columns: usize = style.width.into();
    let one = group.first;
    let mut out = beside("  -", &format!("{}{}", line(one), on_hosts(group, hosts)), 4, columns);
    let changed = one.diff.lines().filter(|line| !line.starts_with("---") && !line.starts_with("+++"));
    let changed: Vec<&str> = changed.filter(|line| line.starts_with(['+', '-'])).collect();
    for line in changed.iter().take(LINES) {
        let ink = if line.starts_with('+') { Ink::Green } else { Ink::Red };
        out.push_str(&format!("    {}\n", paint(line, ink, style.colour)));
    }
    if changed.len() > LINES {
        out.push_str(&format!("    and {}\n", count(changed.len() - LINES, "more line")));
    }
    let mut row = |label: &str, text: &str| {
        let label = format!("    {label}");
        let rows = beside(&label, text, LABELS, columns);
        out.push_str(&match rows.strip_prefix(&label) {
            Some(rest) => format!("{}{rest}", paint(&label, Ink::Faint, style.colour)),
            None => rows,
        });
    };
    if let Some(waived) = &one.waived {
        row("waiver", &waive::told(waived));
    }
    if !one.breaks.is_empty() {
        row("breaks", &one.breaks.join(", "));
    }
    for (at, Evidence { source, text }) in one.evidence.iter().take(EVIDENCE).enumerate() {
        row(if at == 0 { "because" } else { "" }, &format!("{source}: {text}"));
    }
    out
}

/// What to do next.
pub fn next(report: &Report) -> Option<String> {
    let counts = || report.differences().filter(|(_, difference)| difference.counts());
    let bad = report.hosts.values().any(|host| host.status == HostStatus::Unreachable);
    let breaks = counts().any(|(_, difference)| !difference.breaks.is_empty());
    let first = report.drift.as_ref().is_some_and(|compared| compared.baselines.is_empty());
    if breaks {
        return Some(
            "`trueup plan` shows what would put it right, `trueup remediate` does it; `trueup audit` says why it \
             matters."
                .to_owned(),
        );
    }
    if first || counts().next().is_some() {
        return Some("`trueup drift --accept` takes what is now as the baseline.".to_owned());
    }
    bad.then(|| "mend what is said above, then `trueup drift` again.".to_owned())
}
