//! What differs from the last verified run and from what should hold, and whose doing each difference is.
//!
//! Two comparisons meet here. The **baseline** ([`Baseline`]) against what is now says what has changed on a
//! host. Today's tasks against the baseline's own facts say whether it is the playbook that has changed: what
//! fails now, and fails on the old facts too, is no change of the host. A cause is said with its evidence; where
//! there is none, it is [`Cause::Unknown`].

mod baseline;
mod cause;
mod facts;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::{Cluster, Evidence, Finding, HostAudit, Tasks, audit};
use crate::error::HostError;
use crate::waiver::Waived;

pub use baseline::{Baseline, FORMAT_VERSION, Fault, fingerprint, from_json, to_json};

/// Whose doing a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Somebody or something on the host, past its package and deployment tools.
    Host,
    /// A package or deployment tool.
    Tool,
    /// Our own playbook, variables, inventory or version of trueup.
    Policy,
    /// It was so when the baseline was saved.
    NeverConverged,
    /// Nothing that was read tells.
    Unknown,
}

/// What a difference is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A host is new or gone.
    Host,
    /// A file.
    File,
    /// A live kernel setting.
    Sysctl,
    /// A service is new, gone, or no longer runs.
    Service,
    /// A unit is enabled or not.
    Unit,
    /// A container's image.
    Container,
    /// An installed version.
    Package,
    /// The members of a broker's cluster.
    Broker,
    /// Something that should hold does not, and nothing else that differs explains it.
    Finding,
}

/// One difference on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// What it is in.
    pub kind: Kind,
    /// Which: a path, a setting, a service.
    pub subject: String,
    /// How it was when the baseline was saved, or how it should be where `kind` is `finding`.
    pub before: String,
    /// How it is.
    pub now: String,
    /// The change of a file as a unified diff, secrets masked; empty where no file changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub diff: String,
    /// Whose doing it is.
    pub cause: Cause,
    /// What that rests on.
    pub evidence: Vec<Evidence>,
    /// The tasks that do not hold because of it; none: everything still holds.
    pub breaks: Vec<String>,
    /// The waiver that is for all of these tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waived>,
}

impl Difference {
    /// Does it set the exit code?
    pub fn counts(&self) -> bool {
        self.waived.as_ref().is_none_or(|waived| waived.expired)
    }

    pub(crate) fn new(kind: Kind, subject: &str, before: impl Into<String>, now: impl Into<String>) -> Self {
        Self {
            kind,
            subject: subject.to_owned(),
            before: before.into(),
            now: now.into(),
            diff: String::new(),
            cause: Cause::Unknown,
            evidence: Vec::new(),
            breaks: Vec::new(),
            waived: None,
        }
    }

    /// A finding that stands for itself.
    fn found(finding: &Finding, cause: Cause, source: impl Into<String>, text: impl Into<String>) -> Self {
        let (before, now) = (finding.expected.clone(), finding.actual.clone());
        let mut difference =
            Self::new(Kind::Finding, &finding.subject, before, now).because(cause, source, text);
        difference.breaks.push(finding.task.clone());
        difference.evidence.extend(finding.evidence.iter().cloned());
        difference
    }

    fn because(mut self, cause: Cause, source: impl Into<String>, text: impl Into<String>) -> Self {
        self.cause = cause;
        self.rests_on(source, text)
    }

    fn rests_on(mut self, source: impl Into<String>, text: impl Into<String>) -> Self {
        self.evidence.push(Evidence { source: source.into(), text: text.into() });
        self
    }
}

/// What is compared with the baselines.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// What should hold on the hosts of the run.
    pub tasks: &'a Tasks,
    /// What was read.
    pub cluster: &'a Cluster,
    /// What does not hold.
    pub audits: &'a BTreeMap<String, Result<HostAudit, HostError>>,
    /// Every host that the inventory still has, those outside of the run too.
    pub inventory: &'a BTreeSet<String>,
    /// Is the run about every host, so that one that is in no play counts as gone?
    pub whole: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drift {
    /// Every difference of the hosts that were read, worst first.
    pub hosts: BTreeMap<String, Vec<Difference>>,
    /// Hosts that are new or gone.
    pub cluster: Vec<Difference>,
}

/// What differs.
pub fn compare(baselines: &BTreeMap<String, Baseline>, now: &Now<'_>) -> Drift {
    let then: Cluster = now
        .tasks
        .keys()
        .filter_map(|host| Some((host.clone(), Ok(baselines.get(host)?.facts.clone()))))
        .collect();
    let known: Tasks = Tasks::new();
    // Today's tasks on the old facts; hosts without a baseline are left out by `audit` itself.
    let judged = if then.is_empty() { audit(&known, &then) } else { audit(now.tasks, &then) };
    let mut drift = Drift::default();
    for (host, verdict) in now.audits {
        let (Ok(verdict), Some(Ok(facts))) = (verdict, now.cluster.get(host)) else { continue };
        let mut found = Vec::new();
        if let Some(baseline) = baselines.get(host) {
            found = facts::differences(&baseline.facts, facts);
        }
        let old = judged.get(host).and_then(|judged| judged.as_ref().ok());
        let tasks = now.tasks.get(host).map(Vec::as_slice).unwrap_or_default();
        let findings: Vec<&Finding> = verdict.findings.iter().filter(|finding| !finding.is_note()).collect();
        let mut left = Vec::new();
        for finding in &findings {
            match baselines.get(host).and_then(|baseline| standing(finding, baseline, old, tasks)) {
                Some(difference) => found.push(difference),
                None => left.push(*finding),
            }
        }
        explain(&mut found, left, baselines.contains_key(host));
        for difference in &mut found {
            waive(difference, &findings);
        }
        found.sort_by_key(|difference| {
            (difference.breaks.is_empty(), difference.cause, difference.kind, difference.subject.clone())
        });
        drift.hosts.insert(host.clone(), found);
    }
    drift.cluster = hosts(baselines, now);
    drift
}

/// Hosts that are new, and hosts that are gone.
fn hosts(baselines: &BTreeMap<String, Baseline>, now: &Now<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    for host in now.audits.keys().filter(|host| !baselines.is_empty() && !baselines.contains_key(*host)) {
        found.push(Difference::new(Kind::Host, host, "not there", "in the inventory").because(
            Cause::Policy,
            "inventory",
            "this host was not in any verified run",
        ));
    }
    for (host, baseline) in baselines {
        let gone = if now.inventory.contains(host) {
            if now.audits.contains_key(host) || !now.whole {
                continue;
            }
            "in no play of this playbook"
        } else {
            "no longer in the inventory"
        };
        found.push(Difference::new(Kind::Host, host, "in the inventory", gone).because(
            Cause::Policy,
            "inventory",
            format!("its baseline is of {}", baseline.saved_at),
        ));
    }
    found
}

/// A finding that is no change of the host: it never held, or the playbook asks for something else now.
fn standing(
    finding: &Finding,
    baseline: &Baseline,
    old: Option<&HostAudit>,
    tasks: &[crate::playbook::BoundTask],
) -> Option<Difference> {
    let of = |cause, text: String| {
        Difference::found(finding, cause, format!("baseline of {}", baseline.saved_at), text)
    };
    if baseline.findings.iter().any(|fault| fault.is_same(finding)) {
        return Some(of(Cause::NeverConverged, "it was so then, too".to_owned()));
    }
    old?.findings.iter().find(|known| Fault::of(known).is_same(finding))?;
    let task = tasks.iter().find(|task| task.id == finding.task)?;
    let text = match baseline.tasks.get(&finding.task) {
        None => format!("there was no task `{}` then", finding.task),
        Some(known) if *known != fingerprint(task) => {
            format!("it was {} then, too, and the task asked for something else", finding.actual)
        }
        Some(_) if baseline.trueup != env!("CARGO_PKG_VERSION") => {
            format!("trueup {} did not object to it", baseline.trueup)
        }
        // The task is the same and so is the value: the verdict rests on something else that has changed.
        Some(_) => return None,
    };
    Some(of(Cause::Policy, text))
}

/// Says which difference each finding comes from; one that comes from none stands for itself.
fn explain(found: &mut Vec<Difference>, findings: Vec<&Finding>, has_baseline: bool) {
    let mut left = Vec::new();
    for finding in findings {
        let own = found.iter_mut().find(|difference| is_in(difference, finding));
        match own {
            Some(difference) => add(&mut difference.breaks, &finding.task),
            None => left.push(finding),
        }
    }
    for finding in left {
        // A process or connection that does not follow its file is the same matter as the file.
        let related = found
            .iter_mut()
            .find(|difference| difference.kind != Kind::Finding && difference.breaks.contains(&finding.task));
        if related.is_some() {
            continue;
        }
        let text = if has_baseline {
            "nothing else that was read has changed"
        } else {
            "there is no baseline of this host to compare with"
        };
        found.push(Difference::found(finding, Cause::Unknown, "baseline", text));
    }
}

/// Does the finding rest on what this difference is in?
fn is_in(difference: &Difference, finding: &Finding) -> bool {
    let subject = difference.subject.as_str();
    let in_source = |source: &str| {
        source == subject
            || source.strip_prefix(subject).is_some_and(|rest| rest.starts_with([':', ' ']))
            || source.strip_prefix("sysctl ").is_some_and(|key| key == subject)
    };
    match difference.kind {
        Kind::File | Kind::Sysctl => {
            finding.subject == subject || finding.evidence.iter().any(|evidence| in_source(&evidence.source))
        }
        Kind::Service | Kind::Unit => finding.subject == subject,
        Kind::Host | Kind::Container | Kind::Package | Kind::Broker | Kind::Finding => false,
    }
}

fn add(list: &mut Vec<String>, text: &str) {
    if !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

/// A difference is waived when everything that it breaks is.
fn waive(difference: &mut Difference, findings: &[&Finding]) {
    let of = |task: &String| findings.iter().find(|finding| finding.task == *task)?.waived.clone();
    let waived: Vec<Option<Waived>> = difference.breaks.iter().map(of).collect();
    if !waived.is_empty() && waived.iter().flatten().filter(|waived| !waived.expired).count() == waived.len()
    {
        difference.waived = waived.into_iter().flatten().next();
    }
}

#[cfg(test)]
mod tests;
