//! `--format human`: tables, then every finding in full, then what to do next.

mod findings;
mod table;
mod text;

use super::{HostReport, HostStatus, Report, Style};
use crate::audit::{Remedy, WindowRow};
use crate::timing::{Charset, Timeline, drawing};
use text::{Ink, beside, count, names, paint};

/// A report for a person, legible in 80 columns.
pub(super) fn write(report: &Report, style: Style) -> String {
    let mut out = heading(report, style);
    for (hosts, host) in alike(report) {
        out.push('\n');
        out.push_str(&title(&hosts, host, style));
        if let Some(fault) = &host.error {
            out.push_str(&beside("  ", &fault.message, 2, style.width.into()));
            if let Some(hint) = fault.cause.hint() {
                out.push_str(&beside("  hint:", &hint, 8, style.width.into()));
            }
        }
        if !host.tasks.is_empty() {
            out.push_str(&table::tasks(host, style));
        }
        if !host.windows.is_empty() {
            out.push_str(&table::windows(&host.windows, style));
            out.push_str(&timeline(&host.windows, style));
        }
        if !host.changes.is_empty() {
            out.push_str(&table::changes(host, style));
        }
    }
    out.push_str(&findings::all(report, style));
    out.push('\n');
    out.push_str(&summary(report, style));
    out
}

/// Only what would be done, for the question whether to do it.
pub(super) fn changes(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for (hosts, host) in alike(report).into_iter().filter(|(_, host)| !host.changes.is_empty()) {
        out.push_str(&title(&hosts, host, style));
        out.push_str(&table::changes(host, style));
        out.push('\n');
    }
    out
}

fn heading(report: &Report, style: Style) -> String {
    let playbook = report.playbook.as_deref().map(|name| format!(", playbook {name}")).unwrap_or_default();
    let hosts = count(report.hosts.len(), "host");
    let line = format!("trueup {}: {hosts}{playbook}, {}", report.command, report.started_at);
    format!("{}\n", paint(&line, Ink::Bold, style.colour))
}

/// Hosts with the same answer together: the first of them stands for all. Their tables would repeat.
fn alike(report: &Report) -> Vec<(Vec<&str>, &HostReport)> {
    let mut groups: Vec<(Vec<&str>, &HostReport)> = Vec::new();
    for (name, host) in &report.hosts {
        match groups.iter_mut().find(|(_, first)| *first == host) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], host)),
        }
    }
    groups
}

fn title(hosts: &[&str], host: &HostReport, style: Style) -> String {
    let ink = match host.status {
        HostStatus::Compliant => Ink::Green,
        HostStatus::Findings => Ink::Yellow,
        HostStatus::Unreachable | HostStatus::Failed => Ink::Red,
    };
    let status = match host.status {
        HostStatus::Findings => count(host.findings.len(), "finding"),
        other => other.word().to_owned(),
    };
    let each = if hosts.len() > 1 && host.status == HostStatus::Findings { " each" } else { "" };
    format!(
        "{}: {}{each}\n",
        paint(&names(hosts), Ink::Bold, style.colour),
        paint(&status, ink, style.colour)
    )
}

/// The worst window as a picture: the death, who notices when, and when the caller gives up.
fn timeline(rows: &[WindowRow], style: Style) -> String {
    // No bound at all is worse than any number.
    let age = |row: &WindowRow| match (row.broker_worst, row.rpc_response_timeout) {
        (None, _) => f64::NEG_INFINITY,
        (Some(_), None) => f64::INFINITY,
        (Some(_), Some(_)) => row.survivable_age.unwrap_or(f64::INFINITY),
    };
    let Some(worst) = rows.iter().min_by(|one, other| age(one).total_cmp(&age(other))) else {
        return String::new();
    };
    let shown = Timeline {
        broker_best: worst.broker_best,
        broker_worst: worst.broker_worst,
        client_worst: worst.client_worst,
        rpc_response_timeout: worst.rpc_response_timeout,
    };
    let picture = drawing(&shown, style.width.into(), Charset::Unicode);
    format!("\n{} with the broker on {}:\n{picture}", worst.service, worst.broker)
}

fn summary(report: &Report, style: Style) -> String {
    let summary = &report.summary;
    let with = summary.hosts - summary.compliant - summary.unreachable - summary.failed;
    let mut line = format!(
        "{}: {} compliant, {with} with findings, {} unreachable, {} failed.",
        count(summary.hosts, "host"),
        summary.compliant,
        summary.unreachable,
        summary.failed,
    );
    let by = |remedy| {
        report
            .hosts
            .values()
            .flat_map(|host| &host.findings)
            .filter(|finding| finding.remedy == remedy)
            .count()
    };
    if summary.findings > 0 {
        let parts = [
            (by(Remedy::Automatic), "`trueup remediate` mends"),
            (by(Remedy::Manual), "a person must mend"),
            (by(Remedy::None), "with the others or with time go"),
        ];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let parts: Vec<_> = parts.map(|(number, who)| format!("{who} {number}")).collect();
        line.push_str(&format!(" {}: {}.", count(summary.findings, "finding"), parts.join(", ")));
    }
    if let Some(run) = &report.run {
        line.push_str(&format!(" Run {run}: `trueup rollback {run}` puts it back."));
    }
    beside("", &line, 0, style.width.into())
}
