//! The playbooks, templates and inventory that come with the tool, and where others are found.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use trueup::error::{Diagnostic, Result};
use trueup::inventory::{Inventory, Sources};
use trueup::playbook::template::{Renderer, Scope};
use trueup::playbook::{HostVars, Loaded, Vars, builtin, explain, load};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Opens the only vault of these tests.
fn decrypt(text: &str) -> Result<String> {
    match text.trim() {
        "$ANSIBLE_VAULT;1.1;AES256\n00" => Ok("s3cret".to_owned()),
        "$ANSIBLE_VAULT;1.1;AES256\n01" => Ok("whole: v4ult\nnumber: 77\n".to_owned()),
        _ => Err(Diagnostic::new("no vault secret opens it")),
    }
}

fn names(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap())
        // `templates/systemd` is of `trueup schedule`, not of playbooks.
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_file_of_playbooks_and_templates_is_embedded() {
    let mut playbooks: Vec<String> =
        builtin::PLAYBOOKS.iter().map(|(name, _)| format!("{name}.yml")).collect();
    playbooks.sort();
    assert_eq!(names("playbooks"), playbooks);
    let mut templates: Vec<&str> = builtin::TEMPLATES.iter().map(|(name, _)| *name).collect();
    templates.sort_unstable();
    assert_eq!(names("templates"), templates);
    assert!(builtin::playbook(builtin::DEFAULT_PLAYBOOK).is_some());
}

#[test]
fn the_example_inventory_is_read() {
    let path = root().join("inventory.example").display().to_string();
    let inventory = Inventory::load(&Sources { inventories: vec![path], ..Sources::default() }).unwrap();
    assert!(inventory.warnings().is_empty(), "{:?}", inventory.warnings());
    assert_eq!(inventory.select("all", None).unwrap(), ["ctl1", "ctl2", "ctl3"]);
    assert_eq!(inventory.select("controllers:!ctl2", None).unwrap(), ["ctl1", "ctl3"]);
    let user = |host: &str| inventory.host_vars(host)["ansible_user"].clone();
    assert_eq!((user("ctl1"), user("ctl3")), ("stack".into(), "operator".into()));
    assert_eq!(inventory.host_vars("ctl3")["ansible_port"], 2222);
    assert_eq!(inventory.host_vars("ctl1")["ansible_become"], "true");
}

/// A folder with the files given, and what `load` finds there. `DIR` stands for the folder.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn load(&self, name: Option<&str>) -> Result<Loaded> {
        load(name, &[self.0.path().to_path_buf()], &decrypt)
    }

    fn shown(&self, path: &str) -> String {
        path.replace(&self.path(""), "DIR/").replace(self.0.path().to_str().unwrap(), "DIR")
    }

    fn error(&self, name: &str) -> String {
        self.shown(&self.load(Some(&self.path(name))).unwrap_err().render(false))
    }
}

const PLAY: &str = "- {hosts: all, tasks: [{template: {src: own.j2, dest: /etc/x}}]}\n";

#[test]
fn a_playbook_beside_the_inventory_overrides_the_embedded_one() {
    let check = |files: &[(&str, &str)], name: Option<&str>, expected: &str| {
        let folder = Folder::new(files);
        assert_eq!(folder.shown(&folder.load(name).unwrap().playbook.path), expected, "{files:?} {name:?}");
    };
    check(&[("playbooks/rpc-survives.yml", PLAY)], None, "DIR/playbooks/rpc-survives.yml");
    check(&[("playbooks/mine.yaml", PLAY)], Some("mine"), "DIR/playbooks/mine.yaml");
    check(&[("playbooks/mine.yml", PLAY)], Some("mine.yml"), "DIR/playbooks/mine.yml");
    let folder = Folder::new(&[("any.yml", PLAY)]);
    let loaded = folder.load(Some(&folder.path("any.yml"))).unwrap();
    assert_eq!(folder.shown(&loaded.playbook.path), "DIR/any.yml");
    let error = folder.load(Some("rpc-survive")).unwrap_err();
    assert_eq!(error.render(false), "error: no playbook `rpc-survive`\nhint: did you mean `rpc-survives`?");
}

#[test]
fn the_nearest_template_of_a_name_wins() {
    let check = |files: &[&str], expected: &str| {
        let mut all: Vec<(&str, &str)> = files.iter().map(|name| (*name, "x")).collect();
        all.push(("books/play.yml", PLAY));
        let folder = Folder::new(&all);
        let loaded = folder.load(Some(&folder.path("books/play.yml"))).unwrap();
        let found = loaded.templates.files.get("own.j2").map(|source| folder.shown(&source.path));
        assert_eq!(found.unwrap_or_default(), expected, "{files:?}");
    };
    check(&["books/templates/own.j2", "books/own.j2", "templates/own.j2"], "DIR/books/templates/own.j2");
    check(&["books/own.j2", "templates/own.j2"], "DIR/books/own.j2");
    check(&["templates/own.j2"], "DIR/templates/own.j2");
    check(&["own.j2"], "");
    let folder = Folder::new(&[("play.yml", PLAY), ("templates/deep/a.conf", "x"), ("notes.txt", "x")]);
    let files = folder.load(Some(&folder.path("play.yml"))).unwrap().templates.files;
    assert!(files.contains_key("deep/a.conf") && !files.contains_key("notes.txt"));
    assert_eq!(files["sysctl-keepalive.conf.j2"].path, "builtin:sysctl-keepalive.conf.j2");
    let folder = Folder::new(&[("play.yml", PLAY), ("templates/sysctl-keepalive.conf.j2", "x")]);
    let files = folder.load(Some(&folder.path("play.yml"))).unwrap().templates.files;
    assert_eq!(&*files["sysctl-keepalive.conf.j2"].text, "x");
}

#[test]
fn files_of_variables_are_read_and_vaults_opened() {
    let play = "- hosts: all\n  vars:\n    a: play\n    b: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      00\n  \
                vars_files:\n    - [absent.yml, vars/one.yml]\n    - vault.yml\n  tasks:\n    \
                - {id: t, name: '{{ a }} {{ b }} {{ whole }}', service: {name: x, state: started}}\n";
    let folder = Folder::new(&[
        ("play.yml", play),
        ("vars/one.yml", "a: file\n"),
        ("vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n01\n"),
    ]);
    let loaded = folder.load(Some(&folder.path("play.yml"))).unwrap();
    assert_eq!(loaded.secrets, ["s3cret", "v4ult", "77"]);
    assert!(!format!("{loaded:?}").contains("s3cret"));
    let none = Vars::new();
    let host = HostVars { name: "h", inventory: &none, extra: &none };
    let bound = loaded.playbook.bind(&loaded.playbook.plays[0], &host, &loaded.templates).unwrap();
    assert_eq!(bound.tasks[0].name, "file s3cret v4ult");
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_place() {
    let check = |files: &[(&str, &str)], expected: &str| {
        assert_eq!(Folder::new(files).error("play.yml"), expected, "{files:?}");
    };
    check(
        &[("play.yml", "- hosts: all\n  vars_files: [none.yml]\n")],
        "error: no such file: `none.yml`\n --> DIR/play.yml:2:16\n  |\n2 |   vars_files: [none.yml]\n  |                \
         ^^^^^^^^",
    );
    check(
        &[("play.yml", "- hosts: all\n  vars_files: v.yml\n"), ("v.yml", "a: [\n")],
        "error: unclosed bracket '['\n --> DIR/v.yml:1:4\n  |\n1 | a: [\n  |    ^",
    );
    check(
        &[("play.yml", "- hosts: all\n  vars_files: v.yml\n"), ("v.yml", "- a\n")],
        "error: `vars` must be a mapping, not a list\n --> DIR/v.yml:1:1\n  |\n1 | - a\n  | ^",
    );
    check(
        &[(
            "play.yml",
            "- hosts: all\n  vars:\n    a: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      99\n",
        )],
        "error: no vault secret opens it\n --> DIR/play.yml:4:7\n  |\n4 |       $ANSIBLE_VAULT;1.1;AES256\n  |       ^",
    );
    let folder = Folder::new(&[]);
    fs::write(folder.0.path().join("play.yml"), b"- hosts: all\n  name: \xff\n").unwrap();
    assert_eq!(
        folder.error("play.yml"),
        "error: the file is not UTF-8\n --> DIR/play.yml:2:9\n  |\n2 |   name: \n  |         ^"
    );
}

/// The tasks that the embedded playbook `name` binds to with these `-e`.
fn embedded(name: &str, extra: &serde_json::Value) -> Result<Vec<String>> {
    let loaded = load(Some(name), &[], &decrypt)?;
    let (inventory, extra) = (Vars::new(), extra.as_object().unwrap().clone().into_iter().collect());
    let host = HostVars { name: "ctl1", inventory: &inventory, extra: &extra };
    let mut ids = Vec::new();
    for play in &loaded.playbook.plays {
        let bound = loaded.playbook.bind(play, &host, &loaded.templates)?;
        ids.extend(bound.tasks.into_iter().map(|task| task.id));
    }
    Ok(ids)
}

#[test]
fn every_embedded_playbook_binds_with_its_defaults_and_explains_itself() {
    for (name, _) in builtin::PLAYBOOKS {
        assert!(
            !embedded(name, &json!({})).unwrap_or_else(|error| panic!("{}", error.render(false))).is_empty()
        );
        let loaded = load(Some(name), &[], &decrypt).unwrap();
        for play in &loaded.playbook.plays {
            for task in &play.tasks {
                let filled = play.filled(task, &loaded.templates).unwrap();
                assert!(task.why.len() > 100 && !task.tags.is_empty(), "{}", task.id);
                assert!(task.references.iter().all(|url| url.starts_with("https://")), "{}", task.id);
                let text = explain(task, Some(&filled), 80);
                assert!(text.contains(&task.references[0]) && !text.contains("{{"), "{text}");
                assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
                let drawn = text.contains("the consumer's connection dies");
                assert_eq!(drawn, task.id == "detection-window", "{text}");
            }
        }
    }
}

#[test]
fn a_strategy_chooses_its_tasks() {
    let check = |extra: serde_json::Value, expected: &[&str]| {
        assert_eq!(embedded("rpc-survives", &extra).unwrap(), expected);
    };
    check(json!({}), &["detection-window", "heartbeat", "listener-keepalive", "tcp-keepalive"]);
    check(
        json!({"strategy": "heartbeat"}),
        &["detection-window", "heartbeat", "listener-keepalive", "tcp-keepalive"],
    );
    check(json!({"strategy": "keepalive"}), &["detection-window", "listener-keepalive", "tcp-keepalive"]);
    check(json!({"strategy": "retries2"}), &["detection-window", "tcp-retries2"]);
    check(json!({"strategy": "rpc_timeout"}), &["detection-window", "rpc-timeout"]);
    let error = embedded("rpc-survives", &json!({"strategy": "hartbeat"})).unwrap_err();
    assert_eq!(
        error.render(false),
        "error: unknown strategy `hartbeat`\n  --> builtin:rpc-survives.yml:44:19\n   |\n\
         44 |         strategy: \"{{ strategy }}\"\n   |                   ^^^^^^^^^^^^^^^^\n\
         hint: did you mean `heartbeat`?"
    );
}

/// What each embedded template renders to with the playbook's own variables.
#[test]
fn every_embedded_template_renders_to_what_its_module_reads() {
    let loaded = load(None, &[], &decrypt).unwrap();
    let vars = &loaded.playbook.plays[0].vars;
    let scope = Scope::new(&Renderer::new(&loaded.templates), "ctl1", [vars]);
    let lines = |name: &str| -> Vec<String> {
        let text = scope.text(&loaded.templates.files[name]).unwrap();
        assert!(text.starts_with("# Managed by trueup") && text.ends_with('\n'), "{name}");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let check = |name: &str, expected: &[&str]| assert_eq!(lines(name), expected, "{name}");
    check("oslo-messaging.conf.j2", &["[oslo_messaging_rabbit]", "heartbeat_timeout_threshold = 15"]);
    check("oslo-rpc-timeout.conf.j2", &["[DEFAULT]", "rpc_response_timeout = 200"]);
    check(
        "rabbitmq-keepalive.conf.j2",
        &[
            "tcp_listen_options.backlog = 128",
            "tcp_listen_options.nodelay = true",
            "tcp_listen_options.linger.on = true",
            "tcp_listen_options.linger.timeout = 0",
            "tcp_listen_options.exit_on_close = false",
            "tcp_listen_options.keepalive = true",
        ],
    );
    check(
        "sysctl-keepalive.conf.j2",
        &[
            "net.ipv4.tcp_keepalive_time = 5",
            "net.ipv4.tcp_keepalive_intvl = 1",
            "net.ipv4.tcp_keepalive_probes = 5",
        ],
    );
    check("sysctl-retries2.conf.j2", &["net.ipv4.tcp_retries2 = 5"]);
    assert_eq!(builtin::TEMPLATES.len(), 5, "a template without a case here");
}
