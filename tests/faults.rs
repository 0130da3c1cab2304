//! What goes wrong, through the real binary and real sshds: each fault has a clear message, and nothing
//! stays changed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

use crate::support::rig::{Answer, Rig, soon};
use crate::support::sshd::{SUDO_REFUSES, SUDO_WANTS_PASSWORD, Sshd, sudo_with_password};

/// Nothing of the hosts is read, let alone changed.
#[test]
fn a_bad_input_ends_the_run_before_any_host_is_touched() {
    let rig = Rig::new(1);
    let check = |words: &[&str], says: &[&str]| {
        rig.trueup(words).exits(1).says(says);
    };
    let play = |name: &str, text: &str| rig.file(name, &format!("- hosts: all\n  tasks:\n{text}"));
    play("key.yml", "    - name: x\n      oslo_confg: {src: x.j2}\n");
    check(&["audit", "key.yml"], &["oslo_confg", "--> key.yml:4:7", "hint: did you mean `oslo_config`?"]);
    rig.file("top.yml", "- hosts: all\n  seriel: 1\n  tasks: []\n");
    check(&["remediate", "top.yml", "--yes"], &["seriel", "--> top.yml:2:3", "hint: did you mean `serial`?"]);
    play("template.yml", "    - name: x\n      sysctl: {src: mine.j2, dest: /etc/sysctl.d/9.conf}\n");
    fs::create_dir(rig.folder.path().join("templates")).unwrap();
    rig.file("templates/mine.j2", "# a\nnet.ipv4.tcp_retries2 = {{ retires }}\n");
    check(&["remediate", "template.yml", "--yes"], &["`retires`", "mine.j2:2"]);
    check(&["audit", "none.yml"], &["none.yml"]);
    rig.file("hosts", "ctl1 ansible_port=22\n[group\nctl2\n");
    check(&["audit"], &["[group", "hosts:2:"]);
    rig.file("hosts", "ctl1 ansible_port=many\n");
    check(&["audit"], &["ansible_port", "many"]);
    rig.file("hosts", "[empty]\n");
    check(&["audit"], &["no host"]);
    fs::remove_file(rig.folder.path().join("hosts")).unwrap();
    check(&["audit"], &["hosts"]);
    // The log would tell: the one connection in it is that of this audit.
    rig.inventory("");
    rig.trueup(&["audit"]).exits(2);
    soon("the log shows the connection", || log(&rig.sshds[0]).contains("Connection from"));
    assert_eq!(log(&rig.sshds[0]).matches("Connection from").count(), 1);
}

fn log(sshd: &Sshd) -> String {
    fs::read_to_string(sshd.path("log")).unwrap_or_default()
}

/// Breaks `ctl2` by its variables, and says how that is reported; `ctl1` is read all the same.
#[track_caller]
fn unreachable(rig: &Rig, variables: &str, says: &str, hint: &str) {
    rig.inventory(&format!("ctl2 {variables}\n"));
    alone(rig, &rig.trueup(&["audit", "--format", "json"]), 4, "unreachable", says, hint);
}

#[track_caller]
fn alone(rig: &Rig, answer: &Answer, code: i32, status: &str, says: &str, hint: &str) {
    let said = format!("ctl2: {says}\n  hint: {hint}");
    answer.exits(code).says(&[&said]);
    assert_eq!(answer.says(&["ctl1: read"]).stands(), ["findings", status]);
    assert_eq!(answer.json()["hosts"]["ctl2"]["error"]["message"], says);
    assert_eq!(rig.restarts().concat(), Vec::<String>::new());
    soon("the end of all that the run began", || rig.leftovers().is_empty());
}

#[test]
fn a_host_that_cannot_be_reached_is_reported_and_the_others_go_on() {
    let rig = Rig::new(2);
    let before = rig.snapshot();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    unreachable(
        &rig,
        &format!("ansible_port={free}"),
        &format!("connection to `127.0.0.1` port {free} refused"),
        &format!("does sshd run there? `ssh -v -p {free} 127.0.0.1` shows"),
    );
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    unreachable(
        &rig,
        &format!("ansible_port={port} ansible_timeout=1"),
        "no connection to `127.0.0.1` within 1 s",
        "is the host up, and no firewall before it?",
    );
    unreachable(
        &rig,
        "ansible_host=no-such-host.invalid",
        "the name `no-such-host.invalid` does not resolve",
        "try `getent hosts no-such-host.invalid`",
    );
    let (sshd, other) = (&rig.sshds[1], Sshd::start());
    let port = sshd.port();
    sshd.write_ssh_config("user_key", "none");
    unreachable(
        &rig,
        "",
        "the host key of `127.0.0.1` is unknown",
        &format!("`ssh-keyscan -p {port} 127.0.0.1 >> ~/.ssh/known_hosts`"),
    );
    let key = fs::read_to_string(other.path("host_key.pub")).unwrap();
    fs::write(sshd.path("changed"), format!("[127.0.0.1]:{port} {key}")).unwrap();
    sshd.write_ssh_config("user_key", "changed");
    unreachable(
        &rig,
        "",
        "the host key of `127.0.0.1` has CHANGED",
        &format!("if the host was installed anew: `ssh-keygen -R '[127.0.0.1]:{port}'`"),
    );
    fs::copy(other.path("user_key"), sshd.path("wrong_key")).unwrap();
    sshd.write_ssh_config("wrong_key", "known_hosts");
    unreachable(&rig, "ansible_user=root", "authentication as `root` failed", "`ssh-copy-id root@HOST`");

    // A run that changes things goes on with the others, too, and says so with its exit code.
    rig.go(&["remediate"]).exits(4).says(&["batch 1 of 1: ctl1", "restart cinder-volume.service: done"]);
    let after = rig.snapshot();
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1], before[1]);
}

#[test]
fn sudo_that_wants_a_password_or_refuses_is_told_from_a_failure() {
    let rig = Rig::new(2);
    let before = rig.snapshot();
    let (says, hint) = ("sudo wants a password", "-K asks for it");
    rig.sshds[1].stub("sudo", SUDO_WANTS_PASSWORD);
    alone(&rig, &rig.trueup(&["audit", "--format", "json"]), 3, "failed", says, hint);
    rig.sshds[1].stub("sudo", SUDO_REFUSES);
    let refused = "sudo refused: ops is not in the sudoers file.";
    alone(
        &rig,
        &rig.trueup(&["audit", "--format", "json"]),
        3,
        "failed",
        refused,
        "`sudo -l` on the host says",
    );
    for sshd in &rig.sshds {
        sshd.stub("sudo", &sudo_with_password("pa ss"));
    }
    // Off a terminal, passwords are read from standard input.
    let typed = |password: &str| {
        let mut command = rig.command(&["audit", "-K"]);
        let file = rig.file("typed", &format!("{password}\n"));
        command.stdin(Stdio::from(fs::File::open(file).unwrap()));
        rig.finish(rig.spawn(command))
    };
    typed("pa ss").exits(2).says(&["ctl1: read"]);
    typed("wrong").exits(3).says(&["sudo wants a password"]);
    let nobody = rig.trueup(&["audit", "-K"]);
    nobody.exits(1).says(&["no password was given for `sudo password", "standard input is at its end"]);
    assert_eq!(rig.snapshot(), before);
    // A host that took the login and then hangs costs its deadline and nothing else.
    rig.sshds[0].stub("sudo", "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n");
    let hanging = format!("#!/bin/sh\nexec tail -f {}/etc/os-release\n", rig.sshds[1].root().display());
    rig.sshds[1].stub("sudo", &hanging);
    let answer = rig.trueup(&["audit", "--host-deadline", "8", "--format", "json"]);
    answer.exits(4).says(&["ctl2: no answer within 8 s while running `sh -s`\n  hint: the host accepts"]);
    assert_eq!(answer.stands(), ["findings", "unreachable"]);
    soon("the end of what hangs", || rig.leftovers().is_empty());

    // Ctrl-C while a host is read.
    let child = rig.spawn(rig.command(&["audit"]));
    soon("the command that hangs", || rig.leftovers().len() > 2);
    child.signal("INT");
    rig.finish(child).exits(130).says(&["interrupted: ending what is under way"]);
    soon("the end of what hangs", || rig.leftovers().is_empty());
    assert_eq!(rig.snapshot(), before);
}

/// There is a finding that says that something is not known, and why.
#[track_caller]
fn unknown(answer: &Answer, why: &str) {
    let report = answer.json();
    let findings = report["hosts"]["ctl1"]["findings"].as_array().unwrap();
    let unknown = findings.iter().find(|finding| finding["status"] == "unknown");
    assert!(unknown.is_some_and(|finding| finding.to_string().contains(why)), "{report:#}");
}

#[test]
fn what_cannot_be_read_is_never_compliant() {
    let rig = Rig::new(1);
    let conf = rig.host("ctl1").path("etc/cinder/cinder.conf");
    rig.host("ctl1").write("etc/cinder/cinder.conf", b"[DEFAULT]\nx = \xff\n");
    let (before, answer) = (rig.snapshot(), rig.go(&["remediate", "-t", "heartbeat", "--format", "json"]));
    unknown(answer.exits(2), "UTF-8");
    assert_eq!(rig.snapshot(), before);
    // A file that this user may not read. Root may read all, so root becomes somebody else first.
    fs::write(&conf, "[DEFAULT]\n").unwrap();
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::metadata(&conf).unwrap().uid() == 0 {
        let folder = rig.sshds[0].root();
        fs::set_permissions(folder.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        let nobody = "exec setpriv --reuid 65534 --regid 65534 --clear-groups -- \"$@\"";
        let sudo = format!("#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; {nobody}\n");
        rig.sshds[0].stub("sudo", &sudo);
    }
    let answer = rig.trueup(&["audit", "-t", "heartbeat", "--format", "json"]);
    unknown(answer.exits(2), "ermission denied");
}

/// A run that fails on `ctl1`: everything is as it was, `ctl2` was never touched.
#[track_caller]
fn put_back(rig: &Rig, words: &[&str], code: i32, says: &[&str]) -> Answer {
    let before = rig.snapshot();
    let answer = rig.trueup(words);
    answer.exits(code).says(says);
    is_as_before(rig, &before);
    answer
}

type Trees = Vec<std::collections::BTreeMap<std::path::PathBuf, (u32, Vec<u8>)>>;

#[track_caller]
fn is_as_before(rig: &Rig, before: &Trees) {
    soon("the end of what was interrupted", || rig.leftovers().is_empty());
    let after = rig.snapshot();
    for (was, is) in before.iter().zip(&after) {
        let paths = was.keys().chain(is.keys());
        let differ: Vec<_> = paths.filter(|path| was.get(*path) != is.get(*path)).collect();
        assert_eq!(differ, Vec::<&std::path::PathBuf>::new());
    }
    for host in rig.cluster.hosts() {
        for key in ["time", "intvl", "probes"] {
            let value = host.read(&format!("proc/sys/net/ipv4/tcp_keepalive_{key}"));
            assert_eq!(
                value,
                format!(
                    "{}\n",
                    match key {
                        "time" => 60,
                        "intvl" => 5,
                        _ => 2,
                    }
                )
            );
        }
        for unit in ["rabbitmq-server", "cinder-scheduler", "cinder-volume"] {
            assert_ne!(host.pid(unit), 0, "{unit} runs");
        }
    }
    for host in &rig.cluster.hosts()[1..] {
        assert_eq!(host.restarts(), Vec::<String>::new(), "the run stopped before {}", host.name());
    }
}

const GO: [&str; 6] = ["remediate", "--yes", "--settle", "0", "--gate-deadline", "20"];

#[test]
fn a_service_that_does_not_come_back_puts_the_host_back_and_stops_the_run() {
    let rig = Rig::new(2);
    rig.breaks_when_remedied("ctl1", "cinder-volume");
    let answer = put_back(
        &rig,
        &[&GO[..], &["--format", "json"]].concat(),
        3,
        &[
            "batch 1 of 2: ctl1",
            "ctl1: restart cinder-scheduler.service: done",
            "ctl1: restart cinder-volume.service: FAILED: not healthy after the restart: \
             awaited cinder-volume.service active, seen: failed (failed)",
            "ctl1: putting everything back",
            "ctl1: everything is back",
        ],
    );
    let names = ["cinder-scheduler", "cinder-volume", "cinder-scheduler", "cinder-volume"];
    assert_eq!(rig.host("ctl1").restarts(), names);
    let report = answer.json();
    let outcomes = |host: &str| -> Vec<String> {
        let rows = report["hosts"][host]["changes"].as_array().unwrap();
        rows.iter().map(|row| row["outcome"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(report["hosts"]["ctl1"]["status"], "failed");
    assert_eq!(outcomes("ctl1").last().unwrap(), "failed");
    assert!(outcomes("ctl1")[..6].iter().all(|outcome| outcome == "rolled_back"), "{report:#}");
    assert!(outcomes("ctl2").iter().all(|outcome| outcome == "not_reached"), "{report:#}");
}

#[test]
fn a_service_that_comes_back_and_then_ends_is_noticed() {
    let rig = Rig::new(2);
    // The one that was restarted first ends, with exit status 0, while the other one restarts.
    rig.before_systemctl(
        "ctl1",
        "if [ \"$1 $2\" = 'restart cinder-volume.service' ] && grep -q 'threshold = 15' $root/etc/cinder/cinder.conf
        then real stop cinder-scheduler.service; fi",
    );
    put_back(
        &rig,
        &["remediate", "--yes", "--settle", "1", "--gate-deadline", "6"],
        3,
        &[
            "ctl1: restart cinder-scheduler.service: done",
            "ctl1: restart cinder-volume.service: FAILED: not healthy after the restart: \
             awaited cinder-scheduler.service active for 7 s, seen: inactive (dead)",
            "ctl1: everything is back",
        ],
    );
}

#[test]
fn a_broker_that_does_not_come_back_puts_the_host_back() {
    let rig = Rig::new(2);
    rig.without_listener_keepalive();
    rig.before_systemctl(
        "ctl1",
        "broken=$root/var/fixture/broken/rabbitmq-server.service
        if [ -e $root/etc/rabbitmq/conf.d/50-trueup.conf ]; then : >$broken; else rm -f $broken; fi",
    );
    put_back(
        &rig,
        &GO,
        3,
        &[
            "ctl1: restart rabbitmq-server.service: FAILED: ",
            "awaited rabbitmq-server.service active, seen: failed",
            "everything is back",
        ],
    );
    assert_eq!(rig.host("ctl1").restarts(), ["rabbitmq-server"; 2], "no client was restarted");
}

#[test]
fn a_check_that_refuses_the_new_file_leaves_the_old_one() {
    let rig = Rig::new(2);
    rig.file(
        "play.yml",
        "- hosts: all\n  become: true\n  serial: 1\n  tasks:\n    - name: Ours\n      template:\n        \
         content: \"new\\n\"\n        dest: /etc/ours.conf\n        validate: grep -q old %s\n",
    );
    rig.host("ctl1").write("etc/ours.conf", "old\n");
    put_back(
        &rig,
        &["remediate", "play.yml", "--yes"],
        3,
        &["ctl1: write /etc/ours.conf: FAILED: ", "the check refused the new file", "everything is back"],
    );
}

/// The write of a file is cut before and after the new file takes the old one's place.
#[test]
fn a_connection_that_is_cut_in_the_middle_of_a_write_leaves_the_old_file() {
    for (program, before_hang) in [("chown", ""), ("mv", "/bin/mv \"$@\";")] {
        let rig = Rig::new(2);
        let before = rig.snapshot();
        let sshd = &rig.sshds[0];
        let marker = sshd.path("marker");
        let hang = format!(
            "#!/bin/sh\ncase $* in\n*/sysctl.d/*) {before_hang} : >{}; exec tail -f {}/etc/os-release ;;\n\
             *) exec /bin/{program} \"$@\" ;;\nesac\n",
            marker.display(),
            sshd.root().display()
        );
        sshd.stub(program, &hang);
        let child = rig.spawn(rig.command(&GO));
        soon("the write", || marker.exists());
        fs::remove_file(sshd.path("bin").join(program)).unwrap();
        sshd.cut();
        rig.finish(child).exits(3).says(&[
            "ctl1: write /etc/sysctl.d/60-trueup.conf: FAILED: the connection was lost while running",
            "ctl1: putting everything back",
            "ctl1: everything is back",
        ]);
        is_as_before(&rig, &before);
    }
}

/// The host begins, and its answer is lost.
fn begins_unheard(rig: &Rig, host: usize) -> std::path::PathBuf {
    let sshd = &rig.sshds[host];
    let marker = sshd.path("unheard");
    let hang = format!(
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; \"$@\"; ended=$?\n\
         case \"$*\" in *' begin '*) [ -e {0} ] || {{ : >{0}; exec tail -f {1}/etc/os-release; }} ;; esac\nexit $ended\n",
        marker.display(),
        sshd.root().display()
    );
    sshd.stub("sudo", &hang);
    marker
}

#[test]
fn a_beginning_whose_answer_was_lost_is_asked_for_again() {
    let rig = Rig::new(2);
    let marker = begins_unheard(&rig, 1);
    let child = rig.spawn(rig.command(&GO));
    soon("the beginning", || marker.exists());
    assert!(rig.host("ctl2").timer().is_some(), "the host has begun");
    rig.sshds[1].cut();
    rig.finish(child)
        .exits(0)
        .says(&["ctl2: waiting for an answer of the host; now: the connection was lost"]);
    assert!(rig.cluster.hosts().iter().all(|host| host.timer().is_none()));
}

#[test]
fn a_host_that_cannot_be_asked_again_frees_itself() {
    let rig = Rig::new(2);
    let before = rig.snapshot();
    let sshd = &rig.sshds[1];
    let marker = begins_unheard(&rig, 1);
    let child = rig.spawn(rig.command(&GO));
    soon("the beginning", || marker.exists());
    sshd.write_ssh_config("no_key", "known_hosts");
    sshd.cut();
    rig.finish(child)
        .exits(3)
        .says(&["whether the run has begun there is not known, nothing else was changed; \
         if it has, the host frees itself 300 s after it last heard of the run"]);
    assert_eq!(rig.host("ctl1").timer(), None, "the other one is let go");
    sshd.write_ssh_config("user_key", "known_hosts");
    rig.trueup(&GO).exits(3).says(&["its last sign of life was 0 s ago; wait for its end"]);
    let host = rig.host("ctl2");
    host.wait(301);
    let timer = host.timer().expect("it is armed");
    assert!(std::process::Command::new(&timer[0]).args(&timer[1..]).status().unwrap().success());
    assert_eq!(rig.snapshot(), before);
    rig.trueup(&GO).exits(0);
}

#[test]
fn an_interrupted_run_puts_the_host_back_and_leaves_no_process() {
    for signal in ["INT", "TERM"] {
        let rig = Rig::new(2);
        let before = rig.snapshot();
        let slow = rig.host("ctl1").path("var/fixture/slow/cinder-scheduler.service");
        rig.host("ctl1").slow("cinder-scheduler", 3600);
        let child = rig.spawn(rig.command(&GO));
        soon("the gate", || {
            child.said().contains("ctl1: waiting for AMQP connections of cinder-scheduler.service (had 2)")
        });
        fs::remove_file(slow).unwrap();
        child.signal(signal);
        rig.finish(child).exits(130).says(&[
            "interrupted: ending what is under way",
            "ctl1: restart cinder-scheduler.service: FAILED: interrupted",
            "ctl1: everything is back",
        ]);
        is_as_before(&rig, &before);
    }
}

#[test]
fn a_host_whose_run_was_killed_puts_itself_back() {
    let rig = Rig::new(2);
    let before = rig.snapshot();
    let slow = rig.host("ctl1").path("var/fixture/slow/cinder-scheduler.service");
    rig.host("ctl1").slow("cinder-scheduler", 3600);
    let child = rig.spawn(rig.command(&GO));
    soon("the gate", || child.said().contains("ctl1: waiting for AMQP connections of cinder-scheduler"));
    child.signal("KILL");
    let killed = rig.finish(child);
    let run = killed.err.split("run ").nth(1).unwrap().split(':').next().unwrap().to_owned();
    soon("the end of what was killed", || rig.leftovers().is_empty());
    assert_ne!(rig.snapshot(), before);

    // Until its lease is over it may be alive; afterwards it is known to be dead.
    let holds = format!("ctl1: refused, nothing was changed: run `{run}` of ");
    let others = ["holds this host since ", "its last sign of life was 0 s ago; wait for its end"];
    rig.trueup(&GO).exits(3).says(&[&[holds.as_str()], &others[..]].concat());
    let hosts = rig.cluster.hosts();
    for host in hosts {
        host.wait(301);
    }
    let hint = format!("`trueup resume {run}` finishes it, `trueup rollback {run}` puts the host back");
    let others = ["it has died: its last sign of life was 301 s ago", &hint];
    rig.trueup(&GO).exits(3).says(&[&[holds.as_str()], &others[..]].concat());

    fs::remove_file(slow).unwrap();
    for host in hosts {
        let timer = host.timer().expect("a timer is armed on every host of the plan");
        let fired = std::process::Command::new(&timer[0]).args(&timer[1..]).output().unwrap();
        assert!(fired.status.success(), "{fired:?}");
        assert_eq!(host.timer(), None);
    }
    is_as_before(&rig, &before);
    assert_eq!(rig.host("ctl1").restarts(), ["cinder-scheduler"; 2], "what was restarted is restarted again");
    rig.trueup(&GO).exits(0);
    assert!(hosts.iter().all(|host| host.timer().is_none()), "what is confirmed is disarmed");
}

#[test]
fn the_run_goes_on_while_not_more_than_the_percentage_failed() {
    let rig = Rig::new(3);
    rig.breaks_when_remedied("ctl1", "cinder-scheduler");
    rig.playbook("2", "50");
    let answer = rig.trueup(&[&GO[..], &["play.yml", "--format", "json"]].concat());
    answer.exits(3).says(&["batch 1 of 2: ctl1, ctl2", "batch 2 of 2: ctl3"]);
    assert_eq!(answer.stands(), ["failed", "compliant", "compliant"]);
    assert_eq!(rig.host("ctl3").restarts(), ["cinder-scheduler", "cinder-volume"]);
}
