//! Markdown: tables that are tables, nothing of a host that is markup, and the whole of one report letter by letter.

use std::path::Path;

use super::written;
use crate::support::reports;

/// Cells of a table's row: `|` within backticks is escaped too.
fn cells(line: &str) -> usize {
    line.replace("\\|", "").matches('|').count() - 1
}

/// A line without its code spans (CommonMark 0.31.2, section 6.1).
fn without_code(line: &str) -> String {
    let ticks = |text: &str| text.chars().take_while(|letter| *letter == '`').count();
    let mut out = String::new();
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        if rest.starts_with("\\`") {
            rest = &rest[2..];
            continue;
        }
        let open = ticks(rest);
        if open == 0 {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        }
        let mut inner = &rest[open..];
        let closed = loop {
            let Some(at) = inner.find('`') else { break None };
            let run = ticks(&inner[at..]);
            inner = &inner[at + run..];
            if run == open {
                break Some(inner);
            }
        };
        rest = closed.unwrap_or(&rest[open..]);
    }
    out
}

#[test]
fn every_report_has_whole_tables_and_closed_fences() {
    for (name, report) in reports::all() {
        let text = written("markdown", &report);
        let mut fence: Option<String> = None;
        let mut columns = None;
        for line in text.lines() {
            let ticks: String = line.chars().take_while(|letter| *letter == '`').collect();
            match &fence {
                Some(open) => {
                    if line == open {
                        fence = None;
                    }
                    continue;
                }
                None if ticks.len() >= 3 && line.ends_with("diff") => {
                    fence = Some(ticks);
                    continue;
                }
                None => {}
            }
            if line.starts_with('|') {
                let here = cells(line);
                assert_eq!(*columns.get_or_insert(here), here, "{name}: {line}");
            } else {
                columns = None;
            }
            assert!(!without_code(line).replace("<br>", "").contains('<'), "{name}: {line}");
        }
        assert_eq!(fence, None, "{name}");
    }
}

/// `TRUEUP_UPDATE=1 cargo test --test tests formats::markdown` writes the text anew after a change of words.
#[test]
fn a_plan_and_drift_letter_by_letter() {
    for (name, report) in [("plan", reports::recorded("plan")), ("drift", reports::drifted())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(format!("{name}.md"));
        let text = written("markdown", &report);
        if std::env::var_os("TRUEUP_UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == expected, "{} differs from\n{text}", path.display());
    }
}
