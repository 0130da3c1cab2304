//! Reading a playbook strictly: Ansible's words, and an error with a place for anything else.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::keywords::{
    COMMAND, COMMAND_ARGUMENTS, FOREIGN_PLAY_KEYS, FOREIGN_TASK_KEYS, PLAY_KEYS, TASK_KEYS,
};
use super::{Condition, Play, Playbook, Scoped, Task, Vars, VarsFile};
use crate::audit::Severity;
use crate::error::{Diagnostic, Place, Result};
use crate::modules::{self, Kind};
use crate::plan::rollout::Serial;
use crate::yaml::{self, Node};

impl Playbook {
    /// Reads the `text` of the playbook `path`. An unknown key, a keyword of Ansible that has no
    /// meaning here, and a duplicate id are errors with their place. Reads no other file.
    pub fn parse(path: &str, text: &str) -> Result<Self> {
        let mut warnings = Vec::new();
        let root = yaml::read(path, text, &mut warnings)?;
        let mut reader = Reader { path, text, warnings, ids: HashMap::new() };
        let wanted = "a playbook is a list of plays";
        let Some(root) = root else {
            return Err(Diagnostic::new(format!("{wanted}, and this file is empty"))
                .at(Place::new(path, text, 1, 1, 1))
                .hint("start with `- hosts: all`"));
        };
        let Some(items) = root.as_seq() else {
            return Err(reader
                .error(&root, format!("{wanted}, not {}", root.kind_name()))
                .hint("start with `- hosts: all`"));
        };
        let plays = items.iter().map(|item| reader.play(item)).collect::<Result<Vec<_>>>()?;
        if plays.is_empty() {
            return Err(reader.error(&root, format!("{wanted}, and this list is empty")));
        }
        Ok(Self { path: path.to_owned(), plays, warnings: reader.warnings })
    }
}

struct Reader<'t> {
    path: &'t str,
    text: &'t str,
    warnings: Vec<Diagnostic>,
    /// Ids given so far, with the line of each.
    ids: HashMap<String, usize>,
}

impl Reader<'_> {
    fn error(&self, node: &Node, message: impl Into<String>) -> Diagnostic {
        node.error(self.path, self.text, message)
    }

    fn place(&self, node: &Node) -> Place {
        node.place(self.path, self.text)
    }

    fn string(&self, node: &Node, what: &str) -> Result<String> {
        node.expect_str(what, self.path, self.text).map(str::to_owned)
    }

    fn pairs<'n>(&self, node: &'n Node, what: &str) -> Result<&'n [(Node, Node)]> {
        node.expect_map(what, self.path, self.text)
    }

    fn play(&mut self, node: &Node) -> Result<Play> {
        let pairs = self.pairs(node, "a play")?;
        for (key, _) in pairs {
            self.known(key, "play", PLAY_KEYS, FOREIGN_PLAY_KEYS)?;
        }
        let Some(hosts) = node.get("hosts") else {
            return Err(self
                .error(node, "this play has no `hosts`")
                .hint("add `hosts: all`; `--limit` narrows it"));
        };
        let hosts = self.strings(hosts, "`hosts`")?.join(",");
        let name = match node.get("name") {
            Some(name) => self.string(name, "`name`")?,
            None => hosts.clone(),
        };
        let boolean = |key: &str| node.get(key).map(|value| self.boolean(value, key)).transpose();
        let r#become = boolean("become")?;
        let any_errors_fatal = boolean("any_errors_fatal")?.unwrap_or(false);
        if let Some((key, value)) = pairs.iter().find(|(key, _)| key.as_str() == Some("gather_facts")) {
            self.boolean(value, "gather_facts")?;
            let note =
                self.error(key, "`gather_facts` has no effect").hint("facts are read as tasks need them");
            self.warnings.push(note);
        }
        let serial = node.get("serial").map(|value| self.serial(value)).transpose()?.unwrap_or_default();
        let max_fail_percentage =
            node.get("max_fail_percentage").map(|value| self.percentage(value)).transpose()?;
        let vars = node.get("vars").map(|value| self.vars(value)).transpose()?.unwrap_or_default();
        let vars_files = self.vars_files(node.get("vars_files"))?;
        let tags = node.get("tags").map(|value| self.tags(value)).transpose()?.unwrap_or_default();
        let mut section = |key: &str, round: bool| -> Result<Vec<Task>> {
            match node.get(key) {
                None => Ok(Vec::new()),
                Some(list) if list.is_null() => Ok(Vec::new()),
                Some(list) => list
                    .expect_seq(&format!("`{key}`"), self.path, self.text)?
                    .iter()
                    .map(|task| self.task(task, &tags, round))
                    .collect(),
            }
        };
        Ok(Play {
            pre_tasks: section("pre_tasks", true)?,
            tasks: section("tasks", false)?,
            post_tasks: section("post_tasks", true)?,
            name,
            hosts,
            r#become,
            serial,
            max_fail_percentage,
            any_errors_fatal,
            vars,
            vars_files,
            tags,
            place: self.place(node),
        })
    }

    /// An error unless `key` is one of `keys`; one that says so when Ansible knows it.
    fn known(&self, key: &Node, what: &str, keys: &[&str], foreign: &[(&str, &str)]) -> Result<()> {
        let Some(name) = key.as_str() else {
            return Err(
                self.error(key, format!("a key of a {what} must be a string, not {}", key.kind_name()))
            );
        };
        if keys.contains(&name) {
            return Ok(());
        }
        if let Some((_, instead)) = foreign.iter().find(|(other, _)| *other == name) {
            let error = self.error(key, format!("`{name}` of Ansible is not supported in a {what}"));
            return Err(if instead.is_empty() { error } else { error.hint(*instead) });
        }
        let article = if what == "play" { "unknown play key" } else { "unknown key" };
        Err(self.error(key, format!("{article} `{name}`")).suggest(name, keys.iter().copied()))
    }

    /// A boolean, also in quotes, in any of Ansible's spellings.
    fn boolean(&self, node: &Node, key: &str) -> Result<bool> {
        match node.as_str().map(str::to_lowercase).as_deref() {
            Some("yes" | "true" | "on" | "1" | "y" | "t") => Ok(true),
            Some("no" | "false" | "off" | "0" | "n" | "f") => Ok(false),
            _ => node.expect_bool(&format!("`{key}`"), self.path, self.text),
        }
    }

    /// A string or a list of strings; commas stay as they are.
    fn strings(&self, node: &Node, what: &str) -> Result<Vec<String>> {
        match node.as_seq() {
            Some(items) => items.iter().map(|item| self.string(item, what)).collect(),
            None if node.as_str().is_some() => Ok(vec![self.string(node, what)?]),
            None => Err(self.error(
                node,
                format!("{what} must be a string or a list of strings, not {}", node.kind_name()),
            )),
        }
    }

    /// Tags: a list, or a string with commas.
    fn tags(&self, node: &Node) -> Result<Vec<String>> {
        let words = self.strings(node, "`tags`")?;
        Ok(words
            .iter()
            .flat_map(|word| word.split(','))
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect())
    }

    fn serial(&self, node: &Node) -> Result<Vec<Serial>> {
        match node.as_seq() {
            Some(items) => items.iter().map(|item| self.serial_step(item)).collect(),
            None => Ok(vec![self.serial_step(node)?]),
        }
    }

    fn serial_step(&self, node: &Node) -> Result<Serial> {
        let wrong = || {
            self.error(node, "`serial` must be a number of hosts or a percentage")
                .hint("write `serial: 1`, `serial: \"30%\"`, or a list of these")
        };
        if let Some(count) = node.as_int() {
            return usize::try_from(count).map(Serial::Count).map_err(|_| wrong());
        }
        let text = node.as_str().ok_or_else(wrong)?.trim();
        match text.strip_suffix('%') {
            Some(share) => match share.trim().parse() {
                Ok(share @ 1..=100) => Ok(Serial::Percent(share)),
                _ => Err(wrong()),
            },
            None => text.parse().map(Serial::Count).map_err(|_| wrong()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "checked to lie in 0..=100 right after")]
    fn percentage(&self, node: &Node) -> Result<f64> {
        let share = match &node.kind {
            yaml::Kind::Int(share) => Some(*share as f64),
            yaml::Kind::Float(share) => Some(*share),
            yaml::Kind::Str(text) => text.trim().trim_end_matches('%').trim().parse().ok(),
            _ => None,
        };
        share
            .filter(|share| (0.0..=100.0).contains(share))
            .ok_or_else(|| self.error(node, "`max_fail_percentage` must be a number from 0 to 100"))
    }

    /// A mapping of variables. Their values are rendered later, and only when they are used.
    fn vars(&self, node: &Node) -> Result<Scoped> {
        let mut scoped = Scoped::default();
        if node.is_null() {
            return Ok(scoped);
        }
        for (key, value) in self.pairs(node, "`vars`")? {
            let name = key.as_str().filter(|name| is_identifier(name)).ok_or_else(|| {
                self.error(key, format!("`{}` is not a variable name", key.key()))
                    .hint("use letters, digits and `_`, and start with a letter or `_`")
            })?;
            scoped.vars.insert(name.to_owned(), value.to_value());
            scoped.places.insert(name.to_owned(), self.place(value));
        }
        Ok(scoped)
    }

    fn vars_files(&self, node: Option<&Node>) -> Result<Vec<VarsFile>> {
        let Some(node) = node else { return Ok(Vec::new()) };
        let single = std::slice::from_ref(node);
        let entries = node.as_seq().unwrap_or(single);
        entries
            .iter()
            .map(|entry| {
                let candidates = self.strings(entry, "`vars_files`")?;
                if let Some(name) = candidates.iter().find(|name| name.contains("{{")) {
                    return Err(self
                        .error(entry, format!("a template in `vars_files` is not supported: `{name}`"))
                        .hint("use group_vars or host_vars for values that differ between hosts"));
                }
                Ok(VarsFile { candidates, scoped: Scoped::default(), place: self.place(entry) })
            })
            .collect()
    }

    fn task(&mut self, node: &Node, play_tags: &[String], round: bool) -> Result<Task> {
        let pairs = self.pairs(node, "a task")?;
        let mut module: Option<(&Node, &Node, Option<&'static Kind>)> = None;
        for (key, value) in pairs {
            let name = key.as_str().unwrap_or_default();
            let kind = modules::kind(name);
            let is_module = if round { COMMAND.contains(&name) } else { kind.is_some() };
            if is_module {
                if let Some((first, _, _)) = module {
                    return Err(self
                        .error(key, format!("a task has one module, and `{}` is there already", first.key()))
                        .hint("make two tasks of it"));
                }
                module = Some((key, value, if round { None } else { kind }));
            } else if round && kind.is_some() {
                return Err(self
                    .error(key, format!("`{name}` cannot be used in `pre_tasks` and `post_tasks`"))
                    .hint("they run commands round each batch: use `command`; what should hold goes under `tasks`"));
            } else if name.starts_with("with_") {
                return Err(self
                    .error(key, format!("`{name}` of Ansible is not supported in a task"))
                    .hint("use `loop`"));
            } else {
                self.task_key(key, module.is_some(), round)?;
            }
        }
        let Some((key, value, kind)) = module else {
            return Err(self
                .error(node, "this task has no module")
                .hint(format!("add one of: {}", module_names(round).join(", "))));
        };
        let module_name = key.key();
        let known = kind.map_or(COMMAND_ARGUMENTS, |kind| kind.arguments);
        let (arguments, argument_places) = self.arguments(&module_name, known, value)?;
        let name = match node.get("name") {
            Some(name) => self.string(name, "`name`")?,
            None => module_name,
        };
        let text = |key: &str| match node.get(key) {
            None => Ok(String::new()),
            Some(value) => self.string(value, &format!("`{key}`")).map(|text| text.trim().to_owned()),
        };
        let why = text("why")?;
        let references =
            node.get("references").map(|value| self.strings(value, "`references`")).transpose()?;
        let vars = node.get("vars").map(|value| self.vars(value)).transpose()?.unwrap_or_default();
        let severity = node.get("severity").map(|value| self.severity(value)).transpose()?;
        let mut tags = play_tags.to_vec();
        for tag in node.get("tags").map(|value| self.tags(value)).transpose()?.unwrap_or_default() {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let when = node.get("when").map(|value| self.when(value)).transpose()?.unwrap_or_default();
        let loop_var = self.loop_var(node)?;
        let r#loop = node.get("loop").map(|value| (value.to_value(), self.place(value)));
        let id = self.id(node, &name)?;
        Ok(Task {
            id,
            name,
            when,
            r#loop,
            loop_var,
            tags,
            vars,
            severity: severity.unwrap_or(Severity::Warning),
            why,
            references: references.unwrap_or_default(),
            kind,
            arguments,
            argument_places,
            module_place: self.place(key),
            place: self.place(node),
        })
    }

    /// An error unless `key` is a task's own keyword.
    fn task_key(&self, key: &Node, has_module: bool, round: bool) -> Result<()> {
        let name = key.as_str().unwrap_or_default();
        let foreign = FOREIGN_TASK_KEYS.iter().any(|(other, _)| *other == name);
        if has_module || foreign || key.as_str().is_none() || TASK_KEYS.contains(&name) {
            return self.known(key, "task", TASK_KEYS, FOREIGN_TASK_KEYS);
        }
        let modules = module_names(round);
        let words: Vec<&str> = TASK_KEYS.iter().copied().chain(modules.iter().copied()).collect();
        let error = self.error(key, format!("unknown key or module `{name}`"));
        Err(match crate::error::nearest(name, &words) {
            Some(best) => error.hint(format!("did you mean `{best}`?")),
            None => error.hint(format!("modules: {}", modules.join(", "))),
        })
    }

    fn arguments(
        &self,
        module: &str,
        known: &[&str],
        node: &Node,
    ) -> Result<(Map<String, Value>, BTreeMap<String, Place>)> {
        let mut values = Map::new();
        let mut places = BTreeMap::new();
        if node.is_null() {
            return Ok((values, places));
        }
        if let Some(line) = node.as_str() {
            if !known.contains(&"cmd") {
                return Err(self
                    .error(node, format!("the arguments of `{module}` must be a mapping, not a string"))
                    .hint("write `name: value` lines below it"));
            }
            values.insert("cmd".to_owned(), Value::String(line.to_owned()));
            places.insert("cmd".to_owned(), self.place(node));
            return Ok((values, places));
        }
        for (key, value) in self.pairs(node, &format!("the arguments of `{module}`"))? {
            let name = key.key();
            if !known.contains(&name.as_str()) {
                return Err(self
                    .error(key, format!("`{module}` takes no argument `{name}`"))
                    .suggest(&name, known.iter().copied()));
            }
            values.insert(name.clone(), value.to_value());
            places.insert(name, self.place(value));
        }
        Ok((values, places))
    }

    fn severity(&self, node: &Node) -> Result<Severity> {
        let word = self.string(node, "`severity`")?;
        match word.as_str() {
            "critical" => Ok(Severity::Critical),
            "warning" => Ok(Severity::Warning),
            "info" => Ok(Severity::Info),
            _ => Err(self
                .error(node, format!("unknown severity `{word}`"))
                .suggest(&word, ["critical", "warning", "info"])),
        }
    }

    fn when(&self, node: &Node) -> Result<Vec<Condition>> {
        let single = std::slice::from_ref(node);
        node.as_seq()
            .unwrap_or(single)
            .iter()
            .map(|item| {
                if item.as_str().is_none() && item.as_bool().is_none() {
                    return Err(
                        self.error(item, format!("`when` must be an expression, not {}", item.kind_name()))
                    );
                }
                Ok(Condition { value: item.to_value(), place: self.place(item) })
            })
            .collect()
    }

    fn loop_var(&self, task: &Node) -> Result<String> {
        let mut name = "item".to_owned();
        let Some(control) = task.get("loop_control") else { return Ok(name) };
        for (key, value) in self.pairs(control, "`loop_control`")? {
            if key.as_str() != Some("loop_var") {
                return Err(self
                    .error(key, format!("`{}` is not supported in `loop_control`", key.key()))
                    .suggest(&key.key(), ["loop_var"]));
            }
            name = self.string(value, "`loop_var`")?;
            if !is_identifier(&name) {
                return Err(self.error(value, format!("`{name}` is not a variable name")));
            }
        }
        Ok(name)
    }

    /// The task's id, given or made from its name; an error when it is taken.
    fn id(&mut self, task: &Node, name: &str) -> Result<String> {
        let (id, node) = match task.get("id") {
            Some(node) => {
                let id = self.string(node, "`id`")?;
                if id.is_empty() || id != slug(&id) {
                    return Err(self
                        .error(node, format!("`{id}` is not an id"))
                        .hint("use lower-case letters, digits and `-`"));
                }
                (id, node)
            }
            None => (slug(name), task.get("name").unwrap_or(task)),
        };
        if id.is_empty() {
            return Err(self.error(node, "no id can be made from this name").hint("give the task an `id`"));
        }
        if let Some(line) = self.ids.insert(id.clone(), node.span.line) {
            return Err(self
                .error(node, format!("the id `{id}` is taken by the task in line {line}"))
                .hint("give each task an `id` of its own"));
        }
        Ok(id)
    }
}

fn module_names(round: bool) -> Vec<&'static str> {
    if round { vec!["command"] } else { modules::KINDS.iter().map(|kind| kind.name).collect() }
}

/// A name as Ansible allows for a variable.
fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `text` in lower-case letters and digits, everything else as single hyphens.
pub(super) fn slug(text: &str) -> String {
    let mut id = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            id.push(c.to_ascii_lowercase());
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    id.trim_end_matches('-').to_owned()
}

/// The variables of a file: a mapping at its top, or nothing.
pub(super) fn vars_of(path: &str, text: &str) -> Result<Scoped> {
    let Some(root) = yaml::load(path, text)? else { return Ok(Scoped::default()) };
    Reader { path, text, warnings: Vec::new(), ids: HashMap::new() }
        .vars(&root)
        .map(|scoped| Scoped { vars: Vars::from_iter(scoped.vars), places: scoped.places })
}
