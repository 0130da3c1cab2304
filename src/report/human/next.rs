//! The end of a report: the counts, and what to type next.

use super::drift;
use super::text::{beside, count};
use crate::audit::Remedy;
use crate::report::drift::{CAUSES, by_whom};
use crate::report::{ChangeOutcome, HostStatus, ROLLBACK, Report, Style};

/// Counts, unless `all_is_said`, then the next step.
pub fn all(report: &Report, all_is_said: bool, style: Style) -> String {
    let columns: usize = style.width.into();
    let mut out = if all_is_said { String::new() } else { beside("", &counts(report), 0, columns) };
    if let Some(run) = &report.run {
        out.push_str(&beside("Undo:", &format!("`trueup rollback {run}` puts this run back."), 6, columns));
    }
    if let Some(next) = next(report) {
        out.push_str(&beside("Next:", &next, 6, columns));
    }
    out
}

/// How many hosts and findings there are, and of which kind, in a line.
pub fn counts(report: &Report) -> String {
    let summary = &report.summary;
    let with = |status| {
        let all = report.hosts.values().filter(|host| host.refused.is_none());
        all.filter(|host| host.status == status).count()
    };
    let hosts = shares(
        summary.hosts,
        &[
            (with(HostStatus::Compliant), "compliant"),
            (with(HostStatus::Findings), "with findings"),
            (with(HostStatus::Unreachable), "not reached"),
            (summary.refused, "refused"),
            (with(HostStatus::Failed), "failed"),
        ],
    );
    let mut text = format!("{}: {hosts}.", count(summary.hosts, "host"));
    if summary.findings > 0 {
        let by = |remedy| {
            let all = report.hosts.values().flat_map(|host| &host.findings);
            all.filter(|finding| finding.remedy == remedy && !finding.is_waived()).count()
        };
        let findings = shares(
            summary.findings,
            &[
                (by(Remedy::Automatic), "for `trueup remediate`"),
                (by(Remedy::Manual), "for a person"),
                (by(Remedy::None), "without need of action"),
            ],
        );
        text.push_str(&format!(" {}: {findings}.", count(summary.findings, "finding")));
    }
    if summary.drift > 0 {
        let by = |cause| {
            let all = report.differences().filter(|(_, difference)| difference.counts());
            all.filter(|(_, difference)| difference.cause == cause).count()
        };
        let causes = shares(summary.drift, &CAUSES.map(|cause| (by(cause), by_whom(cause))));
        text.push_str(&format!(" {}: {causes}.", count(summary.drift, "difference")));
    }
    if summary.waived > 0 {
        text.push_str(&format!(" {}.", count(summary.waived, "waived finding")));
    }
    text
}

/// `2 compliant, 1 failed`, and where one of them is all, `all compliant`.
fn shares(whole: usize, parts: &[(usize, &str)]) -> String {
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let texts = parts.map(|(number, word)| match *number {
        1 if whole == 1 => (*word).to_owned(),
        number if number == whole => format!("all {word}"),
        number => format!("{number} {word}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// What to do next; `None` where nothing is to be done.
pub fn next(report: &Report) -> Option<String> {
    if report.drift.is_some() {
        return drift::next(report);
    }
    let changes = || report.hosts.values().flat_map(|host| &host.changes);
    let any = |outcome| changes().any(|change| change.outcome == outcome);
    let remedy = |wanted| {
        let mut all = report.hosts.values().flat_map(|host| &host.findings);
        all.any(|finding| finding.remedy == wanted && !finding.is_waived())
    };
    if report.command == ROLLBACK {
        let summary = &report.summary;
        let left = summary.failed + summary.unreachable + summary.refused > 0;
        let again =
            if left { "mend what is said above, then the same `trueup rollback` again; " } else { "" };
        return Some(format!("{again}`trueup audit` says what holds now."));
    }
    if any(ChangeOutcome::Failed) {
        return Some("mend what failed first, then `trueup remediate` does what is left.".to_owned());
    }
    if report.summary.refused > 0 {
        return Some("mend what stands in the way, then `trueup remediate` does the rest.".to_owned());
    }
    if any(ChangeOutcome::NotReached) {
        return Some("`trueup remediate` does what was not reached.".to_owned());
    }
    if any(ChangeOutcome::Pending) {
        return Some(
            "`trueup remediate` does this; `trueup plan -o FILE`, then `trueup apply FILE`, does exactly this \
             and nothing newer."
                .to_owned(),
        );
    }
    if any(ChangeOutcome::Blocked) {
        return Some("mend by hand what is blocked, then `trueup plan` again.".to_owned());
    }
    if remedy(Remedy::Automatic) {
        return Some("`trueup plan` shows every change as a diff, `trueup remediate` makes it.".to_owned());
    }
    if remedy(Remedy::Manual) {
        return Some("mend by hand what is said above, then `trueup verify`.".to_owned());
    }
    let broken = report.summary.unreachable + report.summary.failed > 0;
    broken.then(|| format!("mend what is said above, then `trueup {}` again.", report.command))
}
