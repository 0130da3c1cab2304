//! rabbitmq.conf and conf.d: cuttlefish's format (cuttlefish 3.6.0, `conf_parse.peg`).

use crate::error::{Diagnostic, Place, Result};

/// A line that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// `key = value`.
    Setting(Setting),
    /// `include PATTERN`, relative to the file's folder.
    Include {
        /// The pattern as written.
        pattern: String,
        /// Line, from 1.
        line: usize,
    },
}

/// `key = value` with its line.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key, words joined by dots.
    pub key: String,
    /// The value: the text up to the first `#`, blanks at its ends removed, or what stands in quotes.
    pub value: String,
    /// Line, from 1.
    pub line: usize,
}

/// Values may be passwords.
impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = crate::conf::secret::mask_value(&self.key, &self.value);
        write!(f, "{} = {value:?} (line {})", self.key, self.line)
    }
}

/// Reads `text` as the file `path`. One line that does not parse keeps the node from starting.
///
/// Values in single quotes are a cuttlefish 3.3.0 feature (RabbitMQ 4.0); older nodes keep the quotes.
pub fn parse(path: &str, text: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut lines = text.split('\n').enumerate();
    while let Some((index, raw)) = lines.next() {
        let number = index + 1;
        let line = raw.strip_suffix('\r').unwrap_or(raw).trim_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |message: &str| {
            let mut place = Place::line(path, text, number);
            place.text = crate::conf::secret::mask_line(&place.text);
            Diagnostic::new(message).at(place)
        };
        if let Some(pattern) = line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            let pattern = pattern.split('#').next().unwrap_or_default().trim();
            items.push(Item::Include { pattern: pattern.to_owned(), line: number });
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(error("no `=` in this line"));
        };
        let key = key.trim_end_matches([' ', '\t']);
        let word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        };
        if !key.replace("\\.", "_").split('.').all(word) {
            return Err(error("the key is not of letters, digits, `_` and `-` joined by dots"));
        }
        let value = value.trim_start_matches([' ', '\t']);
        let value = match ["'''", "'"].into_iter().find(|quote| value.starts_with(quote)) {
            Some(quote) => {
                let mut body = value[quote.len()..].to_owned();
                while !body.contains(quote) {
                    let Some((_, more)) = lines.next() else { return Err(error("the quote is not closed")) };
                    body.push('\n');
                    body.push_str(more);
                }
                let (inner, after) = body.split_once(quote).expect("the quote was just found");
                let after = after.trim();
                if !after.is_empty() && !after.starts_with('#') {
                    return Err(error("only a comment may follow the closing quote"));
                }
                inner.trim_matches(['\n', '\r', '\'']).to_owned()
            }
            None => value.split('#').next().unwrap_or_default().trim_end_matches([' ', '\t']).to_owned(),
        };
        if value.is_empty() {
            return Err(error("the value is empty"));
        }
        items.push(Item::Setting(Setting { key: key.replace("\\.", "."), value, line: number }));
    }
    Ok(items)
}
