//! Where rust-ini and oslo.config read the same text differently.

use trueup::conf::fragment::{cross_check, fragment};

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found = cross_check("x.conf", text.as_bytes()).unwrap();
    let shown: Vec<String> =
        found.iter().map(|doubt| format!("{} {doubt}", doubt.line.unwrap_or_default())).collect();
    assert_eq!(shown, expected, "{text:?}");
}

#[test]
fn plain_files_are_read_alike() {
    check("", &[]);
    check("# c\n[DEFAULT]\na = 1\nb: 2\n\n[oslo_messaging_rabbit]\nc = 'x y'\n; d\n", &[]);
    check("[DEFAULT]\r\na = 1\r\n  more\r\n", &[]);
    check("[a]\nk = 1\nk = 2\n[b]\n[a]\nk = 3\n", &[]);
    check("[a]\nk = 90 # s\n", &[]);
    check("[a]\nk = p\\nq\\w\n", &[]);
    check("[a]\nk =\nl = 1\n", &[]);
}

#[test]
fn doubtful_lines_are_named() {
    check(
        "[a]\nk = foo\\\nl = bar\n",
        &[
            "2 [a] k: oslo.config reads `foo\\`, a common INI reader `fool = bar`",
            "3 [a] l: oslo.config reads `bar`, a common INI reader nothing",
        ],
    );
    check("[a]\nk = \"a\" b\n", &["2 [a] k: oslo.config reads `\"a\" b`, a common INI reader `a b`"]);
    check(
        "[ DEFAULT ]\nk = 1\n",
        &[
            "2 [ DEFAULT ] k: oslo.config reads `1`, a common INI reader nothing",
            "0 [DEFAULT] k: oslo.config reads nothing, a common INI reader `1`",
        ],
    );
    check("[a]\nk = 'x\nl = 1\n", &["4 common INI readers cannot read this, although oslo.config can"]);
    check(
        "[a]\npassword = \"hunter2\" b\n",
        &["2 [a] password: oslo.config reads `***`, a common INI reader `***`"],
    );
}

#[test]
fn what_oslo_config_refuses_is_refused() {
    assert!(cross_check("x.conf", b"[a]\n k = 1\n").is_err());
    assert!(cross_check("x.conf", b"\xff").is_err());
}

#[test]
fn a_fragment_is_what_both_read() {
    let options = fragment(
        "x.j2",
        "[DEFAULT]\nrpc_response_timeout = 60\n[Oslo_messaging_rabbit]\nheartbeat_rate = 3\n",
    )
    .unwrap();
    let shown: Vec<_> =
        options.iter().map(|option| (option.group(), option.key.as_str(), option.value.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("DEFAULT".to_owned(), "rpc_response_timeout", "60"),
            ("oslo_messaging_rabbit".to_owned(), "heartbeat_rate", "3")
        ]
    );
    let error = fragment("x.j2", "[a]\nk = \"a\" b\n").unwrap_err();
    assert_eq!(
        error.message(),
        "ambiguous syntax: [a] k: oslo.config reads `\"a\" b`, a common INI reader `a b`"
    );
    assert_eq!(error.place().unwrap().line, 2);
    assert!(fragment("x.j2", "k = 1\n").is_err());
}
