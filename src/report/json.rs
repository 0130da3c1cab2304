//! `--format json`, and its schema.

use schemars::{Schema, schema_for};

use super::{Report, Style};

/// A report as JSON, two blanks deep, with a line ending.
pub(super) fn write(report: &Report, _style: Style) -> String {
    as_json(report)
}

/// The same for a record.
pub fn as_json(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has string keys and finite numbers");
    text.push('\n');
    text
}

/// The JSON schema of a report; the published copy is `schema/report-1.0.json`.
pub fn schema() -> Schema {
    schema_for!(Report)
}

#[cfg(test)]
mod tests {
    /// Run with `TRUEUP_UPDATE=1` to write the schema anew after a change of the report.
    #[test]
    fn the_published_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/report-1.0.json");
        let current = format!("{}\n", serde_json::to_string_pretty(&super::schema()).unwrap());
        if std::env::var_os("TRUEUP_UPDATE").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap();
        assert!(published == current, "schema/report-1.0.json is stale: TRUEUP_UPDATE=1 cargo test schema");
    }
}
