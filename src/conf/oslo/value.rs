//! From a file's text to an option's value: types (`oslo_config/types.py`) and `$` substitution
//! (`cfg.ConfigOpts._substitute`, a `string.Template`).

use std::fmt;

use super::read::blank;

/// `oslo_config.types.Boolean`: `true 1 on yes` / `false 0 off no` in any case, nothing else, blanks
/// included.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Ok(true),
        "false" | "0" | "off" | "no" => Ok(false),
        _ => Err(format!("`{text}` is not a boolean: true, false, yes, no, on, off, 1 or 0")),
    }
}

/// `oslo_config.types.Integer` on Python's `int()`: a sign, digits, single `_` between digits; an empty
/// text is `None` (for a timeout: no timeout at all). `60s`, `60.0` and `0x10` are errors.
/// Digits of other scripts, which Python accepts, are errors here.
pub fn integer(text: &str) -> Result<Option<i64>, String> {
    let trimmed = text.trim_matches(blank);
    if trimmed.is_empty() {
        return Ok(None);
    }
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if !digits_with_underscores(digits) {
        return Err(format!("`{trimmed}` is not an integer"));
    }
    trimmed.replace('_', "").parse().map(Some).map_err(|_| format!("`{trimmed}` is out of range"))
}

/// `oslo_config.types.Float` on Python's `float()`; an empty text is `None`.
pub fn float(text: &str) -> Result<Option<f64>, String> {
    let trimmed = text.trim_matches(blank);
    if trimmed.is_empty() {
        return Ok(None);
    }
    let bytes = trimmed.as_bytes();
    let underscores_ok = bytes.iter().enumerate().all(|(at, byte)| {
        let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        *byte != b'_' || (digit(at.checked_sub(1)) && digit(Some(at + 1)))
    });
    let parsed = trimmed.replace('_', "").parse().ok().filter(|_| underscores_ok);
    parsed.map(Some).ok_or_else(|| format!("`{trimmed}` is not a number"))
}

fn digits_with_underscores(text: &str) -> bool {
    !text.is_empty() && text.split('_').all(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_digit()))
}

/// Why a value has no meaning for the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// `$name` where neither the files nor the caller know `name`: oslo.config raises `NoSuchOptError`
    /// or `NoSuchGroupError` when the option is used.
    Undefined(String),
    /// `$name` leads back to itself.
    Cycle(String),
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined(name) => {
                write!(f, "`${name}` refers to no known option, so the service cannot read it")
            }
            Self::Cycle(name) => write!(f, "`${name}` refers to itself, so the service cannot read it"),
        }
    }
}

/// One piece of a text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Stands for itself.
    Text(String),
    /// The name in `$name` or `${name}`.
    Name(String),
}

/// Splits `text` at its placeholders: `$name`, `${name}`, `$$` and `\$` (both a plain `$`). Any other `$`
/// stands for itself.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    // oslo.config does exactly this first, so `$\$` is `$$$`: a plain `$`, and one that starts anew.
    let text = text.replace("\\$", "$$");
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('$') {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{');
        let body = braced.unwrap_or(after);
        let length = name_length(body);
        let closed = braced.is_none() || body[length..].starts_with('}');
        if length > 0 && closed {
            found.push(Piece::Text(std::mem::take(&mut plain)));
            found.push(Piece::Name(body[..length].to_owned()));
            rest = &body[length + usize::from(braced.is_some())..];
        } else {
            plain.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    plain.push_str(rest);
    found.push(Piece::Text(plain));
    found
}

/// `text` written so that substitution gives `text` back: every `$` doubled. Behind a `\` only the other
/// spelling works, since `\$$` would be read as `$$$`.
pub fn escape(text: &str) -> String {
    let dollar = if text.contains("\\$") { "\\$" } else { "$$" };
    text.replace('$', dollar)
}

/// How many bytes of `text` are a name: `[_a-z][._a-z0-9]*`, ignoring case as Python does, which lets
/// four letters outside ASCII in.
fn name_length(text: &str) -> usize {
    let letter = |c: char| c == '_' || c.is_ascii_alphabetic() || "\u{130}\u{131}\u{17f}\u{212a}".contains(c);
    if !text.starts_with(letter) {
        return 0;
    }
    text.find(|c: char| !(letter(c) || c == '.' || c.is_ascii_digit())).unwrap_or(text.len())
}
