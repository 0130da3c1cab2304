//! Which files a process reads, and in which order (`cfg.find_config_files`, `find_config_dirs`,
//! `ConfigOpts._parse_config_files`).

use std::collections::BTreeSet;

/// One `--config-file` or `--config-dir` of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flag {
    /// `--config-file PATH`
    File(String),
    /// `--config-dir PATH`
    Dir(String),
}

/// How a process looks for files that nobody named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// The project: `cinder`. `None` when the program names none.
    pub project: Option<String>,
    /// The program: `cinder-volume`; a `.py` at the end is dropped.
    pub prog: String,
    /// Home of the user it runs as, for `~/.cinder/` and `~/`.
    pub home: Option<String>,
    /// Where it was started, for relative paths.
    pub cwd: Option<String>,
    /// `SNAP_COMMON` of its environment.
    pub snap_common: Option<String>,
    /// `SNAP` of its environment.
    pub snap: Option<String>,
}

/// The files of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// In reading order; later ones win. A path may appear twice.
    pub files: Vec<String>,
    /// Named on the command line and not there: the service does not start.
    pub missing: Vec<String>,
}

/// The `--config-file` and `--config-dir` of `argv`, in their order, with `=` or as the next word.
pub fn flags(argv: &[String]) -> Vec<Flag> {
    let mut found = Vec::new();
    let mut words = argv.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let flag: fn(String) -> Flag = match name {
            "--" => break,
            "--config-file" => Flag::File,
            "--config-dir" => Flag::Dir,
            _ => continue,
        };
        let Some(value) = value.or_else(|| words.next()) else { break };
        found.push(flag(value.to_owned()));
    }
    found
}

/// The files read, given the paths that exist (files and directories, absolute, no trailing `/`).
///
/// Without `--config-file`: the first `<project>.conf` and the first `<prog>.conf` of `~/.<project>`, `~`,
/// `/etc/<project>`, `/etc` and the snap's directories. Without `--config-dir`: likewise
/// `<project>.conf.d` and `<prog>.conf.d` (since oslo.config 3.20.0). Both come **before** what the command
/// line names, which is read in its order, so a file it names beats every default drop-in.
pub fn order(flags: &[Flag], search: &Search, existing: &BTreeSet<String>) -> Order {
    let mut order = Order::default();
    let absolute = |path: &str| absolute(path, search);
    if !flags.iter().any(|flag| matches!(flag, Flag::File(_))) {
        order.files.extend(search.defaults(".conf", existing));
    }
    if !flags.iter().any(|flag| matches!(flag, Flag::Dir(_))) {
        for dir in search.defaults(".conf.d", existing) {
            order.files.extend(files_in(&dir, existing));
        }
    }
    for flag in flags {
        match flag {
            Flag::File(path) => {
                let path = absolute(path);
                if existing.contains(&path) {
                    order.files.push(path);
                } else {
                    order.missing.push(path);
                }
            }
            Flag::Dir(path) => {
                let path = absolute(path);
                if exists(&path, existing) {
                    order.files.extend(files_in(&path, existing));
                } else {
                    order.missing.push(path);
                }
            }
        }
    }
    order
}

impl Search {
    /// The first hit for the project and the first for the program, in this order.
    fn defaults(&self, extension: &str, existing: &BTreeSet<String>) -> Vec<String> {
        let prog = self.prog.strip_suffix(".py").unwrap_or(&self.prog);
        let dirs = self.directories();
        let names = self.project.as_deref().into_iter().chain(Some(prog)).filter(|name| !name.is_empty());
        names
            .filter_map(|name| {
                dirs.iter()
                    .map(|dir| format!("{}/{name}{extension}", dir.trim_end_matches('/')))
                    .find(|path| exists(path, existing))
            })
            .collect()
    }

    fn directories(&self) -> Vec<String> {
        let project = self.project.as_deref().filter(|name| !name.is_empty());
        let home = self.home.as_deref();
        let snap = |root: &Option<String>| Some(format!("{}/etc/{}", root.as_deref()?, project?));
        [
            home.zip(project).map(|(home, project)| format!("{home}/.{project}")),
            home.map(str::to_owned),
            project.map(|project| format!("/etc/{project}")),
            Some("/etc".to_owned()),
            snap(&self.snap_common),
            snap(&self.snap),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn exists(path: &str, existing: &BTreeSet<String>) -> bool {
    let inside = format!("{path}/");
    existing.contains(path)
        || existing.range(inside.clone()..).next().is_some_and(|next| next.starts_with(&inside))
}

/// `sorted(glob("DIR/*.conf"))`: bytewise, names with a leading dot left out.
fn files_in(dir: &str, existing: &BTreeSet<String>) -> Vec<String> {
    let inside = format!("{dir}/");
    let conf = |name: &str| {
        let stem = name.strip_suffix(".conf");
        stem.is_some() && !name.starts_with('.') && !name.contains('/')
    };
    existing
        .range(inside.clone()..)
        .take_while(|path| path.starts_with(&inside))
        .filter(|path| conf(&path[inside.len()..]))
        .cloned()
        .collect()
}

/// `os.path.abspath(os.path.expanduser(path))`; other users' homes stay as they are.
fn absolute(path: &str, search: &Search) -> String {
    let expanded = match (path.strip_prefix('~'), &search.home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => path.to_owned(),
    };
    let full = match (expanded.starts_with('/'), &search.cwd) {
        (false, Some(cwd)) => format!("{cwd}/{expanded}"),
        _ => expanded,
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in full.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
