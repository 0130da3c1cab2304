//! The tables: tasks, detection windows, changes.

use comfy_table::{ContentArrangement, Table, presets};

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
    let mut table = table(style, &["task", "result", "where", "should be", "is"]);
    for row in &host.tasks {
        match &row.standing {
            Standing::Holds => {
                table.add_row(vec![
                    row.task.clone(),
                    "holds".into(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]);
            }
            Standing::NotApplicable(subject) => {
                let result = format!("not applicable: {subject}");
                table.add_row(vec![row.task.clone(), result, String::new(), String::new(), String::new()]);
            }
            Standing::Fails => {
                for finding in host.findings.iter().filter(|finding| finding.task == row.task) {
                    let result = match finding.status {
                        Status::Fail => severity_word(finding.severity).to_owned(),
                        Status::Unknown => format!("{}, not known", severity_word(finding.severity)),
                    };
                    table.add_row(vec![
                        row.task.clone(),
                        result,
                        format!("{}: {}", level_word(finding.level), finding.subject),
                        finding.expected.clone(),
                        finding.actual.clone(),
                    ]);
                }
            }
        }
    }
    finish(&table)
}

/// How long a dead connection goes unnoticed; rows that differ by the broker alone are one.
pub fn windows(rows: &[WindowRow], style: Style) -> String {
    let mut table = table(
        style,
        &[
            "service",
            "broker",
            "heartbeat",
            "broker notices",
            "decided by",
            "client back",
            "timeout",
            "survivable",
        ],
    );
    let mut groups: Vec<(WindowRow, Vec<&str>)> = Vec::new();
    for row in rows {
        let key = WindowRow { broker: String::new(), ..row.clone() };
        match groups.iter_mut().find(|(first, _)| *first == key) {
            Some((_, brokers)) => brokers.push(&row.broker),
            None => groups.push((key, vec![&row.broker])),
        }
    }
    for (row, brokers) in groups {
        table.add_row(vec![
            row.service.clone(),
            brokers.join(", "),
            if row.heartbeat == 0.0 { "off".to_owned() } else { seconds(Some(row.heartbeat)) },
            match row.broker_worst {
                Some(worst) => format!("{:.0}-{worst:.0} s", row.broker_best.unwrap_or(0.0)),
                None => "never".to_owned(),
            },
            row.decided_by.clone(),
            seconds(row.client_worst),
            row.rpc_response_timeout.map_or("none".to_owned(), |timeout| format!("{timeout:.0} s")),
            row.survivable_age.map_or("-".to_owned(), |age| format!("{age:.0} s")),
        ]);
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
