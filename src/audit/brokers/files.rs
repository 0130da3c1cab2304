//! What a broker reads, as far as the probe has read it.

use std::collections::BTreeMap;

use crate::audit::{is_older, package};
use crate::conf::rabbitmq::{self, Effective, Known, Paths};
use crate::facts::{Facts, FileFact, Process, Reading};
use crate::service::Running;

/// The configuration of a host's broker.
#[derive(Debug)]
pub struct Files<'a> {
    /// Where the node looks.
    pub paths: Paths,
    /// Its version, where that is known.
    pub version: Option<String>,
    /// Every file that was read, by the path that the node knows it by.
    texts: rabbitmq::Files<'a>,
    /// Those that the node reads, and when they were changed.
    changed: Vec<(String, i64)>,
}

impl<'a> Files<'a> {
    /// The files of a broker.
    ///
    /// # Errors
    /// Which of those that decide was not read, and why: what is unknown is never taken for absent.
    pub fn of(facts: &'a Facts, broker: Option<&Running>) -> Result<Self, String> {
        let process = process(facts, broker);
        let container = broker.and_then(|broker| broker.container.as_deref());
        let seen = Seen { facts, container };
        if let Some(process) = process
            && let Some(reason) = facts.unread.get(&format!("environ:{}", process.pid))
        {
            return Err(format!("the environment of the broker (/proc/{}/environ): {reason}", process.pid));
        }
        let nothing = BTreeMap::new();
        let environment = process.map_or(&nothing, |process| &process.environ);
        let version = version(facts, broker);
        let env_path = rabbitmq::env_file(environment);
        let env_file = seen.file(env_path)?;
        let env_text = env_file.map(|file| &*file.content);
        let paths = rabbitmq::locate(environment, env_text, version.as_deref());
        let texts = seen.texts();
        for path in paths.named() {
            seen.file(&path)?;
        }
        if let Some((folder, _)) = paths.folder() {
            seen.folder(folder)?;
        }
        let read: Vec<String> =
            paths.conf_files(&texts).into_iter().chain(paths.terms_file(&texts)).collect();
        let mut changed = Vec::new();
        for path in read.into_iter().chain(env_file.map(|_| env_path.to_owned())) {
            if let Some(file) = seen.file(&path)? {
                changed.push((path, file.modified_at));
            }
        }
        Ok(Self { paths, version, texts, changed })
    }

    /// What they make of the settings that detection depends on.
    pub fn effective(&self) -> Effective {
        rabbitmq::effective(&self.paths, &self.texts)
    }

    /// What they make of one key of rabbitmq.conf.
    pub fn setting(&self, key: &str) -> Known<Option<String>> {
        rabbitmq::setting(&self.paths, &self.texts, key)
    }

    /// The same once there is this file too.
    pub fn setting_with(&self, path: &str, content: &str, key: &str) -> Known<Option<String>> {
        let mut texts: rabbitmq::Files<'_> = self.texts.clone();
        texts.insert(path, Some(content));
        rabbitmq::setting(&self.paths, &texts, key)
    }

    /// The file in Erlang terms that decides over the others, if there is one.
    pub fn terms(&self) -> Option<String> {
        self.paths.terms_file(&self.texts)
    }

    /// The main file, there or not, and whether it is of Erlang terms: before 3.7 it always is.
    pub fn main(&self) -> (String, bool) {
        if let Some(terms) = self.terms().filter(|path| *path != self.paths.advanced) {
            return (terms, true);
        }
        let main = self.paths.named().swap_remove(0);
        let terms = main.ends_with(".config");
        (main, terms)
    }

    /// Was any file changed after the broker started?
    pub fn changed_after_start(&self, broker: &Running) -> bool {
        self.changed.iter().any(|(_, at)| is_older(broker, *at))
    }

    /// Every file and when it was changed.
    pub fn changed(&self) -> Vec<(&str, i64)> {
        self.changed.iter().map(|(path, at)| (path.as_str(), *at)).collect()
    }
}

/// The node's process: its unit's main one may be a shell.
fn process<'a>(facts: &'a Facts, broker: Option<&Running>) -> Option<&'a Process> {
    let own = broker.into_iter().flat_map(|broker| &broker.pids);
    own.filter_map(|pid| facts.processes.get(pid))
        .find(|process| process.argv.first().is_some_and(|word| word.contains("beam")))
}

/// What the node itself says, or the package.
fn version(facts: &Facts, broker: Option<&Running>) -> Option<String> {
    let told = facts.rabbitmq.known().and_then(|rabbit| rabbit.version.clone());
    told.or_else(|| package::version(facts, broker?, "rabbitmq-server").map(str::to_owned))
}

/// The files of a host as a process in this container sees them.
#[derive(Clone, Copy)]
struct Seen<'a, 'c> {
    facts: &'a Facts,
    container: Option<&'c str>,
}

impl<'a> Seen<'a, '_> {
    fn key(&self, path: &str) -> String {
        match self.container {
            Some(container) => format!("container:{container}:{path}"),
            None => path.to_owned(),
        }
    }

    fn file(&self, path: &str) -> Result<Option<&'a FileFact>, String> {
        match self.facts.files.get(&self.key(path)) {
            Some(Reading::Known(file)) => Ok(Some(file)),
            Some(Reading::Absent) => Ok(None),
            Some(Reading::Unknown(reason)) => Err(format!("{path}: {reason}")),
            None => Err(format!("{path} was not read")),
        }
    }

    fn folder(&self, path: &str) -> Result<(), String> {
        match self.facts.folders.get(&self.key(path)) {
            Some(Reading::Known(_) | Reading::Absent) => Ok(()),
            Some(Reading::Unknown(reason)) => Err(format!("{path}: {reason}")),
            None => Err(format!("{path} was not listed")),
        }
    }

    /// Every file that is there.
    fn texts(&self) -> rabbitmq::Files<'a> {
        let prefix = self.key("");
        let seen = self.facts.files.iter().filter_map(|(key, reading)| {
            let path = key.strip_prefix(&prefix).filter(|path| path.starts_with('/'))?;
            match reading {
                Reading::Known(file) => Some((path, Some(&*file.content))),
                Reading::Unknown(_) => Some((path, None)),
                Reading::Absent => None,
            }
        });
        seen.collect()
    }
}
