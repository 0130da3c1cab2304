//! What differs from the last verified run, whose doing it is, and when that is told.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::rig::{Rig, SECRETS};

/// Every difference of a host as `kind subject: cause, breaks`.
fn told(report: &Value, host: &str) -> Vec<String> {
    let all = report["hosts"][host]["drift"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.map(|one| {
        let breaks: Vec<String> = one["breaks"].as_array().unwrap().iter().map(text).collect();
        format!(
            "{} {}: {}, {}",
            text(&one["kind"]),
            text(&one["subject"]),
            text(&one["cause"]),
            breaks.join(" ")
        )
    })
    .collect()
}

fn edit(rig: &Rig, host: &str, path: &str, from: &str, to: &str) {
    let text = rig.host(host).read(path);
    assert!(text.contains(from), "{text}");
    rig.host(host).write(path, text.replace(from, to));
    touch(rig, host, path);
}

/// The fixture writes files of two hours ago; an editor does not.
fn touch(rig: &Rig, host: &str, path: &str) {
    let file = fs::File::options().write(true).open(rig.host(host).path(path)).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
}

const CONF: &str = "etc/cinder/cinder.conf";

#[test]
fn drift_is_found_attributed_and_gone_after_its_revert() {
    let rig = Rig::new(2);
    rig.go(&["remediate"]).exits(0);
    let folder = rig.folder.path().join(".trueup/baseline");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for host in ["ctl1", "ctl2"] {
        let path = folder.join(format!("{host}.json"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)));
    }
    let before = rig.snapshot();
    rig.trueup(&["drift"]).exits(0).answers(&["No drift: 2 hosts are as the verified run"]);
    rig.trueup(&["drift", "--changes-only"]).exits(0);
    assert_eq!(rig.trueup(&["drift", "--changes-only"]).out, "");

    let conf = rig.host("ctl2").read(CONF);
    rig.host("ctl2").sysctl("net.ipv4.tcp_keepalive_time", "60");
    edit(&rig, "ctl2", CONF, "heartbeat_timeout_threshold = 15", "heartbeat_timeout_threshold = 60");
    let report = rig.trueup(&["drift", "--format", "json"]).exits(2).report();
    assert_eq!(told(&report, "ctl1"), [""; 0]);
    let found = told(&report, "ctl2");
    assert!(
        found.contains(&"sysctl net.ipv4.tcp_keepalive_time: host, tcp-keepalive".to_owned()),
        "{found:#?}"
    );
    assert!(found.iter().any(|one| one.starts_with("file /etc/cinder/cinder.conf: host, ")), "{found:#?}");
    assert!(found.iter().all(|one| one.contains(": host, ")), "{found:#?}");
    rig.trueup(&["drift", "--changes-only"]).exits(2).answers(&[
        "Drift on ctl2: ",
        "Somebody or something on the host changed this:",
        "-heartbeat_timeout_threshold = 15",
        "+heartbeat_timeout_threshold = 60",
        "breaks",
        "heartbeat",
        "Next: `trueup plan`",
    ]);
    let told_in = [
        ("summary", "someone on the host  /etc/cinder/cinder.conf: changed on ctl2"),
        ("jsonl", r#""event":"difference","host":"ctl2""#),
        ("junit", r#"classname="ctl2.drift" name="file /etc/cinder/cinder.conf""#),
        ("sarif", r#""ruleId": "drift/host""#),
        ("prometheus", r#"trueup_drift_differences{host="ctl2",cause="host"} 2"#),
        ("markdown", "| someone on the host | ctl2 | file /etc/cinder/cinder.conf |"),
        ("html", "Somebody or something on the host changed this"),
    ];
    let file = |name: &str| fs::read_to_string(rig.folder.path().join(name)).unwrap();
    let reports = told_in.map(|(format, _)| format!("--report={format}=drift.{format}"));
    let words: Vec<&str> = ["drift"].into_iter().chain(reports.iter().map(String::as_str)).collect();
    rig.trueup(&words).exits(2);
    for (format, expected) in told_in {
        let text = file(&format!("drift.{format}"));
        assert!(text.contains(expected), "{format}: no `{expected}` in\n{text}");
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{format}");
    }
    rig.host("ctl2").sysctl("net.ipv4.tcp_keepalive_time", "5");
    rig.host("ctl2").write(CONF, conf);
    rig.trueup(&["drift", "--report", "prometheus=drift.prometheus"]).exits(0);
    let text = file("drift.prometheus");
    assert!(text.contains(r#"trueup_drift_differences{host="ctl2",cause="host"} 0"#), "{text}");
    assert_eq!(rig.snapshot(), before, "drift changes nothing");
}

#[test]
fn what_a_tool_did_is_told_with_its_log() {
    let rig = Rig::new(1);
    rig.go(&["remediate"]).exits(0);
    let host = rig.host("ctl1");
    let now = jiff::Zoned::now();
    host.write(
        "var/log/dpkg.log",
        format!("{} upgrade cinder-common:all 21.3.1-1 21.3.2-1\n", now.strftime("%Y-%m-%d %H:%M:%S")),
    );
    host.write("var/lib/dpkg/info/cinder-common.list", "/.\n/etc/cinder\n/etc/cinder/cinder.conf\n");
    host.write("var/lib/dpkg/info/hello.list", "/etc/cinder/cinder.conf.d\n");
    // dpkg gives the file the time it has in the package.
    host.write(CONF, host.read(CONF).replace("# Block storage\n", ""));
    let report = rig.trueup(&["drift", "--format", "json"]).exits(2).report();
    assert_eq!(told(&report, "ctl1"), ["file /etc/cinder/cinder.conf: tool, "]);
    let evidence = report["hosts"]["ctl1"]["drift"][0]["evidence"].to_string();
    assert!(evidence.contains("cinder-common upgrade 21.3.1-1 to 21.3.2-1"), "{evidence}");
    assert!(evidence.contains("of the package cinder-common"), "{evidence}");
    rig.trueup(&["drift", "--accept", "--yes"]).exits(0).answers(&["ctl1: what is now is the baseline"]);
    fs::remove_file(host.path("var/log/dpkg.log")).unwrap();
    let conf = host.read(CONF);
    host.write(CONF, format!("# Ansible managed\n{conf}"));
    let report = rig.trueup(&["drift", "--format", "json"]).exits(2).report();
    assert_eq!(told(&report, "ctl1"), ["file /etc/cinder/cinder.conf: tool, "]);
    assert!(report["hosts"]["ctl1"]["drift"][0]["evidence"].to_string().contains("# Ansible managed"));
}

/// Runs a program of this machine, which must succeed.
fn run(program: &str, words: &[&str], folder: &Path) {
    let output = Command::new(program).args(words).current_dir(folder).env("HOME", folder).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A package with one configuration file, in the database of rpm below `root`; its files are not put there.
fn package(rig: &Rig, root: &Path, version: &str) {
    let spec = format!(
        "Name: openstack-cinder\nVersion: {version}\nRelease: 1.el9\nEpoch: 1\nSummary: s\nLicense: none\n\
         BuildArch: noarch\n%description\nd\n%install\nmkdir -p %{{buildroot}}/etc/cinder\n\
         echo '[DEFAULT]' >%{{buildroot}}/etc/cinder/cinder.conf\n\
         %files\n%config(noreplace) /etc/cinder/cinder.conf\n"
    );
    let folder = rig.folder.path();
    rig.file("cinder.spec", &spec);
    let top = format!("_topdir {}", folder.join("rpmbuild").display());
    run("rpmbuild", &["-bb", "--quiet", "--define", &top, "cinder.spec"], folder);
    let built = folder.join(format!("rpmbuild/RPMS/noarch/openstack-cinder-{version}-1.el9.noarch.rpm"));
    let database = root.join("var/lib/rpm");
    fs::create_dir_all(&database).unwrap();
    let words = ["-U", "--justdb", "--nodeps", "--nosignature", "--dbpath"];
    let words = [&words[..], &[database.to_str().unwrap(), built.to_str().unwrap()]].concat();
    run("rpm", &words, folder);
}

#[test]
fn what_rpm_did_is_told_from_its_own_database() {
    if Command::new("rpmbuild").arg("--version").output().is_err() {
        let _ = writeln!(
            std::io::stderr(),
            "\nNO RPM ON THIS MACHINE: NOT TESTED: a database of rpm\nhint: sudo apt-get install rpm\n"
        );
        return;
    }
    let rig = Rig::new(1);
    let host = rig.host("ctl1");
    package(&rig, host.root(), "21.3.1");
    let database = host.path("var/lib/rpm");
    let script = format!("#!/bin/sh\nPATH=/usr/bin:/bin exec rpm --dbpath '{}' \"$@\"\n", database.display());
    host.write("bin/rpm", script);
    fs::set_permissions(host.path("bin/rpm"), fs::Permissions::from_mode(0o755)).unwrap();
    rig.go(&["remediate"]).exits(0);
    package(&rig, host.root(), "21.3.2");
    // A file that a package brings has the time at which the package was built.
    host.write(CONF, host.read(CONF).replace("# Block storage\n", ""));
    host.write("etc/sysctl.d/90-own.conf", "kernel.panic = 10\n");
    touch(&rig, "ctl1", "etc/sysctl.d/90-own.conf");
    let report = rig.trueup(&["drift", "--format", "json"]).exits(2).report();
    let told = told(&report, "ctl1");
    assert!(told.contains(&"file /etc/cinder/cinder.conf: tool, ".to_owned()), "{told:?}");
    let evidence = report["hosts"]["ctl1"]["drift"].to_string();
    for part in [
        "of the package openstack-cinder",
        "rpm -qa",
        "openstack-cinder install 21.3.2-1.el9",
        "of no package",
    ] {
        assert!(evidence.contains(part), "no `{part}` in {evidence}");
    }
}

#[test]
fn policy_never_converged_and_no_baseline_are_told_apart() {
    let rig = Rig::new(1);
    let drift = |words: &[&str], code: i32| {
        let answer = rig.trueup(&[&["drift", "--format", "json"], words].concat());
        told(&answer.exits(code).report(), "ctl1")
    };
    let causes = |told: &[String], cause: &str| {
        assert!(
            !told.is_empty() && told.iter().all(|one| one.contains(&format!(": {cause}, "))),
            "{told:#?}"
        );
    };
    causes(&drift(&[], 2), "unknown");
    rig.trueup(&["drift"]).exits(2).answers(&["no verified run has left a baseline"]);
    rig.trueup(&["drift", "--accept", "--yes"])
        .exits(0)
        .answers(&["ctl1: what is now is the baseline, with"]);
    causes(&drift(&[], 2), "never_converged");
    rig.go(&["remediate"]).exits(0);
    assert_eq!(drift(&[], 0), [""; 0]);
    let policy = drift(&["-e", "heartbeat_timeout_threshold=10", "-t", "heartbeat"], 2);
    causes(&policy, "policy");
    assert!(policy[0].ends_with("policy, heartbeat"), "{policy:?}");
    // A waived difference does not count.
    rig.file("waivers.yml", "- {task: heartbeat, hosts: all, reason: r, owner: o, until: 2999-12-31}\n");
    causes(&drift(&["-e", "heartbeat_timeout_threshold=10", "-t", "heartbeat"], 0), "policy");
}

#[test]
fn what_is_accepted_was_listed_and_agreed_to() {
    let rig = Rig::new(1);
    rig.go(&["remediate"]).exits(0);
    // A file is newer than its reader, which owes a restart, only where their times differ: both are whole seconds.
    std::thread::sleep(std::time::Duration::from_secs(2));
    // Where nothing differs nobody is asked.
    rig.trueup(&["drift", "--accept"]).exits(0).answers(&["ctl1: what is now is the baseline"]);
    let listed = [
        "Somebody or something on the host changed this:",
        "/etc/cinder/cinder.conf: changed",
        "-# Block storage",
        "net.ipv4.tcp_keepalive_time: 5 → 60",
        "waived until 2999-12-31 by o",
        "breaks   tcp-keepalive",
        // No task looks at this.
        "/etc/sysctl.d/90-own.conf: there",
        "+kernel.panic = 10",
        "nobody can be asked",
        "hint: look at `trueup drift` first, then give --yes",
    ];
    rig.host("ctl1").sysctl("net.ipv4.tcp_keepalive_time", "60");
    edit(&rig, "ctl1", CONF, "# Block storage\n", "");
    rig.host("ctl1").write("etc/sysctl.d/90-own.conf", "kernel.panic = 10\n");
    touch(&rig, "ctl1", "etc/sysctl.d/90-own.conf");
    rig.file("waivers.yml", "- {task: tcp-keepalive, hosts: all, reason: r, owner: o, until: 2999-12-31}\n");
    let baseline = || fs::read(rig.folder.path().join(".trueup/baseline/ctl1.json")).unwrap();
    let before = baseline();
    let answer = rig.trueup(&["drift", "--accept"]);
    answer.exits(1);
    // What was changed in the same second has no order of its own.
    for part in listed {
        assert!(answer.err.contains(part), "no `{part}` in {}", answer.err);
    }
    assert!(baseline() == before, "nobody agreed");
    rig.trueup(&["drift", "--yes"]).exits(1).says(&["--accept"]);
    let on_a_terminal = |typed: &str| {
        let command = format!("{} drift -i hosts --accept", env!("CARGO_BIN_EXE_trueup"));
        let mut script = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .current_dir(rig.folder.path())
            .env_remove("ANSIBLE_INVENTORY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = script.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, shown) = on_a_terminal("n\n");
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        shown.contains("Take all of this as the baseline") && shown.contains("the baseline stays as it was")
    );
    assert!(baseline() == before, "it was refused");
    let (code, shown) = on_a_terminal("y\n");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("ctl1: what is now is the baseline"), "{shown}");
    // What no task asks for is told no more; what does not hold, as long as it does not.
    let report = rig.trueup(&["drift", "--format", "json"]).report();
    let told = told(&report, "ctl1");
    assert!(!told.is_empty() && told.iter().all(|one| one.contains(": never_converged, ")), "{told:?}");
    // A baseline that cannot be read can still be replaced.
    rig.file(".trueup/baseline/ctl1.json", "{}");
    rig.trueup(&["drift"]).exits(1).says(&["not a baseline", "`trueup drift --accept`"]);
    rig.trueup(&["drift", "--accept", "--yes"]).exits(0).says(&["not a baseline"]);
    rig.trueup(&["drift"]).exits(2).answers(&["(never converged)"]);
}

#[test]
fn hosts_services_and_unreachable_hosts() {
    let rig = Rig::new(3);
    rig.go(&["remediate"]).exits(0);
    let hosts = fs::read_to_string(rig.folder.path().join("hosts")).unwrap();
    let without = |name: &str| -> String {
        hosts.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect()
    };
    rig.file("hosts", &without("ctl3"));
    rig.trueup(&["drift"]).exits(2).answers(&["Our own playbook", "ctl3: no longer in the inventory"]);
    rig.trueup(&["drift", "--accept", "--yes"])
        .exits(0)
        .answers(&["ctl3: no longer in the inventory, forgotten"]);
    // The window with a broker that nobody reads any more is not known.
    let known = ["--skip-tags", "detection-window"];
    rig.trueup(&[&["drift"], &known[..]].concat()).exits(0);
    rig.file("hosts", &hosts);
    rig.trueup(&["drift"]).exits(2).answers(&["ctl3: in the inventory"]);
    rig.trueup(&[&["drift", "--limit", "ctl1,ctl2"], &known[..]].concat()).exits(0);
    rig.trueup(&["drift", "--accept", "--yes", "-l", "ctl3"]).exits(0);
    rig.sshds[2].cut();
    let lost = hosts.replace(&rig.sshds[2].port().to_string(), "1");
    rig.file("hosts", &lost);
    rig.host("ctl1").sysctl("net.ipv4.tcp_retries2", "6");
    let answer = rig.trueup(&["drift", "--format", "json"]);
    let report = answer.exits(4).report();
    assert_eq!(report["hosts"]["ctl3"]["status"], "unreachable");
    let found = told(&report, "ctl1");
    assert!(found.iter().any(|one| one.starts_with("sysctl net.ipv4.tcp_retries2: host, ")), "{found:#?}");
    rig.trueup(&["drift", "--accept", "--yes"]).exits(4).says(&["ctl3: ", "its baseline stays as it was"]);
}

#[test]
fn a_changed_verdict_is_told_once() {
    let rig = Rig::new(1);
    rig.go(&["remediate"]).exits(0);
    let log = rig.folder.path().join("told");
    let notify = "{ echo \"$TRUEUP_VERDICT $TRUEUP_EXIT\"; cat >report.json; } >>told";
    let run = |code: i32, expected: &[&str]| {
        let answer = rig.trueup(&["drift", "--keep", "kept", "--notify", notify, "--changes-only"]);
        answer.exits(code);
        let told = fs::read_to_string(&log).unwrap_or_default();
        assert_eq!(told.lines().collect::<Vec<_>>(), expected, "{}", answer.err);
    };
    run(0, &[]);
    run(0, &[]);
    rig.host("ctl1").sysctl("net.ipv4.tcp_keepalive_time", "60");
    run(2, &["drift 2"]);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(rig.folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(told(&report, "ctl1"), ["sysctl net.ipv4.tcp_keepalive_time: host, tcp-keepalive"]);
    run(2, &["drift 2"]);
    // Another difference is another verdict.
    rig.host("ctl1").sysctl("net.ipv4.tcp_keepalive_time", "61");
    run(2, &["drift 2", "drift 2"]);
    rig.host("ctl1").sysctl("net.ipv4.tcp_keepalive_time", "5");
    run(0, &["drift 2", "drift 2", "clean 0"]);
    run(0, &["drift 2", "drift 2", "clean 0"]);
    // A run that cannot do its work says so, once, and leaves the last good report.
    let last = || fs::read_to_string(rig.folder.path().join("kept/last.json")).unwrap();
    let (good, hosts) = (last(), fs::read_to_string(rig.folder.path().join("hosts")).unwrap());
    rig.file("hosts", "ctl1 ansible_port=many\n");
    run(1, &["drift 2", "drift 2", "clean 0", "broken "]);
    run(1, &["drift 2", "drift 2", "clean 0", "broken "]);
    assert_eq!(last(), good);
    let verdict = fs::read_to_string(rig.folder.path().join("kept/verdict.json")).unwrap();
    assert!(verdict.contains("\"verdict\": \"broken\"") && verdict.contains("ansible_port"), "{verdict}");
    rig.file("hosts", &hosts);
    run(0, &["drift 2", "drift 2", "clean 0", "broken ", "clean 0"]);
    // What could not be told is told by the next run.
    rig.host("ctl1").sysctl("net.ipv4.tcp_keepalive_time", "60");
    let broken = ["drift", "--keep", "kept", "--notify", "exit 3"];
    rig.trueup(&broken).exits(1).says(&["the command of --notify failed: exit status: 3", "hint: "]);
    run(2, &["drift 2", "drift 2", "clean 0", "broken ", "clean 0", "drift 2"]);
}

#[test]
fn what_passes_is_not_told() {
    let rig = Rig::new(1);
    rig.go(&["remediate"]).exits(0);
    let host = rig.host("ctl1");
    let bin = host.path("bin");
    fs::create_dir(bin.join("real")).unwrap();
    symlink("../host.sh", bin.join("real/rabbitmqctl")).unwrap();
    fs::remove_file(bin.join("rabbitmqctl")).unwrap();
    // What the first look has seen is over before the second.
    let knob = "proc/sys/net/ipv4/tcp_keepalive_time";
    let script = format!(
        "#!/bin/sh\nroot=${{0%/bin/*}}\nif rm \"$root/var/fixture/passes\" 2>/dev/null; then echo 5 >\"$root/{knob}\"; fi\n\
         exec \"$root/bin/real/rabbitmqctl\" \"$@\"\n"
    );
    host.write("bin/rabbitmqctl", script);
    fs::set_permissions(bin.join("rabbitmqctl"), fs::Permissions::from_mode(0o755)).unwrap();
    host.sysctl("net.ipv4.tcp_keepalive_time", "60");
    host.write("var/fixture/passes", "");
    let answer = rig.trueup(&["drift", "--keep", "kept", "--notify", "echo told >>told"]);
    answer.exits(0).says(&["looking once more before it is told"]);
    assert!(!rig.folder.path().join("told").exists());
}

#[test]
fn two_runs_never_share_a_folder() {
    let rig = Rig::new(1);
    fs::create_dir(rig.folder.path().join("kept")).unwrap();
    let lock = fs::File::create(rig.folder.path().join("kept/lock")).unwrap();
    lock.lock().unwrap();
    rig.trueup(&["drift", "--keep", "kept"]).exits(1).says(&["another drift run is under way in `kept`"]);
    drop(lock);
    rig.trueup(&["drift", "--keep", "kept"]).exits(2);
}
