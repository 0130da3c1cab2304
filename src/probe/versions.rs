//! Versions, from the names of the folders that hold what is installed.

use crate::facts::Package;

/// The package whose metadata is at `path` (`…/site-packages/oslo.messaging-14.0.3.dist-info`,
/// `…/lib/rabbitmq_server-3.10.8`), a path on the host or in `container`.
pub(super) fn package(path: &str, container: Option<&str>) -> Option<Package> {
    let (place, entry) = path.rsplit_once('/')?;
    let of = |name: &str, version: &str| {
        Some(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            place: place.to_owned(),
            container: container.map(str::to_owned),
        })
    };
    if let Some(version) = entry.strip_prefix("rabbitmq_server-").or_else(|| entry.strip_prefix("rabbit-")) {
        return of("rabbitmq-server", version.trim_end_matches(".ez"));
    }
    let stem = entry.strip_suffix(".dist-info").or_else(|| entry.strip_suffix(".egg-info"))?;
    let (name, version) = stem.split_once('-')?;
    // An egg's name goes on with the release of Python: `amqp-1.4.9-py2.7`.
    let version = version.split('-').next().unwrap_or(version);
    if !version.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match name {
        "oslo.messaging" | "oslo_messaging" => of("oslo.messaging", version),
        "oslo.config" | "oslo_config" => of("oslo.config", version),
        "amqp" | "kombu" => of(name, version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::package;

    #[test]
    fn the_name_tells_the_version() {
        let check = |path: &str, expected: Option<(&str, &str, &str)>| {
            let found = package(path, None);
            let found = found.as_ref().map(|p| (p.name.as_str(), p.version.as_str(), p.place.as_str()));
            assert_eq!(found, expected, "{path}");
        };
        let site = "/usr/lib/python3/dist-packages";
        check(&format!("{site}/oslo.messaging-14.0.3.dist-info"), Some(("oslo.messaging", "14.0.3", site)));
        check(&format!("{site}/oslo_messaging-17.1.0.dist-info"), Some(("oslo.messaging", "17.1.0", site)));
        check(&format!("{site}/oslo.config-9.0.0.egg-info"), Some(("oslo.config", "9.0.0", site)));
        check(&format!("{site}/amqp-1.4.9-py2.7.egg-info"), Some(("amqp", "1.4.9", site)));
        check(&format!("{site}/kombu-5.2.4.egg-info"), Some(("kombu", "5.2.4", site)));
        check(&format!("{site}/amqp-utils-1.0.dist-info"), None);
        check(
            "/usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8",
            Some(("rabbitmq-server", "3.10.8", "/usr/lib/rabbitmq/lib")),
        );
        check("/opt/rabbitmq_server-4.1.0", Some(("rabbitmq-server", "4.1.0", "/opt")));
        check(
            "/opt/rabbitmq/plugins/rabbit-3.13.7",
            Some(("rabbitmq-server", "3.13.7", "/opt/rabbitmq/plugins")),
        );
        check("plain", None);
    }
}
