//! kolla-ansible: a container a service on the host's network. `kolla_set_configs` copies the files of
//! `/etc/kolla/CONTAINER/` into the container when it starts; units
//! `kolla-CONTAINER-container.service` start and stop them.

use super::{Deployment, Persist, Place, restart_container, words};
use crate::service::Service;

/// kolla-ansible.
#[derive(Debug)]
pub struct Kolla;

impl Deployment for Kolla {
    fn name(&self) -> &'static str {
        "kolla"
    }

    fn contains_services(&self) -> bool {
        true
    }

    fn recognises(&self, place: &Place<'_>) -> bool {
        place.container.is_some_and(|name| {
            place.facts.containers.contains_key(name) || self.units(place.service).any(|usual| usual == name)
        })
    }

    fn units(&self, service: &Service) -> std::vec::IntoIter<String> {
        service.units(self.name(), |name| name.replace('-', "_")).into_iter()
    }

    /// The container sees `/etc/cinder/cinder.conf`; the host has it as
    /// `/etc/kolla/cinder-volume/cinder.conf`.
    fn persist(&self, place: &Place<'_>, path: &str) -> Persist {
        let (Some(container), Some((folder, file))) = (place.container, path.rsplit_once('/')) else {
            return Persist::here(path);
        };
        if !folder.starts_with("/etc/") {
            return Persist::Blocked(format!(
                "`{path}` is part of the image of `{container}`; set the option in `/etc/{0}/{0}.conf`",
                place.service.project
            ));
        }
        let project = &place.service.project;
        let source = match project.as_str() {
            "rabbitmq" => format!("/etc/kolla/config/rabbitmq/{file}"),
            _ => format!("/etc/kolla/config/{project}.conf"),
        };
        Persist::At {
            path: format!("/etc/kolla/{}/{file}", container.replace('_', "-")),
            warning: Some(format!(
                "the next `kolla-ansible reconfigure` writes it again; repeat the change in `{source}` on the \
                 deployment host"
            )),
        }
    }

    fn restart(&self, place: &Place<'_>) -> Result<Vec<String>, String> {
        let Some(container) = place.container else { return super::restart_unit(place) };
        let unit = format!("kolla-{container}-container.service");
        let bare = unit.strip_suffix(".service").unwrap_or(&unit);
        if place.facts.units.contains_key(&unit) || place.facts.units.contains_key(bare) {
            return Ok(words(&["systemctl", "restart", &unit]));
        }
        restart_container(place, container)
    }
}
