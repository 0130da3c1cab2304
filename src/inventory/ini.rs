//! INI inventories, as ansible-core's `plugins/inventory/ini.py` reads them.

use std::sync::LazyLock;

use indexmap::IndexMap;
use regex::Regex;

use super::data::Data;
use super::{literal, ranges, words};
use crate::error::{Diagnostic, Place, Result};

static SECTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$").expect("the pattern is a constant")
});
static GROUP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^([^:\]\s]+)\s*(?:#.*)?$").expect("the pattern is a constant"));

/// What the lines of a section are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Hosts,
    Children,
    Vars,
}

/// A group that was used and not yet declared.
enum Pending {
    /// By `[group:vars]`.
    Vars { line: usize },
    /// By being listed under `[parent:children]`.
    Child { line: usize, parents: Vec<String> },
}

/// Adds the hosts, groups and variables of an INI text to `data`.
pub(super) fn parse(path: &str, text: &str, data: &mut Data, warnings: &mut Vec<Diagnostic>) -> Result<()> {
    let mut reader =
        Reader { path, text, data, warnings, pending: IndexMap::new(), group: "ungrouped".to_owned() };
    let mut section = Section::Hosts;
    for (index, raw) in text.split('\n').enumerate() {
        let line = Line { number: index + 1, raw, text: raw.trim() };
        if line.text.is_empty() || line.text.starts_with([';', '#']) {
            continue;
        }
        if let Some(found) = SECTION.captures(line.text) {
            let group = found.get(1).map_or("", |part| part.as_str());
            section = reader.section(line, group, found.get(2).map(|part| part.as_str()))?;
            continue;
        }
        if line.text.starts_with('[') && line.text.ends_with(']') {
            return Err(reader
                .error(line, "not a section header")
                .hint("a header is `[group]`, `[group:children]` or `[group:vars]`, without spaces"));
        }
        match section {
            Section::Hosts => reader.host(line)?,
            Section::Children => reader.child(line)?,
            Section::Vars => reader.variable(line)?,
        }
    }
    reader.finish()
}

/// One line of the text.
#[derive(Clone, Copy)]
struct Line<'t> {
    /// From 1.
    number: usize,
    /// As it stands in the file.
    raw: &'t str,
    /// Without the white space round it.
    text: &'t str,
}

struct Reader<'t, 'd> {
    path: &'t str,
    text: &'t str,
    data: &'d mut Data,
    warnings: &'d mut Vec<Diagnostic>,
    pending: IndexMap<String, Pending>,
    /// The group of the current section.
    group: String,
}

impl Reader<'_, '_> {
    fn error(&self, line: Line<'_>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message).at(Place::line(self.path, self.text, line.number))
    }

    /// The place of `length` characters from character `at` (from 0) of the trimmed line.
    fn place(&self, line: Line<'_>, at: usize, length: usize) -> Place {
        let lead = line.raw.chars().take_while(|c| c.is_whitespace()).count();
        Place::new(self.path, self.text, line.number, lead + at + 1, length)
    }

    fn section(&mut self, line: Line<'_>, group: &str, kind: Option<&str>) -> Result<Section> {
        let section = match kind {
            None | Some("hosts") => Section::Hosts,
            Some("children") => Section::Children,
            Some("vars") => Section::Vars,
            Some(other) => {
                let place = self.place(line, group.chars().count() + 2, other.chars().count());
                return Err(Diagnostic::new(format!("unknown section kind `{other}`"))
                    .at(place)
                    .suggest(other, ["hosts", "children", "vars"]));
            }
        };
        group.clone_into(&mut self.group);
        if !self.data.groups.contains_key(group) {
            if section == Section::Vars && !self.pending.contains_key(group) {
                self.pending.insert(group.to_owned(), Pending::Vars { line: line.number });
            }
            self.data.group(group);
        }
        if section != Section::Vars && self.pending.contains_key(group) {
            self.declare(group).map_err(|error| error.at(self.place(line, 1, group.chars().count())))?;
        }
        Ok(section)
    }

    /// A group that was waited for: it goes below the parents that listed it.
    fn declare(&mut self, group: &str) -> Result<()> {
        let Some(Pending::Child { parents, .. }) = self.pending.shift_remove(group) else {
            return Ok(());
        };
        for parent in parents {
            self.data.child(&parent, group)?;
            if matches!(self.pending.get(&parent), Some(Pending::Child { .. })) {
                self.declare(&parent)?;
            }
        }
        Ok(())
    }

    fn host(&mut self, line: Line<'_>) -> Result<()> {
        let words = words::shell_split(line.text).map_err(|problem| {
            Diagnostic::new(problem.what)
                .at(self.place(line, problem.at, 1))
                .hint("close the quote, or write a lone quote as \\\"")
        })?;
        let Some((entry, assignments)) = words.split_first() else {
            return Ok(());
        };
        let entry_place = self.place(line, entry.at, entry.text.chars().count());
        let (names, port) = ranges::expand(&entry.text).map_err(|error| error.at(entry_place.clone()))?;
        if entry.text.trim().ends_with(':') && port.is_none() {
            return Err(Diagnostic::new(format!("the host `{}` ends with a colon", entry.text))
                .at(entry_place)
                .hint("a colon is for a port (`host:22`); a YAML inventory needs the ending .yml"));
        }
        if names.iter().any(|name| name.trim() == "---") {
            return Err(Diagnostic::new("`---` starts a YAML file, and this is read as INI")
                .at(entry_place)
                .hint("give the file the ending .yml"));
        }
        if names.is_empty() {
            self.warnings.push(
                Diagnostic::new("the range gives no host: it ends before it begins").at(entry_place.clone()),
            );
        }
        if names.iter().any(String::is_empty) {
            return Err(Diagnostic::new("an empty host name").at(entry_place));
        }
        let mut variables = Vec::new();
        for word in assignments {
            let place = self.place(line, word.at, word.text.chars().count());
            let Some((key, value)) = word.text.split_once('=') else {
                return Err(Diagnostic::new(format!("expected `key=value`, found `{}`", word.text))
                    .at(place)
                    .hint("no spaces round the `=`; quote a value with spaces: key='a b'; one host a line"));
            };
            variables.push((key.to_owned(), literal::evaluate(value), place));
        }
        for name in names {
            self.data.host(&name, &self.group.clone(), port);
            for (key, value, place) in &variables {
                self.data.set(&name, key, value.clone()).map_err(|error| error.at(place.clone()))?;
            }
        }
        Ok(())
    }

    fn child(&mut self, line: Line<'_>) -> Result<()> {
        let Some(found) = GROUP.captures(line.text) else {
            return Err(self
                .error(line, "expected the name of a group")
                .hint("one group a line, nothing else; variables go into `[group:vars]`"));
        };
        let name = found.get(1).map_or("", |part| part.as_str());
        let parent = self.group.clone();
        if self.data.groups.contains_key(name) {
            let place = self.place(line, 0, name.chars().count());
            return self.data.child(&parent, name).map_err(|error| error.at(place));
        }
        if let Some(Pending::Child { parents, .. }) = self.pending.get_mut(name) {
            parents.push(parent);
        } else {
            let pending = Pending::Child { line: line.number, parents: vec![parent] };
            self.pending.insert(name.to_owned(), pending);
        }
        Ok(())
    }

    fn variable(&mut self, line: Line<'_>) -> Result<()> {
        let Some((key, value)) = line.text.split_once('=') else {
            return Err(self
                .error(line, "expected `key=value`")
                .hint("the lines of `[group:vars]` are `key=value`; `key: value` is for YAML files"));
        };
        let value = literal::evaluate(value.trim());
        let group = self.group.clone();
        self.data
            .set(&group, key.trim(), value)
            .map_err(|error| error.at(self.place(line, 0, line.text.chars().count())))
    }

    /// A group that was used and never declared is an error; only the first is reported.
    fn finish(self) -> Result<()> {
        let Some((name, pending)) = self.pending.iter().next() else {
            return Ok(());
        };
        let known = self.data.groups.keys().map(String::as_str).filter(|known| known != name);
        let (line, message) = match pending {
            Pending::Vars { line } => (*line, format!("`[{name}:vars]` is for an undefined group")),
            Pending::Child { line, parents } => {
                let parent = parents.last().map_or("", String::as_str);
                (*line, format!("`[{parent}:children]` lists an undefined group `{name}`"))
            }
        };
        let error = Diagnostic::new(message).at(Place::line(self.path, self.text, line));
        match crate::error::nearest(name, &known.clone().collect::<Vec<_>>()) {
            Some(best) => Err(error.hint(format!("did you mean `{best}`?"))),
            None => Err(error.hint(format!("declare it with `[{name}]`, even if it has no hosts"))),
        }
    }
}
