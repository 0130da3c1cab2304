//! Reports to write down: recorded ones (`tests/report/*.json`, from `--format json`), and ones made of them.

use std::path::Path;

use trueup::audit::{Evidence, Remedy, Status};
use trueup::error::HostError;
use trueup::report::{HostReport, Report};
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

/// All of them, by name.
pub fn all() -> Vec<(&'static str, Report)> {
    let mut all: Vec<(&str, Report)> =
        ["incident", "compliant", "kolla", "unreachable", "plan"].map(|name| (name, recorded(name))).into();
    all.push(("three-hundred", three_hundred()));
    all.push(("nasty", nasty()));
    all.push(("waived", waived()));
    all
}
