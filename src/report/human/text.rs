//! Lines of prose: wrapping, counting, joining, colour.

use crate::audit::Severity;

/// A colour; the word it is on says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// It is wrong.
    Red,
    /// It wants attention.
    Yellow,
    /// It is well.
    Green,
    /// It is less important.
    Faint,
    /// A heading.
    Bold,
}

/// `text` in `ink`, or plain.
pub fn paint(text: &str, ink: Ink, colour: bool) -> String {
    let code = match ink {
        Ink::Red => "31",
        Ink::Yellow => "33",
        Ink::Green => "32",
        Ink::Faint => "2",
        Ink::Bold => "1",
    };
    if colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// The colour of a severity.
pub fn ink(severity: Severity) -> Ink {
    match severity {
        Severity::Critical => Ink::Red,
        Severity::Warning => Ink::Yellow,
        Severity::Info => Ink::Faint,
    }
}

/// `1 host`, `2 hosts`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `a`, `a and b`, `a, b and c`.
pub fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Columns of a text that has no escapes.
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// `text` in lines of at most `columns` characters, broken at blanks, but not between a number and its unit, round
/// an arrow, or within a short command in backticks. A longer word is broken after `-`, `_` or `.`; a longer path
/// stays whole, so that it can be copied.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let words = words(paragraph);
        for word in words.iter().flat_map(|word| pieces(word, columns)) {
            if !line.is_empty() && width(&line) + 1 + width(word) > columns {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

/// The words of a line; what must not be torn apart is one of them.
fn words(line: &str) -> Vec<String> {
    /// Longer commands may be broken.
    const COMMAND: usize = 24;
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let unit = matches!(word.trim_end_matches([',', '.', ';', ':', ')']), "s" | "min" | "h" | "→");
        let joins = words.last().is_some_and(|last| {
            let after_number = last.ends_with(|letter: char| letter.is_ascii_digit());
            let in_command = last.matches('`').count() % 2 == 1 && width(last) + width(word) < COMMAND;
            (unit && after_number) || last.ends_with('→') || in_command
        });
        match words.last_mut().filter(|_| joins) {
            Some(last) => {
                last.push(' ');
                last.push_str(word);
            }
            None => words.push(word.to_owned()),
        }
    }
    words
}

/// A word that fits into `columns`, or its pieces, each as long as fits.
fn pieces(word: &str, columns: usize) -> Vec<&str> {
    if width(word) <= columns || word.contains(['/', ' ']) {
        return vec![word];
    }
    let mut found = Vec::new();
    let mut rest = word;
    while width(rest) > columns {
        let ends =
            rest.char_indices().enumerate().filter(|(_, (_, letter))| matches!(letter, '-' | '_' | '.'));
        let ends: Vec<(usize, usize)> = ends.map(|(column, (at, _))| (column + 1, at + 1)).collect();
        let fitting = ends.iter().rev().find(|(column, _)| *column <= columns).or(ends.first());
        let Some((_, end)) = fitting.filter(|(_, end)| *end < rest.len()) else { break };
        let (piece, more) = rest.split_at(*end);
        found.push(piece);
        rest = more;
    }
    found.push(rest);
    found
}

/// `label` in a column of `indent` characters, and `text` wrapped beside it.
pub fn beside(label: &str, text: &str, indent: usize, columns: usize) -> String {
    let mut block = String::new();
    for (number, line) in wrap(text, columns.saturating_sub(indent)).iter().enumerate() {
        let lead = if number == 0 { label } else { "" };
        block.push_str(&format!("{lead:<indent$}{line}"));
        block.push('\n');
    }
    block
}

/// Texts that differ in their last word alone, as one: `restart a` and `restart b` are `restart a, b`.
pub fn folded(texts: &[String]) -> String {
    let split = |text: &String| {
        let (head, last) = text.rsplit_once(' ')?;
        Some((head.to_owned(), last.to_owned()))
    };
    let parts: Option<Vec<_>> = texts.iter().map(split).collect();
    match parts {
        Some(parts) if texts.len() > 1 && parts.iter().all(|(head, _)| *head == parts[0].0) => {
            let last: Vec<&str> = parts.iter().map(|(_, last)| last.as_str()).collect();
            let head = &parts[0].0;
            // So that it can be pasted.
            let between = if head == "sysctl -w" { " " } else { ", " };
            format!("{head} {}", last.join(between))
        }
        _ => texts.join("; "),
    }
}

/// Clauses between semicolons that differ only in what stands before their colon, or only behind it, as one.
pub fn clauses(text: &str) -> String {
    let mut found: Vec<(Vec<&str>, &str)> = Vec::new();
    for clause in text.split("; ") {
        match clause.split_once(": ") {
            Some((head, rest)) => match found.iter_mut().find(|(_, known)| *known == rest) {
                Some((heads, _)) => heads.push(head),
                None => found.push((vec![head], rest)),
            },
            None => found.push((Vec::new(), clause)),
        }
    }
    let mut merged: Vec<(String, Vec<&str>)> = Vec::new();
    for (heads, rest) in found {
        let head = heads.join(", ");
        match merged.iter_mut().find(|(known, _)| *known == head && !head.is_empty()) {
            Some((_, rests)) => rests.push(rest),
            None => merged.push((head, vec![rest])),
        }
    }
    let texts = merged.iter().map(|(head, rests)| match head.as_str() {
        "" => rests.join("; "),
        head => format!("{head}: {}", rests.join(", ")),
    });
    texts.collect::<Vec<_>>().join("; ").replace(" -> ", " → ")
}

/// One text for several that differ in numbers alone, each number that differs as a range (`4-5 min`); `None`
/// where they differ in more.
pub fn ranged(texts: &[&str]) -> Option<String> {
    let split: Vec<Vec<&str>> = texts.iter().map(|text| numbers_apart(text)).collect();
    let first = split.first()?;
    if split.iter().any(|other| other.len() != first.len()) {
        return None;
    }
    let mut one = String::new();
    for (at, part) in first.iter().enumerate() {
        if split.iter().all(|other| other[at] == *part) {
            one.push_str(part);
            continue;
        }
        let values: Option<Vec<u64>> = split.iter().map(|other| other[at].parse().ok()).collect();
        let values = values?;
        one.push_str(&format!("{}-{}", values.iter().min()?, values.iter().max()?));
    }
    Some(one)
}

/// The runs of digits and of everything else, in turns.
fn numbers_apart(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|letter: char| letter.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (part, more) = rest.split_at(end);
        parts.push(part);
        rest = more;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_where_a_reader_expects_it() {
        let check =
            |text: &str, columns: usize, lines: &[&str]| assert_eq!(wrap(text, columns), lines, "{text:?}");
        check("", 10, &[]);
        check("one two three", 7, &["one two", "three"]);
        check("one  two", 80, &["one two"]);
        check("/a/very/long-path is", 6, &["/a/very/long-path", "is"]);
        check("one\ntwo", 80, &["one", "two"]);
        check("fünf fünf", 4, &["fünf", "fünf"]);
        check("detection-window", 10, &["detection-", "window"]);
        check("heartbeat_timeout_threshold", 18, &["heartbeat_timeout_", "threshold"]);
        check("unbreakable", 4, &["unbreakable"]);
        check("a.b-cdefgh", 4, &["a.b-", "cdefgh"]);
        check("ends-", 4, &["ends-"]);
        check("up to 19 min, so", 8, &["up to", "19 min,", "so"]);
        check("key 60 → 5, more", 8, &["key", "60 → 5,", "more"]);
        check("say `trueup plan` now", 8, &["say", "`trueup plan`", "now"]);
    }

    #[test]
    fn texts_that_differ_little_become_one() {
        let check = |texts: &[&str], expected: &str| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(folded(&texts), expected);
        };
        check(&[], "");
        check(&["restart a"], "restart a");
        check(&["restart a", "restart b"], "restart a, b");
        check(&["restart a", "write b"], "restart a; write b");
        check(&["one", "two"], "one; two");
        check(&["sysctl -w a=1", "sysctl -w b=2"], "sysctl -w a=1 b=2");
    }

    #[test]
    fn clauses_with_the_same_end_become_one() {
        let check = |text: &str, expected: &str| assert_eq!(clauses(text), expected);
        check("a: t 0 -> 15; b: t 0 -> 15; not covered: x", "a, b: t 0 → 15; not covered: x");
        check("set a and restart", "set a and restart");
        check("hosts: a 1 -> 2; hosts: b 3 -> 4; c", "hosts: a 1 → 2, b 3 → 4; c");
    }

    #[test]
    fn numbers_that_differ_become_a_range() {
        let check = |texts: &[&str], expected: Option<&str>| {
            assert_eq!(ranged(texts).as_deref(), expected, "{texts:?}");
        };
        check(&["up to 17 s"], Some("up to 17 s"));
        check(&["up to 17 s", "up to 25 s", "up to 20 s"], Some("up to 17-25 s"));
        check(&["16 of 18, 3 s", "16 of 20, 5 s"], Some("16 of 18-20, 3-5 s"));
        check(&["4 min", "4 h"], None);
        check(&["off", "15"], None);
        check(&["a 1", "a 1 2"], None);
    }

    #[test]
    fn lists_read_as_sentences() {
        let check = |items: &[&str], expected: &str| {
            let items: Vec<String> = items.iter().map(|item| (*item).to_owned()).collect();
            assert_eq!(listed(&items), expected);
        };
        check(&[], "");
        check(&["a"], "a");
        check(&["a", "b"], "a and b");
        check(&["a", "b", "c"], "a, b and c");
    }

    #[test]
    fn without_colour_there_is_no_escape() {
        assert_eq!(paint("x", Ink::Red, false), "x");
        assert_eq!(paint("x", Ink::Red, true), "\u{1b}[31mx\u{1b}[0m");
    }
}
