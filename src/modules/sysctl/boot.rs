//! What the next boot gives, by systemd-sysctl and by `sysctl --system`, and which file mends it.

use std::collections::BTreeMap;

use super::Sysctl;
use crate::audit::{Finding, Level, Severity};
use crate::conf::sysctl::{FOLDERS, Outcome, Program, SYSCTL_CONF, Setting, SourceFile, outcome, same_value};
use crate::facts::{Facts, Reading};
use crate::modules::{AS_ROOT, Context};
use crate::plan::{Action, Change};

/// Who sets the settings, and what people call it.
const PROGRAMS: [(Program, &str); 2] =
    [(Program::Systemd, "systemd-sysctl at boot"), (Program::Procps, "`sysctl --system`")];

/// Findings on what a reboot gives, and the files that mend it.
pub fn check(task: &Sysctl, context: &Context<'_>) -> (Vec<Finding>, Vec<Change>) {
    let disk = Disk::of(context.facts);
    let wrong: Vec<&String> = task.wanted.keys().filter(|key| !holds(task, &disk, key)).collect();
    if wrong.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let edits = mend(task, &disk);
    let findings = wrong.iter().map(|key| finding(task, context, &disk, key, edits.as_ref())).collect();
    let changes = edits.into_iter().flatten().map(|(path, content)| Change {
        task: context.task.id.clone(),
        action: Action::WriteFile { path, content, mode: None, owner: None, group: None, validate: None },
        owes: Vec::new(),
    });
    (findings, changes.collect())
}

fn holds(task: &Sysctl, disk: &Disk, key: &str) -> bool {
    PROGRAMS.iter().all(|(program, _)| {
        matches!(disk.outcome(*program, key), Outcome::Set(set) if same_value(&set.value, &task.wanted[key]))
    })
}

fn finding(
    task: &Sysctl,
    context: &Context<'_>,
    disk: &Disk,
    key: &str,
    edits: Option<&BTreeMap<String, String>>,
) -> Finding {
    let wanted = &task.wanted[key];
    let mut finding = Finding::new(context.task, Level::Boot, key);
    let mut said = Vec::new();
    let mut unread = None;
    let mut decides: Vec<Setting> = Vec::new();
    for (program, name) in PROGRAMS {
        let value = match disk.outcome(program, key) {
            Outcome::Set(set) => {
                let value = set.value.clone();
                decides.push(set);
                value
            }
            Outcome::Unset => "not set, so the kernel's default".to_owned(),
            Outcome::Unknown { path } => {
                unread = Some(format!("{path} could not be read"));
                continue;
            }
        };
        said.push((value, name, program));
    }
    decides.dedup();
    for set in &decides {
        finding = finding.evidence(format!("{}:{}", set.path, set.line), format!("{key} = {}", set.value));
    }
    if let Some(reason) = unread {
        return finding.unknown(wanted, reason).manual(AS_ROOT);
    }
    let alike = said.windows(2).all(|pair| pair[0].0 == pair[1].0);
    let actual = if alike {
        said[0].0.clone()
    } else {
        said.iter().map(|(value, name, _)| format!("{value} by {name}")).collect::<Vec<_>>().join(", ")
    };
    let boots_right =
        matches!(disk.outcome(Program::Systemd, key), Outcome::Set(set) if same_value(&set.value, wanted));
    if boots_right {
        // A reboot is safe; it takes a person and a command to lose the value.
        finding = finding.at_most(Severity::Warning);
    }
    finding = finding.differs(wanted, actual);
    if let Some(edits) = edits {
        let paths: Vec<&str> = edits.keys().map(String::as_str).collect();
        return finding.automatic(format!("write {}", paths.join(", ")));
    }
    let places: Vec<_> = decides.iter().map(|set| format!("{}:{}", set.path, set.line)).collect();
    finding.manual(format!(
        "{} beats {}: change that line, or give `dest` a name that sorts after it",
        places.join(" and "),
        task.dest
    ))
}

/// The files to write so that every setting holds, by both programs; `None` where no file of ours or below
/// `/etc` can.
///
/// Our drop-in alone, where it has the last word. Where another file below `/etc` has, that line is edited:
/// two files that say different things would be a trap for the next reader, and before `/etc/sysctl.conf`,
/// which `sysctl --system` reads last, no drop-in can win.
fn mend(task: &Sysctl, disk: &Disk) -> Option<BTreeMap<String, String>> {
    [(true, false), (false, true), (true, true)].into_iter().find_map(|(drop_in, edits)| {
        let mut then = disk.clone();
        let mut written = BTreeMap::new();
        if drop_in {
            then.write(&task.dest, &task.content);
            written.insert(task.dest.clone(), task.content.clone());
        }
        // Each round takes the last word from one line, and a key has few.
        for _ in 0..if edits { 64 } else { 0 } {
            let Some((key, set)) = overruled(task, &then) else { break };
            let path = then.target(&set.path);
            if !path.starts_with("/etc/") || path == task.dest {
                break;
            }
            let content = set_line(then.content(&path)?, set.line, &task.wanted[key]);
            then.write(&path, &content);
            written.insert(path, content);
        }
        task.wanted.keys().all(|key| holds(task, &then, key)).then_some(written)
    })
}

/// A setting whose last word is wrong, and the line that has it.
fn overruled<'a>(task: &'a Sysctl, disk: &Disk) -> Option<(&'a String, Setting)> {
    task.wanted.iter().find_map(|(key, wanted)| {
        PROGRAMS.iter().find_map(|(program, _)| match disk.outcome(*program, key) {
            Outcome::Set(set) if !same_value(&set.value, wanted) => Some((key, set)),
            Outcome::Set(_) | Outcome::Unset | Outcome::Unknown { .. } => None,
        })
    })
}

/// `content` with another value in one line (from 1); every other byte stays.
fn set_line(content: &str, line: usize, value: &str) -> String {
    let mut text = String::with_capacity(content.len() + value.len());
    for (at, raw) in content.split_inclusive('\n').enumerate() {
        let end = raw.trim_end_matches(['\r', '\n']).len();
        match raw[..end].find('=') {
            Some(sign) if at + 1 == line => {
                let after = &raw[sign + 1..end];
                let lead = after.len() - after.trim_start().len();
                text.push_str(&raw[..sign + 1 + lead]);
                text.push_str(value);
                text.push_str(&raw[end..]);
            }
            _ => text.push_str(raw),
        }
    }
    text
}

/// The files that the two programs read, by path.
#[derive(Debug, Clone)]
struct Disk {
    files: BTreeMap<String, OnDisk>,
}

#[derive(Debug, Clone)]
struct OnDisk {
    /// `None`: it could not be read.
    content: Option<String>,
    link: Option<String>,
}

impl Disk {
    fn of(facts: &Facts) -> Self {
        let is_read = |path: &str| {
            path == SYSCTL_CONF
                || path.rsplit_once('/').is_some_and(|(folder, name)| {
                    FOLDERS.contains(&folder) && name.strip_suffix(".conf").is_some()
                })
        };
        let mut files: BTreeMap<String, OnDisk> = BTreeMap::new();
        for (path, reading) in facts.files.iter().filter(|(path, _)| is_read(path)) {
            let file = match reading {
                Reading::Known(file) => {
                    OnDisk { content: Some(file.content.to_string()), link: file.link.clone() }
                }
                Reading::Unknown(_) => OnDisk { content: None, link: None },
                Reading::Absent => continue,
            };
            files.insert(path.clone(), file);
        }
        // A folder that could not be listed may hold anything, under the name that beats all others.
        for folder in FOLDERS {
            if facts.folders.get(folder).is_some_and(|names| names.unknown().is_some()) {
                files.insert(format!("{folder}/~.conf"), OnDisk { content: None, link: None });
            }
        }
        Self { files }
    }

    fn outcome(&self, program: Program, key: &str) -> Outcome {
        let files: Vec<SourceFile<'_>> = self
            .files
            .iter()
            .map(|(path, file)| SourceFile { path, content: self.content(path), link: file.link.as_deref() })
            .collect();
        outcome(program, &files, key)
    }

    /// What is read at a path, through its link.
    fn content(&self, path: &str) -> Option<&str> {
        let file = self.files.get(path)?;
        let target = file.link.as_ref().and_then(|_| self.files.get(&self.target(path)));
        target.unwrap_or(file).content.as_deref()
    }

    /// The path itself, or where it points to, dots resolved.
    fn target(&self, path: &str) -> String {
        let Some(link) = self.files.get(path).and_then(|file| file.link.as_deref()) else {
            return path.to_owned();
        };
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let full = if link.starts_with('/') { link.to_owned() } else { format!("{folder}/{link}") };
        let mut parts: Vec<&str> = Vec::new();
        for part in full.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." { parts.truncate(parts.len().saturating_sub(1)) } else { parts.push(part) }
        }
        format!("/{}", parts.join("/"))
    }

    fn write(&mut self, path: &str, content: &str) {
        let file = OnDisk { content: Some(content.to_owned()), link: None };
        self.files.insert(path.to_owned(), file);
    }
}
