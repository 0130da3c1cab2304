//! Accepted differences: what does not count, until when, and what is said of it.

use serde_json::Value;

use crate::support::rig::{Rig, soon};

fn waiver(task: &str, hosts: &str, until: &str) -> String {
    format!(
        "- task: {task}\n  hosts: {hosts}\n  reason: firmware 4.2 is awaited\n  owner: network team\n  until: {until}\n"
    )
}

/// Every task that does not hold in the incident.
fn all(hosts: &str, until: &str) -> String {
    ["heartbeat", "tcp-keepalive", "detection-window"].map(|task| waiver(task, hosts, until)).concat()
}

/// Task, standing and findings of every waiver of a report.
fn standings(report: &Value) -> Vec<(String, String, u64)> {
    let rows = report["waivers"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.map(|row| (text(&row["task"]), text(&row["standing"]), row["findings"].as_u64().unwrap())).collect()
}

#[test]
fn a_waived_difference_is_shown_and_does_not_count_until_its_day_is_over() {
    let rig = Rig::new(2);
    let check = |waivers: &str, code: i32, stands: [&str; 2], expected: &[(&str, &str)]| {
        rig.file("waivers.yml", waivers);
        let answer = rig.trueup(&["audit", "--format", "json"]);
        let report = answer.exits(code).report();
        assert_eq!(answer.stands(), stands, "{waivers}");
        let found = standings(&report);
        let found: Vec<(&str, &str)> = found.iter().map(|row| (row.0.as_str(), row.1.as_str())).collect();
        assert_eq!(found, expected, "{waivers}");
        report
    };
    let three =
        |standing| [("heartbeat", standing), ("tcp-keepalive", standing), ("detection-window", standing)];
    check("", 2, ["findings"; 2], &[]);
    let report = check(&all("all", "2999-12-31"), 0, ["compliant"; 2], &three("in_force"));
    assert_eq!(report["summary"]["findings"], 0);
    assert!(report["summary"]["waived"].as_u64().unwrap() > 6, "{report:#}");
    let waived = &report["hosts"]["ctl1"]["findings"][0]["waived"];
    assert_eq!(waived["owner"], "network team");
    assert_eq!(waived["expired"], false);
    assert!(
        report["hosts"]["ctl1"].get("windows_after").is_none(),
        "nothing is promised of what is left alone"
    );
    check(&all("ctl2", "2999-12-31"), 2, ["findings", "compliant"], &three("in_force"));
    let report = check(
        &all("ctl[1:2]", "2026-01-31"),
        2,
        ["findings"; 2],
        &[
            ("heartbeat", "matches_nothing"),
            ("tcp-keepalive", "matches_nothing"),
            ("detection-window", "matches_nothing"),
        ],
    );
    assert_eq!(report["waivers"][0]["fault"], "no host and no group matches `ctl`; did you mean `ctl1`?");
    let report = check(&all("ctl*", "2020-02-29"), 2, ["findings"; 2], &three("expired"));
    assert_eq!(report["hosts"]["ctl1"]["findings"][0]["waived"]["expired"], true);
    check(
        &waiver("listener-keepalive", "all", "2999-12-31"),
        2,
        ["findings"; 2],
        &[("listener-keepalive", "not_needed")],
    );
    let two = [waiver("heartbeat", "ctl1", "2020-02-29"), waiver("heartbeat", "all", "2999-12-31")].concat();
    let report = check(&two, 2, ["findings"; 2], &[("heartbeat", "expired"), ("heartbeat", "in_force")]);
    let findings = report["hosts"]["ctl1"]["findings"].as_array().unwrap();
    let heartbeat = findings.iter().find(|finding| finding["task"] == "heartbeat").unwrap();
    assert_eq!(heartbeat["waived"]["until"], "2999-12-31");
}

#[test]
fn a_person_is_told_what_is_waived_until_when_and_by_whom() {
    let rig = Rig::new(1);
    let text = [
        waiver("heartbeat", "all", "2999-12-31"),
        waiver("tcp-keepalive", "ctl1", "2020-02-29"),
        waiver("hartbeat", "all", "2999-12-31"),
        waiver("heartbeat", "ctl9", "2999-12-31"),
    ];
    rig.file("waivers.yml", &text.concat());
    let answer = rig.trueup(&["audit"]);
    answer
        .exits(2)
        .says(&[
            "this waiver matches nothing: no task has the id `hartbeat`; did you mean `heartbeat`?",
            "waivers.yml:11",
            "no host and no group matches `ctl9`; did you mean `ctl1`?",
        ])
        .answers(&[
            "waived",
            "Waivers that have ended; what they were for counts:",
            "tcp-keepalive on ctl1: ended on 2020-02-29",
            "(waivers.yml:6)",
            "Waivers that match nothing:",
            "hartbeat on ctl1: no task",
            "Waived, so it does not count and is left as it is:",
            "heartbeat on ctl1: until 2999-12-31",
            "waived finding",
        ]);
    assert!(!answer.out.contains("AMQP heartbeats are short"), "{}", answer.out);
    rig.trueup(&["audit", "--limit", "ctl1", "--tags", "tcp-keepalive", "--format", "json"]).exits(2);
}

#[test]
fn what_is_waived_is_left_as_it_is() {
    let rig = Rig::new(2);
    rig.file("waivers.yml", &waiver("tcp-keepalive", "ctl2", "2999-12-31"));
    let planned = rig.trueup(&["plan", "--format", "json"]);
    let planned = planned.exits(2).report();
    let tasks = |host: &str| {
        let changes = planned["hosts"][host]["changes"].as_array().unwrap();
        let of = |change: &Value| change["tasks"].as_array().unwrap().clone();
        changes.iter().flat_map(of).map(|task| task.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(tasks("ctl1").contains(&"tcp-keepalive".to_owned()));
    assert!(!tasks("ctl2").contains(&"tcp-keepalive".to_owned()) && !tasks("ctl2").is_empty());
    let before = rig.host("ctl2").read("proc/sys/net/ipv4/tcp_keepalive_time");
    rig.go(&["remediate"]).exits(0).answers(&["tcp-keepalive on ctl2: until 2999-12-31"]);
    assert_eq!(rig.host("ctl2").read("proc/sys/net/ipv4/tcp_keepalive_time"), before);
    assert_eq!(rig.host("ctl1").read("proc/sys/net/ipv4/tcp_keepalive_time").trim(), "5");
    rig.trueup(&["verify"]).exits(0);
    rig.file("waivers.yml", "");
    rig.trueup(&["verify"]).exits(2).answers(&["tcp_keepalive_time"]);
    // The health of brokers is a task like the others here.
    rig.go(&["remediate"]).exits(0);
    rig.host("ctl2").alarm();
    rig.trueup(&["verify"]).exits(2);
    rig.file("waivers.yml", &waiver("health", "ctl2", "2999-12-31"));
    rig.trueup(&["verify"]).exits(0).answers(&["health on ctl2: until 2999-12-31"]);
}

#[test]
fn waivers_stand_in_a_file_or_in_variables() {
    let rig = Rig::new(2);
    std::fs::create_dir_all(rig.folder.path().join("host_vars")).unwrap();
    std::fs::create_dir_all(rig.folder.path().join("group_vars")).unwrap();
    let variable = |text: &str| format!("trueup_waivers:\n{text}");
    let audit = |words: &[&str]| rig.trueup(&[&["audit", "--format", "json"], words].concat());
    rig.file("host_vars/ctl1.yml", &variable(&all("all", "2999-12-31").replace("  hosts: all\n", "")));
    let answer = audit(&[]);
    assert_eq!(
        answer.exits(2).stands(),
        ["compliant", "findings"],
        "a host's own waiver is for that host alone"
    );
    let source = answer.json()["waivers"][0]["source"].as_str().unwrap().to_owned();
    assert!(source.ends_with("host_vars/ctl1.yml:2"), "{source}");
    rig.file("host_vars/ctl1.yml", "{}\n");
    rig.file("group_vars/all.yml", &variable(&all("ctl2", "2999-12-31")));
    assert_eq!(audit(&[]).exits(2).stands(), ["findings", "compliant"]);
    rig.file("group_vars/all.yml", "{}\n");
    rig.file("accepted.yml", &all("ctl1", "2999-12-31"));
    assert_eq!(audit(&["--waivers", "accepted.yml"]).exits(2).stands(), ["compliant", "findings"]);
}

#[test]
fn mistakes_in_waivers_are_shown_where_they_stand_before_any_host_is_touched() {
    let rig = Rig::new(2);
    std::fs::create_dir_all(rig.folder.path().join("group_vars")).unwrap();
    let variable = |text: &str| format!("trueup_waivers:\n{text}");
    let audit = |words: &[&str]| rig.trueup(&[&["audit"], words].concat());
    let json =
        "{\"trueup_waivers\": [{\"task\": \"heartbeat\", \"until\": \"2999-12-31\", \"owner\": \"o\"}]}";
    audit(&["-e", json]).exits(1).says(&["this waiver has no `reason`", "trueup_waivers of ctl1", "hint: "]);

    let wrong = |text: &str, says: &[&str]| {
        rig.file("waivers.yml", text);
        audit(&[]).exits(1).says(says);
        rig.file("waivers.yml", "");
        rig.file("group_vars/all.yml", &variable(text));
        audit(&[]).exits(1).says(&says[..1]).says(&["group_vars/all.yml:"]);
        rig.file("group_vars/all.yml", "{}\n");
    };
    let good = waiver("heartbeat", "all", "2999-12-31");
    wrong(
        &good.replace("owner:", "ownr:"),
        &["unknown key `ownr` in a waiver", "waivers.yml:4:3", "`owner`"],
    );
    wrong(
        &good.replace("2999-12-31", "soon"),
        &["`until: soon` is not a day", "waivers.yml:5:10", "2026-12-31"],
    );
    wrong(
        &good.replace("  owner: network team\n", ""),
        &["this waiver has no `owner`", "waivers.yml:1:3", "who is asked when it ends"],
    );
    audit(&["--waivers", "nowhere.yml"]).exits(1).says(&["the file of waivers `nowhere.yml` cannot be read"]);
    // The log would tell: the one connection in it is that of this audit.
    audit(&[]).exits(2);
    let log = || std::fs::read_to_string(rig.sshds[0].path("log")).unwrap_or_default();
    soon("the log shows the connection", || log().contains("Connection from"));
    assert_eq!(log().matches("Connection from").count(), 1);
}
