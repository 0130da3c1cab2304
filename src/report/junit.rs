//! `--format junit`: a host is a suite, a task, each change and each difference from the last verified run a case. Valid for the schema of Apache Ant's
//! JUnit task (<https://github.com/windyroad/JUnit-Schema>) and for that of Jenkins' xUnit plugin
//! (`junit-10.xsd`), which most readers follow.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::drift::{cause_word, kind_word, line, sentence, values, whose};
use super::matrix::{self, Verdict};
use super::waive::told as told_of;
use super::{ChangeOutcome, ChangeRow, HostReport, HostStatus, Report, Style, severity_word};
use crate::audit::{Finding, Status};
use crate::drift::{Difference, Kind};
use crate::waiver::Waived;

/// What a case says; the schema allows one of them.
enum Outcome {
    Passed,
    Skipped(String),
    Failure { kind: &'static str, message: String, text: String },
    Error { kind: &'static str, message: String, text: String },
}

struct Case {
    class: String,
    name: String,
    outcome: Outcome,
}

/// A report as JUnit XML.
pub(super) fn write(report: &Report, _style: Style) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    document(&mut writer, report).expect("writing to memory does not fail");
    let mut text = String::from_utf8(writer.into_inner()).expect("what was written is UTF-8");
    text.push('\n');
    text
}

fn document(writer: &mut Writer<Vec<u8>>, report: &Report) -> io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("testsuites").write_inner_content(|writer| {
        let gone = gone(report);
        let own = report.hosts.iter().map(|(name, host)| (name.as_str(), host));
        for (number, (name, host)) in own.chain(gone.iter().map(|(name, host)| (*name, host))).enumerate() {
            suite(writer, report, number, name, host)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Hosts that this run has not looked at because they are gone: each is a suite with that as its case.
fn gone(report: &Report) -> Vec<(&str, HostReport)> {
    let cluster = report.drift.iter().flat_map(|compared| &compared.cluster);
    let names = cluster.map(|difference| difference.subject.as_str());
    let host = || HostReport { status: HostStatus::Findings, ..HostReport::unread() };
    names.filter(|name| !report.hosts.contains_key(*name)).map(|name| (name, host())).collect()
}

fn suite(
    writer: &mut Writer<Vec<u8>>,
    report: &Report,
    number: usize,
    name: &str,
    host: &HostReport,
) -> io::Result<()> {
    let cases = cases(report, name, host);
    let with = |wanted: fn(&Outcome) -> bool| cases.iter().filter(|case| wanted(&case.outcome)).count();
    let attributes = [
        ("id", number.to_string()),
        ("package", "trueup".to_owned()),
        ("name", clean(name)),
        ("hostname", clean(name)),
        ("timestamp", timestamp(&report.started_at)),
        ("tests", cases.len().to_string()),
        ("failures", with(|outcome| matches!(outcome, Outcome::Failure { .. })).to_string()),
        ("errors", with(|outcome| matches!(outcome, Outcome::Error { .. })).to_string()),
        ("skipped", with(|outcome| matches!(outcome, Outcome::Skipped(_))).to_string()),
        ("time", "0".to_owned()),
    ];
    let element = writer
        .create_element("testsuite")
        .with_attributes(attributes.iter().map(|(key, value)| (*key, value.as_str())));
    element.write_inner_content(|writer| {
        writer.create_element("properties").write_inner_content(|writer| {
            for (key, value) in properties(report, host) {
                let value = clean(&value);
                let pair = [("name", key), ("value", value.as_str())];
                writer.create_element("property").with_attributes(pair).write_empty()?;
            }
            Ok(())
        })?;
        for one in &cases {
            case(writer, one)?;
        }
        text(writer, "system-out", &notes(host))?;
        text(writer, "system-err", host.error.as_ref().map_or("", |fault| &fault.message))
    })?;
    Ok(())
}

/// What stands beside the cases of a host.
fn properties(report: &Report, host: &HostReport) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("trueup", report.trueup.clone()),
        ("command", report.command.clone()),
        ("status", host.status.word().to_owned()),
    ];
    pairs.extend(report.playbook.clone().map(|playbook| ("playbook", playbook)));
    pairs.extend(report.run.clone().map(|run| ("run", run)));
    pairs
}

fn cases(report: &Report, name: &str, host: &HostReport) -> Vec<Case> {
    let mut cases = Vec::new();
    if let Some(fault) = &host.error {
        let kind = if host.status == HostStatus::Unreachable { "unreachable" } else { "failed" };
        let text = fault.cause.hint().map(|hint| format!("hint: {hint}")).unwrap_or_default();
        cases.push(Case {
            class: name.to_owned(),
            name: "the host is read".to_owned(),
            outcome: Outcome::Error { kind, message: fault.message.clone(), text },
        });
    }
    for task in matrix::tasks(report) {
        let outcome = match matrix::verdict(host, task) {
            // Said once, above.
            Verdict::NotRead if host.error.is_some() => continue,
            Verdict::NotAsked => continue,
            Verdict::NotRead => Outcome::Skipped("not read".to_owned()),
            Verdict::NotApplicable(reason) => Outcome::Skipped(format!("not applicable: {reason}")),
            Verdict::Waived(waived) => skipped(waived),
            Verdict::Holds { .. } => Outcome::Passed,
            Verdict::NotKnown => {
                let (message, text) = told(&matrix::findings(host, task));
                Outcome::Error { kind: "unknown", message, text }
            }
            Verdict::Findings { worst, .. } => {
                let (message, text) = told(&matrix::findings(host, task));
                Outcome::Failure { kind: worst.map_or("finding", severity_word), message, text }
            }
        };
        cases.push(Case { class: name.to_owned(), name: task.to_owned(), outcome });
    }
    cases.extend(host.changes.iter().map(|row| change(name, row)));
    if report.drift.is_some() {
        cases.extend(differences(report, name, host));
    }
    cases
}

fn skipped(waived: &Waived) -> Outcome {
    Outcome::Skipped(format!("{}: {}", told_of(waived), waived.reason))
}

/// A case for each difference, or one that says that there is none.
fn differences(report: &Report, name: &str, host: &HostReport) -> Vec<Case> {
    let class = format!("{name}.drift");
    let own = report.differences().filter(|(host, _)| *host == name);
    let mut cases: Vec<Case> = own
        .map(|(_, difference)| Case {
            class: class.clone(),
            name: match (difference.kind, difference.breaks.first()) {
                (Kind::Finding, Some(task)) => format!("{task}: {}", difference.subject),
                (kind, _) => format!("{} {}", kind_word(kind), difference.subject),
            },
            outcome: match difference.waived.as_ref().filter(|_| !difference.counts()) {
                Some(waived) => skipped(waived),
                None => Outcome::Failure {
                    kind: cause_word(difference.cause),
                    message: format!("{} ({})", line(difference), whose(difference.cause)),
                    text: rests_on(difference),
                },
            },
        })
        .collect();
    if cases.is_empty() && host.error.is_none() {
        let name = "as the last verified run left it".to_owned();
        cases.push(Case { class, name, outcome: Outcome::Passed });
    }
    cases
}

/// Whose doing it is, what that rests on, and the change itself.
fn rests_on(difference: &Difference) -> String {
    let mut text = format!("\n{}.\n", sentence(difference.cause));
    for (label, value) in values(difference) {
        text.push_str(&format!("  {label}: {value}\n"));
    }
    if !difference.breaks.is_empty() {
        text.push_str(&format!("  breaks: {}\n", difference.breaks.join(", ")));
    }
    for evidence in &difference.evidence {
        text.push_str(&format!("  because: {}: {}\n", evidence.source, evidence.text));
    }
    text + &difference.diff
}

/// A line for the list of failures, and everything for the one who opens it.
fn told(findings: &[&Finding]) -> (String, String) {
    let message = findings
        .iter()
        .map(|finding| format!("{}: {} (wanted: {})", finding.subject, finding.actual, finding.expected))
        .collect::<Vec<_>>()
        .join("; ");
    let mut text = String::new();
    for finding in findings {
        let doubt = if finding.status == Status::Unknown { ", not known" } else { "" };
        text.push_str(&format!("\n{}: {}{doubt}\n", severity_word(finding.severity), finding.subject));
        for (label, value) in [("wanted", &finding.expected), ("found", &finding.actual)] {
            text.push_str(&format!("  {label}: {value}\n"));
        }
        for evidence in &finding.evidence {
            text.push_str(&format!("  where: {}: {}\n", evidence.source, evidence.text));
        }
        text.push_str(&format!("  mend: {}\n", finding.mend));
    }
    if let Some(why) = findings.first().map(|finding| &finding.why).filter(|why| !why.is_empty()) {
        text.push_str(&format!("\n{why}\n"));
    }
    (message, text)
}

fn change(host: &str, row: &ChangeRow) -> Case {
    let reason = row.reason.clone().unwrap_or_default();
    let outcome = match row.outcome {
        ChangeOutcome::Changed | ChangeOutcome::Unchanged => Outcome::Passed,
        ChangeOutcome::Pending => Outcome::Skipped("would change".to_owned()),
        ChangeOutcome::NotReached => Outcome::Skipped(format!("not reached: {reason}")),
        ChangeOutcome::Failed
        | ChangeOutcome::RolledBack
        | ChangeOutcome::Refused
        | ChangeOutcome::Blocked => {
            let message = format!("{} {reason}", row.outcome.word()).trim().to_owned();
            Outcome::Failure { kind: "change", message, text: row.diff.clone() }
        }
    };
    Case { class: format!("{host}.changes"), name: row.what.clone(), outcome }
}

fn case(writer: &mut Writer<Vec<u8>>, case: &Case) -> io::Result<()> {
    let (class, name) = (clean(&case.class), clean(&case.name));
    let element = writer.create_element("testcase").with_attributes([
        ("classname", class.as_str()),
        ("name", name.as_str()),
        ("time", "0"),
    ]);
    let (tag, kind, message, body) = match &case.outcome {
        Outcome::Passed => {
            element.write_empty()?;
            return Ok(());
        }
        Outcome::Skipped(reason) => ("skipped", None, clean(reason), ""),
        Outcome::Failure { kind, message, text } => ("failure", Some(*kind), clean(message), text.as_str()),
        Outcome::Error { kind, message, text } => ("error", Some(*kind), clean(message), text.as_str()),
    };
    element.write_inner_content(|writer| {
        let mut inner = writer.create_element(tag).with_attribute(("message", message.as_str()));
        if let Some(kind) = kind {
            inner = inner.with_attribute(("type", kind));
        }
        inner.write_text_content(BytesText::new(&clean(body)))?;
        Ok(())
    })?;
    Ok(())
}

/// What is worth knowing, and changes no verdict.
fn notes(host: &HostReport) -> String {
    let notes = host.findings.iter().filter(|finding| finding.is_note());
    notes.map(|note| format!("note: {}: {} ({})\n", note.subject, note.actual, note.mend)).collect()
}

fn text(writer: &mut Writer<Vec<u8>>, tag: &str, body: &str) -> io::Result<()> {
    writer.create_element(tag).write_text_content(BytesText::new(&clean(body)))?;
    Ok(())
}

/// Without the characters that XML 1.0 cannot hold, escaped or not
/// (<https://www.w3.org/TR/xml/#charsets>).
fn clean(text: &str) -> String {
    let allowed = |letter: &char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().filter(allowed).collect()
}

/// RFC 3339 to the second, without the zone: the schema of Ant has no place for it.
fn timestamp(started_at: &str) -> String {
    match started_at.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Err(_) => "1970-01-01T00:00:00".to_owned(),
    }
}
