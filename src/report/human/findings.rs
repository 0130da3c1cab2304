//! Every finding in full, once: what is wrong, where, why it matters, what would mend it.

use super::text::{Ink, beside, ink, names, paint};
use crate::audit::{Finding, Remedy, Status};
use crate::report::{Report, Style, level_word, severity_word};

/// Width of the column of labels.
const INDENT: usize = 10;

/// All findings of a report, worst first; those of many hosts that are the same, once.
pub fn all(report: &Report, style: Style) -> String {
    let mut groups: Vec<(&Finding, Vec<&str>)> = Vec::new();
    for (host, answer) in &report.hosts {
        for finding in &answer.findings {
            match groups.iter_mut().find(|(first, _)| *first == finding) {
                Some((_, hosts)) => hosts.push(host),
                None => groups.push((finding, vec![host])),
            }
        }
    }
    groups.sort_by_key(|(finding, _)| std::cmp::Reverse(finding.severity));
    let blocks = groups.iter().enumerate().map(|(at, (finding, hosts))| one(at + 1, finding, hosts, style));
    blocks.collect()
}

fn one(number: usize, finding: &Finding, hosts: &[&str], style: Style) -> String {
    let width = style.width.into();
    let mut word = severity_word(finding.severity).to_owned();
    if finding.status == Status::Unknown {
        word.push_str(", not known");
    }
    let lead = format!("{number}. {word}: ");
    // The first line is painted after wrapping, so that colour takes no room.
    let title = beside("", &format!("{lead}{} ({})", finding.title, finding.task), 0, width);
    let title = match title.strip_prefix(&lead) {
        Some(rest) => format!("{number}. {}: {rest}", paint(&word, ink(finding.severity), style.colour)),
        None => title,
    };
    let mut block = format!("\n{title}");
    let mut line = |label: &str, text: &str| {
        let rows = beside(&format!("   {label}"), text, INDENT, width);
        let label = format!("   {label}");
        block.push_str(&match rows.strip_prefix(&label) {
            Some(rest) => format!("{}{rest}", paint(&label, Ink::Faint, style.colour)),
            None => rows,
        });
    };
    line("on", &names(hosts));
    let level = level_word(finding.level);
    line(
        "wrong",
        &format!("{} ({level}) should be {}, is {}", finding.subject, finding.expected, finding.actual),
    );
    for (at, evidence) in finding.evidence.iter().enumerate() {
        let text = if evidence.text.is_empty() { String::new() } else { format!(": {}", evidence.text) };
        line(if at == 0 { "where" } else { "" }, &format!("{}{text}", evidence.source));
    }
    line("why", &finding.why);
    let by = match finding.remedy {
        Remedy::Automatic => " (`trueup remediate` does it)",
        Remedy::Manual => " (by hand)",
        Remedy::None => "",
    };
    line("mend", &format!("{}{by}", finding.mend));
    block
}
