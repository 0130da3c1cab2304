//! What package tools did on a host, from their own logs and databases.
//!
//! dpkg(1) writes every action into `/var/log/dpkg.log` as `DATE TIME ACTION PACKAGE:ARCH OLD NEW`, apt every
//! command into `/var/log/apt/history.log` with who asked for it; both in the host's own time without a zone.
//! rpm keeps the time of each package's installation in its database.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::conf::secret::{Kind, mask_file};

/// What package tools did, and whose the files are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// What changed, oldest first; empty where no tool keeps a log.
    pub operations: Vec<Operation>,
    /// The package that owns a file, by path; a file without an entry belongs to none.
    pub owners: BTreeMap<String, String>,
}

/// One thing a package tool did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Operation {
    /// When, seconds since the epoch.
    pub at: i64,
    /// The package, without its architecture.
    pub package: String,
    /// `upgrade 1.0 to 1.1`, `configure 1.1`.
    pub what: String,
    /// Where that stands: `/var/log/dpkg.log`, `rpm -qa`.
    pub source: String,
    /// The command that wanted it and who gave it, where apt knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One command of apt.
struct Command {
    from: i64,
    to: i64,
    text: String,
}

impl History {
    /// The history in the logs of dpkg and apt, whose times are in `zone` (as `date +%z` writes it), and in a
    /// list of `TIME NAME VERSION` of rpm.
    pub fn read(zone: &str, dpkg: &str, apt: &str, rpm: &str) -> Self {
        let zone = offset(zone);
        let commands = commands(apt, zone);
        let mut operations: Vec<Operation> = dpkg.lines().filter_map(|line| of_dpkg(line, zone)).collect();
        for operation in &mut operations {
            // dpkg runs within the time of its command.
            let own = |command: &&Command| (command.from..=command.to).contains(&operation.at);
            operation.by = commands.iter().find(own).map(|command| command.text.clone());
        }
        operations.extend(rpm.lines().filter_map(of_rpm));
        operations.sort_by_key(|operation| operation.at);
        Self { operations, owners: BTreeMap::new() }
    }
}

/// `+0100`
fn offset(zone: &str) -> Option<Offset> {
    let (sign, digits) = zone.trim().split_at_checked(1)?;
    let (hours, minutes) = digits.split_at_checked(2)?;
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok()
}

fn time(text: &str, zone: Option<Offset>) -> Option<i64> {
    let time: DateTime = text.split_whitespace().collect::<Vec<_>>().join("T").parse().ok()?;
    Some(time.to_zoned(TimeZone::fixed(zone?)).ok()?.timestamp().as_second())
}

fn of_dpkg(line: &str, zone: Option<Offset>) -> Option<Operation> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [day, clock, action, package, old, new] = words.as_slice() else { return None };
    let version = |word: &str| Some(word.to_owned()).filter(|word| word != "<none>");
    let what = match (*action, version(old), version(new)) {
        ("upgrade", Some(old), Some(new)) => format!("upgrade {old} to {new}"),
        (action, old, new) => format!("{action} {}", new.or(old).unwrap_or_default()).trim_end().to_owned(),
    };
    Some(Operation {
        at: time(&format!("{day} {clock}"), zone)?,
        package: package.split(':').next().unwrap_or_default().to_owned(),
        what,
        source: "/var/log/dpkg.log".to_owned(),
        by: None,
    })
}

fn of_rpm(line: &str) -> Option<Operation> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [at, package, version] = words.as_slice() else { return None };
    Some(Operation {
        at: at.parse().ok()?,
        package: (*package).to_owned(),
        what: format!("install {version}"),
        source: "rpm -qa".to_owned(),
        by: None,
    })
}

fn commands(apt: &str, zone: Option<Offset>) -> Vec<Command> {
    let mut found: Vec<Command> = Vec::new();
    for line in apt.lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        match (key, found.last_mut()) {
            ("Start-Date", _) => {
                let Some(from) = time(value, zone) else { continue };
                found.push(Command { from, to: i64::MAX, text: String::new() });
            }
            ("End-Date", Some(last)) => last.to = time(value, zone).unwrap_or(last.from),
            ("Commandline", Some(last)) => last.text = mask_file(Kind::Text, value.trim()),
            ("Requested-By", Some(last)) => last.text.push_str(&format!(", by {}", value.trim())),
            _ => {}
        }
    }
    // One without an end was cut off by the next one.
    for at in 1..found.len() {
        let next = found[at].from;
        found[at - 1].to = found[at - 1].to.min(next);
    }
    found.retain(|command| !command.text.is_empty());
    found
}

/// The file and its package of a line of `grep -H` in dpkg's lists: `/var/lib/dpkg/info/NAME:ARCH.list:/FILE`.
pub fn owner(line: &str) -> Option<(String, String)> {
    let (list, path) = line.split_once(".list:")?;
    let name = list.rsplit('/').next()?.split(':').next()?;
    Some((path.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_dpkg_and_apt_are_read_in_the_hosts_own_time() {
        let dpkg = "2026-11-22 13:00:05 upgrade cinder-common:all 2:21.3.1-0 2:21.3.2-0\n\
                    2026-11-22 13:00:07 configure cinder-common:all 2:21.3.2-0 <none>\n\
                    2026-11-22 14:00:00 install hello:amd64 <none> 2.10-3\n\
                    2026-11-22 25:00:00 install odd:amd64 <none> 1\n\
                    2026-11-22 13:00:05 status half-installed\n";
        let apt = "Start-Date: 2026-11-22  13:00:04\nCommandline: apt-get upgrade -o P=http://u:s3cret@proxy/\n\
                   Requested-By: ops (1000)\nEnd-Date: 2026-11-22  13:00:09\n";
        let check = |zone: &str, expected: &[(i64, &str, &str, Option<&str>)]| {
            let found = History::read(zone, dpkg, apt, "");
            let found: Vec<_> = found
                .operations
                .iter()
                .map(|one| (one.at, one.package.as_str(), one.what.as_str(), one.by.as_deref()))
                .collect();
            assert_eq!(found, expected, "{zone}");
        };
        let by = Some("apt-get upgrade -o P=http://u:***@proxy/, by ops (1000)");
        let rows = |shift: i64| {
            [
                (1_795_352_405 - shift, "cinder-common", "upgrade 2:21.3.1-0 to 2:21.3.2-0", by),
                (1_795_352_407 - shift, "cinder-common", "configure 2:21.3.2-0", by),
                (1_795_356_000 - shift, "hello", "install 2.10-3", None),
            ]
        };
        check("+0000\n", &rows(0));
        check("+0530", &rows(19_800));
        check("-0100", &rows(-3600));
        // Without the zone the time is not known, and nothing is guessed.
        check("", &[]);
    }

    #[test]
    fn rpms_database_is_a_history_too() {
        let found = History::read("", "", "", "1795352405 openstack-cinder 21.3.2-1.el9\nodd line\n");
        assert_eq!(found.operations.len(), 1);
        assert_eq!(found.operations[0].what, "install 21.3.2-1.el9");
    }

    #[test]
    fn a_list_of_dpkg_names_the_owner_of_a_file() {
        let check = |line: &str, expected: Option<(&str, &str)>| {
            let found = owner(line);
            let found = found.as_ref().map(|(path, package)| (path.as_str(), package.as_str()));
            assert_eq!(found, expected, "{line}");
        };
        check(
            "/var/lib/dpkg/info/cinder-common.list:/etc/cinder/a.conf",
            Some(("/etc/cinder/a.conf", "cinder-common")),
        );
        check("/r/var/lib/dpkg/info/libc6:amd64.list:/etc/x", Some(("/etc/x", "libc6")));
        check("grep: nonsense", None);
    }
}
