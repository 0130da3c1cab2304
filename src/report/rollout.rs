//! What a plan would do, what it did, and how the clusters are afterwards, as parts of a report.

use std::collections::BTreeMap;

use super::{ChangeOutcome, ChangeRow, Failure, HostReport, HostStatus, Report, Style, human};
use crate::audit::{Cluster, Finding, health};
use crate::plan::outcome::{Ending, HostOutcome};
use crate::plan::{HostPlan, Plan};

impl Report {
    /// What would be done, as text for a person who is asked whether to do it.
    pub fn changes_text(&self, style: Style) -> String {
        human::changes(self, style)
    }

    /// Adds what the plan would do.
    pub fn add_plan(&mut self, plan: &Plan) {
        self.add_rows(plan, |_| None);
    }

    /// Adds what the plan did. A host whose part of it failed is a failed host; one that refused stands as it
    /// was found.
    pub fn add_outcome(&mut self, plan: &Plan, outcomes: &BTreeMap<String, HostOutcome>) {
        self.add_rows(plan, |host| outcomes.get(host));
        for outcome in outcomes.values().filter(|outcome| outcome.ending.failed()) {
            let Some(host) = self.hosts.get_mut(&outcome.host) else { continue };
            host.failure = failure(&outcome.ending);
            if let Ending::Refused { reason } = &outcome.ending {
                host.refused = Some(reason.clone());
            } else if host.status != HostStatus::Unreachable {
                host.status = HostStatus::Failed;
            }
        }
        self.count();
    }

    /// Adds what the windows were in a report of the same hosts, made before the changes.
    pub fn add_before(&mut self, before: &Report) {
        for (name, host) in &mut self.hosts {
            let Some(known) = before.hosts.get(name) else { continue };
            if known.windows != host.windows {
                host.windows_before.clone_from(&known.windows);
            }
        }
    }

    /// Adds how the way back of a run went on each host. A host that is as it was has not failed.
    pub fn add_rollback(&mut self, plan: &Plan, outcomes: &BTreeMap<String, HostOutcome>) {
        self.add_outcome(plan, outcomes);
        for outcome in outcomes.values().filter(|outcome| outcome.ending.is_back()) {
            let Some(host) = self.hosts.get_mut(&outcome.host) else { continue };
            host.failure = None;
            if host.status == HostStatus::Failed {
                host.status = if host.findings.iter().all(Finding::is_note) {
                    HostStatus::Compliant
                } else {
                    HostStatus::Findings
                };
            }
        }
        self.count();
    }

    /// Adds what is wrong with the brokers and services, whatever the playbook says.
    pub fn add_health(&mut self, cluster: &Cluster) {
        for (name, facts) in cluster {
            let Ok(facts) = facts else { continue };
            let Some(host) = self.hosts.get_mut(name) else { continue };
            host.findings.extend(health::findings(facts));
            if host.status == HostStatus::Compliant && host.findings.iter().any(Finding::counts) {
                host.status = HostStatus::Findings;
            }
        }
        self.count();
    }

    fn add_rows<'a>(&mut self, plan: &Plan, outcome: impl Fn(&str) -> Option<&'a HostOutcome>) {
        let names = |hosts: &[HostPlan]| hosts.iter().map(|host| host.host.clone()).collect();
        self.batches = Some(plan.batches.iter().map(|batch| names(&batch.hosts)).collect());
        for host in plan.batches.iter().flat_map(|batch| &batch.hosts) {
            let report = self.hosts.entry(host.host.clone()).or_insert_with(HostReport::unread);
            report.changes.extend(rows(host, outcome(&host.host)));
        }
    }
}

/// Where the part of a host failed.
fn failure(ending: &Ending) -> Option<Failure> {
    match ending {
        Ending::Applied | Ending::NotReached { .. } | Ending::Refused { .. } => None,
        Ending::RolledBack { step, .. }
        | Ending::PutItselfBack { step, .. }
        | Ending::Open { step, .. }
        | Ending::Broken { step, .. } => {
            Some(Failure { step: step.clone(), reason: ending.reason().unwrap_or_default() })
        }
    }
}

/// A row for every step of a host's plan and for what is blocked.
fn rows(host: &HostPlan, outcome: Option<&HostOutcome>) -> Vec<ChangeRow> {
    let mut rows: Vec<ChangeRow> = host
        .steps
        .iter()
        .enumerate()
        .map(|(number, step)| {
            let (standing, reason) = stands(number, outcome);
            ChangeRow {
                tasks: step.tasks.clone(),
                what: step.action.to_string(),
                diff: step.diff.clone(),
                outcome: standing,
                reason,
            }
        })
        .collect();
    rows.extend(host.blocked.iter().map(|blocked| ChangeRow {
        tasks: vec![blocked.task.clone()],
        what: format!("what `{}` wants", blocked.task),
        diff: String::new(),
        outcome: ChangeOutcome::Blocked,
        reason: Some(blocked.reason.clone()),
    }));
    rows
}

/// How it stands with step `number` (from 0) of a host.
fn stands(number: usize, outcome: Option<&HostOutcome>) -> (ChangeOutcome, Option<String>) {
    let Some(outcome) = outcome else { return (ChangeOutcome::Pending, None) };
    let put_back = outcome.ending.is_back();
    match outcome.done.get(number) {
        Some(true) if put_back => (ChangeOutcome::RolledBack, None),
        Some(true) => (ChangeOutcome::Changed, None),
        Some(false) => (ChangeOutcome::Unchanged, None),
        None if matches!(outcome.ending, Ending::Refused { .. }) => {
            (ChangeOutcome::Refused, outcome.ending.reason().filter(|_| number == 0))
        }
        None if number > outcome.done.len() => (ChangeOutcome::NotReached, None),
        None => match &outcome.ending {
            Ending::Applied | Ending::NotReached { .. } => {
                (ChangeOutcome::NotReached, outcome.ending.reason())
            }
            Ending::Refused { .. } => (ChangeOutcome::Refused, None),
            Ending::RolledBack { .. }
            | Ending::PutItselfBack { .. }
            | Ending::Open { .. }
            | Ending::Broken { .. } => (ChangeOutcome::Failed, outcome.ending.reason()),
        },
    }
}
