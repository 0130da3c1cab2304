//! openstack-ansible: a venv a service below `/openstack/venvs`, on metal or in LXC containers.

use super::{Deployment, Persist, Place, restart_unit, words};

/// openstack-ansible.
#[derive(Debug)]
pub struct OpenStackAnsible;

const VENVS: &str = "/openstack/venvs/";

impl OpenStackAnsible {
    /// The LXC container a process runs in, seen from its host.
    fn lxc<'a>(place: &Place<'a>) -> Option<&'a str> {
        let lxc = |name: &&str| place.facts.containers.get(*name).is_some_and(|known| known.engine == "lxc");
        place.container.filter(lxc)
    }
}

impl Deployment for OpenStackAnsible {
    fn name(&self) -> &'static str {
        "openstack_ansible"
    }

    fn recognises(&self, place: &Place<'_>) -> bool {
        let processes = || place.facts.processes.values();
        Self::lxc(place).is_some()
            || place.argv.iter().any(|word| word.starts_with(VENVS))
            || place.facts.packages.iter().any(|package| package.place.starts_with(VENVS))
            || processes().any(|process| process.argv.iter().take(2).any(|word| word.starts_with(VENVS)))
    }

    fn persist(&self, place: &Place<'_>, path: &str) -> Persist {
        if let Some(container) = Self::lxc(place) {
            return Persist::Blocked(format!(
                "`{path}` is inside the LXC container `{container}`; put that container into the inventory, as \
                 openstack-ansible's own inventory does"
            ));
        }
        let role = &place.service.project;
        Persist::At {
            path: path.to_owned(),
            warning: Some(format!(
                "the next run of openstack-ansible writes `{path}` again; repeat the change in \
                 `/etc/openstack_deploy/user_variables.yml` as `{role}_{role}_conf_overrides`"
            )),
        }
    }

    fn restart(&self, place: &Place<'_>) -> Result<Vec<String>, String> {
        match (Self::lxc(place), place.unit) {
            (Some(container), unit) => {
                let unit = unit.map_or_else(|| format!("{}.service", place.service.name), str::to_owned);
                Ok(words(&["lxc-attach", "-n", container, "--", "systemctl", "restart", &unit]))
            }
            (None, _) => restart_unit(place),
        }
    }
}
