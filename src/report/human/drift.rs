//! `trueup drift`: whose doing each difference is, the ones that break something first.

use super::names::names;
use super::text::{Ink, beside, count, paint};
use super::{heading, verdict, waivers};
use crate::audit::Evidence;
use crate::drift::{Cause, Difference, Kind};
use crate::report::{HostStatus, Report, Style};

/// So many differences of one cause are told.
const SHOWN: usize = 10;

/// So many lines of a diff are shown; `--format json` has them all.
const LINES: usize = 12;

/// So many lines say what a cause rests on.
const EVIDENCE: usize = 3;

/// Columns of the labels below a difference.
const LABELS: usize = 13;

/// A difference and the hosts that have it.
struct Group<'a> {
    first: &'a Difference,
    hosts: Vec<&'a str>,
}

/// The answer for a person who was woken by it.
pub fn write(report: &Report, style: Style) -> String {
    let columns: usize = style.width.into();
    let groups = groups(report);
    let mut parts = vec![heading(report, style)];
    let (lead, ink, text) = answer(report);
    parts.push(beside("", &format!("{lead} {text}"), 0, columns).replacen(
        &lead,
        &paint(&lead, ink, style.colour),
        1,
    ));
    parts.push(verdict::not_read(report).iter().map(|line| beside("", line, 0, columns)).collect());
    for cause in [Cause::Host, Cause::Tool, Cause::Policy, Cause::Unknown, Cause::NeverConverged] {
        let own: Vec<&Group<'_>> = groups.iter().filter(|group| group.first.cause == cause).collect();
        if !own.is_empty() {
            parts.push(chapter(cause, &own, report.hosts.len(), style));
        }
    }
    parts.push(waivers::all(report, style));
    parts.push(next(report).map_or_else(String::new, |next| beside("Next:", &next, 6, columns)));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// How it stands, in a word, and what that means.
fn answer(report: &Report) -> (String, Ink, String) {
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
    hosts.dedup();
    let mut text = format!("{} from {since}, on {}.", count(number, "difference"), names(&hosts));
    text.push_str(&match broken {
        0 => " Everything that should hold still holds.".to_owned(),
        1 => " One of them breaks what should hold.".to_owned(),
        all if all == number => " All of them break what should hold.".to_owned(),
        some => format!(" {some} of them break what should hold."),
    });
    ("Drift:".to_owned(), if broken > 0 { Ink::Red } else { Ink::Yellow }, text)
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

fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (host, difference) in report.differences().filter(|(_, difference)| difference.counts()) {
        let same = |known: &&mut Group<'_>| {
            let one = known.first;
            (one.kind, &one.subject, &one.before, &one.now, &one.diff, one.cause, &one.breaks)
                == (
                    difference.kind,
                    &difference.subject,
                    &difference.before,
                    &difference.now,
                    &difference.diff,
                    difference.cause,
                    &difference.breaks,
                )
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.hosts.push(host),
            None => groups.push(Group { first: difference, hosts: vec![host] }),
        }
    }
    groups
}

fn chapter(cause: Cause, groups: &[&Group<'_>], hosts: usize, style: Style) -> String {
    let (title, ink) = match cause {
        Cause::Host => ("Somebody or something on the host changed this:", Ink::Red),
        Cause::Tool => ("A package or deployment tool changed this:", Ink::Yellow),
        Cause::Policy => ("Our own playbook, variables or inventory changed:", Ink::Yellow),
        Cause::Unknown => ("Not known who or what changed this:", Ink::Yellow),
        Cause::NeverConverged => ("It was so when the baseline was saved (never converged):", Ink::Bold),
    };
    let mut out = format!("{}\n", paint(title, ink, style.colour));
    for group in groups.iter().take(SHOWN) {
        out.push_str(&told(group, hosts, style));
    }
    if groups.len() > SHOWN {
        let left = count(groups.len() - SHOWN, "more difference");
        out.push_str(&beside(
            "",
            &format!("and {left}; `--format json` has them all"),
            2,
            style.width.into(),
        ));
    }
    out
}

fn told(group: &Group<'_>, hosts: usize, style: Style) -> String {
    let columns: usize = style.width.into();
    let one = group.first;
    let on = if hosts == 1 || one.kind == Kind::Host {
        String::new()
    } else {
        format!(" on {}", names(&group.hosts))
    };
    let value = match one.kind {
        Kind::Finding => format!("{}: {}; should be: {}", one.subject, one.now, one.before),
        Kind::File if one.before.ends_with("left") || one.before.contains("there") => {
            format!("{}: {}", one.subject, one.now)
        }
        Kind::Host => format!("{}: {}", one.subject, one.now),
        _ => format!("{}: {} → {}", one.subject, one.before, one.now),
    };
    let mut out = beside("  -", &format!("{value}{on}"), 4, columns);
    let changed = one.diff.lines().filter(|line| !line.starts_with("---") && !line.starts_with("+++"));
    let changed: Vec<&str> = changed.filter(|line| line.starts_with(['+', '-'])).collect();
    for line in changed.iter().take(LINES) {
        let ink = if line.starts_with('+') { Ink::Green } else { Ink::Red };
        out.push_str(&format!("    {}\n", paint(line, ink, style.colour)));
    }
    if changed.len() > LINES {
        out.push_str(&format!("    and {}\n", count(changed.len() - LINES, "more line")));
    }
    let mut line = |label: &str, text: &str| {
        let label = format!("    {label}");
        let rows = beside(&label, text, LABELS, columns);
        out.push_str(&match rows.strip_prefix(&label) {
            Some(rest) => format!("{}{rest}", paint(&label, Ink::Faint, style.colour)),
            None => rows,
        });
    };
    if !one.breaks.is_empty() {
        line("breaks", &one.breaks.join(", "));
    }
    for (at, Evidence { source, text }) in one.evidence.iter().take(EVIDENCE).enumerate() {
        line(if at == 0 { "because" } else { "" }, &format!("{source}: {text}"));
    }
    out
}

/// What to do next.
fn next(report: &Report) -> Option<String> {
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
