//! The editor: sets one option where it is decided, and leaves every other byte alone.

use std::fmt;

use super::read::{self, Entry, File, read};
use super::value::escape;
use crate::error::Diagnostic;

/// A file after an edit.
#[derive(Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole new file.
    pub bytes: Vec<u8>,
    /// Line of the option in the new file, from 1.
    pub line: usize,
    /// The value before, as the parser returns it; `None` when the file did not set it.
    pub before: Option<String>,
    /// The value after, as the parser returns it.
    pub after: String,
    /// The key that was written: the option's own, or the deprecated one that decided.
    pub key: String,
}

/// Files hold passwords.
impl fmt::Debug for Edited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edited").field("line", &self.line).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why a file was not edited. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// oslo.config cannot read the file as it is.
    #[error("{0}")]
    Unreadable(Diagnostic),
    /// No spelling in an oslo.config file gives this value.
    #[error("the value cannot be written: {0}")]
    Value(&'static str),
    /// The group or key cannot be written.
    #[error("the name cannot be written: {0}")]
    Name(&'static str),
    /// Reading the edited file back did not give the value; a bug, caught before it does harm.
    #[error("the edited file does not give the value back")]
    NoEffect,
}

/// Sets `key` of `group` to `value` (the value the service shall see: `$` is escaped, blanks are quoted) in
/// the file `bytes`, in the place that decides within this file: the last occurrence of the current name,
/// else of the first of `deprecated` (as (group, key)) that occurs; else a new line in the last section of
/// that name, else a new section at the end.
pub fn set(
    path: &str,
    bytes: &[u8],
    group: &str,
    key: &str,
    value: &str,
    deprecated: &[(&str, &str)],
) -> Result<Edited, Refusal> {
    set_parsed(path, bytes, group, key, &escape(value), deprecated)
}

/// The same with a value as the parser returns it, substitution left in force: `$my_ip` stays a reference.
pub fn set_parsed(
    path: &str,
    bytes: &[u8],
    group: &str,
    key: &str,
    value: &str,
    deprecated: &[(&str, &str)],
) -> Result<Edited, Refusal> {
    let file = read(path, bytes).map_err(Refusal::Unreadable)?;
    check_names(group, key)?;
    let spelled = spell(value)?;
    let names = || std::iter::once((group, key)).chain(deprecated.iter().copied());
    let decides = names().find_map(|(group, key)| file.last_entry(group, key));
    let (text, line, written, before) = if let Some(entry) = decides {
        if entry.value == spelled.parsed {
            let (line, before, after) = (entry.line, Some(entry.value.clone()), entry.value.clone());
            return Ok(Edited { bytes: bytes.to_vec(), line, before, after, key: entry.key.clone() });
        }
        (file.replace(entry, &spelled.text), entry.line, entry.key.clone(), Some(entry.value.clone()))
    } else {
        let (text, line) = file.insert(group, key, &spelled.text);
        (text, line, key.to_owned(), None)
    };
    let again = read(path, text.as_bytes()).map_err(|_| Refusal::NoEffect)?;
    let after = names()
        .find_map(|(group, key)| again.last_entry(group, key))
        .filter(|entry| entry.line == line && entry.value == spelled.parsed)
        .map(|entry| entry.value.clone())
        .ok_or(Refusal::NoEffect)?;
    Ok(Edited { bytes: text.into_bytes(), line, before, after, key: written })
}

struct Spelled {
    /// What is written after the `=`.
    text: String,
    /// What the parser makes of it.
    parsed: String,
}

fn spell(parsed: &str) -> Result<Spelled, Refusal> {
    if parsed.contains(['\n', '\r']) {
        return Err(Refusal::Value("it has a line break"));
    }
    // Blanks at the ends and a pair of quotes survive in quotes only.
    let bare = read::unquote(parsed.trim_matches(read::blank)) == parsed;
    let text = if bare { parsed.to_owned() } else { format!("\"{parsed}\"") };
    Ok(Spelled { text, parsed: parsed.to_owned() })
}

fn check_names(group: &str, key: &str) -> Result<(), Refusal> {
    if group.is_empty() || group.contains(['\n', '\r']) || group.ends_with(read::blank) {
        return Err(Refusal::Name("the group is empty, has a line break or ends with a blank"));
    }
    if key.is_empty() || key.contains(['\n', '\r', '=', ':']) || key.trim_matches(read::blank) != key {
        return Err(Refusal::Name("the key is empty, or has a line break, `=`, `:` or outer blanks"));
    }
    if key.starts_with(['[', '#', ';']) {
        return Err(Refusal::Name("the key begins like a section or a comment"));
    }
    Ok(())
}

impl File {
    fn last_entry(&self, group: &str, key: &str) -> Option<&Entry> {
        let group = super::group_name(group);
        self.entries.iter().rev().find(|entry| entry.key == key && entry.group() == group)
    }

    /// The ending most lines have; `\n` when there is none.
    fn line_ending(&self) -> &'static str {
        let crlf = self.lines.iter().filter(|span| span.next - span.end == 2).count();
        let ended = self.lines.iter().filter(|span| span.next > span.end).count();
        if crlf * 2 > ended { "\r\n" } else { "\n" }
    }

    /// The text with another value for `entry`, its continuation lines gone.
    fn replace(&self, entry: &Entry, value: &str) -> String {
        let first = self.lines[entry.line - 1];
        let last = self.lines[entry.last_line - 1];
        let raw = &self.text[first.start..first.end];
        let sign = raw.find([':', '=']).expect("an entry has a delimiter");
        let after = &raw[sign + 1..];
        let lead = after.len() - after.trim_start_matches([' ', '\t']).len();
        let before = &self.text[..first.start + sign + 1 + lead];
        format!("{before}{value}{}", &self.text[last.end..])
    }

    /// The text with a new option in `group`, and the option's line number: below the comment that shows
    /// its default, else below the last option of the group's last section, else in a new section.
    fn insert(&self, group: &str, key: &str, value: &str) -> (String, usize) {
        let ending = self.line_ending();
        let option = format!("{key} = {value}");
        let wanted = super::group_name(group);
        let ranges: Vec<_> = (0..self.sections.len())
            .filter(|at| super::group_name(&self.sections[*at].name) == wanted)
            .map(|at| {
                let next = self.sections.get(at + 1).map_or(self.lines.len() + 1, |next| next.line);
                self.sections[at].line..next
            })
            .collect();
        let Some(section) = ranges.last() else {
            let mut text = self.text.clone();
            let mut line = self.lines.len() + 2;
            if let Some(last) = self.lines.last() {
                if last.next == last.end {
                    text.push_str(ending);
                }
                if last.end > last.start {
                    // Behind a lone `\r`, a `\n` would only complete it to one line ending.
                    text.push_str(if text.ends_with('\r') { "\r" } else { ending });
                    line += 1;
                }
            }
            for part in ["[", group, "]", ending, option.as_str(), ending] {
                text.push_str(part);
            }
            return (text, line);
        };
        let commented = ranges.iter().rev().flat_map(|range| range.clone().rev());
        let default = commented.clone().find(|line| self.shows_default(*line, key));
        let last_option = self.entries.iter().map(|entry| entry.last_line);
        let last_option = last_option.filter(|line| section.contains(line)).max();
        let above = default.or(last_option).unwrap_or(section.start);
        let span = self.lines[above - 1];
        let (before, after) = self.text.split_at(span.next);
        let text = if span.next == span.end {
            // The last line of a file without a final newline, which it still lacks afterwards.
            format!("{before}{ending}{option}")
        } else {
            format!("{before}{option}{ending}{after}")
        };
        (text, above + 1)
    }

    /// Whether this line is the sample file's `#key = default`.
    fn shows_default(&self, line: usize, key: &str) -> bool {
        let span = self.lines[line - 1];
        let Some(comment) = self.text[span.start..span.end].strip_prefix(['#', ';']) else { return false };
        comment.split_once(['=', ':']).is_some_and(|(name, _)| name.trim() == key)
    }
}
