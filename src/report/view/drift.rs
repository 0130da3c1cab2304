//! What differs from the last verified run, in words.

use serde::Serialize;

use super::Tone;
use crate::drift::Difference;
use crate::report::Report;
use crate::report::drift::{CAUSES, Group, cause_word, groups, kind_word, sentence, values, whose};
use crate::report::human::drift::ink;
use crate::report::human::names::names;
use crate::report::waive::told;

/// What differs, by whose doing it is.
#[derive(Debug, Serialize)]
pub(in crate::report) struct Drift<'a> {
    /// Differences on all hosts together that count.
    pub number: usize,
    /// When the baselines were saved, RFC 3339, and of which hosts they are.
    pub baselines: Vec<(&'a str, String)>,
    /// Hosts that were read and have no baseline.
    pub without: String,
    pub causes: Vec<Cause<'a>>,
}

/// Differences of one cause.
#[derive(Debug, Serialize)]
pub(in crate::report) struct Cause<'a> {
    /// As programs know it.
    pub word: &'static str,
    pub title: &'static str,
    pub tone: Tone,
    pub differences: Vec<Told<'a>>,
}

/// One difference, of all the hosts that have it or of one of them.
#[derive(Debug, Serialize)]
pub(in crate::report) struct Told<'a> {
    /// Of the one that all hosts have in common; from 1.
    pub number: usize,
    /// Whose doing, in a few words.
    pub whose: &'static str,
    pub tone: Tone,
    /// What it is in: `file`.
    pub kind: &'static str,
    pub subject: &'a str,
    /// What was and what is, each with its label.
    pub values: Vec<(&'static str, &'a str)>,
    pub hosts: String,
    pub breaks: &'a [String],
    /// What the cause rests on: source and text.
    pub evidence: Vec<(&'a str, &'a str)>,
    /// Whose that is, where other hosts have something else.
    pub of: &'a str,
    pub diff: &'a str,
    pub waived: Option<String>,
}

/// The view of it; `None` where nothing was compared.
pub(super) fn drift(report: &Report) -> Option<Drift<'_>> {
    let compared = report.drift.as_ref()?;
    let groups = groups(report);
    let cause = |cause| {
        let own = groups.iter().enumerate().filter(|(_, group)| group.first.cause == cause);
        let differences: Vec<Told<'_>> = own.map(|(at, group)| grouped(at + 1, group)).collect();
        let (word, title, tone) = (cause_word(cause), sentence(cause), ink(cause).into());
        (!differences.is_empty()).then_some(Cause { word, title, tone, differences })
    };
    let mut baselines: Vec<(&str, Vec<&str>)> = Vec::new();
    for (host, saved) in &compared.baselines {
        match baselines.iter_mut().find(|(known, _)| known == saved) {
            Some((_, hosts)) => hosts.push(host),
            None => baselines.push((saved, vec![host])),
        }
    }
    let read = report.hosts.iter().filter(|(_, host)| host.error.is_none()).map(|(name, _)| name);
    let without: Vec<&str> =
        read.filter(|name| !compared.baselines.contains_key(*name)).map(String::as_str).collect();
    Some(Drift {
        number: report.summary.drift,
        baselines: baselines.into_iter().map(|(saved, hosts)| (saved, names(&hosts))).collect(),
        without: names(&without),
        causes: CAUSES.into_iter().filter_map(cause).collect(),
    })
}

/// The differences of one host, in the words of the whole.
pub(super) fn own<'a>(report: &'a Report, groups: &[Group<'_>], host: &str) -> Vec<Told<'a>> {
    let number = |difference: &Difference| {
        let place = groups.iter().position(|group| group.is(difference));
        place.expect("every difference is in a group") + 1
    };
    let all = report.differences().filter(|(name, _)| *name == host);
    all.map(|(_, difference)| one(number(difference), difference)).collect()
}

fn grouped<'a>(number: usize, group: &Group<'a>) -> Told<'a> {
    let of = if group.alike { "" } else { group.hosts[0] };
    Told { hosts: names(&group.hosts), of, ..one(number, group.first) }
}

fn one(number: usize, difference: &Difference) -> Told<'_> {
    let evidence = difference.evidence.iter();
    Told {
        number,
        whose: whose(difference.cause),
        tone: ink(difference.cause).into(),
        kind: kind_word(difference.kind),
        subject: &difference.subject,
        values: values(difference),
        hosts: String::new(),
        breaks: &difference.breaks,
        evidence: evidence.map(|one| (one.source.as_str(), one.text.as_str())).collect(),
        of: "",
        diff: &difference.diff,
        waived: difference.waived.as_ref().map(told),
    }
}
