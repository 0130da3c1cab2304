//! Audit, plan, remediate, apply and verify of whole clusters, through the real binary and real sshds.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::rig::{Rig, SECRETS, soon};
use crate::support::sshd::processes_with;

/// What changes on each host: `(host, what)`.
fn changes(report: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, host) in report["hosts"].as_object().unwrap() {
        for change in host["changes"].as_array().into_iter().flatten() {
            found.push((name.clone(), change["what"].as_str().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn audit_plan_remediate_audit_ends_compliant() {
    let rig = Rig::new(3);
    let before = rig.snapshot();
    rig.trueup(&["audit"]).exits(2).answers(&["heartbeat_timeout_threshold"]);
    let planned = rig.trueup(&["plan", "--format", "json"]);
    let planned = planned.exits(2).report();
    assert_eq!(rig.snapshot(), before, "audit and plan change nothing");
    assert_eq!(rig.restarts().concat(), Vec::<String>::new());

    let watching = AtomicBool::new(true);
    let (done, seen) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = Vec::new();
            while watching.load(Ordering::Relaxed) {
                seen.extend(SECRETS.iter().flat_map(|secret| processes_with(secret)));
            }
            seen
        });
        let done = rig.go(&["remediate", "--format", "json"]);
        watching.store(false, Ordering::Relaxed);
        (done, watch.join().unwrap())
    });
    done.exits(0).says(&["batch 1 of 3: ctl1", "batch 2 of 3: ctl2", "batch 3 of 3: ctl3"]);
    assert_eq!(seen, Vec::<u32>::new(), "a password was in a command line");
    let report = done.report();
    assert_eq!(report["summary"]["compliant"], 3, "{report:#}");
    assert_eq!(changes(&report), changes(&planned), "what was planned was done");
    for restarts in rig.restarts() {
        assert_eq!(restarts, ["cinder-scheduler", "cinder-volume"], "once each, nothing else");
    }
    let conf = rig.host("ctl1").read("etc/cinder/cinder.conf");
    assert!(conf.ends_with("\n[oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 15\n"), "{conf}");
    let mode = |tree: &[std::collections::BTreeMap<std::path::PathBuf, (u32, Vec<u8>)>]| {
        tree[0][std::path::Path::new("etc/cinder/cinder.conf")].0
    };
    let after = rig.snapshot();
    assert_eq!(mode(&after), mode(&before), "the mode of an edited file stays");

    let audit = rig.trueup(&["audit", "--format", "json"]);
    assert_eq!(audit.exits(0).report()["summary"]["findings"], 0);
    let (restarts, again) = (rig.restarts(), rig.go(&["remediate"]));
    again.exits(0);
    assert!(!again.err.contains("batch"), "{}", again.err);
    assert_eq!((rig.snapshot(), rig.restarts()), (after, restarts), "a second run changes nothing");
    rig.trueup(&["verify"]).exits(0);
    rig.host("ctl2").alarm();
    rig.trueup(&["verify"]).exits(2).answers(&["memory on rabbit@ctl2"]);
    soon("the end of all that the run began", || rig.leftovers().is_empty());
}

#[test]
fn a_saved_plan_is_applied_unless_a_host_has_changed() {
    let rig = Rig::new(2);
    let plan = |expected| {
        rig.trueup(&["plan", "-o", "plan.json"])
            .exits(expected)
            .says(&["the plan is saved; apply it with `trueup apply plan.json`"]);
        let saved = std::fs::read_to_string(rig.folder.path().join("plan.json")).unwrap();
        for secret in SECRETS {
            assert!(!saved.contains(secret), "{saved}");
        }
    };
    plan(2);
    // The second host has changed: the first one, whose turn comes before, is not touched either.
    let conf = rig.host("ctl2").read("etc/cinder/cinder.conf");
    rig.host("ctl2").write("etc/cinder/cinder.conf", format!("{conf}# by hand\n"));
    let before = rig.snapshot();
    let refused = rig.go(&["apply", "plan.json", "--format", "json"]);
    let report = refused.exits(3).report();
    assert_eq!(
        report["hosts"]["ctl1"]["changes"][0]["reason"],
        "nothing was begun, because ctl2 changed since the plan was made"
    );
    let why = "`/etc/cinder/cinder.conf` has changed since the plan was made; plan again";
    refused.says(&[&format!("ctl2: refused, nothing was changed: {why}")]);
    assert_eq!(report["hosts"]["ctl2"]["refused"], why);
    let outcomes = |host: &str| -> Vec<&Value> {
        report["hosts"][host]["changes"].as_array().unwrap().iter().map(|row| &row["outcome"]).collect()
    };
    assert!(outcomes("ctl1").iter().all(|outcome| *outcome == "not_reached"), "{report:#}");
    assert!(outcomes("ctl2").iter().all(|outcome| *outcome == "refused"), "{report:#}");
    assert_eq!((&report["summary"]["failed"], &report["summary"]["refused"]), (&0.into(), &1.into()));
    assert_eq!(refused.stands(), ["findings", "findings"], "nothing went wrong on them");
    let told = rig.go(&["apply", "plan.json"]);
    told.exits(3).answers(&["ctl2 refused: nothing was changed.", "1 with findings, 1 refused."]);
    assert!(!told.out.contains("failed"), "{}", told.out);
    assert_eq!(rig.snapshot(), before);
    assert_eq!(rig.restarts().concat(), Vec::<String>::new());

    plan(2);
    let asked = rig.trueup(&["apply", "plan.json"]);
    asked.exits(1).says(&["restart cinder-volume.service", "nobody can be asked", "hint: "]);
    let applied = rig.go(&["apply", "plan.json", "--format", "json"]);
    assert_eq!(applied.exits(0).stands(), ["compliant", "compliant"]);
    rig.trueup(&["audit"]).exits(0);
    // What is done once is not done twice.
    rig.go(&["apply", "plan.json"]).exits(3).says(&["has changed since the plan was made; plan again"]);

    rig.file("plan.json", "{\"format_version\": \"9.0\"");
    rig.go(&["apply", "plan.json"]).exits(1).says(&["`plan.json` is not a plan", "plan.json:1:"]);
}

#[test]
fn what_is_done_can_be_chosen() {
    let rig = Rig::new(2);
    let before = rig.snapshot();
    rig.trueup(&["remediate", "--check", "--diff"])
        .exits(2)
        .answers(&["+net.ipv4.tcp_keepalive_time = 5", "+heartbeat_timeout_threshold = 15"]);
    rig.trueup(&["remediate"]).exits(1).says(&["nobody can be asked", "--yes"]);

    let plan = |words: &[&str]| {
        let answer = rig.trueup(&[&["plan", "--format", "json"], words].concat());
        answer.exits(2).report()
    };
    let check = |words: &[&str], hosts: &[&str], tasks: &[&str]| {
        let report = plan(words);
        let names: Vec<&String> = report["hosts"].as_object().unwrap().keys().collect();
        assert_eq!(names, hosts, "{words:?}");
        let standing = report["hosts"][hosts[0]]["tasks"].as_array().unwrap();
        let ids: Vec<&str> = standing.iter().map(|task| task["task"].as_str().unwrap()).collect();
        assert_eq!(ids, tasks, "{words:?}");
    };
    let all = ["detection-window", "heartbeat", "listener-keepalive", "tcp-keepalive"];
    check(&[], &["ctl1", "ctl2"], &all);
    check(&["--limit", "ctl2"], &["ctl2"], &all);
    check(&["-l", "all:!ctl2"], &["ctl1"], &all);
    check(&["--tags", "oslo"], &["ctl1", "ctl2"], &["heartbeat"]);
    check(&["-t", "tcp-keepalive,heartbeat"], &["ctl1", "ctl2"], &["heartbeat", "tcp-keepalive"]);
    check(&["--skip-tags", "oslo,window"], &["ctl1", "ctl2"], &["listener-keepalive", "tcp-keepalive"]);
    let report = plan(&["-t", "heartbeat", "-e", "heartbeat_timeout_threshold=10", "-l", "ctl1"]);
    let diff = report["hosts"]["ctl1"]["changes"][0]["diff"].as_str().unwrap();
    assert!(diff.contains("\n+heartbeat_timeout_threshold = 10\n"), "{diff}");
    assert_eq!(rig.snapshot(), before);

    rig.go(&["remediate", "-t", "heartbeat", "-l", "ctl2"]).exits(0);
    let threshold = |name: &str| rig.host(name).read("etc/cinder/cinder.conf").contains("threshold = 15");
    assert_eq!((threshold("ctl1"), threshold("ctl2")), (false, true));
    assert_eq!(rig.restarts(), [vec![], vec!["cinder-scheduler", "cinder-volume"]]);

    for (words, says) in [
        (&["audit", "--limit", "ctl9"][..], "ctl9"),
        (&["audit", "-t", "nothing"][..], "no task is left to check"),
        (&["audit", "--format", "xml"][..], "xml"),
        (&["audit", "-e", "{"][..], "{"),
    ] {
        rig.trueup(words).exits(1).says(&[says]);
    }
}

#[test]
fn brokers_restart_before_their_clients_and_one_at_a_time() {
    let rig = Rig::new(3);
    rig.without_listener_keepalive();
    rig.playbook("\"100%\"", "0");
    let answer = rig.go(&["remediate", "play.yml", "--format", "json"]);
    let report = answer.exits(0).report();
    let batches = serde_json::json!([["ctl1"], ["ctl2"], ["ctl3"]]);
    assert_eq!(report["batches"], batches, "whatever `serial` says");
    for restarts in rig.restarts() {
        assert_eq!(restarts, ["rabbitmq-server", "cinder-scheduler", "cinder-volume"]);
    }
    rig.trueup(&["audit", "play.yml"]).exits(0);
    rig.trueup(&["audit"]).exits(0);
}

#[test]
fn batches_are_as_large_as_serial_says() {
    let rig = Rig::new(3);
    rig.playbook("2", "0");
    let answer = rig.go(&["remediate", "play.yml"]);
    answer.exits(0).says(&["batch 1 of 2: ctl1, ctl2", "batch 2 of 2: ctl3"]);
    assert_eq!(rig.restarts().concat().len(), 6);
}
