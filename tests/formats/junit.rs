//! JUnit, by what the schema of Ant's task allows (the stricter of the common ones) and by what it must say.

use std::collections::{BTreeMap, BTreeSet};

use quick_xml::Reader;
use quick_xml::events::Event;
use trueup::report::{ChangeOutcome, HostStatus, Report};

use super::written;
use crate::support::reports;

/// An element of a document.
#[derive(Debug, Default)]
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub children: Vec<Element>,
    pub text: String,
}

/// A whole document; every fault of its form is a panic.
pub fn parse(text: &str) -> Element {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let event = reader.read_event().unwrap();
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                let mut element = Element { name: tag.name().as_ref().to_owned(), ..Element::default() };
                for attribute in tag.attributes() {
                    let attribute = attribute.unwrap();
                    let value = quick_xml::escape::unescape(&attribute.value).unwrap().into_owned();
                    let before = element.attributes.insert(attribute.key.as_ref().to_owned(), value);
                    assert_eq!(before, None, "an attribute twice");
                }
                if matches!(event, Event::Empty(_)) {
                    open.last_mut().unwrap().children.push(element);
                } else {
                    open.push(element);
                }
            }
            Event::End(_) => {
                let done = open.pop().unwrap();
                open.last_mut().unwrap().children.push(done);
            }
            Event::Text(text) => open.last_mut().unwrap().text.push_str(text),
            Event::GeneralRef(name) => {
                let reference = format!("&{};", &**name);
                let letter = quick_xml::escape::unescape(&reference).unwrap().into_owned();
                open.last_mut().unwrap().text.push_str(&letter);
            }
            Event::Decl(_) => {}
            Event::Eof => break,
            other => panic!("not expected: {other:?}"),
        }
    }
    assert_eq!(open.len(), 1, "an element is not closed");
    let mut top = open.pop().unwrap();
    assert_eq!(top.children.len(), 1, "a document has one root");
    top.children.pop().unwrap()
}

/// Attributes: required first, then optional. Numbers and names are checked where they stand.
fn has(element: &Element, required: &[&str], optional: &[&str]) {
    for key in required {
        assert!(element.attributes.contains_key(*key), "{} has no {key}", element.name);
    }
    for key in element.attributes.keys() {
        assert!(
            required.contains(&key.as_str()) || optional.contains(&key.as_str()),
            "{}: {key}",
            element.name
        );
    }
}

/// Is the document what the schema allows?
fn allowed(root: &Element) {
    assert_eq!(root.name, "testsuites");
    has(root, &[], &[]);
    let time = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$").unwrap();
    for (number, suite) in root.children.iter().enumerate() {
        assert_eq!(suite.name, "testsuite");
        let required =
            ["id", "package", "name", "hostname", "timestamp", "tests", "failures", "errors", "time"];
        has(suite, &required, &["skipped"]);
        assert_eq!(suite.attributes["id"], number.to_string());
        assert!(time.is_match(&suite.attributes["timestamp"]));
        assert!(suite.attributes["time"].parse::<f64>().is_ok());
        let names: Vec<&str> = suite.children.iter().map(|child| child.name.as_str()).collect();
        let (first, rest) = names.split_first().unwrap();
        assert_eq!(*first, "properties");
        let (cases, last) = rest.split_at(rest.len() - 2);
        assert!(cases.iter().all(|name| *name == "testcase"), "{names:?}");
        assert_eq!(last, ["system-out", "system-err"]);
        for property in &suite.children[0].children {
            assert_eq!(property.name, "property");
            has(property, &["name", "value"], &[]);
        }
        for case in &suite.children[1..suite.children.len() - 2] {
            has(case, &["name", "classname", "time"], &[]);
            assert!(!case.attributes["name"].is_empty());
            assert!(case.children.len() <= 1);
            for outcome in &case.children {
                match outcome.name.as_str() {
                    "skipped" => has(outcome, &[], &["message"]),
                    "failure" | "error" => has(outcome, &["type"], &["message"]),
                    other => panic!("{other}"),
                }
                assert!(outcome.children.is_empty());
            }
        }
        let with = |wanted: &str| {
            suite.children.iter().flat_map(|case| &case.children).filter(|it| it.name == wanted).count()
        };
        for (attribute, wanted) in [("failures", "failure"), ("errors", "error"), ("skipped", "skipped")] {
            assert_eq!(suite.attributes[attribute], with(wanted).to_string());
        }
        assert_eq!(suite.attributes["tests"], cases.len().to_string());
    }
}

/// Do failures and errors stand exactly where the report has something that counts?
fn agrees(root: &Element, report: &Report) {
    let gone = report.drift.iter().flat_map(|compared| &compared.cluster);
    let gone = gone.filter(|difference| !report.hosts.contains_key(&difference.subject)).count();
    assert_eq!(root.children.len(), report.hosts.len() + gone);
    let of = |class: &'static str| move |case: &&&Element| case.attributes["classname"].ends_with(class);
    let failures = |case: &Element| case.children.iter().filter(|it| it.name == "failure").count();
    let cases = || root.children.iter().flat_map(|suite| &suite.children).filter(|it| it.name == "testcase");
    let differing: Vec<&Element> = cases().collect::<Vec<_>>().iter().filter(of(".drift")).copied().collect();
    let told: usize = differing.iter().map(|case| failures(case)).sum();
    assert_eq!(told, report.summary.drift);
    let silent = report.drift.is_none();
    let without =
        report.hosts.values().filter(|host| !silent && host.error.is_none() && host.drift.is_empty());
    assert_eq!(differing.iter().filter(|case| case.children.is_empty()).count(), without.count());
    for (suite, (name, host)) in root.children.iter().zip(&report.hosts) {
        let letters = |text: &str| text.chars().filter(|letter| !letter.is_control()).collect::<String>();
        assert_eq!(letters(&suite.attributes["name"]), letters(name));
        let wrong = |case: &&Element| case.children.iter().any(|it| it.name != "skipped");
        let cases = suite.children.iter().filter(|child| child.name == "testcase");
        let cases = cases.filter(|case| !of(".drift")(&case));
        let (changes, tasks): (Vec<_>, Vec<_>) =
            cases.filter(wrong).partition(|case| case.attributes["classname"].ends_with(".changes"));
        let told: BTreeSet<String> = tasks.iter().map(|case| case.attributes["name"].clone()).collect();
        let mut expected: BTreeSet<String> = if host.status == HostStatus::Unreachable {
            BTreeSet::new()
        } else {
            let counts = host.findings.iter().filter(|finding| !finding.is_note() && !finding.is_waived());
            counts.map(|finding| finding.task.clone()).collect()
        };
        if host.error.is_some() {
            expected.insert("the host is read".to_owned());
        }
        assert_eq!(told, expected, "{name}");
        let bad = |outcome| {
            matches!(outcome, ChangeOutcome::Failed | ChangeOutcome::RolledBack | ChangeOutcome::Blocked)
        };
        assert_eq!(changes.len(), host.changes.iter().filter(|change| bad(change.outcome)).count(), "{name}");
    }
}

#[test]
fn every_report_is_what_the_schema_allows_and_says_what_the_report_says() {
    for (_, report) in reports::all() {
        let root = parse(&written("junit", &report));
        allowed(&root);
        agrees(&root, &report);
    }
}

#[test]
fn a_failure_says_what_where_and_what_to_do() {
    let root = parse(&written("junit", &reports::recorded("incident")));
    let case = root.children[0]
        .children
        .iter()
        .find(|case| case.attributes.get("name").is_some_and(|name| name == "heartbeat"));
    let failure = &case.unwrap().children[0];
    assert_eq!(failure.attributes["type"], "critical");
    for part in
        ["wanted: 15", "found: 0", "/etc/cinder/cinder.conf:17", "mend: set heartbeat_timeout_threshold = 15"]
    {
        assert!(failure.text.contains(part), "no {part} in\n{}", failure.text);
    }
}

#[test]
fn a_change_that_failed_is_a_failure() {
    let mut report = reports::recorded("plan");
    let host = report.hosts.get_mut("ctl1").unwrap();
    host.findings.clear();
    host.tasks.clear();
    host.changes[0].outcome = ChangeOutcome::Failed;
    host.changes[1].outcome = ChangeOutcome::Blocked;
    let root = parse(&written("junit", &report));
    allowed(&root);
    agrees(&root, &report);
    assert_eq!(root.children[0].attributes["failures"], "2");
}

#[test]
fn a_difference_is_a_failure_of_its_cause_with_what_it_rests_on() {
    let root = parse(&written("junit", &reports::drifted()));
    let suite = |name: &str| root.children.iter().find(|suite| suite.attributes["name"] == name).unwrap();
    let case = |host: &str, name: &str| {
        let mut cases = suite(host).children.iter().filter(|it| it.name == "testcase");
        cases.find(|case| case.attributes["name"] == name).unwrap_or_else(|| panic!("{host}: no {name}"))
    };
    let failure = &case("ctl2", "file /etc/cinder/cinder.conf").children[0];
    assert_eq!(failure.attributes["type"], "host");
    for part in [
        "Somebody or something on the host changed this.",
        "breaks: heartbeat",
        "because: package history: no package tool worked",
        "-heartbeat_timeout_threshold = 15\n+heartbeat_timeout_threshold = 0\n",
    ] {
        assert!(failure.text.contains(part), "no {part} in\n{}", failure.text);
    }
    assert_eq!(case("ctl4", "host ctl4").children[0].attributes["type"], "policy");
    let waived = &case("ctl2", "listener-keepalive: rabbitmq-server").children[0];
    assert_eq!(waived.name, "skipped");
    assert!(waived.attributes["message"].starts_with("waived until 2099-12-31 by messaging team: "));
    let root = parse(&written("junit", &reports::settled()));
    assert!(root.children.iter().all(|suite| suite.attributes["failures"] == "0"));
}
