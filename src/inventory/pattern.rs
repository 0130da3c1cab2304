//! Host patterns: `web:&prod:!web[0]`, `~ctl\d+`, `rabbit*[1:]`.
//!
//! The rules, odd ones included, are ansible-core's `inventory/manager.py`: unions first, then
//! intersections, then exclusions; a pattern that names a group takes its hosts, and a glob, a regex
//! or a name with a dot looks among the hosts as well.

use std::sync::LazyLock;

use indexmap::IndexSet;
use regex::Regex;

use super::data::{Data, LOCALHOST};
use super::ranges;
use crate::error::{Diagnostic, Result};

static SUBSCRIPT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)^(.+)\[(?:(-?[0-9]+)|([0-9]+)([:-])([0-9]*))\]$").expect("the pattern is a constant")
});
static PIECE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:[^\s:\[\]]|\[[^\]]*\])+").expect("the pattern is a constant"));

/// The single patterns of a text: split at commas, or at colons that no address needs.
pub(super) fn split(text: &str) -> Vec<String> {
    let parts: Vec<&str> = if text.contains(',') {
        text.split(',').collect()
    } else if ranges::parse_address(text, true).is_some() {
        vec![text]
    } else {
        PIECE.find_iter(text).map(|piece| piece.as_str()).collect()
    };
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The hosts of `data` that single patterns select, in Ansible's order.
///
/// A pattern that matches nothing is added to `unmatched`, as Ansible warns about it.
pub(super) fn select(data: &Data, patterns: &[String], unmatched: &mut Vec<String>) -> Result<Vec<String>> {
    let of = |wanted: fn(char) -> bool| {
        patterns.iter().filter(move |pattern| pattern.chars().next().is_some_and(wanted))
    };
    let all = "all".to_owned();
    let mut plain: Vec<&String> = of(|c| c != '!' && c != '&').collect();
    if plain.is_empty() {
        plain.push(&all);
    }
    let mut hosts: IndexSet<String> = IndexSet::new();
    for pattern in plain.into_iter().chain(of(|c| c == '&')).chain(of(|c| c == '!')) {
        if data.hosts.contains_key(pattern) {
            hosts.insert(pattern.clone());
            continue;
        }
        let (kind, body) = match pattern.strip_prefix(['!', '&']) {
            Some(body) => (pattern.chars().next(), body),
            None => (None, pattern.as_str()),
        };
        let found = one(data, body, unmatched)?;
        match kind {
            Some('!') => hosts.retain(|host| !found.contains(host)),
            Some('&') => hosts.retain(|host| found.contains(host)),
            _ => hosts.extend(found),
        }
    }
    Ok(hosts.into_iter().collect())
}

/// The hosts of one pattern without its `!` or `&`; a host twice where two groups have it.
fn one(data: &Data, pattern: &str, unmatched: &mut Vec<String>) -> Result<Vec<String>> {
    if pattern.is_empty() {
        return Err(Diagnostic::new("`!` and `&` need a pattern behind them").hint("for example all:!ctl1"));
    }
    let Some(found) = SUBSCRIPT.captures(pattern).filter(|_| !pattern.starts_with('~')) else {
        return matches(data, pattern, unmatched);
    };
    let part = |index: usize| found.get(index).map(|part| part.as_str());
    let hosts = matches(data, part(1).unwrap_or_default(), unmatched)?;
    if hosts.is_empty() {
        return Ok(hosts);
    }
    let out_of_range = || {
        Diagnostic::new(format!("no host matches the subscript of `{pattern}`")).hint(format!(
            "`{}` has {} hosts, numbered from 0",
            part(1).unwrap_or_default(),
            hosts.len()
        ))
    };
    let number = |text: &str| text.parse::<isize>().map_err(|_| out_of_range());
    let pick = |index: isize| {
        let index =
            if index < 0 { hosts.len().checked_add_signed(index) } else { usize::try_from(index).ok() };
        index.and_then(|index| hosts.get(index)).map(|host| vec![host.clone()]).ok_or_else(out_of_range)
    };
    if let Some(index) = part(2) {
        return pick(number(index)?);
    }
    let start = number(part(3).unwrap_or_default())?;
    let end = match part(5).filter(|end| !end.is_empty()) {
        Some(end) => number(end)?,
        None => -1,
    };
    // An end of 0 counts as none in Ansible: `[1:0]` is the host with number 1.
    if end == 0 {
        return pick(start);
    }
    let start = usize::try_from(start).unwrap_or(0);
    let length = match usize::try_from(end) {
        Ok(end) => (end + 1).saturating_sub(start),
        Err(_) => hosts.len(),
    };
    Ok(hosts.into_iter().skip(start).take(length).collect())
}

/// The hosts that a pattern without a subscript names.
fn matches(data: &Data, pattern: &str, unmatched: &mut Vec<String>) -> Result<Vec<String>> {
    let regex = compile(pattern)?;
    let groups: Vec<&String> = data.groups.keys().filter(|name| regex.is_match(name)).collect();
    let mut hosts: Vec<String> = groups.iter().flat_map(|name| data.hosts_below(name)).collect();
    if groups.is_empty() || pattern.starts_with('~') || pattern.contains(['.', '?', '*', '[']) {
        hosts.extend(data.hosts.keys().filter(|name| regex.is_match(name)).cloned());
    }
    if hosts.is_empty() && LOCALHOST.contains(&pattern) {
        // One implicit host: another name for it is taken to be the one that the inventory has.
        let known = data.hosts.keys().find(|name| LOCALHOST.contains(&name.as_str()));
        hosts.push(known.map_or(pattern, String::as_str).to_owned());
    }
    if hosts.is_empty() && groups.is_empty() && pattern != "all" {
        unmatched.push(pattern.to_owned());
    }
    Ok(hosts)
}

/// A `~regex` (anchored at the start only) or a glob (the whole name) as a regular expression.
fn compile(pattern: &str) -> Result<Regex> {
    let text = match pattern.strip_prefix('~') {
        Some(regex) => format!("^(?:{regex})"),
        None => format!("(?s)^(?:{})$", glob(pattern)),
    };
    Regex::new(&text).map_err(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Diagnostic::new(format!("invalid host pattern `{pattern}`: {why}"))
            .hint("look-ahead and back-references are Python's alone; combine patterns with `&` and `!`")
    })
}

/// A shell glob as a regular expression, as Python's `fnmatch.translate` does it.
fn glob(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut regex = String::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                let mut end = at;
                end += usize::from(chars.get(end) == Some(&'!'));
                end += usize::from(chars.get(end) == Some(&']'));
                while chars.get(end).is_some_and(|c| *c != ']') {
                    end += 1;
                }
                if end >= chars.len() {
                    regex.push_str("\\[");
                } else {
                    regex.push_str(&set(&chars[at..end]));
                    at = end + 1;
                }
            }
            _ => regex.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex
}

/// The inside of a glob's `[…]` as a regular expression.
fn set(inside: &[char]) -> String {
    let (negated, body) = match inside {
        ['!', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut members = String::new();
    let mut at = 0;
    while let Some(&from) = body.get(at) {
        if body.get(at + 1) == Some(&'-')
            && let Some(&to) = body.get(at + 2)
        {
            // A range that runs backwards holds nothing.
            if from <= to {
                members.extend([escaped(from), "-".to_owned(), escaped(to)]);
            }
            at += 3;
        } else {
            members += &escaped(from);
            at += 1;
        }
    }
    match (members.is_empty(), negated) {
        (true, false) => "[^\\s\\S]".to_owned(),
        (true, true) => ".".to_owned(),
        (false, true) => format!("[^{members}]"),
        (false, false) => format!("[{members}]"),
    }
}

fn escaped(c: char) -> String {
    if c.is_alphanumeric() || c == '_' { c.to_string() } else { format!("\\x{{{:x}}}", u32::from(c)) }
}
