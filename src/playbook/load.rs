//! From a playbook's name to its text, its templates and its variables: the one place that reads files.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::{Playbook, Source, Templates, builtin, parse};
use crate::error::{Diagnostic, Place, Result};
use crate::yaml::VAULT_KEY;

/// Opens an Ansible vault: its text to the plain text.
pub type Decrypt<'a> = &'a dyn Fn(&str) -> Result<String>;

/// How a text that is a whole vault begins.
const VAULT_HEADER: &str = "$ANSIBLE_VAULT;";

/// A playbook with everything that it names.
#[derive(Clone)]
pub struct Loaded {
    /// The playbook, its `vars_files` read.
    pub playbook: Playbook,
    /// The templates that its tasks can name.
    pub templates: Templates,
    /// Texts that came out of a vault, to be masked wherever they would be shown.
    pub secrets: Vec<String>,
}

/// Secrets are counted, not shown.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("playbook", &self.playbook.path)
            .field("templates", &self.templates.files.keys())
            .field("secrets", &self.secrets.len())
            .finish()
    }
}

/// Reads the playbook `name`, its templates and its `vars_files`.
///
/// `name` is a file, or else the name of a playbook in `playbooks/` beside an inventory, or else of an
/// embedded one; `None` is the default playbook, which such a folder overrides too. Templates come from
/// the playbook's own `templates/` folder, its folder, `templates/` beside an inventory, and the binary,
/// in this order. `beside` are the folders that hold the inventories.
pub fn load(name: Option<&str>, beside: &[PathBuf], decrypt: Decrypt<'_>) -> Result<Loaded> {
    let (source, folder) = find_playbook(name.unwrap_or(builtin::DEFAULT_PLAYBOOK), beside)?;
    let mut playbook = Playbook::parse(&source.path, &source.text)?;
    let mut secrets = Vec::new();
    for play in &mut playbook.plays {
        open_vaults(&mut play.vars, decrypt, &mut secrets)?;
        for task in play.tasks.iter_mut().chain(&mut play.pre_tasks).chain(&mut play.post_tasks) {
            open_vaults(&mut task.vars, decrypt, &mut secrets)?;
        }
        for file in &mut play.vars_files {
            let Some((path, text)) = first_of(&file.candidates, folder.as_deref())? else {
                let names = file.candidates.join("`, `");
                return Err(Diagnostic::new(format!("no such file: `{names}`")).at(file.place.clone()));
            };
            let encrypted = text.starts_with(VAULT_HEADER);
            let plain =
                if encrypted { decrypt(&text).map_err(|error| error.at(file.place.clone()))? } else { text };
            file.scoped = parse::vars_of(&path, &plain)?;
            if encrypted {
                // Its lines must not be shown with an error.
                file.scoped.places.clear();
                file.scoped.vars.values().for_each(|value| collect(value, &mut secrets));
            }
            open_vaults(&mut file.scoped, decrypt, &mut secrets)?;
        }
    }
    let templates =
        Templates { files: read_templates(folder.as_deref(), beside)?, environment: environment() };
    Ok(Loaded { playbook, templates, secrets })
}

/// The playbook's text, and the folder it stands in unless it is embedded.
fn find_playbook(name: &str, beside: &[PathBuf]) -> Result<(Source, Option<PathBuf>)> {
    let mut candidates = vec![PathBuf::from(name)];
    for folder in beside {
        candidates
            .extend(["", ".yml", ".yaml"].map(|end| folder.join("playbooks").join(format!("{name}{end}"))));
    }
    for path in candidates {
        if let Some(text) = read(&path)? {
            let folder = path.parent().map(Path::to_path_buf);
            return Ok((Source { path: path.display().to_string(), text: text.into() }, folder));
        }
    }
    if let Some((name, text)) = builtin::playbook(name) {
        return Ok((Source { path: format!("builtin:{name}.yml"), text: text.into() }, None));
    }
    let known = builtin::PLAYBOOKS.iter().map(|(name, _)| *name);
    Err(Diagnostic::new(format!("no playbook `{name}`")).suggest(name, known))
}

/// Every template that a task can name, nearer folders over farther ones.
fn read_templates(folder: Option<&Path>, beside: &[PathBuf]) -> Result<BTreeMap<String, Source>> {
    let mut files: BTreeMap<String, Source> = builtin::TEMPLATES
        .iter()
        .map(|(name, text)| {
            ((*name).to_owned(), Source { path: format!("builtin:{name}"), text: Arc::from(*text) })
        })
        .collect();
    let mut folders: Vec<(PathBuf, bool)> =
        beside.iter().rev().map(|folder| (folder.join("templates"), true)).collect();
    if let Some(folder) = folder {
        folders.push((folder.to_path_buf(), false));
        folders.push((folder.join("templates"), true));
    }
    for (folder, all) in folders {
        read_folder(&folder, "", all, &mut files)?;
    }
    Ok(files)
}

/// Adds the templates of one folder: all files of a `templates/` folder and the folders in it, only
/// `*.j2` beside the playbook.
fn read_folder(folder: &Path, prefix: &str, all: bool, files: &mut BTreeMap<String, Source>) -> Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(unreadable(folder, &error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let key = format!("{prefix}{name}");
        if path.is_dir() {
            if all {
                read_folder(&path, &format!("{key}/"), all, files)?;
            }
        } else if (all || path.extension().is_some_and(|end| end == "j2"))
            && let Some(text) = read(&path)?
        {
            files.insert(key, Source { path: path.display().to_string(), text: text.into() });
        }
    }
    Ok(())
}

/// The first of `names` that exists, looked for beside the playbook.
fn first_of(names: &[String], folder: Option<&Path>) -> Result<Option<(String, String)>> {
    for name in names {
        let path = folder.unwrap_or(Path::new("")).join(name);
        if let Some(text) = read(&path)? {
            return Ok(Some((path.display().to_string(), text)));
        }
    }
    Ok(None)
}

/// A file's text; `None` when there is none.
fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()])
                    .into_owned();
                let line = valid.matches('\n').count() + 1;
                let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                let path = path.display().to_string();
                Err(Diagnostic::new("the file is not UTF-8").at(Place::new(path, &valid, line, column, 1)))
            }
        },
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic::new(format!("cannot read `{}`: {error}", path.display()))
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Opens every `!vault` value, and notes what came out of it.
fn open_vaults(scoped: &mut super::Scoped, decrypt: Decrypt<'_>, secrets: &mut Vec<String>) -> Result<()> {
    for (name, value) in &mut scoped.vars {
        open(value, decrypt, secrets).map_err(|error| match scoped.places.get(name) {
            Some(place) => error.at(place.clone()),
            None => error,
        })?;
    }
    Ok(())
}

fn open(value: &mut Value, decrypt: Decrypt<'_>, secrets: &mut Vec<String>) -> Result<()> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| open(item, decrypt, secrets)),
        Value::Object(map) => {
            if let Some(Value::String(vault)) = map.get(VAULT_KEY) {
                let plain = decrypt(vault)?;
                secrets.push(plain.clone());
                *value = Value::String(plain);
                return Ok(());
            }
            map.values_mut().try_for_each(|item| open(item, decrypt, secrets))
        }
        _ => Ok(()),
    }
}

/// Every text and number of a value.
fn collect(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::String(text) => secrets.push(text.clone()),
        Value::Number(number) => secrets.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, secrets)),
        Value::Object(map) => map.values().for_each(|item| collect(item, secrets)),
        _ => {}
    }
}
