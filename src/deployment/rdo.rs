//! RDO packages: units `openstack-*` (neutron's without), command lines that name the package's own
//! `*-dist.conf` first and the operator's file after it. Files below `/usr` belong to the package.

use super::{Deployment, Persist, Place};
use crate::conf::oslo::{Flag, flags};
use crate::service::Service;

/// RDO packages.
#[derive(Debug)]
pub struct Rdo;

impl Deployment for Rdo {
    fn name(&self) -> &'static str {
        "rdo"
    }

    fn recognises(&self, place: &Place<'_>) -> bool {
        let site = |path: &str| path.starts_with("/usr/lib") && path.contains("/site-packages");
        let mut packages = place.facts.packages.iter().filter(|package| package.container.is_none());
        place.container.is_none()
            && (place.unit.is_some_and(|unit| unit.starts_with("openstack-"))
                || place.argv.iter().any(|word| word.ends_with("-dist.conf"))
                || packages.any(|package| site(&package.place) || package.place.contains("rpm")))
    }

    fn units(&self, service: &Service) -> std::vec::IntoIter<String> {
        let usual = |name: &str| match name {
            "rabbitmq-server" => name.to_owned(),
            name => format!("openstack-{name}"),
        };
        service.units(self.name(), usual).into_iter()
    }

    fn usual_flags(&self, service: &Service) -> Vec<Flag> {
        service.usual_flags(self.name()).unwrap_or_else(|| {
            // Nova's units name no file.
            if matches!(service.project.as_str(), "nova" | "rabbitmq") {
                return Vec::new();
            }
            let project = &service.project;
            flags(&[
                format!("--config-file=/usr/share/{project}/{project}-dist.conf"),
                format!("--config-file=/etc/{project}/{project}.conf"),
            ])
        })
    }

    fn persist(&self, place: &Place<'_>, path: &str) -> Persist {
        if !path.starts_with("/usr/") {
            return Persist::here(path);
        }
        let project = &place.service.project;
        Persist::Blocked(format!(
            "`{path}` belongs to the package, whose next update replaces it; set the option in \
             `/etc/{project}/{project}.conf`, which is read after it"
        ))
    }
}
