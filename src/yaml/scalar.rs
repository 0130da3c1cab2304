//! What a plain scalar means in YAML 1.1: the resolver and constructors of `PyYAML` 6.0
//! (`yaml/resolver.py`, `yaml/constructor.py`), which Ansible uses unchanged.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

use super::Kind;

/// The tags a plain scalar can resolve to, as far as they are not strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Implicit {
    Null,
    Bool,
    Int,
    Float,
    Time,
    Merge,
    Value,
    Str,
}

static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
    )
});
static INT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)",
    )
});
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)",
    )
});
static TIME_PARTS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?(?:[ \t]*(Z|([-+])([0-9]{1,2})(?::([0-9]{2}))?))?)?",
    )
});

fn pattern(body: &str) -> Regex {
    Regex::new(&format!("^{body}$")).expect("the pattern is a constant")
}

/// What the plain scalar `text` resolves to. The first match wins, in `PyYAML`'s order.
pub(super) fn resolve(text: &str) -> Implicit {
    match text {
        "yes" | "Yes" | "YES" | "no" | "No" | "NO" | "true" | "True" | "TRUE" | "false" | "False"
        | "FALSE" | "on" | "On" | "ON" | "off" | "Off" | "OFF" => Implicit::Bool,
        "" | "~" | "null" | "Null" | "NULL" => Implicit::Null,
        "<<" => Implicit::Merge,
        "=" => Implicit::Value,
        _ if !text.starts_with(|c: char| c.is_ascii_digit() || "-+.".contains(c)) => Implicit::Str,
        _ if FLOAT.is_match(text) => Implicit::Float,
        _ if INT.is_match(text) => Implicit::Int,
        _ if TIME.is_match(text) => Implicit::Time,
        _ => Implicit::Str,
    }
}

/// The boolean of any spelling that `PyYAML` knows.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// The integer: `0x`, `0b`, a leading `0` for octal, `:` for base 60, `_` ignored.
///
/// Where Python itself fails (`0b_`, `0x_`) there is no value. A number beyond 128 bits stays text.
pub(super) fn integer(text: &str) -> Option<Kind> {
    let text = text.replace('_', "");
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let parsed = if digits == "0" {
        Ok(0)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        i128::from_str_radix(binary, 2)
    } else if let Some(hex) = digits.strip_prefix("0x") {
        i128::from_str_radix(hex, 16)
    } else if digits.starts_with('0') && !digits.contains(':') {
        i128::from_str_radix(digits, 8)
    } else if digits.contains(':') {
        let mut total = 0i128;
        for part in digits.split(':') {
            total = total.checked_mul(60)?.checked_add(part.parse::<i128>().ok()?)?;
        }
        Ok(total)
    } else {
        digits.parse()
    };
    match parsed {
        Ok(value) => Some(Kind::Int(if negative { -value } else { value })),
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => Some(Kind::Str(text)),
        Err(_) => None,
    }
}

/// The float: `.inf`, `.nan`, base 60, `_` ignored.
pub(super) fn float(text: &str) -> Option<f64> {
    let text = text.replace('_', "").to_lowercase();
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    match digits {
        ".inf" => return Some(sign * f64::INFINITY),
        ".nan" => return Some(f64::NAN),
        _ => {}
    }
    if !digits.contains(':') {
        return digits.parse::<f64>().ok().map(|value| sign * value);
    }
    let mut total = 0.0;
    let mut base = 1.0;
    for part in digits.rsplit(':') {
        total += part.parse::<f64>().ok()? * base;
        base *= 60.0;
    }
    Some(sign * total)
}

/// The date or time as Python's `isoformat` writes it, or `None` when there is no such day or hour.
pub(super) fn time(text: &str) -> Option<String> {
    let parts = TIME_PARTS.captures(text)?;
    let number = |index: usize| parts.get(index).map_or(Some(0), |part| part.as_str().parse::<i16>().ok());
    let small = |index: usize| number(index).and_then(|value| i8::try_from(value).ok());
    let date = jiff::civil::Date::new(number(1)?, small(2)?, small(3)?).ok()?;
    if date.year() < 1 {
        return None;
    }
    if parts.get(4).is_none() {
        return Some(date.to_string());
    }
    let clock = jiff::civil::Time::new(small(4)?, small(5)?, small(6)?, 0).ok()?;
    let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
    let mut iso = format!("{date}T{hour:02}:{minute:02}:{second:02}");
    let fraction = parts.get(7).map_or("", |part| part.as_str());
    let micros = format!("{:0<6}", fraction.get(..fraction.len().min(6)).unwrap_or_default());
    if micros != "000000" {
        iso.push('.');
        iso.push_str(&micros);
    }
    if let Some(sign) = parts.get(9) {
        let (hours, minutes) = (number(10)?, number(11)?);
        if i32::from(hours) * 60 + i32::from(minutes) >= 24 * 60 {
            return None;
        }
        let total = hours * 60 + minutes;
        // Python writes a zero offset as `+00:00`, whatever its sign was.
        let sign = if total == 0 { "+" } else { sign.as_str() };
        iso.push_str(sign);
        let _ = write!(iso, "{:02}:{:02}", total / 60, total % 60);
    } else if parts.get(8).is_some() {
        iso.push_str("+00:00");
    }
    Some(iso)
}

/// A float as Python's `repr` writes it: the shortest digits, an exponent from 1e16 on and below 1e-4.
pub fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) || value == 0.0 {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A float as Python's `json` writes it as a key: infinities and NaN by JavaScript's names.
pub fn json_float(value: f64) -> String {
    match value {
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ if value.is_nan() => "NaN".to_owned(),
        _ => python_float(value),
    }
}
