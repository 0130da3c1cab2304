//! Runs that are put back or finished later, through the real binary and real sshds.

use std::fs;

use crate::support::rig::{Answer, GO, Rig, SECRETS, soon};

/// `trueup COMMAND RUN` with what keeps tests short.
fn later(rig: &Rig, command: &[&str]) -> Answer {
    rig.trueup(&[command, GO].concat())
}

/// The runs of the rig as `trueup runs` lists them, one line each.
fn listed(rig: &Rig) -> String {
    let answer = rig.trueup(&["runs"]);
    answer.exits(0);
    answer.out
}

#[test]
fn a_run_is_put_back_byte_for_byte() {
    let rig = Rig::new(2);
    let before = rig.snapshot();
    rig.go(&["remediate"]).exits(0).answers(&["Undo:", "trueup rollback"]);
    let after = rig.snapshot();
    assert_ne!(after, before);
    assert!(listed(&rig).contains("applied: ctl1, ctl2"), "{}", listed(&rig));

    // One host, then the rest; what is back is not put back twice.
    later(&rig, &["rollback", "last", "--limit", "ctl2"]).exits(0).says(&["ctl2: everything is back"]);
    let half = rig.snapshot();
    assert_eq!((&half[0], &half[1]), (&after[0], &before[1]));
    later(&rig, &["rollback", "last"]).exits(0).says(&["ctl1: everything is back"]);
    assert_eq!(rig.snapshot(), before);
    let restarts = rig.restarts();
    let again = later(&rig, &["rollback", "last"]);
    again.exits(0).answers(&["put back already"]);
    assert_eq!((rig.snapshot(), rig.restarts()), (before, restarts));
    assert!(listed(&rig).contains("put back"), "{}", listed(&rig));
}

#[test]
fn what_somebody_else_has_changed_since_is_shown_and_left() {
    let rig = Rig::new(2);
    let before = rig.snapshot();
    rig.go(&["remediate"]).exits(0);
    let conf = rig.host("ctl2").path("etc/cinder/cinder.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, format!("{text}# a note of mine\n")).unwrap();
    let changed = rig.snapshot();

    let refused = later(&rig, &["rollback", "last"]);
    refused.exits(3).says(&[
        "ctl2: refused, nothing was changed: `/etc/cinder/cinder.conf` was changed by somebody else since",
        "-# a note of mine",
        "--force puts it back all the same",
    ]);
    let said = format!("{}{}", refused.out, refused.err);
    assert!(SECRETS.iter().all(|secret| !said.contains(secret)), "{said}");
    assert_eq!(rig.snapshot(), changed, "nothing is put back on any host");
    later(&rig, &["rollback", "last", "--force"]).exits(0);
    assert_eq!(rig.snapshot(), before);
}

#[test]
fn a_rollback_restarts_nothing_that_is_not_safe() {
    let rig = Rig::new(2);
    rig.without_listener_keepalive();
    for host in rig.cluster.hosts() {
        let conf = host.read("etc/rabbitmq/rabbitmq.conf");
        host.write(
            "etc/rabbitmq/rabbitmq.conf",
            format!("{conf}cluster_partition_handling = pause_minority\n"),
        );
    }
    let once = rig.host("ctl1").path("var/fixture/once");
    rig.before_systemctl(
        "ctl1",
        "if [ \"$1 $2\" = 'restart rabbitmq-server.service' ] && [ -e $root/var/fixture/once ]
        then rm $root/var/fixture/once; : >$root/var/fixture/alarm; fi",
    );
    let before = rig.snapshot();
    rig.go(&["remediate", "--allow-quorum-loss"]).exits(0);
    let (after, restarts) = (rig.snapshot(), rig.restarts());
    let refused = later(&rig, &["rollback", "last"]);
    refused.exits(3).answers(&[
        "ctl1 refused: nothing was changed.",
        "pause_minority",
        "2 hosts: all refused.",
    ]);
    refused.says(&[
        "ctl1: refused, nothing was changed: a restart is not safe: ",
        "go on with --allow-quorum-loss",
    ]);
    // What may pass is waited for.
    rig.host("ctl2").alarm();
    let words = ["rollback", "last", "--allow-quorum-loss", "--gate-deadline", "2"];
    later(&rig, &words).exits(3).says(&[
        "ctl1: waiting for a restart of rabbitmq-server.service, cinder-scheduler.service, cinder-volume.service to be \
         safe; now: an alarm is in force: memory on rabbit@ctl2",
        "ctl1: refused, nothing was changed: a restart was not safe for 2 s: an alarm is in force",
    ]);
    assert_eq!((rig.snapshot(), rig.restarts()), (after, restarts));
    fs::remove_file(rig.host("ctl2").path("var/fixture/alarm")).unwrap();

    // The alarm comes with the first restart on the way back: the others are owed.
    fs::write(once, "").unwrap();
    let owes = later(&rig, &[&words[..], &["--limit", "ctl1"]].concat());
    owes.exits(3).answers(&["ctl1 failed: put the run back.", "an alarm is in force", "goes on with it"]);
    assert!(!rig.host("ctl1").path("etc/rabbitmq/conf.d/50-trueup.conf").exists(), "its files are back");
    assert_eq!(rig.host("ctl1").restarts().last().unwrap(), "rabbitmq-server");
    assert!(rig.host("ctl1").timer().is_some(), "the host does not forget them");
    fs::remove_file(rig.host("ctl1").path("var/fixture/alarm")).unwrap();
    later(&rig, &["rollback", "last", "--allow-quorum-loss"]).exits(0);
    assert_eq!(rig.snapshot(), before);
    let last = rig.host("ctl1").restarts();
    assert_eq!(last[last.len() - 2..], ["cinder-scheduler", "cinder-volume"]);
    assert!(rig.cluster.hosts().iter().all(|host| host.timer().is_none()));
}

#[test]
fn a_run_that_was_killed_is_finished_or_put_back() {
    for (command, code) in [("resume", 0), ("rollback", 0)] {
        let rig = Rig::new(2);
        let before = rig.snapshot();
        let slow = rig.host("ctl1").path("var/fixture/slow/cinder-scheduler.service");
        rig.host("ctl1").slow("cinder-scheduler", 3600);
        let child = rig.spawn(rig.command(&[&["remediate"], GO].concat()));
        soon("the gate", || child.said().contains("ctl1: waiting for AMQP connections of cinder-scheduler"));
        child.signal("KILL");
        rig.finish(child);
        soon("the end of what was killed", || rig.leftovers().is_empty());
        fs::remove_file(slow).unwrap();
        assert!(listed(&rig).contains("interrupted: ctl1, ctl2 (`trueup resume"), "{}", listed(&rig));

        later(&rig, &[command, "last"]).exits(code);
        if command == "resume" {
            rig.trueup(&["audit"]).exits(0);
            assert!(listed(&rig).contains("applied: ctl1, ctl2"), "{}", listed(&rig));
        } else {
            assert_eq!(rig.snapshot(), before);
        }
        for host in rig.cluster.hosts() {
            assert_eq!(host.timer(), None, "{command}: no failsafe is left");
        }
        // The hosts are free again.
        rig.go(&["remediate"]).exits(0);
    }
}

#[test]
fn a_run_that_is_not_there_is_an_error_before_any_host_is_touched() {
    let rig = Rig::new(1);
    for (words, says) in [
        (&["rollback", "last"][..], "no run is recorded in"),
        (&["resume", "20260101T000000Z-0000"], "no run is recorded in"),
        (&["rollback", "last", "--failsafe", "100"], "--failsafe 100 is not above --gate-deadline"),
    ] {
        later(&rig, words).exits(1).says(&[says]);
    }
    assert_eq!(rig.restarts().concat(), Vec::<String>::new());
}

#[test]
fn a_run_is_verified_with_its_own_playbook() {
    let rig = Rig::new(1);
    rig.playbook("2", "0");
    rig.go(&["remediate", "play.yml"]).exits(0);
    let changed = rig.snapshot();
    later(&rig, &["resume", "last"])
        .exits(1)
        .says(&["was made with the playbook `play.yml`", "--playbook play.yml"]);
    later(&rig, &["resume", "last", "--playbook", "play.yml"]).exits(0);
    // The same file, which asks for something else by now.
    let play = fs::read_to_string(rig.folder.path().join("play.yml")).unwrap();
    let other = play.replace("heartbeat_timeout_threshold: 15", "heartbeat_timeout_threshold: 20");
    assert_ne!(other, play);
    rig.file("play.yml", &other);
    let words = ["resume", "last", "--playbook", "play.yml"];
    later(&rig, &words).exits(1).says(&["task `heartbeat` asks for something else on ctl1 now"]);
    assert_eq!(rig.snapshot(), changed);
}

#[test]
fn a_saved_plan_is_applied_for_what_it_was_made_for() {
    let rig = Rig::new(1);
    rig.playbook("2", "0");
    let before = rig.snapshot();
    let plan = |words: &[&str]| {
        rig.trueup(&[&["plan", "-o", "plan.json"], words].concat()).exits(2);
    };
    let refuses = |words: &[&str], says: &[&str]| {
        let calls = rig.host("ctl1").calls();
        later(&rig, &[&["apply", "plan.json"], words].concat()).exits(1).says(says);
        assert_eq!((rig.snapshot(), rig.host("ctl1").calls()), (before.clone(), calls), "no host is touched");
    };
    plan(&["play.yml"]);
    refuses(
        &[],
        &[
            "the plan `plan.json` was made with the playbook `play.yml`, and would be verified with",
            "hint: trueup apply plan.json --playbook play.yml",
        ],
    );
    let vars = ["-e", "heartbeat_timeout_threshold=10"];
    plan(&vars);
    refuses(&[], &["task `heartbeat` asks for something else on ctl1 now", "-e variables", "or plan again"]);
    let words = [&["apply", "plan.json"], &vars[..]].concat();
    later(&rig, &words).exits(0);
    assert!(rig.host("ctl1").read("etc/cinder/cinder.conf").contains("threshold = 10"));
}

#[test]
fn a_run_is_verified_with_its_own_variables() {
    let path = |rig: &Rig| {
        let mut runs = fs::read_dir(rig.folder.path().join(".trueup/runs")).unwrap();
        runs.next().unwrap().unwrap().path().join("run.json")
    };
    let killed = |rig: &Rig, vars: &str| {
        let slow = rig.host("ctl1").path("var/fixture/slow/cinder-scheduler.service");
        rig.host("ctl1").slow("cinder-scheduler", 3600);
        let child = rig.spawn(rig.command(&[&["remediate", "-e", vars], GO].concat()));
        soon("the gate", || child.said().contains("ctl1: waiting for AMQP connections of cinder-scheduler"));
        child.signal("KILL");
        rig.finish(child);
        soon("the end of what was killed", || rig.leftovers().is_empty());
        fs::remove_file(slow).unwrap();
        fs::read_to_string(path(rig)).unwrap()
    };
    let has_ten = |rig: &Rig| rig.host("ctl1").read("etc/cinder/cinder.conf").contains("threshold = 10");

    let rig = Rig::new(1);
    let recorded = killed(&rig, "heartbeat_timeout_threshold=10");
    assert!(recorded.contains("\"heartbeat_timeout_threshold\": \"10\""), "{recorded}");
    later(&rig, &["resume", "last", "-e", "heartbeat_timeout_threshold=15"])
        .exits(1)
        .says(&["asks for something else on ctl1 now", "or put it back with `trueup rollback "]);
    later(&rig, &["resume", "last"]).exits(0);
    assert!(has_ten(&rig));

    let rig = Rig::new(1);
    let vars = "{heartbeat_timeout_threshold: 10, ansible_become_password: s3cret-rpc}";
    let recorded = killed(&rig, vars);
    assert!(!recorded.contains("s3cret") && !recorded.contains("heartbeat"), "{recorded}");
    later(&rig, &["resume", "last"])
        .exits(1)
        .says(&["-e variables that hold a secret and were not recorded", "with the same -e"]);
    later(&rig, &["resume", "last", "-e", vars]).exits(0);
    assert!(has_ten(&rig));
}
