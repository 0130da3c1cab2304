//! YAML inventories, as ansible-core's `plugins/inventory/yaml.py` reads them.

use serde_json::Value;

use super::data::Data;
use super::ranges;
use crate::error::{Diagnostic, Result};
use crate::yaml::{Kind, Node};

/// Adds the groups of a YAML inventory to `data`. `root` must be the mapping of `text`.
pub(super) fn parse(
    path: &str,
    text: &str,
    root: &Node,
    data: &mut Data,
    warnings: &mut Vec<Diagnostic>,
) -> Result<()> {
    let pairs = root.expect_map("a YAML inventory", path, text)?;
    if let Some(plugin) = root.get("plugin").filter(|plugin| !falsy(plugin)) {
        return Err(plugin
            .error(path, text, "this is the configuration of an inventory plugin, which is not supported")
            .hint(format!(
                "let Ansible write out what the plugin finds: ansible-inventory -i {path} --list --yaml --output hosts.yml"
            )));
    }
    let mut reader = Reader { path, text, data, warnings };
    for (name, body) in pairs {
        reader.group(name, body)?;
    }
    Ok(())
}

/// What Python takes for false: such values count as absent in places.
fn falsy(node: &Node) -> bool {
    match &node.kind {
        Kind::Null => true,
        Kind::Bool(value) => !value,
        Kind::Int(value) => *value == 0,
        Kind::Float(value) => *value == 0.0,
        Kind::Str(text) | Kind::Unsafe(text) => text.is_empty(),
        Kind::Seq(items) => items.is_empty(),
        Kind::Map(pairs) => pairs.is_empty(),
        Kind::Time(_) | Kind::Vault(_) => false,
    }
}

struct Reader<'t, 'd> {
    path: &'t str,
    text: &'t str,
    data: &'d mut Data,
    warnings: &'d mut Vec<Diagnostic>,
}

impl Reader<'_, '_> {
    fn error(&self, node: &Node, message: impl Into<String>) -> Diagnostic {
        node.error(self.path, self.text, message)
    }

    /// Reads one group; returns its name.
    fn group(&mut self, name_node: &Node, body: &Node) -> Result<String> {
        let pairs = match &body.kind {
            Kind::Null => &[],
            Kind::Map(pairs) => pairs.as_slice(),
            _ => {
                let name = name_node.key();
                let message =
                    format!("`{name}` is skipped: a group must be a mapping, not {}", body.kind_name());
                self.warnings.push(self.error(name_node, message));
                return Ok(name);
            }
        };
        let name = name_node.expect_str("the name of a group", self.path, self.text).map_err(quote)?;
        if name.is_empty() {
            return Err(self.error(name_node, "an empty group name"));
        }
        self.data.group(name);
        for (key, section) in pairs {
            let what = key.key();
            let known = ["vars", "children", "hosts"].contains(&what.as_str());
            let entries = match &section.kind {
                Kind::Null => continue,
                Kind::Map(pairs) => pairs.clone(),
                // One name alone stands for a mapping of that name.
                Kind::Str(_) if known => {
                    vec![(section.clone(), Node { kind: Kind::Null, span: section.span })]
                }
                _ if known => {
                    let message = format!(
                        "`{what}` of the group `{name}` must be a mapping, not {}",
                        section.kind_name()
                    );
                    let hint = "write each name as a key, with a colon behind it: `ctl1:`";
                    return Err(self.error(section, message).hint(hint));
                }
                _ => {
                    self.unexpected(key, name);
                    continue;
                }
            };
            for (entry, value) in &entries {
                match what.as_str() {
                    "vars" => self.set(name, entry, value)?,
                    "children" => {
                        let child = self.group(entry, value)?;
                        self.data
                            .child(name, &child)
                            .map_err(|error| error.at(entry.place(self.path, self.text)))?;
                    }
                    "hosts" => self.hosts(name, entry, value)?,
                    _ => {
                        self.unexpected(key, name);
                        break;
                    }
                }
            }
        }
        Ok(name.to_owned())
    }

    fn unexpected(&mut self, key: &Node, group: &str) {
        let warning = self
            .error(key, format!("`{}` in the group `{group}` is skipped", key.key()))
            .suggest(&key.key(), ["vars", "children", "hosts"]);
        self.warnings.push(warning);
    }

    fn set(&mut self, entity: &str, key: &Node, value: &Node) -> Result<()> {
        self.data
            .set(entity, &key.key(), value.to_value())
            .map_err(|error| error.at(value.place(self.path, self.text)))
    }

    fn hosts(&mut self, group: &str, entry: &Node, vars: &Node) -> Result<()> {
        let text = entry.expect_str("the name of a host", self.path, self.text).map_err(quote)?;
        let (names, port) =
            ranges::expand(text).map_err(|error| error.at(entry.place(self.path, self.text)))?;
        if names.is_empty() {
            self.warnings.push(self.error(entry, "the range gives no host: it ends before it begins"));
        }
        let pairs = match &vars.kind {
            Kind::Map(pairs) => pairs.as_slice(),
            _ if falsy(vars) => &[],
            _ => {
                let message =
                    format!("the variables of `{text}` must be a mapping, not {}", vars.kind_name());
                return Err(self.error(vars, message).hint("write `key: value` pairs below the host"));
            }
        };
        for name in names {
            if name.is_empty() {
                return Err(self.error(entry, "an empty host name"));
            }
            self.data.host(&name, group, port);
            for (key, value) in pairs {
                self.set(&name, key, value)?;
            }
        }
        Ok(())
    }
}

fn quote(error: Diagnostic) -> Diagnostic {
    error.hint("put a name that looks like a number or a word like `on` in quotes")
}

/// Whether a document can be a YAML inventory at all: a mapping with something in it.
pub(super) fn is_inventory(root: Option<&Node>) -> bool {
    root.is_some_and(|node| node.as_map().is_some_and(|pairs| !pairs.is_empty()))
}

/// A JSON value as a host variable set, for scripts.
pub(super) fn object<'v>(value: &'v Value, what: &str) -> Result<&'v serde_json::Map<String, Value>> {
    value.as_object().ok_or_else(|| Diagnostic::new(format!("{what} must be a JSON object")))
}
