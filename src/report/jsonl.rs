//! `--format jsonl`: one JSON object a line, for programs that read while the run goes on. First what happened
//! ([`event`]), as it happens; then the answer, part by part; the last line is the summary.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Report, Style};
use crate::event::Event;

/// Something that happened, `at` a time in RFC 3339, as a line.
pub fn event(at: &str, event: &Event) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        at: &'a str,
        #[serde(flatten)]
        event: &'a Event,
    }
    line(&Line { at, event })
}

/// A report as lines: hosts, each with its windows, findings, changes and what differs from the last verified run,
/// then hosts that are new or gone, then the summary.
pub(super) fn write(report: &Report, _style: Style) -> String {
    let mut text = String::new();
    for (name, host) in &report.hosts {
        let mut head = json!({
            "event": "host", "host": name, "status": host.status, "error": host.error, "tasks": host.tasks,
        });
        if let Some(reason) = &host.refused {
            head["refused"] = json!(reason);
        }
        if let Some(failure) = &host.failure {
            head["failure"] = json!(failure);
        }
        text.push_str(&line(&head));
        for (kind, parts) in [
            ("window", values(&host.windows)),
            ("window_after", values(&host.windows_after)),
            ("finding", values(&host.findings)),
            ("change", values(&host.changes)),
            ("difference", values(&host.drift)),
        ] {
            for part in parts {
                text.push_str(&line(&Part { event: kind, host: name, own: part }));
            }
        }
    }
    for difference in report.drift.iter().flat_map(|compared| &compared.cluster) {
        let own = serde_json::to_value(difference).expect("a difference has string keys");
        text.push_str(&line(&Part { event: "difference", host: &difference.subject, own }));
    }
    let mut last = json!({
        "event": "summary",
        "format_version": report.format_version,
        "trueup": report.trueup,
        "command": report.command,
        "started_at": report.started_at,
        "seconds": report.seconds,
        "playbook": report.playbook,
        "exit": report.exit().code(),
        "summary": report.summary,
    });
    if let Some(batches) = &report.batches {
        last["batches"] = json!(batches);
    }
    if let Some(compared) = &report.drift {
        last["baselines"] = json!(compared.baselines);
    }
    if let Some(run) = &report.run {
        last["run"] = json!(run);
    }
    text.push_str(&line(&last));
    text
}

/// A part of a host's answer, with all the fields it has in `--format json`.
#[derive(Serialize)]
struct Part<'a> {
    event: &'a str,
    host: &'a str,
    #[serde(flatten)]
    own: Value,
}

fn values<T: Serialize>(parts: &[T]) -> Vec<Value> {
    parts.iter().map(|part| serde_json::to_value(part).expect("a part has string keys")).collect()
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("a line has string keys and finite numbers");
    text.push('\n');
    text
}
