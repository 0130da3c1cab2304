//! Ansible's filters (ansible-core 2.19, `plugins/filter/`), where minijinja's own differ or lack them.

#![expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over by value")]

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error};
use serde_json::Value as Json;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::base64::{decode, encode};
use super::collections::{combine, dict2items, extract, flatten, items2dict, only, sets};
use super::python::{self, defined, from_json, invalid, json, str_of};
use super::{regexes, yaml_out};

/// Every filter that a template can use, for suggestions.
pub(super) const NAMES: &[&str] = &[
    "abs",
    "attr",
    "b64decode",
    "b64encode",
    "basename",
    "batch",
    "bool",
    "capitalize",
    "combine",
    "comment",
    "count",
    "d",
    "default",
    "dict2items",
    "dictsort",
    "difference",
    "dirname",
    "extract",
    "first",
    "flatten",
    "float",
    "format",
    "from_json",
    "from_yaml",
    "groupby",
    "hash",
    "indent",
    "int",
    "intersect",
    "items",
    "items2dict",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "mandatory",
    "map",
    "max",
    "min",
    "path_join",
    "pprint",
    "quote",
    "regex_escape",
    "regex_findall",
    "regex_replace",
    "regex_search",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "splitext",
    "string",
    "sum",
    "symmetric_difference",
    "ternary",
    "title",
    "to_json",
    "to_nice_json",
    "to_nice_yaml",
    "to_yaml",
    "tojson",
    "trim",
    "type_debug",
    "union",
    "unique",
    "upper",
    "urlencode",
    "zip",
];

pub(super) fn add(env: &mut Environment<'static>) {
    env.add_filter("b64decode", b64decode);
    env.add_filter("b64encode", |value: &Value| Ok::<_, Error>(encode(str_of(defined(value)?).as_bytes())));
    env.add_filter("basename", |value: &Value| {
        path(value, |text| text.rsplit('/').next().unwrap_or("").to_owned())
    });
    env.add_filter("bool", boolean);
    env.add_filter("combine", combine);
    env.add_filter("comment", comment);
    env.add_filter("dict2items", dict2items);
    env.add_filter("difference", |a: &Value, b: &Value| sets(a, b, |a, b| only(a, &b)));
    env.add_filter("dirname", |value: &Value| path(value, dirname));
    env.add_filter("extract", extract);
    env.add_filter("flatten", flatten);
    env.add_filter("float", float);
    env.add_filter("from_json", |value: &Value| {
        let text = str_of(defined(value)?);
        let parsed: Json = serde_json::from_str(&text)
            .map_err(|error| invalid(format!("`from_json` cannot read its input (line {})", error.line())))?;
        Ok::<_, Error>(from_json(&parsed))
    });
    env.add_filter("from_yaml", from_yaml);
    env.add_filter("hash", hash);
    env.add_filter("int", int);
    env.add_filter("intersect", |a: &Value, b: &Value| {
        sets(a, b, |a, b| a.into_iter().filter(|item| b.contains(item)).collect())
    });
    env.add_filter("items2dict", items2dict);
    env.add_filter("mandatory", mandatory);
    env.add_filter("path_join", path_join);
    env.add_filter("quote", |value: &Value| {
        let text = if defined(value)?.is_none() { String::new() } else { str_of(value) };
        Ok::<_, Error>(shlex_quote(&text))
    });
    env.add_filter("regex_escape", |value: &Value| Ok::<_, Error>(regexes::escape(&str_of(defined(value)?))));
    env.add_filter("regex_findall", regexes::find_all);
    env.add_filter("regex_replace", regexes::replace);
    env.add_filter("regex_search", regexes::search);
    env.add_filter("split", split);
    env.add_filter("splitext", |value: &Value| {
        let text = str_of(defined(value)?);
        let name = text.rfind('/').map_or(0, |at| at + 1);
        let stem = text[name..].len() - text[name..].trim_start_matches('.').len();
        let at = text[name + stem..].rfind('.').map_or(text.len(), |at| name + stem + at);
        Ok::<_, Error>(Value::from(vec![text[..at].to_owned(), text[at..].to_owned()]))
    });
    env.add_filter("string", |value: &Value| Ok::<_, Error>(str_of(defined(value)?)));
    env.add_filter("symmetric_difference", |a: &Value, b: &Value| {
        sets(a, b, |a, b| {
            let mut either = only(a.clone(), &b);
            either.extend(only(b, &a));
            either
        })
    });
    env.add_filter("ternary", ternary);
    env.add_filter("to_json", |value: &Value, kwargs: Kwargs| {
        yaml_out::to_json(&json(value)?, &kwargs, None)
    });
    env.add_filter("to_nice_json", |value: &Value, kwargs: Kwargs| {
        yaml_out::to_json(&json(value)?, &kwargs, Some(4))
    });
    env.add_filter("to_nice_yaml", |value: &Value, kwargs: Kwargs| {
        yaml_out::to_yaml(&json(value)?, &kwargs, true)
    });
    env.add_filter("to_yaml", |value: &Value, kwargs: Kwargs| {
        yaml_out::to_yaml(&json(value)?, &kwargs, false)
    });
    env.add_filter("type_debug", |value: &Value| python::type_name(value));
    env.add_filter("union", |a: &Value, b: &Value| {
        sets(a, b, |mut a, b| {
            a.extend(b);
            a
        })
    });
}

fn path(value: &Value, part: impl Fn(&str) -> String) -> Result<String, Error> {
    Ok(part(&str_of(defined(value)?)))
}

fn dirname(text: &str) -> String {
    let Some(at) = text.rfind('/') else { return String::new() };
    let head = &text[..=at];
    let trimmed = head.trim_end_matches('/');
    if trimmed.is_empty() { head.to_owned() } else { trimmed.to_owned() }
}

/// Python's `os.path.join`.
fn path_join(value: &Value) -> Result<String, Error> {
    let Json::Array(parts) = json(value)? else { return Ok(str_of(value)) };
    let mut joined = String::new();
    for part in &parts {
        let part = part.as_str().ok_or_else(|| invalid("`path_join` wants strings"))?;
        if part.starts_with('/') {
            joined.clear();
        } else if !joined.is_empty() && !joined.ends_with('/') {
            joined.push('/');
        }
        joined.push_str(part);
    }
    Ok(joined)
}

/// Ansible's `bool`: the well-known words, and false for anything else (deprecated there).
fn boolean(value: &Value) -> Result<bool, Error> {
    let value = defined(value)?;
    Ok(match value.kind() {
        ValueKind::Bool => value.is_true(),
        ValueKind::Number => {
            f64::try_from(value.clone()).is_ok_and(|number| (number - 1.0).abs() < f64::EPSILON)
        }
        ValueKind::String => {
            matches!(value.as_str().unwrap_or_default().to_lowercase().as_str(), "yes" | "on" | "true" | "1")
        }
        _ => false,
    })
}

/// Python's `int(value)`, with Jinja's default where that fails.
fn int(value: &Value, default: Option<Value>, base: Option<u32>, kwargs: Kwargs) -> Result<Value, Error> {
    let default = match kwargs.get::<Option<Value>>("default")? {
        Some(named) => named,
        None => default.unwrap_or_else(|| Value::from(0)),
    };
    let base = kwargs.get::<Option<u32>>("base")?.or(base).unwrap_or(10);
    kwargs.assert_all_used()?;
    if !(2..=36).contains(&base) {
        return Err(invalid("the base of `int` must be from 2 to 36"));
    }
    let value = defined(value)?;
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => value.clone(),
        ValueKind::Number => truncated(f64::try_from(value.clone())?).unwrap_or(default),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default().trim().replace('_', "");
            let (sign, digits) = match text.strip_prefix('-') {
                Some(rest) => (-1, rest),
                None => (1, text.strip_prefix('+').unwrap_or(&text)),
            };
            let prefix = match base {
                2 => "0b",
                8 => "0o",
                16 => "0x",
                _ => "",
            };
            let lower = digits.to_lowercase();
            let digits = lower.strip_prefix(prefix).unwrap_or(&lower);
            match i64::from_str_radix(digits, base) {
                Ok(number) => Value::from(sign * number),
                // Jinja tries a float before it gives up.
                Err(_) if base == 10 => python_float(&text).and_then(truncated).unwrap_or(default),
                Err(_) => default,
            }
        }
        _ => default,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "checked to lie within 2^63")]
fn truncated(float: f64) -> Option<Value> {
    (float.abs() < 9.2e18).then(|| Value::from(float.trunc() as i64))
}

fn python_float(text: &str) -> Option<f64> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if plain { text.parse().ok() } else { None }
}

/// Python's `float(value)`, with Jinja's default where that fails.
fn float(value: &Value, default: Option<Value>) -> Result<Value, Error> {
    let value = defined(value)?;
    let default = default.unwrap_or_else(|| Value::from(0.0));
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(if value.is_true() { 1.0 } else { 0.0 }),
        ValueKind::Number => Value::from(f64::try_from(value.clone())?),
        ValueKind::String => {
            python_float(value.as_str().unwrap_or_default().trim()).map_or(default, Value::from)
        }
        _ => default,
    })
}

fn b64decode(value: &Value) -> Result<String, Error> {
    let bytes =
        decode(&str_of(defined(value)?)).ok_or_else(|| invalid("`b64decode`: the input is not base64"))?;
    String::from_utf8(bytes).map_err(|_| invalid("`b64decode`: the result is not text"))
}

fn hash(value: &Value, algorithm: Option<String>) -> Result<String, Error> {
    let text = str_of(defined(value)?);
    let algorithm = algorithm.unwrap_or_else(|| "sha1".to_owned());
    match algorithm.as_str() {
        "sha224" => Ok(hex::encode(Sha224::digest(text))),
        "sha256" => Ok(hex::encode(Sha256::digest(text))),
        "sha384" => Ok(hex::encode(Sha384::digest(text))),
        "sha512" => Ok(hex::encode(Sha512::digest(text))),
        other => Err(invalid(format!("`hash('{other}')` is not supported; use sha256 or sha512"))),
    }
}

/// Python's `shlex.quote`.
fn shlex_quote(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

fn split(value: &Value, separator: Option<String>, limit: Option<i64>) -> Result<Vec<String>, Error> {
    let text = str_of(defined(value)?);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    Ok(match (separator, limit) {
        (None, None) => text.split_whitespace().map(str::to_owned).collect(),
        (None, Some(limit)) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start();
            while parts.len() < limit && !rest.is_empty() {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                parts.push(rest[..end].to_owned());
                rest = rest[end..].trim_start();
            }
            if !rest.is_empty() {
                parts.push(rest.trim_end().to_owned());
            }
            parts
        }
        (Some(separator), _) if separator.is_empty() => return Err(invalid("`split` wants a separator")),
        (Some(separator), None) => text.split(&separator).map(str::to_owned).collect(),
        (Some(separator), Some(limit)) => text.splitn(limit + 1, &separator).map(str::to_owned).collect(),
    })
}

fn mandatory(value: &Value, message: Option<String>, kwargs: Kwargs) -> Result<Value, Error> {
    let message = kwargs.get::<Option<String>>("msg")?.or(message);
    kwargs.assert_all_used()?;
    match message {
        Some(message) if value.is_undefined() => Err(invalid(message)),
        _ if value.is_undefined() => Err(invalid("a mandatory variable is not defined")),
        _ => Ok(value.clone()),
    }
}

fn ternary(value: &Value, yes: Value, no: Value, none: Option<Value>) -> Result<Value, Error> {
    let value = defined(value)?;
    Ok(match none {
        Some(none) if value.is_none() => none,
        _ if value.is_true() => yes,
        _ => no,
    })
}

fn from_yaml(value: &Value) -> Result<Value, Error> {
    let value = defined(value)?;
    let Some(text) = value.as_str() else { return Ok(value.clone()) };
    let node = crate::yaml::load("", text)
        .map_err(|error| invalid(format!("`from_yaml` cannot read its input: {}", error.message())))?;
    Ok(node.map_or_else(|| Value::from(()), |node| from_json(&node.to_value())))
}

/// Ansible's `comment`, styles and all.
fn comment(value: &Value, style: Option<String>, kwargs: Kwargs) -> Result<String, Error> {
    let text = str_of(defined(value)?);
    let style = kwargs.get::<Option<String>>("style")?.or(style).unwrap_or_else(|| "plain".to_owned());
    let (beginning, decoration, end) = match style.as_str() {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => return Err(invalid(format!("`comment` has no style `{other}`"))),
    };
    let word = |name: &str, default: &str| -> Result<String, Error> {
        Ok(kwargs.get::<Option<String>>(name)?.unwrap_or_else(|| default.to_owned()))
    };
    let decoration = word("decoration", decoration)?;
    let (beginning, end) = (word("beginning", beginning)?, word("end", end)?);
    let prefix = word("prefix", decoration.trim_end())?;
    let postfix = word("postfix", decoration.trim_end())?;
    let prefixes = kwargs.get::<Option<usize>>("prefix_count")?.unwrap_or(1);
    let postfixes = kwargs.get::<Option<usize>>("postfix_count")?.unwrap_or(1);
    let newline = word("newline", "\n")?;
    kwargs.assert_all_used()?;
    let mut out = String::new();
    if !beginning.is_empty() {
        out.push_str(&beginning);
        out.push_str(&newline);
    }
    if !prefix.is_empty() {
        let line = if prefix == newline { newline.clone() } else { format!("{prefix}{newline}") };
        out.push_str(&line.repeat(prefixes));
    }
    let body = format!("{decoration}{}", text.replace(&newline, &format!("{newline}{decoration}")));
    out.push_str(
        &body.replace(&format!("{decoration}{newline}"), &format!("{}{newline}", decoration.trim_end())),
    );
    out.push_str(&format!("{newline}{postfix}").repeat(postfixes));
    if !end.is_empty() {
        out.push_str(&newline);
        out.push_str(&end);
    }
    Ok(out)
}
