//! Ansible's tests (ansible-core 2.19, `plugins/test/`), where minijinja lacks them.

#![expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over by value")]

use std::cmp::Ordering;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error};
use serde_json::Value as Json;

use super::python::{defined, invalid, json, str_of};
use super::regexes;

/// Every test that a template can use, for suggestions.
pub(super) const NAMES: &[&str] = &[
    "all",
    "any",
    "boolean",
    "contains",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "even",
    "false",
    "falsy",
    "filter",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "issubset",
    "issuperset",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "match",
    "nan",
    "ne",
    "none",
    "number",
    "odd",
    "regex",
    "sameas",
    "search",
    "sequence",
    "string",
    "subset",
    "superset",
    "test",
    "true",
    "truthy",
    "undefined",
    "upper",
    "version",
    "version_compare",
];

pub(super) fn add(env: &mut Environment<'static>) {
    for name in ["startingwith", "endingwith", "safe", "escaped"] {
        env.remove_test(name);
    }
    env.add_test("match", |value: &Value, pattern: Option<String>, kwargs: Kwargs| {
        let pattern = format!("\\A(?:{})", pattern.unwrap_or_default());
        matches(value, &pattern, &kwargs)
    });
    for name in ["search", "regex"] {
        env.add_test(name, |value: &Value, pattern: Option<String>, kwargs: Kwargs| {
            let pattern = pattern.unwrap_or_default();
            let pattern = match kwargs.get::<Option<String>>("match_type")?.as_deref() {
                Some("match") => format!("\\A(?:{pattern})"),
                Some("fullmatch") => format!("\\A(?:{pattern})\\z"),
                _ => pattern,
            };
            matches(value, &pattern, &kwargs)
        });
    }
    for name in ["version", "version_compare"] {
        env.add_test(name, version);
    }
    env.add_test("contains", |value: &Value, item: &Value| contains(&json(value)?, &json(item)?));
    for name in ["subset", "issubset"] {
        env.add_test(name, |a: &Value, b: &Value| subset(&json(a)?, &json(b)?));
    }
    for name in ["superset", "issuperset"] {
        env.add_test(name, |a: &Value, b: &Value| subset(&json(b)?, &json(a)?));
    }
    env.add_test("truthy", truthy);
    env.add_test("falsy", |value: &Value, kwargs: Kwargs| truthy(value, kwargs).map(|truthy| !truthy));
    env.add_test("any", |value: &Value| {
        Ok::<_, Error>(defined(value)?.try_iter()?.any(|item| item.is_true()))
    });
    env.add_test("all", |value: &Value| {
        Ok::<_, Error>(defined(value)?.try_iter()?.all(|item| item.is_true()))
    });
    for name in ["nan", "isnan"] {
        env.add_test(name, |value: &Value| {
            Ok::<_, Error>(
                defined(value)?.kind() == ValueKind::Number
                    && f64::try_from(value.clone()).is_ok_and(f64::is_nan),
            )
        });
    }
}

fn matches(value: &Value, pattern: &str, kwargs: &Kwargs) -> Result<bool, Error> {
    let text = str_of(defined(value)?);
    let regex = regexes::compile(pattern, kwargs)?;
    kwargs.assert_all_used()?;
    Ok(regex.is_match(&text))
}

fn contains(container: &Json, item: &Json) -> Result<bool, Error> {
    match (container, item) {
        (Json::Array(items), item) => Ok(items.contains(item)),
        (Json::Object(map), Json::String(key)) => Ok(map.contains_key(key)),
        (Json::Object(_), _) => Ok(false),
        (Json::String(text), Json::String(part)) => Ok(text.contains(part)),
        _ => Err(invalid("`contains` wants a list, a mapping or a string")),
    }
}

fn subset(a: &Json, b: &Json) -> Result<bool, Error> {
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => Ok(a.iter().all(|item| b.contains(item))),
        _ => Err(invalid("two lists are wanted")),
    }
}

fn truthy(value: &Value, kwargs: Kwargs) -> Result<bool, Error> {
    let convert = kwargs.get::<Option<bool>>("convert_bool")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    let value = defined(value)?;
    if convert && let Some(text) = value.as_str() {
        match text.trim().to_lowercase().as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" => return Ok(true),
            "n" | "no" | "off" | "0" | "false" | "f" => return Ok(false),
            _ => {}
        }
    }
    Ok(value.is_true())
}

/// `version(other, operator)`, loose as Python's old `LooseVersion` unless `version_type='semver'`.
fn version(value: &Value, other: String, operator: Option<String>, kwargs: Kwargs) -> Result<bool, Error> {
    let own = str_of(defined(value)?);
    let operator = kwargs.get::<Option<String>>("operator")?.or(operator).unwrap_or_else(|| "eq".to_owned());
    let strict = kwargs.get::<Option<bool>>("strict")?.unwrap_or(false);
    let kind = kwargs.get::<Option<String>>("version_type")?.unwrap_or_else(|| "loose".to_owned());
    kwargs.assert_all_used()?;
    if own.is_empty() || other.is_empty() {
        return Err(invalid("`version` wants two versions, and one is empty"));
    }
    if strict || kind != "loose" {
        return Err(invalid("`version` is supported with version_type='loose' only"));
    }
    let order = loose(&own).partial_cmp(&loose(&other)).filter(|_| comparable(&own, &other));
    let Some(order) = order else { return Err(invalid("these versions cannot be compared")) };
    match operator.as_str() {
        "==" | "=" | "eq" => Ok(order == Ordering::Equal),
        "!=" | "<>" | "ne" => Ok(order != Ordering::Equal),
        "<" | "lt" => Ok(order == Ordering::Less),
        "<=" | "le" => Ok(order != Ordering::Greater),
        ">" | "gt" => Ok(order == Ordering::Greater),
        ">=" | "ge" => Ok(order != Ordering::Less),
        other => Err(invalid(format!("`version` has no operator `{other}`"))),
    }
}

#[derive(Debug, PartialEq, PartialOrd)]
enum Part {
    Number(u64),
    Word(String),
}

/// The parts of a version: runs of digits, runs of lower-case letters, and what is between dots.
fn loose(version: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut current = String::new();
    let kind = |c: char| {
        if c.is_ascii_digit() {
            1
        } else if c.is_ascii_lowercase() {
            2
        } else if c == '.' {
            0
        } else {
            3
        }
    };
    let mut flush = |current: &mut String| {
        if !current.is_empty() {
            let word = std::mem::take(current);
            parts.push(word.parse().map_or(Part::Word(word), Part::Number));
        }
    };
    let mut last = 0;
    for c in version.chars() {
        if kind(c) != last {
            flush(&mut current);
        }
        last = kind(c);
        if last != 0 {
            current.push(c);
        }
    }
    flush(&mut current);
    parts
}

/// Python refuses to compare a number with a word, where the two versions first differ.
fn comparable(a: &str, b: &str) -> bool {
    loose(a).iter().zip(&loose(b)).find(|(a, b)| a != b).is_none_or(|(a, b)| {
        matches!((a, b), (Part::Number(_), Part::Number(_)) | (Part::Word(_), Part::Word(_)))
    })
}
