//! Every finding in full, once: what is wrong, where, why it matters, what would mend it.

use super::text::{Ink, beside, count, ink, names, paint};
use crate::audit::{Finding, Remedy, Severity, Status};
use crate::report::{Report, Style, level_word, severity_word};

/// Where the text of a labelled line begins.
const INDENT: usize = 10;

/// One finding, and the hosts that have it.
type Shared<'a> = (&'a Finding, Vec<&'a str>);

/// All findings of a report, task by task, worst first; those of many hosts that are the same, once.
pub fn all(report: &Report, style: Style) -> String {
    let mut tasks: Vec<(&str, Vec<Shared<'_>>)> = Vec::new();
    for (host, answer) in &report.hosts {
        for finding in &answer.findings {
            let at = tasks.iter().position(|(task, _)| *task == finding.task).unwrap_or_else(|| {
                tasks.push((&finding.task, Vec::new()));
                tasks.len() - 1
            });
            let shared = &mut tasks[at].1;
            match shared.iter_mut().find(|(first, _)| *first == finding) {
                Some((_, hosts)) => hosts.push(host),
                None => shared.push((finding, vec![host])),
            }
        }
    }
    tasks.sort_by_key(|(_, shared)| std::cmp::Reverse(worst(shared)));
    tasks.iter().enumerate().map(|(at, (_, shared))| task(at + 1, shared, style)).collect()
}

fn worst(shared: &[Shared<'_>]) -> Severity {
    shared.iter().map(|(finding, _)| finding.severity).max().unwrap_or(Severity::Info)
}

/// A task that does not hold: why that matters, once, and every finding of it.
fn task(number: usize, shared: &[Shared<'_>], style: Style) -> String {
    let width: usize = style.width.into();
    let Some((first, _)) = shared.first() else { return String::new() };
    let severity = worst(shared);
    let lead = format!("{number}. {}: ", severity_word(severity));
    let title = beside(&lead, &format!("{} ({})", first.title, first.task), lead.len(), width);
    let painted = format!("{number}. {}: ", paint(severity_word(severity), ink(severity), style.colour));
    let mut block = format!("\n{}", title.replacen(&lead, &painted, 1));
    block.push_str(&labelled("why", &first.why, style));
    for (finding, hosts) in shared {
        block.push_str(&one(finding, hosts, severity, style));
    }
    block
}

fn one(finding: &Finding, hosts: &[&str], severity: Severity, style: Style) -> String {
    let mut qualities = vec![level_word(finding.level).to_owned()];
    if finding.severity != severity {
        qualities.push(severity_word(finding.severity).to_owned());
    }
    if finding.status == Status::Unknown {
        qualities.push("not known".to_owned());
    }
    let on = match hosts.len() {
        1..=5 => names(hosts),
        more => format!("{} ({})", count(more, "host"), names(hosts)),
    };
    let mut block = labelled("on", &format!("{on}: {} ({})", finding.subject, qualities.join(", ")), style);
    let short = finding.expected.len() + finding.actual.len() < 50;
    if short {
        block.push_str(&labelled(
            "is",
            &format!("{}, should be {}", finding.actual, finding.expected),
            style,
        ));
    } else {
        block.push_str(&labelled("is", &finding.actual, style));
        block.push_str(&labelled("wanted", &finding.expected, style));
    }
    for (at, evidence) in finding.evidence.iter().enumerate() {
        let text = if evidence.text.is_empty() { String::new() } else { format!(": {}", evidence.text) };
        block.push_str(&labelled(
            if at == 0 { "where" } else { "" },
            &format!("{}{text}", evidence.source),
            style,
        ));
    }
    let by = match finding.remedy {
        Remedy::Automatic => " (`trueup remediate` does it)",
        Remedy::Manual => " (by hand)",
        Remedy::None => "",
    };
    block.push_str(&labelled("mend", &format!("{}{by}", finding.mend), style));
    block
}

/// A label in its column and the text beside it, wrapped; painted after wrapping, so that colour takes no
/// room.
fn labelled(label: &str, text: &str, style: Style) -> String {
    let plain = format!("   {label}");
    let rows = beside(&plain, text, INDENT, style.width.into());
    match rows.strip_prefix(&plain) {
        Some(rest) if !label.is_empty() => format!("{}{rest}", paint(&plain, Ink::Faint, style.colour)),
        _ => rows,
    }
}
