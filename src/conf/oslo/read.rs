//! One file as oslo.config's `ConfigParser` reads it (oslo.config 10.7.0, `iniparser.py` and
//! `cfg.ConfigParser`), with the place of everything kept.
//!
//! The rules, all of which differ from common INI readers:
//! - comments start in column 1 only (`#` or `;`); nothing after a value is a comment;
//! - a line that starts with a blank or tab continues the value above it, whatever it holds;
//! - a blank line or a comment ends the value;
//! - the first `:` or `=` splits key from value;
//! - one pair of equal quotes round the first line of the value is dropped, backslashes stay;
//! - sections may repeat, keys may repeat, every occurrence is kept.

use crate::error::{Diagnostic, Place, Result};

/// A parsed file: its text, untouched, and every section and assignment in it.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Path as the caller knows it.
    pub path: String,
    /// The whole text.
    pub(super) text: String,
    /// Byte span of each line, its ending excluded and included.
    pub(super) lines: Vec<Span>,
    /// Section headers in order, repeated ones included.
    pub sections: Vec<Section>,
    /// Assignments in order, repeated ones included.
    pub entries: Vec<Entry>,
}

/// Files hold passwords, so only their size is shown.
impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({}, {} lines, {} options)", self.path, self.lines.len(), self.entries.len())
    }
}

/// Where a line lies in the text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: usize,
    /// Before the line ending.
    pub end: usize,
    /// After the line ending.
    pub next: usize,
}

/// A `[header]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The name between the brackets, blanks and case kept.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
}

/// A `key = value`, continuation lines included.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The section's name as written.
    pub section: String,
    /// Key, case kept.
    pub key: String,
    /// The value as oslo.config's parser returns it: before substitution and type conversion.
    pub value: String,
    /// Line of the key, from 1.
    pub line: usize,
    /// Last line of the value; equal to `line` without continuation.
    pub last_line: usize,
}

/// Values may be passwords, so they are masked where the key says so.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = crate::conf::secret::mask_value(&self.key, &self.value);
        write!(f, "[{}] {} = {value:?} (line {})", self.section, self.key, self.line)
    }
}

impl Entry {
    /// The group an option is looked up in: names are case-insensitive except `DEFAULT`
    /// (`cfg._normalize_group_name`).
    pub fn group(&self) -> String {
        group_name(&self.section)
    }
}

/// A section's name as oslo.config compares it.
pub fn group_name(section: &str) -> String {
    if section == "DEFAULT" { section.to_owned() } else { section.to_lowercase() }
}

/// Reads `bytes` as the file `path`. An error is what stops the service from starting: bad UTF-8, a key
/// outside any section, a continuation without a value above it, a line without `=` or `:`, an empty key
/// or an unfinished section header.
pub fn read(path: &str, bytes: &[u8]) -> Result<File> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(error) => return Err(not_utf8(path, bytes, error.valid_up_to())),
    };
    let lines = split(&text);
    let mut reader =
        Reader { path, text: &text, section: None, open: None, sections: vec![], entries: vec![] };
    for (index, span) in lines.iter().enumerate() {
        reader.line(index + 1, &text[span.start..span.end])?;
    }
    reader.flush()?;
    let (sections, entries) = (reader.sections, reader.entries);
    Ok(File { path: path.to_owned(), text, lines, sections, entries })
}

struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    section: Option<String>,
    open: Option<Entry>,
    sections: Vec<Section>,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, raw: &str) -> Result<()> {
        let line = raw.trim_end_matches(blank);
        if line.is_empty() {
            return self.flush();
        }
        if line.starts_with([' ', '\t']) {
            let Some(entry) = &mut self.open else {
                return Err(self
                    .error(number, "unexpected continuation line")
                    .label("begins with a blank, so it continues a value, and there is none above")
                    .hint("remove the blanks in front, or the blank line or comment above it"));
            };
            entry.value.push('\n');
            entry.value.push_str(line.trim_start_matches(blank));
            entry.last_line = number;
            return Ok(());
        }
        self.flush()?;
        if line.starts_with('[') {
            if !line.ends_with(']') {
                return Err(self
                    .error(number, "the section header does not end with `]`")
                    .hint("nothing may follow the `]`, a comment neither"));
            }
            if line.len() <= 2 {
                return Err(self.error(number, "empty section name"));
            }
            let name = line[1..line.len() - 1].to_owned();
            self.sections.push(Section { name: name.clone(), line: number });
            self.section = Some(name);
            return Ok(());
        }
        if line.starts_with(['#', ';']) {
            return Ok(());
        }
        let Some(at) = line.find([':', '=']) else {
            let error = self.error(number, "no `=` or `:` in this line");
            return Err(if line.starts_with('\u{feff}') {
                error.label("begins with a byte order mark").hint("save the file as UTF-8 without BOM")
            } else {
                error
            });
        };
        let key = line[..at].trim_matches(blank);
        if key.is_empty() {
            return Err(self.error(number, "the key is empty"));
        }
        self.open = Some(Entry {
            section: self.section.clone().unwrap_or_default(),
            key: key.to_owned(),
            value: unquote(line[at + 1..].trim_matches(blank)).to_owned(),
            line: number,
            last_line: number,
        });
        Ok(())
    }

    /// Ends the value being read. oslo.config notices only here that no section was started.
    fn flush(&mut self) -> Result<()> {
        let Some(entry) = self.open.take() else { return Ok(()) };
        if self.section.is_none() {
            return Err(self
                .error(entry.line, "an option before any section")
                .hint("put it under a header such as `[DEFAULT]`"));
        }
        self.entries.push(entry);
        Ok(())
    }

    fn error(&self, number: usize, message: &str) -> Diagnostic {
        let mut place = Place::line(self.path, "", number);
        let mut lines = split(self.text).into_iter();
        let span = lines.nth(number - 1).expect("the line being read exists");
        let raw = &self.text[span.start..span.end];
        // A line that cannot be read may be half of a password.
        place.text = crate::conf::secret::mask_line(raw);
        place.column = 1 + raw.chars().take_while(|c| blank(*c)).count();
        place.length = place.text.trim().chars().count().max(1);
        Diagnostic::new(message).at(place)
    }
}

/// One pair of equal quotes round the value is dropped; a lone quote is its own pair.
pub(super) fn unquote(value: &str) -> &str {
    if value == "\"" || value == "'" {
        return "";
    }
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// What Python's `str.strip` strips: Unicode white space and the four ASCII separators.
pub(super) fn blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Lines as Python's text mode splits them: after `\n`, `\r\n` or a lone `\r`.
pub(super) fn split(text: &str) -> Vec<Span> {
    let bytes = text.as_bytes();
    let mut lines = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let end =
            bytes[start..].iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(bytes.len(), |n| start + n);
        let next = match bytes.get(end) {
            Some(b'\r') if bytes.get(end + 1) == Some(&b'\n') => end + 2,
            Some(_) => end + 1,
            None => end,
        };
        lines.push(Span { start, end, next });
        start = next;
    }
    lines
}

fn not_utf8(path: &str, bytes: &[u8], at: usize) -> Diagnostic {
    let before = std::str::from_utf8(&bytes[..at]).expect("valid up to here");
    let line = split(before).len().max(1) + usize::from(before.ends_with(['\n', '\r']) && !before.is_empty());
    let column = before.rsplit(['\n', '\r']).next().unwrap_or_default().chars().count() + 1;
    let mut place = Place::new(path, "", line, column, 1);
    place.text = " ".repeat(column);
    Diagnostic::new(format!("not UTF-8: byte 0x{:02x}", bytes[at])).at(place)
}
