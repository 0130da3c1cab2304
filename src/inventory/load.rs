//! The loading layer: the one place of this module that reads files and starts scripts.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

use super::data::Data;
use super::vars::{Opened, Vars, combine, from_node};
use super::vault::{self, Keys};
use super::{Beside, Definition, Loaded, Sources, ini, pattern, ranges, script, words, yaml};
use crate::error::{Diagnostic, Place, Result};
use crate::waiver::VARIABLE;
use crate::yaml::Node;

/// Endings of variable files and YAML inventories (`YAML_FILENAME_EXTENSIONS`).
const YAML_ENDINGS: [&str; 3] = ["yml", "yaml", "json"];

/// Files that an inventory directory does not mean (`INVENTORY_IGNORE_EXTS`).
const IGNORED_ENDINGS: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];

/// Directories beside an inventory that hold no inventories.
const IGNORED_NAMES: [&str; 3] = ["host_vars", "group_vars", "vars_plugins"];

/// Reads every source, then the variables beside the sources and the playbook.
pub(super) fn read(sources: &Sources) -> Result<Loaded> {
    let mut loading = Loading {
        keys: &sources.vault,
        data: Data::new(),
        opened: Opened::default(),
        warnings: Vec::new(),
        definitions: Vec::new(),
        files: HashMap::new(),
    };
    let mut directories = Vec::new();
    for source in sources.inventories.iter().filter(|source| !source.is_empty()) {
        let path = expand_home(source);
        if source.contains(',') && !path.exists() {
            loading.host_list(source)?;
            continue;
        }
        if !path.exists() {
            return Err(Diagnostic::new(format!("the inventory `{source}` does not exist"))
                .hint(format!("for hosts without a file write a comma behind them: -i '{source},'")));
        }
        loading.source(&path, source)?;
        directories.push(if path.is_dir() { path } else { parent(&path) });
    }
    for name in loading.data.reconcile()? {
        loading.warnings.push(
            Diagnostic::new(format!("`{name}` is the name of a group and of a host"))
                .hint("its variables go to the group; give one of the two another name"),
        );
    }
    let sources_beside = directories.iter().map(|dir| loading.beside(dir)).collect::<Result<_>>()?;
    let play_dir = sources.playbook_dir.as_deref().map(absolute);
    let play = play_dir.as_ref().map(|dir| loading.beside(dir)).transpose()?;
    Ok(Loaded {
        data: loading.data,
        sources: sources_beside,
        play,
        playbook_dir: play_dir,
        opened: loading.opened,
        definitions: loading.definitions,
        warnings: loading.warnings,
    })
}

struct Loading<'s> {
    keys: &'s Keys,
    data: Data,
    opened: Opened,
    warnings: Vec<Diagnostic>,
    definitions: Vec<Definition>,
    /// Variable files read so far: two sources in one directory share them.
    files: HashMap<PathBuf, Vars>,
}

/// The text of a file, decrypted where it is a vault.
struct Text {
    text: Zeroizing<String>,
    /// It was a vault: nothing of it may be shown.
    sealed: bool,
}

impl Text {
    /// An error about this text; of a vault only the place is told.
    fn guard(&self, error: Diagnostic, shown: &str) -> Diagnostic {
        match error.place() {
            _ if !self.sealed => error,
            Some(place) => Diagnostic::new(format!(
                "a mistake in the encrypted file, line {}, column {}",
                place.line, place.column
            ))
            .at(Place::new(shown, "", 1, 1, 1))
            .hint(format!("look at it with: ansible-vault view {shown}")),
            None => Diagnostic::new("a mistake in the encrypted file").at(Place::new(shown, "", 1, 1, 1)),
        }
    }
}

impl Loading<'_> {
    /// A comma-separated list of hosts.
    fn host_list(&mut self, source: &str) -> Result<()> {
        self.data.source = (source.into(), Value::Null);
        for entry in source.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (host, port) = ranges::parse_address(entry, false).unwrap_or((entry, None));
            if !self.data.hosts.contains_key(host) {
                self.data.host(host, "ungrouped", port.map(ranges::port_number).transpose()?);
            }
        }
        Ok(())
    }

    /// A file, a script, or a directory of them. `shown` is the path as the user knows it.
    fn source(&mut self, path: &Path, shown: &str) -> Result<()> {
        if !path.is_dir() {
            let absolute = absolute(path);
            let dir = parent(&absolute);
            self.data.source = (text_of(&absolute), text_of(&dir));
            return if is_script(path) { self.script(&absolute, shown) } else { self.file(path, shown) };
        }
        for name in entries(path, shown)? {
            let ignored = name.starts_with('.')
                || IGNORED_NAMES.contains(&name.as_str())
                || IGNORED_ENDINGS.iter().any(|ending| name.ends_with(ending));
            if !ignored {
                self.source(&path.join(&name), &format!("{}/{name}", shown.trim_end_matches('/')))?;
            }
        }
        Ok(())
    }

    /// A YAML or INI file. Ansible tries YAML where the ending allows it, and INI after that.
    fn file(&mut self, path: &Path, shown: &str) -> Result<()> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned());
        if ending.as_deref() == Some("toml") {
            return Err(Diagnostic::new(format!("`{shown}` is TOML, which is not supported"))
                .hint("ansible-inventory -i FILE --list --yaml --output hosts.yml writes it as YAML"));
        }
        let content = read_text(path, shown, self.keys)?;
        let named_yaml = ending.as_deref().is_some_and(|ending| YAML_ENDINGS.contains(&ending));
        if !named_yaml && ending.is_some() {
            return self.ini(&content, shown).map_err(|error| content.guard(error, shown));
        }
        let mut warnings = Vec::new();
        let not_yaml = match crate::yaml::read(shown, &content.text, &mut warnings) {
            Ok(root) if yaml::is_inventory(root.as_ref()) => {
                let root = root.expect("an inventory has a root");
                self.warnings.append(&mut warnings);
                return self.yaml(&root, &content, shown).map_err(|error| content.guard(error, shown));
            }
            Ok(None) => return Ok(()),
            Ok(Some(root)) if root.is_null() || root.as_map().is_some() => return Ok(()),
            Ok(Some(root)) => root
                .error(
                    shown,
                    &content.text,
                    format!("a YAML inventory must be a mapping, not {}", root.kind_name()),
                )
                .hint("the top is the name of a group, mostly `all:`"),
            Err(error) => error,
        };
        let before = self.data.clone();
        let Err(not_ini) = self.ini(&content, shown) else {
            let sections = content.text.lines().any(|line| line.trim_start().starts_with('['));
            if !named_yaml || sections || !looks_like_yaml(&content.text) {
                return Ok(());
            }
            self.data = before;
            return Err(content.guard(not_yaml, shown));
        };
        let yaml_meant = looks_like_yaml(&content.text)
            || (named_yaml && !content.text.lines().any(|line| line.starts_with('[')));
        Err(content.guard(if yaml_meant { not_yaml } else { not_ini }, shown))
    }

    fn yaml(&mut self, root: &Node, content: &Text, shown: &str) -> Result<()> {
        self.opened.open_node(root, shown, &content.text, self.keys)?;
        if content.sealed {
            self.opened.keep_secret(root);
        }
        self.definitions.extend(definitions(root, content, shown));
        yaml::parse(shown, &content.text, root, &mut self.data, &mut self.warnings)
    }

    fn ini(&mut self, content: &Text, shown: &str) -> Result<()> {
        ini::parse(shown, &content.text, &mut self.data, &mut self.warnings)?;
        if content.sealed {
            let assigned = content.text.lines().flat_map(|line| words::shell_split(line).unwrap_or_default());
            let values =
                assigned.filter_map(|word| word.text.split_once('=').map(|(_, value)| value.to_owned()));
            self.opened.secrets.extend(values.filter(|value| value.chars().count() > 3));
        }
        Ok(())
    }

    fn script(&mut self, path: &Path, shown: &str) -> Result<()> {
        let answer = script::object(&format!("{shown} --list"), &run(path, shown, &["--list"])?)?;
        let in_script = |error: Diagnostic| {
            Diagnostic::new(format!("in the answer of `{shown} --list`: {}", error.message()))
        };
        let listed = script::list(answer, &mut self.data, &mut self.warnings).map_err(in_script)?;
        for host in &listed.hosts {
            let vars = if let Some(vars) = &listed.vars {
                let Some(vars) = vars.get(host) else { continue };
                yaml::object(vars, &format!("the variables of `{host}`")).map_err(in_script)?.clone()
            } else {
                let answer = run(path, shown, &["--host", host])?;
                if answer.trim().is_empty() {
                    continue;
                }
                script::object(&format!("{shown} --host {host}"), &answer)?
            };
            for (key, value) in vars {
                self.opened.open_value(&value, self.keys)?;
                self.data.set(host, &key, value)?;
            }
        }
        for group in self.data.groups.values() {
            group.vars.values().try_for_each(|value| self.opened.open_value(value, self.keys))?;
        }
        Ok(())
    }

    /// The variables of every group and host in `dir/group_vars` and `dir/host_vars`.
    fn beside(&mut self, dir: &Path) -> Result<Beside> {
        let mut beside = Beside::default();
        let groups: Vec<String> = self.data.groups.keys().cloned().collect();
        let hosts: Vec<String> = self.data.hosts.keys().cloned().collect();
        let wanted = [("group_vars", groups, &mut beside.groups), ("host_vars", hosts, &mut beside.hosts)];
        for (folder, names, found) in wanted {
            let folder = dir.join(folder);
            if !folder.is_dir() {
                continue;
            }
            // A name with a leading slash is that of a chroot, not of a file below the folder.
            for name in names.iter().filter(|name| !name.starts_with('/')) {
                let mut vars = Vars::new();
                for path in vars_files_of(&folder, name)? {
                    combine(&mut vars, &self.vars_of(&path)?);
                }
                if !vars.is_empty() {
                    found.insert(name.clone(), vars);
                }
            }
        }
        Ok(beside)
    }

    fn vars_of(&mut self, path: &Path) -> Result<Vars> {
        if let Some(vars) = self.files.get(path) {
            return Ok(vars.clone());
        }
        let (vars, definitions) = read_vars(path, self.keys, &mut self.opened, &mut self.warnings)?;
        self.definitions.extend(definitions);
        self.files.insert(path.to_owned(), vars.clone());
        Ok(vars)
    }
}

/// Whether the first lines of a text look like YAML to a person.
fn looks_like_yaml(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    first.is_some_and(|line| line.starts_with("---") || line.starts_with('{') || line.ends_with(':'))
}

/// The variables of one file, vaults still closed in the values and opened in `opened`.
fn read_vars(
    path: &Path,
    keys: &Keys,
    opened: &mut Opened,
    warnings: &mut Vec<Diagnostic>,
) -> Result<(Vars, Vec<Definition>)> {
    let shown = path.to_string_lossy();
    let content = read_text(path, &shown, keys)?;
    let guard = |error| content.guard(error, &shown);
    let mut found = Vec::new();
    let Some(root) = crate::yaml::read(&shown, &content.text, &mut found).map_err(guard)? else {
        return Ok((Vars::new(), Vec::new()));
    };
    warnings.extend(found.into_iter().map(guard));
    opened.open_node(&root, &shown, &content.text, keys).map_err(guard)?;
    if content.sealed {
        opened.keep_secret(&root);
    }
    if root.is_null() {
        return Ok((Vars::new(), Vec::new()));
    }
    let mut vars = Vars::new();
    // A variable file may be a list of mappings (`preprocess_vars`).
    for part in root.as_seq().unwrap_or(std::slice::from_ref(&root)) {
        combine(&mut vars, &from_node(part, "a file of variables", &shown, &content.text).map_err(guard)?);
    }
    Ok((vars, definitions(&root, &content, &shown)))
}

/// Every definition of waivers below `node`, however deep: in a file of variables, or in a group of an inventory.
fn definitions(node: &Node, content: &Text, shown: &str) -> Vec<Definition> {
    let text: Arc<str> = if content.sealed { "".into() } else { content.text.as_str().into() };
    let mut found = Vec::new();
    let mut left = vec![node];
    while let Some(node) = left.pop() {
        left.extend(node.as_seq().unwrap_or_default());
        for (key, value) in node.as_map().unwrap_or_default() {
            if key.as_str() == Some(VARIABLE) {
                found.push(Definition {
                    path: shown.to_owned(),
                    text: Arc::clone(&text),
                    node: value.clone(),
                });
            } else {
                left.push(value);
            }
        }
    }
    found
}

/// The files of one group or host in `group_vars` or `host_vars`: a folder of that name with all
/// below it, or a file without an ending or with one of YAML's; the first that exists counts.
fn vars_files_of(folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let endings = [String::new()].into_iter().chain(YAML_ENDINGS.map(|ending| format!(".{ending}")));
    for ending in endings {
        let path = folder.join(format!("{name}{ending}"));
        if path.is_dir() {
            let mut found = Vec::new();
            vars_files_below(&path, &mut found)?;
            return Ok(found);
        }
        if path.exists() {
            return Ok(vec![path]);
        }
    }
    Ok(Vec::new())
}

fn vars_files_below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for name in entries(folder, &folder.to_string_lossy())? {
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let path = folder.join(&name);
        let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned());
        if path.is_dir() {
            if ending.is_none() {
                vars_files_below(&path, found)?;
            }
        } else if ending.is_none_or(|ending| YAML_ENDINGS.contains(&ending.as_str())) {
            found.push(path);
        }
    }
    Ok(())
}

/// Variables of a file of `vars_files` or `-e @FILE`.
#[derive(Clone, Default)]
pub struct VarsFile {
    /// The variables, vaults opened.
    pub vars: Vars,
    /// The texts that came out of a vault.
    pub secrets: BTreeSet<String>,
    /// What Ansible only warns about.
    pub warnings: Vec<Diagnostic>,
}

/// Reads one file of variables (YAML or JSON, a vault or with vault values).
pub fn vars_file(path: &Path, keys: &Keys) -> Result<VarsFile> {
    let mut opened = Opened::default();
    let mut warnings = Vec::new();
    let (vars, _) = read_vars(path, keys, &mut opened, &mut warnings)?;
    Ok(VarsFile { vars: opened.reveal_all(&vars), secrets: opened.secrets, warnings })
}

/// One `-e` argument, `@FILE` included.
pub fn extra_vars(argument: &str, keys: &Keys) -> Result<VarsFile> {
    match argument.strip_prefix('@') {
        Some(file) => vars_file(&expand_home(file), keys),
        None => Ok(VarsFile { vars: super::vars::extra(argument)?, ..VarsFile::default() }),
    }
}

/// The vault passwords of the command line: `--vault-id` values (`LABEL@FILE`, `FILE`), then
/// `--vault-password-file` ones, then that of `ANSIBLE_VAULT_PASSWORD_FILE`. An executable file is
/// run; one whose name ends with `-client` gets `--vault-id LABEL`. `ask` is called for `LABEL@prompt`.
pub fn vault_keys(
    ids: &[String],
    files: &[String],
    ask: &mut dyn FnMut(&str) -> Result<Zeroizing<String>>,
) -> Result<Keys> {
    let mut keys = Keys::default();
    let labelled = ids.iter().map(|id| match id.split_once('@') {
        Some((label, file)) => (Some(label).filter(|label| !label.is_empty()), file),
        None => (None, id.as_str()),
    });
    for (label, file) in labelled.chain(files.iter().map(|file| (None, file.as_str()))) {
        let id = label.unwrap_or(vault::DEFAULT_ID);
        if file == "prompt" {
            keys.add(id, ask(id)?.trim().as_bytes().to_vec());
            continue;
        }
        let path = expand_home(file);
        let password = if is_executable(&path) {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let args: &[&str] = if stem.ends_with("-client") { &["--vault-id", id] } else { &[] };
            Zeroizing::new(run(&absolute(&path), file, args)?.trim_matches(['\r', '\n']).to_owned())
        } else {
            let content = read_text(&path, file, &keys)?;
            Zeroizing::new(content.text.trim().to_owned())
        };
        if password.is_empty() {
            return Err(Diagnostic::new(format!("the vault password file `{file}` is empty")));
        }
        keys.add(id, password.as_bytes().to_vec());
    }
    Ok(keys)
}

/// The single patterns of `--limit`; `@FILE` holds one a line.
pub(super) fn limit(limit: &str) -> Result<Vec<String>> {
    let mut patterns = Vec::new();
    for part in pattern::split(limit) {
        let Some(file) = part.strip_prefix('@') else {
            patterns.push(part);
            continue;
        };
        let text = std::fs::read_to_string(expand_home(file)).map_err(|error| {
            Diagnostic::new(format!("cannot read the limit file `{file}`: {error}"))
                .hint("`--limit @FILE` reads host names from a file, one a line")
        })?;
        patterns.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(patterns)
}

fn read_text(path: &Path, shown: &str, keys: &Keys) -> Result<Text> {
    let bytes =
        std::fs::read(path).map_err(|error| Diagnostic::new(format!("cannot read `{shown}`: {error}")))?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => without_odd_comments(error.as_bytes(), shown)?,
    };
    if !vault::is_vault(&text) {
        return Ok(Text { text: text.into(), sealed: false });
    }
    let plain = keys.decrypt_text(&text).map_err(|error| error.at(Place::line(shown, &text, 1)))?;
    Ok(Text { text: plain, sealed: true })
}

/// Comment lines may be in any encoding; everything else must be UTF-8.
fn without_odd_comments(bytes: &[u8], shown: &str) -> Result<String> {
    let mut text = String::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(_) if line.starts_with(b"#") || line.starts_with(b";") => {}
            Err(error) => {
                let lossy = String::from_utf8_lossy(line);
                let column = String::from_utf8_lossy(&line[..error.valid_up_to()]).chars().count() + 1;
                let mut place = Place::new(shown, &lossy, 1, column, 1);
                place.line = index + 1;
                return Err(Diagnostic::new("not UTF-8 text").at(place));
            }
        }
        text.push('\n');
    }
    Ok(text)
}

/// What a command printed; `shown` is its name as the user knows it.
fn run(path: &Path, shown: &str, args: &[&str]) -> Result<String> {
    let command = std::iter::once(shown).chain(args.iter().copied()).collect::<Vec<_>>().join(" ");
    let output = Command::new(path).args(args).output().map_err(|error| {
        Diagnostic::new(format!("cannot run `{command}`: {error}"))
            .hint("a file that is no script must not be executable: chmod -x")
    })?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.trim_end().lines().last().unwrap_or_default().trim();
    if !output.status.success() {
        let error = Diagnostic::new(format!("`{command}` failed: {}", output.status));
        return Err(if complaint.is_empty() { error } else { error.hint(format!("it said: {complaint}")) });
    }
    String::from_utf8(output.stdout)
        .map_err(|_| Diagnostic::new(format!("`{command}` printed no UTF-8 text")))
}

/// An executable file that the kernel can run: an interpreter line or an ELF header.
fn is_script(path: &Path) -> bool {
    let start = std::fs::File::open(path).and_then(|mut file| {
        let mut start = [0u8; 4];
        let read = std::io::Read::read(&mut file, &mut start)?;
        Ok(start[..read].to_vec())
    });
    is_executable(path) && start.is_ok_and(|start| start.starts_with(b"#!") || start == b"\x7fELF")
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The names in a directory, sorted by their bytes.
fn entries(path: &Path, shown: &str) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| Diagnostic::new(format!("cannot list `{shown}`: {error}"));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn text_of(path: &Path) -> Value {
    path.to_string_lossy().into()
}

fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// The absolute path without `.` and `..`, links not followed (Ansible's `unfrackpath`).
fn absolute(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    // The parent of a bare file name is an empty path; it means the current directory.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            other => whole.push(other),
        }
    }
    whole
}
