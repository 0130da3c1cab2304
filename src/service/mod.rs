//! OpenStack services as data (`definitions.yml`), and which of them a host runs.
//!
//! A service is added as one line of `definitions.yml`; nothing else needs to know of it.

mod identify;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::conf::oslo::{Flag, Order, Search, flags, order};
use crate::deployment::{self, Deployment, Persist, Place};
use crate::facts::{Facts, Process, Reading};
use crate::plan::{Restart, Role};

/// A service as `definitions.yml` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name, `cinder-volume`.
    #[serde(rename = "service")]
    pub name: String,
    /// oslo.config's project, `cinder`; the folder below `/etc`.
    pub project: String,
    /// When it restarts in a rolling restart.
    pub role: Role,
    /// Order among services of one role, the smaller first.
    pub order: u32,
    /// Does it call others, and so consume a reply queue?
    pub replies: bool,
    /// Names its processes have; its own name when there are none.
    #[serde(default)]
    programs: Vec<String>,
    /// Units or containers by deployment kind, where they differ from the kind's convention.
    #[serde(default)]
    units: BTreeMap<String, Vec<String>>,
    /// Topics it serves: the names of the queue that all its servers share, and in front of a dot of the
    /// queue of each.
    #[serde(default)]
    pub queues: Vec<String>,
    /// The pacemaker resource that may run it.
    #[serde(default)]
    pub bundle: Option<String>,
    /// `TripleO`'s configuration volume, when it is not the project.
    #[serde(default)]
    volume: Option<String>,
    /// `--config-file` and `--config-dir` of its usual command line, by deployment kind.
    #[serde(default)]
    config: BTreeMap<String, Vec<String>>,
}

impl Service {
    /// Names its processes have: script, wsgi name or uwsgi configuration.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let own = self.programs.is_empty().then_some(self.name.as_str());
        own.into_iter().chain(self.programs.iter().map(String::as_str))
    }

    /// Its units (without `.service`) or containers where services are installed in `kind`'s way, most
    /// usual first; `usual` is the kind's convention.
    pub fn units(&self, kind: &str, usual: impl FnOnce(&str) -> String) -> Vec<String> {
        self.units.get(kind).cloned().unwrap_or_else(|| vec![usual(&self.name)])
    }

    /// Its folder under `/var/lib/config-data/puppet-generated`.
    pub fn volume(&self) -> &str {
        self.volume.as_deref().unwrap_or(&self.project)
    }

    /// What its command line usually names in `kind`'s way, if that is written down.
    pub fn usual_flags(&self, kind: &str) -> Option<Vec<Flag>> {
        self.config.get(kind).map(|words| flags(words))
    }
}

static SERVICES: LazyLock<Vec<Service>> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("definitions.yml")).expect("definitions.yml is tested to be valid")
});

/// Every service, in the order of `definitions.yml`.
pub fn services() -> &'static [Service] {
    &SERVICES
}

/// The service with this name.
pub fn service(name: &str) -> Option<&'static Service> {
    services().iter().find(|service| service.name == name)
}

/// A service found on a host: it runs, or it is enabled and would.
#[derive(Debug, Clone)]
pub struct Running {
    /// Which.
    pub service: &'static Service,
    /// How it is installed.
    pub deployment: &'static dyn Deployment,
    /// Its unit (with `.service`) or its container: what its restart is named by. `None` where nothing
    /// supervises it.
    pub unit: Option<String>,
    /// The container it runs in.
    pub container: Option<String>,
    /// Its main process; `None` when it does not run.
    pub main_pid: Option<u32>,
    /// All its processes, workers included, sorted.
    pub pids: Vec<u32>,
    /// When the oldest of them started, seconds since the epoch by the host's clock.
    pub started_at: Option<i64>,
    /// The files it reads, in reading order; later ones win.
    pub config: Vec<ConfigFile>,
    /// Files its command line names and that are not there: it would not start again.
    pub missing: Vec<String>,
    /// Its `OS_GROUP__OPTION` variables, which beat every file.
    pub environ: BTreeMap<String, String>,
    /// How it is restarted.
    pub restart: RestartWay,
}

/// A file that a service reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path as the service sees it.
    pub path: String,
    /// Under which its content is found in [`Facts::files`].
    pub fact: String,
    /// Where an edit of it lasts.
    pub persist: Persist,
}

/// How a service is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartWay {
    /// By this command.
    By(Restart),
    /// It does not run: it reads its configuration when it is started.
    NotRunning,
    /// Not by us, and what a person does instead.
    Blocked(String),
}

impl Running {
    /// Does it run?
    pub fn runs(&self) -> bool {
        self.main_pid.is_some()
    }

    /// What its restart is named by: its unit, or else its container.
    pub fn restarts_as(&self) -> Option<&String> {
        self.unit.as_ref().or(self.container.as_ref())
    }

    /// The last file that may be edited: where an option goes that no file sets yet.
    pub fn last_editable(&self) -> Option<(&ConfigFile, &str)> {
        self.config.iter().rev().find_map(|file| match &file.persist {
            Persist::At { path, .. } => Some((file, path.as_str())),
            Persist::Blocked(_) => None,
        })
    }
}

/// Every service of a host: those that run, and those that are enabled and do not. In the order of a
/// rolling restart. Pure: all it knows is `facts`.
pub fn running(facts: &Facts) -> Vec<Running> {
    let mut found: Vec<Running> =
        identify::groups(facts).into_iter().map(|group| describe(facts, &group)).collect();
    let seen: BTreeSet<(&str, Option<&str>)> =
        found.iter().map(|running| (running.service.name.as_str(), running.unit.as_deref())).collect();
    let stopped: Vec<Running> = identify::stopped(facts)
        .into_iter()
        .filter(|group| !seen.contains(&(group.service.name.as_str(), group.name())))
        .map(|group| describe(facts, &group))
        .collect();
    found.extend(stopped);
    found.sort_by(|a, b| {
        let key = |running: &Running| (running.service.role, running.service.order, running.unit.clone());
        key(a).cmp(&key(b))
    });
    found
}

fn describe(facts: &Facts, group: &identify::Group) -> Running {
    let service = group.service;
    let members: Vec<&Process> = group.pids.iter().filter_map(|pid| facts.processes.get(pid)).collect();
    let main = group.main_pid.and_then(|pid| facts.processes.get(&pid));
    // A container's main process may be an init of its own; the service's command line is below it.
    let spoken = main
        .filter(|main| identify::names_service(main))
        .or_else(|| members.iter().copied().find(|process| identify::names_service(process)).or(main));
    let place = Place {
        service,
        unit: group.unit.as_deref(),
        container: group.container.as_deref(),
        argv: spoken.map_or(&[], |process| process.argv.as_slice()),
        facts,
    };
    let deployment = deployment::of(&place);
    let named = match spoken {
        Some(process) => identify::config_flags(&process.argv),
        None => deployment.usual_flags(service),
    };
    let existing = existing(facts, group.container.as_deref());
    let Order { files, missing } = match service.role {
        Role::Broker => Order { files: broker_files(&existing), missing: Vec::new() },
        _ => order(&named, &search(service, spoken), &existing),
    };
    let config = files
        .into_iter()
        .map(|path| ConfigFile {
            fact: fact_key(group.container.as_deref(), &path),
            persist: deployment.persist(&place, &path),
            path,
        })
        .collect();
    let restart = match (main, deployment::restart(deployment, &place)) {
        (None, _) => RestartWay::NotRunning,
        (Some(_), Err(reason)) => RestartWay::Blocked(reason),
        (Some(_), Ok(argv)) => RestartWay::By(Restart {
            role: service.role,
            order: service.order,
            service: service.name.clone(),
            name: group.name().unwrap_or(&service.name).to_owned(),
            argv,
        }),
    };
    let overrides = |(name, _): &(&String, &String)| name.starts_with("OS_") && name.contains("__");
    Running {
        service,
        deployment,
        unit: group.name().map(str::to_owned),
        container: group.container.clone(),
        main_pid: main.map(|main| main.pid),
        started_at: members.iter().map(|process| process.started_at).min(),
        pids: members.iter().map(|process| process.pid).collect(),
        config,
        missing,
        environ: spoken
            .into_iter()
            .flat_map(|process| &process.environ)
            .filter(overrides)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        restart,
    }
}

/// How its process looks for files that nobody named. Under a wsgi server the project decides, and the
/// service's own name stands for the program (`glance-api.conf`).
fn search(service: &Service, process: Option<&Process>) -> Search {
    let environ = |name: &str| process.and_then(|process| process.environ.get(name)).cloned();
    let script = process.and_then(|process| identify::script(&process.argv));
    let own = script.filter(|script| service.programs().any(|program| program == *script));
    let usual = if service.name == service.project { "" } else { &service.name };
    Search {
        project: Some(service.project.clone()),
        prog: own.unwrap_or(usual).to_owned(),
        home: environ("HOME"),
        cwd: process.map(|process| process.cwd.clone()),
        snap_common: environ("SNAP_COMMON"),
        snap: environ("SNAP"),
    }
}

/// What RabbitMQ reads, in its order: `rabbitmq.conf`, `conf.d` sorted by name, `advanced.config`.
fn broker_files(existing: &BTreeSet<String>) -> Vec<String> {
    let folder = "/etc/rabbitmq/conf.d/";
    let named = |path: &str| existing.get(path);
    let inside = existing.range(folder.to_owned()..).take_while(|path| path.starts_with(folder));
    let drop_ins = inside.filter(|path| path.strip_suffix(".conf").is_some());
    let first = named("/etc/rabbitmq/rabbitmq.conf").into_iter();
    first.chain(drop_ins).chain(named("/etc/rabbitmq/advanced.config")).cloned().collect()
}

/// The key of a file in [`Facts::files`].
fn fact_key(container: Option<&str>, path: &str) -> String {
    match container {
        Some(container) => format!("container:{container}:{path}"),
        None => path.to_owned(),
    }
}

/// The paths that a process sees, as far as they were asked for. What cannot be read exists.
fn existing(facts: &Facts, container: Option<&str>) -> BTreeSet<String> {
    let prefix = fact_key(container, "");
    let there =
        |key: &String| key.strip_prefix(&prefix).filter(|path| path.starts_with('/')).map(str::to_owned);
    let files = facts
        .files
        .iter()
        .filter(|(_, reading)| !matches!(reading, Reading::Absent))
        .filter_map(|(key, _)| there(key));
    let listed = facts.folders.iter().filter_map(|(key, names)| Some((there(key)?, names.known()?)));
    let inside = listed.flat_map(|(folder, names)| {
        let files: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
        std::iter::once(folder).chain(files)
    });
    files.chain(inside).collect()
}
