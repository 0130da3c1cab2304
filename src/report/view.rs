//! A report in words, part by part: what the formats for people lay out, each in its own way.

mod drift;

use serde::Serialize;

use super::drift::{CAUSES, Group as Same, groups, whose};
use super::human::changes::{self, Group};
use super::human::grid::Cell;
use super::human::names::names;
use super::human::text::{Ink, clauses, ink};
use super::human::verdict::{Answer, answer};
use super::human::windows::{self, grouped};
use super::human::{self, findings, merge, next, waivers};
use super::matrix::{self, Verdict};
use super::{ChangeOutcome, HostReport, HostStatus, Report, severity_word, waive};
use crate::audit::{Remedy, Severity, Status};
use crate::waiver::{WaiverRow, WaiverStanding};

pub(super) use drift::{Drift, Told};

/// How something is meant: the word for a class of style. The text beside it says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tone {
    /// It is wrong.
    Bad,
    /// It wants attention.
    Warn,
    /// It is well.
    Good,
    /// It is less important.
    Mute,
}

impl From<Ink> for Tone {
    fn from(ink: Ink) -> Self {
        match ink {
            Ink::Red => Self::Bad,
            Ink::Yellow => Self::Warn,
            Ink::Green => Self::Good,
            Ink::Faint | Ink::Bold => Self::Mute,
        }
    }
}

impl From<HostStatus> for Tone {
    fn from(status: HostStatus) -> Self {
        match status {
            HostStatus::Compliant => Self::Good,
            HostStatus::Findings => Self::Warn,
            HostStatus::Unreachable | HostStatus::Failed => Self::Bad,
        }
    }
}

impl From<ChangeOutcome> for Tone {
    fn from(outcome: ChangeOutcome) -> Self {
        match outcome {
            ChangeOutcome::Changed | ChangeOutcome::Unchanged => Self::Good,
            ChangeOutcome::Failed | ChangeOutcome::RolledBack | ChangeOutcome::Refused => Self::Bad,
            ChangeOutcome::Pending | ChangeOutcome::NotReached | ChangeOutcome::Blocked => Self::Warn,
        }
    }
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct View<'a> {
    pub command: &'a str,
    pub trueup: &'a str,
    pub playbook: Option<&'a str>,
    /// RFC 3339.
    pub started_at: &'a str,
    /// The same for a person.
    pub started: String,
    /// `12.3 s`
    pub took: Option<String>,
    pub answer: Said,
    /// Hosts by status, then findings by severity and by remedy, then differences by cause where there was drift to
    /// look for.
    pub tallies: Vec<Tally>,
    /// The same in a sentence.
    pub counts: String,
    pub undo: Option<String>,
    pub next: Option<String>,
    /// What differs from the last verified run; `None` where nothing was compared.
    pub drift: Option<Drift<'a>>,
    pub windows: Vec<Window>,
    /// The ids of the tasks; a row of `matrix` has a cell for each.
    pub tasks: Vec<&'a str>,
    pub matrix: Vec<Row<'a>>,
    /// Why a task has no subject, each reason once.
    pub absent: Vec<(&'a str, &'a str)>,
    pub chapters: Vec<Chapter<'a>>,
    /// Findings that a waiver in force is for.
    pub waived: usize,
    pub waivers: Vec<Waiver<'a>>,
    pub changes: Vec<Changes<'a>>,
    pub hosts: Vec<Host<'a>>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    /// Its first clause.
    pub headline: String,
    pub tone: Tone,
    /// What follows; may be empty.
    pub text: String,
    pub more: Vec<String>,
}

impl From<Answer> for Said {
    fn from(Answer { lead, ink, text, more }: Answer) -> Self {
        let whole = format!("{lead} {text}");
        let whole = whole.trim();
        let (headline, text) = whole.split_once(": ").unwrap_or((whole.trim_end_matches('.'), ""));
        let mut letters = text.chars();
        let text = letters.next().map(|first| first.to_uppercase().chain(letters).collect());
        Self { headline: headline.to_owned(), tone: ink.into(), text: text.unwrap_or_default(), more }
    }
}

/// A number and what it counts.
#[derive(Debug, Serialize)]
pub(super) struct Tally {
    /// `hosts`, `severity`, `remedy` or `cause`.
    pub of: &'static str,
    pub label: &'static str,
    pub number: usize,
    pub tone: Tone,
}

/// Words and how they are meant.
#[derive(Debug, Serialize)]
pub(super) struct Toned {
    pub text: String,
    pub tone: Option<Tone>,
}

/// Connections with the same detection window.
#[derive(Debug, Serialize)]
pub(super) struct Window {
    /// As [`windows::COLUMNS`] has it.
    pub cells: Vec<Toned>,
    /// Whose.
    pub whose: Vec<String>,
}

/// Hosts that stand the same.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    /// In a few words.
    pub hosts: String,
    pub names: Vec<&'a str>,
    pub cells: Vec<Toned>,
}

/// Findings of one task.
#[derive(Debug, Serialize)]
pub(super) struct Chapter<'a> {
    pub task: &'a str,
    pub title: &'a str,
    pub why: &'a str,
    pub severity: &'static str,
    pub tone: Tone,
    pub entries: Vec<Entry>,
}

/// Findings that say the same.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub severity: &'static str,
    pub tone: Tone,
    pub known: bool,
    pub what: String,
    pub values: Vec<(&'static str, String)>,
    pub levels: Vec<&'static str>,
    pub hosts: String,
    pub places: Vec<String>,
    pub remedy: &'static str,
    pub mend: String,
}

/// A difference that somebody answers for.
#[derive(Debug, Serialize)]
pub(super) struct Waiver<'a> {
    /// How it stands.
    pub label: &'static str,
    pub tone: Tone,
    pub task: &'a str,
    pub hosts: String,
    pub until: &'a str,
    pub owner: &'a str,
    pub reason: &'a str,
    pub source: &'a str,
    pub findings: usize,
    /// What the findings say, or what is wrong with the waiver.
    pub what: String,
}

/// Changes of hosts that have the same ones.
#[derive(Debug, Serialize)]
pub(super) struct Changes<'a> {
    /// `Would change`
    pub verb: &'static str,
    /// `on each of ctl1, ctl2, ctl3, one after the other`
    pub on: String,
    /// Does each say how it stands, because they differ?
    pub mixed: bool,
    pub steps: Vec<Step<'a>>,
}

/// One change.
#[derive(Debug, Serialize)]
pub(super) struct Step<'a> {
    pub what: &'a str,
    pub tasks: &'a [String],
    pub outcome: &'static str,
    pub tone: Tone,
    pub reason: Option<&'a str>,
    /// Each text with its hosts; no hosts where all have the same.
    pub diffs: Vec<(&'a str, String)>,
}

/// One host.
#[derive(Debug, Serialize)]
pub(super) struct Host<'a> {
    pub name: &'a str,
    /// How it stands, as the tallies say it.
    pub label: &'static str,
    pub tone: Tone,
    pub error: Option<&'a str>,
    pub hint: Option<String>,
    pub differences: Vec<Told<'a>>,
    pub findings: Vec<Own<'a>>,
}

/// One finding of one host.
#[derive(Debug, Serialize)]
pub(super) struct Own<'a> {
    pub task: &'a str,
    pub severity: &'static str,
    pub tone: Tone,
    pub known: bool,
    /// By whose waiver, and until when.
    pub waived: Option<String>,
    pub level: &'static str,
    pub subject: &'a str,
    pub expected: &'a str,
    pub actual: &'a str,
    pub places: Vec<String>,
    pub remedy: &'static str,
    pub mend: String,
}

/// Everything that a report says.
pub(super) fn view(report: &Report) -> View<'_> {
    let now = grouped(human::rows(report, human::now));
    let then = grouped(human::rows(report, human::then));
    let chapters = merge::chapters(report);
    let tasks = matrix::tasks(report);
    View {
        command: &report.command,
        trueup: &report.trueup,
        playbook: report.playbook.as_deref(),
        started_at: &report.started_at,
        started: report.started_at.parse::<jiff::Timestamp>().map_or_else(
            |_| report.started_at.clone(),
            |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        ),
        took: report.seconds.map(|seconds| format!("{seconds:.1} s")),
        answer: answer(report, &now, &then, &chapters).into(),
        tallies: tallies(report),
        counts: next::counts(report),
        undo: report.run.as_ref().map(|run| format!("trueup rollback {run}")),
        next: next::next(report),
        drift: drift::drift(report),
        windows: now.iter().map(window).collect(),
        matrix: rows(report, &tasks),
        absent: absent(report),
        tasks,
        chapters: chapters.iter().map(|one| chapter(one, report.hosts.len())).collect(),
        waived: report.summary.waived,
        waivers: report.waivers.iter().map(|row| waiver(report, row)).collect(),
        changes: changes::groups(report).iter().map(|group| steps(group, report)).collect(),
        hosts: hosts(report),
    }
}

/// How a host stands, for a person.
fn status_label(status: HostStatus) -> &'static str {
    match status {
        HostStatus::Compliant => "compliant",
        HostStatus::Findings => "with findings",
        HostStatus::Unreachable => "not reached",
        HostStatus::Failed => "failed",
    }
}

fn tallies(report: &Report) -> Vec<Tally> {
    let status = |status: HostStatus| Tally {
        of: "hosts",
        label: status_label(status),
        number: report.hosts.values().filter(|host| host.status == status).count(),
        tone: status.into(),
    };
    let all = || report.hosts.values().flat_map(|host| &host.findings);
    let findings = || all().filter(|finding| !finding.is_waived());
    let severity = |severity: Severity| Tally {
        of: "severity",
        label: severity_word(severity),
        number: findings().filter(|finding| finding.severity == severity).count(),
        tone: ink(severity).into(),
    };
    let remedy = |remedy: Remedy, label, tone| Tally {
        of: "remedy",
        label,
        number: findings().filter(|finding| finding.remedy == remedy).count(),
        tone,
    };
    let differences = || report.differences().filter(|(_, difference)| difference.counts());
    let causes = CAUSES.into_iter().filter(|_| report.drift.is_some()).map(|cause| Tally {
        of: "cause",
        label: whose(cause),
        number: differences().filter(|(_, difference)| difference.cause == cause).count(),
        tone: human::drift::ink(cause).into(),
    });
    let mut tallies = vec![
        status(HostStatus::Compliant),
        status(HostStatus::Findings),
        status(HostStatus::Unreachable),
        status(HostStatus::Failed),
        severity(Severity::Critical),
        severity(Severity::Warning),
        severity(Severity::Info),
        remedy(Remedy::Automatic, "for trueup remediate", Tone::Good),
        remedy(Remedy::Manual, "for a person", Tone::Warn),
        remedy(Remedy::None, "without need of action", Tone::Mute),
    ];
    tallies.extend(causes);
    tallies
}

fn toned(cell: Cell) -> Toned {
    Toned { text: cell.text, tone: cell.ink.map(Tone::from) }
}

fn window(group: &windows::Group<'_>) -> Window {
    Window { cells: windows::cells(group).into_iter().map(toned).collect(), whose: group.whose() }
}

fn rows<'a>(report: &'a Report, tasks: &[&str]) -> Vec<Row<'a>> {
    let mut rows: Vec<(HostStatus, Vec<Verdict<'a>>, Vec<&'a str>)> = Vec::new();
    for (name, host) in &report.hosts {
        let verdicts: Vec<Verdict<'_>> = tasks.iter().map(|task| matrix::verdict(host, task)).collect();
        match rows.iter_mut().find(|(status, known, _)| *status == host.status && *known == verdicts) {
            Some((_, _, hosts)) => hosts.push(name),
            None => rows.push((host.status, verdicts, vec![name])),
        }
    }
    rows.sort_by_key(|(status, _, _)| human::rank(*status));
    let row = |(_, verdicts, hosts): (_, Vec<Verdict<'a>>, Vec<&'a str>)| Row {
        hosts: names(&hosts),
        names: hosts,
        cells: verdicts.into_iter().map(|verdict| toned(human::cell(verdict))).collect(),
    };
    rows.into_iter().map(row).collect()
}

fn absent(report: &Report) -> Vec<(&str, &str)> {
    let mut reasons: Vec<(&str, &str)> = Vec::new();
    for (task, reason) in report.hosts.values().flat_map(matrix::absent) {
        if !reasons.contains(&(task, reason)) {
            reasons.push((task, reason));
        }
    }
    reasons
}

fn chapter<'a>(chapter: &merge::Chapter<'a>, hosts: usize) -> Chapter<'a> {
    Chapter {
        task: &chapter.first.task,
        title: &chapter.first.title,
        why: &chapter.first.why,
        severity: severity_word(chapter.severity),
        tone: ink(chapter.severity).into(),
        entries: chapter.entries.iter().map(|one| entry(one, hosts)).collect(),
    }
}

fn entry(entry: &merge::Entry<'_>, hosts: usize) -> Entry {
    let findings::Parts { what, values, places, remedy, mend } = findings::parts(entry);
    Entry {
        severity: severity_word(entry.first.severity),
        tone: ink(entry.first.severity).into(),
        known: entry.first.status == Status::Fail,
        what,
        values,
        levels: entry.levels.iter().map(|level| findings::level(*level)).collect(),
        hosts: match entry.hosts.len() {
            all if all == hosts && hosts > 3 => format!("all {hosts} hosts"),
            _ => names(&entry.hosts),
        },
        places,
        remedy,
        mend,
    }
}

fn waiver<'a>(report: &Report, row: &'a WaiverRow) -> Waiver<'a> {
    let hosts: Vec<&str> = row.hosts.iter().map(String::as_str).collect();
    let (label, tone) = match row.standing {
        WaiverStanding::Expired => ("ended", Tone::Bad),
        WaiverStanding::MatchesNothing => ("matches nothing", Tone::Warn),
        WaiverStanding::InForce => ("in force", Tone::Good),
        WaiverStanding::NotNeeded => ("nothing left to waive", Tone::Mute),
        WaiverStanding::NotLookedAt => ("not looked at", Tone::Mute),
    };
    Waiver {
        label,
        tone,
        task: &row.task,
        hosts: names(&hosts),
        until: &row.until,
        owner: &row.owner,
        reason: &row.reason,
        source: &row.source,
        findings: row.findings,
        what: row.fault.clone().unwrap_or_else(|| waivers::differences(report, row)),
    }
}

fn steps<'a>(group: &Group<'a>, report: &'a Report) -> Changes<'a> {
    let (verb, on) = group.heading(report);
    let step = |(at, change): (usize, &'a super::ChangeRow)| {
        let diffs = group.diffs(at, report);
        let all = diffs.len() == 1;
        Step {
            what: &change.what,
            tasks: &change.tasks,
            outcome: change.outcome.word(),
            tone: change.outcome.into(),
            reason: change.reason.as_deref(),
            diffs: diffs
                .into_iter()
                .filter(|(text, _)| !text.is_empty())
                .map(|(text, hosts)| (text, if all { String::new() } else { names(&hosts) }))
                .collect(),
        }
    };
    Changes {
        verb,
        on,
        mixed: !group.is_alike(),
        steps: group.changes.iter().enumerate().map(step).collect(),
    }
}

/// The worst first.
fn hosts(report: &Report) -> Vec<Host<'_>> {
    let mut hosts: Vec<(&String, &HostReport)> = report.hosts.iter().collect();
    hosts.sort_by_key(|(_, host)| human::rank(host.status));
    let same = groups(report);
    hosts.into_iter().map(|(name, answer)| host(report, &same, name, answer)).collect()
}

fn host<'a>(report: &'a Report, same: &[Same<'_>], name: &'a str, answer: &'a HostReport) -> Host<'a> {
    let own = answer.findings.iter().map(|finding| Own {
        task: &finding.task,
        severity: severity_word(finding.severity),
        tone: ink(finding.severity).into(),
        known: finding.status == Status::Fail,
        waived: finding.waived.as_ref().map(waive::told),
        level: findings::level(finding.level),
        subject: &finding.subject,
        expected: &finding.expected,
        actual: &finding.actual,
        places: merge::sources(&finding.evidence),
        remedy: findings::remedy(finding.remedy),
        mend: clauses(&finding.mend),
    });
    Host {
        name,
        label: status_label(answer.status),
        tone: answer.status.into(),
        error: answer.error.as_ref().map(|fault| fault.message.as_str()),
        hint: answer.error.as_ref().and_then(|fault| fault.cause.hint()),
        differences: drift::own(report, same, name),
        findings: own.collect(),
    }
}
