//! From the frames of an answer to facts.

use std::collections::{BTreeMap, BTreeSet};

use super::content;
use super::frame::{Frame, frames};
use super::log::tracebacks;
use super::process::{Proc, btime};
use super::rabbit;
use super::script::{Ask, sysctl_path, with_suffix};
use super::sockets::sockets;
use super::units::{containers, units};
use super::versions::package;
use crate::error::HostError;
use crate::facts::history::{self, History};
use crate::facts::{
    CommandFact, Container, Facts, FileFact, Process, Question, Queue, Quorum, Rabbit, Reading, ReplyQueue,
    Socket,
};

const DENIED: &str = "permission denied";

/// What the host answered to one script.
#[derive(Debug)]
pub(super) struct Answer {
    /// What was read.
    pub facts: Facts,
    /// Which container each process is in.
    pub inside: BTreeMap<u32, String>,
    /// RabbitMQ's virtual hosts that have connections.
    pub virtual_hosts: Vec<String>,
}

impl Answer {
    /// Takes in a second answer, which knows better where both speak.
    pub(super) fn extend(&mut self, more: Self) {
        let (facts, more) = (&mut self.facts, more.facts);
        facts.files.extend(more.files);
        facts.folders.extend(more.folders);
        facts.sysctls.extend(more.sysctls);
        facts.units.extend(more.units);
        facts.commands.extend(more.commands);
        facts.logs.extend(more.logs);
        facts.unread.extend(more.unread);
        facts.packages.extend(more.packages);
        if let (Some(known), Some(more)) = (&mut facts.history, more.history) {
            known.owners.extend(more.owners);
        }
        match (&mut facts.sockets, more.sockets) {
            (_, Reading::Absent) => {}
            (Reading::Known(known), Reading::Known(others)) => {
                // The first answer has those of containers too.
                let ends = |s: &Socket| (s.local.clone(), s.local_port, s.peer.clone(), s.peer_port);
                let seen: BTreeSet<_> = known.iter().map(ends).collect();
                known.extend(others.into_iter().filter(|socket| !seen.contains(&ends(socket))));
            }
            (known, others) => *known = others,
        }
        if let (Reading::Known(rabbit), Reading::Known(other)) = (&mut facts.rabbitmq, more.rabbitmq) {
            match (&mut rabbit.reply_queues, other.reply_queues) {
                (Reading::Known(known), Reading::Known(others)) => known.extend(others),
                (known, Reading::Unknown(reason)) => *known = Reading::Unknown(reason),
                _ => {}
            }
            match (&mut rabbit.queues, other.queues) {
                (Reading::Known(known), Reading::Known(others)) => known.extend(others),
                (known, Reading::Unknown(reason)) => *known = Reading::Unknown(reason),
                _ => {}
            }
        }
    }
}

/// What the host answered to `ask`.
pub(super) fn read(host: &str, ask: &Ask<'_>, answer: &[u8]) -> Result<Answer, HostError> {
    let frames = frames(answer, ask.token)?;
    let mut reader =
        Reader { ask, frames: &frames, facts: Facts { host: host.to_owned(), ..Facts::default() } };
    reader.host()?;
    reader.containers();
    reader.processes();
    reader.files();
    reader.folders();
    reader.missing();
    reader.units();
    reader.packages();
    reader.sockets();
    reader.rabbit();
    reader.commands();
    reader.logs();
    reader.history();
    let virtual_hosts = reader
        .all("rabbit")
        .find(|frame| frame.about == "list_connections" && frame.status == Some(0))
        .map(|frame| rabbit::virtual_hosts(&frame.text()))
        .unwrap_or_default();
    Ok(Answer { inside: reader.inside(), virtual_hosts, facts: reader.facts })
}

struct Reader<'a> {
    ask: &'a Ask<'a>,
    frames: &'a [Frame<'a>],
    facts: Facts,
}

impl<'a> Reader<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a Frame<'a>> + use<'a> {
        self.frames.iter().filter(move |frame| frame.name == name)
    }

    fn lines(&self, name: &'static str) -> Vec<String> {
        self.all(name)
            .flat_map(|frame| frame.text().lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| !line.is_empty())
            .collect()
    }

    fn proc(&self) -> Proc {
        let mut proc = Proc::default();
        for frame in self.all("proc").chain(self.all("environ")) {
            proc.read(frame.body, self.ask.root);
        }
        proc
    }

    fn host(&mut self) -> Result<(), HostError> {
        let lines = self.lines("begin");
        let [uid, hostname] = lines.as_slice() else {
            return Err(HostError::Malformed { message: "the host did not say its name".to_owned() });
        };
        self.facts.uid = uid.parse().map_err(|_| HostError::Malformed {
            message: "the host did not say which user it ran as".to_owned(),
        })?;
        hostname.clone_into(&mut self.facts.hostname);
        let proc = self.proc();
        let machine = self.all("clock").next().and_then(|clock| btime(&clock.text()));
        let booted_at = proc.booted_at().or(machine).unwrap_or_default();
        self.facts.booted_at = booted_at;
        self.facts.read_at = machine.unwrap_or(booted_at) + proc.uptime().unwrap_or_default();
        for key in self.ask.sysctls() {
            if let Some(value) = proc.one(&format!("/proc/sys/{}", sysctl_path(&key))) {
                self.facts.sysctls.insert(key, Reading::Known(value.trim_end().to_owned()));
            }
        }
        if self.all("hidden").next().is_some() {
            let reason = "the host hides the processes of other users".to_owned();
            self.facts.unread.insert("processes".to_owned(), reason);
        }
        Ok(())
    }

    fn containers(&mut self) {
        for frame in self.all("engine") {
            let text = frame.text();
            if frame.status == Some(0) {
                self.facts.containers.extend(containers(&text, &frame.about));
            } else {
                let reason = format!("{}: {}", frame.about, rabbit::last_words(&text));
                self.facts.unread.insert("containers".to_owned(), reason);
            }
        }
        // A container that no engine told us of: LXC has none, and the user may not ask docker.
        for frame in self.all("inside") {
            let Some((engine, id)) = frame.words().1.split_once(':') else { continue };
            if self.container_named(id).is_none() {
                let name: String =
                    if engine == "lxc" { id.to_owned() } else { id.chars().take(12).collect() };
                self.facts.containers.insert(
                    name,
                    Container {
                        engine: engine.to_owned(),
                        id: id.to_owned(),
                        status: "running".to_owned(),
                        ..Container::default()
                    },
                );
            }
        }
    }

    fn container_named(&self, id: &str) -> Option<String> {
        self.facts.containers.iter().find(|(_, container)| container.id == id).map(|(name, _)| name.clone())
    }

    /// Which container each process is in.
    fn inside(&self) -> BTreeMap<u32, String> {
        let told = self.all("inside").filter_map(|frame| {
            let (pid, place) = frame.words();
            let (_, id) = place.split_once(':')?;
            Some((pid.parse().ok()?, self.container_named(id)?))
        });
        self.ask.inside.iter().map(|(pid, name)| (*pid, name.clone())).chain(told).collect()
    }

    fn processes(&mut self) {
        let mut processes = self.proc().processes(self.facts.booted_at);
        for (pid, container) in self.inside() {
            if let Some(process) = processes.get_mut(&pid) {
                process.container = Some(container);
            }
        }
        let (links, hidden) = self.links();
        let own = links.get("/proc/self/ns/net").or_else(|| links.get("/proc/1/ns/net"));
        for (pid, process) in &mut processes {
            if let Some(cwd) = links.get(&format!("/proc/{pid}/cwd")) {
                process.cwd.clone_from(cwd);
            }
            let namespace = links.get(&format!("/proc/{pid}/ns/net"));
            process.network_namespace = namespace.filter(|namespace| Some(*namespace) != own).cloned();
        }
        for path in hidden {
            let mut parts = path.trim_start_matches("/proc/").splitn(2, '/');
            if let (Some(pid), Some(what)) = (parts.next(), parts.next())
                && pid.parse().is_ok_and(|pid: u32| processes.contains_key(&pid))
            {
                self.facts.unread.insert(format!("{what}:{pid}"), DENIED.to_owned());
            }
        }
        self.facts.processes = processes;
        for frame in self.all("namespace") {
            let mut proc = Proc::default();
            proc.read(frame.body, "");
            let values = self.ask.sysctls().into_iter().map(|key| {
                let value = proc.one(&format!("/proc/sys/{}", sysctl_path(&key)));
                let value =
                    value.map_or(Reading::Absent, |value| Reading::Known(value.trim_end().to_owned()));
                (key, value)
            });
            self.facts.namespaces.insert(frame.about.clone(), values.collect());
        }
    }

    /// Links of `/proc` and where they point, from `ls -ld`, and the links that were not shown.
    fn links(&self) -> (BTreeMap<String, String>, Vec<String>) {
        let (mut links, mut hidden) = (BTreeMap::new(), Vec::new());
        let start = format!(" {}/proc/", self.ask.root);
        for line in self.lines("links") {
            let Some(at) = line.find(&start) else { continue };
            let rest = &line[at + 1 + self.ask.root.len()..];
            match rest.split_once(" -> ") {
                Some((path, target)) => {
                    links.insert(path.to_owned(), target.to_owned());
                }
                None => hidden.push(rest.to_owned()),
            }
        }
        (links, hidden)
    }

    /// A path as facts name it: one below a process's root belongs to that process's container.
    fn named(&self, path: &str) -> String {
        let inside = || {
            let (pid, rest) = path.strip_prefix("/proc/")?.split_once("/root/")?;
            let container = self.inside().get(&pid.parse().ok()?)?.clone();
            Some(format!("container:{container}:/{rest}"))
        };
        inside().unwrap_or_else(|| path.to_owned())
    }

    fn files(&mut self) {
        let contents = self.all("tar").next().map(|frame| content::files(frame.body)).unwrap_or_default();
        let large: BTreeSet<String> = self.lines("large").iter().map(|name| format!("/{name}")).collect();
        let links: BTreeMap<&str, String> =
            self.all("link").map(|frame| (frame.about.as_str(), frame.text())).collect();
        let real: BTreeMap<&str, String> =
            self.all("real").map(|frame| (frame.about.as_str(), frame.text())).collect();
        // How often each file was asked for, under its own name or as the target of a link.
        let mut asked: BTreeMap<String, usize> = BTreeMap::new();
        for name in self.lines("files").iter().map(|name| format!("/{name}")).chain(large.iter().cloned()) {
            *asked.entry(name).or_default() += 1;
        }
        for target in real.values() {
            if let Some(times) = asked.get_mut(target) {
                *times -= 1;
            }
        }
        let content = |path: &str| match contents.get(path) {
            Some(reading) => reading.clone(),
            None if large.contains(path) => Reading::Unknown("it is larger than 1 MiB".to_owned()),
            None => Reading::Unknown("it could not be read".to_owned()),
        };
        let mut found: Vec<(String, Reading<FileFact>)> = Vec::new();
        for (path, _) in asked.iter().filter(|(_, times)| **times > 0) {
            found.push((self.named(path), content(path)));
        }
        for (path, target) in &real {
            let mut reading = content(target);
            if let Reading::Known(fact) = &mut reading {
                fact.link = links.get(path).cloned();
            }
            found.push((self.named(path), reading));
        }
        for frame in self.all("masked") {
            let empty = FileFact {
                link: Some("/dev/null".to_owned()),
                sha256: content::sha256(b""),
                mode: 0o777,
                ..FileFact::default()
            };
            found.push((self.named(&frame.about), Reading::Known(empty)));
        }
        for frame in self.all("odd") {
            let reason = "its name holds a line break".to_owned();
            found.push((self.named(&frame.text()), Reading::Unknown(reason)));
        }
        self.facts.files.extend(found);
    }

    fn folders(&mut self) {
        for frame in self.all("folder") {
            let text = frame.text();
            let mut names: Vec<String> =
                text.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            names.sort();
            self.facts.folders.insert(self.named(&frame.about), Reading::Known(names));
        }
        for frame in self.all("crowded") {
            let reason = "it holds more than 1000 entries".to_owned();
            self.facts.folders.insert(self.named(&frame.about), Reading::Unknown(reason));
        }
    }

    /// What is not there, and what may not be looked at.
    fn missing(&mut self) {
        for path in self.lines("absent") {
            self.unseen(&path, None);
        }
        for path in self.lines("denied") {
            self.unseen(&path, Some(DENIED));
        }
        for path in self.lines("special") {
            self.unseen(
                &path,
                Some(if path.ends_with('/') { "it is not a folder" } else { "it is not a plain file" }),
            );
        }
    }

    fn unseen(&mut self, path: &str, reason: Option<&str>) {
        fn reading<T>(reason: Option<&str>) -> Reading<T> {
            reason.map_or(Reading::Absent, |reason| Reading::Unknown(reason.to_owned()))
        }
        if let Some(setting) = path.strip_prefix("/proc/sys/") {
            let key = self.ask.sysctls().into_iter().find(|key| sysctl_path(key) == setting);
            if let Some(key) = key {
                self.facts.sysctls.insert(key, reading(reason));
            }
            return;
        }
        let inner = path.strip_prefix("/proc/").and_then(|rest| rest.split_once('/'));
        if let (Some((pid, what @ ("environ" | "root/"))), Some(reason)) = (inner, reason) {
            let what = if what == "environ" { "environ" } else { "files" };
            self.facts.unread.insert(format!("{what}:{pid}"), reason.to_owned());
            return;
        }
        let name = self.named(path);
        match name.strip_suffix('/') {
            Some(folder) => {
                self.facts.folders.entry(folder.to_owned()).or_insert_with(|| reading(reason));
            }
            None => {
                self.facts.files.entry(name).or_insert_with(|| reading(reason));
            }
        }
    }

    fn units(&mut self) {
        let asked: Vec<String> = self
            .ask
            .questions
            .iter()
            .filter_map(|question| match question {
                Question::Unit(name) => Some(with_suffix(name)),
                _ => None,
            })
            .collect();
        for frame in self.all("units") {
            let text = frame.text();
            let found = units(&text, &asked);
            if found.is_empty() && frame.status != Some(0) {
                self.facts.unread.insert("units".to_owned(), rabbit::last_words(&text));
            }
            self.facts.units.extend(found);
        }
    }

    fn packages(&mut self) {
        let inside = self.inside();
        for frame in self.all("packages") {
            let container = frame.about.parse().ok().and_then(|pid: u32| inside.get(&pid).cloned());
            let base = match &container {
                Some(_) => format!("{}/proc/{}/root", self.ask.root, frame.about),
                None => self.ask.root.to_owned(),
            };
            for line in frame.text().lines() {
                let path = line.strip_prefix(&base).unwrap_or(line);
                if path.ends_with('/') {
                    let reason = format!("{path}: {DENIED}");
                    self.facts.unread.insert("packages".to_owned(), reason);
                }
                let found = package(path, container.as_deref());
                self.facts.packages.extend(found);
            }
        }
    }

    fn sockets(&mut self) {
        for frame in self.all("sockets") {
            let text = frame.text();
            let found = sockets(&text);
            if frame.status == Some(0) {
                match &mut self.facts.sockets {
                    Reading::Known(known) => known.extend(found),
                    _ => self.facts.sockets = Reading::Known(found),
                }
            } else {
                self.facts.sockets = Reading::Unknown(format!("`ss`: {}", rabbit::last_words(&text)));
                return;
            }
        }
    }

    fn rabbit(&mut self) {
        let frame = |about: &str| self.all("rabbit").find(|frame| frame.about == about);
        let ended = |frame: &Frame<'_>| match frame.status {
            Some(0) => Ok(frame.text()),
            Some(124 | 137) => Err(format!("`rabbitmqctl {}` did not answer in time", frame.about)),
            _ => Err(format!("`rabbitmqctl {}`: {}", frame.about, rabbit::last_words(&frame.text()))),
        };
        let node = self.node_name();
        let vhosts: Vec<_> = self.all("vhost").map(ended).collect();
        if !vhosts.is_empty() {
            let tables: Result<Vec<String>, String> = vhosts.into_iter().collect();
            let (reply_queues, queues) = listed(tables);
            self.facts.rabbitmq = Reading::Known(Rabbit { reply_queues, queues, ..Rabbit::default() });
            return;
        }
        let Some(status) = frame("cluster_status") else {
            self.facts.rabbitmq = self.rabbit_at_rest(node);
            return;
        };
        let rabbit = ended(status).and_then(|text| {
            rabbit::cluster(&text, &node).map_err(|words| format!("`rabbitmqctl cluster_status`: {words}"))
        });
        self.facts.rabbitmq = match rabbit {
            Err(reason) => Reading::Unknown(reason),
            Ok(mut rabbit) => {
                let answer = |about| frame(about).map_or_else(|| Err("it was not asked".to_owned()), ended);
                rabbit.connections = match answer("list_connections") {
                    Ok(text) => Reading::Known(rabbit::connections(&text, &rabbit.node)),
                    Err(reason) => Reading::Unknown(reason),
                };
                (rabbit.reply_queues, rabbit.queues) = listed(answer("list_queues").map(|text| vec![text]));
                rabbit.quorum = match frame("check_if_node_is_quorum_critical") {
                    None => Reading::Absent,
                    Some(frame) => quorum(frame),
                };
                Reading::Known(rabbit)
            }
        };
    }

    /// A host on which no node was asked.
    fn rabbit_at_rest(&self, node: String) -> Reading<Rabbit> {
        if !self.ask.broker_too {
            return Reading::Unknown("it was not asked".to_owned());
        }
        if self.facts.processes.values().any(is_broker) {
            return Reading::Unknown(
                "the node runs, and there is no `rabbitmqctl` to ask it with".to_owned(),
            );
        }
        let installed = self.facts.units.keys().any(|name| name.starts_with("rabbitmq-server"))
            || self.facts.containers.keys().any(|name| name.starts_with("rabbitmq"))
            || self.facts.packages.iter().any(|package| package.name == "rabbitmq-server");
        match self.facts.unread.get("processes") {
            Some(reason) if installed => Reading::Unknown(reason.clone()),
            _ if installed => Reading::Known(Rabbit { node, ..Rabbit::default() }),
            _ => Reading::Absent,
        }
    }

    /// The node's name as far as it is known without asking it: `RABBITMQ_NODENAME`, `NODENAME` in
    /// rabbitmq-env.conf, `-sname`, or RabbitMQ's default (rabbit_env.erl).
    fn node_name(&self) -> String {
        let process = self.facts.processes.values().find(|process| is_broker(process));
        let environ = process.and_then(|process| process.environ.get("RABBITMQ_NODENAME").cloned());
        let argument = || {
            let argv = &process?.argv;
            let at = argv.iter().position(|word| word == "-sname" || word == "-name")?;
            argv.get(at + 1).cloned()
        };
        let file = || {
            let fact = self.facts.files.get("/etc/rabbitmq/rabbitmq-env.conf")?.known()?;
            fact.content.lines().rev().find_map(|line| {
                let (key, value) = line.trim().split_once('=')?;
                let key = key.trim_start_matches("export ").trim();
                matches!(key, "NODENAME" | "RABBITMQ_NODENAME")
                    .then(|| value.trim_matches(['"', '\'']).to_owned())
            })
        };
        let short = self.facts.hostname.split('.').next().unwrap_or_default();
        let name = environ.or_else(argument).or_else(file).unwrap_or_else(|| "rabbit".to_owned());
        if name.contains('@') { name } else { format!("{name}@{short}") }
    }

    fn commands(&mut self) {
        for (at, frame) in self.frames.iter().enumerate().filter(|(_, frame)| frame.name == "command") {
            let question = frame.about.parse().ok().and_then(|number: usize| self.ask.questions.get(number));
            let Some(Question::Command { id, .. }) = question else { continue };
            let said = self.frames.get(at + 1).filter(|frame| frame.name == "stderr");
            let mut stderr = said.map(Frame::text).unwrap_or_default();
            if let Some((cut, _)) = stderr.char_indices().nth(4096) {
                stderr.truncate(cut);
            }
            self.facts.commands.insert(
                id.clone(),
                CommandFact {
                    status: said.and_then(|said| said.status).unwrap_or(-1),
                    stdout: frame.text(),
                    stderr,
                },
            );
        }
    }

    fn history(&mut self) {
        if !self.ask.questions.contains(&Question::History) {
            return;
        }
        let text = |name: &'static str| self.lines(name).join("\n");
        let mut found = History::read(&text("zone"), &text("dpkg"), &text("apt"), &text("rpm"));
        let lists = self.lines("owners");
        found.owners.extend(lists.iter().filter_map(|line| history::owner(line)));
        for frame in self.all("owner").filter(|frame| frame.status == Some(0)) {
            if let Some(package) = frame.text().lines().next() {
                found.owners.insert(frame.about.clone(), package.to_owned());
            }
        }
        self.facts.history = Some(found);
    }

    /// A service's log is its file and its journal; one that cannot be read makes both unknown.
    fn logs(&mut self) {
        for frame in self.all("log") {
            let question = frame.about.parse().ok().and_then(|number: usize| self.ask.questions.get(number));
            let Some(Question::Log { name, .. }) = question else { continue };
            let read = match frame.status {
                Some(0) => Reading::Known(tracebacks(&frame.text())),
                Some(124 | 137) => Reading::Unknown("its log could not be read in time".to_owned()),
                _ => Reading::Unknown("its log cannot be read".to_owned()),
            };
            match (self.facts.logs.get_mut(name), read) {
                (Some(Reading::Known(known)), Reading::Known(more)) => known.extend(more),
                (Some(Reading::Unknown(_)), _) => {}
                (_, read) => drop(self.facts.logs.insert(name.clone(), read)),
            }
        }
    }
}

/// The reply queues of some tables of queues, and the others.
fn listed(tables: Result<Vec<String>, String>) -> (Reading<Vec<ReplyQueue>>, Reading<Vec<Queue>>) {
    match tables {
        Ok(tables) => (
            Reading::Known(tables.iter().flat_map(|table| rabbit::reply_queues(table)).collect()),
            Reading::Known(tables.iter().flat_map(|table| rabbit::queues(table)).collect()),
        ),
        Err(reason) => (Reading::Unknown(reason.clone()), Reading::Unknown(reason)),
    }
}

/// The check fails with an exit code that depends on the release, so every code but 0 is kept as it is.
fn quorum(frame: &Frame<'_>) -> Reading<Quorum> {
    match frame.status {
        None | Some(124 | 137) => Reading::Unknown(
            "`rabbitmq-diagnostics check_if_node_is_quorum_critical` did not answer in time".to_owned(),
        ),
        Some(status) => {
            let message: String = frame.text().trim().chars().take(4096).collect();
            Reading::Known(Quorum { status, message })
        }
    }
}

/// Is it RabbitMQ's Erlang machine? Its arguments hold `-s rabbit boot`.
pub(super) fn is_broker(process: &Process) -> bool {
    process.argv.iter().any(|word| word == "rabbit")
        && process.argv.first().is_some_and(|word| word.contains("beam"))
}
