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
            drop_ins: word("DropInPaths").split_whitespace().map(str::to_owned).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "Id=cinder-volume.service\nNames=cinder-volume.service\nActiveState=active\nSubState=running\n\
        LoadState=loaded\nUnitFileState=enabled\nMainPID=963\nNRestarts=2\n\
        DropInPaths=/run/systemd/system/cinder-volume.service.d/50-pacemaker.conf /etc/systemd/system/cinder-volume.service.d/a.conf\n\n\
        Id=mariadb.service\nNames=mariadb.service mysql.service\nActiveState=inactive\nSubState=dead\n\
        LoadState=masked\nUnitFileState=masked\nMainPID=0\n\n\
        Id=nope.service\nNames=nope.service\nActiveState=inactive\nLoadState=not-found\nUnitFileState=\n";

    #[test]
    fn units_are_read_by_name_and_by_the_alias_that_was_asked_for() {
        let check = |asked: &[&str], expected: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(units(SHOWN, &asked).keys().collect::<Vec<_>>(), expected, "{asked:?}");
        };
        check(&[], &["cinder-volume.service", "mariadb.service"]);
        check(&["nope.service"], &["cinder-volume.service", "mariadb.service", "nope.service"]);
        check(&["mysql.service"], &["cinder-volume.service", "mariadb.service", "mysql.service"]);
        let volume = &units(SHOWN, &[])["cinder-volume.service"];
        assert_eq!((volume.main_pid, volume.restarts, volume.enabled.as_str()), (963, 2, "enabled"));
        assert_eq!(
            volume.drop_ins,
            [
                "/run/systemd/system/cinder-volume.service.d/50-pacemaker.conf",
                "/etc/systemd/system/cinder-volume.service.d/a.conf"
            ]
        );
        assert!(units(SHOWN, &[])["mariadb.service"].drop_ins.is_empty());
        assert!(units("System has not been booted with systemd as init system\n", &[]).is_empty());
    }

    #[test]
    fn both_engines_name_their_containers() {
        let check = |text: &str, expected: Option<(&str, &str, &str)>| {
            let found = containers(text, "docker");
            let found =
                found.iter().next().map(|(name, c)| (name.as_str(), c.status.as_str(), c.network.as_str()));
            assert_eq!(found, expected, "{text}");
        };
        check(
            "f00\tcinder_volume\tkolla/cinder-volume:2024.1\trunning\thost\n",
            Some(("cinder_volume", "running", "host")),
        );
        check("f00\t[cinder_volume]\timage\tExited\t[]\n", Some(("cinder_volume", "exited", "")));
        check("Cannot connect to the Docker daemon\n", None);
    }
}
