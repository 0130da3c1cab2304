//! The files in the archive at the end of an answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use sha2::{Digest, Sha256};

use crate::facts::{FileFact, Reading};

/// Every file of `archive`, by its absolute path. A broken archive gives the files in front of the break.
pub(super) fn files(archive: &[u8]) -> BTreeMap<String, Reading<FileFact>> {
    let mut found: BTreeMap<String, Reading<FileFact>> = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    let Ok(entries) = archive.entries() else { return found };
    for entry in entries {
        let Ok(mut entry) = entry else { break };
        let path = absolute(&entry.path_bytes());
        match entry.header().entry_type() {
            kind if kind.is_file() => {
                let header = entry.header().clone();
                let mut bytes = Vec::new();
                if entry.read_to_end(&mut bytes).is_err() {
                    break;
                }
                found.insert(path, fact(&header, bytes));
            }
            // A second name of a file that is in the archive already.
            kind if kind.is_hard_link() => {
                let first = entry.link_name_bytes().map(|name| absolute(&name));
                if let Some(same) = first.and_then(|first| found.get(&first).cloned()) {
                    found.entry(path).or_insert(same);
                }
            }
            _ => {}
        }
    }
    found
}

fn absolute(name: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(name).trim_start_matches("./").trim_start_matches('/'))
}

fn fact(header: &tar::Header, bytes: Vec<u8>) -> Reading<FileFact> {
    let sha256 = sha256(&bytes);
    let Ok(content) = String::from_utf8(bytes) else {
        return Reading::Unknown("it is not UTF-8 text".to_owned());
    };
    let name = |name: Option<&str>, number: Option<u64>| match name {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => number.map(|number| number.to_string()).unwrap_or_default(),
    };
    Reading::Known(FileFact {
        content: content.into(),
        mode: header.mode().unwrap_or_default() & 0o7777,
        owner: name(header.username().ok().flatten(), header.uid().ok()),
        group: name(header.groupname().ok().flatten(), header.gid().ok()),
        modified_at: header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or_default(),
        sha256,
        link: None,
    })
}

/// SHA-256 of `bytes` in lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a string takes every write");
    }
    text
}
