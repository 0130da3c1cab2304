//! RabbitMQ's files on a host, as the node reads them.

use std::collections::BTreeMap;

use crate::audit::is_older;
use crate::conf::rabbitmq::{self, Answer, ENV_FILE, Effective, Paths, Source, locate};
use crate::facts::{Facts, Reading};
use crate::service::Running;

/// Below this the node's files are.
const FOLDER: &str = "/etc/rabbitmq/";

/// The broker's files, and where it looks for them.
#[derive(Debug)]
pub struct Files<'a> {
    /// What there is, by path as the node sees it; `None`: it could not be read.
    known: rabbitmq::Files<'a>,
    /// When each was changed.
    changed: BTreeMap<&'a str, i64>,
    /// Why the first that could not be read could not.
    unread: Option<String>,
    paths: Paths,
}

impl<'a> Files<'a> {
    /// The files of a broker.
    pub fn of(facts: &'a Facts, broker: Option<&Running>) -> Self {
        let prefix = match broker.and_then(|broker| broker.container.as_deref()) {
            Some(container) => format!("container:{container}:"),
            None => String::new(),
        };
        let mut known = rabbitmq::Files::new();
        let mut changed = BTreeMap::new();
        let mut unread = None;
        for (key, reading) in &facts.files {
            let Some(path) = key.strip_prefix(&prefix).filter(|path| path.starts_with(FOLDER)) else {
                continue;
            };
            match reading {
                Reading::Known(file) => {
                    known.insert(path, Some(file.content.as_str()));
                    changed.insert(path, file.modified_at);
                }
                Reading::Unknown(reason) => {
                    known.insert(path, None);
                    unread.get_or_insert_with(|| format!("{path}: {reason}"));
                }
                Reading::Absent => {}
            }
        }
        let process = broker.and_then(|broker| facts.processes.get(&broker.main_pid?));
        let environ = process.map(|process| process.environ.clone()).unwrap_or_default();
        let version = facts.rabbitmq.known().and_then(|rabbit| rabbit.version.as_deref());
        let env_file = known.get(ENV_FILE).copied().flatten();
        let paths = locate(&environ, env_file, version);
        Self { known, changed, unread, paths }
    }

    /// What the node makes of them.
    pub fn effective(&self) -> Effective {
        rabbitmq::effective(&self.paths, &self.known)
    }

    /// The line that decides a key of the plain format, if any sets it.
    ///
    /// # Errors
    /// Why that is not known.
    pub fn setting(&self, key: &str) -> Result<Option<Answer<String>>, String> {
        rabbitmq::setting(&self.paths, &self.known, key)
    }

    /// The reason of the host where the node's files could not be read; else the one given.
    pub fn because(&self, reason: String) -> String {
        self.unread.clone().unwrap_or(reason)
    }

    /// The files that the node reads and when each was changed.
    pub fn changed(&self) -> Vec<(&'a str, i64)> {
        let mut read = self.paths.conf_files(&self.known);
        read.extend(self.paths.terms_file(&self.known));
        let is_read = |path: &&str| read.iter().any(|known| known == path);
        self.changed.iter().filter(|(path, _)| is_read(path)).map(|(path, at)| (*path, *at)).collect()
    }

    /// Was any of them changed after the broker started?
    pub fn changed_after_start(&self, broker: &Running) -> bool {
        self.changed().iter().any(|(_, at)| is_older(broker, *at))
    }

    /// Does the node read this folder's `*.conf`?
    pub fn reads_drop_ins(&self, folder: &str) -> bool {
        let folder = folder.trim_end_matches('/');
        self.paths.additional == folder || self.paths.additional == format!("{folder}/*.conf")
    }

    /// Is this place in the Erlang terms that overrule every plain line?
    pub fn is_terms(&self, source: &Source) -> bool {
        let terms = self.paths.terms_file(&self.known);
        matches!(source, Source::File { path, .. } if Some(path) == terms.as_ref())
    }

    /// The file that a setting goes into where drop-ins are not read.
    pub fn main_file(&self) -> String {
        self.paths.terms_file(&self.known).unwrap_or_else(|| format!("{}.conf", self.paths.main))
    }
}
