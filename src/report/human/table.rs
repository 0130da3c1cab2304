//! The tables: tasks, detection windows, changes.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::text::{Ink, paint};
use crate::audit::{Standing, Status, WindowRow};
use crate::report::{HostReport, Style, level_word, severity_word};

fn table(style: Style, header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(style.width)
        .set_header(header.to_vec());
    table
}

fn finish(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// How every task stands on a host: one row a finding, one a task without.
pub fn tasks(host: &HostReport, style: Style) -> String {
    let mut table = table(style, &["task", "result", "what"]);
    for row in &host.tasks {
        let findings: Vec<_> = host.findings.iter().filter(|finding| finding.task == row.task).collect();
        match &row.standing {
            Standing::NotApplicable(subject) => {
                table.add_row(vec![row.task.clone(), "not applicable".into(), subject.clone()]);
            }
            Standing::Holds if findings.is_empty() => {
                table.add_row(vec![row.task.clone(), "holds".into(), String::new()]);
            }
            Standing::Holds | Standing::Fails => {
                for (at, finding) in findings.iter().enumerate() {
                    let mut result = severity_word(finding.severity).to_owned();
                    if finding.status == Status::Unknown {
                        result.push_str(", not known");
                    }
                    let subject = format!("{} ({})", finding.subject, level_word(finding.level));
                    // Sentences are told in full below; what is short is told here.
                    let what = if finding.expected.len() + finding.actual.len() < 50 {
                        format!("{subject}: {}, should be {}", finding.actual, finding.expected)
                    } else {
                        subject
                    };
                    let task = if at == 0 { row.task.clone() } else { String::new() };
                    table.add_row(vec![task, result, what]);
                }
            }
        }
    }
    finish(&table)
}

/// How long a dead connection goes unnoticed; rows that differ by service or broker alone are one.
pub fn windows(rows: &[WindowRow], style: Style) -> String {
    let header = ["service", "broker", "broker notices", "client", "caller", "call"];
    let mut table = table(style, &header);
    let mut groups: Vec<(WindowRow, Vec<&str>, Vec<&str>)> = Vec::new();
    for row in rows {
        let key = WindowRow { broker: String::new(), service: String::new(), ..row.clone() };
        let at = groups.iter().position(|(first, ..)| *first == key).unwrap_or_else(|| {
            groups.push((key, Vec::new(), Vec::new()));
            groups.len() - 1
        });
        let (_, services, brokers) = &mut groups[at];
        for (names, name) in [(services, &row.service), (brokers, &row.broker)] {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    for (row, services, brokers) in groups {
        let by = match row.decided_by.as_str() {
            "heartbeat_timeout_threshold" => format!("heartbeat {:.0} s", row.heartbeat),
            other => other.trim_start_matches("net.ipv4.").to_owned(),
        };
        table.add_row(vec![
            services.join("\n"),
            brokers.join("\n"),
            match row.broker_worst {
                Some(worst) => format!("{:.0}-{worst:.0} s ({by})", row.broker_best.unwrap_or(0.0)),
                None => "maybe never".to_owned(),
            },
            format!("back: {}", seconds(row.client_worst)),
            row.rpc_response_timeout.map_or("waits on".to_owned(), |timeout| format!("waits {timeout:.0} s")),
            match (row.broker_worst, row.survivable_age) {
                (None, _) => "may be lost".to_owned(),
                (Some(_), Some(age)) if age <= 0.0 => "may be lost".to_owned(),
                (Some(_), Some(age)) => format!("lives, {age:.0} s old"),
                (Some(_), None) => "lives".to_owned(),
            },
        ]);
    }
    if let Some(column) = table.column_mut(0) {
        // A service's name in two pieces cannot be searched for.
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    finish(&table)
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "never".to_owned(), |value| format!("{value:.0} s"))
}

/// What would change or has changed on a host, diffs below where wanted.
pub fn changes(host: &HostReport, style: Style) -> String {
    let mut table = table(style, &["change", "for", "outcome"]);
    for change in &host.changes {
        let reason = change.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let outcome = format!("{}{reason}", change.outcome.word());
        table.add_row(vec![change.what.clone(), change.tasks.join(", "), outcome]);
    }
    let mut out = finish(&table);
    if style.diff {
        for change in host.changes.iter().filter(|change| !change.diff.is_empty()) {
            out.push_str(&diff(&change.diff, style));
        }
    }
    out
}

fn diff(text: &str, style: Style) -> String {
    text.lines()
        .map(|line| {
            let ink = match line.as_bytes().first() {
                Some(b'+') => Ink::Green,
                Some(b'-') => Ink::Red,
                _ => Ink::Faint,
            };
            format!("{}\n", paint(line, ink, style.colour))
        })
        .collect()
}
