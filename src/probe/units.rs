//! What `systemctl show` and container engines said.

use std::collections::BTreeMap;

use crate::facts::{Container, Unit};

/// The units of `systemctl show`, one block of `Key=value` lines each. A unit that does not exist is left
/// out unless its name is `asked`; a unit asked for by an alias is also there under the alias.
pub(super) fn units(text: &str, asked: &[String]) -> BTreeMap<String, Unit> {
    let mut found = BTreeMap::new();
    for block in text.split("\n\n") {
        let values: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once('=')).collect();
        let word = |key: &str| values.get(key).copied().unwrap_or_default().to_owned();
        let name = word("Id");
        if name.is_empty() {
            continue;
        }
        let unit = Unit {
            active: word("ActiveState"),
            sub: word("SubState"),
            load: word("LoadState"),
            enabled: word("UnitFileState"),
            main_pid: word("MainPID").parse().unwrap_or_default(),
            restarts: word("NRestarts").parse().unwrap_or_default(),
        };
        for alias in word("Names").split_whitespace().filter(|alias| *alias != name) {
            if asked.iter().any(|asked| asked == alias) {
                found.insert(alias.to_owned(), unit.clone());
            }
        }
        if unit.load != "not-found" || asked.contains(&name) {
            found.insert(name, unit);
        }
    }
    found
}

/// The containers of `docker ps` or `podman ps` with the script's format: `ID NAME IMAGE STATUS NETWORKS`,
/// a tab between.
pub(super) fn containers(text: &str, engine: &str) -> BTreeMap<String, Container> {
    text.lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [id, name, image, status, network] = columns.as_slice() else { return None };
            let name = name.trim_matches(['[', ']']).split(',').next().unwrap_or_default();
            Some((
                name.to_owned(),
                Container {
                    engine: engine.to_owned(),
                    id: (*id).to_owned(),
                    image: (*image).to_owned(),
                    status: status.to_lowercase(),
                    network: network.trim_matches(['[', ']']).to_owned(),
                },
            ))
        })
        .collect()
}
