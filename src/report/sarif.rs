//! `--format sarif`: SARIF 2.1.0 (OASIS, <https://docs.oasis-open.org/sarif/sarif/v2.1.0/>). A task is a rule, a
//! finding a result; whose doing a difference from the last verified run is, is a rule, and the difference a result; a
//! host is the base of the paths on it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::drift::{CAUSES, cause_word, line, sentence};
use super::{HostReport, HostStatus, Report, Style, severity_word};
use crate::audit::{Evidence, Finding, Severity};
use crate::drift::{Cause, Difference, Kind};
use crate::plan::content::sha256;
use crate::waiver::Waived;

/// The schema the document names.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A report as SARIF.
pub(super) fn write(report: &Report, _style: Style) -> String {
    let rules = rules(report);
    let causes = causes(report);
    let findings = report
        .hosts
        .iter()
        .flat_map(|(host, answer)| answer.findings.iter().map(move |finding| (host, finding)))
        .map(|(host, finding)| result(host, finding, &rules));
    let differences = report.differences().map(|(host, difference)| {
        let index = causes.iter().position(|cause| *cause == difference.cause);
        let index = index.map(|index| index + rules.len());
        differs(host, difference, report.severity(host, difference), index)
    });
    let results: Vec<Value> = findings.chain(differences).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "trueup",
                "semanticVersion": report.trueup,
                "rules": rules.iter().map(rule).chain(causes.iter().copied().map(cause_rule)).collect::<Vec<Value>>(),
            }},
            "automationDetails": {"id": format!("trueup/{}/{}", report.command, report.started_at)},
            "invocations": [invocation(report)],
            "originalUriBaseIds": bases(report),
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

/// Every task that has a finding, by its first one, with the worst of the severities.
fn rules(report: &Report) -> Vec<(&Finding, Severity)> {
    let mut rules: Vec<(&Finding, Severity)> = Vec::new();
    for finding in report.hosts.values().flat_map(|host| &host.findings) {
        match rules.iter_mut().find(|(known, _)| known.task == finding.task) {
            Some((_, severity)) => *severity = finding.severity.max(*severity),
            None => rules.push((finding, finding.severity)),
        }
    }
    rules
}

fn rule((finding, severity): &(&Finding, Severity)) -> Value {
    let mut rule = json!({
        "id": finding.task,
        "shortDescription": {"text": finding.title},
        "defaultConfiguration": {"level": level(*severity)},
    });
    if !finding.why.is_empty() {
        rule["fullDescription"] = json!({"text": finding.why});
    }
    rule
}

/// Every cause that a difference has.
fn causes(report: &Report) -> Vec<Cause> {
    CAUSES.into_iter().filter(|cause| report.differences().any(|(_, one)| one.cause == *cause)).collect()
}

fn cause_rule(cause: Cause) -> Value {
    json!({
        "id": cause_id(cause),
        "shortDescription": {"text": format!("{}.", sentence(cause))},
        "defaultConfiguration": {"level": "warning"},
    })
}

fn cause_id(cause: Cause) -> String {
    format!("drift/{}", cause_word(cause))
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// A difference from the last verified run.
fn differs(host: &str, difference: &Difference, severity: Option<Severity>, index: Option<usize>) -> Value {
    let breaks = match difference.breaks.as_slice() {
        [] => String::new(),
        tasks => format!(" It breaks {}.", tasks.join(", ")),
    };
    let message = format!("{host}: {}. {}.{breaks}", line(difference), sentence(difference.cause));
    let mut own: Map<String, Value> = match serde_json::to_value(difference) {
        Ok(Value::Object(own)) => own,
        _ => Map::new(),
    };
    own.insert("host".to_owned(), json!(host));
    own.insert("tags".to_owned(), json!(["drift", cause_word(difference.cause), host]));
    let file = (difference.kind == Kind::File)
        .then(|| Evidence { source: difference.subject.clone(), text: difference.now.clone() });
    let sources: Vec<&Evidence> = file.iter().chain(&difference.evidence).collect();
    let kind = serde_json::to_string(&difference.kind).expect("a kind is a word");
    let id = cause_id(difference.cause);
    let mut print = vec![host, &kind, &difference.subject];
    print.extend(difference.breaks.iter().map(String::as_str).filter(|_| difference.kind == Kind::Finding));
    let mut result = json!({
        "ruleId": id,
        "ruleIndex": index,
        "kind": "fail",
        "level": severity.map_or("warning", level),
        "message": {"text": message},
        "locations": locations(host, &difference.subject, &sources),
        "partialFingerprints": {"trueupDrift/v1": sha256(print.join("\0").as_bytes())},
        "properties": own,
    });
    suppress(&mut result, difference.waived.as_ref());
    result
}

/// A waiver in force takes a result out of the count.
fn suppress(result: &mut Value, waived: Option<&Waived>) {
    if let Some(waived) = waived.filter(|waived| !waived.expired) {
        let justification = format!("{}, until {}: {}", waived.owner, waived.until, waived.reason);
        result["suppressions"] = json!([{"kind": "external", "justification": justification}]);
    }
}

/// What could not be established is a failure too, not `open`: readers hide that, and unknown is never compliant.
fn result(host: &str, finding: &Finding, rules: &[(&Finding, Severity)]) -> Value {
    let index = rules.iter().position(|(rule, _)| rule.task == finding.task);
    let message = format!(
        "{host}: {}: {}; wanted: {}. To mend it: {}",
        finding.subject, finding.actual, finding.expected, finding.mend
    );
    let mut own: Map<String, Value> = match serde_json::to_value(finding) {
        Ok(Value::Object(own)) => own,
        _ => Map::new(),
    };
    // What stands elsewhere in the result or its rule.
    for key in ["task", "title", "why", "evidence"] {
        own.remove(key);
    }
    own.insert("host".to_owned(), json!(host));
    own.insert("tags".to_owned(), json!([severity_word(finding.severity), host]));
    let mut result = json!({
        "ruleId": finding.task,
        "ruleIndex": index,
        "kind": "fail",
        "level": level(finding.severity),
        "message": {"text": message},
        "locations": locations(host, &finding.subject, &finding.evidence.iter().collect::<Vec<_>>()),
        "partialFingerprints": {"trueupFinding/v1": fingerprint(host, finding)},
        "properties": own,
    });
    suppress(&mut result, finding.waived.as_ref());
    result
}

/// The same finding of the next run has the same one: values may change, the place does not.
fn fingerprint(host: &str, finding: &Finding) -> String {
    let level = serde_json::to_string(&finding.level).expect("a level is a word");
    sha256([host, &finding.task, &level, &finding.subject].join("\0").as_bytes())
}

/// Every file that it rests on; the host and the subject where there is none.
fn locations(host: &str, subject: &str, sources: &[&Evidence]) -> Vec<Value> {
    let logical = json!([{
        "name": subject,
        "fullyQualifiedName": format!("{host}/{subject}"),
        "kind": "resource",
    }]);
    let mut found: Vec<Value> = Vec::new();
    for evidence in sources {
        let Some(place) = Place::of(&evidence.source) else { continue };
        let mut physical = json!({"artifactLocation": {"uri": place.uri, "uriBaseId": host}});
        if let Some(line) = place.line {
            physical["region"] = json!({"startLine": line, "snippet": {"text": evidence.text}});
        }
        let location = json!({"physicalLocation": physical, "logicalLocations": logical});
        // Two lines of one file are two places; the same line twice is one.
        if !found.contains(&location) {
            found.push(location);
        }
    }
    if found.is_empty() {
        found.push(json!({"logicalLocations": logical}));
    }
    found
}

/// A file on a host, as evidence names it: `/etc/cinder/cinder.conf:4`, `container:NAME:/etc/…:4`.
struct Place {
    /// Relative to the host.
    uri: String,
    /// From 1.
    line: Option<u64>,
}

impl Place {
    fn of(source: &str) -> Option<Self> {
        let (container, path) = match source.strip_prefix("container:") {
            Some(rest) => {
                let (name, path) = rest.split_once(':')?;
                (Some(name), path)
            }
            None => (None, source),
        };
        let (path, line) = match path.rsplit_once(':') {
            Some((before, number)) => match number.parse() {
                Ok(line) => (before, Some(line)),
                Err(_) => (path, None),
            },
            None => (path, None),
        };
        if !path.starts_with('/') || path.contains(' ') {
            return None;
        }
        let path = path.trim_start_matches('/');
        let uri =
            container.map_or_else(|| encoded(path), |name| encoded(&format!("container/{name}/{path}")));
        Some(Self { uri, line: line.filter(|line| *line > 0) })
    }
}

/// RFC 3986, section 2.3: everything but unreserved characters and `/` as `%XX`.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Where the paths of each host begin.
fn bases(report: &Report) -> BTreeMap<&str, Value> {
    let base =
        |host: &str| json!({"uri": format!("file://{}/", encoded(host)), "description": {"text": host}});
    let gone = report.drift.iter().flat_map(|compared| &compared.cluster);
    let hosts =
        report.hosts.keys().map(String::as_str).chain(gone.map(|difference| difference.subject.as_str()));
    hosts.map(|host| (host, base(host))).collect()
}

/// How the run itself went: hosts without an answer, and the exit code.
fn invocation(report: &Report) -> Value {
    let notifications: Vec<Value> = report
        .hosts
        .iter()
        .filter_map(|(host, answer)| Some((host, answer.status, answer.error.as_ref()?)))
        .map(|(host, status, fault)| {
            json!({
                "level": "error",
                "message": {"text": format!("{host}: {}", fault.message)},
                "properties": {"host": host, "status": status.word(), "cause": fault.cause},
            })
        })
        .collect();
    let failed = |host: &HostReport| host.status == HostStatus::Failed || host.refused.is_some();
    let failed = report.hosts.values().any(failed);
    let mut invocation = json!({
        "executionSuccessful": notifications.is_empty() && !failed,
        "exitCode": report.exit().code(),
        "toolExecutionNotifications": notifications,
        "properties": {"command": report.command, "playbook": report.playbook, "summary": report.summary},
    });
    if let Ok(time) = report.started_at.parse::<jiff::Timestamp>() {
        invocation["startTimeUtc"] = json!(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    invocation
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_source_names_a_file_or_it_does_not() {
        let check = |source: &str, expected: Option<(&str, Option<u64>)>| {
            let place = Place::of(source);
            let place = place.as_ref().map(|place| (place.uri.as_str(), place.line));
            assert_eq!(place, expected, "{source}");
        };
        check("/etc/cinder/cinder.conf:4", Some(("etc/cinder/cinder.conf", Some(4))));
        check("/proc/32/stat", Some(("proc/32/stat", None)));
        check("/etc/a b:4", None);
        check("/etc/ü", Some(("etc/%C3%BC", None)));
        check("container:cinder_api:/etc/c.conf:7", Some(("container/cinder_api/etc/c.conf", Some(7))));
        check("sysctl net.ipv4.tcp_retries2", None);
        check("default of RabbitMQ", None);
        check("/etc/a:0", Some(("etc/a", None)));
    }
}
