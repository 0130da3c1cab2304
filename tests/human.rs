//! What a person reads, letter by letter: the reports in `tests/report/`, one file a report and width.
//!
//! `TRUEUP_UPDATE=1 cargo test --test tests human::` writes them anew after a change of words.

use std::collections::BTreeMap;
use std::path::Path;

use trueup::audit::{self, Cluster, Remedy, Status};
use trueup::error::HostError;
use trueup::facts::saved;
use trueup::plan::Plan;
use trueup::plan::build::{Rollout, build};
use trueup::plan::outcome::{Ending, HostOutcome};
use trueup::plan::rollout::Serial;
use trueup::report::{HostReport, Report, Style, format};

use crate::rules;

const NOW: &str = "2026-11-22T11:45:00Z";

/// The text of a report equals the file `NAME-WIDTH.txt`, and no line is longer than the width.
fn check(name: &str, report: &Report, style: Style) -> String {
    let text = (format("human").unwrap().write)(report, style);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/report")
        .join(format!("{name}-{}.txt", style.width));
    // A diff shows a file's lines as they are.
    for line in text.lines().filter(|_| !style.diff) {
        let path = line.split_whitespace().any(|word| word.starts_with('/') || word.starts_with("-p"));
        assert!(
            path || line.chars().count() <= style.width.into(),
            "{name}, {} columns: {line}",
            style.width
        );
        assert_eq!(line, line.trim_end(), "{name}: blanks at the end of a line");
    }
    if std::env::var_os("TRUEUP_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} differs from\n{text}", path.display());
    text
}

fn at(width: u16) -> Style {
    Style { width, ..Style::default() }
}

/// The recorded cluster of the demo: the incident's settings.
fn incident() -> Cluster {
    ["ctl1", "ctl2", "ctl3"]
        .into_iter()
        .map(|host| {
            let path = format!("{}/demo/{host}.json", env!("CARGO_MANIFEST_DIR"));
            let facts = saved::from_json(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
            (host.to_owned(), Ok(facts))
        })
        .collect()
}

fn audited(command: &str, cluster: &Cluster) -> Report {
    let tasks = rules::built_in(cluster);
    Report::new(command, NOW, Some("builtin:rpc-survives.yml".to_owned()), audit::audit(&tasks, cluster))
}

/// One host after the other, all the changes that the audit asks for.
fn plan(cluster: &Cluster) -> Plan {
    let tasks = rules::built_in(cluster);
    let mut rollout = Rollout {
        hosts: tasks.keys().cloned().collect(),
        serial: vec![Serial::Count(1)],
        ..Rollout::default()
    };
    for (host, own) in &tasks {
        rollout.add(host, own.iter().map(|task| task.id.clone()), Vec::new(), Vec::new());
    }
    let audits = audit::audit(&tasks, cluster);
    let audits = audits.into_iter().filter_map(|(host, verdict)| Some((host, verdict.ok()?))).collect();
    build("builtin:rpc-survives.yml", NOW, &[rollout], &audits, cluster)
}

#[test]
fn the_incident_is_a_screen_and_a_half() {
    let report = audited("audit", &incident());
    for width in [60, 80, 100, 120] {
        let text = check("incident", &report, at(width));
        assert!(width < 100 || text.lines().count() <= 75, "{} lines", text.lines().count());
    }
}

#[test]
fn a_cluster_in_order_is_a_few_lines() {
    for width in [60, 80] {
        let text = check("compliant", &audited("audit", &rules::cluster("mended")), at(width));
        assert!(width < 80 || text.lines().count() <= 15, "{} lines", text.lines().count());
    }
}

#[test]
fn other_clusters_are_told_as_they_are() {
    for cluster in ["zed", "seed", "kolla", "tripleo"] {
        check(cluster, &audited("audit", &rules::cluster(cluster)), at(80));
    }
}

#[test]
fn a_host_that_is_not_reached_is_told_first() {
    let mut cluster = incident();
    cluster.insert("ctl3".to_owned(), Err(HostError::Refused { address: "10.77.0.13".to_owned(), port: 22 }));
    check("unreachable", &audited("audit", &cluster), at(80));
    for verdict in cluster.values_mut() {
        *verdict = Err(HostError::SudoPassword);
    }
    check("nothing-known", &audited("audit", &cluster), at(80));
}

#[test]
fn windows_that_differ_are_a_table() {
    let mut report = audited("audit", &incident());
    for row in &mut report.hosts.get_mut("ctl2").unwrap().windows {
        row.heartbeat = 15.0;
        row.broker_worst = Some(45.0);
        row.decided_by = "heartbeat_timeout_threshold".to_owned();
        row.client_worst = Some(38.5);
        row.survivable_age = Some(15.0);
        if row.broker == "ctl3" {
            row.broker_worst = None;
            row.decided_by = "nothing".to_owned();
            row.survivable_age = None;
        }
    }
    for width in [60, 80, 120] {
        check("mixed", &report, at(width));
    }
}

#[test]
fn a_plan_says_what_would_change_and_what_that_gives() {
    let cluster = incident();
    let mut report = audited("plan", &cluster);
    report.add_plan(&plan(&cluster));
    check("plan", &report, Style { diff: true, ..at(100) });
    check("plan", &report, at(80));
}

#[test]
fn what_failed_and_what_was_put_back_comes_first() {
    let cluster = incident();
    let plan = plan(&cluster);
    let ends = |number: usize, host: &str| match number {
        0 => (Ending::Applied, plan.batches[0].hosts[0].steps.iter().map(|_| true).collect()),
        1 => (
            Ending::RolledBack {
                step: "restart cinder-volume.service".to_owned(),
                reason: "cinder-volume.service did not come back within 180 s: failed (Result: exit-code)"
                    .to_owned(),
            },
            vec![true; 7],
        ),
        _ => (Ending::NotReached { reason: format!("the run stopped before {host}'s turn") }, Vec::new()),
    };
    let outcomes: BTreeMap<String, HostOutcome> = ["ctl1", "ctl2", "ctl3"]
        .into_iter()
        .enumerate()
        .map(|(number, host)| {
            let (ending, done) = ends(number, host);
            (host.to_owned(), HostOutcome { host: host.to_owned(), ending, done })
        })
        .collect();
    let mut report = audited("remediate", &cluster);
    report.add_outcome(&plan, &outcomes);
    report.run = Some("20261122T114500Z".to_owned());
    check("rolled-back", &report, at(80));
}

#[test]
fn three_hundred_hosts_are_as_long_as_three() {
    let few = audited("audit", &incident());
    let mut report = few.clone();
    report.hosts.clear();
    for number in 1..=300 {
        let mut host: HostReport = few.hosts[["ctl1", "ctl2", "ctl3"][number % 3]].clone();
        for finding in &mut host.findings {
            if finding.subject.ends_with("keepalive_time") && finding.actual == "60" && number % 100 == 7 {
                finding.actual = "7200".to_owned();
            }
            if finding.task == "listener-keepalive" && number % 50 == 9 {
                finding.status = Status::Unknown;
                finding.remedy = Remedy::Manual;
                finding.actual = "unknown: permission denied".to_owned();
                finding.mend = "let trueup read it: run it as root there (`become: true`)".to_owned();
            }
        }
        if number % 75 == 0 {
            let address = format!("10.0.3.{}", number / 75);
            host = HostReport::broken(HostError::ConnectTimeout { address, seconds: 10 });
        }
        report.hosts.insert(format!("node-{number:03}"), host);
    }
    report.count();
    let text = check("three-hundred", &report, at(100));
    assert!(text.lines().count() <= 120, "{} lines", text.lines().count());
}
