//! `--format prometheus`: the text exposition format 0.0.4 for node_exporter's textfile collector
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). No sample has a timestamp: the collector
//! refuses a file that has one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::drift::{CAUSES, cause_word};
use super::{Compared, HostReport, HostStatus, Report, Style, severity_word};
use crate::audit::{Severity, WindowRow};
use crate::drift::Difference;

/// Every status, as a state set.
const STATUSES: [HostStatus; 4] =
    [HostStatus::Compliant, HostStatus::Findings, HostStatus::Unreachable, HostStatus::Failed];

/// Every severity, so that a series ends at 0 and not in a gap.
const SEVERITIES: [Severity; 3] = [Severity::Critical, Severity::Warning, Severity::Info];

/// A report as gauges.
pub(super) fn write(report: &Report, _style: Style) -> String {
    let mut page = Page(String::new());
    page.family("trueup_build_info", "The version of trueup that wrote this; always 1.");
    page.sample("trueup_build_info", &[("version", &report.trueup)], 1.0);
    run(&mut page, report);
    hosts(&mut page, report);
    windows(&mut page, report);
    if let Some(compared) = &report.drift {
        drift(&mut page, report, compared);
    }
    page.0
}

fn run(page: &mut Page, report: &Report) {
    let labels = [("command", report.command.as_str())];
    if let Ok(time) = report.started_at.parse::<jiff::Timestamp>() {
        let name = "trueup_last_run_timestamp_seconds";
        page.family(name, "When the last run started, in seconds since 1970.");
        page.sample(name, &labels, time.as_second() as f64);
    }
    if let Some(seconds) = report.seconds {
        page.family("trueup_last_run_duration_seconds", "How long the last run took.");
        page.sample("trueup_last_run_duration_seconds", &labels, seconds);
    }
    let name = "trueup_last_run_exit_code";
    page.family(name, "What the last run exits with: 0 compliant, 2 findings, 3 failed, 4 not reached.");
    page.sample(name, &labels, f64::from(report.exit().code()));
}

fn hosts(page: &mut Page, report: &Report) {
    page.family("trueup_hosts", "Hosts of the last run by status.");
    for status in STATUSES {
        let number = report.hosts.values().filter(|host| host.status == status).count();
        page.sample("trueup_hosts", &[("status", status.word())], number as f64);
    }
    page.family("trueup_findings", "Findings of the last run on all hosts together, by severity.");
    for severity in SEVERITIES {
        let number: usize = report.hosts.values().map(|host| of(host, severity)).sum();
        page.sample("trueup_findings", &[("severity", severity_word(severity))], number as f64);
    }
    page.family("trueup_host_status", "1 for the status a host has, 0 for the others.");
    for (name, host) in &report.hosts {
        for status in STATUSES {
            let labels = [("host", name.as_str()), ("status", status.word())];
            page.sample("trueup_host_status", &labels, f64::from(u8::from(host.status == status)));
        }
    }
    page.family("trueup_host_findings", "Findings on a host that was read, by severity.");
    for (name, host) in report.hosts.iter().filter(|(_, host)| host.status != HostStatus::Unreachable) {
        for severity in SEVERITIES {
            let labels = [("host", name.as_str()), ("severity", severity_word(severity))];
            page.sample("trueup_host_findings", &labels, of(host, severity) as f64);
        }
    }
}

fn of(host: &HostReport, severity: Severity) -> usize {
    host.findings.iter().filter(|finding| finding.severity == severity && !finding.is_waived()).count()
}

/// What differs from the last verified run: of every host that was read a sample for each cause, so that an alert ends
/// at 0; a host that is gone or new has one more of our own doing.
fn drift(page: &mut Page, report: &Report, compared: &Compared) {
    let read = report.hosts.iter().filter(|(_, host)| host.error.is_none()).map(|(name, _)| name.as_str());
    let cluster = compared.cluster.iter().map(|difference| difference.subject.as_str());
    let mut hosts: BTreeMap<&str, Vec<&Difference>> =
        read.chain(cluster).map(|host| (host, Vec::new())).collect();
    for (host, difference) in report.differences().filter(|(_, difference)| difference.counts()) {
        hosts.entry(host).or_default().push(difference);
    }
    let name = "trueup_drift_differences";
    page.family(
        name,
        "Differences from the last verified run and from what should hold, by whose doing they are.",
    );
    for (host, found) in &hosts {
        for cause in CAUSES {
            let number = found.iter().filter(|difference| difference.cause == cause).count();
            page.sample(name, &[("host", host), ("cause", cause_word(cause))], number as f64);
        }
    }
    let name = "trueup_drift_breaking";
    page.family(name, "Those of them that break what should hold.");
    for (host, found) in &hosts {
        let number = found.iter().filter(|difference| !difference.breaks.is_empty()).count();
        page.sample(name, &[("host", host)], number as f64);
    }
    let saved =
        compared.baselines.iter().filter_map(|(host, at)| Some((host, at.parse::<jiff::Timestamp>().ok()?)));
    let saved: Vec<_> = saved.collect();
    if !saved.is_empty() {
        let name = "trueup_drift_baseline_timestamp_seconds";
        page.family(name, "When the baseline of a host was saved, in seconds since 1970.");
        for (host, time) in saved {
            page.sample(name, &[("host", host)], time.as_second() as f64);
        }
    }
}

/// The worst of each broker's and each host's windows: one of every service with every broker would be too many
/// series on a large cluster.
fn windows(page: &mut Page, report: &Report) {
    let rows = || {
        report
            .hosts
            .iter()
            .flat_map(|(host, answer)| answer.windows.iter().map(move |row| (host.as_str(), row)))
    };
    let broker = |(_, row): (_, &'_ WindowRow)| row.broker.clone();
    let name = "trueup_survivable_age_seconds";
    page.family(
        name,
        "How old a call may be when its connection to this broker dies and still get its reply, at worst: \
         negative, replies are lost; -Inf, nothing bounds the detection; +Inf, callers wait without end.",
    );
    for (broker, age) in worst(rows().map(|row| (broker(row), age(row.1))), f64::min) {
        page.sample(name, &[("broker", &broker)], age);
    }
    let name = "trueup_host_survivable_age_seconds";
    page.family(name, "The same for the calls that a host's services make, over all brokers.");
    for (host, age) in worst(rows().map(|(host, row)| (host.to_owned(), age(row))), f64::min) {
        page.sample(name, &[("host", &host)], age);
    }
    let name = "trueup_broker_notices_seconds";
    page.family(name, "How long this broker needs to notice a dead connection, at worst; +Inf: no bound.");
    let seconds = |row: &WindowRow| row.broker_worst.unwrap_or(f64::INFINITY);
    for (broker, seconds) in worst(rows().map(|row| (broker(row), seconds(row.1))), f64::max) {
        page.sample(name, &[("broker", &broker)], seconds);
    }
}

/// What a call survives, with both infinities.
fn age(row: &WindowRow) -> f64 {
    match (row.survivable_age, row.broker_worst.and(row.client_worst)) {
        (_, None) => f64::NEG_INFINITY,
        (None, Some(_)) => f64::INFINITY,
        (Some(age), Some(_)) => age,
    }
}

fn worst(rows: impl Iterator<Item = (String, f64)>, pick: fn(f64, f64) -> f64) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for (key, value) in rows {
        all.entry(key).and_modify(|known| *known = pick(*known, value)).or_insert(value);
    }
    all
}

/// The text; every family is a gauge.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let value = match value {
            value if value == f64::INFINITY => "+Inf".to_owned(),
            value if value == f64::NEG_INFINITY => "-Inf".to_owned(),
            value => value.to_string(),
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// A label's value, without what moves a cursor.
fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|letter| !letter.is_control() || *letter == '\n').collect();
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
