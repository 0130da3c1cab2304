//! Which files a node reads (`rabbit_env.erl`, `rabbit_prelaunch_conf.erl`).

use std::collections::BTreeMap;

use super::advanced::{self, Node};
use super::conf::{self, Item, Setting};
use super::{CONF_D_SINCE, Files};
use crate::conf::at_least;

/// Shell variables that name the other files, unless `RABBITMQ_CONF_ENV_FILE` names another file.
pub const ENV_FILE: &str = "/etc/rabbitmq/rabbitmq-env.conf";

/// Where a node looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The main file, its extension optional.
    pub main: String,
    /// A folder, or a pattern with `*` in its last part; empty where the release reads none.
    pub additional: String,
    /// The file of Erlang terms that overrides the others.
    pub advanced: String,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            main: "/etc/rabbitmq/rabbitmq".into(),
            additional: "/etc/rabbitmq/conf.d/*.conf".into(),
            advanced: "/etc/rabbitmq/advanced.config".into(),
        }
    }
}

/// The file of shell variables that a process with this environment reads.
pub fn env_file(environment: &BTreeMap<String, String>) -> &str {
    environment.get("RABBITMQ_CONF_ENV_FILE").filter(|path| !path.is_empty()).map_or(ENV_FILE, String::as_str)
}

/// Where the node looks, given the environment of its process, the text of its env file, and its version
/// where that is known: before 3.8.4 there is no conf.d, before 3.7 no rabbitmq.conf.
///
/// A variable of the process beats the file, where names may lack their `RABBITMQ_`. Of the file's shell only
/// plain assignments are understood; expansions (`$X`) are left as they are.
pub fn locate(
    environment: &BTreeMap<String, String>,
    env_file: Option<&str>,
    version: Option<&str>,
) -> Paths {
    let mut assigned: BTreeMap<String, String> = BTreeMap::new();
    for line in env_file.unwrap_or_default().lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if let Some((name, value)) = line.split_once('=')
            && let Some(words) = shlex::split(value)
        {
            assigned.insert(name.to_owned(), words.into_iter().next().unwrap_or_default());
        }
    }
    let find = |name: &str| {
        let short = name.strip_prefix("RABBITMQ_").unwrap_or(name);
        let found = environment.get(name).or_else(|| assigned.get(name)).or_else(|| assigned.get(short));
        found.filter(|value| !value.is_empty()).cloned()
    };
    let default = Paths::default();
    let knows_conf_d = version.is_none_or(|version| at_least(version, CONF_D_SINCE));
    let additional = find("RABBITMQ_CONFIG_FILES").unwrap_or(default.additional);
    let mut main = find("RABBITMQ_CONFIG_FILE").unwrap_or(default.main);
    // Before 3.7 there were only Erlang terms, and erl itself added the ending.
    if version.is_some_and(|version| !at_least(version, [3, 7, 0])) && !main.ends_with(".config") {
        main.push_str(".config");
    }
    Paths {
        main,
        additional: if knows_conf_d { additional } else { String::new() },
        advanced: find("RABBITMQ_ADVANCED_CONFIG_FILE").unwrap_or(default.advanced),
    }
}

/// The main file that is there.
enum Main {
    /// Erlang terms; then neither rabbitmq.conf nor advanced.config is read.
    Terms(String),
    /// cuttlefish.
    Conf(String),
    Absent,
}

impl Paths {
    /// The single files that decide, whether they are there or not.
    pub fn named(&self) -> Vec<String> {
        let main = match self.main.rsplit_once('.') {
            Some((_, "conf" | "config")) => vec![self.main.clone()],
            _ => vec![format!("{}.conf", self.main), format!("{}.config", self.main)],
        };
        main.into_iter().chain([self.advanced.clone()]).collect()
    }

    /// The folder of the additional files and how the names of those that are read end; `None` where the
    /// release reads none.
    pub fn folder(&self) -> Option<(&str, &str)> {
        let (folder, name) = self.additional.rsplit_once('/')?;
        match name.rsplit_once('*') {
            Some((_, ending)) => Some((folder, ending)),
            None if name.is_empty() => Some((folder, "")),
            None => Some((&self.additional, "")),
        }
    }

    /// Would the node read `path` as one of its cuttlefish files?
    pub fn reads(&self, path: &str) -> bool {
        let content = Some("");
        self.conf_files(&Files::from([(path, content)])).iter().any(|read| read == path)
    }

    fn main(&self, files: &Files<'_>) -> Main {
        let with = |extension: &str| format!("{}{extension}", self.main);
        if let Some(content) = files.get(self.main.as_str()) {
            // Without either extension the content decides.
            let terms = match self.main.rsplit_once('.') {
                Some((_, "conf")) => false,
                Some((_, "config")) => true,
                _ => content.is_some_and(|text| advanced::parse(&self.main, text).is_ok()),
            };
            return if terms { Main::Terms(self.main.clone()) } else { Main::Conf(self.main.clone()) };
        }
        if files.contains_key(with(".config").as_str()) {
            Main::Terms(with(".config"))
        } else if files.contains_key(with(".conf").as_str()) {
            Main::Conf(with(".conf"))
        } else {
            Main::Absent
        }
    }

    /// The cuttlefish files in reading order; later ones win.
    pub fn conf_files(&self, files: &Files<'_>) -> Vec<String> {
        let folder_given = files.keys().any(|path| path.starts_with(&format!("{}/", self.additional)));
        let pattern = if folder_given { format!("{}/*", self.additional) } else { self.additional.clone() };
        let main = match self.main(files) {
            Main::Conf(path) => Some(path),
            Main::Terms(_) | Main::Absent => None,
        };
        let more = files.keys().filter(|path| matches(&pattern, path)).map(|path| (*path).to_owned());
        main.into_iter().chain(more).collect()
    }

    /// The file of terms that overrides them, if there is one.
    pub fn terms_file(&self, files: &Files<'_>) -> Option<String> {
        match self.main(files) {
            Main::Terms(path) => Some(path),
            _ => files.contains_key(self.advanced.as_str()).then(|| self.advanced.clone()),
        }
    }

    /// The settings of the cuttlefish files by key, each with its file.
    pub(super) fn settings(&self, files: &Files<'_>) -> Result<BTreeMap<String, (String, Setting)>, String> {
        let mut settings = BTreeMap::new();
        for path in self.conf_files(files) {
            read_conf(&path, files, &mut settings, 0)?;
        }
        Ok(settings)
    }

    pub(super) fn terms(&self, files: &Files<'_>) -> Result<Option<(String, Node)>, String> {
        let Some(path) = self.terms_file(files) else { return Ok(None) };
        let text = content(&path, files)?;
        match advanced::parse(&path, text) {
            Ok(node) => Ok(Some((path, node))),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }
}

fn content<'a>(path: &str, files: &Files<'a>) -> Result<&'a str, String> {
    files.get(path).copied().flatten().ok_or_else(|| format!("`{path}` could not be read"))
}

fn unreadable(path: &str, error: &crate::error::Diagnostic) -> String {
    let place = error.place().map_or(path.to_owned(), ToString::to_string);
    format!("{error} at {place}")
}

/// Reads a file and, in their places, those it includes.
fn read_conf(
    path: &str,
    files: &Files<'_>,
    settings: &mut BTreeMap<String, (String, Setting)>,
    depth: usize,
) -> Result<(), String> {
    if depth > 8 {
        return Err(format!("`{path}` includes itself"));
    }
    for item in conf::parse(path, content(path, files)?).map_err(|error| unreadable(path, &error))? {
        match item {
            Item::Setting(setting) => {
                settings.insert(setting.key.clone(), (path.to_owned(), setting));
            }
            Item::Include { pattern, line } => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let pattern = format!("{folder}/{pattern}");
                let included: Vec<&str> =
                    files.keys().copied().filter(|path| matches(&pattern, path)).collect();
                if included.is_empty() {
                    return Err(format!("`{pattern}`, which {path}:{line} includes, was not read"));
                }
                for path in included {
                    read_conf(path, files, settings, depth + 1)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether `path` is in the pattern's folder and its name fits, `*` standing for anything.
fn matches(pattern: &str, path: &str) -> bool {
    let (Some((folder, wanted)), Some((within, name))) = (pattern.rsplit_once('/'), path.rsplit_once('/'))
    else {
        return pattern == path;
    };
    let mut parts = wanted.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first).filter(|_| folder == within) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(part) => name.ends_with(part),
    }
}
