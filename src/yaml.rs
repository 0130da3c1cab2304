//! YAML 1.1 as Ansible reads it (`PyYAML` with ansible-core 2.19's constructors), with places.
//!
//! [`load`] gives a tree of [`Node`]s; every node knows where it stands, so that whoever finds a
//! mistake in a value can point at it ([`Node::error`]). A text that is valid JSON is read as JSON,
//! because Ansible tries that first.

mod compose;
mod scalar;

pub use scalar::{json_float, python_float};

use serde_json::{Map, Number, Value};

use crate::error::{Diagnostic, Place, Result};

/// The key under which a value that was encrypted with Ansible vault appears in a [`Value`].
pub const VAULT_KEY: &str = "__ansible_vault";

/// The key under which a string that must never be templated (`!unsafe`) appears in a [`Value`].
pub const UNSAFE_KEY: &str = "__ansible_unsafe";

/// Where a node starts, and how far it goes on that line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters to underline (on the first line only).
    pub length: usize,
}

/// One value of a YAML document.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it was written; for an alias, where the alias stands.
    pub span: Span,
}

/// The kinds of value that Ansible distinguishes after loading.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `yes`, `on` and their opposites, unquoted.
    Bool(bool),
    /// An integer; beyond 128 bits a number is kept as its text.
    Int(i128),
    /// A float, infinities and NaN included.
    Float(f64),
    /// Any other scalar, and every quoted one.
    Str(String),
    /// An unquoted date or time, in ISO 8601 as Python's `isoformat` writes it.
    Time(String),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping: `<<` merged, each key once (the last value wins, the first position stays).
    Map(Vec<(Node, Node)>),
    /// `!vault`: the text of an Ansible vault, still encrypted.
    Vault(String),
    /// `!unsafe`: a string that is never a template.
    Unsafe(String),
}

/// Reads a text of at most one document; `None` when there is none (empty, or only comments).
pub fn load(path: &str, text: &str) -> Result<Option<Node>> {
    read(path, text, &mut Vec::new())
}

/// Like [`load`]; what Ansible only warns about (duplicate keys) is added to `warnings`.
pub fn read(path: &str, text: &str, warnings: &mut Vec<Diagnostic>) -> Result<Option<Node>> {
    let mut documents = compose::documents(path, text, warnings)?;
    if let Some(second) = documents.get(1) {
        return Err(second
            .error(path, text, "more than one document in the file")
            .hint("keep the part before the second `---`, or move the rest to a file of its own"));
    }
    Ok(documents.pop())
}

/// Reads a text of any number of documents.
pub fn load_all(path: &str, text: &str) -> Result<Vec<Node>> {
    compose::documents(path, text, &mut Vec::new())
}

impl Node {
    /// Where this node stands in `text`, the whole text of `path`.
    pub fn place(&self, path: &str, text: &str) -> Place {
        Place::new(path, text, self.span.line, self.span.column, self.span.length)
    }

    /// An error that points at this node.
    pub fn error(&self, path: &str, text: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message).at(self.place(path, text))
    }

    /// The kind in words, for messages: `a string`, `a mapping` …
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Int(_) => "an integer",
            Kind::Float(_) => "a float",
            Kind::Str(_) | Kind::Unsafe(_) => "a string",
            Kind::Time(_) => "a date",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a mapping",
            Kind::Vault(_) => "a vault value",
        }
    }

    /// The string, `!unsafe` ones included.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Str(text) | Kind::Unsafe(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.kind {
            Kind::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The integer, if it fits.
    pub fn as_int(&self) -> Option<i64> {
        match self.kind {
            Kind::Int(value) => i64::try_from(value).ok(),
            _ => None,
        }
    }

    /// The items of a sequence.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a mapping.
    pub fn as_map(&self) -> Option<&[(Node, Node)]> {
        match &self.kind {
            Kind::Map(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// The value of a mapping's string key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// The string, or an error that says what `what` must be.
    pub fn expect_str(&self, what: &str, path: &str, text: &str) -> Result<&str> {
        self.as_str().ok_or_else(|| self.wrong(what, "a string", path, text))
    }

    /// The boolean, or an error.
    pub fn expect_bool(&self, what: &str, path: &str, text: &str) -> Result<bool> {
        self.as_bool().ok_or_else(|| self.wrong(what, "`true` or `false`", path, text))
    }

    /// The integer, or an error.
    pub fn expect_int(&self, what: &str, path: &str, text: &str) -> Result<i64> {
        self.as_int().ok_or_else(|| self.wrong(what, "an integer", path, text))
    }

    /// The items, or an error.
    pub fn expect_seq(&self, what: &str, path: &str, text: &str) -> Result<&[Node]> {
        self.as_seq().ok_or_else(|| self.wrong(what, "a list", path, text))
    }

    /// The pairs, or an error.
    pub fn expect_map(&self, what: &str, path: &str, text: &str) -> Result<&[(Node, Node)]> {
        self.as_map().ok_or_else(|| self.wrong(what, "a mapping", path, text))
    }

    fn wrong(&self, what: &str, wanted: &str, path: &str, text: &str) -> Diagnostic {
        self.error(path, text, format!("{what} must be {wanted}, not {}", self.kind_name()))
    }

    /// The text by which a scalar is a mapping key in JSON, as Python's `json` writes it.
    pub fn key(&self) -> String {
        match &self.kind {
            Kind::Null => "null".to_owned(),
            Kind::Bool(value) => value.to_string(),
            Kind::Int(value) => value.to_string(),
            Kind::Float(value) => scalar::json_float(*value),
            Kind::Str(text) | Kind::Time(text) | Kind::Unsafe(text) | Kind::Vault(text) => text.clone(),
            Kind::Seq(_) | Kind::Map(_) => String::new(),
        }
    }

    /// The value as JSON. A vault value becomes `{"__ansible_vault": …}` and an `!unsafe` string
    /// `{"__ansible_unsafe": …}`, as `ansible-inventory --list` writes them; an infinity, a NaN and
    /// an integer beyond 64 bits become strings, because JSON numbers cannot hold them.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Int(value) => i64::try_from(*value)
                .map(Number::from)
                .or_else(|_| u64::try_from(*value).map(Number::from))
                .map_or_else(|_| Value::String(value.to_string()), Value::Number),
            Kind::Float(value) => Number::from_f64(*value)
                .map_or_else(|| Value::String(scalar::python_float(*value)), Value::Number),
            Kind::Str(text) | Kind::Time(text) => Value::String(text.clone()),
            Kind::Seq(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Kind::Map(pairs) => {
                Value::Object(pairs.iter().map(|(key, value)| (key.key(), value.to_value())).collect())
            }
            Kind::Vault(text) => tagged(VAULT_KEY, text),
            Kind::Unsafe(text) => tagged(UNSAFE_KEY, text),
        }
    }
}

fn tagged(key: &str, text: &str) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), Value::String(text.to_owned()))]))
}

#[cfg(test)]
#[path = "yaml/tests.rs"]
mod tests;
