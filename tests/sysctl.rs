//! sysctl.d against answers recorded from systemd-sysctl 252.39 and procps 4.0.2, each run in a network
//! namespace of its own on Linux 6.18 that starts with the kernel's defaults.

use std::collections::BTreeMap;

use serde::Deserialize;
use trueup::conf::sysctl::{Outcome, Program, SourceFile, boot, integer, outcome, procps, same_value};

#[derive(Deserialize)]
struct Case {
    name: String,
    files: BTreeMap<String, Content>,
    systemd: BTreeMap<String, i64>,
    procps: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Link { link: String },
}

fn default(key: &str) -> i64 {
    match key {
        "net.ipv4.tcp_retries2" => 15,
        "net.ipv4.tcp_keepalive_time" => 7200,
        "net.ipv4.tcp_keepalive_intvl" => 75,
        "net.ipv4.tcp_keepalive_probes" => 9,
        key => panic!("no default for {key}"),
    }
}

#[test]
fn every_recorded_tree_of_files_gives_the_value_the_programs_gave() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("sysctl/cases.json")).unwrap();
    assert!(cases.len() > 200);
    for case in cases {
        let conf = match case.files.get("/etc/sysctl.conf") {
            Some(Content::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let files: Vec<_> = case
            .files
            .iter()
            .map(|(path, content)| match content {
                Content::Text(text) => SourceFile { path, content: Some(text), link: None },
                Content::Link { link } if link == "/dev/null" => {
                    SourceFile { path, content: Some(""), link: Some(link) }
                }
                Content::Link { link } => SourceFile { path, content: conf, link: Some(link) },
            })
            .collect();
        for (program, expected) in [(Program::Systemd, &case.systemd), (Program::Procps, &case.procps)] {
            for (key, expected) in expected {
                let found = match outcome(program, &files, key) {
                    Outcome::Set(setting) => integer(&setting.value).unwrap(),
                    Outcome::Unset => default(key),
                    Outcome::Unknown { path } => panic!("{path}"),
                };
                assert_eq!(found, *expected, "{program:?} {key} in {}: {files:?}", case.name);
            }
        }
    }
}

fn file<'a>(path: &'a str, content: &'a str) -> SourceFile<'a> {
    SourceFile { path, content: Some(content), link: None }
}

#[test]
fn the_deciding_line_is_named() {
    let files = [
        file("/etc/sysctl.conf", "\n# ours\nnet.ipv4.tcp_retries2 = 11\n"),
        SourceFile {
            path: "/etc/sysctl.d/99-sysctl.conf",
            content: Some("\n# ours\nnet.ipv4.tcp_retries2 = 11\n"),
            link: Some("../sysctl.conf"),
        },
        file("/etc/sysctl.d/zz-x.conf", "net/ipv4/tcp_retries2 = 22 # why\n"),
    ];
    let Outcome::Set(at_boot) = boot(&files, "net.ipv4.tcp_retries2") else { panic!() };
    assert_eq!(
        (at_boot.value.as_str(), at_boot.path.as_str(), at_boot.line),
        ("22 # why", "/etc/sysctl.d/zz-x.conf", 1)
    );
    let Outcome::Set(by_hand) = procps(&files, "net/ipv4/tcp_retries2") else { panic!() };
    assert_eq!((by_hand.value.as_str(), by_hand.path.as_str(), by_hand.line), ("11", "/etc/sysctl.conf", 3));
}

#[test]
fn an_unreadable_file_makes_the_value_unknown_unless_a_later_line_names_the_key() {
    #[track_caller]
    fn check(later: &str, known: bool) {
        let unread = SourceFile { path: "/etc/sysctl.d/50-x.conf", content: None, link: None };
        let files = [
            file("/etc/sysctl.d/10-a.conf", "net.ipv4.tcp_retries2=9\n"),
            unread,
            file("/etc/sysctl.d/60-b.conf", later),
        ];
        let found = boot(&files, "net.ipv4.tcp_retries2");
        assert_eq!(!matches!(found, Outcome::Unknown { .. }), known, "{found:?}");
    }
    check("", false);
    check("net.ipv4.tcp_retries2=8\n", true);
    check("net.ipv4.tcp_retr*=8\n", false);
    check("-net.ipv4.tcp_retries2\n", false);
}

#[test]
fn numbers_are_read_as_the_kernel_reads_them() {
    for (text, number) in [
        ("66 # note", Some(66)),
        ("0x10", Some(16)),
        ("010", Some(8)),
        ("0", Some(0)),
        ("-3", Some(-3)),
        ("", None),
        ("x", None),
        ("5;x", None),
        ("11,12", None),
        ("+6", None),
        ("99999999999", None),
        ("08", None),
        ("7\r8", None),
    ] {
        assert_eq!(integer(text), number, "{text}");
    }
    for (a, b, same) in [
        ("5", "5 # why", true),
        ("5", "0x5", true),
        ("5", "6", false),
        ("cubic", "cubic", true),
        ("4096\t131072  6291456", "4096 131072 6291456", true),
        ("4096 131072 6291456", "4096 131072 1", false),
    ] {
        assert_eq!(same_value(a, b), same, "{a} {b}");
    }
}
