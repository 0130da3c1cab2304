//! Findings that say the same, as one entry: of many hosts, of many subjects, of many values.

use std::collections::BTreeSet;

use super::text::{folded, ranged};
use crate::audit::{Evidence, Finding, Level, Remedy, Severity, Status};
use crate::report::Report;

/// Findings of one task, told together.
pub struct Chapter<'a> {
    /// One of them, for what all have in common.
    pub first: &'a Finding,
    /// The worst of their severities.
    pub severity: Severity,
    /// In the order in which they are told.
    pub entries: Vec<Entry<'a>>,
}

/// Findings that are told as one.
#[derive(Clone)]
pub struct Entry<'a> {
    /// One of them, for its level, status, severity and remedy.
    pub first: &'a Finding,
    /// Where the truth was looked for.
    pub levels: BTreeSet<Level>,
    /// On which hosts, in order.
    pub hosts: Vec<&'a str>,
    /// What each is about: subject, what should be, what is.
    pub told: Vec<Told>,
    /// What it rests on; of those that differ between hosts in numbers alone, one.
    pub evidence: Vec<Evidence>,
    /// What would mend it.
    pub mend: Vec<String>,
}

/// What is wrong with one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The subject.
    pub subject: String,
    /// What should be.
    pub expected: String,
    /// What is; a range where hosts differ.
    pub actual: String,
}

impl Entry<'_> {
    /// Can it be told as values: `60 → 5`?
    pub fn is_plain(&self) -> bool {
        self.first.status == Status::Fail && self.told.iter().all(plain)
    }

    /// Everything but subject, values, evidence and mend.
    fn kind(&self) -> (&str, Level, Severity, Status, Remedy) {
        let Finding { task, level, severity, status, remedy, .. } = self.first;
        (task, *level, *severity, *status, *remedy)
    }
}

fn plain(told: &Told) -> bool {
    let short = |text: &str, most: usize| !text.is_empty() && text.chars().count() <= most;
    short(&told.expected, 24) && !told.expected.contains(' ') && short(&told.actual, 40)
}

/// Every finding of the report but the waived ones, by task, the worst first.
pub fn chapters(report: &Report) -> Vec<Chapter<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (host, answer) in &report.hosts {
        for finding in answer.findings.iter().filter(|finding| !finding.is_waived()) {
            match entries.iter_mut().find(|entry| entry.first == finding) {
                Some(entry) => entry.hosts.push(host),
                None => entries.push(alone(host, finding)),
            }
        }
    }
    let entries = across_hosts(entries);
    let entries = across_subjects(entries);
    let entries = across_values(entries);
    let entries = across_connections(entries);
    let mut chapters: Vec<Chapter<'_>> = Vec::new();
    for entry in entries {
        let severity = entry.first.severity;
        match chapters.iter_mut().find(|chapter| chapter.first.task == entry.first.task) {
            Some(chapter) => {
                chapter.severity = chapter.severity.max(severity);
                chapter.entries.push(entry);
            }
            None => chapters.push(Chapter { first: entry.first, severity, entries: vec![entry] }),
        }
    }
    chapters.sort_by_key(|chapter| std::cmp::Reverse(chapter.severity));
    chapters
}

/// What `trueup remediate` does not mend, and time does not either.
pub fn left(chapters: Vec<Chapter<'_>>) -> Vec<Chapter<'_>> {
    let mut left = chapters;
    for chapter in &mut left {
        chapter.entries.retain(|entry| entry.first.remedy == Remedy::Manual);
    }
    left.retain(|chapter| !chapter.entries.is_empty());
    left
}

fn alone<'a>(host: &'a str, finding: &'a Finding) -> Entry<'a> {
    Entry {
        first: finding,
        levels: BTreeSet::from([finding.level]),
        hosts: vec![host],
        told: vec![Told {
            subject: finding.subject.clone(),
            expected: finding.expected.clone(),
            actual: finding.actual.clone(),
        }],
        evidence: finding.evidence.clone(),
        mend: vec![finding.mend.clone()],
    }
}

/// Merges into the first entry that `merged` can put the next one into.
fn merge<'a>(
    entries: Vec<Entry<'a>>,
    merged: impl Fn(&Entry<'a>, &Entry<'a>) -> Option<Entry<'a>>,
) -> Vec<Entry<'a>> {
    let mut found: Vec<Entry<'a>> = Vec::new();
    for entry in entries {
        let same = |known: &Entry<'a>| merged(known, &entry);
        match found.iter().enumerate().find_map(|(at, known)| Some((at, same(known)?))) {
            Some((at, one)) => found[at] = one,
            None => found.push(entry),
        }
    }
    found
}

/// The same subject on several hosts: numbers may differ.
fn across_hosts(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    merge(entries, |known, entry| {
        let ([one], [other]) = (known.told.as_slice(), entry.told.as_slice()) else { return None };
        // Plain values are not ranged: each host's own value counts.
        let alike = one.actual == other.actual || !(plain(one) && plain(other));
        if known.kind() != entry.kind()
            || one.subject != other.subject
            || one.expected != other.expected
            || !alike
            || entry.hosts.iter().any(|host| known.hosts.contains(host))
        {
            return None;
        }
        let actual = widened(&one.actual, &other.actual)?;
        let mend = widened(&known.mend[0], &entry.mend[0])?;
        let mut hosts = known.hosts.clone();
        hosts.extend(&entry.hosts);
        Some(Entry {
            hosts,
            told: vec![Told { actual, ..one.clone() }],
            evidence: joined(known, entry),
            mend: vec![mend],
            ..known.clone()
        })
    })
}

/// Several subjects of the same hosts that are wrong in the same way: numbers may differ.
fn across_subjects(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    merge(entries, |known, entry| {
        let [other] = entry.told.as_slice() else { return None };
        let last = known.told.last()?;
        let unknown = known.first.status == Status::Unknown;
        if known.kind() != entry.kind()
            || known.hosts != entry.hosts
            || (!unknown && last.expected != other.expected)
            || plain(other) && !unknown
        {
            return None;
        }
        let actual = widened(&last.actual, &other.actual)?;
        let mut told: Vec<Told> =
            known.told.iter().map(|told| Told { actual: actual.clone(), ..told.clone() }).collect();
        told.push(Told { actual, ..other.clone() });
        let mut mend = known.mend.clone();
        mend.extend(entry.mend.iter().filter(|text| !known.mend.contains(text)).cloned());
        Some(Entry { told, evidence: joined(known, entry), mend, ..known.clone() })
    })
}

/// Several plain values of the same hosts.
fn across_values(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    merge(entries, |known, entry| {
        if known.kind() != entry.kind()
            || known.hosts != entry.hosts
            || !known.is_plain()
            || !entry.is_plain()
        {
            return None;
        }
        let mut one = known.clone();
        one.told.extend(entry.told.iter().cloned());
        one.mend.extend(entry.mend.iter().filter(|text| !known.mend.contains(text)).cloned());
        one.evidence
            .extend(entry.evidence.iter().filter(|evidence| !known.evidence.contains(evidence)).cloned());
        Some(one)
    })
}

/// Connections (`SERVICES with BROKERS`) of any host that are wrong in the same way: the table of windows has
/// the numbers of each.
fn across_connections(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    merge(entries, |known, entry| {
        let ([one], [other]) = (known.told.as_slice(), entry.told.as_slice()) else { return None };
        let (task, _, severity, status, remedy) = known.kind();
        let (same_task, _, same_severity, same_status, same_remedy) = entry.kind();
        if (task, severity, status, remedy) != (same_task, same_severity, same_status, same_remedy)
            || one.expected != other.expected
        {
            return None;
        }
        let (services, brokers) = one.subject.split_once(" with ")?;
        let (more_services, more_brokers) = other.subject.split_once(" with ")?;
        let subject = format!("{} with {}", union(services, more_services), union(brokers, more_brokers));
        let actual = widened(&one.actual, &other.actual)?;
        let mut merged = known.clone();
        merged.told = vec![Told { subject, actual, ..one.clone() }];
        merged.levels.extend(&entry.levels);
        merged.hosts.extend(entry.hosts.iter().filter(|host| !known.hosts.contains(host)));
        merged.evidence = joined(known, entry);
        merged.mend.extend(entry.mend.iter().filter(|text| !known.mend.contains(text)).cloned());
        Some(merged)
    })
}

/// Both lists as one, sorted.
fn union(one: &str, other: &str) -> String {
    let all: BTreeSet<&str> = one.split(", ").chain(other.split(", ")).collect();
    all.into_iter().collect::<Vec<_>>().join(", ")
}

/// One text for two; `a-b` in the first is a range that the second may widen.
fn widened(known: &str, other: &str) -> Option<String> {
    if known == other {
        return Some(known.to_owned());
    }
    ranged(&[known, other]).or_else(|| {
        // `4-5 min` and `7 min`: each end of the range against the number.
        let (low, high) = ends(known);
        ranged(&[&low, &high, other])
    })
}

/// The text with each `a-b` as `a`, and as `b`.
fn ends(text: &str) -> (String, String) {
    let (mut low, mut high) = (String::new(), String::new());
    for word in text.split(' ') {
        let range = word.split_once('-').filter(|(a, b)| {
            let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            number(a) && number(b)
        });
        let (a, b) = range.unwrap_or((word, word));
        for (end, part) in [(&mut low, a), (&mut high, b)] {
            if !end.is_empty() {
                end.push(' ');
            }
            end.push_str(part);
        }
    }
    (low, high)
}

/// The evidence of both; what differs in numbers alone (a process id, a time) once.
fn joined(known: &Entry<'_>, entry: &Entry<'_>) -> Vec<Evidence> {
    let mut all = known.evidence.clone();
    for evidence in &entry.evidence {
        let alike = |one: &Evidence| {
            ranged(&[&one.source, &evidence.source]).is_some()
                && (one.text == evidence.text || ranged(&[&one.text, &evidence.text]).is_some())
        };
        if !all.iter().any(alike) {
            all.push(evidence.clone());
        }
    }
    all
}

/// What an entry rests on, as lines: `source: text`; sources with the same text together.
pub fn sources(evidence: &[Evidence]) -> Vec<String> {
    let mut by_text: Vec<(&str, Vec<String>)> = Vec::new();
    for Evidence { source, text } in evidence {
        match by_text.iter_mut().find(|(known, _)| !text.is_empty() && known == text) {
            Some((_, sources)) => sources.push(source.clone()),
            None => by_text.push((text, vec![source.clone()])),
        }
    }
    by_text
        .into_iter()
        .map(|(text, sources)| {
            let sources = folded(&sources);
            if text.is_empty() { sources } else { format!("{sources}: {text}") }
        })
        .collect()
}

/// Places without their text, lines of one file together: `/etc/sysctl.conf:1-3`.
pub fn places(evidence: &[Evidence]) -> Vec<String> {
    let mut files: Vec<(&str, Vec<u32>)> = Vec::new();
    for Evidence { source, .. } in evidence {
        let (path, line) = match source.rsplit_once(':').map(|(path, line)| (path, line.parse())) {
            Some((path, Ok(line))) => (path, Some(line)),
            _ => (source.as_str(), None),
        };
        match files.iter_mut().find(|(known, _)| *known == path) {
            Some((_, lines)) => lines.extend(line),
            None => files.push((path, line.into_iter().collect())),
        }
    }
    let text = |(path, mut lines): (&str, Vec<u32>)| {
        lines.sort_unstable();
        lines.dedup();
        match lines.as_slice() {
            [] => path.to_owned(),
            [only] => format!("{path}:{only}"),
            [first, .., last] if usize::try_from(last - first + 1) == Ok(lines.len()) => {
                format!("{path}:{first}-{last}")
            }
            _ => {
                let numbers: Vec<String> = lines.iter().map(u32::to_string).collect();
                format!("{path}:{}", numbers.join(","))
            }
        }
    };
    files.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_grows() {
        let check = |known: &str, other: &str, expected: Option<&str>| {
            assert_eq!(widened(known, other).as_deref(), expected, "{known} + {other}");
        };
        check("4 min", "4 min", Some("4 min"));
        check("4 min", "5 min", Some("4-5 min"));
        check("4-5 min", "7 min", Some("4-7 min"));
        check("4-7 min", "5 min", Some("4-7 min"));
        check("4-7 min", "2 h", None);
    }

    #[test]
    fn lines_of_one_file_are_told_together() {
        let check = |sources: &[&str], expected: &[&str]| {
            let evidence: Vec<Evidence> = sources
                .iter()
                .map(|source| Evidence { source: (*source).to_owned(), text: String::new() })
                .collect();
            assert_eq!(places(&evidence), expected);
        };
        check(&["/etc/a:2", "/etc/a:3", "/etc/a:1"], &["/etc/a:1-3"]);
        check(&["/etc/a:2", "/etc/a:5"], &["/etc/a:2,5"]);
        check(&["/etc/a:2", "ss -tno"], &["/etc/a:2", "ss -tno"]);
        check(&["default of RabbitMQ"], &["default of RabbitMQ"]);
    }
}
