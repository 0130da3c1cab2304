//! What an OpenStack service reads from its files: oslo.config, exactly.
//!
//! [`read`] gives one file with every occurrence and its line; [`Config`] is several files in reading
//! order, the environment, and the look-ups of oslo.config (10.7.0): later files win, the new name wins over
//! deprecated ones within a file, section names ignore case except `DEFAULT`. [`order`] says which files a
//! process reads, [`set`] edits one, [`show`] prints what was read.

mod edit;
mod order;
mod read;
pub mod show;
mod url;
mod value;

use std::collections::BTreeMap;
use std::fmt;

pub use edit::{Edited, Refusal, set, set_parsed};
pub use order::{Flag, Order, Search, flags, order};
pub use read::{Entry, File, Section, group_name, read};
pub use url::{Secret, TransportHost, TransportUrl};
pub use value::{Unresolved, boolean, escape, float, integer};

use crate::conf::at_least;
use value::Piece;

/// The environment is read since oslo.config 6.7.0 (Stein).
const READS_ENVIRONMENT_SINCE: [u32; 3] = [6, 7, 0];

/// Files in the order they are read, and the environment of the process.
#[derive(Debug, Clone, Default)]
pub struct Config {
    files: Vec<File>,
    environment: BTreeMap<String, String>,
}

/// One place where an option is given, with the value before substitution.
#[derive(Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// Group as looked up (lower case, or `DEFAULT`).
    pub group: String,
    /// Key as written: the option's name, or a deprecated one.
    pub key: String,
    /// The text before substitution and type conversion.
    pub value: String,
    /// Where it is.
    pub source: Source,
}

/// Values may be passwords, so they are masked where the key says so.
impl fmt::Debug for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = crate::conf::secret::mask_value(&self.key, &self.value);
        write!(f, "[{}] {} = {value:?} ({})", self.group, self.key, self.source)
    }
}

/// Where a value comes from; `Display` is `path:line`, or the variable's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A line of a file.
    File {
        /// The file's path.
        path: String,
        /// Line of the key, from 1.
        line: usize,
    },
    /// A variable of the process.
    Environment(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// What the caller knows of an option that no file sets, for substitution: the default of its release.
/// `None`: no such option. `Some(None)`: it exists and has no default, which substitutes to nothing.
pub type Defaults<'a> = &'a dyn Fn(&str, &str) -> Option<Option<String>>;

impl Config {
    /// `files` in the order the service reads them (see [`order`]).
    pub fn new(files: Vec<File>) -> Self {
        Self { files, environment: BTreeMap::new() }
    }

    /// With the variables of the process. `oslo_config` is the installed version when known; before
    /// 6.7.0 variables are not read.
    #[must_use]
    pub fn with_environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        oslo_config: Option<&str>,
    ) -> Self {
        if oslo_config.is_none_or(|version| at_least(version, READS_ENVIRONMENT_SINCE)) {
            self.environment = variables.into_iter().filter(|(name, _)| name.starts_with("OS_")).collect();
        }
        self
    }

    /// The files, in reading order.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The occurrence that decides an option with one value, `None` when nothing sets it.
    ///
    /// `deprecated` are its old names as (group, key). They count file by file, newest file first, the
    /// current name first within a file: an old name in a later file beats the new name in an earlier one
    /// (`cfg._Namespace._get_file_value`). The environment knows the current name only, and beats files.
    pub fn effective(&self, group: &str, key: &str, deprecated: &[(&str, &str)]) -> Option<Occurrence> {
        let variable = environment_name(group, key);
        if let Some(value) = self.environment.get(&variable) {
            return Some(Occurrence {
                group: group_name(group),
                key: key.to_owned(),
                value: value.clone(),
                source: Source::Environment(variable),
            });
        }
        self.files.iter().rev().find_map(|file| {
            names(group, key, deprecated).find_map(|(group, key)| file.occurrences(&group, key).next_back())
        })
    }

    /// Every value of an option with many (`MultiOpt`), in reading order; within a file those under
    /// deprecated names come before those under the current one.
    pub fn all(&self, group: &str, key: &str, deprecated: &[(&str, &str)]) -> Vec<Occurrence> {
        let mut found = Vec::new();
        for file in &self.files {
            let names: Vec<_> = names(group, key, deprecated).collect();
            for (group, key) in names.into_iter().rev() {
                found.extend(file.occurrences(&group, key));
            }
        }
        found
    }

    /// `value`, given in `group`, with its placeholders replaced.
    ///
    /// `$x` is `x` of the same group, or else of `DEFAULT`; `${g.x}` names the group `g`, and here case
    /// counts. A name that no file sets is asked of `defaults`; when that does not know it either, the
    /// service cannot read the option at all. What is put in is the option's text; oslo.config puts in the
    /// converted value, so a boolean `yes` would read `True` there.
    pub fn substitute(&self, group: &str, value: &str, defaults: Defaults<'_>) -> Result<String, Unresolved> {
        self.substitute_below(group, value, defaults, &mut Vec::new())
    }

    /// Whether `${group.key}` can mean this group: registered names are lower case, but for those that
    /// take their name from a file, such as the back ends of cinder.
    fn spells_group(&self, group: &str) -> bool {
        let sections = || self.files.iter().flat_map(|file| &file.sections);
        group == group_name(group) || sections().any(|section| section.name == group)
    }

    fn substitute_below(
        &self,
        group: &str,
        value: &str,
        defaults: Defaults<'_>,
        path: &mut Vec<(String, String)>,
    ) -> Result<String, Unresolved> {
        let mut text = String::with_capacity(value.len());
        for piece in value::pieces(value) {
            let name = match piece {
                Piece::Text(plain) => {
                    text.push_str(&plain);
                    continue;
                }
                Piece::Name(name) => name,
            };
            let places: Vec<(&str, &str)> = match name.split_once('.') {
                // `DEFAULT` is no group that can be named: the look-up fails in oslo.config too.
                Some(("DEFAULT", _)) => vec![],
                Some(named) if self.spells_group(named.0) => vec![named],
                Some(_) => vec![],
                None => vec![(group, name.as_str()), ("DEFAULT", name.as_str())],
            };
            let known = places.into_iter().find_map(|(group, key)| {
                let value = match self.effective(group, key, &[]) {
                    Some(found) => Some(found.value),
                    None => defaults(group, key)?,
                };
                Some((group.to_owned(), key.to_owned(), value))
            });
            let Some((group, key, value)) = known else { return Err(Unresolved::Undefined(name)) };
            let Some(value) = value else { continue };
            let here = (group, key);
            if path.contains(&here) {
                return Err(Unresolved::Cycle(name));
            }
            let group = here.0.clone();
            path.push(here);
            text.push_str(&self.substitute_below(&group, &value, defaults, path)?);
            path.pop();
        }
        Ok(text)
    }
}

impl File {
    /// Every occurrence of `key` in the sections that oslo.config takes for `group`, in file order.
    pub fn occurrences<'a>(
        &'a self,
        group: &str,
        key: &'a str,
    ) -> impl DoubleEndedIterator<Item = Occurrence> + use<'a> {
        let group = group_name(group);
        self.entries.iter().filter(move |entry| entry.key == key && entry.group() == group).map(|entry| {
            Occurrence {
                group: entry.group(),
                key: entry.key.clone(),
                value: entry.value.clone(),
                source: Source::File { path: self.path.clone(), line: entry.line },
            }
        })
    }
}

/// The variable that sets an option: `OS_<GROUP>__<OPTION>` (`oslo_config/sources/_environment.py`).
pub fn environment_name(group: &str, key: &str) -> String {
    format!("OS_{}__{}", group.to_uppercase(), key.to_uppercase())
}

fn names<'a>(
    group: &'a str,
    key: &'a str,
    deprecated: &'a [(&'a str, &'a str)],
) -> impl Iterator<Item = (String, &'a str)> {
    std::iter::once((group, key))
        .chain(deprecated.iter().copied())
        .map(|(group, key)| (group_name(group), key))
}
