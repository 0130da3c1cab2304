//! The saved form of facts: one JSON document a host.

use serde::Deserialize;

use crate::error::{Diagnostic, Place, Result};
use crate::facts::{FORMAT_VERSION, Facts};
use crate::format_version::can_read;

/// The document of `facts`, secrets masked.
pub fn to_json(facts: &Facts) -> String {
    let mut text = serde_json::to_string_pretty(&facts.masked())
        .expect("facts hold only what JSON can say: keys are texts");
    text.push('\n');
    text
}

/// The facts in `text`, the content of `path`. Another major version of the format is refused, as is
/// everything that this version did not write.
pub fn from_json(path: &str, text: &str) -> Result<Facts> {
    #[derive(Deserialize)]
    struct Versioned {
        format_version: String,
    }
    let bad = |error: &serde_json::Error| {
        Diagnostic::new(format!("not saved facts: {error}"))
            .at(Place::new(path, text, error.line(), error.column(), 1))
            .hint("`trueup facts --save DIR` writes them")
    };
    let version = serde_json::from_str::<Versioned>(text).map_err(|error| bad(&error))?.format_version;
    if !can_read(FORMAT_VERSION, &version) {
        let line = text.lines().position(|line| line.contains("\"format_version\"")).map_or(1, |at| at + 1);
        return Err(Diagnostic::new(format!(
            "facts of format `{version}`; this trueup reads `{FORMAT_VERSION}`"
        ))
        .at(Place::line(path, text, line))
        .hint("save them again: `trueup facts --save DIR`"));
    }
    serde_json::from_str(text).map_err(|error| bad(&error))
}

/// A file name for a host of any name: letters, digits, `-`, `_` and inner dots stay, every other byte is
/// `%` and two hexadecimal digits; a name too long for a file is cut and told apart by its hash.
pub fn file_name(host: &str) -> String {
    use sha2::{Digest, Sha256};
    // A lone `%` is no byte of any other name.
    let mut name = if host.is_empty() { "%".to_owned() } else { String::new() };
    for (at, byte) in host.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && at > 0) {
            name.push(char::from(byte));
        } else {
            name.push('%');
            name.push_str(&hex::encode([byte]));
        }
    }
    if name.len() > 200 {
        let hash = hex::encode(Sha256::digest(host.as_bytes()));
        name.truncate(120);
        name.push('~');
        name.push_str(&hash);
    }
    name + ".json"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{FileFact, Process, Reading};

    #[test]
    fn every_host_has_a_safe_file_name_of_its_own() {
        let check = |host: &str, expected: &str| assert_eq!(file_name(host), expected, "{host}");
        check("ctl1", "ctl1.json");
        check("ctl1.example.org", "ctl1.example.org.json");
        check("../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd.json");
        check("", "%.json");
        check("a b", "a%20b.json");
        check("2001:db8::1", "2001%3adb8%3a%3a1.json");
        check("é", "%c3%a9.json");
        check("a%20b", "a%2520b.json");
        let long = "x".repeat(300);
        let other = format!("{}y", "x".repeat(299));
        assert!(file_name(&long).len() < 255);
        assert_ne!(file_name(&long), file_name(&other));
    }

    #[test]
    fn saved_facts_come_back_with_nothing_but_their_secrets_gone() {
        let mut facts = Facts { host: "ctl1".into(), hostname: "ctl1".into(), ..Facts::default() };
        let content = "[DEFAULT]\ntransport_url = rabbit://u:s3cret@a/\nrpc_response_timeout = 60\n";
        let file = FileFact { content: content.into(), sha256: "real".into(), ..FileFact::default() };
        facts.files.insert("/etc/cinder/cinder.conf".into(), Reading::Known(file));
        facts.files.insert("/etc/cinder/none.conf".into(), Reading::Absent);
        facts.files.insert("/etc/cinder/hidden.conf".into(), Reading::Unknown("permission denied".into()));
        let process = Process {
            pid: 7,
            argv: vec!["cinder-volume".into(), "--password=s3cret".into()],
            environ: [("OS_DATABASE__CONNECTION".to_owned(), "mysql://c:s3cret@d/e".to_owned())].into(),
            ..Process::default()
        };
        facts.processes.insert(7, process);
        let text = to_json(&facts);
        assert!(!text.contains("s3cret"), "{text}");
        let back = from_json("ctl1.json", &text).unwrap();
        assert_eq!(back, facts.masked());
        let file = back.files["/etc/cinder/cinder.conf"].known().unwrap();
        assert_eq!(*file.content, *content.replace("s3cret", "***"));
        assert_eq!(file.sha256, "real");
        assert!(back.masked);
    }

    #[test]
    fn what_is_no_saved_facts_is_refused_with_its_place() {
        let check = |text: &str, message: &str, line: usize| {
            let error = from_json("facts/ctl1.json", text).unwrap_err();
            assert!(error.message().contains(message), "{text}: {error}");
            assert_eq!(error.place().map(|place| place.line), Some(line), "{text}");
        };
        check("", "not saved facts", 1);
        check("{}", "format_version", 1);
        check("{\"format_version\": \"1.0\"}", "missing field", 1);
        check("{\n \"format_version\": \"2.0\"\n}", "facts of format `2.0`", 2);
        check("[\n1,\n", "not saved facts", 2);
    }
}
