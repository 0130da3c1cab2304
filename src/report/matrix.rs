//! How every host stands with every task: the one table that all formats tell.

use std::collections::BTreeSet;

use super::{HostReport, HostStatus, Report};
use crate::audit::{Finding, Severity, Standing, Status};
use crate::waiver::Waived;

/// How a host stands with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It holds; so many findings are only worth knowing.
    Holds {
        /// How many.
        notes: usize,
    },
    /// There is nothing of the kind there, for this reason.
    NotApplicable(&'a str),
    /// It does not hold, and somebody answers for all of that.
    Waived(&'a Waived),
    /// The host was not read.
    NotRead,
    /// Nothing certain is wrong, and something could not be established.
    NotKnown,
    /// It does not hold.
    Findings {
        /// How many there are.
        number: usize,
        /// The worst of them; `None` where the audit gave none.
        worst: Option<Severity>,
    },
    /// The host was not asked.
    NotAsked,
}

/// The ids of all tasks, in playbook order; findings of no task (a cluster's health) come last.
pub(super) fn tasks(report: &Report) -> Vec<&str> {
    let own = report.hosts.values().flat_map(|host| &host.tasks).map(|row| row.task.as_str());
    let others = report.hosts.values().flat_map(|host| &host.findings).map(|finding| finding.task.as_str());
    let mut seen = BTreeSet::new();
    own.chain(others).filter(|task| seen.insert(*task)).collect()
}

/// The findings of a host that are of this task, in their order.
pub(super) fn findings<'a>(host: &'a HostReport, task: &str) -> Vec<&'a Finding> {
    host.findings.iter().filter(|finding| finding.task == task).collect()
}

/// How this host stands with this task.
pub(super) fn verdict<'a>(host: &'a HostReport, task: &str) -> Verdict<'a> {
    if host.status == HostStatus::Unreachable {
        return Verdict::NotRead;
    }
    let own = findings(host, task);
    if let Some(waived) = own.first().and_then(|finding| finding.waived.as_ref())
        && own.iter().all(|finding| finding.is_waived())
    {
        return Verdict::Waived(waived);
    }
    let standing = host.tasks.iter().find(|row| row.task == task).map(|row| &row.standing);
    match standing {
        Some(Standing::NotApplicable(reason)) => Verdict::NotApplicable(reason),
        Some(Standing::Holds) => Verdict::Holds { notes: own.len() },
        _ if own.is_empty() && host.error.is_some() => Verdict::NotRead,
        None if own.is_empty() => Verdict::NotAsked,
        // Health, which no task asks for.
        None if own.iter().all(|finding| finding.is_note()) => Verdict::Holds { notes: own.len() },
        _ if own.iter().all(|finding| finding.status == Status::Unknown) => Verdict::NotKnown,
        _ => Verdict::Findings { number: own.len(), worst: own.iter().map(|finding| finding.severity).max() },
    }
}

/// The tasks that have no subject on this host, each with the reason.
pub(super) fn absent(host: &HostReport) -> impl Iterator<Item = (&str, &str)> {
    host.tasks.iter().filter_map(|row| match &row.standing {
        Standing::NotApplicable(reason) => Some((row.task.as_str(), reason.as_str())),
        Standing::Holds | Standing::Fails => None,
    })
}
