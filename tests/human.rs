//! What a person reads, letter by letter: recorded reports (`tests/report/*.json`, from `--format json`) as text,
//! one file a report and width.
//!
//! `TRUEUP_UPDATE=1 cargo test --test tests human::` writes the texts anew after a change of words.

use std::path::{Path, PathBuf};

use trueup::audit::Standing;
use trueup::error::HostError;
use trueup::report::{ChangeOutcome, HostReport, HostStatus, Report, Style, format};

use crate::support::reports::{drifted, recorded, settled, three_hundred, three_hundred_drifted};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(name)
}

/// The text of a report equals the file `NAME-WIDTH.txt`, and no line is longer than the width.
fn check(name: &str, report: &Report, style: Style) -> String {
    let text = (format("human").unwrap().write)(report, style);
    let path = file(&format!("{name}-{}.txt", style.width));
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
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} differs from\n{text}", path.display());
    text
}

fn at(width: u16) -> Style {
    Style { width, ..Style::default() }
}

#[test]
fn the_incident_is_a_screen_and_a_half() {
    let report = recorded("incident");
    for width in [60, 80, 100, 120] {
        let text = check("incident", &report, at(width));
        assert!(width < 100 || text.lines().count() <= 75, "{} lines", text.lines().count());
    }
}

#[test]
fn a_cluster_in_order_is_a_few_lines() {
    for width in [60, 80] {
        let text = check("compliant", &recorded("compliant"), at(width));
        assert!(width < 80 || text.lines().count() <= 15, "{} lines", text.lines().count());
    }
}

#[test]
fn what_needs_a_person_is_told_as_such() {
    check("kolla", &recorded("kolla"), at(80));
}

#[test]
fn a_host_that_is_not_reached_is_told_first() {
    check("unreachable", &recorded("unreachable"), at(80));
    let mut report = recorded("incident");
    for host in report.hosts.values_mut() {
        *host = HostReport::broken(HostError::SudoPassword);
    }
    report.count();
    check("nothing-known", &report, at(80));
}

#[test]
fn windows_that_differ_are_a_table() {
    let mut report = recorded("incident");
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
    let report = recorded("plan");
    check("plan", &report, Style { diff: true, ..at(100) });
    let text = check("plan", &report, at(80));
    assert!(text.lines().count() <= 45, "{} lines", text.lines().count());
}

#[test]
fn what_failed_and_what_was_put_back_comes_first() {
    let mut report = recorded("plan");
    "remediate".clone_into(&mut report.command);
    report.run = Some("20261122T114500Z".to_owned());
    for (name, host) in &mut report.hosts {
        for (number, change) in host.changes.iter_mut().enumerate() {
            let (outcome, reason) = match (name.as_str(), number) {
                ("ctl1", _) => (ChangeOutcome::Changed, None),
                ("ctl2", ..7) => (ChangeOutcome::RolledBack, None),
                ("ctl2", 7) => (
                    ChangeOutcome::Failed,
                    Some("cinder-volume.service is failed after 180 s (exit-code); everything was put back"),
                ),
                ("ctl3", 0) => (ChangeOutcome::NotReached, Some("the run stopped at ctl2")),
                _ => (ChangeOutcome::NotReached, None),
            };
            change.outcome = outcome;
            change.reason = reason.map(str::to_owned);
        }
        if name == "ctl2" {
            host.status = HostStatus::Failed;
        }
    }
    report.count();
    check("rolled-back", &report, at(80));
}

#[test]
fn three_hundred_hosts_are_as_long_as_three() {
    let report = three_hundred();
    let text = check("three-hundred", &report, at(100));
    assert!(text.lines().count() <= 120, "{} lines", text.lines().count());
}

#[test]
fn what_a_strategy_does_not_cover_is_said_although_every_task_holds() {
    let mut report = recorded("incident");
    for host in report.hosts.values_mut() {
        host.status = HostStatus::Compliant;
        host.findings.clear();
        host.windows_after.clear();
        for task in &mut host.tasks {
            task.standing = Standing::Holds;
        }
    }
    report.count();
    let text = check("not-covered", &report, at(80));
    assert!(text.contains("strategy does not cover that"), "{text}");
}

#[test]
fn what_cannot_be_planned_is_told_with_its_reason() {
    let mut report = recorded("plan");
    for host in report.hosts.values_mut() {
        host.changes.truncate(2);
        host.windows_after.clear();
        let blocked = &mut host.changes[0];
        blocked.outcome = ChangeOutcome::Blocked;
        blocked.reason = Some("`/etc/sysctl.d/60-trueup.conf` was not read".to_owned());
        blocked.diff.clear();
    }
    report.hosts.get_mut("ctl3").unwrap().changes.truncate(1);
    check("blocked", &report, at(80));
}

#[test]
fn drift_is_told_by_whose_doing_it_is() {
    for width in [60, 80, 120] {
        check("drift", &drifted(), at(width));
    }
    check("settled", &settled(), at(80));
    let text = check("drift-three-hundred", &three_hundred_drifted(), at(100));
    assert!(text.lines().count() <= 90, "{} lines", text.lines().count());
}

#[test]
fn the_last_screen_of_a_long_answer_tells_it_all() {
    let on_a_screen = |rows: u16| Style { rows: Some(rows), ..at(80) };
    let summary = |report: &Report| {
        let text = (format("summary").unwrap().write)(report, at(80));
        text.split_once("\n\n").unwrap().1.to_owned()
    };
    for (name, report) in [("incident-screen", recorded("incident")), ("drift-screen", drifted())] {
        let text = check(name, &report, on_a_screen(24));
        let (_, end) = text.split_once("\nIn short\n\n").unwrap();
        assert_eq!(end, summary(&report), "{name}");
        // With the title, what stands before it, and the prompt after it.
        assert!(end.lines().count() + 3 <= 24, "{name}: {} lines", end.lines().count());
        assert_eq!(text.matches("\nNext: ").count(), 1, "{name}");
    }
    // What fits on the screen says nothing twice.
    for report in [recorded("compliant"), settled()] {
        let text = (format("human").unwrap().write)(&report, on_a_screen(24));
        assert_eq!(text, (format("human").unwrap().write)(&report, at(80)));
    }
    let tall = (format("human").unwrap().write)(&recorded("incident"), on_a_screen(200));
    assert_eq!(tall, (format("human").unwrap().write)(&recorded("incident"), at(80)));
}
