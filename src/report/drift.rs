//! Drift, as a part of a report, and the words for it that every format uses.

use std::collections::BTreeMap;

use super::{Compared, Report, Style, human};
use crate::audit::Severity;
use crate::drift::{Baseline, Cause, Difference, Drift, Kind};

/// Every cause, the one to look at first first.
pub(super) const CAUSES: [Cause; 5] =
    [Cause::Host, Cause::Tool, Cause::Policy, Cause::Unknown, Cause::NeverConverged];

impl Report {
    /// Adds what differs from these baselines.
    pub fn add_drift(&mut self, drift: Drift, baselines: &BTreeMap<String, Baseline>) {
        let saved = |(host, baseline): (&String, &Baseline)| (host.clone(), baseline.saved_at.clone());
        self.drift =
            Some(Compared { baselines: baselines.iter().map(saved).collect(), cluster: drift.cluster });
        for (host, differences) in drift.hosts {
            if let Some(host) = self.hosts.get_mut(&host) {
                host.drift = differences;
            }
        }
        self.count();
    }

    /// Every difference with its host; new and gone hosts first.
    pub fn differences(&self) -> impl Iterator<Item = (&str, &Difference)> {
        let cluster = self.drift.iter().flat_map(|compared| &compared.cluster);
        let cluster = cluster.map(|difference| (difference.subject.as_str(), difference));
        let own = self
            .hosts
            .iter()
            .flat_map(|(name, host)| host.drift.iter().map(move |difference| (name.as_str(), difference)));
        cluster.chain(own)
    }

    /// Every difference, as text for a person who is asked whether to accept it.
    pub fn differences_text(&self, style: Style) -> String {
        human::differences(self, style)
    }

    /// How bad a difference of a host is: as the worst finding of what it breaks; `None` where it breaks nothing.
    pub(super) fn severity(&self, host: &str, difference: &Difference) -> Option<Severity> {
        let findings = self.hosts.get(host).into_iter().flat_map(|host| &host.findings);
        let broken = findings.filter(|finding| difference.breaks.contains(&finding.task));
        broken.map(|finding| finding.severity).max()
    }
}

/// A difference and the hosts that have it.
pub(super) struct Group<'a> {
    /// That of the first host.
    pub first: &'a Difference,
    /// In inventory order.
    pub hosts: Vec<&'a str>,
    /// Does it rest on the same words on all of them?
    pub alike: bool,
}

impl Group<'_> {
    /// Is this difference one of them?
    pub fn is(&self, difference: &Difference) -> bool {
        same(self.first, difference)
    }
}

/// Every difference once, with the hosts that have it; the waived ones too.
pub(super) fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (host, difference) in report.differences() {
        match groups.iter_mut().find(|known| known.is(difference)) {
            Some(group) => {
                group.hosts.push(host);
                group.alike &= group.first.evidence == difference.evidence;
            }
            None => groups.push(Group { first: difference, hosts: vec![host], alike: true }),
        }
    }
    groups
}

/// The same in everything but what it rests on?
fn same(one: &Difference, other: &Difference) -> bool {
    // Named one by one, so that a field which is new is not forgotten here.
    let Difference { kind, subject, before, now, diff, cause, evidence: _, breaks, waived } = one;
    (kind, cause, subject, before) == (&other.kind, &other.cause, &other.subject, &other.before)
        && (now, diff, breaks, waived) == (&other.now, &other.diff, &other.breaks, &other.waived)
}

/// The cause as programs know it.
pub(super) fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Host => "host",
        Cause::Tool => "tool",
        Cause::Policy => "policy",
        Cause::NeverConverged => "never_converged",
        Cause::Unknown => "unknown",
    }
}

/// Whose doing it is, in a few words.
pub(super) fn whose(cause: Cause) -> &'static str {
    match cause {
        Cause::Host => "someone on the host",
        Cause::Tool => "a tool",
        Cause::Policy => "our own policy",
        Cause::NeverConverged => "never converged",
        Cause::Unknown => "not known",
    }
}

/// The same behind a number of differences.
pub(super) fn by_whom(cause: Cause) -> &'static str {
    match cause {
        Cause::Host => "by someone on the host",
        Cause::Tool => "by a tool",
        Cause::Policy => "by our own policy",
        Cause::NeverConverged => "never converged",
        Cause::Unknown => "not known by whom",
    }
}

/// The same as a sentence without its end.
pub(super) fn sentence(cause: Cause) -> &'static str {
    match cause {
        Cause::Host => "Somebody or something on the host changed this",
        Cause::Tool => "A package or deployment tool changed this",
        Cause::Policy => "Our own playbook, variables or inventory changed",
        Cause::NeverConverged => "It was so when the baseline was saved (never converged)",
        Cause::Unknown => "Not known who or what changed this",
    }
}

/// What a difference is in, for a person.
pub(super) fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Host => "host",
        Kind::File => "file",
        Kind::Sysctl => "kernel setting",
        Kind::Service => "service",
        Kind::Unit => "unit",
        Kind::Container => "container",
        Kind::Package => "package",
        Kind::Broker => "broker cluster",
        Kind::Finding => "finding",
    }
}

/// Goes without saying of a difference how it was before?
fn goes_without(difference: &Difference) -> bool {
    match difference.kind {
        Kind::File => difference.before.ends_with("left") || difference.before.contains("there"),
        Kind::Host => true,
        _ => false,
    }
}

/// What it was and what it is, each with its label.
pub(super) fn values(difference: &Difference) -> Vec<(&'static str, &str)> {
    let (before, now) = (difference.before.as_str(), difference.now.as_str());
    match difference.kind {
        Kind::Finding => vec![("should be", before), ("is", now)],
        _ if goes_without(difference) => vec![("is", now)],
        _ => vec![("was", before), ("is", now)],
    }
}

/// What it was and what it is, in a line that begins with what it is in.
pub(super) fn line(difference: &Difference) -> String {
    let Difference { subject, before, now, .. } = difference;
    match difference.kind {
        Kind::Finding => format!("{subject}: {now}; should be: {before}"),
        _ if goes_without(difference) => format!("{subject}: {now}"),
        _ => format!("{subject}: {before} → {now}"),
    }
}
