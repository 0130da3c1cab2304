//! `trueup incidents`: logs of every kind and what they amount to.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;
use trueup::incidents::{Found, LostCall, Part, Source, find, read};
use trueup::report::incidents::{IncidentReport, incident_schema};

use crate::support::schema;

/// One case of `tests/incidents/cases/*.yml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it is about.
    name: String,
    /// The zone of every host; UTC.
    #[serde(default = "utc")]
    zone: String,
    /// Zones of hosts that have another.
    #[serde(default)]
    zones: BTreeMap<String, String>,
    /// Logs by path, the host's name first (`ctl1/cinder/cinder-api.log`).
    logs: BTreeMap<String, String>,
    /// What comes of it, a line each; see `told`.
    expect: Vec<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What was found, a line each.
fn told(found: &Found) -> Vec<String> {
    let call = |call: &LostCall| {
        let status = call.http_status.map(|status| format!(" HTTP {status}")).unwrap_or_default();
        format!("{} {}: {}{status}", call.host, call.service, call.operation)
    };
    let seconds = |seconds: Option<f64>| seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1}"));
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut lines = Vec::new();
    for incident in &found.incidents {
        let back = incident.reconnected_at.map(|at| at.duration_since(incident.cut_at).as_secs_f64());
        lines.push(format!(
            "incident {} {}, {} -> {} after {}, noticed after {} ({}), decided by {}",
            incident.cut_at,
            incident.cause,
            or(&incident.lost_broker),
            or(&incident.joined_broker),
            seconds(back),
            seconds(incident.notice_seconds),
            serde_json::to_value(incident.noticed_by).unwrap().as_str().unwrap(),
            or(&incident.decided.setting),
        ));
        for lost in &incident.calls {
            let age = lost.age_at_cut.map(|age| format!(", {age:.1} s old at the cut")).unwrap_or_default();
            lines.push(format!("  lost {} after {:.1}{age}", call(lost), lost.seconds_after_cut));
        }
    }
    for other in &found.others {
        let verdict = serde_json::to_value(other.verdict).unwrap();
        lines.push(format!("{} {}", verdict.as_str().unwrap(), call(&other.call)));
    }
    for loss in &found.survived {
        lines.push(format!(
            "survived {} {}, {}, back after {}, noticed after {}",
            loss.client,
            loss.cause,
            or(&loss.lost_broker),
            seconds(loss.reconnect_seconds),
            seconds(loss.notice_seconds)
        ));
    }
    lines.extend(
        found.skews.iter().map(|skew| format!("clock of {} {:+.1} s of {}", skew.host, skew.ahead, skew.of)),
    );
    lines
}

fn check(case: &Case) {
    let mut events = Vec::new();
    for (path, text) in &case.logs {
        let (host, rest) = path.split_once('/').unwrap();
        let zone = TimeZone::get(case.zones.get(host).unwrap_or(&case.zone)).unwrap();
        let source = Source {
            host: Some(host.to_owned()),
            path: format!("/var/log/{rest}"),
            zone,
            read_at: "2026-11-23T00:00:00Z".parse().unwrap(),
            bytes: text.clone().into_bytes(),
            part: Part::Whole,
        };
        // What a second pass over a host's logs finds: every line of the requests that were lost.
        let first = read(&source, &[]);
        let wanted: Vec<String> = case.logs.values().flat_map(|text| requests(text)).collect();
        assert_eq!(first.skipped, 0, "{}: {path}", case.name);
        events.extend(read(&source, &wanted).events);
    }
    let found = told(&find(events));
    assert_eq!(found, case.expect, "{}:\n{found:#?}", case.name);
}

/// The requests that have a timeout in this log.
fn requests(text: &str) -> Vec<String> {
    let lost = text.lines().filter(|line| line.contains("Timed out waiting for a reply"));
    lost.filter_map(|line| line.find("req-").and_then(|at| line.get(at..at + 40)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_case_is_what_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/incidents/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let cases: Vec<Case> = serde_yaml::from_str(&std::fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        cases.iter().for_each(check);
    }
}

/// Runs the binary on files of `tests/incidents`.
fn trueup(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .arg("incidents")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/incidents"))
        .env_remove("ANSIBLE_INVENTORY")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn the_incident_of_2017_is_one_incident_with_its_times() {
    let (code, out, err) =
        trueup(&["--log", "original/incident-2017.log", "--timezone", "UTC", "--format", "json"]);
    assert_eq!(code, 2, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(schema::fault(incident_schema().as_value(), &report), None);
    assert_eq!(report["summary"]["incidents"], 1);
    assert_eq!(report["summary"]["lost_calls"], 1);
    assert_eq!(report["summary"]["skipped_lines"], 0);
    let incident = &report["incidents"][0];
    assert_eq!(incident["cut_at"], "2017-05-12T18:24:47.348Z");
    assert_eq!(incident["cause"], "broken pipe");
    assert_eq!(incident["reconnected_at"], "2017-05-12T18:24:48.377Z");
    assert_eq!(incident["joined_broker"], "192.168.35.11:5672");
    let call = &incident["calls"][0];
    assert_eq!(call["asked_at"], "2017-05-12T18:24:47.231Z");
    assert_eq!(call["gave_up_at"], "2017-05-12T18:25:47.349Z");
    assert_eq!(call["waited_seconds"], 60.0);
    assert_eq!(call["operation"], "os-detach");
    assert_eq!(call["http_status"], 500);
    assert_eq!(call["message_id"], "05e7583273454928b8924023f83d0efa");
    assert_eq!(call["host"], "controller01");
    assert_eq!(call["service"], "cinder-api");
    assert_eq!(call["pid"], 4499);
    let last = incident["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(last["at"], "2017-05-12T18:25:47.355Z");
    assert_eq!(last["what"], "answers HTTP 500, after 60.2 s");
}

/// The report on the logs of a lab run, and what it found.
fn lab(run: &str, code: i32) -> (IncidentReport, Vec<String>) {
    let (found, out, err) =
        trueup(&["--log", &format!("lab/{run}"), "--timezone", "UTC", "--format", "json"]);
    assert_eq!(found, code, "{run}: {err}");
    let report: IncidentReport = serde_json::from_str(&out).unwrap();
    assert_eq!(report.summary.skipped_lines, 0, "{run}");
    let told = told(&report.found);
    (report, told)
}

/// Logs of real controllers (RabbitMQ 3.10.8, oslo.messaging 14.0.3, Cinder 21.3.1) around one `os-detach`.
#[test]
fn logs_of_the_lab_are_what_was_done_there() {
    let check = |run: &str, code: i32, expected: &[&str]| {
        let (_, told) = lab(run, code);
        assert_eq!(told, expected, "{run}:\n{told:#?}");
    };
    // The client's sockets were killed; keepalive 60/5/2, no heartbeats. The fault was mended after 111 s.
    check(
        "killed",
        2,
        &[
            "incident 2026-11-22T14:17:28.393Z connection aborted, ctl3 -> ctl3 after 1.0, noticed after 111.2 (broker_log), decided by -",
            "  lost ctl1 cinder-api: detach_volume on cinder-volume HTTP 500 after 59.0, 1.0 s old at the cut",
            "survived ctl1 connection aborted, ctl1, back after 1.0, noticed after -11.0",
        ],
    );
    // Packets were dropped, the client noticed nothing; mended after 77 s.
    check(
        "unnoticed",
        2,
        &[
            "incident 2026-11-22T14:23:33.855Z connection reset, ctl1 -> ctl1 after 18.1, noticed after 12.0 (broker_log), decided by -",
            "  lost ctl1 cinder-api: detach_volume on cinder-volume HTTP 500 after 0.0",
        ],
    );
    // As the first, with heartbeats of 15 s: the same call was answered.
    check("remedied", 0, &["survived ctl1 connection aborted, ctl1, back after 1.0, noticed after 43.0"]);
    // The server took 70 s.
    check("slow", 0, &["slow_server ctl1 cinder-api: detach_volume on cinder-volume HTTP 500"]);
    // No cinder-volume ran.
    check("unconsumed", 0, &["never_answered ctl1 cinder-api: detach_volume on cinder-volume HTTP 500"]);
    // All brokers were stopped one after the other, and started again.
    check(
        "stopped",
        0,
        &[
            "survived ctl3 connection reset, 10.77.0.11:5672, back after 2.1, noticed after -",
            "survived ctl1 connection reset, 10.77.0.11:5672, back after 6.0, noticed after -",
            "survived ctl3 connection error, ctl2, back after 2.0, noticed after -",
            "survived ctl2 connection reset, ctl2, back after 4.1, noticed after -",
            "survived ctl1 connection reset, ctl3, back after 3.0, noticed after -",
            "survived ctl3 connection error, ctl3, back after 2.1, noticed after -",
        ],
    );
}

#[test]
fn a_person_reads_the_whole_story() {
    let (code, out, _) = trueup(&["--log", "lab/killed", "--timezone", "UTC"]);
    assert_eq!(code, 2);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/incidents/killed.txt");
    if std::env::var_os("TRUEUP_UPDATE").is_some() {
        std::fs::write(&path, &out).unwrap();
    }
    assert_eq!(out, std::fs::read_to_string(&path).unwrap());
}

/// Copies the lab's logs into a host's folder, the older ones compressed, and reads them there as on a host.
#[test]
fn a_host_is_searched_where_its_logs_are() {
    let folder = tempfile::tempdir().unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/incidents/lab/killed");
    let script = r#"
        for host in ctl1 ctl2 ctl3; do
            mkdir -p "$1/$host/var/log" "$1/$host/etc" "$1/$host/bin"
            cp -R "$2/$host"/* "$1/$host/var/log/"
            ln -s /usr/share/zoneinfo/UTC "$1/$host/etc/localtime"
        done
        ln -s "$(command -v gzip)" "$1/ctl1/bin/gzip"
        gzip "$1/ctl1/var/log/cinder/cinder-wsgi.log"
        printf 'no log\n' > "$1/ctl1/var/log/cinder/other.xz"
        mv "$1/ctl1/var/log/cinder/other.xz" "$1/ctl1/var/log/cinder/other.log.xz"
        mkdir -p "$1/ctl3/var/log/kolla" && mv "$1/ctl3/var/log/rabbitmq" "$1/ctl3/var/log/kolla/"
    "#;
    let arguments = [folder.path(), &tests];
    assert!(Command::new("sh").args(["-ec", script, "sh"]).args(arguments).status().unwrap().success());
    let hosts: String = ["ctl1", "ctl2", "ctl3"]
        .map(|host| {
            format!(
                "{host} ansible_connection=local ansible_become=false trueup_root={}/{host}\n",
                folder.path().display()
            )
        })
        .concat();
    let inventory = folder.path().join("hosts");
    std::fs::write(&inventory, hosts).unwrap();
    let inventory = inventory.to_str().unwrap();
    let (code, out, err) = trueup(&["-i", inventory, "--no-audit", "--format", "json"]);
    assert_eq!(code, 2, "{out}{err}");
    let report: IncidentReport = serde_json::from_str(&out).unwrap();
    assert_eq!(told(&report.found), lab("killed", 2).1);
    assert_eq!(report.sources["ctl1"].zone, "UTC");
    assert_eq!(report.sources["ctl1"].unread["/var/log/cinder/other.log.xz"], "the host has no xz");
    assert_eq!(
        report.found.incidents[0].calls[0].source.split(':').next(),
        Some("/var/log/cinder/cinder-wsgi.log.gz")
    );
    // A host that cannot be reached is named, and the others are read.
    std::fs::write(
        inventory,
        format!(
            "{}ctl9 ansible_host=127.0.0.1 ansible_port=1 ansible_become=false\n",
            std::fs::read_to_string(inventory).unwrap()
        ),
    )
    .unwrap();
    let (code, out, _) = trueup(&["-i", inventory, "--no-audit", "--since", "2017-01-01"]);
    assert_eq!(code, 4, "{out}");
    assert!(out.contains("1 call was lost") && out.contains("ctl9: not read: connection to"), "{out}");
}

#[test]
fn time_limits_and_formats_hold() {
    let check = |arguments: &[&str], code: i32, words: &str| {
        let arguments: Vec<&str> = ["--log", "original"].iter().chain(arguments).copied().collect();
        let (found, out, err) = trueup(&arguments);
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        assert!(format!("{out}{err}").contains(words), "{arguments:?}: {out}{err}");
    };
    check(&["--timezone", "UTC"], 2, "1 call was lost to a dead consumer, on 2017-05-12 18:24:47.348 (UTC).");
    // The zone is that of the log and of the limits, so they mean the same in each.
    for zone in ["UTC", "Asia/Tokyo"] {
        check(&["--timezone", zone, "--since", "2017-05-12 18:25"], 2, "1 call was lost");
        check(&["--timezone", zone, "--since", "2017-05-12 18:26"], 0, "No call was lost");
        check(&["--timezone", zone, "--until", "2017-05-12 18:24"], 0, "No call was lost");
    }
    check(&["--since", "-2h"], 0, "No call was lost");
    check(&["--since", "soon"], 1, "`soon` is no time");
    check(&["--since=-2h", "--until=-3h"], 1, "--since is later than --until");
    check(&["--timezone", "Nowhere/Land"], 1, "`Nowhere/Land` is no time zone");
    check(&["--log", "nowhere"], 1, "`nowhere` cannot be read");
}
