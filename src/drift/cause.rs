//! Whose doing a difference is: package logs, what a file says of itself, and the times of files.

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;

use super::{Cause, Difference, Kind};
use crate::facts::history::Operation;
use crate::facts::{Facts, FileFact};

/// A package tool may write a file so long before it logs the action, in seconds.
const BEFORE: i64 = 5;

/// And so long after it: the package's own scripts run then.
const AFTER: i64 = 60;

/// So many lines of a file are looked at for what it says of itself.
const HEAD: usize = 12;

/// What deployment tools write at the top of the files they manage: Ansible's `ansible_managed` and what
/// OpenStack's roles make of it, Puppet, Chef, Salt, CFEngine, Juju's charms.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)\b(ansible)[ _-]?managed|\b(ansible)\b.*\b(?:managed|generated|overwritten|do not edit)|(?:managed|generated|controlled|maintained|written|deployed|created) (?:automatically )?(?:by|with|via|using) \W?(ansible|puppet|chef|salt|saltstack|cfengine|kolla|kolla-ansible|juju|tripleo|openstack-ansible|terraform)\b|\b(puppet|chef|salt|juju|kolla)\b.*\b(?:managed|do not (?:edit|modify)|overwritten)",
    )
    .expect("the expression is fixed")
});

/// Folders that belong to a deployment tool.
const FOLDERS: &[(&str, &str)] = &[
    ("/etc/kolla/", "kolla-ansible"),
    ("/var/lib/config-data/", "TripleO's Puppet"),
    ("/var/lib/tripleo-config/", "TripleO"),
];

/// Time in a sentence, to the second.
fn at(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// The operations of package tools since the baseline was read.
fn since<'f>(then: &Facts, now: &'f Facts) -> Option<Vec<&'f Operation>> {
    let history = now.history.as_ref()?;
    Some(history.operations.iter().filter(|operation| operation.at >= then.read_at - BEFORE).collect())
}

fn told(operation: &Operation) -> String {
    let by = operation.by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
    format!("{} {} {}{by}", at(operation.at), operation.package, operation.what)
}

/// Who changed or made a file.
pub(super) fn file(difference: Difference, new: &FileFact, then: &Facts, now: &Facts) -> Difference {
    let path = difference.subject.clone();
    let owner = now.history.as_ref().and_then(|history| history.owners.get(&path));
    let mut difference = difference.rests_on(
        path.clone(),
        format!(
            "last written {} (owner {}:{}, {})",
            at(new.modified_at),
            new.owner,
            new.group,
            owner.map_or("of no package".to_owned(), |package| format!("of the package {package}"))
        ),
    );
    let since = since(then, now);
    let operations = since.as_deref().unwrap_or_default();
    // dpkg gives a file the time it has in the package, so one of the owner's own operations is enough where the
    // file was not written after it.
    let own = operations
        .iter()
        .rev()
        .find(|operation| owner == Some(&operation.package) && new.modified_at <= operation.at + AFTER);
    if let Some(operation) = own {
        return difference.because(Cause::Tool, operation.source.clone(), told(operation));
    }
    if let Some((line, text)) = header(&new.content) {
        return difference.because(Cause::Tool, format!("{path}:{line}"), text);
    }
    if let Some((folder, tool)) = FOLDERS.iter().find(|(folder, _)| path.starts_with(folder)) {
        return difference.because(Cause::Tool, *folder, format!("{tool} writes this folder"));
    }
    let near = operations
        .iter()
        .find(|operation| (operation.at - BEFORE..=operation.at + AFTER).contains(&new.modified_at));
    if let Some(operation) = near {
        return difference.because(Cause::Tool, operation.source.clone(), told(operation));
    }
    if difference.kind == Kind::File
        && difference.diff.is_empty()
        && difference.now.contains(' ')
        && new.modified_at < then.read_at
    {
        // Only mode or owner: no time tells of that.
        return difference;
    }
    if new.modified_at < then.read_at {
        return difference.rests_on(
            format!("baseline of {}", at(then.read_at)),
            "its time is older than the baseline, so it was put there with the time of another file",
        );
    }
    if since.is_none() {
        return difference.rests_on("package history", "it was not read");
    }
    difference.cause = Cause::Host;
    difference.rests_on(
        "package history",
        "no package tool worked within a minute of that, and no deployment tool names itself in the file",
    )
}

/// Who took a file away: nothing is left to read, but package tools log what they do.
pub(super) fn gone(difference: Difference, then: &Facts, now: &Facts) -> Difference {
    match since(then, now) {
        Some(operations) if operations.is_empty() => difference.because(
            Cause::Host,
            "package history",
            format!("no package tool worked since {}", at(then.read_at)),
        ),
        _ => difference,
    }
}

/// Who set a live kernel setting: a file that has changed, else somebody by hand.
pub(super) fn sysctl(difference: Difference, files: &[Difference], then: &Facts, now: &Facts) -> Difference {
    let key = difference.subject.clone();
    let slashed = key.replace('.', "/");
    let names = |file: &&Difference| {
        file.subject.contains("sysctl") && (file.diff.contains(&key) || file.diff.contains(&slashed))
    };
    if let Some(file) = files.iter().find(names) {
        let mut difference =
            difference.because(file.cause, file.subject.clone(), "this file has changed and sets it");
        difference.evidence.extend(file.evidence.iter().cloned());
        return difference;
    }
    if now.booted_at > then.read_at {
        return difference.rests_on(
            "uptime",
            format!(
                "the host was booted {}, and no file of sysctl that was read has changed",
                at(now.booted_at)
            ),
        );
    }
    difference.because(
        Cause::Host,
        "sysctl",
        format!(
            "set live since {}: no file of sysctl has changed and the host was not booted",
            at(then.read_at)
        ),
    )
}

/// A difference that a package tool made, where its log has an operation on such a package.
pub(super) fn of_package(
    difference: Difference,
    then: &Facts,
    now: &Facts,
    is: impl Fn(&str) -> bool,
) -> Difference {
    let operations = since(then, now).unwrap_or_default();
    match operations.iter().rev().find(|operation| is(&operation.package)) {
        Some(operation) => difference.because(Cause::Tool, operation.source.clone(), told(operation)),
        None => difference,
    }
}

/// The line in which a file says which tool manages it.
fn header(content: &str) -> Option<(usize, String)> {
    let lines = content.lines().enumerate().take(HEAD);
    let mut comments = lines.filter(|(_, line)| line.trim_start().starts_with(['#', ';', '%', '/']));
    comments.find(|(_, line)| HEADER.is_match(line)).map(|(at, line)| (at + 1, line.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_which_tool_manages_it() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(header(text).map(|(line, _)| line), expected, "{text}");
        };
        check("# Ansible managed\n[DEFAULT]\n", Some(1));
        check("# {{ ansible_managed }}\n", Some(1));
        check("\n; This file is managed by Puppet. DO NOT EDIT.\n", Some(2));
        check("# Generated by Chef for ctl1\n", Some(1));
        check("# THIS FILE IS MANAGED BY KOLLA-ANSIBLE\n", Some(1));
        check("# This file is managed by kolla-ansible\n", Some(1));
        check("# managed with SaltStack\n", Some(1));
        check("# Puppet: do not edit\n", Some(1));
        check("[DEFAULT]\nname = puppet managed by hand\n", None);
        check("# how to run ansible\n", None);
        check("# Written by trueup.\n", None);
        check(&format!("{}# Ansible managed\n", "a = 1\n".repeat(20)), None);
    }
}
