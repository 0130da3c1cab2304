//! Python's regular expressions on the `regex` crate.

#![expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over by value")]

use minijinja::Error;
use minijinja::value::{Kwargs, Rest, Value};
use regex::{Captures, Regex, RegexBuilder};

use super::python::{defined, invalid, str_of};

/// A pattern as Python reads it. Look-around and back-references do not exist here, and are said to.
pub(super) fn compile(pattern: &str, kwargs: &Kwargs) -> Result<Regex, Error> {
    let ignorecase = kwargs.get::<Option<bool>>("ignorecase")?.unwrap_or(false);
    let multiline = kwargs.get::<Option<bool>>("multiline")?.unwrap_or(false);
    build(pattern, ignorecase, multiline)
}

pub(super) fn build(pattern: &str, ignorecase: bool, multiline: bool) -> Result<Regex, Error> {
    // Python's `\Z` is the very end, as `\z` here; its `$` also matches before a last newline.
    let translated = pattern.replace("\\Z", "\\z");
    RegexBuilder::new(&translated).case_insensitive(ignorecase).multi_line(multiline).build().map_err(
        |error| {
            let reason = match error {
                regex::Error::Syntax(text) if text.contains("look-around") => "look-around is not supported",
                regex::Error::Syntax(text) if text.contains("backreferences") => {
                    "back-references are not supported"
                }
                regex::Error::CompiledTooBig(_) => "it is too big",
                _ => "it is not a regular expression",
            };
            invalid(format!("pattern `{pattern}`: {reason}"))
        },
    )
}

/// `regex_replace(pattern, replacement)`: every match, `\1` and `\g<name>` in the replacement.
pub(super) fn replace(
    value: &Value,
    pattern: Option<String>,
    replacement: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let text = str_of(defined(value)?);
    let pattern = pattern.map_or_else(|| kwargs.get::<String>("pattern"), Ok)?;
    let replacement = replacement
        .map_or_else(|| kwargs.get::<Option<String>>("replacement").map(Option::unwrap_or_default), Ok)?;
    let regex = compile(&pattern, &kwargs)?;
    let count = kwargs.get::<Option<usize>>("count")?.unwrap_or(0);
    kwargs.assert_all_used()?;
    let parts = template(&replacement)?;
    for part in &parts {
        if let Part::Group(name) = part
            && !has_group(&regex, name)
        {
            return Err(invalid(format!("the pattern has no group `{name}`")));
        }
    }
    Ok(regex.replacen(&text, count, |captures: &Captures<'_>| expand(&parts, captures)).into_owned())
}

enum Part {
    Text(String),
    Group(String),
}

fn has_group(regex: &Regex, name: &str) -> bool {
    match name.parse::<usize>() {
        Ok(index) => index < regex.captures_len(),
        Err(_) => regex.capture_names().flatten().any(|known| known == name),
    }
}

fn group<'t>(captures: &Captures<'t>, name: &str) -> Option<&'t str> {
    match name.parse::<usize>() {
        Ok(index) => captures.get(index),
        Err(_) => captures.name(name),
    }
    .map(|found| found.as_str())
}

fn expand(parts: &[Part], captures: &Captures<'_>) -> String {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Group(name) => group(captures, name).unwrap_or_default(),
        })
        .collect()
}

/// A replacement as Python's `re.sub` reads it.
fn template(replacement: &str) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix("g<") {
            let (name, tail) =
                tail.split_once('>').ok_or_else(|| invalid("the replacement has an unfinished `\\g<`"))?;
            parts.push(Part::Text(std::mem::take(&mut text)));
            parts.push(Part::Group(name.to_owned()));
            rest = tail;
            continue;
        }
        let digits = rest.chars().take(2).take_while(char::is_ascii_digit).count();
        if digits > 0 {
            parts.push(Part::Text(std::mem::take(&mut text)));
            parts.push(Part::Group(rest[..digits].to_owned()));
            rest = &rest[digits..];
            continue;
        }
        let mut chars = rest.chars();
        match chars.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('\\') => text.push('\\'),
            Some(c) if c.is_ascii_alphabetic() => {
                return Err(invalid(format!("the replacement has a bad escape `\\{c}`")));
            }
            Some(c) => {
                text.push('\\');
                text.push(c);
            }
            None => return Err(invalid("the replacement ends with a backslash")),
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    parts.push(Part::Text(text));
    Ok(parts)
}

/// `regex_search(pattern, groups…)`: the match, the named groups of it, or none.
pub(super) fn search(
    value: &Value,
    pattern: String,
    groups: Rest<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let text = str_of(defined(value)?);
    let regex = compile(&pattern, &kwargs)?;
    kwargs.assert_all_used()?;
    let mut names = Vec::new();
    for wanted in groups.iter() {
        let name = wanted
            .strip_prefix("\\g<")
            .and_then(|rest| rest.strip_suffix('>'))
            .or_else(|| wanted.strip_prefix('\\'))
            .ok_or_else(|| invalid(format!("`{wanted}` names no group; write `\\\\1` or `\\\\g<name>`")))?;
        if !has_group(&regex, name) {
            return Err(invalid(format!("the pattern has no group `{name}`")));
        }
        names.push(name);
    }
    let Some(captures) = regex.captures(&text) else { return Ok(Value::from(())) };
    if names.is_empty() {
        return Ok(Value::from(&captures[0]));
    }
    Ok(names.into_iter().map(|name| group(&captures, name).map_or(Value::from(()), Value::from)).collect())
}

/// `regex_findall(pattern)`: the matches; their groups when the pattern has some.
pub(super) fn find_all(value: &Value, pattern: String, kwargs: Kwargs) -> Result<Value, Error> {
    let text = str_of(defined(value)?);
    let regex = compile(&pattern, &kwargs)?;
    kwargs.assert_all_used()?;
    let one = |captures: Captures<'_>| match captures.len() {
        1 | 2 => Value::from(captures.get(captures.len() - 1).map_or("", |found| found.as_str())),
        count => (1..count)
            .map(|index| Value::from(captures.get(index).map_or("", |found| found.as_str())))
            .collect(),
    };
    Ok(regex.captures_iter(&text).map(one).collect())
}

/// Python's `re.escape`.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
