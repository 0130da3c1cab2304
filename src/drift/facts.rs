//! What differs between two readings of one host, without what changes by itself: processes, sockets, clocks.

use std::collections::{BTreeMap, BTreeSet};

use super::cause;
use super::{Cause, Difference, Kind};
use crate::facts::{Facts, FileFact, Reading};
use crate::plan::content::unified;
use crate::service;

/// Every difference, with its cause as far as the facts tell.
pub(super) fn differences(then: &Facts, now: &Facts) -> Vec<Difference> {
    let shown = now.masked();
    let mut found = files(then, now, &shown);
    let settings = sysctls(then, now, &found);
    found.extend(settings);
    found.extend(services(then, now));
    found.extend(units(then, now));
    found.extend(containers(then, now));
    found.extend(packages(then, now));
    found.extend(broker(then, now));
    found
}

fn files(then: &Facts, now: &Facts, shown: &Facts) -> Vec<Difference> {
    let mut found = Vec::new();
    let paths: BTreeSet<&String> = then.files.keys().chain(now.files.keys()).collect();
    for path in paths {
        let (before, after) = (reading(then, path), reading(now, path));
        let (Some(before), Some(after)) = (before, after) else { continue };
        let difference = match (before, after) {
            (Reading::Known(old), Reading::Known(new)) => match changed(path, old, new, shown) {
                Some(difference) => cause::file(difference, new, then, now),
                None => continue,
            },
            (Reading::Absent, Reading::Known(new)) => {
                let mut difference = Difference::new(Kind::File, path, "not there", "there");
                difference.diff = unified(path, "", text(shown, path));
                cause::file(difference, new, then, now)
            }
            (Reading::Known(old), Reading::Absent) => {
                let mut difference = Difference::new(Kind::File, path, "there", "gone");
                difference.diff = unified(path, &old.content, "");
                cause::gone(difference, then, now)
            }
            (Reading::Known(_) | Reading::Absent, Reading::Unknown(reason)) => {
                Difference::new(Kind::File, path, "readable", format!("not known: {reason}"))
            }
            _ => continue,
        };
        found.push(difference);
    }
    without_copies(found, now)
}

/// What is known of a file: what was read, or what the listing of its folder says.
fn reading<'f>(facts: &'f Facts, path: &str) -> Option<&'f Reading<FileFact>> {
    static ABSENT: Reading<FileFact> = Reading::Absent;
    if let Some(reading) = facts.files.get(path) {
        return Some(reading);
    }
    let (folder, name) = path.rsplit_once('/')?;
    let names = match facts.folders.get(folder)? {
        Reading::Known(names) => names,
        Reading::Absent => return Some(&ABSENT),
        Reading::Unknown(_) => return None,
    };
    names.iter().all(|known| known != name).then_some(&ABSENT)
}

fn text<'f>(facts: &'f Facts, path: &str) -> &'f str {
    facts.files.get(path).and_then(Reading::known).map_or("", |file| &file.content)
}

fn changed(path: &str, old: &FileFact, new: &FileFact, shown: &Facts) -> Option<Difference> {
    let rights = |file: &FileFact| format!("{:04o} {}:{}", file.mode, file.owner, file.group);
    if old.sha256 != new.sha256 {
        let mut difference = Difference::new(Kind::File, path, "as it was left", "changed");
        difference.diff = unified(path, &old.content, text(shown, path));
        if difference.diff.is_empty() {
            "changed in a password or other secret".clone_into(&mut difference.now);
        }
        if rights(old) != rights(new) {
            difference.now.push_str(&format!(", {} instead of {}", rights(new), rights(old)));
        }
        return Some(difference);
    }
    (rights(old) != rights(new)).then(|| Difference::new(Kind::File, path, rights(old), rights(new)))
}

/// A container's copy of a file of the host that has changed too is the same change.
fn without_copies(found: Vec<Difference>, now: &Facts) -> Vec<Difference> {
    let hash = |path: &str| now.files.get(path)?.known().map(|file| file.sha256.clone());
    let own: BTreeSet<String> = found
        .iter()
        .filter(|difference| !difference.subject.starts_with("container:"))
        .filter_map(|difference| hash(&difference.subject))
        .collect();
    let copy = |difference: &Difference| {
        difference.subject.starts_with("container:")
            && hash(&difference.subject).is_some_and(|hash| own.contains(&hash))
    };
    found.into_iter().filter(|difference| !copy(difference)).collect()
}

fn sysctls(then: &Facts, now: &Facts, files: &[Difference]) -> Vec<Difference> {
    let mut found = Vec::new();
    for (key, after) in &now.sysctls {
        let (Some(Reading::Known(before)), Reading::Known(after)) = (then.sysctls.get(key), after) else {
            continue;
        };
        if before.split_whitespace().eq(after.split_whitespace()) {
            continue;
        }
        let difference = Difference::new(Kind::Sysctl, key, before.trim(), after.trim());
        found.push(cause::sysctl(difference, files, then, now));
    }
    found
}

fn services(then: &Facts, now: &Facts) -> Vec<Difference> {
    let of = |facts: &Facts| -> BTreeMap<String, bool> {
        let named = |running: &service::Running| match running.restarts_as() {
            Some(name) if *name != format!("{}.service", running.service.name) => {
                format!("{} ({name})", running.service.name)
            }
            _ => running.service.name.clone(),
        };
        service::running(facts).iter().map(|running| (named(running), running.runs())).collect()
    };
    let (before, after) = (of(then), of(now));
    let word = |runs: Option<&bool>| match runs {
        Some(true) => "runs",
        Some(false) => "does not run",
        None => "not there",
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let difference = |name: &String| {
        let difference = Difference::new(Kind::Service, name, word(before.get(name)), word(after.get(name)));
        let project = name.split(['-', ' ']).next().unwrap_or(name);
        cause::of_package(difference, then, now, |package| package.split('-').any(|word| word == project))
    };
    differs.map(difference).collect()
}

fn units(then: &Facts, now: &Facts) -> Vec<Difference> {
    let both = then.units.iter().filter_map(|(name, old)| Some((name, old, now.units.get(name)?)));
    let differs = both.filter(|(_, old, new)| old.enabled != new.enabled && old.load == new.load);
    let difference = |(name, old, new): (&String, &crate::facts::Unit, &crate::facts::Unit)| {
        let difference = Difference::new(Kind::Unit, name, old.enabled.clone(), new.enabled.clone());
        let project = name.split(['-', '.']).next().unwrap_or(name).to_owned();
        cause::of_package(difference, then, now, |package| package.split('-').any(|word| word == project))
    };
    differs.map(difference).collect()
}

fn containers(then: &Facts, now: &Facts) -> Vec<Difference> {
    let both = then.containers.iter().filter_map(|(name, old)| Some((name, old, now.containers.get(name)?)));
    let differs = both.filter(|(_, old, new)| old.image != new.image);
    differs
        .map(|(name, old, new)| {
            Difference::new(Kind::Container, name, old.image.clone(), new.image.clone()).because(
                Cause::Tool,
                format!("{} ps", new.engine),
                "a container gets another image only when it is deployed anew",
            )
        })
        .collect()
}

fn packages(then: &Facts, now: &Facts) -> Vec<Difference> {
    type Key<'a> = (&'a str, &'a str, Option<&'a str>);
    let of = |facts: &'_ Facts| -> BTreeMap<(String, String, Option<String>), String> {
        let key = |package: &crate::facts::Package| {
            (package.name.clone(), package.place.clone(), package.container.clone())
        };
        facts.packages.iter().map(|package| (key(package), package.version.clone())).collect()
    };
    let (before, after) = (of(then), of(now));
    let mut found = Vec::new();
    for (key, new) in &after {
        let Some(old) = before.get(key).filter(|old| *old != new) else { continue };
        let (name, place, container): Key<'_> = (&key.0, &key.1, key.2.as_deref());
        let subject = container.map_or_else(|| name.to_owned(), |at| format!("{name} in container {at}"));
        let difference = Difference::new(Kind::Package, &subject, old.clone(), new.clone());
        if let Some(container) = container {
            found.push(difference.because(Cause::Tool, format!("container {container}"), place));
            continue;
        }
        // `oslo.messaging` is python3-oslo.messaging here and python3-oslo-messaging there.
        let plain = |name: &str| name.replace(['.', '_'], "-");
        let wanted = plain(name);
        found.push(cause::of_package(difference, then, now, |package| {
            let package = plain(package);
            package == wanted || package.strip_prefix("python3-") == Some(wanted.as_str())
        }));
    }
    found
}

fn broker(then: &Facts, now: &Facts) -> Vec<Difference> {
    let (Some(old), Some(new)) = (then.rabbitmq.known(), now.rabbitmq.known()) else { return Vec::new() };
    let members = |members: &[String]| {
        let mut sorted = members.to_vec();
        sorted.sort();
        sorted.join(", ")
    };
    let (before, after) = (members(&old.members), members(&new.members));
    // A node that is down does not know its cluster; that it is down is told as a service.
    if before == after || after.is_empty() || before.is_empty() {
        return Vec::new();
    }
    vec![
        Difference::new(Kind::Broker, &new.node, before, after).rests_on(
            "rabbitmqctl cluster_status",
            "the cluster does not say who added or took away a member",
        ),
    ]
}
