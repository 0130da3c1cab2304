//! What pacemaker starts and stops. It counts a restart behind its back as a failure of the resource, and
//! may move the service or fence the host for it: such a service is restarted by pacemaker or not at all.

use super::Place;

/// The file that pacemaker adds to a systemd unit while it runs it
/// (`lib/services/systemd.c`, `systemd_create_override`).
const OVERRIDE: &str = "/50-pacemaker.conf";

/// Does pacemaker run the service at `place`? Then what a person types to restart it.
///
/// A systemd resource shows by the override of its unit. The processes of an OCF agent
/// (`ocf:heartbeat:rabbitmq-cluster`) stay in pacemaker's own control group. A bundle's containers are
/// named after it (`rabbitmq-bundle-podman-0`).
pub fn way(place: &Place<'_>) -> Option<String> {
    let service = &place.service.name;
    let host = &place.facts.hostname;
    if let Some(bundle) = place.container.and_then(bundle_of) {
        return Some(format!(
            "pacemaker runs {service} as `{bundle}` and would count a restart behind its back as a failure; run \
             `pcs resource restart {bundle} {host}`, one host after the other"
        ));
    }
    let unit = place.unit?;
    let own = matches!(unit, "pacemaker.service" | "pacemaker_remote.service");
    let overridden = || {
        let known = place.facts.units.get(unit)?;
        known.drop_ins.iter().find(|path| path.ends_with(OVERRIDE))
    };
    if !own && overridden().is_none() {
        return None;
    }
    Some(format!(
        "pacemaker runs {service} and would count a restart behind its back as a failure; `pcs resource config` \
         names its resource, then `pcs resource restart NAME {host}`, one host after the other"
    ))
}

/// The bundle that a container is a replica of: pacemaker names them `BUNDLE-ENGINE-NUMBER`.
fn bundle_of(container: &str) -> Option<&str> {
    let (rest, number) = container.rsplit_once('-')?;
    let (bundle, engine) = rest.rsplit_once('-')?;
    let replica = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (replica && matches!(engine, "docker" | "podman" | "rkt") && !bundle.is_empty()).then_some(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, Unit};
    use crate::service::service;

    #[test]
    fn what_pacemaker_runs_is_known_by_its_marks() {
        let check = |unit: Option<&str>, container: Option<&str>, drop_in: &str, expected: Option<&str>| {
            let mut facts = Facts { hostname: "ctl1".to_owned(), ..Facts::default() };
            let drop_ins = vec![drop_in.to_owned()];
            facts.units.extend(unit.map(|unit| (unit.to_owned(), Unit { drop_ins, ..Unit::default() })));
            let service = service("cinder-volume").unwrap();
            let way = way(&Place { service, unit, container, argv: &[], facts: &facts });
            let typed = way.as_deref().and_then(|way| way.rsplit_once("`pcs")).map(|(_, rest)| rest);
            let typed = typed.and_then(|rest| rest.split_once('`')).map(|(typed, _)| typed.trim());
            assert_eq!(typed, expected, "{unit:?} {container:?} {drop_in}");
        };
        let volume = Some("openstack-cinder-volume.service");
        let resource = Some("resource restart NAME ctl1");
        let folder = "/run/systemd/system/openstack-cinder-volume.service.d";
        check(volume, None, &format!("{folder}/50-pacemaker.conf"), resource);
        check(volume, None, &format!("{folder}/50-limits.conf"), None);
        check(None, None, "", None);
        check(Some("pacemaker.service"), None, "", resource);
        check(Some("pacemaker_remote.service"), None, "", resource);
        let bundle = Some("resource restart openstack-cinder-volume ctl1");
        check(None, Some("openstack-cinder-volume-podman-0"), "", bundle);
        check(None, Some("openstack-cinder-volume-docker-12"), "", bundle);
        check(None, Some("cinder_volume"), "", None);
        check(None, Some("a-podman-x"), "", None);
    }
}
