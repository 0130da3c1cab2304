//! The direction of dependencies: what decides does no I/O and does not know what acts.

use std::path::{Path, PathBuf};

/// Touches the world; nothing else may use them, or do I/O.
const BELOW: &[&str] = &["transport", "probe", "apply", "cli"];

/// What marks I/O, a clock, printing or an exit in a source file.
const MARKS: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "ToSocketAddrs",
    "std::process::Command",
    "tokio::",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "println!",
    "print!",
    "process::exit",
];

/// Files above the line that read local files, each the one place of its kind.
const LOADERS: &[&str] = &["inventory/load.rs", "inventory/script.rs", "playbook/load.rs", "facts/files.rs"];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// The code of a file: without comments, and without its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_decides_does_no_io_and_knows_nothing_of_what_acts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let top = name.split(['/', '.']).next().unwrap().to_owned();
        if ["main", "lib"].contains(&top.as_str()) {
            continue;
        }
        let code = code(&file);
        if !BELOW.contains(&top.as_str()) {
            for below in BELOW {
                // A question to the probe is data; only the probe's work is below the line.
                let used = format!("crate::{below}::");
                let allowed = format!("crate::{below}::Question");
                if code.lines().any(|line| line.contains(&used) && !line.contains(&allowed)) {
                    wrong.push(format!("{name} uses {below}"));
                }
            }
            if !LOADERS.contains(&name.as_str()) {
                wrong.extend(
                    MARKS.iter().filter(|mark| code.contains(**mark)).map(|mark| format!("{name}: {mark}")),
                );
            }
        }
        if top != "cli" && (code.contains("println!") || code.contains("process::exit")) {
            wrong.push(format!("{name} prints or exits"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_source_file_is_too_long_to_hold_in_the_head() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let long: Vec<String> = files
        .iter()
        .map(|file| (file, std::fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "split where there are two ideas:\n{}", long.join("\n"));
}
