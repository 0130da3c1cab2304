//! Every format: what it says is what the report says, and its readers can read it.

mod files;
mod html;
mod junit;
mod lines;
mod markdown;
mod prometheus;
mod sarif;

use trueup::report::{FORMATS, Report, Style, format};

use crate::support::reports;
use crate::support::rig::SECRETS;

/// A report in a format.
fn written(name: &str, report: &Report) -> String {
    (format(name).unwrap().write)(report, Style::default())
}

#[test]
fn no_format_has_a_secret_or_is_written_twice_differently() {
    for (name, report) in reports::all() {
        for format in FORMATS {
            let text = written(format.name, &report);
            for secret in SECRETS {
                assert!(!text.contains(secret), "{name} as {}", format.name);
            }
            assert_eq!(text, written(format.name, &report), "{name} as {}", format.name);
            assert!(text.ends_with('\n'), "{name} as {}", format.name);
        }
    }
}

#[test]
fn a_summary_is_one_screen_of_three_hosts_and_little_more_of_three_hundred() {
    let check = |report: &Report, most: usize| {
        let text = (format("summary").unwrap().write)(report, Style::default());
        assert!(text.lines().count() <= most, "{} lines:\n{text}", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    };
    for name in ["incident", "plan", "compliant", "kolla"] {
        // With the command before it and the prompt after it.
        check(&reports::recorded(name), 22);
    }
    check(&reports::drifted(), 22);
    check(&reports::settled(), 22);
    check(&reports::three_hundred(), 40);
    check(&reports::three_hundred_drifted(), 40);
}

#[test]
fn what_a_host_says_moves_no_cursor() {
    for report in [reports::nasty(), reports::nasty_drift()] {
        for format in FORMATS.iter().filter(|format| !["human", "summary"].contains(&format.name)) {
            let text = written(format.name, &report);
            assert!(!text.contains(['\u{1b}', '\u{0}', '\u{7}']), "{}", format.name);
        }
    }
}
