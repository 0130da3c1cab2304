//! The answers of `trueup inventory`: what `ansible-inventory` prints (ansible-core
//! `cli/inventory.py`).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value, json};

use super::data::LOCALHOST;
use super::vars::{Vars, locked, untemplated};
use super::{Inventory, NO_VARS, combine};
use crate::error::{Diagnostic, Result};
use crate::yaml::python_float;

/// Variables that Ansible makes itself and `ansible-inventory` leaves out (`INTERNAL_STATIC_VARS`).
const INTERNAL: [&str; 34] = [
    "ansible_async_path",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_limit",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_role_names",
    "ansible_playbook_python",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "play_hosts",
    "playbook_dir",
    "role_name",
    "role_names",
    "role_path",
    "role_uuid",
    "vars",
];

/// What stands for a secret.
const STARS: &str = "********";

/// What `--list` prints: every group with its hosts and children, and the hosts' variables. Vault
/// values stay encrypted.
pub fn list_json(inventory: &Inventory, limit: Option<&str>) -> Result<Value> {
    let hosts = inventory.select("all", limit)?;
    let mut answer = Map::new();
    let mut vars = Map::new();
    for host in &hosts {
        let host_vars = printed(inventory.raw.get(host).unwrap_or(&NO_VARS));
        if !host_vars.is_empty() {
            vars.insert(host.clone(), Value::Object(host_vars));
        }
    }
    answer.insert("_meta".to_owned(), json!({"hostvars": vars, "profile": "inventory_legacy"}));
    let available: BTreeSet<&String> = hosts.iter().collect();
    for (name, group) in &inventory.data.groups {
        let mut body = Map::new();
        let own: Vec<&String> = group.hosts.iter().filter(|host| available.contains(host)).collect();
        if name != "all" && !own.is_empty() {
            body.insert("hosts".to_owned(), json!(own));
        }
        if !group.children.is_empty() {
            body.insert("children".to_owned(), json!(group.children));
        }
        if !body.is_empty() {
            answer.insert(name.clone(), Value::Object(body));
        }
    }
    Ok(Value::Object(answer))
}

/// What `--host` prints: the variables of the one host that `pattern` selects. Vault values stay
/// encrypted.
pub fn host_json(inventory: &Inventory, pattern: &str) -> Result<Value> {
    let hosts = inventory.select(pattern, None)?;
    let [host] = hosts.as_slice() else {
        let error = Diagnostic::new(format!("`{pattern}` selects {} hosts, --host takes one", hosts.len()));
        let known: Vec<&str> = inventory.data.hosts.keys().map(String::as_str).collect();
        return Err(if hosts.is_empty() { error.suggest(pattern, known) } else { error });
    };
    let vars = printed(inventory.raw.get(host).unwrap_or(&NO_VARS));
    Ok(without_unsafe(&Value::Object(vars)))
}

/// The variables but those that Ansible makes itself.
fn printed(vars: &Vars) -> Map<String, Value> {
    let wanted = vars.iter().filter(|(key, _)| !INTERNAL.contains(&key.as_str()));
    wanted.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn without_unsafe(value: &Value) -> Value {
    if let Some(text) = untemplated(value) {
        return text.into();
    }
    match value {
        Value::Array(items) => items.iter().map(without_unsafe).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, item)| (key.clone(), without_unsafe(item))).collect())
        }
        other => other.clone(),
    }
}

/// What `--hosts PATTERN` prints: the hosts, one a line. Like `ansible PATTERN --list-hosts` it
/// answers a bare `localhost` with itself even where a limit leaves it out.
pub fn hosts_lines(inventory: &Inventory, pattern: &str, limit: Option<&str>) -> Result<String> {
    let mut hosts = inventory.select(pattern, limit)?;
    if hosts.is_empty() && LOCALHOST.contains(&pattern) {
        hosts.push(pattern.to_owned());
    }
    Ok(hosts.into_iter().map(|host| host + "\n").collect())
}

/// What `--graph [GROUP] [--vars]` prints, without the last line ending. Where `ansible-inventory`
/// would print the plain text of a vault value, stars stand.
pub fn graph_text(inventory: &Inventory, group: &str, show_vars: bool) -> Result<String> {
    if !inventory.data.groups.contains_key(group) {
        let known = inventory.data.groups.keys().map(String::as_str);
        return Err(Diagnostic::new(format!("`{group}` is no group")).suggest(group, known));
    }
    let mut lines = Vec::new();
    draw(inventory, group, 0, show_vars, &mut lines);
    Ok(lines.join("\n"))
}

fn draw(inventory: &Inventory, name: &str, depth: usize, show_vars: bool, lines: &mut Vec<String>) {
    lines.push(branch(&format!("@{name}:"), depth));
    let group = &inventory.data.groups[name];
    for child in &group.children {
        draw(inventory, child, depth + 1, show_vars, lines);
    }
    for host in group.hosts.iter().filter(|_| name != "all") {
        lines.push(branch(host, depth + 1));
        if show_vars {
            draw_vars(inventory, inventory.raw.get(host).unwrap_or(&NO_VARS), depth + 2, lines);
        }
    }
    if show_vars {
        let mut vars = group.vars.clone();
        for beside in inventory.sources.iter().chain(&inventory.play) {
            combine(&mut vars, beside.groups.get(name).unwrap_or(&NO_VARS));
        }
        if group.priority != 1 {
            vars.insert("ansible_group_priority".to_owned(), group.priority.into());
        }
        draw_vars(inventory, &vars, depth + 1, lines);
    }
}

fn draw_vars(inventory: &Inventory, vars: &Vars, depth: usize, lines: &mut Vec<String>) {
    let mut vars: Vec<(String, Value)> = printed(vars).into_iter().collect();
    vars.sort_by(|left, right| left.0.cmp(&right.0));
    for (key, value) in vars {
        let secret = value.as_str().is_some_and(|text| inventory.secret_values().contains(text));
        let shown = if secret { STARS.to_owned() } else { python_text(&value, false) };
        lines.push(branch(&format!("{{{key} = {shown}}}"), depth));
    }
}

fn branch(name: &str, depth: usize) -> String {
    if depth == 0 { name.to_owned() } else { format!("{}--{name}", "  |".repeat(depth)) }
}

/// A value as Python prints it: `str` at the top, `repr` inside of collections.
fn python_text(value: &Value, inside: bool) -> String {
    if locked(value).is_some() {
        return STARS.to_owned();
    }
    if let Some(text) = untemplated(value).or(value.as_str()) {
        return if inside { python_repr(text) } else { text.to_owned() };
    }
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(String::new, python_float),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| python_text(item, true)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let pair =
                |(key, item): (&String, &Value)| format!("{}: {}", python_repr(key), python_text(item, true));
            format!("{{{}}}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::String(_) => "None".to_owned(),
    }
}

fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// JSON as `ansible-inventory` lays it out: keys sorted, four spaces, a line ending.
pub fn json_text(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    match serde::Serialize::serialize(&sorted(value), &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned() + "\n",
        Err(error) => unreachable!("a JSON value can always be written: {error}"),
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(map) => {
            let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            Value::Object(pairs.into_iter().map(|(key, item)| (key.clone(), sorted(item))).collect())
        }
        other => other.clone(),
    }
}
