//! Lines of prose: wrapping, counting, colour.

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

/// `text` in lines of at most `width` characters, broken at blanks; a longer word has a line of its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let length = line.chars().count();
            if length > 0 && length + 1 + word.chars().count() > width {
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

/// `label` in a column of `indent` characters, and `text` wrapped beside it.
pub fn beside(label: &str, text: &str, indent: usize, width: usize) -> String {
    let mut block = String::new();
    for (number, line) in wrap(text, width.saturating_sub(indent)).iter().enumerate() {
        let lead = if number == 0 { label } else { "" };
        block.push_str(&format!("{lead:<indent$}{line}"));
        block.push('\n');
    }
    block
}

/// Names of hosts in one line: `ctl1, ctl2, ctl3`, and beyond five `ctl1, ctl2, ctl3 and 47 more`.
pub fn names(hosts: &[&str]) -> String {
    const SHOWN: usize = 5;
    if hosts.len() <= SHOWN {
        return hosts.join(", ");
    }
    format!("{} and {} more", hosts[..SHOWN - 2].join(", "), hosts.len() - (SHOWN - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks_only() {
        let check =
            |text: &str, width: usize, lines: &[&str]| assert_eq!(wrap(text, width), lines, "{text:?}");
        check("", 10, &[]);
        check("one two three", 7, &["one two", "three"]);
        check("one  two", 80, &["one two"]);
        check("/a/very/long/path is", 6, &["/a/very/long/path", "is"]);
        check("one\ntwo", 80, &["one", "two"]);
        check("fünf fünf", 4, &["fünf", "fünf"]);
    }

    #[test]
    fn many_names_are_cut_short() {
        assert_eq!(names(&["a", "b", "c", "d", "e"]), "a, b, c, d, e");
        assert_eq!(names(&["a", "b", "c", "d", "e", "f"]), "a, b, c and 3 more");
    }

    #[test]
    fn without_colour_there_is_no_escape() {
        assert_eq!(paint("x", Ink::Red, false), "x");
        assert_eq!(paint("x", Ink::Red, true), "\u{1b}[31mx\u{1b}[0m");
    }
}
