//! Variables: how they are combined, and `-e`.

use std::collections::{BTreeSet, HashMap};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::vault::Keys;
use super::words;
use crate::error::{Diagnostic, Result};
use crate::yaml::{self, Kind, Node, UNSAFE_KEY, VAULT_KEY};

/// Variables by name, in order of appearance.
///
/// An `!unsafe` string that looks like a template is `{"__ansible_unsafe": TEXT}`: whoever renders
/// templates takes TEXT as it is ([`untemplated`]). A vault value that no password was given for is
/// `{"__ansible_vault": CIPHERTEXT}` ([`locked`]).
pub type Vars = IndexMap<String, Value>;

/// Sets every variable of `over` in `vars`; a mapping replaces a mapping (Ansible's default
/// `hash_behaviour = replace`).
pub fn combine(vars: &mut Vars, over: &Vars) {
    for (key, value) in over {
        vars.insert(key.clone(), value.clone());
    }
}

/// The text of a string that must not be templated.
pub fn untemplated(value: &Value) -> Option<&str> {
    tagged(value, UNSAFE_KEY)
}

/// The ciphertext of a vault value that nobody opened.
pub fn locked(value: &Value) -> Option<&str> {
    tagged(value, VAULT_KEY)
}

fn tagged<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.as_object().filter(|map| map.len() == 1)?.get(key)?.as_str()
}

/// What came out of vaults: plain texts by ciphertext, and every text to be masked in output.
#[derive(Clone, Default)]
pub(super) struct Opened {
    plain: HashMap<String, String>,
    pub secrets: BTreeSet<String>,
}

/// Only how many there are.
impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({} vault values)", self.secrets.len())
    }
}

impl Opened {
    /// Opens every vault value below `node`; without any password they stay closed.
    pub fn open_node(&mut self, node: &Node, path: &str, text: &str, keys: &Keys) -> Result<()> {
        match &node.kind {
            Kind::Vault(sealed) => self.open(sealed, keys).map_err(|error| error.at(node.place(path, text))),
            Kind::Seq(items) => items.iter().try_for_each(|item| self.open_node(item, path, text, keys)),
            Kind::Map(pairs) => {
                pairs.iter().try_for_each(|(_, value)| self.open_node(value, path, text, keys))
            }
            _ => Ok(()),
        }
    }

    /// Opens every vault value inside `value`.
    pub fn open_value(&mut self, value: &Value, keys: &Keys) -> Result<()> {
        match (locked(value), value) {
            (Some(sealed), _) => self.open(sealed, keys),
            (None, Value::Array(items)) => items.iter().try_for_each(|item| self.open_value(item, keys)),
            (None, Value::Object(map)) => map.values().try_for_each(|item| self.open_value(item, keys)),
            _ => Ok(()),
        }
    }

    fn open(&mut self, sealed: &str, keys: &Keys) -> Result<()> {
        if !keys.is_empty() && !self.plain.contains_key(sealed) {
            let plain = keys.decrypt_text(sealed)?;
            if !plain.is_empty() {
                self.secrets.insert(plain.to_string());
            }
            self.plain.insert(sealed.to_owned(), plain.to_string());
        }
        Ok(())
    }

    /// Everything in a file that was a vault as a whole is secret: its texts, and its longer numbers.
    /// Words of three letters and less are not, because masking them would garble every output.
    pub fn keep_secret(&mut self, node: &Node) {
        match &node.kind {
            Kind::Seq(items) => items.iter().for_each(|item| self.keep_secret(item)),
            Kind::Map(pairs) => pairs.iter().for_each(|(_, value)| self.keep_secret(value)),
            Kind::Bool(_) | Kind::Null => {}
            _ => {
                let text = node.key();
                if text.chars().count() > 3 {
                    self.secrets.insert(text);
                }
            }
        }
    }

    /// `value` with every opened vault in place of its ciphertext, and plain texts without their
    /// `!unsafe` where no template could be seen in them anyway.
    pub fn reveal(&self, value: &Value) -> Value {
        if let Some(sealed) = locked(value) {
            return self
                .plain
                .get(sealed)
                .map_or_else(|| value.clone(), |plain| Value::String(plain.clone()));
        }
        if let Some(text) = untemplated(value) {
            let template = ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark));
            return if template { value.clone() } else { Value::String(text.to_owned()) };
        }
        match value {
            Value::Array(items) => Value::Array(items.iter().map(|item| self.reveal(item)).collect()),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(key, item)| (key.clone(), self.reveal(item))).collect())
            }
            other => other.clone(),
        }
    }

    /// [`Opened::reveal`] for a whole set.
    pub fn reveal_all(&self, vars: &Vars) -> Vars {
        vars.iter().map(|(key, value)| (key.clone(), self.reveal(value))).collect()
    }
}

/// Every string of a value marked as one that is never a template.
pub(super) fn mark_unsafe(value: Value) -> Value {
    match value {
        Value::String(text) => Value::Object(Map::from_iter([(UNSAFE_KEY.to_owned(), Value::String(text))])),
        Value::Array(items) => Value::Array(items.into_iter().map(mark_unsafe).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, item)| (key, mark_unsafe(item))).collect())
        }
        other => other,
    }
}

/// The variables of a mapping node; `what` names it in errors.
pub(super) fn from_node(node: &Node, what: &str, path: &str, text: &str) -> Result<Vars> {
    let pairs = node.expect_map(what, path, text)?;
    Ok(pairs.iter().map(|(key, value)| (key.key(), value.to_value())).collect())
}

/// One `-e` argument: `key=value key2='value 2'`, or YAML or JSON in braces. For `@FILE` see
/// [`super::load::extra_vars`].
///
/// Values of the first form are strings, as in Ansible.
pub fn extra(argument: &str) -> Result<Vars> {
    let shown = "the value of -e";
    if argument.starts_with(['{', '[']) {
        let node = yaml::load(shown, argument)?;
        let node = node.ok_or_else(|| Diagnostic::new("the value of -e is empty"))?;
        return from_node(&node, shown, shown, argument);
    }
    if argument.starts_with(['/', '.']) {
        return Err(Diagnostic::new(format!("`{argument}` is a file, not `key=value`"))
            .hint(format!("put an `@` before it: -e @{argument}")));
    }
    let (pairs, loose) = words::key_values(argument).ok_or_else(|| {
        Diagnostic::new("unbalanced quotes or braces in -e")
            .hint("quote the whole argument for the shell: -e 'key=\"a value\"'")
    })?;
    // The word is not shown: it may be the second half of a password.
    if loose.iter().any(|word| !word.trim().is_empty()) {
        return Err(Diagnostic::new("a word in -e is not `key=value`")
            .hint("a value with spaces needs quotes of its own: -e 'key=\"a value\"'; a file needs an `@`"));
    }
    Ok(pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_arguments() {
        for (argument, expected) in [
            ("a=1 b='x y'", r#"{"a":"1","b":"x y"}"#),
            ("{\"a\": 1, \"b\": [true]}", r#"{"a":1,"b":[true]}"#),
            ("{a: yes, b: 0644}", r#"{"a":true,"b":420}"#),
            ("a={{ x }}", r#"{"a":"{{ x }}"}"#),
            ("", "{}"),
        ] {
            let vars = extra(argument).unwrap();
            assert_eq!(serde_json::to_string(&vars).unwrap(), expected, "{argument}");
        }
        for (argument, message) in [
            ("a='x", "unbalanced"),
            ("word", "not `key=value`"),
            ("/etc/x.yml", "is a file"),
            ("[1]", "must be a mapping"),
            ("{a", "unclosed"),
        ] {
            let error = extra(argument).unwrap_err();
            assert!(error.render(false).contains(message), "{argument}: {}", error.render(false));
        }
    }
}
