//! One JSON object a line: what happened, then the answer.

use serde_json::Value;

use super::written;
use crate::support::reports;
use crate::support::rig::Rig;

fn parse(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn every_line_is_an_object_and_the_last_one_the_summary() {
    for (name, report) in reports::all() {
        let lines = parse(&written("jsonl", &report));
        let with = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
        assert_eq!(with("host"), report.summary.hosts, "{name}");
        assert_eq!(with("finding"), report.summary.findings + report.summary.waived, "{name}");
        let parts =
            |of: fn(&trueup::report::HostReport) -> usize| report.hosts.values().map(of).sum::<usize>();
        assert_eq!(with("window"), parts(|host| host.windows.len()), "{name}");
        assert_eq!(with("change"), parts(|host| host.changes.len()), "{name}");
        assert_eq!(with("difference"), report.differences().count(), "{name}");
        let last = lines.last().unwrap();
        assert_eq!(last["event"], "summary", "{name}");
        assert_eq!(last["exit"], report.exit().code(), "{name}");
        assert_eq!(last["summary"], serde_json::to_value(report.summary).unwrap(), "{name}");
    }
}

#[test]
fn a_difference_is_a_line_with_its_host_and_cause() {
    let report = reports::drifted();
    let lines = parse(&written("jsonl", &report));
    let told: Vec<String> = lines
        .iter()
        .filter(|line| line["event"] == "difference")
        .map(|line| format!("{} {} {}", line["host"], line["cause"], line["subject"]).replace('"', ""))
        .collect();
    assert!(told.contains(&"ctl2 host net.ipv4.tcp_keepalive_time".to_owned()), "{told:#?}");
    assert_eq!(told.last().unwrap(), "ctl4 policy ctl4");
    let compared = report.drift.unwrap();
    assert_eq!(lines.last().unwrap()["baselines"], serde_json::to_value(compared.baselines).unwrap());
}

#[test]
fn a_run_tells_what_happens_on_stdout_and_in_files_beside_its_answer() {
    let rig = Rig::new(2);
    let files =
        ["--report", "jsonl=run.jsonl", "--report", "junit=run.xml", "--report", "prometheus=run.prom"];
    let answer = rig.trueup(&[&["audit", "--format", "jsonl"], files.as_slice()].concat());
    answer.exits(2);
    let lines = parse(&answer.out);
    let names: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(names[0], "probe_started", "{names:?}");
    let number = |event: &str| names.iter().filter(|name| **name == event).count();
    assert_eq!((number("probing"), number("probed")), (2, 2), "{names:?}");
    assert_eq!(lines[0]["hosts"], 2);
    assert!(lines[0]["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(names.last(), Some(&"summary"));
    let file = |name: &str| std::fs::read_to_string(rig.folder.path().join(name)).unwrap();
    assert_eq!(file("run.jsonl"), answer.out);
    super::junit::parse(&file("run.xml"));
    assert!(file("run.prom").contains("trueup_last_run_duration_seconds{command=\"audit\"} "));

    // On a terminal (`script` makes one) the hosts under way have a table of their own, and no lines.
    let command = format!("{} audit -i hosts >/dev/null", env!("CARGO_BIN_EXE_trueup"));
    let terminal = std::process::Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .current_dir(rig.folder.path())
        .env("TERM", "xterm")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&terminal.stdout);
    for part in ["reading hosts [", "2 under way", "ctl1", "ctl2"] {
        assert!(shown.contains(part), "no `{part}` in {shown:?}");
    }
    assert!(!shown.contains("ctl1: read"), "{shown:?}");

    let answer = rig.go(&["remediate", "--format", "jsonl"]);
    answer.exits(0);
    let lines = parse(&answer.out);
    let with = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!(with("batch_started").len(), 2);
    let done = with("step_done");
    assert!(!done.is_empty());
    assert!(done.iter().all(|line| line["seconds"].as_f64().is_some() && line["changed"].is_boolean()));
    assert!(with("change").iter().all(|line| line["outcome"] == "changed"));
}
