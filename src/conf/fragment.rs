//! rust-ini as the second reader.
//!
//! It is a good common INI reader, so where it and oslo.config disagree about a text, people and other tools
//! read something else than the service does: in a template that is an error, in a host's file a finding
//! "ambiguous syntax". It never writes.

use std::fmt;

use indexmap::IndexMap;
use ini::{Ini, ParseOption};

use super::oslo::{self, Entry, File};
use super::secret::mask_value;
use crate::error::{Diagnostic, Place, Result};

/// An option that the two readers read differently.
#[derive(Clone, PartialEq, Eq)]
pub struct Ambiguity {
    /// Section as written; empty when the whole text is meant.
    pub group: String,
    /// Key; empty when the whole text is meant.
    pub key: String,
    /// Line of the option for oslo.config, or where rust-ini stopped.
    pub line: Option<usize>,
    /// What oslo.config reads, `None`: no such option.
    pub oslo: Option<String>,
    /// What rust-ini reads, `None`: no such option, or nothing at all.
    pub ini: Option<String>,
}

/// Values may be passwords.
impl fmt::Debug for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} (line {:?})", self.line)
    }
}

/// In words, passwords masked.
impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return f.write_str("common INI readers cannot read this, although oslo.config can");
        }
        let value = |value: &Option<String>| match value {
            Some(value) => format!("`{}`", mask_value(&self.key, value).replace('\n', "\\n")),
            None => "nothing".to_owned(),
        };
        let (group, key) = (&self.group, self.key.replace('\n', "\\n"));
        write!(
            f,
            "[{group}] {key}: oslo.config reads {}, a common INI reader {}",
            value(&self.oslo),
            value(&self.ini)
        )
    }
}

/// The options of a rendered fragment, in order: the answer of both readers. A fragment that they read
/// differently is an error with its place.
pub fn fragment(name: &str, text: &str) -> Result<Vec<Entry>> {
    let file = oslo::read(name, text.as_bytes())?;
    match differences(&file, text).into_iter().next() {
        None => Ok(file.entries),
        Some(found) => {
            let mut error = Diagnostic::new(format!("ambiguous syntax: {found}"));
            if let Some(line) = found.line {
                let mut place = Place::line(name, text, line);
                place.text = super::secret::mask_line(&place.text);
                error = error.at(place);
            }
            Err(error
                .hint("write one `key = value` a line, without indentation, trailing `\\` or lone quotes"))
        }
    }
}

/// Where the readers disagree about a host's file; an error where oslo.config cannot read it at all.
/// Only what changes the outcome counts: of repeated keys both keep every value.
pub fn cross_check(path: &str, bytes: &[u8]) -> Result<Vec<Ambiguity>> {
    let file = oslo::read(path, bytes)?;
    let text = std::str::from_utf8(bytes).expect("oslo.config reads UTF-8 only");
    Ok(differences(&file, text))
}

fn differences(file: &File, text: &str) -> Vec<Ambiguity> {
    let options = ParseOption {
        enabled_quote: true,
        enabled_escape: false,
        enabled_indented_mutiline_value: true,
        ..ParseOption::default()
    };
    // Its line breaks inside values double where lines end with `\r\n`: an artefact, not a doubt.
    let read = Ini::load_from_str_opt(&text.replace("\r\n", "\n"), options);
    let ini = match read {
        Ok(ini) => ini,
        Err(error) => {
            return vec![Ambiguity {
                group: String::new(),
                key: String::new(),
                line: Some(error.line.max(1)),
                oslo: None,
                ini: None,
            }];
        }
    };
    let mut options: IndexMap<(&str, &str), Readings<'_>> = IndexMap::new();
    for entry in &file.entries {
        options.entry((&entry.section, &entry.key)).or_default().oslo.push(entry);
    }
    for (section, properties) in &ini {
        for (key, value) in properties {
            options.entry((section.unwrap_or_default(), key)).or_default().ini.push(value);
        }
    }
    options.into_iter().filter_map(|((group, key), readings)| readings.compare(group, key)).collect()
}

/// Every value of one option, in order.
#[derive(Default)]
struct Readings<'a> {
    oslo: Vec<&'a Entry>,
    ini: Vec<&'a str>,
}

impl Readings<'_> {
    /// The first difference.
    fn compare(&self, group: &str, key: &str) -> Option<Ambiguity> {
        let alike =
            self.oslo.iter().zip(&self.ini).take_while(|(entry, value)| entry.value == **value).count();
        let (entry, value) = (self.oslo.get(alike), self.ini.get(alike));
        if entry.is_none() && value.is_none() {
            return None;
        }
        Some(Ambiguity {
            group: group.to_owned(),
            key: key.to_owned(),
            line: entry.or(self.oslo.last()).map(|entry| entry.line),
            oslo: entry.map(|entry| entry.value.clone()),
            ini: value.map(|value| (*value).to_owned()),
        })
    }
}
