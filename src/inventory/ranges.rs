//! Host names with ports and ranges: `web[01:20:2].example.org:2222`.
//!
//! The rules are ansible-core's: `parsing/utils/addresses.py` says what an address is, and
//! `plugins/inventory/__init__.py` (`expand_hostname_range`) writes a range out.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

use crate::error::{Diagnostic, Result};

/// How many names one range may give: more is a slip of the finger, not a cluster.
const MAX_NAMES: usize = 100_000;

const NUMERIC: &str = r"\[[0-9]+:[0-9]+(?::[0-9]+)?\]";
const HEXADECIMAL: &str = r"\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]";
const ALPHANUMERIC: &str = r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]";

static BRACKETED_PORT: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\[(.+)\]:([0-9]+)$"));
static PORT: LazyLock<Regex> = LazyLock::new(|| pattern(r"^((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)$"));
static LABEL: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"^(?:\w|{ALPHANUMERIC})(?:[\w-]|{ALPHANUMERIC})*$")));
static IPV4: LazyLock<Regex> = LazyLock::new(|| {
    let part = format!(r"(?:[01]?[0-9]{{1,2}}|2[0-4][0-9]|25[0-5]|{NUMERIC})");
    pattern(&format!(r"^(?:{part}\.){{3}}{part}$"))
});
static IPV6: LazyLock<Regex> = LazyLock::new(|| {
    let p = format!(r"(?:[0-9a-f]{{1,4}}|{HEXADECIMAL})");
    pattern(&format!(
        "^(?:(?:{p}:){{7}}{p}|(?:{p}:){{1,6}}:|(?:{p}:)(?::{p}){{1,6}}|(?:{p}:){{2}}(?::{p}){{1,5}}\
         |(?:{p}:){{3}}(?::{p}){{1,4}}|(?:{p}:){{4}}(?::{p}){{1,3}}|(?:{p}:){{5}}(?::{p}){{1,2}}\
         |(?:{p}:){{6}}(?::{p})|:(?::{p}){{1,6}}|{p}?::|(?:0:){{6}}(?:{p}\\.){{3}}{p}\
         |::(?:ffff:)?(?:{p}\\.){{3}}{p}|(?:0:){{5}}ffff:(?:{p}\\.){{3}}{p})$"
    ))
});

fn pattern(text: &str) -> Regex {
    RegexBuilder::new(text).case_insensitive(true).build().expect("the pattern is a constant")
}

/// An address taken apart: the host (ranges still in it) and the port behind the last colon.
///
/// `None` where Ansible does not understand it; callers then take the whole text as a name.
pub(super) fn parse_address(text: &str, allow_ranges: bool) -> Option<(&str, Option<&str>)> {
    let (mut host, mut port) = (text, None);
    for shape in [&*BRACKETED_PORT, &*PORT] {
        if let Some(found) = shape.captures(host) {
            port = Some(found.get(2).map_or("", |part| part.as_str()));
            host = found.get(1).map_or("", |part| part.as_str());
        }
    }
    if !(IPV4.is_match(host) || IPV6.is_match(host) || is_hostname(host)) {
        return None;
    }
    if !allow_ranges && host.contains('[') {
        return None;
    }
    Some((host, port))
}

/// The number of a port.
pub(super) fn port_number(digits: &str) -> Result<u16> {
    digits
        .parse()
        .map_err(|_| Diagnostic::new(format!("`{digits}` cannot be a port")).hint("ports end at 65535"))
}

/// Labels of letters, digits, `_`, `-` and ranges; none ends with `_` or `-`.
fn is_hostname(text: &str) -> bool {
    text.split('.').all(|label| LABEL.is_match(label) && !label.ends_with(['_', '-']))
}

/// Whether a name is an IP address, so that its dots do not end a short name.
pub(super) fn is_ip(text: &str) -> bool {
    IPV4.is_match(text) || IPV6.is_match(text)
}

/// The names that a host entry of an inventory stands for, and its port.
pub(super) fn expand(entry: &str) -> Result<(Vec<String>, Option<u16>)> {
    let (host, port) = parse_address(entry, true).unwrap_or((entry, None));
    let port = port.map(port_number).transpose()?;
    if !host.contains('[') {
        return Ok((vec![host.to_owned()], port));
    }
    let mut names = Vec::new();
    write_out(host, &mut names)?;
    Ok((names, port))
}

fn write_out(text: &str, names: &mut Vec<String>) -> Result<()> {
    let range = Range::parse(text)?;
    for value in range.values()? {
        let name = format!("{}{value}{}", range.head, range.tail);
        if name.contains('[') {
            write_out(&name, names)?;
        } else {
            names.push(name);
        }
        if names.len() > MAX_NAMES {
            return Err(Diagnostic::new(format!("the range `{text}` gives more than {MAX_NAMES} hosts")));
        }
    }
    Ok(())
}

/// The first range of a name: `head[begin:end:step]tail`.
struct Range<'t> {
    whole: &'t str,
    head: &'t str,
    tail: &'t str,
    begin: &'t str,
    end: &'t str,
    step: &'t str,
}

impl<'t> Range<'t> {
    fn parse(text: &'t str) -> Result<Self> {
        let hint = "write it as `[begin:end]` or `[begin:end:step]`, like `web[01:20]` or `db-[a:f]`";
        let bad = |why: &str| Err(Diagnostic::new(format!("bad range in `{text}`: {why}")).hint(hint));
        let Some((head, rest)) = text.split_once('[') else {
            return bad("no `[`");
        };
        let Some((inner, tail)) = rest.split_once(']') else {
            return bad("the `[` is never closed");
        };
        if head.contains(['|', ']']) || inner.contains('|') || tail.contains('|') {
            return bad("`|` and a stray `]` are not allowed beside a range");
        }
        let (begin, end, step) = match inner.split(':').collect::<Vec<_>>()[..] {
            [begin, end] => (begin, end, "1"),
            [begin, end, step] => (begin, end, step),
            _ => return bad("it needs a begin and an end"),
        };
        if end.is_empty() {
            return bad("it has no end");
        }
        let begin = if begin.is_empty() { "0" } else { begin };
        if begin.len() > 1 && begin.starts_with('0') && begin.len() != end.len() {
            return Err(Diagnostic::new(format!(
                "bad range in `{text}`: `{begin}` and `{end}` have different lengths"
            ))
            .hint(format!(
                "pad both to the same width, like `[{begin}:{end:0>width$}]`",
                width = begin.len()
            )));
        }
        Ok(Self { whole: text, head, tail, begin, end, step })
    }

    fn values(&self) -> Result<Vec<String>> {
        let letters: String = ('a'..='z').chain('A'..='Z').collect();
        let bad = |why: &str| Diagnostic::new(format!("bad range in `{}`: {why}", self.whole));
        let step = self.step.parse::<usize>().ok().filter(|step| *step > 0);
        let step = step.ok_or_else(|| bad("the step is not a positive number"))?;
        let width = if self.begin.len() > 1 && self.begin.starts_with('0') { self.begin.len() } else { 0 };
        if let (Some(from), Some(to)) = (letters.find(self.begin), letters.find(self.end)) {
            if from > to {
                return Err(bad("the begin comes after the end"));
            }
            return Ok(letters[from..=to].chars().step_by(step).map(String::from).collect());
        }
        let number = |text: &str| {
            text.parse::<usize>()
                .map_err(|_| bad(&format!("`{text}` is neither a number nor a single letter")))
        };
        let (from, to) = (number(self.begin)?, number(self.end)?);
        if to.saturating_sub(from) / step > MAX_NAMES {
            return Err(bad(&format!("it gives more than {MAX_NAMES} hosts")));
        }
        Ok((from..=to).step_by(step).map(|value| format!("{value:0width$}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_expand_as_in_ansible() {
        for (entry, names, port) in [
            ("web", "web", None),
            ("web:2222", "web", Some(2222)),
            ("web[1:3]", "web1 web2 web3", None),
            ("web[01:05:2].x:22", "web01.x web03.x web05.x", Some(22)),
            ("db-[a:c]", "db-a db-b db-c", None),
            ("a[0:1]b[x:y]", "a0bx a0by a1bx a1by", None),
            ("10.0.0.[9:11]", "10.0.0.9 10.0.0.10 10.0.0.11", None),
            ("2001:db8::[1:2]", "2001:db8::1 2001:db8::2", None),
            ("[2001:db8::1]:22", "2001:db8::1", Some(22)),
            ("::1", "::1", None),
            ("a_:22", "a_:22", None),
            ("x[5:1]", "", None),
            ("x[:2]", "x0 x1 x2", None),
            ("x[098:101]", "x098 x099 x100 x101", None),
            ("*", "*", None),
        ] {
            let (got, at) = expand(entry).unwrap_or_else(|error| panic!("{entry}: {error}"));
            assert_eq!((got.join(" ").as_str(), at), (names, port), "{entry}");
        }
    }

    #[test]
    fn bad_ranges_are_told_apart() {
        for (entry, message) in [
            ("x[1]", "needs a begin and an end"),
            ("x[1:", "never closed"),
            ("x[1:]", "has no end"),
            ("x[01:100]", "different lengths"),
            ("x[c:a]", "comes after"),
            ("x[a:9]", "neither a number"),
            ("x[1:9:0]", "step"),
            ("x[0:999999999]", "more than"),
            ("x[0:999][0:999]", "more than"),
            ("x:65536", "cannot be a port"),
        ] {
            let error = expand(entry).expect_err(entry);
            assert!(error.to_string().contains(message), "{entry}: {error}");
        }
    }
}
