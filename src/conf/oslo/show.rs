//! What `trueup config` prints: every occurrence with its place.

use indexmap::IndexMap;
use serde::Serialize;

use super::{Config, Source, group_name};
use crate::conf::secret;

/// One occurrence in the JSON.
#[derive(Debug, Serialize)]
struct Value<'a> {
    value: &'a str,
    source: String,
}

/// An option's values with their places, in reading order.
type Options<'a> = IndexMap<&'a str, Vec<(&'a str, Source)>>;

/// `{"sections": {SECTION: {KEY: [{"value", "source"}, …]}}}`: every occurrence in reading order, section
/// names as written, values exactly as oslo.config's own parser returns them. **Secrets included**: the
/// answer is meant for comparing, byte for byte.
pub fn json(config: &Config) -> serde_json::Value {
    let mut sections: IndexMap<&str, IndexMap<&str, Vec<Value<'_>>>> = IndexMap::new();
    for file in config.files() {
        for section in &file.sections {
            sections.entry(&section.name).or_default();
        }
        for entry in &file.entries {
            let values = sections.entry(&entry.section).or_default().entry(&entry.key).or_default();
            values.push(Value { value: &entry.value, source: format!("{}:{}", file.path, entry.line) });
        }
    }
    serde_json::json!({ "sections": sections })
}

/// For people: each option once, with the value that wins and its place, what it overrides below it, and
/// passwords masked.
pub fn text(config: &Config) -> String {
    let mut groups: IndexMap<String, Options<'_>> = IndexMap::new();
    for file in config.files() {
        for section in &file.sections {
            groups.entry(group_name(&section.name)).or_default();
        }
        for entry in &file.entries {
            let source = Source::File { path: file.path.clone(), line: entry.line };
            let values = groups.entry(entry.group()).or_default().entry(&entry.key).or_default();
            values.push((&entry.value, source));
        }
    }
    let mut text = String::new();
    for (group, options) in &groups {
        text.extend(["[", group, "]\n"]);
        for (key, occurrences) in options {
            for (rank, (value, source)) in occurrences.iter().rev().enumerate() {
                let shown = secret::mask_value(key, value).replace('\n', "\\n");
                let line = if rank == 0 {
                    format!("{key} = {shown}  # {source}\n")
                } else {
                    format!("  # overrides {shown}, {source}\n")
                };
                text.push_str(&line);
            }
        }
        text.push('\n');
    }
    text.truncate(text.trim_end_matches('\n').len() + usize::from(!text.is_empty()));
    text
}
