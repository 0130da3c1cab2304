//! What only the first answer could name.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::answer::{Answer, is_broker};
use super::script::PORTS;
use crate::conf::rabbitmq::conf::{self, Item};
use crate::conf::rabbitmq::{self, Paths};
use crate::deployment::Persist;
use crate::facts::{Facts, Question, Reading};
use crate::plan::Role;
use crate::service;

/// What the second command asks.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Files and folders.
    pub questions: Vec<Question>,
    /// Ports whose sockets are wanted; empty: all sockets.
    pub ports: Option<Vec<u16>>,
    /// Virtual environments that processes run from.
    pub environments: Vec<String>,
    /// Virtual hosts whose reply queues are to be listed.
    pub virtual_hosts: Vec<String>,
    /// Where the broker runs (`host`, or `ENGINE:ID` of its container), and its process.
    pub broker: (String, u32),
}

impl Wishes {
    /// Nothing is left to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.questions.is_empty()
            && self.ports.is_none()
            && self.environments.is_empty()
            && self.virtual_hosts.is_empty()
    }
}

pub(super) fn wishes(answer: &Answer) -> Wishes {
    let facts = &answer.facts;
    let virtual_hosts: Vec<String> =
        answer.virtual_hosts.iter().filter(|name| name.as_str() != "/").cloned().collect();
    let questions = files(facts);
    let ports = match ports(facts) {
        _ if facts.sockets == Reading::Absent => None,
        // A file that is read only now may name any port.
        _ if !questions.is_empty() => Some(Vec::new()),
        ports if ports.iter().all(|port| PORTS.contains(port)) => None,
        ports => Some(ports.into_iter().collect()),
    };
    Wishes { questions, ports, environments: environments(facts), broker: broker(facts), virtual_hosts }
}

/// Files that services read and that were not among the usual ones.
fn files(facts: &Facts) -> Vec<Question> {
    let mut wanted: BTreeSet<Question> = BTreeSet::new();
    let mut file = |path: String| {
        if !facts.files.contains_key(&path) {
            wanted.insert(Question::File(path));
        }
    };
    let mut folders = BTreeSet::new();
    // RabbitMQ is no oslo service; its files are below.
    let services = service::running(facts).into_iter().filter(|running| running.service.role != Role::Broker);
    for running in services {
        let within = |path: &str| match &running.container {
            Some(container) => format!("container:{container}:{path}"),
            None => path.to_owned(),
        };
        for config in &running.config {
            file(config.fact.clone());
            if let Persist::At { path, .. } = &config.persist {
                file(path.clone());
            }
        }
        for path in &running.missing {
            file(within(path));
            folders.insert(within(path));
        }
        // oslo.config looks at home only when nobody named a file.
        let main = running.main_pid.and_then(|pid| facts.processes.get(&pid));
        let main = main.filter(|main| !main.argv.iter().any(|word| word.starts_with("--config-file")));
        let Some(home) = main.and_then(|main| main.environ.get("HOME")) else { continue };
        let (home, project) = (home.trim_end_matches('/'), &running.service.project);
        for name in [project, &running.service.name] {
            for folder in [format!("{home}/.{project}"), home.to_owned()] {
                file(within(&format!("{folder}/{name}.conf")));
            }
        }
    }
    let mut questions = rabbit_files(facts);
    questions.extend(wanted);
    let unlisted = folders.into_iter().filter(|path| !facts.folders.contains_key(path));
    questions.extend(unlisted.map(|path| Question::Folder { path, suffix: ".conf".to_owned() }));
    questions
}

/// Files that the node reads: where its environment and its env file say it looks, and what its files
/// include.
fn rabbit_files(facts: &Facts) -> Vec<Question> {
    let Some(process) = facts.processes.values().find(|process| is_broker(process)) else {
        return Vec::new();
    };
    let prefix = process.container.as_ref().map_or_else(String::new, |name| format!("container:{name}:"));
    let text = |path: &str| {
        let file = facts.files.get(&format!("{prefix}{path}"))?.known()?;
        Some(&*file.content)
    };
    let env_file = rabbitmq::env_file(&process.environ);
    // Every release's places: the version tells which of them count.
    let paths = rabbitmq::locate(&process.environ, text(env_file), None);
    let mut files: BTreeSet<String> = paths.named().into_iter().collect();
    files.insert(env_file.to_owned());
    // A file without an ending is read as it is, where somebody named one.
    if paths.main != Paths::default().main {
        files.insert(paths.main.clone());
    }
    let mut folders: BTreeSet<(String, String)> = BTreeSet::new();
    folders.extend(paths.folder().map(|(folder, ending)| (folder.to_owned(), ending.to_owned())));
    let known: Vec<(&str, &str)> = facts
        .files
        .iter()
        .filter_map(|(key, reading)| Some((key.strip_prefix(&prefix)?, &*reading.known()?.content)))
        .filter(|(path, _)| path.starts_with("/etc/rabbitmq/") && !path.ends_with(".config"))
        .collect();
    for (path, text) in known {
        let Some((folder, _)) = path.rsplit_once('/') else { continue };
        for item in conf::parse(path, text).unwrap_or_default() {
            let Item::Include { pattern, .. } = item else { continue };
            let pattern = format!("{folder}/{pattern}");
            match (pattern.rsplit_once('/'), pattern.rsplit_once('*')) {
                (Some((folder, _)), Some((_, ending))) => {
                    folders.insert((folder.to_owned(), ending.to_owned()));
                }
                _ => {
                    files.insert(pattern);
                }
            }
        }
    }
    let key =
        |path: String| Some(path).filter(|path| path.starts_with('/')).map(|path| format!("{prefix}{path}"));
    let files = files.into_iter().filter_map(key).filter(|key| !facts.files.contains_key(key));
    let folders = folders.into_iter().filter_map(|(folder, suffix)| Some((key(folder)?, suffix)));
    // The usual folder was listed for the usual ending.
    let folders = folders.filter(|(key, ending)| !facts.folders.contains_key(key) || ending != ".conf");
    files.map(Question::File).chain(folders.map(|(path, suffix)| Question::Folder { path, suffix })).collect()
}

static URL_PORT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^\s*transport_url\s*[=:]\s*(\S.*)$").expect("the expression is fixed"));

static LISTENER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^\s*listeners\.(?:tcp|ssl)\.\S+\s*=\s*(?:\S*:)?(\d+)\s*$")
        .expect("the expression is fixed")
});

/// Leaves only the sockets of AMQP ports.
pub(super) fn keep_amqp(facts: &mut Facts) {
    let ports = ports(facts);
    if let Reading::Known(sockets) = &mut facts.sockets {
        sockets.retain(|socket| ports.contains(&socket.local_port) || ports.contains(&socket.peer_port));
    }
}

/// The usual ports, and those of listeners and of `transport_url`s.
fn ports(facts: &Facts) -> BTreeSet<u16> {
    let mut found: BTreeSet<u16> = PORTS.iter().copied().collect();
    if let Reading::Known(rabbit) = &facts.rabbitmq {
        found.extend(rabbit.listeners.iter().map(|listener| listener.port));
    }
    for content in facts.files.values().filter_map(|reading| reading.known()).map(|fact| &fact.content) {
        for url in URL_PORT.captures_iter(content) {
            let hosts = url[1].split("//").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
            let ports = hosts.split(',').filter_map(|host| host.rsplit('@').next()?.rsplit_once(':'));
            found.extend(ports.filter_map(|(_, port)| port.trim().parse::<u16>().ok()));
        }
        found.extend(LISTENER.captures_iter(content).filter_map(|listener| listener[1].parse::<u16>().ok()));
    }
    found
}

/// Environments that processes run from, unless versions were found there.
fn environments(facts: &Facts) -> Vec<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    for process in facts.processes.values().filter(|process| process.container.is_none()) {
        found.extend(process.environ.get("VIRTUAL_ENV").cloned());
        for word in process.argv.iter().take(2) {
            if let Some((environment, _)) = word.split_once("/bin/") {
                found.insert(environment.to_owned());
            }
        }
    }
    let usual = |path: &str| matches!(path, "" | "/usr" | "/usr/local") || !path.starts_with('/');
    let known = |path: &str| {
        facts
            .packages
            .iter()
            .any(|package| package.place.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
    };
    found.into_iter().filter(|path| !usual(path) && !known(path) && !path.contains("erlang")).collect()
}

/// Where the broker runs, and its process; process 0 where it does not run.
fn broker(facts: &Facts) -> (String, u32) {
    let process = facts.processes.values().find(|process| is_broker(process));
    let container = process.and_then(|process| facts.containers.get(process.container.as_ref()?));
    let place = container
        .map_or_else(|| "host".to_owned(), |container| format!("{}:{}", container.engine, container.id));
    (place, process.map_or(0, |process| process.pid))
}
