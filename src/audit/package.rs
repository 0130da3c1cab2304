//! Which installed version a service uses.

use crate::facts::Facts;
use crate::service::Running;

/// The version of `name` that a service loads: of its container, or of its virtual environment, or of the
/// host. `None` where it is not known, or where several are possible and differ.
pub fn version<'a>(facts: &'a Facts, running: &Running, name: &str) -> Option<&'a str> {
    let here: Vec<_> = facts
        .packages
        .iter()
        .filter(|package| package.name == name && package.container == running.container)
        .collect();
    let process = running.main_pid.and_then(|pid| facts.processes.get(&pid));
    let environment = process.and_then(|process| {
        let named = process.environ.get("VIRTUAL_ENV").map(String::as_str);
        // `/openstack/venvs/cinder-27.0.0/bin/python3`, or the script itself there.
        let by_path =
            process.argv.iter().take(2).find_map(|word| word.split_once("/bin/")).map(|(root, _)| root);
        named.or(by_path.filter(|root| !["", "/usr", "/usr/local"].contains(root)))
    });
    let inside: Vec<_> = match environment {
        Some(root) => here.iter().filter(|package| package.place.starts_with(&format!("{root}/"))).collect(),
        None => Vec::new(),
    };
    // A virtual environment without the package may still see the system's.
    let mut candidates: Vec<&str> = if inside.is_empty() {
        let system = here.iter().filter(|package| !is_environment(&package.place));
        system.map(|package| package.version.as_str()).collect()
    } else {
        inside.iter().map(|package| package.version.as_str()).collect()
    };
    if candidates.is_empty() && environment.is_none() {
        candidates = here.iter().map(|package| package.version.as_str()).collect();
    }
    candidates.sort_unstable();
    candidates.dedup();
    match candidates.as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

/// A Python site folder of a virtual environment.
fn is_environment(place: &str) -> bool {
    place.starts_with("/openstack/venvs/") || place.starts_with("/opt/")
}
