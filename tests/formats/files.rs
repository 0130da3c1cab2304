//! `--report FORMAT=FILE`: whole or not there, and every mistake before any host is touched.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// An audit of the recorded cluster, in this folder.
fn audit(folder: &Path, words: &[&str]) -> Output {
    let facts = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    Command::new(env!("CARGO_BIN_EXE_trueup"))
        .args(["audit", "-i", "ctl1,ctl2,ctl3,", "--facts"])
        .arg(facts)
        .args(words)
        .current_dir(folder)
        .env_remove("ANSIBLE_INVENTORY")
        .output()
        .unwrap()
}

/// The files of a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_mistake_ends_the_run_before_any_host_is_touched() {
    let check = |words: &[&str], expected: &[&str]| {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("old.json"), "old").unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        symlink("old.json", folder.path().join("link")).unwrap();
        let before = names(folder.path());
        // Nobody answers at this address (RFC 5737): a run that got so far would wait for it.
        let output = Command::new(env!("CARGO_BIN_EXE_trueup"))
            .args(["audit", "-i", "192.0.2.1,"])
            .args(words)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(output.stdout.is_empty());
        assert!(!said.contains("192.0.2.1"), "{said}");
        for part in expected {
            assert!(said.contains(part), "{words:?}: no `{part}` in\n{said}");
        }
        assert_eq!(names(folder.path()), before, "{words:?}");
        assert_eq!(fs::read_to_string(folder.path().join("old.json")).unwrap(), "old");
    };
    check(&["--report", "htm=x"], &["no format `htm`", "hint: "]);
    check(&["--report", "sarf=x"], &["no format `sarf`", "hint: did you mean `sarif`?"]);
    check(&["--report", "json"], &["names no file", "--report json=FILE"]);
    check(&["--report", "json="], &["names no file", "--format json"]);
    check(&["--report", "json=-"], &["names no file"]);
    check(&["--report", "json=none/x"], &["`none/x` cannot be written"]);
    check(&["--report", "json=~/x"], &["cannot be written", "hint: no shell expands `~`"]);
    check(&["--report", "json=folder"], &["it is not a file"]);
    check(&["--report", "json=/dev/null"], &["it is not a file"]);
    check(&["--report", "json=x", "--report", "junit=./x"], &["two files of this run", "`./x`"]);
    check(&["--report", "json=old.json", "--report", "junit=link"], &["two files of this run", "`link`"]);
    check(&["--report", "json=x", "--report", "json=none/y"], &["`none/y` cannot be written"]);
}

#[test]
fn a_plan_and_a_report_are_not_one_file() {
    let folder = TempDir::new().unwrap();
    let facts = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let output = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .args(["plan", "-i", "ctl1,", "-o", "x.json", "--report", "json=x.json", "--facts"])
        .arg(facts)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn files_are_replaced_whole_and_keep_their_mode_and_links() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("deep")).unwrap();
    fs::write(path("deep/old.xml"), "old").unwrap();
    fs::set_permissions(path("deep/old.xml"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("deep/old.xml", path("link.xml")).unwrap();
    let before = fs::metadata(path("deep/old.xml")).unwrap().ino();
    let words = ["--report", "junit=link.xml", "--report", "json=new.json", "--report", "human=new.txt"];
    let output = audit(folder.path(), &[&["--format", "json"], words.as_slice()].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(names(folder.path()), ["deep", "link.xml", "new.json", "new.txt"]);
    assert_eq!(names(&path("deep")), ["old.xml"]);
    let now = fs::metadata(path("deep/old.xml")).unwrap();
    assert_ne!(now.ino(), before, "the old file was written into");
    assert_eq!(now.mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(path("link.xml")).unwrap().is_symlink());
    assert!(fs::read_to_string(path("deep/old.xml")).unwrap().starts_with("<?xml"));
    assert_eq!(fs::read(path("new.json")).unwrap(), output.stdout);
    assert!(fs::read_to_string(path("new.txt")).unwrap().starts_with("trueup audit: 3 hosts"));
    assert_eq!(fs::metadata(path("new.json")).unwrap().mode() & 0o077 & 0o022, 0, "others may not write");
}
