//! kolla-ansible: a container a service on the host's network. `kolla_set_configs` copies the files of
//! `/etc/kolla/CONTAINER/` into the container when it starts; units
//! `kolla-CONTAINER-container.service` start and stop them.

use super::{Deployment, Persist, Place, restart_container, words};
use crate::service::Service;

/// kolla-ansible.
#[derive(Debug)]
pub struct Kolla;

impl Kolla {
    /// The container's own name. Where no engine told it there is only an id, and the usual name stands in.
    fn container(&self, place: &Place<'_>) -> Option<String> {
        let container = place.container?;
        let mut usual = self.units(place.service);
        let told =
            place.facts.containers.get(container).is_some_and(|known| !known.id.starts_with(container));
        if told { Some(container.to_owned()) } else { usual.next() }
    }
}

impl Deployment for Kolla {
    fn name(&self) -> &'static str {
        "kolla"
    }

    fn contains_services(&self) -> bool {
        true
    }

    fn recognises(&self, place: &Place<'_>) -> bool {
        let lxc = |name: &str| place.facts.containers.get(name).is_some_and(|known| known.engine == "lxc");
        place.container.is_some_and(|name| !lxc(name))
    }

    fn units(&self, service: &Service) -> std::vec::IntoIter<String> {
        service.units(self.name(), |name| name.replace('-', "_")).into_iter()
    }

    /// The container sees `/etc/cinder/cinder.conf`; the host has it as
    /// `/etc/kolla/cinder-volume/cinder.conf`.
    fn persist(&self, place: &Place<'_>, path: &str) -> Persist {
        let (Some(container), Some((folder, file))) = (self.container(place), path.rsplit_once('/')) else {
            return Persist::here(path);
        };
        if !folder.starts_with("/etc/") {
            return Persist::Blocked(format!(
                "`{path}` is part of the image of `{container}`; set the option in `/etc/{0}/{0}.conf`",
                place.service.project
            ));
        }
        let project = &place.service.project;
        if project == "rabbitmq" && folder != "/etc/rabbitmq" {
            return Persist::Blocked(format!(
                "kolla copies only the files that `/etc/kolla/{0}/config.json` names, and `{path}` is none of \
                 them; set it in `/etc/kolla/config/rabbitmq/rabbitmq.conf` on the deployment host",
                container.replace('_', "-")
            ));
        }
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
        let (Some(id), Some(container)) = (place.container, self.container(place)) else {
            return super::restart_unit(place);
        };
        let unit = format!("kolla-{container}-container.service");
        let bare = unit.strip_suffix(".service").unwrap_or(&unit);
        if place.facts.units.contains_key(&unit) || place.facts.units.contains_key(bare) {
            return Ok(words(&["systemctl", "restart", &unit]));
        }
        restart_container(place, id)
    }
}
