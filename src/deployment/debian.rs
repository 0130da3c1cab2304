//! Debian and Ubuntu packages. Debian's units call an init script that adds
//! `--config-file=/etc/PROJECT/PROJECT.conf` (openstack-pkg-tools); wsgi services run under uwsgi and look
//! for their files themselves.

use super::{Deployment, Place, config_file};
use crate::conf::oslo::Flag;
use crate::plan::Role;
use crate::service::Service;

/// Debian packages.
#[derive(Debug)]
pub struct Debian;

impl Deployment for Debian {
    fn name(&self) -> &'static str {
        "debian"
    }

    fn recognises(&self, place: &Place<'_>) -> bool {
        let packages = place.facts.packages.iter().filter(|package| package.container.is_none());
        place.container.is_none()
            && packages
                .into_iter()
                .any(|package| package.place.contains("/dist-packages") || package.place.contains("dpkg"))
    }

    fn usual_flags(&self, service: &Service) -> Vec<Flag> {
        service.usual_flags(self.name()).unwrap_or_else(|| match service.role {
            Role::Api | Role::Broker => Vec::new(),
            Role::RpcServer | Role::Agent => config_file(&format!("/etc/{0}/{0}.conf", service.project)),
        })
    }
}
