//! One host's values in a play's tasks: variables, loops, conditions, arguments, templates.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::template::{Renderer, Scope};
use super::{BoundTask, Play, Playbook, Scoped, Task, Templates, Vars, parse};
use crate::error::{Diagnostic, Place, Result};
use crate::modules::{Arguments, Rendered};

/// One host and the variables that the inventory and the command line give it.
#[derive(Clone, Copy)]
pub struct HostVars<'a> {
    /// Inventory name.
    pub name: &'a str,
    /// Everything from the inventory (groups, host, connection), vault values decrypted. Below the
    /// play's `vars` in precedence.
    pub inventory: &'a Vars,
    /// `-e`: above everything else.
    pub extra: &'a Vars,
}

/// Variables hold secrets, so only the name is shown.
impl std::fmt::Debug for HostVars<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostVars").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A play with one host's values filled in.
#[derive(Debug, Default)]
pub struct Bound {
    /// What should hold, in playbook order.
    pub tasks: Vec<BoundTask>,
    /// Commands before the batch.
    pub pre_tasks: Vec<RoundCommand>,
    /// Commands after the batch.
    pub post_tasks: Vec<RoundCommand>,
    /// Tasks whose `when` does not hold on this host, or whose `loop` is empty.
    pub skipped: Vec<Skipped>,
}

/// A command round a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundCommand {
    /// The task's id.
    pub id: String,
    /// The task's name.
    pub name: String,
    /// Program and arguments, no shell.
    pub argv: Vec<String>,
    /// What `--tags` selects by.
    pub tags: Vec<String>,
    /// Where it stands in the playbook.
    pub place: Place,
}

/// A task that is left out on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The task's id.
    pub id: String,
    /// The task's name, as written.
    pub name: String,
    /// The task's tags.
    pub tags: Vec<String>,
}

impl Playbook {
    /// Fills in one host's values and renders every template. An undefined variable, a wrong
    /// condition or a wrong argument is an error that names the host and the place.
    ///
    /// Precedence is Ansible's: inventory, `vars`, `vars_files`, the task's `vars`, the loop's item,
    /// `-e`.
    pub fn bind(&self, play: &Play, host: &HostVars<'_>, templates: &Templates) -> Result<Bound> {
        let binder = Binder { play, host, templates, renderer: Renderer::new(templates) };
        let mut bound = Bound::default();
        for task in &play.tasks {
            for (id, scope) in binder.instances(task, &mut bound.skipped)? {
                bound.tasks.push(binder.task(task, id, &scope)?);
            }
        }
        for (tasks, commands) in
            [(&play.pre_tasks, &mut bound.pre_tasks), (&play.post_tasks, &mut bound.post_tasks)]
        {
            for task in tasks {
                for (id, scope) in binder.instances(task, &mut bound.skipped)? {
                    commands.push(Binder::command(task, id, &scope)?);
                }
            }
        }
        Ok(bound)
    }
}

/// A task with the playbook's own values, without a host's.
#[derive(Debug, Default)]
pub struct Filled {
    /// Its arguments but `src`.
    pub arguments: Map<String, Value>,
    /// The text that `src` gives.
    pub src: Option<String>,
    /// Do its conditions hold?
    pub holds: bool,
    /// The play's variables.
    pub vars: Vars,
}

impl Play {
    /// One of its tasks with the values that the playbook itself gives. An error where these do not
    /// suffice, because the inventory is to give more.
    pub fn filled(&self, task: &Task, templates: &Templates) -> Result<Filled> {
        let none = Vars::new();
        let host = HostVars { name: "any host", inventory: &none, extra: &none };
        let binder = Binder { play: self, host: &host, templates, renderer: Renderer::new(templates) };
        let scope = binder.scope(task, None);
        let mut arguments = Binder::arguments(task, &scope)?;
        let src = match arguments.shift_remove("src") {
            None => None,
            Some(name) => Some(binder.template(task, &name, &scope)?.text),
        };
        let mut vars = Vars::new();
        for name in self.vars.vars.keys() {
            if let Some(value) = scope.variable(name)? {
                vars.insert(name.clone(), value);
            }
        }
        Ok(Filled { arguments, src, holds: holds(task, &scope)?, vars })
    }

    /// The variables that say how the host is reached (`ansible_*`, `trueup_*`), by the same precedence,
    /// every template in them rendered.
    pub fn connection_vars(&self, host: &HostVars<'_>, templates: &Templates) -> Result<Vars> {
        let unplaced = |vars: &Vars| Scoped { vars: vars.clone(), ..Scoped::default() };
        let (inventory, extra) = (unplaced(host.inventory), unplaced(host.extra));
        let files = self.vars_files.iter().map(|file| &file.scoped);
        let layers = || [&inventory, &self.vars].into_iter().chain(files.clone()).chain([&extra]);
        let scope = Scope::new(&Renderer::new(templates), host.name, layers());
        let names: BTreeSet<&String> = layers().flat_map(|layer| layer.vars.keys()).collect();
        let mut rendered = Vars::new();
        for name in
            names.into_iter().filter(|name| name.starts_with("ansible_") || name.starts_with("trueup_"))
        {
            if let Some(value) = scope.variable(name)? {
                rendered.insert(name.clone(), value);
            }
        }
        Ok(rendered)
    }
}

struct Binder<'a> {
    play: &'a Play,
    host: &'a HostVars<'a>,
    templates: &'a Templates,
    renderer: Arc<Renderer>,
}

impl Binder<'_> {
    fn scope(&self, task: &Task, item: Option<Value>) -> Arc<Scope> {
        let unplaced = |vars: &Vars| Scoped { vars: vars.clone(), ..Scoped::default() };
        let inventory = unplaced(self.host.inventory);
        let extra = unplaced(self.host.extra);
        let looped = Scoped {
            vars: item.map(|item| (task.loop_var.clone(), literal(item))).into_iter().collect(),
            ..Scoped::default()
        };
        let files = self.play.vars_files.iter().map(|file| &file.scoped);
        let layers =
            [&inventory, &self.play.vars].into_iter().chain(files).chain([&task.vars, &looped, &extra]);
        Scope::new(&self.renderer, self.host.name, layers)
    }

    /// The task once, or once an item of its loop, each with its id and variables; where a condition
    /// does not hold, it is noted in `skipped`.
    fn instances(&self, task: &Task, skipped: &mut Vec<Skipped>) -> Result<Vec<(String, Arc<Scope>)>> {
        let skip = |id: String| Skipped { id, name: task.name.clone(), tags: task.tags.clone() };
        let plain = self.scope(task, None);
        let Some((list, place)) = &task.r#loop else {
            if holds(task, &plain)? {
                return Ok(vec![(task.id.clone(), plain)]);
            }
            skipped.push(skip(task.id.clone()));
            return Ok(Vec::new());
        };
        let items = match plain.value(list, place) {
            Ok(Some(Value::Array(items))) => items,
            Ok(other) => {
                let what = kind_of(&other.unwrap_or_default());
                return Err(Diagnostic::new(format!(
                    "`loop` must be a list, and it is {what} for host `{}`",
                    self.host.name
                ))
                .at(place.clone()));
            }
            // As in Ansible, a condition that does not hold anyway comes before the list's error.
            Err(error) => match holds(task, &plain) {
                Ok(false) => {
                    skipped.push(skip(task.id.clone()));
                    return Ok(Vec::new());
                }
                _ => return Err(error),
            },
        };
        if items.is_empty() {
            skipped.push(skip(task.id.clone()));
        }
        let mut taken = BTreeSet::new();
        let mut instances = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let id = loop_id(&task.id, index, &item, &mut taken);
            let scope = self.scope(task, Some(item));
            if holds(task, &scope)? {
                instances.push((id, scope));
            } else {
                skipped.push(skip(id));
            }
        }
        Ok(instances)
    }

    fn task(&self, task: &Task, id: String, scope: &Arc<Scope>) -> Result<BoundTask> {
        let kind = task.kind.expect("only a command round a batch has no kind");
        let mut values = Self::arguments(task, scope)?;
        let src = match values.shift_remove("src") {
            None => None,
            Some(name) => Some(self.template(task, &name, scope)?),
        };
        let arguments =
            Arguments { values, src, places: task.argument_places.clone(), place: task.module_place.clone() };
        let module = (kind.parse)(&arguments).map_err(|error| error.at(task.module_place.clone()))?;
        Ok(BoundTask {
            id,
            name: words(&task.name, &task.place, scope)?,
            severity: task.severity,
            why: words(&task.why, &task.place, scope)?,
            references: task.references.clone(),
            tags: task.tags.clone(),
            place: task.place.clone(),
            module,
        })
    }

    fn arguments(task: &Task, scope: &Arc<Scope>) -> Result<Map<String, Value>> {
        let mut values = Map::new();
        for (name, raw) in &task.arguments {
            let place = task.argument_places.get(name).unwrap_or(&task.module_place);
            if let Some(value) = scope.value(raw, place)? {
                values.insert(name.clone(), value);
            }
        }
        Ok(values)
    }

    fn template(&self, task: &Task, name: &Value, scope: &Arc<Scope>) -> Result<Rendered> {
        let place = task.argument_places.get("src").unwrap_or(&task.module_place);
        let Some(name) = name.as_str() else {
            return Err(
                Diagnostic::new(format!("`src` must be a string, not {}", kind_of(name))).at(place.clone())
            );
        };
        let Some(source) = self.templates.files.get(name) else {
            let known = self.templates.files.keys().map(String::as_str);
            return Err(Diagnostic::new(format!("no template `{name}`"))
                .at(place.clone())
                .suggest(name, known));
        };
        Ok(Rendered { name: name.to_owned(), text: scope.text(source)? })
    }

    fn command(task: &Task, id: String, scope: &Arc<Scope>) -> Result<RoundCommand> {
        let values = Self::arguments(task, scope)?;
        let wrong = |message: String| Diagnostic::new(message).at(task.module_place.clone());
        let argv = match (values.get("argv"), values.get("cmd")) {
            (Some(Value::Array(words)), None) => words.iter().map(word).collect::<Option<Vec<_>>>(),
            (None, Some(Value::String(line))) => Some(
                shlex::split(line)
                    .ok_or_else(|| wrong(format!("the command has an unfinished quote: `{line}`")))?,
            ),
            (Some(_), Some(_)) => return Err(wrong("give either `cmd` or `argv`, not both".to_owned())),
            _ => None,
        };
        match argv {
            Some(argv) if !argv.is_empty() => Ok(RoundCommand {
                id,
                name: words(&task.name, &task.place, scope)?,
                argv,
                tags: task.tags.clone(),
                place: task.place.clone(),
            }),
            _ => {
                Err(wrong("this command has no words".to_owned()).hint("write `command: program argument …`"))
            }
        }
    }
}

fn holds(task: &Task, scope: &Arc<Scope>) -> Result<bool> {
    for condition in &task.when {
        if !scope.condition(condition)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A text of a task that may hold templates.
fn words(text: &str, place: &Place, scope: &Arc<Scope>) -> Result<String> {
    match scope.value(&Value::String(text.to_owned()), place)? {
        Some(Value::String(text)) => Ok(text),
        other => Ok(other.as_ref().and_then(word).unwrap_or_default()),
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(if *flag { "True" } else { "False" }.to_owned()),
        _ => None,
    }
}

/// A rendered value is not a template any more, whatever it looks like.
fn literal(value: Value) -> Value {
    match value {
        Value::String(text) => {
            Value::Object(Map::from_iter([(crate::yaml::UNSAFE_KEY.to_owned(), Value::String(text))]))
        }
        Value::Array(items) => items.into_iter().map(literal).collect(),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (key, literal(value))).collect())
        }
        other => other,
    }
}

/// `id[item]` for a short item that no other has, else `id[N]`, counted from 1.
fn loop_id(id: &str, index: usize, item: &Value, taken: &mut BTreeSet<String>) -> String {
    let named = word(item).map(|word| parse::slug(&word)).filter(|word| !word.is_empty() && word.len() <= 40);
    let candidate = format!("{id}[{}]", named.unwrap_or_else(|| (index + 1).to_string()));
    let unique = if taken.contains(&candidate) { format!("{id}[#{}]", index + 1) } else { candidate };
    taken.insert(unique.clone());
    unique
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
