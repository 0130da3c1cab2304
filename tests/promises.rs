//! The promises in the README: each names the tests and cases that prove it, and they exist.

use std::{collections::BTreeSet, fs, path::Path};

/// What stands between backticks in a proof, its line ends folded.
fn named(proof: &str) -> Vec<String> {
    let folded = proof.split_whitespace().collect::<Vec<_>>().join(" ");
    folded.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The names of the functions in this folder's Rust files.
fn functions(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            into.extend(lines.filter_map(|line| line.split_once('(')).map(|(name, _)| name.to_owned()));
        }
    }
}

/// What a list of the lab calls its entries.
fn entries(file: &str, key: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix(key))
        .map(|name| name.trim().to_owned())
        .collect()
}

#[test]
fn every_promise_names_a_proof_that_exists() {
    let readme = fs::read_to_string("README.md").unwrap();
    let (_, section) = readme.split_once("## What it promises").expect("the README promises something");
    let (section, _) = section.split_once("\n## ").expect("another section follows");
    let mut tests = BTreeSet::new();
    functions(Path::new("tests"), &mut tests);
    functions(Path::new("src"), &mut tests);
    let faults = entries("tests/lab/faults.yml", "- fault: ");

    let mut proved = BTreeSet::new();
    for promise in section.split("\n- ").skip(1) {
        let (_, proof) = promise.split_once("Proof: ").unwrap_or_else(|| panic!("no proof: {promise}"));
        let (of_tests, of_cases) = proof.split_once("cases `").unwrap_or((proof, ""));
        let cases = format!("`{of_cases}");
        let cases = if of_cases.is_empty() { "" } else { &cases };
        assert!(!named(of_tests).is_empty(), "no test: {promise}");
        for name in named(of_tests) {
            assert!(tests.contains(&name), "no test `{name}`: {promise}");
        }
        for name in named(cases) {
            assert!(faults.contains(&name), "no case `{name}` in {faults:#?}");
            proved.insert(name);
        }
    }
    assert!(proved.len() >= 20, "{proved:#?}");
}
