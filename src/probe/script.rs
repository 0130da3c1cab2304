//! The text that is sent to a host: what to ask, in front of the fixed script.

use std::collections::{BTreeMap, BTreeSet};

use crate::cmd::quote;
use crate::deployment;
use crate::facts::Question;
use crate::service;

/// Kernel settings that are always read, in every network namespace in which a service runs.
pub const SYSCTLS: &[&str] = &[
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_retries2",
];

/// Ports that AMQP sockets are looked for on, whatever the configuration says.
pub const PORTS: &[u16] = &[5671, 5672];

/// Every program the script runs, with the words that make it a reading one. `timeout`, `nsenter` and
/// `docker exec` only run another line of this table.
pub const READS: &[&str] = &[
    "cat",
    "date",
    "docker exec",
    "docker ps",
    "grep",
    "head",
    "journalctl -q",
    "ls",
    "nsenter",
    "podman exec",
    "podman ps",
    "rabbitmq-diagnostics check_if_node_is_quorum_critical",
    "rabbitmqctl cluster_status",
    "rabbitmqctl list_connections",
    "rabbitmqctl list_queues",
    "readlink",
    "rpm -qa",
    "rpm -qf",
    "ss",
    "systemctl show",
    "tail",
    "tar -c",
    "timeout",
    "uname",
];

/// How long `rabbitmqctl`, `systemctl`, `ss` and container engines are waited for, each, in seconds: well
/// above the second that a call takes, well below a host's deadline.
const PATIENCE: u32 = 20;

const SCRIPT: &str = include_str!("script.sh");

/// What the probe looks for on every host: the services that the tool knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// oslo.config projects (`cinder`): their folders below `/etc` are read.
    pub projects: Vec<String>,
    /// Names that processes of services have (`cinder-volume`, `neutron-server`).
    pub programs: Vec<String>,
    /// systemd units with their suffix; `*` is allowed.
    pub units: Vec<String>,
}

impl Scope {
    /// Everything that [`service::services`] knows, in every way it can be installed.
    pub fn known() -> Self {
        let mut projects = BTreeSet::new();
        let mut programs = BTreeSet::new();
        let mut units: BTreeSet<String> =
            ["kolla-*-container.service", "tripleo_*.service"].map(str::to_owned).into();
        for service in service::services() {
            // RabbitMQ has no oslo.config folders, and its node is found as what it is.
            if service.project != "rabbitmq" {
                projects.insert(service.project.clone());
                programs.extend(service.programs().map(str::to_owned));
            }
            for kind in deployment::KINDS.iter().filter(|kind| !kind.contains_services()) {
                units.extend(kind.units(service).map(|name| format!("{name}.service")));
            }
        }
        Self {
            projects: projects.into_iter().collect(),
            programs: programs.into_iter().collect(),
            units: units.into_iter().collect(),
        }
    }
}

/// One command's worth of questions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    /// Separates the frames of the answer; random, so that no file can hold it.
    pub token: &'a str,
    /// Folder that every path on the host is below (`trueup_root`), without a slash at its end.
    pub root: &'a str,
    /// The services to look for; `None`: only the questions.
    pub scope: Option<&'a Scope>,
    /// What is asked beyond what is always read.
    pub questions: &'a [Question],
    /// Ports whose sockets are wanted; `Some` and empty: all sockets. `None`: none.
    pub ports: Option<&'a [u16]>,
    /// Virtual environments (`/opt/cinder`) to look for versions in.
    pub environments: &'a [String],
    /// RabbitMQ's virtual hosts whose queues are listed.
    pub virtual_hosts: &'a [String],
    /// Where the broker runs that is asked for them (`host`, or `ENGINE:ID` of its container), and its
    /// process.
    pub broker: (&'a str, u32),
    /// Is the broker asked, where there is one?
    pub broker_too: bool,
    /// How long a program that may hang is waited for, in seconds.
    pub patience: u32,
    /// Which container each process is in, as far as that is known already.
    pub inside: &'a BTreeMap<u32, String>,
}

impl<'a> Ask<'a> {
    /// No question at all; for `..`.
    pub(super) fn nothing(inside: &'a BTreeMap<u32, String>) -> Self {
        Self {
            token: "",
            root: "",
            scope: None,
            questions: &[],
            ports: None,
            environments: &[],
            virtual_hosts: &[],
            broker: ("", 0),
            broker_too: true,
            patience: PATIENCE,
            inside,
        }
    }

    /// The script to run. Every value in it is quoted.
    pub(super) fn script(&self) -> String {
        let mut text = String::with_capacity(SCRIPT.len() + 4096);
        let mut set = |name: &str, value: &str| {
            text.push_str(name);
            text.push('=');
            text.push_str(&quote(value));
            text.push('\n');
        };
        let lines = |list: &mut dyn Iterator<Item = String>| list.collect::<Vec<_>>().join("\n");
        set("token", self.token);
        set("root", self.root);
        set("full", if self.scope.is_some() { "yes" } else { "no" });
        set("sysctls", &lines(&mut self.sysctls().iter().map(|key| sysctl_path(key))));
        set("pattern", &self.scope.map(pattern).unwrap_or_default());
        set("projects", &lines(&mut self.scope.iter().flat_map(|scope| scope.projects.iter().cloned())));
        set("units", &lines(&mut self.scope.iter().flat_map(|scope| scope.units.iter().cloned())));
        let mut asked_units = lines(&mut self.questions.iter().filter_map(|question| match question {
            Question::Unit(name) => Some(with_suffix(name)),
            _ => None,
        }));
        if !asked_units.is_empty() {
            asked_units.push('\n');
        }
        set("asked_units", &asked_units);
        set("sockets", if self.ports.is_some() { "yes" } else { "no" });
        set("ports", &lines(&mut self.ports.unwrap_or_default().iter().map(ToString::to_string)));
        set("environments", &lines(&mut self.environments.iter().cloned()));
        set("virtual_hosts", &lines(&mut self.virtual_hosts.iter().cloned()));
        set("rabbit", self.broker.0);
        set("rabbit_pid", &self.broker.1.to_string());
        set("broker_too", if self.broker_too { "yes" } else { "no" });
        let history = match (self.questions.contains(&Question::History), self.scope) {
            (false, _) => "no",
            (true, Some(_)) => "yes",
            (true, None) => "owners",
        };
        set("history", history);
        set("quorum", if self.questions.contains(&Question::Quorum) { "yes" } else { "no" });
        set("patience", &self.patience.to_string());
        text.push_str("asked() {\n:\n");
        for question in self.questions {
            let (path, suffix) = match question {
                Question::File(path) => (path, None),
                Question::Folder { path, suffix } => (path, Some(suffix)),
                Question::Sysctl(_)
                | Question::Unit(_)
                | Question::Log { .. }
                | Question::Quorum
                | Question::History
                | Question::Command { .. } => continue,
            };
            let Some((base, path)) = self.locate(path) else { continue };
            text.push_str("base=");
            text.push_str(&quote(&base));
            text.push('\n');
            match suffix {
                None => push_call(&mut text, "want", &[&path]),
                Some(suffix) => push_call(&mut text, "want_folder", &[&path, suffix]),
            }
        }
        text.push_str("base=\n");
        text.push_str("}\ncommands() {\n:\n");
        for (number, question) in self.questions.iter().enumerate() {
            if let Question::Command { argv, .. } = question {
                let number = number.to_string();
                let words: Vec<&str> =
                    std::iter::once(number.as_str()).chain(argv.iter().map(String::as_str)).collect();
                push_call(&mut text, "command_of", &words);
            }
        }
        text.push_str("}\nlogs() {\n:\n");
        for (number, question) in self.questions.iter().enumerate() {
            if let Question::Log { file, unit, .. } = question {
                let path = file.as_deref().and_then(|file| self.locate(file)).map(|(_, path)| path);
                let words = [
                    &number.to_string(),
                    path.as_deref().unwrap_or_default(),
                    unit.as_deref().unwrap_or_default(),
                ];
                push_call(&mut text, "log_of", &words);
            }
        }
        text.push_str("}\n");
        text.push_str(SCRIPT);
        text
    }

    /// Where a path is on the host, and the root that absolute links in it start from: a container's file
    /// is read through the root of one of its processes. `None`: none of them is known.
    fn locate(&self, path: &str) -> Option<(String, String)> {
        let Some((name, inner)) = path.strip_prefix("container:").and_then(|rest| rest.split_once(':'))
        else {
            return Some((String::new(), path.to_owned()));
        };
        let (pid, _) = self.inside.iter().find(|(_, container)| *container == name)?;
        let base = format!("/proc/{pid}/root");
        let path = format!("{base}{inner}");
        Some((base, path))
    }

    /// The kernel settings that this script reads, by dotted name.
    pub(super) fn sysctls(&self) -> Vec<String> {
        let always = SYSCTLS.iter().map(|key| (*key).to_owned()).filter(|_| self.scope.is_some());
        let asked = self.questions.iter().filter_map(|question| match question {
            Question::Sysctl(key) => Some(key.clone()),
            _ => None,
        });
        let mut keys: Vec<String> = always.chain(asked).filter(|key| is_sysctl(key)).collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

fn push_call(text: &mut String, function: &str, words: &[&str]) {
    text.push_str(function);
    for word in words {
        text.push(' ');
        text.push_str(&quote(word));
    }
    text.push('\n');
}

/// A unit's full name: systemd takes a name without a suffix as a service.
pub(super) fn with_suffix(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.service") }
}

/// Is it a name that has a place below `/proc/sys`?
fn is_sysctl(key: &str) -> bool {
    !key.is_empty()
        && !key.contains("..")
        && !key.starts_with(['.', '/'])
        && !key.contains(char::is_whitespace)
}

/// Where a setting is below `/proc/sys`. The first separator decides, as in systemd's sysctl.d(5): after
/// a slash, a dot belongs to the name (`net/ipv4/conf/eth0.1/forwarding`).
pub(super) fn sysctl_path(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key[at..].starts_with('.') => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_owned(),
    }
}

/// An extended regular expression for one argument of a process: a program's name, alone, as the end of
/// a path, in the name of a uwsgi configuration (`cinder-api-uwsgi.ini`), or in a title that the process
/// gave itself, such as `neutron-server: api worker (…)`.
/// RabbitMQ's node is an Erlang machine and found by that.
fn pattern(scope: &Scope) -> String {
    let escape = |name: &String| {
        let mut escaped = String::new();
        for c in name.chars() {
            if !(c.is_ascii_alphanumeric() || c == '-' || c == '_') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    };
    let programs: Vec<String> = scope.programs.iter().map(escape).collect();
    format!(
        r"(^|/)beam(\.smp)?$|(^|[/ (:])({})([-_.](u?wsgi|py|ini|xml|ya?ml))*($|[ ):])",
        programs.join("|")
    )
}

#[cfg(test)]
#[path = "script_tests.rs"]
pub(super) mod tests;
