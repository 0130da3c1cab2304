//! Looking for lines in the logs of a host: one script, one pass over each file, nothing copied but what it
//! finds.
//!
//! [`search`] is asked twice at most: first for the lines that hold one of the fixed strings, then for the lines
//! of the requests that were found and the tracebacks above them. [`READS_LOGS`] is every program that runs on
//! the host; none of them writes.

use std::time::Duration;

use jiff::Timestamp;

use crate::cmd::{Cmd, quote};
use crate::error::HostError;
use crate::service;
use crate::transport::Transport;

use super::{frame, token};

/// Every program that the script runs; none of them writes.
pub const READS_LOGS: &[&str] = &[
    "bzip2 -dc",
    "date",
    "find",
    "grep",
    "gzip -dc",
    "head",
    "journalctl",
    "ls",
    "readlink",
    "tail",
    "timeout",
    "uname",
    "wc",
    "xz -dc",
    "zstd -dc",
];

/// The most that the lines of one file may hold, in bytes; the newest are kept.
pub const EACH: usize = 4 << 20;

/// The most that the answer of one host may hold, in bytes; the oldest files are left out.
pub const WHOLE: usize = 16 << 20;

/// So much of a file in front of a line is read for a traceback, in bytes.
const BEFORE: usize = 24 << 10;

/// journald keeps much more than files do; without `--since` so many days of it are read.
pub const JOURNAL_DAYS: u32 = 14;

/// Seconds of the deadline that are left for the way there and back.
const SPARE: u64 = 5;

const SCRIPT: &str = include_str!("search.sh");

/// What is looked for on one host.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// The folder that stands for `/` on the host (`trueup_root`).
    pub root: Option<String>,
    /// Ask as root: logs are not for everybody.
    pub r#become: bool,
    /// Absolute paths; none: the logs of every service that the tool knows.
    pub files: Vec<String>,
    /// Is the journal read too?
    pub journal: bool,
    /// Only files that were written to in the last so many minutes.
    pub minutes: Option<u64>,
    /// The journal from then on, in seconds since the epoch.
    pub since: Option<i64>,
    /// Fixed strings.
    pub patterns: Vec<String>,
    /// Places whose surroundings are wanted: byte and path.
    pub spots: Vec<(u64, String)>,
    /// How long it may take.
    pub deadline: Duration,
}

/// What was found on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// The host's zone by its IANA name; empty: it has none.
    pub zone: String,
    /// The same as an offset today, `+0100`.
    pub offset: String,
    /// The host's clock, seconds since the epoch.
    pub clock: i64,
    /// This machine's before it asked and after it was answered, the same way.
    pub asked: (i64, i64),
    /// The host's own name.
    pub hostname: String,
    /// Lines by file, each behind its number and its place in bytes.
    pub found: Vec<Matches>,
    /// Surroundings of places, by path.
    pub spots: Vec<(String, Vec<u8>)>,
    /// Files that could not be read, and why.
    pub unread: Vec<(String, String)>,
    /// Is something left out because there was too much?
    pub cut: bool,
}

impl Logs {
    /// Seconds that the host's clock is ahead of this machine's, where it is certain that they are apart.
    pub fn ahead(&self) -> Option<f64> {
        /// Both clocks were read in whole seconds.
        const ROUNDED: i64 = 2;
        let (before, after) = self.asked;
        let apart = if self.clock < before - ROUNDED {
            self.clock - before
        } else if self.clock > after + ROUNDED {
            self.clock - after
        } else {
            return None;
        };
        (self.clock > 0).then_some(apart as f64)
    }
}

/// Lines of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matches {
    /// The path on the host, or `journal`.
    pub path: String,
    /// The lines.
    pub lines: Vec<u8>,
    /// The size of the file in bytes; `None` for the journal.
    pub size: Option<u64>,
    /// Were older lines left out?
    pub cut: bool,
}

/// Looks for lines on one host.
pub async fn search<T: Transport>(transport: &T, request: &LogRequest) -> Result<Logs, HostError> {
    let token = token()?;
    let no_arguments: [&str; 0] = [];
    let cmd = Cmd::script(script(request, &token), no_arguments)
        .becoming(request.r#become)
        .within(request.deadline);
    let asked = Timestamp::now().as_second();
    let output = transport.run(&cmd).await?;
    read(&output.stdout, &token, (asked, Timestamp::now().as_second()))
}

/// Folders of the logs of every service that the tool knows; `*` is for the shell of the host.
fn folders() -> Vec<String> {
    let mut projects: Vec<&str> =
        service::services().iter().map(|service| service.project.as_str()).collect();
    projects.sort_unstable();
    projects.dedup();
    let mut folders = Vec::new();
    for project in projects {
        folders.push(format!("/var/log/{project}"));
        // kolla: a link to its volume, which is read where there is no link.
        folders.push(format!("/var/log/kolla/{project}"));
        folders.push(format!("/var/lib/docker/volumes/kolla_logs/_data/{project}"));
        folders.push(format!("/var/lib/containers/storage/volumes/kolla_logs/_data/{project}"));
        // TripleO, and its web servers'.
        folders.push(format!("/var/log/containers/{project}"));
        folders.push(format!("/var/log/containers/httpd/{project}*"));
        // openstack-ansible, from the container's host.
        folders.push(format!("/openstack/log/*/{project}"));
    }
    folders.extend(["/var/log/uwsgi", "/var/log/apache2", "/var/log/httpd"].map(str::to_owned));
    folders
}

/// journald's units of the same.
fn units() -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    for service in service::services() {
        for name in [format!("{}*", service.project), format!("openstack-{}*", service.project)] {
            if !units.contains(&name) {
                units.push(name);
            }
        }
    }
    units.push("rabbitmq-server*".to_owned());
    units
}

/// The text that is sent: what to look for, in front of the fixed script. Every value in it is quoted.
fn script(request: &LogRequest, token: &str) -> String {
    let mut text = String::new();
    let mut set = |name: &str, value: &str| text.push_str(&format!("{name}={}\n", quote(value)));
    let units = if request.journal {
        units().iter().flat_map(|unit| ["-u".to_owned(), unit.clone()]).collect::<Vec<_>>().join("\n")
    } else {
        String::new()
    };
    let since = request.since.map_or_else(|| format!("-{JOURNAL_DAYS}d"), |since| format!("@{since}"));
    let spots: Vec<String> = request.spots.iter().map(|(at, path)| format!("{at} {path}")).collect();
    set("token", token);
    set("root", request.root.as_deref().unwrap_or_default().trim_end_matches('/'));
    set("folders", &if request.files.is_empty() { folders() } else { Vec::new() }.join("\n"));
    set("files", &request.files.join("\n"));
    set("units", &units);
    set("minutes", &request.minutes.map(|minutes| minutes.to_string()).unwrap_or_default());
    set("since", &since);
    set("before", &BEFORE.to_string());
    set("each", &EACH.to_string());
    set("whole", &WHOLE.to_string());
    set("budget", &request.deadline.as_secs().saturating_sub(SPARE).max(1).to_string());
    set("patterns", &request.patterns.join("\n"));
    set("spots", &spots.join("\n"));
    text.push_str(SCRIPT);
    text
}

fn read(answer: &[u8], token: &str, asked: (i64, i64)) -> Result<Logs, HostError> {
    let mut logs = Logs {
        zone: String::new(),
        offset: String::new(),
        clock: 0,
        asked,
        hostname: String::new(),
        found: Vec::new(),
        spots: Vec::new(),
        unread: Vec::new(),
        cut: answer.len() >= WHOLE,
    };
    for frame in frame::frames(answer, token)? {
        let reason = |reason: &str| (frame.about.clone(), reason.to_owned());
        match frame.name {
            "clock" => {
                let text = frame.text();
                let mut lines = text.lines().map(str::to_owned);
                logs.zone = lines.next().unwrap_or_default();
                logs.offset = lines.next().unwrap_or_default();
                logs.clock = lines.next().and_then(|text| text.parse().ok()).unwrap_or_default();
                logs.hostname = lines.next().unwrap_or_default();
            }
            "log" => logs.found.push(Matches {
                path: frame.about.clone(),
                lines: frame.body.to_vec(),
                size: None,
                cut: frame.body.len() >= EACH,
            }),
            "size" => {
                if let Some(last) = logs.found.last_mut() {
                    last.size = frame.about.trim().parse().ok();
                }
            }
            "spot" => logs.spots.push((frame.about.clone(), frame.body.to_vec())),
            "denied" => logs.unread.push(reason("permission denied")),
            "late" => logs.unread.push(reason("there was no time left for it")),
            "lacks" => {
                let (path, program) = frame.words();
                logs.unread.push((path.to_owned(), format!("the host has no {program}")));
            }
            _ => {}
        }
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::probe::script::tests::{BUILTINS, Scan};

    #[test]
    fn the_search_calls_only_what_reads() {
        let mut scan = Scan::default();
        scan.read(&mut SCRIPT.chars().peekable(), false);
        // `find` runs it on what it finds.
        let mut used = BTreeSet::from(["ls"]);
        for words in &scan.commands {
            let name = words[0].as_str();
            if BUILTINS.contains(&name) || scan.functions.contains(name) {
                continue;
            }
            let fits = READS_LOGS.iter().find(|read| match read.split_once(' ') {
                Some((program, option)) => program == name && words.get(1).is_some_and(|word| word == option),
                None => **read == name,
            });
            used.insert(fits.unwrap_or_else(|| panic!("`{}` is not in the table", words.join(" "))));
        }
        assert_eq!(used, READS_LOGS.iter().copied().collect(), "the table has what is used");
        assert!(SCRIPT.contains("-exec ls -1td -- {} +"));
        for place in &scan.writes {
            assert!(place == "/dev/null" || place.starts_with('&'), "the script writes to `{place}`");
        }
    }

    #[test]
    fn every_value_of_a_request_is_quoted() {
        let request = LogRequest {
            root: Some("/a b".to_owned()),
            files: vec!["/x; rm -rf /".to_owned()],
            patterns: vec!["$(id)".to_owned()],
            spots: vec![(7, "/y `id`".to_owned())],
            deadline: Duration::from_mins(1),
            ..LogRequest::default()
        };
        let text = script(&request, "0123");
        for line in
            ["root='/a b'", "files='/x; rm -rf /'", "patterns='$(id)'", "spots='7 /y `id`'", "budget=55"]
        {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
