//! Whose log a file is, by its name: the host and the service.

use crate::service;

/// Folders of logs that are no host's name.
const FOLDERS: &[&str] = &[
    "var",
    "log",
    "logs",
    "kolla",
    "containers",
    "httpd",
    "apache2",
    "nginx",
    "uwsgi",
    "rabbitmq",
    "journal",
    "openstack",
];

/// The host that a path names: `ctl1/var/log/cinder/api.log`, `controller01_api.log`, `rabbit@ctl1.log`.
pub fn host(path: &str) -> Option<String> {
    let mut parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != "." && *part != "..").collect();
    let file = parts.pop()?;
    let stem = stem(file);
    if let Some((_, node)) = stem.split_once('@') {
        let node = node.strip_suffix("-sasl").unwrap_or(node);
        return (!node.is_empty()).then(|| node.split('.').next().unwrap_or(node).to_owned());
    }
    // The innermost folder above what is certainly a folder of logs.
    let folder = parts.iter().rev().find(|part| !FOLDERS.contains(part) && !is_of_service(part));
    if let Some(folder) = folder.filter(|_| !path.starts_with('/')) {
        return Some((*folder).to_owned());
    }
    let (front, back) = stem.split_once(['_', '.'])?;
    let is_host = !front.is_empty() && !is_of_service(front) && !is_of_service(stem);
    (is_host && (is_of_service(back) || is_part(back))).then(|| front.to_owned())
}

/// The service whose log it is: by the file's name, by the program that journald names, or by the logger, which
/// is the last to ask, because an API logs through the modules of other services too.
pub fn service(path: &str, program: Option<&str>, logger: Option<&str>) -> Option<String> {
    let file = stem(path.rsplit('/').next().unwrap_or(path));
    let folder = path.rsplit('/').nth(1).unwrap_or_default();
    let by_logger = || {
        let logger = logger?;
        let mut parts = logger.split('.');
        known(&format!("{}-{}", parts.next()?, parts.next()?))
    };
    let named = || {
        let file = file.replace('_', "-");
        let file = ["-access", "-error", "-wsgi"]
            .iter()
            .fold(file.as_str(), |name, end| name.strip_suffix(end).unwrap_or(name));
        known(file)
            .or_else(|| known(&format!("{folder}-{file}")))
            // Debian and kolla call an API's own log `cinder-wsgi.log`.
            .or_else(|| known(&format!("{file}-api")))
            .or_else(|| file.split_once('-').and_then(|(_, back)| known(back)))
    };
    named().or_else(|| program.and_then(known)).or_else(by_logger)
}

/// The service with this name, or whose program has it.
fn known(name: &str) -> Option<String> {
    let name = name.strip_prefix("openstack-").unwrap_or(name);
    let exact = service::service(name);
    let service = exact.or_else(|| {
        service::services()
            .iter()
            .find(|one| name.contains('-') && one.programs().any(|program| program == name))
    });
    service.map(|service| service.name.clone())
}

/// A project (`cinder`), a service (`cinder-api`), or a folder of one.
fn is_of_service(name: &str) -> bool {
    let name = name.replace('_', "-");
    let projects = || service::services().iter().any(|service| service.project == name);
    known(&name).is_some() || projects()
}

/// What a service is called without its project: `api`, `volume`.
fn is_part(name: &str) -> bool {
    service::services()
        .iter()
        .any(|service| service.name.split_once('-').is_some_and(|(_, part)| part == name))
}

/// The name of a log without its ending, rotation and compression.
fn stem(file: &str) -> &str {
    let end = file.find(".log").unwrap_or_else(|| file.find('.').unwrap_or(file.len()));
    &file[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_paths() {
        let check =
            |path: &str, expected: Option<&str>| assert_eq!(host(path).as_deref(), expected, "{path}");
        check("controller01_api.log", Some("controller01"));
        check("controller01_cinder-api.log.1.gz", Some("controller01"));
        check("ctl1/var/log/cinder/cinder-api.log", Some("ctl1"));
        check("incident/ctl1/cinder/api.log", Some("ctl1"));
        check("ctl2/rabbitmq/rabbit@ctl2.log", Some("ctl2"));
        check("rabbit@ctl2.example.org.log-20221122.gz", Some("ctl2"));
        check("/var/log/cinder/cinder-api.log", None);
        check("/tmp/x/cinder-api.log", None);
        check("cinder/cinder-api.log", None);
        check("cinder-api.log", None);
        check("nova_api.log", None);
        check("kolla/cinder/cinder-api.log", None);
        check("", None);
    }

    #[test]
    fn services_are_known_by_paths_and_loggers() {
        let check = |path: &str, program: Option<&str>, logger: Option<&str>, expected: &str| {
            assert_eq!(service(path, program, logger).as_deref(), Some(expected), "{path}");
        };
        check("/var/log/cinder/cinder-volume.log", None, None, "cinder-volume");
        check("/var/log/cinder/cinder-wsgi.log", None, None, "cinder-api");
        check("/var/log/cinder/volume.log.2.gz", None, None, "cinder-volume");
        check("/var/log/kolla/cinder/cinder-api-access.log", None, None, "cinder-api");
        check("/var/log/apache2/cinder_error.log", None, None, "cinder-api");
        check("controller01_api.log", None, Some("cinder.api.openstack.wsgi"), "cinder-api");
        check("journal", Some("nova-compute"), None, "nova-compute");
        check("journal", Some("openstack-cinder-api"), None, "cinder-api");
        check(
            "/var/log/nova/nova-conductor.log",
            None,
            Some("oslo.messaging._drivers.impl_rabbit"),
            "nova-conductor",
        );
        check("controller01_cinder-api.log", None, None, "cinder-api");
        assert_eq!(service("x.log", None, Some("eventlet.wsgi.server")), None);
    }
}
