//! Erlang terms, enough of them to read advanced.config and rabbitmq.config (`file:consult`).

use crate::error::{Diagnostic, Place, Result};

/// A term and the line it begins in.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The term.
    pub term: Term,
    /// Line, from 1.
    pub line: usize,
}

/// An Erlang term.
#[derive(Clone, PartialEq)]
pub enum Term {
    /// `heartbeat`, `'quoted'`.
    Atom(String),
    /// `60`, `16#3c`, `$a`.
    Int(i64),
    /// `0.4`.
    Float(f64),
    /// `"text"`, and `<<"text">>`.
    Text(String),
    /// `<<5000:64/native>>`: the integers of its segments.
    Binary(Vec<i64>),
    /// `{a, b}`.
    Tuple(Vec<Node>),
    /// `[a, b]`.
    List(Vec<Node>),
    /// Read, and of no interest here: maps, and what is in them.
    Other,
}

/// Texts may be passwords.
impl std::fmt::Debug for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Atom(name) => f.write_str(name),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(_) => f.write_str("\"***\""),
            Self::Binary(numbers) => write!(f, "<<{numbers:?}>>"),
            Self::Tuple(nodes) | Self::List(nodes) => f.debug_list().entries(nodes).finish(),
            Self::Other => f.write_str("#{…}"),
        }
    }
}

impl Node {
    /// The terms of a list.
    pub fn list(&self) -> Option<&[Node]> {
        match &self.term {
            Term::List(nodes) => Some(nodes),
            _ => None,
        }
    }

    /// The terms of a tuple that begins with the atom `name`, after that atom.
    pub fn tagged(&self, name: &str) -> Option<&[Node]> {
        match &self.term {
            Term::Tuple(nodes) => match nodes.split_first() {
                Some((Node { term: Term::Atom(first), .. }, rest)) if first == name => Some(rest),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Reads the one term of a file, which ends with a dot.
pub fn parse(path: &str, text: &str) -> Result<Node> {
    let mut reader = Reader { path, text, at: 0, depth: 0 };
    let node = reader.term()?;
    reader.skip();
    if !reader.eat(".") {
        return Err(reader.error("a `.` was expected at the end of the term"));
    }
    reader.skip();
    if reader.at < text.len() {
        return Err(reader.error("there is more than one term"));
    }
    Ok(node)
}

struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            if blank > 0 {
                self.at += blank;
            } else if rest.starts_with('%') {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else {
                return;
            }
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn line(&self) -> usize {
        self.text[..self.at].matches('\n').count() + 1
    }

    fn error(&self, message: &str) -> Diagnostic {
        let start = self.text[..self.at].rfind('\n').map_or(0, |at| at + 1);
        let column = self.text[start..self.at].chars().count() + 1;
        let mut place = Place::new(self.path, self.text, self.line(), column, 1);
        place.text = crate::conf::secret::mask_line(&place.text);
        Diagnostic::new(message).at(place)
    }

    fn term(&mut self) -> Result<Node> {
        self.skip();
        // A file of nothing but brackets must not end the stack.
        self.depth += 1;
        if self.depth > 200 {
            return Err(self.error("the terms are nested too deeply"));
        }
        let line = self.line();
        let term = match self.rest().chars().next() {
            Some('{') => Term::Tuple(self.items("{", "}")?),
            Some('[') => Term::List(self.items("[", "]")?),
            Some('#') => {
                self.at += 1;
                self.skip();
                self.map()?;
                Term::Other
            }
            Some('"') => Term::Text(self.strings()?),
            Some('\'') => Term::Atom(self.quoted('\'')?),
            Some('<') if self.rest().starts_with("<<") => self.binary()?,
            Some(c) if c == '-' || c == '+' || c == '$' || c.is_ascii_digit() => self.number()?,
            Some(c) if c.is_ascii_lowercase() => {
                let rest = self.rest();
                let end =
                    rest.find(|c: char| !(c.is_alphanumeric() || "_@".contains(c))).unwrap_or(rest.len());
                let name = rest[..end].to_owned();
                self.at += end;
                Term::Atom(name)
            }
            _ => return Err(self.error("a term was expected")),
        };
        self.depth -= 1;
        Ok(Node { term, line })
    }

    fn items(&mut self, open: &str, close: &str) -> Result<Vec<Node>> {
        self.eat(open);
        let mut items = Vec::new();
        self.skip();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(self.term()?);
            self.skip();
            if self.eat(close) {
                return Ok(items);
            }
            if !self.eat(",") {
                return Err(self.error(&format!("`,` or `{close}` was expected")));
            }
        }
    }

    fn map(&mut self) -> Result<()> {
        if !self.eat("{") {
            return Err(self.error("a `{` was expected"));
        }
        self.skip();
        if self.eat("}") {
            return Ok(());
        }
        loop {
            self.term()?;
            self.skip();
            if !self.eat("=>") {
                return Err(self.error("`=>` was expected"));
            }
            self.term()?;
            self.skip();
            if self.eat("}") {
                return Ok(());
            }
            if !self.eat(",") {
                return Err(self.error("`,` or `}` was expected"));
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let mut text = String::new();
        let mut chars = self.rest()[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += 1 + at + c.len_utf8();
                return Ok(text);
            }
            match (c, if c == '\\' { chars.next() } else { None }) {
                ('\\', Some((_, 'n'))) => text.push('\n'),
                ('\\', Some((_, 't'))) => text.push('\t'),
                ('\\', Some((_, escaped))) => text.push(escaped),
                (c, _) => text.push(c),
            }
        }
        Err(self.error("the quote is not closed"))
    }

    /// Strings side by side are one.
    fn strings(&mut self) -> Result<String> {
        let mut text = self.quoted('"')?;
        loop {
            self.skip();
            if !self.rest().starts_with('"') {
                return Ok(text);
            }
            text.push_str(&self.quoted('"')?);
        }
    }

    fn number(&mut self) -> Result<Term> {
        if self.eat("$") {
            let c = self.rest().chars().next().ok_or_else(|| self.error("a character was expected"))?;
            self.at += c.len_utf8();
            return Ok(Term::Int(i64::from(u32::from(c))));
        }
        let rest = self.rest();
        let body = rest.trim_start_matches(['-', '+']);
        let signs = rest.len() - body.len();
        let mut end =
            body.find(|c: char| !(c.is_ascii_alphanumeric() || "_#".contains(c))).unwrap_or(body.len());
        // A dot is part of the number only before a digit; else it ends the file's term.
        let fraction =
            body[end..].strip_prefix('.').filter(|tail| tail.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(tail) = fraction {
            let mut last = ' ';
            let more = tail.find(|c: char| {
                let part = c.is_ascii_alphanumeric() || c == '_' || ("+-".contains(c) && "eE".contains(last));
                last = c;
                !part
            });
            end += 1 + more.unwrap_or(tail.len());
        }
        let digits = body[..end].replace('_', "");
        let negative = rest[..signs].matches('-').count() % 2 == 1;
        let parsed = if fraction.is_some() {
            digits.parse().ok().map(|number: f64| Term::Float(if negative { -number } else { number }))
        } else {
            let parsed = match digits.split_once('#') {
                Some((base, digits)) => base
                    .parse()
                    .ok()
                    .filter(|base| (2..=36).contains(base))
                    .and_then(|base| i64::from_str_radix(digits, base).ok()),
                None => digits.parse().ok(),
            };
            parsed.map(|number: i64| Term::Int(if negative { -number } else { number }))
        };
        let term = parsed.ok_or_else(|| self.error("this is no number"))?;
        self.at += signs + end;
        Ok(term)
    }

    fn binary(&mut self) -> Result<Term> {
        self.eat("<<");
        let mut numbers = Vec::new();
        let mut text = None;
        loop {
            self.skip();
            if self.eat(">>") {
                return Ok(text.map_or(Term::Binary(numbers), Term::Text));
            }
            match self.term()?.term {
                Term::Int(number) => numbers.push(number),
                Term::Text(part) => text.get_or_insert_with(String::new).push_str(&part),
                _ => return Err(self.error("a number or text was expected in `<<…>>`")),
            }
            // `:size/type-list` says how, not what.
            let rest = self.rest();
            let end =
                rest.find(|c: char| !(c.is_alphanumeric() || ":/-_ ".contains(c))).unwrap_or(rest.len());
            self.at += end;
            if !self.eat(",") && !self.rest().starts_with(">>") {
                return Err(self.error("`,` or `>>` was expected"));
            }
        }
    }
}
