//! What an inventory script prints, as ansible-core's `plugins/inventory/script.py` reads it.

use indexmap::IndexSet;
use serde_json::{Map, Value};

use super::data::Data;
use super::vars::mark_unsafe;
use crate::error::{Diagnostic, Place, Result};

/// The hosts of the answer to `--list`, and whether their variables came with it.
pub(super) struct Listed {
    /// Hosts of all groups, in order.
    pub hosts: IndexSet<String>,
    /// `_meta.hostvars`; without it the script has to be asked for every host.
    pub vars: Option<Map<String, Value>>,
}

/// Reads a JSON object that a script printed; `path` names the command in errors.
pub(super) fn object(path: &str, text: &str) -> Result<Map<String, Value>> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        // serde_json puts the end of an empty text on line 1, column 0.
        let place = Place::new(path, text, error.line().max(1), error.column().max(1), 1);
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        Diagnostic::new(format!("the inventory script did not print JSON: {message}"))
            .at(place)
            .hint("run it by hand; everything but the JSON belongs on standard error")
    })?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Diagnostic::new(format!("`{path}` must print a JSON object"))),
    }
}

/// Adds the groups of an answer to `--list`.
pub(super) fn list(
    answer: Map<String, Value>,
    data: &mut Data,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Listed> {
    let mut listed = Listed { hosts: IndexSet::new(), vars: None };
    for (name, body) in answer {
        if name == "_meta" {
            let vars = body.get("hostvars").cloned().unwrap_or(Value::Null);
            match vars {
                Value::Object(vars) => listed.vars = Some(vars),
                _ => return Err(Diagnostic::new("`_meta.hostvars` must be a JSON object")),
            }
        } else {
            group(&name, body, data, &mut listed.hosts, warnings)?;
        }
    }
    Ok(listed)
}

fn group(
    name: &str,
    body: Value,
    data: &mut Data,
    hosts: &mut IndexSet<String>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<()> {
    if name.is_empty() {
        return Err(Diagnostic::new("a group without a name"));
    }
    data.group(name);
    let body = match body {
        Value::Object(body) if ["hosts", "vars", "children"].iter().any(|key| body.contains_key(*key)) => {
            body
        }
        Value::Object(body) => {
            warnings.push(
                Diagnostic::new(format!("the group `{name}` has neither hosts nor vars nor children"))
                    .hint("it is taken for a host of that name, with these variables"),
            );
            let vars = mark_unsafe(Value::Object(body));
            Map::from_iter([
                ("hosts".to_owned(), Value::Array(vec![Value::String(name.to_owned())])),
                ("vars".to_owned(), vars),
            ])
        }
        hosts => Map::from_iter([("hosts".to_owned(), hosts)]),
    };
    if let Some(listed) = body.get("hosts") {
        for host in names(listed, &format!("`{name}.hosts`"))? {
            data.host(host, name, None);
            hosts.insert(host.to_owned());
        }
    }
    if let Some(vars) = body.get("vars") {
        for (key, value) in super::yaml::object(vars, &format!("`{name}.vars`"))? {
            data.set(name, key, value.clone())?;
        }
    }
    if let Some(children) = body.get("children") {
        for child in names(children, &format!("`{name}.children`"))? {
            data.group(child);
            data.child(name, child)?;
        }
    }
    Ok(())
}

/// The texts of a list of names.
fn names<'v>(value: &'v Value, what: &str) -> Result<Vec<&'v str>> {
    let list = value.as_array().ok_or_else(|| Diagnostic::new(format!("{what} must be a JSON list")))?;
    list.iter()
        .map(|item| {
            item.as_str()
                .filter(|name| !name.is_empty())
                .ok_or_else(|| Diagnostic::new(format!("{what} must hold names, not `{item}`")))
        })
        .collect()
}
