//! The end of a report: the counts, and what to type next.

use super::text::{beside, count};
use crate::audit::Remedy;
use crate::report::{ChangeOutcome, HostStatus, Report, Style};

/// Counts, then the next step.
pub fn all(report: &Report, style: Style) -> String {
    let columns: usize = style.width.into();
    let mut out = beside("", &counts(report), 0, columns);
    if let Some(run) = &report.run {
        out.push_str(&beside("Undo:", &format!("`trueup rollback {run}` puts this run back."), 6, columns));
    }
    if let Some(next) = next(report) {
        out.push_str(&beside("Next:", &next, 6, columns));
    }
    out
}

fn counts(report: &Report) -> String {
    let summary = &report.summary;
    let with = report.hosts.values().filter(|host| host.status == HostStatus::Findings).count();
    let parts: Vec<String> = [
        (summary.compliant, "compliant"),
        (with, "with findings"),
        (summary.unreachable, "not reached"),
        (summary.failed, "failed"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    let mut text = format!("{}: {}.", count(summary.hosts, "host"), parts.join(", "));
    if summary.findings > 0 {
        let by = |remedy| {
            let all = report.hosts.values().flat_map(|host| &host.findings);
            all.filter(|finding| finding.remedy == remedy).count()
        };
        let s = |number: usize, one: &str, more: &str| {
            format!("{number} {}", if number == 1 { one } else { more })
        };
        let parts: Vec<String> = [
            (by(Remedy::Automatic), "is for `trueup remediate`", "are for `trueup remediate`"),
            (by(Remedy::Manual), "needs a person", "need a person"),
            (by(Remedy::None), "needs no action", "need no action"),
        ]
        .into_iter()
        .filter(|(number, _, _)| *number > 0)
        .map(|(number, one, more)| s(number, one, more))
        .collect();
        text.push_str(&format!(" {}: {}.", count(summary.findings, "finding"), parts.join(", ")));
    }
    text
}

/// What to do next; `None` where nothing is to be done.
fn next(report: &Report) -> Option<String> {
    let changes = || report.hosts.values().flat_map(|host| &host.changes);
    let any = |outcome| changes().any(|change| change.outcome == outcome);
    let remedy = |wanted| {
        let mut all = report.hosts.values().flat_map(|host| &host.findings);
        all.any(|finding| finding.remedy == wanted)
    };
    let unreachable = report.summary.unreachable > 0;
    if any(ChangeOutcome::Failed) {
        return Some("mend what failed first, then `trueup remediate` does what is left.".to_owned());
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
    if remedy(Remedy::Automatic) {
        return Some("`trueup plan` shows every change as a diff, `trueup remediate` makes it.".to_owned());
    }
    if remedy(Remedy::Manual) {
        return Some("mend by hand what is said above, then `trueup audit` again.".to_owned());
    }
    if unreachable {
        return Some("`ssh` to the hosts that were not reached says more, with -v.".to_owned());
    }
    None
}
