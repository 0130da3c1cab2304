//! How services are installed on a host, one file a kind, in one visible table: [`KINDS`].
//!
//! A kind recognises itself from what the probe read, and says under which names it runs a service, where
//! an edit of a configuration file lasts, and how the service is restarted. All of it is pure.
//!
//! Never a reload: no option of oslo.messaging can change in a running process (none is `mutable`), and
//! under `restart_method='mutate'` a SIGHUP succeeds and changes nothing.

mod debian;
mod kolla;
mod openstack_ansible;
pub mod pacemaker;
mod plain;
mod rdo;
mod tripleo;

use std::fmt::Debug;

use crate::conf::oslo::{Flag, flags};
use crate::facts::Facts;
use crate::service::Service;

/// Every kind, the most particular first; the last one fits any host.
pub const KINDS: &[&dyn Deployment] = &[
    &tripleo::TripleO,
    &kolla::Kolla,
    &openstack_ansible::OpenStackAnsible,
    &rdo::Rdo,
    &debian::Debian,
    &plain::Plain,
];

/// One service where it was found.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Which service.
    pub service: &'a Service,
    /// Its unit, with `.service`, when it is not in a container.
    pub unit: Option<&'a str>,
    /// Its container.
    pub container: Option<&'a str>,
    /// Command line of its main process; empty when it does not run.
    pub argv: &'a [String],
    /// What was read from the host.
    pub facts: &'a Facts,
}

/// Where an edit of a file lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Persist {
    /// In this file of the host.
    At {
        /// Its path on the host.
        path: String,
        /// What would undo the edit, and where it has to be repeated.
        warning: Option<String>,
    },
    /// Nowhere that we may write to, and why.
    Blocked(String),
}

impl Persist {
    fn here(path: &str) -> Self {
        Self::At { path: path.to_owned(), warning: None }
    }
}

/// A way to install services.
pub trait Deployment: Debug + Sync {
    /// Its name, as in `definitions.yml`.
    fn name(&self) -> &'static str;

    /// Is the service at `place` installed in this way?
    fn recognises(&self, place: &Place<'_>) -> bool;

    /// Does it run services in containers?
    fn contains_services(&self) -> bool {
        false
    }

    /// The units (without `.service`) or containers it runs `service` as.
    fn units(&self, service: &Service) -> std::vec::IntoIter<String> {
        service.units(self.name(), str::to_owned).into_iter()
    }

    /// What the service's command line names when nothing else is known.
    fn usual_flags(&self, service: &Service) -> Vec<Flag> {
        service.usual_flags(self.name()).unwrap_or_default()
    }

    /// Where an edit of `path`, a file the service reads, lasts.
    fn persist(&self, _place: &Place<'_>, path: &str) -> Persist {
        Persist::here(path)
    }

    /// The command that restarts the service, or why there is none and what a person does instead.
    fn restart(&self, place: &Place<'_>) -> Result<Vec<String>, String> {
        restart_unit(place)
    }
}

/// How the service at `place` is installed.
pub fn of(place: &Place<'_>) -> &'static dyn Deployment {
    let fits = KINDS.iter().copied().find(|kind| kind.recognises(place));
    fits.expect("the last kind fits any host")
}

/// The container that a unit starts: `cinder_volume` of `kolla-cinder_volume-container.service` and of
/// `tripleo_cinder_volume.service`.
pub fn container_of_unit(unit: &str) -> Option<String> {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    let kolla = name.strip_prefix("kolla-").and_then(|name| name.strip_suffix("-container"));
    kolla.or_else(|| name.strip_prefix("tripleo_")).map(str::to_owned)
}

/// Is this container a replica of the pacemaker bundle that runs `service`, as in
/// `rabbitmq-bundle-podman-0`?
pub fn bundle_of(service: &Service, container: &str) -> bool {
    service
        .bundle
        .as_deref()
        .and_then(|bundle| container.strip_prefix(bundle))
        .is_some_and(|rest| ["-podman-", "-docker-"].iter().any(|engine| rest.starts_with(engine)))
}

/// The command that restarts the service, or why there is none and what a person does instead.
///
/// # Errors
/// What a person does.
pub fn restart(kind: &dyn Deployment, place: &Place<'_>) -> Result<Vec<String>, String> {
    pacemaker::way(place).map_or_else(|| kind.restart(place), Err)
}

/// `systemctl restart UNIT`.
fn restart_unit(place: &Place<'_>) -> Result<Vec<String>, String> {
    match (place.unit, place.container) {
        (Some(unit), _) => Ok(words(&["systemctl", "restart", unit])),
        (None, Some(container)) => restart_container(place, container),
        (None, None) => Err(format!(
            "no systemd unit or container supervises {}; restart it by hand after the change",
            place.service.name
        )),
    }
}

/// `docker restart NAME`, by the engine that runs it.
fn restart_container(place: &Place<'_>, container: &str) -> Result<Vec<String>, String> {
    match place.facts.containers.get(container) {
        Some(known) => Ok(words(&[&known.engine, "restart", container])),
        None => Err(format!(
            "no container engine answered for `{container}`; run trueup as root there, or restart it by hand"
        )),
    }
}

/// Does the probe know a path below this one?
fn knows_path(facts: &Facts, folder: &str) -> bool {
    let below =
        |key: &String| key.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let files = facts.files.iter().filter(|(_, reading)| reading.known().is_some());
    let folders = facts.folders.iter().filter(|(_, reading)| reading.known().is_some());
    files.map(|(key, _)| key).chain(folders.map(|(key, _)| key)).any(below)
}

fn words(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|&word| word.to_owned()).collect()
}

fn config_file(path: &str) -> Vec<Flag> {
    flags(&[format!("--config-file={path}")])
}
