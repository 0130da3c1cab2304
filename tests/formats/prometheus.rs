//! The text for Prometheus, by the grammar of the exposition format 0.0.4 and by what it must say.

use std::collections::{BTreeMap, BTreeSet};

use super::written;
use crate::support::reports;

/// Labels and their values.
type Labels = BTreeMap<String, String>;

/// The samples by family; every fault of the form is a panic.
fn parse(text: &str) -> BTreeMap<String, Vec<(Labels, f64)>> {
    assert!(text.ends_with('\n'));
    let name = regex::Regex::new("^[a-zA-Z_:][a-zA-Z0-9_:]*$").unwrap();
    let mut families: BTreeMap<String, Vec<(Labels, f64)>> = BTreeMap::new();
    let mut current = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (family, words) = help.split_once(' ').unwrap();
            assert!(name.is_match(family) && !words.is_empty());
            assert_eq!(lines.next(), Some(format!("# TYPE {family} gauge").as_str()));
            assert!(families.insert(family.to_owned(), Vec::new()).is_none(), "{family} twice");
            family.clone_into(&mut current);
            continue;
        }
        let rest = line.strip_prefix(&current).unwrap_or_else(|| panic!("outside its family: {line}"));
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest),
            None => (Labels::new(), rest),
        };
        let value = value.strip_prefix(' ').unwrap();
        let number = match value {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            value => {
                assert!(!value.contains(' '), "a timestamp: {line}");
                value.parse().unwrap()
            }
        };
        let samples = families.get_mut(&current).unwrap();
        assert!(samples.iter().all(|(known, _)| *known != labels), "a series twice: {line}");
        samples.push((labels, number));
    }
    assert!(families.values().all(|samples| !samples.is_empty()), "a family without samples");
    families
}

/// Labels up to the closing brace, and what follows.
fn labels(text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (key, value) = rest.split_once("=\"").unwrap();
        let mut letters = value.char_indices();
        let mut plain = String::new();
        let end = loop {
            let (at, letter) = letters.next().unwrap();
            match letter {
                '"' => break at,
                '\\' => plain.push(match letters.next().unwrap().1 {
                    'n' => '\n',
                    letter @ ('\\' | '"') => letter,
                    other => panic!("\\{other}"),
                }),
                letter => plain.push(letter),
            }
        };
        assert!(labels.insert(key.to_owned(), plain).is_none());
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix('}').unwrap()),
        }
    }
}

fn sum(samples: &[(Labels, f64)]) -> String {
    samples.iter().map(|(_, value)| value).sum::<f64>().to_string()
}

#[test]
fn every_report_parses_and_its_numbers_are_those_of_the_report() {
    for (name, report) in reports::all() {
        let families = parse(&written("prometheus", &report));
        assert_eq!(sum(&families["trueup_hosts"]), report.summary.hosts.to_string(), "{name}");
        assert_eq!(sum(&families["trueup_findings"]), report.summary.findings.to_string(), "{name}");
        assert_eq!(sum(&families["trueup_host_status"]), report.summary.hosts.to_string(), "{name}");
        assert_eq!(sum(&families["trueup_last_run_exit_code"]), report.exit().code().to_string(), "{name}");
        let hosts: BTreeSet<&String> =
            families["trueup_host_status"].iter().map(|(labels, _)| &labels["host"]).collect();
        let plain = |text: &String| !text.chars().any(char::is_control);
        assert!(report.hosts.keys().filter(|host| plain(host)).all(|host| hosts.contains(host)), "{name}");
    }
}

#[test]
fn the_worst_window_of_each_broker_is_told() {
    let mut report = reports::recorded("incident");
    let check = |report: &_, family: &str, expected: &[(&str, f64)]| {
        let families = parse(&written("prometheus", report));
        let told: Vec<(&str, f64)> =
            families[family].iter().map(|(labels, value)| (labels["broker"].as_str(), *value)).collect();
        assert_eq!(told, expected);
    };
    let rows = || report.hosts.values().flat_map(|host| &host.windows);
    let worst = |broker: &str| {
        let of = rows().filter(|row| row.broker == broker);
        of.map(|row| row.survivable_age.unwrap()).fold(f64::INFINITY, f64::min)
    };
    let expected = [("ctl1", worst("ctl1")), ("ctl2", worst("ctl2")), ("ctl3", worst("ctl3"))];
    assert!(expected.iter().all(|(_, age)| *age < 0.0));
    check(&report, "trueup_survivable_age_seconds", &expected);
    for row in report.hosts.values_mut().flat_map(|host| &mut host.windows) {
        row.survivable_age = None;
        match row.broker.as_str() {
            "ctl1" => row.broker_worst = None,
            "ctl2" => row.rpc_response_timeout = None,
            _ => row.survivable_age = Some(15.0),
        }
    }
    let infinite = f64::INFINITY;
    check(
        &report,
        "trueup_survivable_age_seconds",
        &[("ctl1", -infinite), ("ctl2", infinite), ("ctl3", 15.0)],
    );
}

#[test]
fn when_and_how_long_is_a_value_and_no_timestamp() {
    let mut report = reports::recorded("compliant");
    report.seconds = Some(1.25);
    let families = parse(&written("prometheus", &report));
    assert_eq!(sum(&families["trueup_last_run_duration_seconds"]), "1.25");
    let time: jiff::Timestamp = report.started_at.parse().unwrap();
    assert_eq!(sum(&families["trueup_last_run_timestamp_seconds"]), time.as_second().to_string());
}

#[test]
fn every_host_that_was_read_has_a_number_for_every_cause() {
    const CAUSES: &str = "host tool policy unknown never_converged";
    let check = |report: &_, expected: &[(&str, &str)]| {
        let families = parse(&written("prometheus", report));
        let mut told: BTreeMap<&str, (Vec<&str>, Vec<String>)> = BTreeMap::new();
        for (labels, value) in &families["trueup_drift_differences"] {
            let own = told.entry(&labels["host"]).or_default();
            own.0.push(&labels["cause"]);
            own.1.push(value.to_string());
        }
        assert!(told.values().all(|(causes, _)| causes.join(" ") == CAUSES), "{told:?}");
        let told: Vec<(&str, String)> =
            told.iter().map(|(host, (_, numbers))| (*host, numbers.join(" "))).collect();
        let expected: Vec<(&str, String)> =
            expected.iter().map(|(host, numbers)| (*host, (*numbers).to_owned())).collect();
        assert_eq!(told, expected);
        sum(&families["trueup_drift_breaking"])
    };
    let mut report = reports::drifted();
    // What is waived does not count.
    let rows = [("ctl1", "0 2 0 0 0"), ("ctl2", "2 1 0 0 0"), ("ctl3", "0 1 0 1 0"), ("ctl4", "0 0 1 0 0")];
    assert_eq!(check(&report, &rows), "2");
    assert_eq!(check(&reports::settled(), &[("ctl1", "0 0 0 0 0"), ("ctl3", "0 0 0 0 0")]), "0");
    let families = parse(&written("prometheus", &report));
    let time: jiff::Timestamp = "2026-11-22T11:00:05Z".parse().unwrap();
    let saved = &families["trueup_drift_baseline_timestamp_seconds"];
    let (_, saved) = saved.iter().find(|(labels, _)| labels["host"] == "ctl3").unwrap();
    assert_eq!(saved.to_string(), time.as_second().to_string());
    // Of a host that was not read nothing is known, which is not 0.
    let broken = trueup::error::HostError::Interrupted;
    report.hosts.insert("ctl2".to_owned(), trueup::report::HostReport::broken(broken));
    check(&report, &[rows[0], rows[2], rows[3]]);
    // Nothing was compared.
    assert!(!written("prometheus", &reports::recorded("incident")).contains("drift"));
}
