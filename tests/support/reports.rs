//! Reports to write down: recorded ones (`tests/report/*.json`, from `--format json`), and ones made of them.

use std::collections::BTreeMap;
use std::path::Path;

use trueup::audit::{Evidence, Remedy, Standing, Status};
use trueup::drift::Difference;
use trueup::error::HostError;
use trueup::report::{Compared, HostReport, HostStatus, Report};
use trueup::waiver::{Waived, WaiverRow, WaiverStanding};

/// A report that was written by `--format json`.
pub fn recorded(name: &str) -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Three hundred hosts, nearly the same: some differ in a value, some were not read, of some something is not known.
pub fn three_hundred() -> Report {
    let few = recorded("incident");
    let mut report = few.clone();
    report.hosts.clear();
    for number in 1..=300 {
        let mut host: HostReport = few.hosts[["ctl1", "ctl2", "ctl3"][number % 3]].clone();
        for finding in &mut host.findings {
            if finding.subject.ends_with("keepalive_time") && finding.actual == "60" && number % 100 == 7 {
                "7200".clone_into(&mut finding.actual);
            }
            if finding.task == "listener-keepalive" && number % 50 == 9 {
                finding.status = Status::Unknown;
                finding.remedy = Remedy::Manual;
                "unknown: permission denied".clone_into(&mut finding.actual);
                "let trueup read it: run it as root there (`become: true`)".clone_into(&mut finding.mend);
            }
        }
        if number % 75 == 0 {
            let address = format!("10.0.3.{}", number / 75);
            host = HostReport::broken(HostError::ConnectTimeout { address, seconds: 10 });
        }
        report.hosts.insert(format!("node-{number:03}"), host);
    }
    report.count();
    report
}

/// A report of hosts that say what no format may take for its own: markup, quotes, control characters.
pub fn nasty() -> Report {
    let mut report = recorded("plan");
    let mut host = report.hosts["ctl1"].clone();
    let text = "<script>alert(1)</script> & \"quoted\" 'so' `tick` | pipe\\ \u{1b}[31mred\u{0}\u{fffe} {{ 7 * 7 }}\nnew line";
    for finding in &mut host.findings {
        text.clone_into(&mut finding.actual);
        text.clone_into(&mut finding.subject);
        text.clone_into(&mut finding.why);
        finding.evidence.push(Evidence { source: format!("/etc/{text}:4"), text: text.to_owned() });
    }
    for change in &mut host.changes {
        change.what = format!("write {text}");
        change.diff = format!("--- a\n+++ b\n@@ -1 +1 @@\n-``` {text}\n+\u{7}\n");
    }
    report.playbook = Some(text.to_owned());
    report.hosts.insert("host-\"<é>&'".to_owned(), host);
    let broken = HostReport::broken(HostError::Ssh { message: text.to_owned() });
    report.hosts.insert("zz]]>".to_owned(), broken);
    report.count();
    report
}

/// The incident with a waiver in force, one that has ended, and one that matches nothing.
pub fn waived() -> Report {
    let mut report = recorded("incident");
    let row = |task: &str, until: &str, standing, findings| WaiverRow {
        task: task.to_owned(),
        hosts: vec!["ctl2".to_owned()],
        reason: "the vendor of the <load balancer> wants it | so".to_owned(),
        owner: "network team".to_owned(),
        until: until.to_owned(),
        source: "waivers.yml:1".to_owned(),
        standing,
        findings,
        fault: (standing == WaiverStanding::MatchesNothing).then(|| "no task `no-such-task`".to_owned()),
    };
    let waived = |row: &WaiverRow, expired| Waived {
        reason: row.reason.clone(),
        owner: row.owner.clone(),
        until: row.until.clone(),
        expired,
        source: row.source.clone(),
    };
    let keepalive = row("tcp-keepalive", "2099-12-31", WaiverStanding::InForce, 7);
    let heartbeat = row("heartbeat", "2026-01-31", WaiverStanding::Expired, 1);
    for finding in &mut report.hosts.get_mut("ctl2").unwrap().findings {
        finding.waived = match finding.task.as_str() {
            "tcp-keepalive" => Some(waived(&keepalive, false)),
            "heartbeat" => Some(waived(&heartbeat, true)),
            _ => None,
        };
    }
    let nothing = row("no-such-task", "2099-12-31", WaiverStanding::MatchesNothing, 0);
    report.waivers = vec![keepalive, heartbeat, nothing];
    report.count();
    report
}

/// A verified cluster in which something has changed since (`tests/report/drift.yml`).
pub fn drifted() -> Report {
    #[derive(serde::Deserialize)]
    struct Told {
        baselines: BTreeMap<String, String>,
        cluster: Vec<Difference>,
        hosts: BTreeMap<String, Vec<Difference>>,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/drift.yml");
    let mut told: serde_yaml::Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let hosts = told.get_mut("hosts").unwrap().as_mapping_mut().unwrap();
    for own in hosts.values_mut().flat_map(|list| list.as_sequence_mut().unwrap()) {
        own.apply_merge().unwrap();
    }
    let told: Told = serde_yaml::from_value(told).unwrap();
    let mut report = recorded("plan");
    "drift".clone_into(&mut report.command);
    report.batches = None;
    for (name, host) in &mut report.hosts {
        host.drift = told.hosts.get(name).cloned().unwrap_or_default();
        host.changes.clear();
        host.windows = std::mem::take(&mut host.windows_after);
        host.findings.retain(|finding| host.drift.iter().any(|one| one.breaks.contains(&finding.task)));
        for finding in &mut host.findings {
            let own = host.drift.iter().find(|one| one.breaks.contains(&finding.task));
            finding.waived = own.and_then(|difference| difference.waived.clone());
        }
        for task in &mut host.tasks {
            let fails = host.findings.iter().any(|finding| finding.task == task.task);
            task.standing = if fails { Standing::Fails } else { Standing::Holds };
        }
        if host.findings.is_empty() {
            host.status = HostStatus::Compliant;
        }
    }
    report.drift = Some(Compared { baselines: told.baselines, cluster: told.cluster });
    report.waivers = vec![WaiverRow {
        task: "listener-keepalive".to_owned(),
        hosts: vec!["ctl2".to_owned()],
        reason: "restarted in the window of Sunday".to_owned(),
        owner: "messaging team".to_owned(),
        until: "2099-12-31".to_owned(),
        source: "waivers.yml:1".to_owned(),
        standing: WaiverStanding::InForce,
        findings: 1,
        fault: None,
    }];
    report.count();
    report
}

/// Nothing has changed since.
pub fn settled() -> Report {
    let mut report = drifted();
    report.hosts.remove("ctl2");
    report.waivers.clear();
    for host in report.hosts.values_mut() {
        host.drift.clear();
    }
    report.drift.as_mut().unwrap().cluster.clear();
    report.count();
    report
}

/// Three hundred hosts on which somebody did the same.
pub fn three_hundred_drifted() -> Report {
    let few = drifted();
    let mut report = few.clone();
    report.hosts.clear();
    let compared = report.drift.as_mut().unwrap();
    compared.baselines.clear();
    for number in 1..=300 {
        let name = format!("node-{number:03}");
        compared.baselines.insert(name.clone(), format!("2026-11-22T11:00:{:02}Z", number % 60));
        let mut host = few.hosts[["ctl1", "ctl2", "ctl3"][number % 3]].clone();
        for evidence in host.drift.iter_mut().flat_map(|one| &mut one.evidence) {
            evidence.text = evidence.text.replace("11:3", &format!("1{}:3", number % 7));
        }
        report.hosts.insert(name, host);
    }
    report.count();
    report
}

/// Differences that no format may take for its own: markup, quotes, control characters, a host that is gone.
pub fn nasty_drift() -> Report {
    let mut report = drifted();
    let nasty = nasty();
    let text = nasty.playbook.as_deref().unwrap();
    let mut compared = report.drift.take().unwrap();
    for one in report.hosts.values_mut().flat_map(|host| &mut host.drift).chain(&mut compared.cluster) {
        for part in [&mut one.subject, &mut one.before, &mut one.now] {
            part.push_str(text);
        }
        one.diff = format!("--- a\n+++ b\n@@ -1 +1 @@\n-``` {text}\n+\u{7}\n");
        for evidence in &mut one.evidence {
            text.clone_into(&mut evidence.text);
            evidence.source.push_str(text);
        }
    }
    report.hosts.insert("host-\"<é>&'".to_owned(), report.hosts["ctl2"].clone());
    report.drift = Some(compared);
    report.count();
    report
}

/// All of them, by name.
pub fn all() -> Vec<(&'static str, Report)> {
    let mut all: Vec<(&str, Report)> =
        ["incident", "compliant", "kolla", "unreachable", "plan"].map(|name| (name, recorded(name))).into();
    all.push(("three-hundred", three_hundred()));
    all.push(("nasty", nasty()));
    all.push(("waived", waived()));
    all.push(("drifted", drifted()));
    all.push(("settled", settled()));
    all.push(("three-hundred-drifted", three_hundred_drifted()));
    all.push(("nasty-drift", nasty_drift()));
    all
}
