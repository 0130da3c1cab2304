//! Groups and hosts while the sources are read, and the rules that hold at the end.
//!
//! The rules are ansible-core's `inventory/data.py` and `inventory/group.py`: every group descends
//! from `all`, a host in no other group is in `ungrouped`, and no group is its own ancestor.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::{IndexMap, IndexSet};
use serde_json::Value;

use super::vars::Vars;
use crate::error::{Diagnostic, Result};

/// The names that mean this machine (`C.LOCALHOST`).
pub(super) const LOCALHOST: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// Hosts that the group itself names, in order.
    pub hosts: IndexSet<String>,
    /// Groups below it, in order.
    pub children: IndexSet<String>,
    /// Groups above it.
    pub parents: IndexSet<String>,
    /// Variables of the inventory sources (`[group:vars]`), values as typed, vaults closed.
    pub vars: Vars,
    /// `ansible_group_priority`: among groups of one depth the higher one wins.
    pub priority: i64,
}

impl Group {
    fn new() -> Self {
        Self {
            hosts: IndexSet::new(),
            children: IndexSet::new(),
            parents: IndexSet::new(),
            vars: Vars::new(),
            priority: 1,
        }
    }
}

/// Everything the sources said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Data {
    /// By name, in order of appearance; `all` and `ungrouped` always lead.
    pub groups: IndexMap<String, Group>,
    /// Each host's own variables, in order of appearance.
    pub hosts: IndexMap<String, Vars>,
    /// `inventory_file` and `inventory_dir` for the hosts that appear now.
    pub source: (Value, Value),
}

impl Data {
    pub fn new() -> Self {
        let mut data =
            Self { groups: IndexMap::new(), hosts: IndexMap::new(), source: (Value::Null, Value::Null) };
        data.group("all");
        data.group("ungrouped");
        data.link("all", "ungrouped");
        data
    }

    /// Makes sure that a group exists.
    pub fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_insert_with(Group::new)
    }

    /// Makes sure that a host exists and belongs to `group`, which must exist.
    /// The port counts only where the host appears for the first time.
    pub fn host(&mut self, name: &str, group: &str, port: Option<u16>) {
        if !self.hosts.contains_key(name) {
            let mut vars = Vars::new();
            if let Some(port) = port {
                vars.insert("ansible_port".to_owned(), port.into());
            }
            self.hosts.insert(name.to_owned(), vars);
            let (file, dir) = self.source.clone();
            self.assign(name, "inventory_file", file);
            self.assign(name, "inventory_dir", dir);
        }
        self.group(group).hosts.insert(name.to_owned());
    }

    /// Sets a variable of a group or a host. Of a group and a host of one name it is the group, as
    /// in Ansible, which warns about such names.
    pub fn set(&mut self, entity: &str, key: &str, value: Value) -> Result<()> {
        if key == "ansible_group_priority"
            && let Some(group) = self.groups.get_mut(entity)
        {
            group.priority = priority(&value).ok_or_else(|| {
                Diagnostic::new(format!("`ansible_group_priority` of `{entity}` must be an integer"))
            })?;
            return Ok(());
        }
        self.assign(entity, key, value);
        Ok(())
    }

    fn assign(&mut self, entity: &str, key: &str, value: Value) {
        let vars = match (self.groups.get_mut(entity), self.hosts.get_mut(entity)) {
            (Some(group), _) => &mut group.vars,
            (None, Some(vars)) => vars,
            (None, None) => return,
        };
        vars.insert(key.to_owned(), value);
    }

    /// Puts one group below another; a loop is an error.
    pub fn child(&mut self, parent: &str, child: &str) -> Result<()> {
        if parent == child {
            return Err(Diagnostic::new(format!("the group `{parent}` cannot be its own child")));
        }
        if !self.groups.contains_key(child) {
            return Err(Diagnostic::new(format!("`{child}` is not a known group"))
                .suggest(child, self.groups.keys().map(String::as_str)));
        }
        if self.groups[parent].children.contains(child) {
            return Ok(());
        }
        if let Some(path) = self.path_down(child, parent) {
            return Err(Diagnostic::new(format!(
                "a loop between groups: `{child}` cannot be a child of `{parent}`, which is below it already"
            ))
            .hint(format!("the way down is {}", path.join(" > "))));
        }
        self.link(parent, child);
        Ok(())
    }

    fn link(&mut self, parent: &str, child: &str) {
        self.group(parent).children.insert(child.to_owned());
        self.group(child).parents.insert(parent.to_owned());
    }

    /// The groups from `from` down to `to`, if there is a way.
    fn path_down(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut ways = vec![vec![from.to_owned()]];
        while let Some(way) = ways.pop() {
            let last = way.last().expect("a way has a start");
            if last == to {
                return Some(way);
            }
            for child in &self.groups[last].children {
                if seen.insert(child.clone()) {
                    ways.push(way.iter().cloned().chain([child.clone()]).collect());
                }
            }
        }
        None
    }

    /// Every group above `name`.
    pub fn ancestors(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = vec![name];
        while let Some(next) = open.pop() {
            for parent in self.groups.get(next).into_iter().flat_map(|group| &group.parents) {
                if found.insert(parent.clone()) {
                    open.push(parent);
                }
            }
        }
        found
    }

    /// Every group that holds this host, directly or from above.
    pub fn groups_of(&self, host: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (name, group) in &self.groups {
            if group.hosts.contains(host) && found.insert(name.clone()) {
                found.extend(self.ancestors(name));
            }
        }
        found
    }

    /// The hosts of a group and of every group below it, level by level, each once.
    pub fn hosts_below(&self, name: &str) -> Vec<String> {
        let mut seen: IndexSet<&str> = IndexSet::from([name]);
        let mut at = 0;
        let mut hosts: IndexSet<&str> = IndexSet::new();
        while let Some(group) = seen.get_index(at).and_then(|name| self.groups.get(*name)) {
            seen.extend(group.children.iter().map(String::as_str));
            hosts.extend(group.hosts.iter().map(String::as_str));
            at += 1;
        }
        hosts.into_iter().map(str::to_owned).collect()
    }

    /// The rules that hold once every source is read; returns the names that are group and host.
    pub fn reconcile(&mut self) -> Result<Vec<String>> {
        let orphans: Vec<String> = self
            .groups
            .iter()
            .filter(|(name, group)| *name != "all" && group.parents.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        for name in orphans {
            self.child("all", &name)?;
        }
        let hosts: Vec<String> = self.hosts.keys().cloned().collect();
        for host in hosts {
            let elsewhere = self.groups_of(&host).iter().any(|name| name != "all" && name != "ungrouped");
            if elsewhere {
                self.group("ungrouped").hosts.shift_remove(&host);
            } else if self.groups.contains_key(&host) && !self.groups["ungrouped"].hosts.contains(&host) {
                // Of one name the group comes first, here as in `set`.
                self.child("ungrouped", &host)?;
            } else {
                self.group("ungrouped").hosts.insert(host);
            }
        }
        Ok(self.groups.keys().filter(|name| self.hosts.contains_key(*name)).cloned().collect())
    }

    /// Each group's distance from `all` by the longest way: deeper groups win over higher ones.
    pub fn depths(&self) -> BTreeMap<String, usize> {
        let mut depths: BTreeMap<String, usize> = BTreeMap::new();
        let mut open: Vec<(&str, usize)> = vec![("all", 0)];
        while let Some((name, depth)) = open.pop() {
            let known = depths.get(name).copied();
            if known.is_none_or(|known| known < depth) || (known == Some(0) && depth == 0) {
                depths.insert(name.to_owned(), depth);
                open.extend(self.groups[name].children.iter().map(|child| (child.as_str(), depth + 1)));
            }
        }
        depths
    }

    /// The groups of a host but `all`, in the order in which their variables apply.
    pub fn sorted_groups_of(&self, host: &str, depths: &BTreeMap<String, usize>) -> Vec<String> {
        let mut groups: Vec<String> = self.groups_of(host).into_iter().filter(|name| name != "all").collect();
        groups.sort_by_key(|name| {
            (depths.get(name).copied().unwrap_or(0), self.groups[name].priority, name.clone())
        });
        groups
    }
}

/// What Python's `int()` makes of a value.
fn priority(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(value) => Some(i64::from(*value)),
        #[expect(clippy::cast_possible_truncation, reason = "`int()` cuts off the fraction as well")]
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|value| value as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
