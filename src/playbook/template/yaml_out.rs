//! `to_json`, `to_yaml` and their nice forms, as Python's `json` and PyYAML write them.

use std::fmt::Write as _;

use minijinja::Error;
use minijinja::value::Kwargs;
use serde_json::{Map, Value as Json};

use super::python::float_repr;

/// PyYAML's line width; a longer string is written in double quotes on one line here, where PyYAML
/// would fold it. Both read back the same.
const WIDTH: usize = 80;

/// `to_json`; with `nice` the indent of `to_nice_json`.
pub(super) fn to_json(value: &Json, kwargs: &Kwargs, nice: Option<usize>) -> Result<String, Error> {
    let indent = kwargs.get::<Option<usize>>("indent")?.or(nice);
    let sort = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(nice.is_some());
    let ascii = kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(true);
    kwargs.assert_all_used()?;
    let style = JsonStyle { indent, sort, ascii };
    let mut out = String::new();
    style.write(value, 0, &mut out);
    Ok(out)
}

struct JsonStyle {
    indent: Option<usize>,
    sort: bool,
    ascii: bool,
}

impl JsonStyle {
    fn write(&self, value: &Json, depth: usize, out: &mut String) {
        match value {
            Json::String(text) => self.string(text, out),
            Json::Number(number) => out.push_str(&number_text(number)),
            Json::Array(items) if !items.is_empty() => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.between(index, depth + 1, out);
                    self.write(item, depth + 1, out);
                }
                self.line(depth, out);
                out.push(']');
            }
            Json::Object(map) if !map.is_empty() => {
                out.push('{');
                for (index, (key, item)) in entries(map, self.sort).into_iter().enumerate() {
                    self.between(index, depth + 1, out);
                    self.string(key, out);
                    out.push_str(": ");
                    self.write(item, depth + 1, out);
                }
                self.line(depth, out);
                out.push('}');
            }
            plain => {
                let _ = write!(out, "{plain}");
            }
        }
    }

    fn between(&self, index: usize, depth: usize, out: &mut String) {
        if index > 0 {
            out.push_str(if self.indent.is_some() { "," } else { ", " });
        }
        self.line(depth, out);
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent * depth));
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_repr(float),
        _ => number.to_string(),
    }
}

fn entries(map: &Map<String, Json>, sort: bool) -> Vec<(&String, &Json)> {
    let mut entries: Vec<_> = map.iter().collect();
    if sort {
        entries.sort_by(|a, b| a.0.cmp(b.0));
    }
    entries
}

/// `to_yaml`, and with `nice` `to_nice_yaml`.
pub(super) fn to_yaml(value: &Json, kwargs: &Kwargs, nice: bool) -> Result<String, Error> {
    let indent = kwargs.get::<Option<usize>>("indent")?.unwrap_or(if nice { 4 } else { 2 });
    let sort = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(true);
    let flow = kwargs.get::<Option<bool>>("default_flow_style")?;
    kwargs.get::<Option<usize>>("width")?;
    kwargs.assert_all_used()?;
    let style = YamlStyle { indent, sort, flow: if nice { Some(flow.unwrap_or(false)) } else { flow } };
    let mut out = String::new();
    match value {
        Json::Array(_) | Json::Object(_) if !style.is_flow(value) => style.block(value, 0, &mut out),
        Json::Array(_) | Json::Object(_) => {
            style.flow(value, &mut out);
            out.push('\n');
        }
        // PyYAML's `...` after a lone plain scalar is cut off by Ansible.
        scalar => {
            out.push_str(&scalar_text(scalar));
            out.push('\n');
        }
    }
    Ok(out)
}

struct YamlStyle {
    indent: usize,
    sort: bool,
    /// `None`: PyYAML's default, collections of scalars flow and others are blocks.
    flow: Option<bool>,
}

impl YamlStyle {
    fn is_flow(&self, value: &Json) -> bool {
        let scalar = |item: &Json| !matches!(item, Json::Array(_) | Json::Object(_));
        match value {
            Json::Array(items) => items.is_empty() || self.flow.unwrap_or_else(|| items.iter().all(scalar)),
            Json::Object(map) => map.is_empty() || self.flow.unwrap_or_else(|| map.values().all(scalar)),
            _ => true,
        }
    }

    fn flow(&self, value: &Json, out: &mut String) {
        match value {
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    self.flow(item, out);
                }
                out.push(']');
            }
            Json::Object(map) => {
                out.push('{');
                for (index, (key, item)) in entries(map, self.sort).into_iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    out.push_str(&string_text(key, true));
                    out.push_str(": ");
                    self.flow(item, out);
                }
                out.push('}');
            }
            Json::String(text) => out.push_str(&string_text(text, true)),
            scalar => out.push_str(&scalar_text(scalar)),
        }
    }

    /// Writes a collection as a block whose lines start at `column`; the first one stands there already.
    fn block(&self, value: &Json, column: usize, out: &mut String) {
        match value {
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(&" ".repeat(column));
                    }
                    out.push('-');
                    if self.is_flow(item) {
                        out.push(' ');
                        self.flow_line(item, out);
                    } else {
                        out.push_str(&" ".repeat(self.indent - 1));
                        self.block(item, column + self.indent, out);
                    }
                }
            }
            Json::Object(map) => {
                for (index, (key, item)) in entries(map, self.sort).into_iter().enumerate() {
                    if index > 0 {
                        out.push_str(&" ".repeat(column));
                    }
                    out.push_str(&string_text(key, false));
                    out.push(':');
                    if self.is_flow(item) {
                        out.push(' ');
                        self.flow_line(item, out);
                    } else {
                        // A list within a mapping is not indented.
                        let inner = if item.is_array() { column } else { column + self.indent };
                        out.push('\n');
                        out.push_str(&" ".repeat(inner));
                        self.block(item, inner, out);
                    }
                }
            }
            _ => self.flow_line(value, out),
        }
    }

    fn flow_line(&self, value: &Json, out: &mut String) {
        match value {
            Json::Array(_) | Json::Object(_) => self.flow(value, out),
            scalar => out.push_str(&scalar_text(scalar)),
        }
        out.push('\n');
    }
}

fn scalar_text(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::String(text) => string_text(text, false),
        Json::Number(number) => number_text(number),
        other => other.to_string(),
    }
}

/// A string plain where it reads back as that string, else in single or double quotes.
fn string_text(text: &str, flow: bool) -> String {
    let printable = |c: char| c == '\t' || (' '..='~').contains(&c) || c >= '\u{a0}';
    if text.chars().count() > WIDTH && text.contains(' ') || !text.chars().all(|c| printable(c) && c != '\t')
    {
        let style = JsonStyle { indent: None, sort: false, ascii: false };
        let mut out = String::new();
        style.string(text, &mut out);
        return out;
    }
    if is_plain(text, flow) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

fn is_plain(text: &str, flow: bool) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let reads_back = crate::yaml::load("", text)
        .ok()
        .flatten()
        .is_some_and(|node| matches!(&node.kind, crate::yaml::Kind::Str(read) if read == text));
    let indicator = "#,[]{}&*!|>'\"%@`".contains(first)
        || ("?:-".contains(first) && text[first.len_utf8()..].chars().next().is_none_or(char::is_whitespace))
        || (flow && "?:".contains(first));
    let inner = text.contains(": ")
        || text.contains(" #")
        || text.ends_with(':')
        || (flow && text.contains([',', '?', '[', ']', '{', '}', ':']));
    reads_back
        && !indicator
        && !inner
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.starts_with("---")
        && !text.starts_with("...")
        && text != "="
}
