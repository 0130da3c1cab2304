//! SARIF, by the part of the published schema of 2.1.0 that a report uses (`sarif.yml` names every object and
//! property; nothing else may stand there), and by what it must say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use trueup::report::Report;

use super::written;
use crate::support::reports;

/// The objects by name: property to what it holds.
type Shapes = BTreeMap<String, BTreeMap<String, String>>;

/// Checks that a value is what `kind` says: `string`, `[NAME]`, `{NAME}` (any keys), a word list `a|b`, or an object.
/// A `!` at the end of a property's kind says that it must be there.
fn allowed(shapes: &Shapes, kind: &str, value: &Value, at: &str) {
    if let Some(inner) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        let items = value.as_array().unwrap_or_else(|| panic!("{at} is no list"));
        for (number, item) in items.iter().enumerate() {
            allowed(shapes, inner, item, &format!("{at}[{number}]"));
        }
        return;
    }
    if let Some(inner) = kind.strip_prefix('{').and_then(|kind| kind.strip_suffix('}')) {
        let object = value.as_object().unwrap_or_else(|| panic!("{at} is no object"));
        for (key, item) in object {
            allowed(shapes, inner, item, &format!("{at}.{key}"));
        }
        return;
    }
    let fits = match kind {
        "any" => true,
        "string" => value.is_string(),
        "bool" => value.is_boolean(),
        "line" => value.as_u64().is_some_and(|number| number > 0),
        "index" => value.as_u64().is_some(),
        "integer" => value.is_i64() || value.is_u64(),
        "time" => {
            value.as_str().is_some_and(|text| text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok())
        }
        // RFC 3986: no blanks, quotes or controls, and `%` only before two digits.
        "uri" => value.as_str().is_some_and(|text| {
            let pattern = r"^([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-F]{2})*$";
            regex::Regex::new(pattern).unwrap().is_match(text)
        }),
        words if words.contains('|') => {
            value.as_str().is_some_and(|text| words.split('|').any(|word| word == text))
        }
        name => {
            let shape = shapes.get(name).unwrap_or_else(|| panic!("no shape {name}"));
            let object = value.as_object().unwrap_or_else(|| panic!("{at} is no object"));
            for (key, inner) in object {
                let kind = shape.get(key).unwrap_or_else(|| panic!("{at}.{key} is not allowed"));
                allowed(shapes, kind.trim_end_matches('!'), inner, &format!("{at}.{key}"));
            }
            for (key, _) in shape.iter().filter(|(_, kind)| kind.ends_with('!')) {
                assert!(object.contains_key(key), "{at} has no {key}");
            }
            true
        }
    };
    assert!(fits, "{at}: {value} is no {kind}");
}

fn parsed(report: &Report) -> Value {
    serde_json::from_str(&written("sarif", report)).unwrap()
}

#[test]
fn every_report_is_what_the_schema_allows_and_says_what_the_report_says() {
    let shapes: Shapes = serde_yaml::from_str(include_str!("sarif.yml")).unwrap();
    for (name, report) in reports::all() {
        let log = parsed(&report);
        allowed(&shapes, "log", &log, "$");
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        let differences = report.differences().count();
        assert_eq!(results.len(), report.summary.findings + report.summary.waived + differences, "{name}");
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let ids: BTreeSet<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), rules.len(), "{name}: a rule twice");
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"], "{name}");
            for place in result["locations"].as_array().unwrap() {
                if let Some(base) = place.pointer("/physicalLocation/artifactLocation/uriBaseId") {
                    assert!(
                        run["originalUriBaseIds"].get(base.as_str().unwrap()).is_some(),
                        "{name}: {base}"
                    );
                }
            }
        }
        let prints: BTreeSet<String> =
            results.iter().map(|result| result["partialFingerprints"].to_string()).collect();
        if !name.starts_with("nasty") {
            assert_eq!(prints.len(), results.len(), "{name}: a fingerprint twice");
        }
        let broken = report.hosts.values().filter(|host| host.error.is_some()).count();
        let invocation = &run["invocations"][0];
        assert_eq!(invocation["toolExecutionNotifications"].as_array().unwrap().len(), broken, "{name}");
        assert_eq!(invocation["executionSuccessful"], broken == 0, "{name}");
        assert_eq!(invocation["exitCode"], report.exit().code(), "{name}");
    }
}

#[test]
fn a_result_points_at_the_line_of_a_file_on_a_host() {
    let log = parsed(&reports::recorded("incident"));
    let results = log["runs"][0]["results"].as_array().unwrap();
    let heartbeat = results.iter().find(|result| result["ruleId"] == "heartbeat").unwrap();
    let place = &heartbeat["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "etc/cinder/cinder.conf");
    assert_eq!(place["artifactLocation"]["uriBaseId"], "ctl1");
    assert_eq!(place["region"]["startLine"], 17);
    assert_eq!(heartbeat["level"], "error");
}

#[test]
fn a_difference_is_a_result_whose_rule_is_its_cause() {
    let log = parsed(&reports::drifted());
    let results = log["runs"][0]["results"].as_array().unwrap();
    let result = |host: &str, subject: &str| {
        let own = |result: &&Value| {
            result["properties"]["host"] == host
                && result["properties"]["subject"] == subject
                && result["ruleId"].as_str().unwrap().starts_with("drift/")
        };
        results.iter().find(own).unwrap_or_else(|| panic!("{host}: no {subject}"))
    };
    let check = |host: &str, subject: &str, rule: &str, level: &str| {
        let result = result(host, subject);
        assert_eq!((&result["ruleId"], &result["level"]), (&Value::from(rule), &Value::from(level)));
        result
    };
    let edited = check("ctl2", "/etc/cinder/cinder.conf", "drift/host", "error");
    let place = &edited["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "etc/cinder/cinder.conf");
    assert_eq!(place["artifactLocation"]["uriBaseId"], "ctl2");
    assert_eq!(edited["properties"]["cause"], "host");
    assert_eq!(edited["properties"]["breaks"][0], "heartbeat");
    assert!(edited["properties"]["evidence"][1]["text"].as_str().unwrap().starts_with("no package tool"));
    check("ctl2", "net.ipv4.tcp_keepalive_time", "drift/host", "warning");
    check("ctl1", "oslo.messaging", "drift/tool", "warning");
    check("ctl4", "ctl4", "drift/policy", "warning");
    let waived = check("ctl2", "rabbitmq-server", "drift/never_converged", "warning");
    assert_eq!(waived["suppressions"][0]["kind"], "external");
}

#[test]
fn the_same_finding_with_another_value_is_the_same_result() {
    let prints = |report: &Report| -> Vec<String> {
        let log = parsed(report);
        let results = log["runs"][0]["results"].as_array().unwrap();
        results.iter().map(|result| result["partialFingerprints"].to_string()).collect()
    };
    let mut report = reports::recorded("incident");
    let before = prints(&report);
    for finding in report.hosts.values_mut().flat_map(|host| &mut host.findings) {
        "something else".clone_into(&mut finding.actual);
        finding.evidence.clear();
    }
    assert_eq!(prints(&report), before);
}
