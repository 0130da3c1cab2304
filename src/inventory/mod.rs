//! Who the hosts are, as ansible-core 2.19 reads it.
//!
//! [`Inventory::load`] reads INI and YAML files, scripts, directories and host lists with the
//! `group_vars` and `host_vars` beside them; [`Inventory::select`] answers host patterns;
//! [`Inventory::host_vars`] gives each host's variables by Ansible's precedence. All file access and
//! every started script is in `load`; the rest is pure.

mod data;
mod ini;
mod list;
mod literal;
mod load;
mod pattern;
mod ranges;
mod script;
mod vars;
pub mod vault;
mod words;
mod yaml;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use indexmap::IndexMap;
use serde_json::Value;

pub use list::{graph_text, host_json, hosts_lines, json_text, list_json};
pub use load::{VarsFile, extra_vars, vars_file, vault_keys};
pub use vars::{Vars, combine, extra, locked, untemplated};

use self::data::{Data, LOCALHOST};
use self::vars::Opened;
use crate::error::{Diagnostic, Result};

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The values of `-i`, in order: files, directories, scripts, or host lists with a comma.
    pub inventories: Vec<String>,
    /// Where the playbook is: its `group_vars` and `host_vars` count too. (`ansible-inventory` takes
    /// the current directory.)
    pub playbook_dir: Option<PathBuf>,
    /// The vault passwords.
    pub vault: vault::Keys,
}

/// One host of the inventory.
#[derive(Clone, PartialEq)]
pub struct Host {
    /// The name in the inventory; the address is `ansible_host`, if that is set.
    pub name: String,
    /// Every variable that the inventory gives it, by Ansible's precedence, vaults opened.
    pub vars: Vars,
}

/// Only names: variables hold passwords.
impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host({}, {} variables)", self.name, self.vars.len())
    }
}

/// The variables of `group_vars/` and `host_vars/` in one directory.
#[derive(Clone, Default)]
struct Beside {
    groups: IndexMap<String, Vars>,
    hosts: IndexMap<String, Vars>,
}

/// Hosts, groups and variables.
#[derive(Clone)]
pub struct Inventory {
    data: Data,
    /// Beside each source, in order.
    sources: Vec<Beside>,
    /// Beside the playbook.
    play: Option<Beside>,
    playbook_dir: Option<PathBuf>,
    opened: Opened,
    /// Merged, vaults closed, as `ansible-inventory` prints them.
    raw: IndexMap<String, Vars>,
    hosts: IndexMap<String, Host>,
    definitions: Vec<Definition>,
    warnings: Vec<Diagnostic>,
}

/// Only names: variables hold passwords.
impl std::fmt::Debug for Inventory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inventory")
            .field("groups", &self.data.groups.keys())
            .field("hosts", &self.data.hosts.keys())
            .finish_non_exhaustive()
    }
}

static NO_VARS: LazyLock<Vars> = LazyLock::new(Vars::new);

/// A variable as it was written, where its place matters to whoever reads the value.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The file, as the user knows it.
    pub path: String,
    /// Its text; empty where the whole file was a vault, of which nothing may be shown.
    pub text: std::sync::Arc<str>,
    /// The value.
    pub node: crate::yaml::Node,
}

/// The parts of [`Inventory`] that loading finds out.
struct Loaded {
    data: Data,
    sources: Vec<Beside>,
    play: Option<Beside>,
    playbook_dir: Option<PathBuf>,
    opened: Opened,
    definitions: Vec<Definition>,
    warnings: Vec<Diagnostic>,
}

impl Inventory {
    /// Reads the sources. What Ansible only warns about is in [`Inventory::warnings`].
    pub fn load(sources: &Sources) -> Result<Self> {
        load::read(sources).map(Self::merge)
    }

    fn merge(loaded: Loaded) -> Self {
        let Loaded { data, sources, play, playbook_dir, opened, definitions, warnings } = loaded;
        let mut inventory = Self {
            data,
            sources,
            play,
            playbook_dir,
            opened,
            raw: IndexMap::new(),
            hosts: IndexMap::new(),
            definitions,
            warnings,
        };
        let depths = inventory.data.depths();
        let mut names: Vec<String> = inventory.data.hosts.keys().cloned().collect();
        if !names.iter().any(|name| LOCALHOST.contains(&name.as_str())) {
            names.extend(LOCALHOST.map(str::to_owned));
        }
        for name in names {
            let groups = inventory.data.sorted_groups_of(&name, &depths);
            let raw = inventory.precedence(&name, &groups);
            let vars = inventory.opened.reveal_all(&raw);
            inventory.raw.insert(name.clone(), raw);
            inventory.hosts.insert(name.clone(), Host { name, vars });
        }
        inventory
    }

    /// The variables of one host. The order is `VARIABLE_PRECEDENCE` of ansible-core's configuration,
    /// then the host's own (`vars/manager.py`).
    fn precedence(&self, host: &str, groups: &[String]) -> Vars {
        let own = |name: &str| self.data.groups.get(name).map_or(&*NO_VARS, |group| &group.vars);
        let all = ["all".to_owned()];
        let mut vars = Vars::new();
        combine(&mut vars, own("all"));
        for group in groups {
            combine(&mut vars, own(group));
        }
        for names in [&all[..], groups] {
            for beside in self.sources.iter().chain(&self.play) {
                for group in names {
                    combine(&mut vars, beside.groups.get(group).unwrap_or(&NO_VARS));
                }
            }
        }
        match self.data.hosts.get(host) {
            Some(own) => combine(&mut vars, own),
            // The host that Ansible adds for `localhost` where no inventory has it.
            None => drop(vars.insert("ansible_connection".to_owned(), "local".into())),
        }
        for beside in self.sources.iter().chain(&self.play) {
            combine(&mut vars, beside.hosts.get(host).unwrap_or(&NO_VARS));
        }
        vars
    }

    /// What Ansible only warns about, in order of appearance.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Where waivers ([`crate::waiver::VARIABLE`]) were written in YAML, those that others override included.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// The hosts that `pattern` selects, less those that `limit` (`--limit`, `@FILE` included) leaves
    /// out, in Ansible's order. A pattern that matches nothing gives no hosts; see
    /// [`Inventory::unmatched`].
    pub fn select(&self, pattern: &str, limit: Option<&str>) -> Result<Vec<String>> {
        let mut hosts = pattern::select(&self.data, &pattern::split(pattern), &mut Vec::new())?;
        if let Some(limit) = limit {
            let patterns = load::limit(limit)?;
            if !patterns.is_empty() {
                let within = pattern::select(&self.data, &patterns, &mut Vec::new())?;
                hosts.retain(|host| within.contains(host));
            }
        }
        Ok(hosts)
    }

    /// The parts of a pattern that match no host and no group, each as a warning with a suggestion.
    pub fn unmatched(&self, pattern: &str) -> Result<Vec<Diagnostic>> {
        let mut unmatched = Vec::new();
        pattern::select(&self.data, &pattern::split(pattern), &mut unmatched)?;
        let known: Vec<&str> =
            self.data.groups.keys().chain(self.data.hosts.keys()).map(String::as_str).collect();
        Ok(unmatched
            .into_iter()
            .map(|name| {
                let warning = Diagnostic::new(format!("no host and no group matches `{name}`"));
                match crate::error::nearest(&name, &known) {
                    Some(best) => warning.hint(format!("did you mean `{best}`?")),
                    None => warning,
                }
            })
            .collect())
    }

    /// Every host, in the order in which Ansible first saw it; without the implicit `localhost`.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.data.hosts.keys().filter_map(|name| self.hosts.get(name))
    }

    /// One host by name; the implicit `localhost` included.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// The variables of a host, merged by Ansible's precedence (inventory part), vaults opened. Empty
    /// for a host that the inventory does not have.
    pub fn host_vars(&self, host: &str) -> &Vars {
        self.hosts.get(host).map_or(&NO_VARS, |host| &host.vars)
    }

    /// The groups of a host without `all`, sorted by name (Ansible's `group_names`).
    pub fn groups_of(&self, host: &str) -> Vec<String> {
        self.data.groups_of(host).into_iter().filter(|name| name != "all").collect()
    }

    /// Every group with all the hosts below it, in order of appearance (Ansible's `groups`).
    pub fn groups(&self) -> IndexMap<String, Vec<String>> {
        self.data.groups.keys().map(|name| (name.clone(), self.data.hosts_below(name))).collect()
    }

    /// Every text that came out of a vault, to be masked in all output.
    pub fn secret_values(&self) -> &BTreeSet<String> {
        &self.opened.secrets
    }

    /// The magic variables of a host: `inventory_hostname`, `inventory_hostname_short`,
    /// `inventory_file`, `inventory_dir`, `group_names`, `groups`, `playbook_dir`.
    pub fn magic_vars(&self, host: &str) -> Vars {
        let short = if ranges::is_ip(host) { host } else { host.split('.').next().unwrap_or(host) };
        let mut vars = Vars::new();
        vars.insert("inventory_hostname".to_owned(), host.into());
        vars.insert("inventory_hostname_short".to_owned(), short.into());
        for key in ["inventory_file", "inventory_dir"] {
            let value = self.host_vars(host).get(key).cloned().unwrap_or(Value::Null);
            vars.insert(key.to_owned(), value);
        }
        vars.insert("group_names".to_owned(), self.groups_of(host).into());
        let groups = self.groups().into_iter().map(|(name, hosts)| (name, hosts.into())).collect();
        vars.insert("groups".to_owned(), Value::Object(groups));
        if let Some(dir) = &self.playbook_dir {
            vars.insert("playbook_dir".to_owned(), dir.to_string_lossy().into());
        }
        vars
    }

    /// Everything a task on `host` sees, by Ansible's precedence: the inventory's variables, the
    /// play's `vars`, its `vars_files` in order, `-e`, and the magic variables, which nothing can
    /// overwrite.
    pub fn effective_vars(&self, host: &str, play_vars: &Vars, vars_files: &[Vars], extra: &Vars) -> Vars {
        let mut vars = self.host_vars(host).clone();
        combine(&mut vars, play_vars);
        for file in vars_files {
            combine(&mut vars, file);
        }
        combine(&mut vars, extra);
        combine(&mut vars, &self.magic_vars(host));
        vars
    }
}
