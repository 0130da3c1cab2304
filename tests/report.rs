//! What a person and a program are told.

use std::collections::BTreeMap;

use trueup::audit::{HostAudit, audit};
use trueup::error::{Exit, HostError};
use trueup::facts::Reading;
use trueup::report::{ChangeOutcome, Report, Style, format};

use crate::rules;

fn report(cluster: &str) -> Report {
    let cluster = rules::cluster(cluster);
    let audits = audit(&rules::built_in(&cluster), &cluster);
    Report::new("audit", "2026-11-22T11:00:00Z", Some("rpc-survives".to_owned()), audits)
}

fn human(report: &Report, style: Style) -> String {
    (format("human").unwrap().write)(report, style)
}

#[test]
fn a_person_is_told_what_where_why_and_what_to_do_in_80_columns() {
    for cluster in ["zed", "seed", "kolla", "tripleo", "mended"] {
        let text = human(&report(cluster), Style::default());
        for line in text.lines() {
            // A word that is longer than the line, such as a path, stays in one piece.
            let longest = line.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
            assert!(line.chars().count() <= 80 || longest > 60, "{cluster}: {line}");
        }
        assert!(!text.contains("secret"), "{cluster}: {text}");
    }
    let text = human(&report("zed"), Style::default());
    for part in [
        "Replies are lost",
        "the consumer's connection dies",
        "critical: AMQP heartbeats are short (heartbeat)",
        "where",
        "remediate",
        "default of oslo.messaging 14.0.3",
        "Next: ",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    let report = report("zed");
    let coloured = human(&report, Style { colour: true, ..Style::default() });
    let escape = regex::Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    assert_eq!(escape.replace_all(&coloured, ""), human(&report, Style::default()));
    assert!(coloured.contains('\u{1b}'));
}

#[test]
fn hosts_with_the_same_answer_are_told_of_once() {
    let mut report = report("zed");
    let host = report.hosts["ctl1"].clone();
    report.hosts.insert("ctl2".to_owned(), host);
    report.count();
    let text = human(&report, Style::default());
    assert_eq!(text.matches("A dead consumer is noticed").count(), 1, "{text}");
    assert!(text.contains("ctl1, ctl2"), "{text}");
}

#[test]
fn a_report_survives_json() {
    let report = report("zed");
    let text = (format("json").unwrap().write)(&report, Style::default());
    assert!(!text.contains("secret"), "{text}");
    let again: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(again, report);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["format_version"], "1.0");
    assert_eq!(value["hosts"]["ctl1"]["status"], "findings");
    assert_eq!(value["hosts"]["ctl1"]["error"], serde_json::Value::Null);
    assert_eq!(value["hosts"]["ctl1"]["windows"][0]["rpc_response_timeout"], 60.0);
}

#[test]
fn the_worst_host_decides_how_the_process_ends() {
    let compliant = || Ok(HostAudit::default());
    let check = |audits: Vec<Result<HostAudit, HostError>>, expected: Exit| {
        let audits: BTreeMap<_, _> =
            audits.into_iter().enumerate().map(|(at, verdict)| (format!("host{at}"), verdict)).collect();
        assert_eq!(Report::new("audit", "now", None, audits).exit(), expected);
    };
    let refused = || HostError::Refused { address: "10.0.0.9".to_owned(), port: 22 };
    check(vec![compliant()], Exit::Compliant);
    check(vec![compliant(), Err(refused())], Exit::Unreachable);
    check(vec![Err(refused()), Err(HostError::SudoPassword)], Exit::Failed);
    check(vec![Err(refused()), Err(HostError::Interrupted)], Exit::Interrupted);
    assert_eq!(report("zed").exit(), Exit::Findings);
    assert_eq!(report("mended").exit(), Exit::Compliant);
    assert_eq!(ChangeOutcome::RolledBack.word(), "rolled back");
}

#[test]
fn a_timer_that_goes_with_time_is_told_and_changes_no_exit() {
    let mut cluster = rules::cluster("mended");
    for facts in cluster.values_mut() {
        let Reading::Known(sockets) = &mut facts.as_mut().unwrap().sockets else { continue };
        for socket in sockets {
            (socket.timer, socket.fires_in_ms) = (Some("keepalive".to_owned()), Some(9000));
        }
    }
    let audits = audit(&rules::built_in(&cluster), &cluster);
    let mut report = Report::new("remediate", "2026-11-22T11:00:00Z", None, audits);
    report.add_health(&cluster);
    assert!(report.hosts.values().any(|host| !host.findings.is_empty()));
    assert_eq!(report.exit(), Exit::Compliant);
}
