//! Lines cut into words: as Python's `shlex.split(comments=True)` does for INI host lines, and as
//! ansible-core's `parsing/splitter.py` does for `-e key=value` arguments.

use std::iter::Peekable;
use std::str::Chars;

/// Why a line could not be cut, and at which character (from 0).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced {
    pub what: &'static str,
    pub at: usize,
}

/// A word and the character (from 0) at which it starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    pub at: usize,
}

/// The words of one line; quotes group, a backslash escapes, `#` starts a comment anywhere outside
/// of quotes.
pub(super) fn shell_split(line: &str) -> Result<Vec<Word>, Unbalanced> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut chars = line.chars().enumerate();
    while let Some((at, c)) = chars.next() {
        match c {
            '#' => break,
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => {
                let (_, escaped) = chars.next().ok_or(Unbalanced { what: "no character after `\\`", at })?;
                word.get_or_insert_with(|| Word { text: String::new(), at }).text.push(escaped);
            }
            '"' | '\'' => {
                let text = &mut word.get_or_insert_with(|| Word { text: String::new(), at }).text;
                loop {
                    let open = Unbalanced { what: "this quote is never closed", at };
                    let (_, inner) = chars.next().ok_or(open)?;
                    match inner {
                        _ if inner == c => break,
                        '\\' if c == '"' => {
                            let open = Unbalanced { what: "this quote is never closed", at };
                            let (_, escaped) = chars.next().ok_or(open)?;
                            if escaped != '\\' && escaped != '"' {
                                text.push('\\');
                            }
                            text.push(escaped);
                        }
                        _ => text.push(inner),
                    }
                }
            }
            _ => word.get_or_insert_with(|| Word { text: String::new(), at }).text.push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// What opens and closes a Jinja block.
const BLOCKS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];

/// `-e` arguments: words at spaces, but never inside quotes or `{{ }}`, `{% %}`, `{# #}`.
/// `None` when quotes or blocks are unbalanced.
fn split_args(text: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut quote: Option<char> = None;
    let mut depths = [0usize; 3];
    let lines: Vec<&str> = text.split('\n').collect();
    for (line_number, line) in lines.iter().enumerate() {
        let mut continued = false;
        for (index, token) in line.split(' ').enumerate() {
            if token.is_empty() && index != 0 {
                match words.last_mut() {
                    Some(last) => last.push(' '),
                    None => words.push(" ".to_owned()),
                }
                continue;
            }
            if token == "\\" && quote.is_none() {
                continued = true;
                continue;
            }
            let was_quoted = quote.is_some();
            quote = quote_after(token, quote);
            let in_block = depths.iter().any(|depth| *depth > 0);
            let mut appended = false;
            if quote.is_some() && !was_quoted && !in_block {
                words.push(token.to_owned());
                appended = true;
            } else if in_block || quote.is_some() || was_quoted {
                let spacer = if index > 0 { " " } else { "" };
                let last = words.last_mut()?;
                last.push_str(spacer);
                last.push_str(token);
                appended = true;
            }
            for (depth, (open, close)) in depths.iter_mut().zip(BLOCKS) {
                let (opened, closed) = (token.matches(open).count(), token.matches(close).count());
                let after = (*depth + opened).saturating_sub(closed);
                if after != *depth && !appended {
                    words.push(token.to_owned());
                    appended = true;
                }
                *depth = after;
            }
            if depths == [0; 3] && quote.is_none() && !appended && !token.is_empty() {
                words.push(token.to_owned());
            }
        }
        if line_number + 1 != lines.len() && !continued {
            match words.last_mut() {
                Some(last) => last.push('\n'),
                None => words.push("\n".to_owned()),
            }
        }
    }
    (depths == [0; 3] && quote.is_none()).then_some(words)
}

/// Which quote is open after `token`, when `open` was before it.
fn quote_after(token: &str, mut open: Option<char>) -> Option<char> {
    let mut previous = None;
    for c in token.chars() {
        if (c == '"' || c == '\'') && previous != Some('\\') {
            match open {
                Some(quote) if quote == c => open = None,
                Some(_) => {}
                None => open = Some(c),
            }
        }
        previous = Some(c);
    }
    open
}

/// A key and its value.
pub(super) type Pair = (String, String);

/// The pairs of a `key=value key2='value 2'` text, and the words without an `=`.
/// `None` when quotes or Jinja blocks are unbalanced.
pub(super) fn key_values(text: &str) -> Option<(Vec<Pair>, Vec<String>)> {
    let mut pairs = Vec::new();
    let mut loose = Vec::new();
    for raw in split_args(text)? {
        let word = decode_escapes(&raw);
        let bytes = word.as_bytes();
        // The first `=` that is neither the first character nor escaped.
        let split = (1..bytes.len()).find(|&at| bytes[at] == b'=' && bytes[at - 1] != b'\\');
        match split {
            Some(at) => {
                pairs.push((word[..at].trim().to_owned(), unquote(word[at + 1..].trim()).to_owned()));
            }
            None if word.contains('=') => loose.push(word.replace("\\=", "=")),
            None => loose.push(raw),
        }
    }
    Some((pairs, loose))
}

/// The text without the quotes round it, if they are a pair and the last one is not escaped.
fn unquote(text: &str) -> &str {
    let quoted = text.len() > 1
        && (text.starts_with('"') || text.starts_with('\''))
        && text.chars().next() == text.chars().last()
        && !text[..text.len() - 1].ends_with('\\');
    if quoted { &text[1..text.len() - 1] } else { text }
}

/// Python's escapes (`\n`, `\x41`, `A` …) replaced; what is no escape stays.
fn decode_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let digits = match chars.peek() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some(next) => {
                if let Some(escaped) = simple_escape(*next) {
                    chars.next();
                    out.push(escaped);
                } else {
                    out.push('\\');
                }
                continue;
            }
            None => {
                out.push('\\');
                continue;
            }
        };
        match code_point(&chars, digits) {
            Some(decoded) => {
                out.push(decoded);
                chars.nth(digits);
            }
            None => out.push('\\'),
        }
    }
    out
}

/// The character of `x41` or `u0041`, whose letter is the next character of `chars`.
fn code_point(chars: &Peekable<Chars<'_>>, digits: usize) -> Option<char> {
    let hex: String = chars.clone().skip(1).take(digits).collect();
    if hex.len() != digits || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32)
}

/// Python's one-letter escapes.
pub(super) fn simple_escape(letter: char) -> Option<char> {
    Some(match letter {
        '\\' | '\'' | '"' => letter,
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_lines_split_as_in_python() {
        for (line, expected) in [
            ("web a=b", "web|a=b"),
            ("web  a='b c'  # note", "web|a=b c"),
            ("web a=b#c d", "web|a=b"),
            (r#"web a="x \"y\" \n""#, r#"web|a=x "y" \n"#),
            (r"web a=x\ y", "web|a=x y"),
            ("web a=''", "web|a="),
            ("'' x", "|x"),
        ] {
            let words: Vec<String> = shell_split(line).unwrap().into_iter().map(|word| word.text).collect();
            assert_eq!(words.join("|"), expected, "{line}");
        }
        assert_eq!(shell_split("web a='b"), Err(Unbalanced { what: "this quote is never closed", at: 6 }));
        assert_eq!(shell_split("web \\"), Err(Unbalanced { what: "no character after `\\`", at: 4 }));
    }

    #[test]
    fn extra_variables_split_as_in_ansible() {
        for (text, expected) in [
            ("a=1 b=2", "a:1|b:2"),
            ("a='x y' b=\"z\"", "a:x y|b:z"),
            ("a={{ x }} b=1", "a:{{ x }}|b:1"),
            (r"a=x\ny", "a:x\ny"),
            (r"a\=b=c", r"a\=b:c"),
            ("a=", "a:"),
            ("a=b=c", "a:b=c"),
        ] {
            let (pairs, _) = key_values(text).unwrap();
            let shown: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            assert_eq!(shown.join("|"), expected, "{text}");
        }
        assert_eq!(key_values("a='x"), None);
        assert_eq!(key_values("a={{ x"), None);
        assert_eq!(key_values("word a=1").unwrap().1, ["word"]);
    }
}
