//! Two readings of one host, and whose doing the difference is.

use super::*;
use crate::facts::history::{History, Operation};
use crate::facts::{Facts, FileFact, Package, Process, Reading, Unit};
use crate::plan::content::sha256;

/// When the baseline was read.
const THEN: i64 = 1_000_000;

fn file(text: &str, modified_at: i64) -> Reading<FileFact> {
    Reading::Known(FileFact {
        content: text.into(),
        mode: 0o644,
        owner: "root".into(),
        group: "root".into(),
        modified_at,
        sha256: sha256(text.as_bytes()),
        link: None,
    })
}

const CONF: &str = "/etc/cinder/cinder.conf";

fn host(read_at: i64) -> Facts {
    let mut facts = Facts { host: "ctl1".into(), read_at, booted_at: 1, ..Facts::default() };
    facts.files.insert(CONF.into(), file("[DEFAULT]\ntransport_url = rabbit://u:s3cret@a/\na = 1\n", 500));
    facts.folders.insert("/etc/sysctl.d".into(), Reading::Known(vec!["50.conf".into()]));
    facts.files.insert("/etc/sysctl.d/50.conf".into(), file("net.ipv4.tcp_retries2 = 15\n", 500));
    facts.sysctls.insert("net.ipv4.tcp_retries2".into(), Reading::Known("15".into()));
    facts
}

/// The same host an hour later, with what package tools did.
fn later(operations: &[(i64, &str, &str)]) -> Facts {
    let operation = |(at, package, what): &(i64, &str, &str)| Operation {
        at: *at,
        package: (*package).to_owned(),
        what: (*what).to_owned(),
        source: "/var/log/dpkg.log".into(),
        by: None,
    };
    let history = History {
        operations: operations.iter().map(operation).collect(),
        owners: [(CONF.to_owned(), "cinder-common".to_owned())].into(),
    };
    Facts { history: Some(history), ..host(THEN + 3600) }
}

/// Every difference as `kind subject before → now: cause`.
#[track_caller]
fn check(now: &Facts, expected: &[&str]) -> Vec<Difference> {
    let found = facts::differences(&host(THEN).masked(), now);
    let told: Vec<String> = found
        .iter()
        .map(|one| format!("{:?} {} {} → {}: {:?}", one.kind, one.subject, one.before, one.now, one.cause))
        .collect();
    assert_eq!(told, expected);
    found
}

#[test]
fn what_is_the_same_is_no_difference() {
    let mut now = later(&[(THEN + 10, "hello", "install 1")]);
    now.processes.insert(7, Process { pid: 7, ..Process::default() });
    now.booted_at = THEN + 100;
    check(&now, &[]);
}

#[test]
fn a_file_that_was_edited_is_somebodys_on_the_host() {
    let mut now =
        later(&[(THEN - 100, "cinder-common", "upgrade 1 to 2"), (THEN + 10, "hello", "install 1")]);
    let text = "[DEFAULT]\ntransport_url = rabbit://u:s3cret@a/\na = 2\n";
    now.files.insert(CONF.into(), file(text, THEN + 1000));
    let found = check(&now, &["File /etc/cinder/cinder.conf as it was left → changed: Host"]);
    assert!(
        found[0].diff.contains("-a = 1\n+a = 2\n") && !found[0].diff.contains("s3cret"),
        "{}",
        found[0].diff
    );
    assert!(found[0].evidence[0].text.contains("of the package cinder-common"), "{:?}", found[0].evidence);
    // Nobody read what package tools did.
    now.history = None;
    check(&now, &["File /etc/cinder/cinder.conf as it was left → changed: Unknown"]);
    // An old time says nothing about when it was put there.
    let mut now = later(&[]);
    now.files.insert(CONF.into(), file(text, 400));
    check(&now, &["File /etc/cinder/cinder.conf as it was left → changed: Unknown"]);
}

#[test]
fn a_changed_password_is_told_without_it() {
    let mut now = later(&[]);
    now.files
        .insert(CONF.into(), file("[DEFAULT]\ntransport_url = rabbit://u:0ther@a/\na = 1\n", THEN + 1000));
    let found = check(
        &now,
        &["File /etc/cinder/cinder.conf as it was left → changed in a password or other secret: Host"],
    );
    assert!(found[0].diff.is_empty());
}

#[test]
fn a_file_that_a_tool_wrote_is_the_tools() {
    let edited = |text: &str, at: i64, operations: &[(i64, &str, &str)]| {
        let mut now = later(operations);
        now.files.insert(CONF.into(), file(text, at));
        check(&now, &["File /etc/cinder/cinder.conf as it was left → changed: Tool"]).remove(0)
    };
    // dpkg keeps the time that the file has in the package.
    let one = edited("a = 2\n", 600, &[(THEN + 900, "cinder-common", "upgrade 1 to 2")]);
    assert_eq!(one.evidence[1].source, "/var/log/dpkg.log");
    assert!(one.evidence[1].text.ends_with("cinder-common upgrade 1 to 2"), "{:?}", one.evidence);
    // A script of another package wrote it.
    edited("a = 2\n", THEN + 905, &[(THEN + 900, "debconf", "configure 2")]);
    let one = edited("# Ansible managed\na = 2\n", THEN + 905, &[]);
    assert_eq!(one.evidence[1].source, format!("{CONF}:1"));
    // Written after the package's own operation, by somebody else.
    let mut now = later(&[(THEN + 900, "cinder-common", "upgrade 1 to 2")]);
    now.files.insert(CONF.into(), file("a = 3\n", THEN + 2000));
    check(&now, &["File /etc/cinder/cinder.conf as it was left → changed: Host"]);
}

#[test]
fn files_come_and_go() {
    let mut now = later(&[]);
    now.folders.insert("/etc/sysctl.d".into(), Reading::Known(vec!["99-new.conf".into()]));
    now.files.remove("/etc/sysctl.d/50.conf");
    now.files.insert("/etc/sysctl.d/99-new.conf".into(), file("net.ipv4.tcp_retries2 = 15\n", THEN + 5));
    check(
        &now,
        &[
            "File /etc/sysctl.d/50.conf there → gone: Host",
            "File /etc/sysctl.d/99-new.conf not there → there: Host",
        ],
    );
    let mut now = later(&[(THEN + 9, "procps", "upgrade 1 to 2")]);
    now.files.insert("/etc/sysctl.d/50.conf".into(), Reading::Absent);
    check(&now, &["File /etc/sysctl.d/50.conf there → gone: Unknown"]);
    // What was not asked for is not known to be new or gone.
    let mut now = later(&[]);
    now.files.insert("/etc/other/new.conf".into(), file("a\n", THEN + 5));
    now.files.remove(CONF);
    check(&now, &[]);
    let mut now = later(&[]);
    now.files.insert(CONF.into(), Reading::Unknown("permission denied".into()));
    check(&now, &["File /etc/cinder/cinder.conf readable → not known: permission denied: Unknown"]);
}

#[test]
fn a_live_setting_follows_its_file_or_somebodys_hand() {
    let set = |now: &mut Facts| {
        now.sysctls.insert("net.ipv4.tcp_retries2".into(), Reading::Known("8".into()));
    };
    let mut now = later(&[]);
    set(&mut now);
    check(&now, &["Sysctl net.ipv4.tcp_retries2 15 → 8: Host"]);
    now.booted_at = THEN + 50;
    check(&now, &["Sysctl net.ipv4.tcp_retries2 15 → 8: Unknown"]);
    let mut now = later(&[]);
    set(&mut now);
    now.files.insert(
        "/etc/sysctl.d/50.conf".into(),
        file("# Ansible managed\nnet.ipv4.tcp_retries2 = 8\n", THEN + 20),
    );
    check(
        &now,
        &[
            "File /etc/sysctl.d/50.conf as it was left → changed: Tool",
            "Sysctl net.ipv4.tcp_retries2 15 → 8: Tool",
        ],
    );
}

#[test]
fn rights_units_and_packages_are_compared() {
    let mut now = later(&[(THEN + 900, "python3-oslo.messaging", "upgrade 14.0.2-1 to 14.0.3-1")]);
    let mut then = host(THEN);
    let package = |version: &str| Package {
        name: "oslo.messaging".into(),
        version: version.into(),
        place: "/usr/lib/python3/dist-packages".into(),
        container: None,
    };
    then.packages = vec![package("14.0.2")];
    now.packages = vec![package("14.0.3")];
    let unit = |enabled: &str| Unit { enabled: enabled.into(), ..Unit::default() };
    then.units.insert("cinder-volume.service".into(), unit("enabled"));
    now.units.insert("cinder-volume.service".into(), unit("disabled"));
    let Some(Reading::Known(file)) = now.files.get_mut(CONF) else { panic!("it was put there") };
    file.mode = 0o600;
    let found = facts::differences(&then, &now);
    let told: Vec<String> = found
        .iter()
        .map(|one| format!("{} {} → {}: {:?}", one.subject, one.before, one.now, one.cause))
        .collect();
    assert_eq!(
        told,
        [
            "/etc/cinder/cinder.conf 0644 root:root → 0600 root:root: Unknown",
            "cinder-volume.service enabled → disabled: Unknown",
            "oslo.messaging 14.0.2 → 14.0.3: Tool",
        ]
    );
}

fn baseline(facts: Facts) -> Baseline {
    Baseline {
        format_version: FORMAT_VERSION.into(),
        trueup: "0".into(),
        saved_at: "2026-11-22T12:00:00Z".into(),
        command: "remediate".into(),
        playbook: "p".into(),
        tasks: BTreeMap::new(),
        findings: Vec::new(),
        facts,
    }
}

#[test]
fn hosts_come_and_go_by_our_own_doing() {
    let baseline = |name: &str| baseline(Facts { host: name.into(), ..Facts::default() });
    let check = |known: &[&str], run: &[&str], inventory: &[&str], whole: bool, expected: &[&str]| {
        let baselines = known.iter().map(|name| ((*name).to_owned(), baseline(name))).collect();
        let audits = run.iter().map(|name| ((*name).to_owned(), Ok(HostAudit::default()))).collect();
        let inventory = inventory.iter().map(|name| (*name).to_owned()).collect();
        let (tasks, cluster) = (Tasks::new(), Cluster::new());
        let now = Now { tasks: &tasks, cluster: &cluster, audits: &audits, inventory: &inventory, whole };
        let found = compare(&baselines, &now).cluster;
        let told: Vec<String> = found.iter().map(|one| format!("{}: {}", one.subject, one.now)).collect();
        assert_eq!(told, expected);
    };
    check(&["a", "b"], &["a", "b"], &["a", "b"], true, &[]);
    check(&["a"], &["a", "b"], &["a", "b"], true, &["b: in the inventory"]);
    check(&["a", "b"], &["a"], &["a"], true, &["b: no longer in the inventory"]);
    check(&["a", "b"], &["a"], &["a", "b"], true, &["b: in no play of this playbook"]);
    check(&["a", "b"], &["a"], &["a", "b"], false, &[]);
    // Before the first verified run nothing is new.
    check(&[], &["a"], &["a"], true, &[]);
}

#[test]
fn a_baseline_survives_its_file_without_secrets() {
    let baseline = baseline(host(THEN));
    let text = to_json(&baseline);
    assert!(!text.contains("s3cret"), "{text}");
    assert_eq!(from_json("b.json", &text).unwrap().facts, host(THEN).masked());
    let newer = text.replacen("\"1.0\"", "\"2.0\"", 1);
    assert!(from_json("b.json", &newer).unwrap_err().message().contains("format 2.0"));
    assert_eq!(from_json("b.json", "{").unwrap_err().place().map(|place| place.line), Some(1));
}
