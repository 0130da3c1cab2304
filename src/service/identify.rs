//! Which process belongs to which service: by its program, its container, its unit, in this order.

use std::collections::BTreeMap;

use super::{Service, services};
use crate::conf::oslo::{Flag, flags};
use crate::deployment::{self, KINDS};
use crate::facts::{Facts, Process};

/// The processes of one service under one unit or container.
#[derive(Debug)]
pub(super) struct Group {
    /// Which service.
    pub service: &'static Service,
    /// The unit, with `.service`.
    pub unit: Option<String>,
    /// The container.
    pub container: Option<String>,
    /// The process that the others descend from; `None` when it does not run.
    pub main_pid: Option<u32>,
    /// All of them, sorted.
    pub pids: Vec<u32>,
}

impl Group {
    /// What a restart is named by: the unit, or else the container.
    pub fn name(&self) -> Option<&str> {
        self.unit.as_deref().or(self.container.as_deref())
    }
}

/// The services that run.
pub(super) fn groups(facts: &Facts) -> Vec<Group> {
    type Key<'a> = (&'static str, Option<&'a str>, Option<&'a str>, u32);
    let mut found: BTreeMap<Key<'_>, Group> = BTreeMap::new();
    for process in facts.processes.values() {
        let Some(service) = service_of(process) else { continue };
        let container = process.container.as_deref();
        // An engine's container is what restarts; an LXC container runs a systemd of its own.
        let unit = unit_of(process).filter(|_| container.is_none_or(|name| is_lxc(facts, name)));
        // Without a unit or container the top of the process tree tells two instances apart.
        let top = if unit.or(container).is_some() { 0 } else { ancestor(facts, process, service) };
        let group = found.entry((service.name.as_str(), container, unit, top)).or_insert_with(|| Group {
            service,
            unit: unit.map(str::to_owned),
            container: container.map(str::to_owned),
            main_pid: None,
            pids: Vec::new(),
        });
        group.pids.push(process.pid);
    }
    let mut groups: Vec<Group> = found.into_values().collect();
    for group in &mut groups {
        group.main_pid = main_of(facts, group);
    }
    groups
}

/// The services whose unit is enabled and has no process: what they read counts, since the next start
/// reads it.
pub(super) fn stopped(facts: &Facts) -> Vec<Group> {
    let enabled = |(name, unit): (&String, &crate::facts::Unit)| {
        let counts = unit.enabled.starts_with("enabled") && unit.load == "loaded" && unit.main_pid == 0;
        counts.then(|| name.clone())
    };
    facts
        .units
        .iter()
        .filter_map(enabled)
        .filter_map(|name| {
            let service = by_unit(&name)?;
            let container = deployment::container_of_unit(&name);
            let unit = container.is_none().then(|| with_suffix(&name));
            Some(Group { service, unit, container, main_pid: None, pids: Vec::new() })
        })
        .collect()
}

/// The main process: what systemd says, or the one whose parent is none of the group.
fn main_of(facts: &Facts, group: &Group) -> Option<u32> {
    let said = group
        .unit
        .as_deref()
        .and_then(|unit| facts.units.get(unit).or_else(|| facts.units.get(unit.strip_suffix(".service")?)))
        .map(|unit| unit.main_pid)
        .filter(|pid| group.pids.contains(pid));
    said.or_else(|| {
        let members = group.pids.iter().filter_map(|pid| facts.processes.get(pid));
        let tops = members.filter(|process| !group.pids.contains(&process.parent));
        tops.min_by_key(|process| (process.started_at, process.pid)).map(|process| process.pid)
    })
}

/// Is this an LXC container, with units of its own inside?
fn is_lxc(facts: &Facts, container: &str) -> bool {
    facts.containers.get(container).is_some_and(|known| known.engine == "lxc")
}

/// The topmost process of the same service above this one.
fn ancestor(facts: &Facts, process: &Process, service: &Service) -> u32 {
    let mut top = process;
    // A process table that was read while it changed may hold a circle.
    for _ in 0..facts.processes.len() {
        let parent = facts.processes.get(&top.parent).filter(|parent| parent.pid != top.pid);
        match parent.filter(|parent| service_of(parent).is_some_and(|above| above.name == service.name)) {
            Some(parent) => top = parent,
            None => break,
        }
    }
    top.pid
}

/// The service a process belongs to.
///
/// The program tells most; under a wsgi server or another interpreter the container or unit does. Other
/// programs in a service's unit (`dnsmasq` of the DHCP agent, say) are none of it: they outlive restarts.
fn service_of(process: &Process) -> Option<&'static Service> {
    by_program(process).or_else(|| {
        if !hosts_services(&process.argv) {
            return None;
        }
        let container = process.container.as_deref().and_then(by_container);
        container.or_else(|| unit_of(process).and_then(by_unit))
    })
}

fn by_program(process: &Process) -> Option<&'static Service> {
    let names = program_names(&process.argv);
    let named = |program: &str| names.iter().any(|name| name == program);
    services().iter().find(|service| service.programs().any(named))
}

/// Does its own command line say which service it is?
pub(super) fn names_service(process: &Process) -> bool {
    by_program(process).is_some()
}

/// The last `.service` of a control group path.
fn unit_of(process: &Process) -> Option<&str> {
    process.cgroup.split('/').rfind(|part| part.strip_suffix(".service").is_some())
}

/// The service whose container has this name in some deployment kind.
fn by_container(container: &str) -> Option<&'static Service> {
    services().iter().find(|service| {
        let own = KINDS.iter().filter(|kind| kind.contains_services());
        deployment::bundle_of(service, container)
            || own.flat_map(|kind| kind.units(service)).any(|name| name == container)
    })
}

/// The service whose unit has this name in some deployment kind.
fn by_unit(unit: &str) -> Option<&'static Service> {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    if let Some(container) = deployment::container_of_unit(unit) {
        return by_container(&container);
    }
    services().iter().find(|service| {
        let own = KINDS.iter().filter(|kind| !kind.contains_services());
        own.flat_map(|kind| kind.units(service)).any(|usual| usual == name)
    })
}

fn with_suffix(unit: &str) -> String {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    format!("{name}.service")
}

/// The command line a process was started with. Neutron's workers write over theirs:
/// `neutron-server: rpc worker (/usr/bin/python3 /usr/bin/neutron-server --config-file …)`.
fn started_as(argv: &[String]) -> Vec<String> {
    let title = argv.first().and_then(|first| first.split_once(": ")).map(|(_, title)| title);
    let inner = title.and_then(|title| title.split_once('(')).map(|(_, inner)| inner.trim_end_matches(')'));
    inner.and_then(shlex::split).unwrap_or_else(|| argv.to_vec())
}

/// The script or program that runs: `cinder-volume` of `/usr/bin/python3 /usr/bin/cinder-volume`.
pub(super) fn script(argv: &[String]) -> Option<&str> {
    let first = argv.first()?;
    if let Some((program, _)) = first.split_once(": ") {
        return Some(basename(program));
    }
    let first = basename(first);
    if !first.starts_with("python") {
        return Some(first);
    }
    argv.iter().skip(1).find(|word| !word.starts_with('-')).map(|word| basename(word))
}

/// `--config-file` and `--config-dir` of a command line, those behind uwsgi's `--pyargv` included.
pub(super) fn config_flags(argv: &[String]) -> Vec<Flag> {
    let argv = started_as(argv);
    let passed = argv.iter().zip(argv.iter().skip(1)).filter(|(name, _)| *name == "--pyargv");
    let passed = passed.filter_map(|(_, words)| shlex::split(words)).flat_map(|words| flags(&words));
    flags(&argv).into_iter().chain(passed).collect()
}

/// The names a command line may give a service: the script, a wsgi process title, or what a wsgi server
/// was told to load.
fn program_names(argv: &[String]) -> Vec<String> {
    let mut names: Vec<String> = script(argv).into_iter().map(plain).collect();
    let title = argv.iter().find_map(|word| word.split_once("wsgi:").map(|(_, name)| name));
    names.extend(title.map(plain));
    // A wsgi server names the script or its own configuration among its arguments.
    if hosts_services(argv) && !argv.first().is_some_and(|first| basename(first).starts_with("python")) {
        names.extend(
            argv.iter().skip(1).filter(|word| word.starts_with('/')).map(|word| plain(basename(word))),
        );
    }
    names
}

/// Is this a program that runs services of other names?
fn hosts_services(argv: &[String]) -> bool {
    let first = argv.first().map_or("", |word| basename(word));
    ["python", "uwsgi", "httpd", "apache2", "gunicorn", "(wsgi:", "beam", "dumb-init", "kolla_start"]
        .iter()
        .any(|name| first.starts_with(name))
}

/// A name as `definitions.yml` spells it: without what wsgi deployments add.
fn plain(name: &str) -> String {
    let name = basename(name).trim_matches(|c| c == '(' || c == ')');
    let name = name.strip_suffix(".ini").or_else(|| name.strip_suffix(".py")).unwrap_or(name);
    let name = name.replace('_', "-");
    let name = name.strip_suffix("-uwsgi").or_else(|| name.strip_suffix("-wsgi")).unwrap_or(&name);
    name.strip_suffix(":").unwrap_or(name).to_owned()
}

fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
