//! The values of INI inventories: what Python's `ast.literal_eval` makes of a text.
//!
//! ansible-core's `plugins/inventory/ini.py` tries `literal_eval` on every inline value and keeps
//! the text where Python would refuse it. So `80` is an integer, `80,443` a list, `yes` and `0644`
//! are strings, and `5 # five` is 5.

use serde_json::{Map, Number, Value};

use super::vars::mark_unsafe;
use super::words::simple_escape;
use crate::yaml::{json_float, python_float};

/// How deep brackets may nest (Python's own tokenizer stops at 200).
const MAX_DEPTH: usize = 100;

/// The value of an inline variable.
pub(super) fn evaluate(text: &str) -> Value {
    let mut parser = Parser { chars: text.chars().collect(), at: 0, depth: 0 };
    match parser.whole() {
        Some(literal) => literal.into_value().unwrap_or_else(|| Value::String(text.to_owned())),
        None => Value::String(text.to_owned()),
    }
}

/// What a Python literal can be, before it becomes JSON.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    None,
    Bool(bool),
    Int(String),
    Float(f64),
    Complex(f64, f64),
    Str(String),
    Bytes(Vec<u8>),
    Ellipsis,
    Seq(Vec<Literal>),
    Set(Vec<Literal>),
    Map(Vec<(Literal, Literal)>),
}

impl Literal {
    fn into_value(self) -> Option<Value> {
        Some(match self {
            Self::None => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(digits) => integer(&digits),
            Self::Float(value) => float(value),
            Self::Complex(re, im) => Value::String(complex(re, im)),
            Self::Str(text) => Value::String(text),
            // Ansible trusts no text that came from bytes.
            Self::Bytes(bytes) => mark_unsafe(Value::String(String::from_utf8(bytes).ok()?)),
            Self::Ellipsis => Value::String("...".to_owned()),
            Self::Seq(items) => Value::Array(items.into_iter().map(Self::into_value).collect::<Option<_>>()?),
            Self::Set(items) => {
                let mut unique: Vec<Value> = Vec::new();
                for item in items {
                    let value = item.hashable()?.into_value()?;
                    if !unique.contains(&value) {
                        unique.push(value);
                    }
                }
                Value::Array(unique)
            }
            Self::Map(pairs) => {
                let mut map = Map::new();
                for (key, value) in pairs {
                    map.insert(key.hashable()?.key()?, value.into_value()?);
                }
                Value::Object(map)
            }
        })
    }

    /// Itself, unless Python could not use it as a key.
    fn hashable(self) -> Option<Self> {
        match self {
            Self::Set(_) | Self::Map(_) => None,
            other => Some(other),
        }
    }

    /// As a JSON key, in the way of Python's `json`.
    fn key(self) -> Option<String> {
        if let Self::Float(value) = self {
            return Some(json_float(value));
        }
        match self.into_value()? {
            Value::Null => Some("null".to_owned()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text),
            Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// JSON numbers end at 64 bits; a longer integer stays text, digit for digit.
fn integer(digits: &str) -> Value {
    digits
        .parse::<i64>()
        .map(Number::from)
        .or_else(|_| digits.parse::<u64>().map(Number::from))
        .map_or_else(|_| Value::String(digits.to_owned()), Value::Number)
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::String(python_float(value)), Value::Number)
}

/// `str` of a complex number: `(1+2j)`, `2j`.
fn complex(re: f64, im: f64) -> String {
    let part = |value: f64| {
        let text = python_float(value);
        text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
    };
    if re == 0.0 && re.is_sign_positive() {
        return format!("{}j", part(im));
    }
    let sign = if im.is_sign_negative() { "" } else { "+" };
    format!("({}{sign}{}j)", part(re), part(im))
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn whole(&mut self) -> Option<Literal> {
        self.space();
        let literal = self.items_or_one()?;
        self.space();
        if self.peek() == Some('#') {
            return Some(literal);
        }
        (self.at == self.chars.len()).then_some(literal)
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\x0c')) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let end = self.at + word.len();
        let found = self.chars.get(self.at..end).is_some_and(|part| part.iter().copied().eq(word.chars()))
            && !self.chars.get(end).is_some_and(|c| c.is_alphanumeric() || *c == '_');
        if found {
            self.at = end;
        }
        found
    }

    /// `1` is one value, `1,` and `1, 2` are a tuple, without any bracket.
    fn items_or_one(&mut self) -> Option<Literal> {
        let first = self.expression()?;
        self.space();
        if self.peek() != Some(',') {
            return Some(first);
        }
        let mut items = vec![first];
        while self.take(',') {
            self.space();
            if matches!(self.peek(), None | Some('#' | ')')) {
                break;
            }
            items.push(self.expression()?);
            self.space();
        }
        Some(Literal::Seq(items))
    }

    /// A value with its signs: `-1`, `1+2j`; a sum of anything else is none.
    fn expression(&mut self) -> Option<Literal> {
        let left = self.signed()?;
        self.space();
        let negative = match self.peek() {
            Some('+') => false,
            Some('-') => true,
            _ => return Some(left),
        };
        self.at += 1;
        self.space();
        let re = match left {
            Literal::Int(digits) => digits.parse().ok()?,
            Literal::Float(value) => value,
            _ => return None,
        };
        match self.atom()? {
            Literal::Complex(_, im) => Some(Literal::Complex(re, if negative { -im } else { im })),
            _ => None,
        }
    }

    fn signed(&mut self) -> Option<Literal> {
        let negative = match self.peek()? {
            '-' => true,
            '+' => false,
            _ => return self.atom(),
        };
        self.at += 1;
        self.space();
        match (self.atom()?, negative) {
            (Literal::Int(digits), true) if digits == "0" => Some(Literal::Int(digits)),
            (Literal::Int(digits), true) => Some(Literal::Int(format!("-{digits}"))),
            (Literal::Float(value), true) => Some(Literal::Float(-value)),
            (Literal::Complex(re, im), true) => Some(Literal::Complex(-re, -im)),
            (number @ (Literal::Int(_) | Literal::Float(_) | Literal::Complex(..)), false) => Some(number),
            _ => None,
        }
    }

    fn atom(&mut self) -> Option<Literal> {
        match self.peek()? {
            '[' => self.nested(|parser| parser.list(']').map(Literal::Seq)),
            '(' => self.nested(Self::parenthesis),
            '{' => self.nested(Self::braces),
            '0'..='9' => self.number(),
            '.' => {
                if self.chars.get(self.at..self.at + 3) == Some(&['.', '.', '.']) {
                    self.at += 3;
                    return Some(Literal::Ellipsis);
                }
                self.number()
            }
            _ if self.word("None") => Some(Literal::None),
            _ if self.word("True") => Some(Literal::Bool(true)),
            _ if self.word("False") => Some(Literal::Bool(false)),
            _ if self.word("set") => {
                self.space();
                let open = self.take('(');
                self.space();
                (open && self.take(')')).then(|| Literal::Set(Vec::new()))
            }
            _ => self.strings(),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Option<Literal>) -> Option<Literal> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        let literal = read(self);
        self.depth -= 1;
        literal
    }

    /// The items up to `close`, which is consumed.
    fn list(&mut self, close: char) -> Option<Vec<Literal>> {
        let mut items = Vec::new();
        loop {
            self.space();
            if self.take(close) {
                return Some(items);
            }
            items.push(self.expression()?);
            self.space();
            if !self.take(',') {
                return self.take(close).then_some(items);
            }
        }
    }

    fn parenthesis(&mut self) -> Option<Literal> {
        if self.take(')') {
            return Some(Literal::Seq(Vec::new()));
        }
        let inner = self.items_or_one()?;
        self.space();
        self.take(')').then_some(inner)
    }

    fn braces(&mut self) -> Option<Literal> {
        if self.take('}') {
            return Some(Literal::Map(Vec::new()));
        }
        let first = self.expression()?;
        self.space();
        if !self.take(':') {
            let mut items = vec![first];
            if self.take(',') {
                items.extend(self.list('}')?);
            } else if !self.take('}') {
                return None;
            }
            return Some(Literal::Set(items));
        }
        self.space();
        let mut pairs = vec![(first, self.expression()?)];
        loop {
            self.space();
            if self.take('}') {
                return Some(Literal::Map(pairs));
            }
            if !self.take(',') {
                return None;
            }
            self.space();
            if self.take('}') {
                return Some(Literal::Map(pairs));
            }
            let key = self.expression()?;
            self.space();
            if !self.take(':') {
                return None;
            }
            self.space();
            pairs.push((key, self.expression()?));
        }
    }

    fn number(&mut self) -> Option<Literal> {
        let start = self.at;
        for (prefix, radix) in [('x', 16), ('o', 8), ('b', 2)] {
            let second = self.chars.get(start + 1).map(char::to_ascii_lowercase);
            if self.chars[start] == '0' && second == Some(prefix) {
                self.at += 2;
                self.take('_');
                let digits = self.digits(|c| c.is_digit(radix))?;
                self.no_letter()?;
                let value = i128::from_str_radix(&digits, radix).ok()?;
                return Some(Literal::Int(value.to_string()));
            }
        }
        let whole = if self.peek() == Some('.') { String::new() } else { self.decimal()? };
        let mut text = whole.clone();
        let mut is_float = false;
        if self.take('.') {
            is_float = true;
            text.push('.');
            if self.peek().is_some_and(|c| c.is_ascii_digit()) {
                text.push_str(&self.decimal()?);
            } else if whole.is_empty() {
                return None;
            }
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            is_float = true;
            self.at += 1;
            text.push('e');
            if let Some(sign @ ('+' | '-')) = self.peek() {
                text.push(sign);
                self.at += 1;
            }
            text.push_str(&self.decimal()?);
        }
        if matches!(self.peek(), Some('j' | 'J')) {
            self.at += 1;
            self.no_letter()?;
            return Some(Literal::Complex(0.0, text.parse().ok()?));
        }
        self.no_letter()?;
        if is_float {
            return Some(Literal::Float(text.parse().ok()?));
        }
        // `0644` is a syntax error in Python 3, `00` is zero.
        let significant = text.trim_start_matches('0');
        match (text.starts_with('0'), significant.is_empty()) {
            (true, false) => None,
            (_, true) => Some(Literal::Int("0".to_owned())),
            (false, false) => Some(Literal::Int(text)),
        }
    }

    fn decimal(&mut self) -> Option<String> {
        self.digits(|c| c.is_ascii_digit())
    }

    /// Digits with single underscores between them.
    fn digits(&mut self, is_digit: impl Fn(char) -> bool) -> Option<String> {
        let mut digits = String::new();
        while let Some(c) = self.peek() {
            if is_digit(c) {
                digits.push(c);
            } else if c != '_'
                || digits.is_empty()
                || !self.chars.get(self.at + 1).is_some_and(|c| is_digit(*c))
            {
                break;
            }
            self.at += 1;
        }
        (!digits.is_empty()).then_some(digits)
    }

    fn no_letter(&self) -> Option<()> {
        (!self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_')).then_some(())
    }

    /// One or more strings beside each other, which Python joins.
    fn strings(&mut self) -> Option<Literal> {
        let mut joined = self.string()?;
        loop {
            self.space();
            if !self.peek().is_some_and(|c| matches!(c, '"' | '\'') || c.is_ascii_alphabetic()) {
                return Some(joined);
            }
            joined = match (joined, self.string()?) {
                (Literal::Str(left), Literal::Str(right)) => Literal::Str(left + &right),
                (Literal::Bytes(left), Literal::Bytes(right)) => Literal::Bytes([left, right].concat()),
                _ => return None,
            };
        }
    }

    fn string(&mut self) -> Option<Literal> {
        let mut prefix = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_alphabetic) {
            prefix.push(c.to_ascii_lowercase());
            self.at += 1;
        }
        let (raw, bytes) = match prefix.as_str() {
            "" | "u" => (false, false),
            "r" => (true, false),
            "b" => (false, true),
            "br" | "rb" => (true, true),
            _ => return None,
        };
        let quote = self.peek().filter(|c| matches!(c, '"' | '\''))?;
        let triple = self.chars.get(self.at..self.at + 3) == Some(&[quote; 3]);
        let width = if triple { 3 } else { 1 };
        self.at += width;
        let mut text = String::new();
        loop {
            let c = self.peek()?;
            if self.chars.get(self.at..self.at + width).is_some_and(|part| part.iter().all(|c| *c == quote)) {
                self.at += width;
                break;
            }
            self.at += 1;
            if c == '\\' && raw {
                text.push(c);
                text.push(self.peek()?);
                self.at += 1;
            } else if c == '\\' {
                self.escape(&mut text, bytes)?;
            } else {
                text.push(c);
            }
        }
        if !bytes {
            return Some(Literal::Str(text));
        }
        // Every character of a bytes literal is one byte.
        text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<_>>().map(Literal::Bytes)
    }

    fn escape(&mut self, text: &mut String, bytes: bool) -> Option<()> {
        let letter = self.peek()?;
        let hex = match letter {
            'x' => 2,
            'u' if !bytes => 4,
            'U' if !bytes => 8,
            // A character by name: no table of names here, so the text stays as typed.
            'N' if !bytes => return None,
            '0'..='7' => {
                let digits: String =
                    self.chars[self.at..].iter().take(3).take_while(|c| c.is_digit(8)).collect();
                self.at += digits.len();
                text.push(char::from_u32(u32::from_str_radix(&digits, 8).ok()?)?);
                return Some(());
            }
            _ => {
                self.at += 1;
                match simple_escape(letter) {
                    Some(escaped) => text.push(escaped),
                    None => text.extend(['\\', letter]),
                }
                return Some(());
            }
        };
        let digits: String = self.chars.get(self.at + 1..=self.at + hex)?.iter().collect();
        self.at += hex + 1;
        text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_python_makes_of_them() {
        for (text, expected) in [
            ("80", "80"),
            ("-5", "-5"),
            ("80,443", "[80,443]"),
            ("yes", "\"yes\""),
            ("True", "true"),
            ("true", "\"true\""),
            ("None", "null"),
            ("0644", "\"0644\""),
            ("00", "0"),
            ("0o17", "15"),
            ("0x_1F", "31"),
            ("1_000", "1000"),
            ("1__0", "\"1__0\""),
            ("1.", "1.0"),
            (".5e-3", "0.0005"),
            ("1e400", "\"inf\""),
            ("2j", "\"2j\""),
            ("1+2j", "\"(1+2j)\""),
            ("1+2", "\"1+2\""),
            ("--1", "\"--1\""),
            ("'a b'", "\"a b\""),
            ("'a' \"b\"", "\"ab\""),
            (r"'\x41\n\q'", r#""A\n\\q""#),
            (r"r'\n'", r#""\\n""#),
            ("b'x'", r#"{"__ansible_unsafe":"x"}"#),
            ("f'x'", "\"f'x'\""),
            ("[1, 'a', None,]", "[1,\"a\",null]"),
            ("()", "[]"),
            ("(1)", "1"),
            ("(1,)", "[1]"),
            ("{'a': [1], 2: {}}", r#"{"a":[1],"2":{}}"#),
            ("{1, 2, 1}", "[1,2]"),
            ("set()", "[]"),
            ("5 # five", "5"),
            ("five # 5", "\"five # 5\""),
            ("...", "\"...\""),
            ("10.0.0.1", "\"10.0.0.1\""),
            ("a,b", "\"a,b\""),
            ("[a]", "\"[a]\""),
            ("", "\"\""),
            ("99999999999999999999", "\"99999999999999999999\""),
            ("{{ x }}", "\"{{ x }}\""),
        ] {
            assert_eq!(evaluate(text).to_string(), expected, "{text}");
        }
        let deep = "[".repeat(5000);
        assert_eq!(evaluate(&deep), Value::String(deep));
    }
}
