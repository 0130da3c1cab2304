//! Which values are secret, and how to show them: only the secret part becomes `***`.
//!
//! In doubt more is masked, never less. Lines stay lines and masked files still parse, so that places and
//! findings over saved facts are those of the host.

mod file;
mod url;

use std::collections::BTreeMap;

pub use file::{Kind, mask_file};
pub use url::mask_url;

/// What stands for a secret.
pub const MASK: &str = "***";

/// Parts of names that make the value a secret.
const PARTS: [&str; 7] = ["password", "passwd", "passphrase", "secret", "cookie", "hmac_key", "private_key"];
/// Ends of names that make it one.
const ENDS: [&str; 9] =
    ["_key", "_keys", "_token", "_tokens", "_pass", "_pwd", "_credential", "_credentials", "_pin"];
/// Whole names that make it one.
const NAMES: [&str; 8] = ["pass", "pwd", "token", "tokens", "credential", "credentials", "key", "setcookie"];
/// Ends of names that speak about secrets and hold none.
const HARMLESS: [&str; 23] = [
    "_len",
    "_file",
    "_files",
    "_path",
    "_dir",
    "_length",
    "_days",
    "_count",
    "_rounds",
    "_age",
    "_regex",
    "_regex_description",
    "_algorithm",
    "_algorithms",
    "_size",
    "_timeout",
    "_expiration",
    "_enabled",
    "_type",
    "_href",
    "_href_format",
    "_hashing",
    "_required",
];

/// Whether the value of `key` is a secret as a whole. Case, dashes, and what stands in front, such as
/// `OS_GROUP__`, `cluster_formation.aws.` or `--os-`, do not matter.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.trim_start_matches('-').to_lowercase().replace('-', "_");
    let last_part = key.rsplit("__").next().unwrap_or(&key);
    let name = last_part.rsplit(['.', ':', '/']).next().unwrap_or(last_part);
    if HARMLESS.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    PARTS.iter().any(|part| name.contains(part))
        || ENDS.iter().any(|end| name.ends_with(end))
        || NAMES.contains(&name)
}

/// `value` of `key` as it may be shown: `***` for a secret, `rabbit://user:***@host` for a URL.
/// An empty value stays empty: that nothing is set is no secret.
pub fn mask_value(key: &str, value: &str) -> String {
    if !is_secret_key(key) {
        return mask_url(value);
    }
    // Line breaks stay, so that what follows keeps its line.
    let lines: Vec<_> =
        value.split('\n').map(|line| if line.trim().is_empty() { line } else { MASK }).collect();
    lines.join("\n")
}

/// The value in the middle of a line, its quotes kept, and what follows it.
fn mask_leading_value(text: &str, ends: &[char]) -> String {
    let opening = ["<<\"", "\"", "'"].into_iter().find(|quote| text.starts_with(quote));
    let Some(opening) = opening else {
        let end = if ends.is_empty() { text.len() } else { text.find(ends).unwrap_or(text.len()) };
        let value = text[..end].trim_end();
        let shown = if value.is_empty() { "" } else { MASK };
        return format!("{shown}{}", mask_line(&text[value.len()..]));
    };
    let quote = opening.chars().last().expect("no quote is empty");
    let body = &text[opening.len()..];
    let mut escaped = false;
    let end = body.find(|c| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    match end {
        Some(0) => format!("{opening}{quote}{}", mask_line(&body[1..])),
        Some(end) => format!("{opening}{MASK}{quote}{}", mask_line(&body[end + 1..])),
        None => format!("{opening}{MASK}"),
    }
}

/// `line` with the values of secret keys and the passwords of URLs masked, for a line whose file is not
/// known: an assignment, JSON, YAML, an Erlang tuple, a line of a diff or a log. Its ending is kept.
pub fn mask_line(line: &str) -> String {
    let body = line.trim_end_matches(['\n', '\r']);
    let ending = &line[body.len()..];
    let mut from = 0;
    while let Some(found) = body[from..].find(['=', ':', ',']) {
        let at = from + found;
        from = at + 1;
        let before = body[..at].trim_end();
        let quoted = before.ends_with(['"', '\'']);
        let word = before.trim_end_matches(['"', '\'']);
        let start = word
            .rfind(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)))
            .map_or(0, |at| at + word[at..].chars().next().map_or(1, char::len_utf8));
        let key = &word[start..];
        // `:` inside a URL, and `,` outside an Erlang tuple, separate nothing.
        let tuple = word[..start].trim_end_matches(['"', '\'']).trim_end().ends_with('{');
        let separates = !body[at..].starts_with("://") && (!body[at..].starts_with(',') || tuple);
        if !separates || !is_secret_key(key) {
            continue;
        }
        let after = body[at + 1..].trim_start_matches(['>', '=']);
        let value = after.trim_start();
        let head = &body[..body.len() - value.len()];
        let ends: &[char] = if tuple || quoted { &[',', '}', ']'] } else { &[] };
        // A quote that opens a bare assignment need not close it: all of the line is the value.
        let shown = if ends.is_empty() && !closes(value) {
            if value.is_empty() { String::new() } else { MASK.to_owned() }
        } else {
            mask_leading_value(value, ends)
        };
        return format!("{}{shown}{ending}", mask_urls_of(head));
    }
    format!("{}{ending}", mask_urls_of(body))
}

/// Whether `value` is one quoted text and nothing but a comma or brackets behind it.
fn closes(value: &str) -> bool {
    let Some(quote) = value.chars().next().filter(|c| "\"'".contains(*c)) else { return false };
    value[1..]
        .trim_end_matches([',', '}', ']', ')', ' '])
        .strip_suffix(quote)
        .is_some_and(|inner| !inner.contains(quote))
}

/// Every URL of a line that may hold several, each up to the next.
fn mask_urls_of(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    loop {
        let next = rest.match_indices("://").skip(1).find_map(|(at, _)| {
            let before =
                rest[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+-.".contains(c));
            // Only behind a quote or blank begins another URL, and not where a password may still be going
            // on: what comes before the `@` of `user:password@` is never cut.
            let own = before.split_once("://").map_or("", |(_, own)| own);
            let open = match own.rsplit_once('@') {
                None => own.contains(':'),
                Some((_, tail)) => tail.split_once(',').is_some_and(|(_, user)| user.contains(':')),
            };
            (!open && before.ends_with(['"', '\'', ' ', '\t', '<', '('])).then_some(before.len())
        });
        let Some(next) = next else { break };
        shown.push_str(&mask_url(&rest[..next]));
        rest = &rest[next..];
    }
    shown + &mask_url(rest)
}

/// Environment variables with their secrets masked.
pub fn mask_environ<'a>(
    variables: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> BTreeMap<String, String> {
    variables.into_iter().map(|(name, value)| (name.clone(), mask_value(name, value))).collect()
}

/// A command line with its secrets masked: `--password=x`, `--password x`, `-setcookie x`, URLs, and
/// assignments among its words.
pub fn mask_argv(words: &[String]) -> Vec<String> {
    let mut secret_next = false;
    let mask = |word: &String| {
        let names_secret = word.starts_with('-') && !word.contains('=') && is_secret_key(word)
            || !word.contains(['=', '-', ' ']) && is_secret_key(word);
        let shown = if secret_next && !word.starts_with("--") {
            if word.is_empty() { String::new() } else { MASK.to_owned() }
        } else {
            match word.split_once('=') {
                Some((name, value)) if !name.contains([':', ' ', '"', '\'', '{']) => {
                    format!("{name}={}", mask_value(name, value))
                }
                _ if word.contains("://") => mask_url(word),
                _ => mask_line(word),
            }
        };
        secret_next = names_secret;
        shown
    };
    words.iter().map(mask).collect()
}
