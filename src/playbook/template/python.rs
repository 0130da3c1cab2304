//! Values as Python writes them, and to and from JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::{Map, Number, Value as Json};

use crate::yaml::UNSAFE_KEY;

/// The value of `omit`: an argument that has it is left out.
#[derive(Debug)]
pub(super) struct Omit;

impl Object for Omit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// An error of a filter, test or function.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// The value, or an error when it is undefined.
pub(super) fn defined(value: &Value) -> Result<&Value, Error> {
    if value.is_undefined() { Err(Error::from(ErrorKind::UndefinedError)) } else { Ok(value) }
}

/// What `{{ value }}` writes: Python's `str`, and nothing for `None`, as ansible-core 2.19 does.
pub(super) fn text(value: &Value) -> String {
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => String::new(),
        _ if value.downcast_object_ref::<Omit>().is_some() => String::new(),
        ValueKind::String => value.as_str().unwrap_or_default().to_owned(),
        _ => {
            let mut out = String::new();
            repr(value, &mut out);
            out
        }
    }
}

/// Python's `str`.
pub(super) fn str_of(value: &Value) -> String {
    if value.is_none() { "None".to_owned() } else { text(value) }
}

/// Python's `repr`.
fn repr(value: &Value, out: &mut String) {
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::String => repr_str(value.as_str().unwrap_or_default(), out),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                repr(&key, out);
                out.push_str(": ");
                repr(&value.get_item(&key).unwrap_or_default(), out);
            }
            out.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let shown = value.to_string();
            let tuple = shown.starts_with('(');
            out.push(if tuple { '(' } else { '[' });
            let mut count = 0;
            for item in value.try_iter().into_iter().flatten() {
                if count > 0 {
                    out.push_str(", ");
                }
                repr(&item, out);
                count += 1;
            }
            if tuple && count == 1 {
                out.push(',');
            }
            out.push(if tuple { ')' } else { ']' });
        }
        _ => {
            let _ = write!(out, "{value}");
        }
    }
}

fn repr_str(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => float_repr(float),
        _ => value.to_string(),
    }
}

/// Python's `repr` of a float: the shortest digits, an exponent from 1e16 and below 1e-4.
pub(super) fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let size = float.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let shown = format!("{float:e}");
        let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{float:?}")
}

/// Python's name of a value's type, as `type_debug` gives it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Map => "dict",
        ValueKind::Seq | ValueKind::Iterable => "list",
        _ => "object",
    }
}

/// The same in words.
pub(super) fn kind_words(value: &Value) -> &'static str {
    match type_name(value) {
        "NoneType" => "nothing",
        "bool" => "a boolean",
        "int" | "float" => "a number",
        "str" => "a string",
        "dict" => "a mapping",
        "list" => "a list",
        _ => "an object",
    }
}

/// JSON as a value, `!unsafe` strings as plain ones.
pub(super) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => {
            if let Some(int) = number.as_i64() {
                Value::from(int)
            } else if let Some(int) = number.as_u64() {
                Value::from(int)
            } else {
                Value::from(number.as_f64().unwrap_or(f64::NAN))
            }
        }
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(from_json).collect(),
        Json::Object(map) => match map.get(UNSAFE_KEY).and_then(Json::as_str) {
            Some(text) => Value::from(text),
            None => Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), from_json(value)))),
        },
    }
}

/// A value as JSON; `None` for `omit`, which is also dropped from lists and mappings.
pub(super) fn to_json(value: &Value) -> Result<Option<Json>, Error> {
    let value = defined(value)?;
    if value.downcast_object_ref::<Omit>().is_some() {
        return Ok(None);
    }
    let json = match value.kind() {
        ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => number_json(value),
        ValueKind::String => Json::String(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Bytes => {
            Json::String(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned())
        }
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                if let Some(item) = to_json(&value.get_item(&key)?)? {
                    map.insert(key_text(&key), item);
                }
            }
            Json::Object(map)
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter()?.checked() {
                items.extend(to_json(&item?)?);
            }
            Json::Array(items)
        }
        ValueKind::Invalid => return Err(invalid("a variable's template failed")),
        _ => return Err(invalid("a function or a macro is not a value")),
    };
    Ok(Some(json))
}

/// The same for a filter, where `omit` has no meaning.
pub(super) fn json(value: &Value) -> Result<Json, Error> {
    to_json(value).map(Option::unwrap_or_default)
}

/// A mapping's key as JSON text has it.
fn key_text(key: &Value) -> String {
    match key.kind() {
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => key.is_true().to_string(),
        _ => text(key),
    }
}

fn number_json(value: &Value) -> Json {
    if value.is_integer() {
        if let Ok(int) = i64::try_from(value.clone()) {
            return Json::from(int);
        }
        if let Ok(int) = u64::try_from(value.clone()) {
            return Json::from(int);
        }
        return Json::String(value.to_string());
    }
    let float = f64::try_from(value.clone()).unwrap_or(f64::NAN);
    Number::from_f64(float).map_or_else(|| Json::String(float_repr(float)), Json::Number)
}
