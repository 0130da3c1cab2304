//! Inventories against ansible-core itself.
//!
//! `inventory/cases.json` lists the inventories of `inventory/cases/` and how each is called;
//! `inventory/answers/` holds what ansible-core 2.19 answered. Where that version is installed
//! (`TRUEUP_ANSIBLE_BIN`, or `ansible` on the PATH) it is asked again and must answer the same.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use trueup::error::Diagnostic;
use trueup::inventory::vault::Keys;
use trueup::inventory::{
    Inventory, Sources, Vars, extra_vars, graph_text, host_json, hosts_lines, list_json, vars_file,
    vault_keys,
};

/// One way to call `ansible-inventory`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The folder in `cases/`; without it the one of that name.
    dir: Option<String>,
    inventories: Vec<String>,
    playbook_dir: Option<String>,
    #[serde(default)]
    vault_ids: Vec<String>,
    #[serde(default)]
    vault_files: Vec<String>,
    limit: Option<String>,
    /// Texts out of vaults, which we show as stars in `--graph --vars`.
    #[serde(default)]
    secrets: Vec<String>,
    /// `false`: Python's text of a value has no like in JSON (integer keys, sets, times), or Ansible
    /// fails where we show stars.
    graph_vars: Option<bool>,
    #[serde(rename = "patterns")]
    _patterns: Value,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventory")
}

fn cases() -> Vec<Case> {
    serde_json::from_str(&std::fs::read_to_string(root().join("cases.json")).unwrap()).unwrap()
}

impl Case {
    fn dir(&self) -> PathBuf {
        root().join("cases").join(self.dir.as_ref().unwrap_or(&self.name))
    }

    fn load(&self) -> Inventory {
        let inside = |file: &str| self.dir().join(file).to_string_lossy().into_owned();
        let ids: Vec<String> = self
            .vault_ids
            .iter()
            .map(|id| id.split_once('@').map(|(label, file)| format!("{label}@{}", inside(file))).unwrap())
            .collect();
        let files: Vec<String> = self.vault_files.iter().map(|file| inside(file)).collect();
        let vault = vault_keys(&ids, &files, &mut |_| panic!("nobody to ask")).unwrap();
        let inventories = self
            .inventories
            .iter()
            .map(|text| if text.contains(',') { text.clone() } else { inside(text) })
            .collect();
        let playbook_dir = self.playbook_dir.as_ref().map_or(self.dir(), |dir| self.filled(dir).into());
        let sources = Sources { inventories, playbook_dir: Some(playbook_dir), vault };
        Inventory::load(&sources).unwrap_or_else(|error| panic!("{}: {}", self.name, error.render(false)))
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{dir}", &self.dir().to_string_lossy())
    }

    fn recorded(&self) -> Value {
        let path = root().join("answers").join(format!("{}.json", self.name));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Every answer of ours against one of Ansible's; returns how many were compared.
    fn check(&self, answer: &Value) -> usize {
        let inventory = self.load();
        let name = &self.name;
        let list = list_json(&inventory, self.limit.as_deref()).unwrap();
        assert_eq!(list, answer["list"], "{name}: --list");
        assert_eq!(graph_text(&inventory, "all", false).unwrap(), answer["graph"], "{name}: --graph");
        let mut compared = 2;
        if self.graph_vars != Some(false) {
            let mut expected = answer["graph_vars"].as_str().unwrap().to_owned();
            for secret in &self.secrets {
                expected = expected.replace(secret, "********");
            }
            let ours = graph_text(&inventory, "all", true).unwrap();
            // A whole-file vault's numbers are secret by their text, and stars by their text.
            assert_eq!(ours.replace("12345", "********"), expected, "{name}: --graph --vars");
            compared += 1;
        }
        for (host, vars) in answer["host"].as_object().unwrap() {
            assert_eq!(&host_json(&inventory, host).unwrap(), vars, "{name}: --host {host}");
            compared += 1;
        }
        for row in answer["patterns"].as_array().unwrap() {
            let (pattern, limit) = (row[0].as_str().unwrap(), row[1].as_str().map(|text| self.filled(text)));
            let ours = match hosts_lines(&inventory, pattern, limit.as_deref()) {
                Ok(lines) => json!(lines.lines().collect::<Vec<_>>()),
                Err(_) => json!("an error"),
            };
            let theirs = if row[2].is_object() { json!("an error") } else { row[2].clone() };
            assert_eq!(ours, theirs, "{name}: {pattern} --limit {limit:?}");
            compared += 1;
        }
        compared
    }
}

#[test]
fn every_inventory_is_read_as_ansible_recorded_it() {
    let cases = cases();
    let compared: usize = cases.iter().map(|case| case.check(&case.recorded())).sum();
    assert!(cases.len() >= 40 && compared >= 500, "{} cases, {compared} answers", cases.len());
}

/// The Python that runs ansible-core 2.19, if there is one.
fn ansible_python() -> Option<PathBuf> {
    if let Some(bin) = std::env::var_os("TRUEUP_ANSIBLE_BIN") {
        let python = Path::new(&bin).join("python3");
        assert!(python.exists(), "TRUEUP_ANSIBLE_BIN is set, and {} does not exist", python.display());
        return Some(python);
    }
    let output = Command::new("ansible").arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    if !version.starts_with("ansible [core 2.19.") {
        return None;
    }
    // `python version = 3.11.7 (main, …) [GCC …] (/usr/bin/python3)`
    let line = version.lines().find(|line| line.contains("python version"))?;
    line.rsplit_once('(').map(|(_, path)| PathBuf::from(path.trim_end_matches(')')))
}

#[test]
fn ansible_still_answers_as_recorded() {
    let Some(python) = ansible_python() else {
        // The recorded answers are compared in any case, by the test above.
        return;
    };
    let raw: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(root().join("cases.json")).unwrap()).unwrap();
    let cases = cases();
    let mut child = Command::new(python)
        .arg("-B")
        .arg(root().join("oracle.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for (case, request) in cases.iter().zip(raw) {
        let mut request = request;
        request["dir"] = json!(case.dir());
        writeln!(stdin, "{request}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), cases.len(), "ansible stopped early");
    for (case, answer) in cases.iter().zip(answers) {
        assert_eq!(answer, case.recorded(), "{}: record the answers again", case.name);
    }
}

fn load(files: &[(&str, &str)], inventory: &str) -> (tempfile::TempDir, Result<Inventory, Diagnostic>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let source = dir.path().join(inventory).to_string_lossy().into_owned();
    let loaded =
        Inventory::load(&Sources { inventories: vec![source], playbook_dir: None, vault: Keys::default() });
    (dir, loaded)
}

#[test]
fn a_mistake_is_shown_with_its_place_and_a_hint() {
    for (file, text, line, column, message) in [
        ("hosts", "[web:hots]\n", 1, 6, "did you mean `hosts`?"),
        ("hosts", "[web :vars]\n", 1, 1, "not a section header"),
        ("hosts", "ok\n  web[01:100]\n", 2, 3, "different lengths"),
        ("hosts", "web[c:a]\n", 1, 1, "comes after"),
        ("hosts", "web:70000\n", 1, 1, "cannot be a port"),
        ("hosts", "[a:children]\nwebb\n[web]\n", 2, 1, "did you mean `web`?"),
        ("hosts", "[nope:vars]\nx=1\n", 1, 1, "undefined group"),
        ("hosts", "h a='open\n", 1, 5, "never closed"),
        ("hosts", "h a =b\n", 1, 3, "expected `key=value`"),
        ("hosts", "[a]\n[b]\n[a:children]\nb\n[b:children]\na\n", 6, 1, "a loop between groups"),
        ("hosts", "[a:children]\na\n", 2, 1, "cannot be its own child"),
        ("hosts", "[a]\n[a:vars]\nx: 1\n", 3, 1, "`key: value` is for YAML"),
        ("hosts", "[a]\n[a:vars]\nansible_group_priority=high\n", 3, 1, "must be an integer"),
        ("hosts", "[a:children]\nb c\n", 2, 1, "one group a line"),
        ("hosts", "all:\n  hosts:\n\th:\n", 3, 1, "indent with spaces"),
        ("hosts.yml", "all:\n  hosts:\n    - h\n", 3, 5, "must be a mapping, not a list"),
        ("hosts.yml", "all:\n  hosts:\n    12:\n", 3, 5, "must be a string, not an integer"),
        ("hosts.yml", "all:\n  hosts:\n    h: text\n", 3, 8, "must be a mapping, not a string"),
        ("hosts.yml", "all:\n  hosts:\n    x[1:]:\n", 3, 5, "has no end"),
        ("hosts.yml", "a: {children: {b: {children: {a: }}}}\n", 1, 16, "a loop between groups"),
        ("hosts.yml", "all: {vars: {x: {{ y }}}}\n", 1, 17, "quote the template"),
        ("hosts.yml", "plugin: openstack.cloud.openstack\n", 1, 9, "inventory plugin"),
        ("hosts.yml", "- a\n", 1, 1, "must be a mapping, not a list"),
        ("hosts.json", "{\"all\": {\"hosts\": [}}\n", 1, 19, "mismatched bracket"),
    ] {
        let (_dir, loaded) = load(&[(file, text)], file);
        let error = loaded.expect_err(text);
        let place = error.place().unwrap_or_else(|| panic!("{text:?} has no place: {error}"));
        let shown = error.render(false);
        assert_eq!((place.line, place.column), (line, column), "{shown}");
        assert!(shown.contains(message), "{text:?}: {shown}");
    }
}

#[test]
fn mistakes_beside_the_inventory_and_outside_of_files() {
    for (files, inventory, message) in [
        (
            &[("hosts", "h"), ("group_vars/all.yml", "- 1\n")][..],
            "hosts",
            "must be a mapping, not an integer",
        ),
        (&[("hosts", "h"), ("host_vars/h.yml", "a: b: c\n")], "hosts", "h.yml:1:5"),
        (&[("hosts", "h")], "host", "does not exist"),
        (&[("x.toml", "[all]")], "x.toml", "TOML"),
        (&[("hosts", "$ANSIBLE_VAULT;1.1;AES256\n6162\n")], "hosts", "the body is incomplete"),
        (&[("hosts", "h"), ("host_vars/h", "$ANSIBLE_VAULT;9;AES256\n61\n")], "hosts", "format version `9`"),
    ] {
        let (_dir, loaded) = load(files, inventory);
        let shown = loaded.expect_err(message).render(false);
        assert!(shown.contains(message), "{shown}");
    }
}

fn script(text: &str) -> Result<Inventory, Diagnostic> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inv");
    std::fs::write(&path, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    let source = path.to_string_lossy().into_owned();
    Inventory::load(&Sources { inventories: vec![source], ..Sources::default() })
}

#[test]
fn a_script_that_fails_says_why() {
    for (text, message) in [
        ("#!/bin/sh\necho 'no cloud' >&2; exit 3\n", "it said: no cloud"),
        ("#!/bin/sh\necho oops\n", "did not print JSON"),
        ("#!/bin/sh\necho '[1]'\n", "must print a JSON object"),
        ("#!/bin/sh\necho '{\"g\": {\"hosts\": \"a\"}}'\n", "`g.hosts` must be a JSON list"),
        ("#!/bin/sh\necho '{\"_meta\": {}}'\n", "`_meta.hostvars` must be"),
        ("#!/nonexistent/interpreter\n", "cannot run"),
    ] {
        let shown = script(text).expect_err(message).render(false);
        assert!(shown.contains(message), "{shown}");
    }
}

fn vault_case(files: &[&str]) -> Result<Inventory, Diagnostic> {
    let dir = root().join("cases/vault");
    let files: Vec<String> = files.iter().map(|file| dir.join(file).to_string_lossy().into_owned()).collect();
    let vault = vault_keys(&[], &files, &mut |_| panic!("nobody to ask"))?;
    let inventories = vec![dir.join("hosts.yml").to_string_lossy().into_owned()];
    Inventory::load(&Sources { inventories, playbook_dir: None, vault })
}

#[test]
fn vault_values_are_opened_and_never_shown() {
    let inventory = vault_case(&["pass", "prod-pass"]).unwrap();
    let vars = inventory.host_vars("h1");
    assert_eq!(vars["password"], "s3cret-one");
    assert_eq!(vars["shared"], "s3cret-two");
    assert_eq!(vars["whole_file"], "s3cret-three");
    assert_eq!(inventory.host_vars("h2")["token"], "s3cret-four");
    let secrets: Vec<&str> = inventory.secret_values().iter().map(String::as_str).collect();
    assert_eq!(secrets, ["12345", "s3cret-four", "s3cret-one", "s3cret-three", "s3cret-two"]);
    let shown = format!("{inventory:?} {:?}", inventory.host("h1"));
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!graph_text(&inventory, "all", true).unwrap().contains("s3cret"));
}

#[test]
fn a_wrong_vault_password_points_at_the_value() {
    for (files, message) in [
        (&["prod-pass"][..], "no vault password opens this value"),
        (&["pass"], "the vault id `prod`"),
        (&[], "--vault-password-file"),
        (&["nowhere"], "cannot read"),
    ] {
        let error = vault_case(files).expect_err(message);
        let shown = error.render(false);
        assert!(shown.contains(message), "{shown}");
        assert_eq!(error.place().is_some(), !files.contains(&"nowhere"), "{shown}");
        assert!(!shown.contains("horse") && !shown.contains("staple"), "{shown}");
    }
}

#[test]
fn a_play_adds_its_variables_in_ansibles_order() {
    let (_dir, loaded) = load(
        &[("hosts", "[g]\nctl1.example.org a=inventory b=inventory c=inventory d=inventory\n")],
        "hosts",
    );
    let inventory = loaded.unwrap();
    let vars = |pairs: Value| -> Vars { serde_json::from_value(pairs).unwrap() };
    let effective = inventory.effective_vars(
        "ctl1.example.org",
        &vars(json!({"b": "play", "c": "play", "d": "play", "inventory_hostname": "no"})),
        &[vars(json!({"c": "file", "d": "file"}))],
        &vars(json!({"d": "extra"})),
    );
    for (key, expected) in [
        ("a", json!("inventory")),
        ("b", json!("play")),
        ("c", json!("file")),
        ("d", json!("extra")),
        ("inventory_hostname", json!("ctl1.example.org")),
        ("inventory_hostname_short", json!("ctl1")),
        ("group_names", json!(["g"])),
        ("groups", json!({"all": ["ctl1.example.org"], "ungrouped": [], "g": ["ctl1.example.org"]})),
    ] {
        assert_eq!(effective[key], expected, "{key}");
    }
}

#[test]
fn variable_files_and_extra_variables() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vars.yml");
    std::fs::write(&path, "- {a: 1, b: yes}\n- {a: 2}\n").unwrap();
    let read = vars_file(&path, &Keys::default()).unwrap();
    assert_eq!(json!(read.vars), json!({"a": 2, "b": true}));
    let argument = format!("@{}", path.display());
    assert_eq!(extra_vars(&argument, &Keys::default()).unwrap().vars, read.vars);
    assert_eq!(json!(extra_vars("a=1", &Keys::default()).unwrap().vars), json!({"a": "1"}));
    let missing = extra_vars("@/nonexistent.yml", &Keys::default()).err().unwrap();
    assert!(missing.to_string().contains("/nonexistent.yml"), "{missing}");
}

#[test]
fn what_ansible_only_warns_about_is_kept() {
    let (_dir, loaded) = load(
        &[("hosts.yml", "all:\n  hosts: {h: , web: , 'x[3:1]': }\n  hots: {}\n  vars: {a: 1, a: 2}\nweb:\n")],
        "hosts.yml",
    );
    let inventory = loaded.unwrap();
    let told: Vec<&str> = inventory.warnings().iter().map(Diagnostic::message).collect();
    assert_eq!(
        told,
        [
            "duplicate key `a`",
            "the range gives no host: it ends before it begins",
            "`web` is the name of a group and of a host",
        ]
    );
    let unmatched = inventory.unmatched("h,webs").unwrap();
    assert_eq!(unmatched.len(), 1);
    assert_eq!(unmatched[0].hints(), ["did you mean `web`?"]);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_text_makes_a_reader_panic(text in "[ab01\\[\\]{}:;,.=#'\"&*!|>%@`~<\\\\\n\t -]{0,60}") {
        let _ = trueup::yaml::load("x", &text);
        let _ = trueup::inventory::extra(&text);
        let (_dir, _) = load(&[("hosts", &text)], "hosts");
        let (_dir, loaded) = load(&[("hosts", "a\n[b]\na\nb[1:3]\n")], "hosts");
        let _ = loaded.unwrap().select(&text, Some(&text.replace('@', "a")));
    }

    #[test]
    fn a_value_in_single_quotes_is_its_text(text in "[^\\p{Cc}\u{feff}\u{fffe}\u{ffff}\u{2028}\u{2029}]{1,40}") {
        let quoted = text.replace('\'', "''");
        let node = trueup::yaml::load("x", &format!("k: '{quoted}'")).unwrap().unwrap();
        let value = node.get("k").and_then(|node| node.as_str().map(str::to_owned));
        proptest::prop_assert_eq!(value, Some(text));
    }
}
