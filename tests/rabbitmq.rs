//! What a RabbitMQ node reads. The rules are those of `rabbit_prelaunch_conf.erl` and cuttlefish.

use std::collections::BTreeMap;

use trueup::conf::rabbitmq::advanced::{self, Term};
use trueup::conf::rabbitmq::conf::{self, Item};
use trueup::conf::rabbitmq::{Effective, Files, Known, Paths, effective, locate};

fn read(files: &[(&str, &str)]) -> Effective {
    let files: Files<'_> = files.iter().map(|(path, text)| (*path, Some(*text))).collect();
    effective(&Paths::default(), &files)
}

fn show<T: std::fmt::Display>(known: &Known<T>) -> String {
    match known {
        Ok(answer) => format!("{} ({})", answer.value, answer.source),
        Err(reason) => reason.clone(),
    }
}

const CONF: &str = "/etc/rabbitmq/rabbitmq.conf";
const OLD: &str = "/etc/rabbitmq/rabbitmq.config";
const A: &str = "/etc/rabbitmq/conf.d/10-a.conf";
const B: &str = "/etc/rabbitmq/conf.d/50-trueup.conf";
const Z: &str = "/etc/rabbitmq/conf.d/90-z.conf";
const ADVANCED: &str = "/etc/rabbitmq/advanced.config";

#[test]
fn the_last_file_wins_and_advanced_config_wins_over_all() {
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &str) {
        assert_eq!(show(&read(files).heartbeat), expected);
    }
    check(&[], "60 (default of RabbitMQ)");
    check(&[(CONF, "heartbeat = 20\n")], "20 (/etc/rabbitmq/rabbitmq.conf:1)");
    check(&[(CONF, "heartbeat = 20\n\n# x\nheartbeat = 30\n")], "30 (/etc/rabbitmq/rabbitmq.conf:4)");
    check(&[(CONF, "heartbeat = 20\n"), (A, "heartbeat = 10")], "10 (/etc/rabbitmq/conf.d/10-a.conf:1)");
    check(&[(A, "heartbeat = 10\n"), (B, "heartbeat = 11\n")], "11 (/etc/rabbitmq/conf.d/50-trueup.conf:1)");
    check(&[(B, "heartbeat = 11\n"), (Z, "heartbeat = 12\n")], "12 (/etc/rabbitmq/conf.d/90-z.conf:1)");
    check(
        &[(Z, "heartbeat = 12\n"), (ADVANCED, "[\n {rabbit, [{heartbeat, 5}]}].\n")],
        "5 (/etc/rabbitmq/advanced.config:2)",
    );
    check(&[(ADVANCED, "[{other, [{heartbeat, 5}]}].")], "60 (default of RabbitMQ)");
    check(
        &[(ADVANCED, "[{rabbit, [{heartbeat, 5}]}, {rabbit, [{heartbeat, 6}]}].")],
        "6 (/etc/rabbitmq/advanced.config:1)",
    );
    // The old format hides rabbitmq.conf and advanced.config, but conf.d is read below it.
    check(
        &[(OLD, "[{rabbit, []}]."), (CONF, "heartbeat = 20\n"), (ADVANCED, "[{rabbit, [{heartbeat, 5}]}].")],
        "60 (default of RabbitMQ)",
    );
    check(&[(OLD, "[{rabbit, []}]."), (B, "heartbeat = 20\n")], "20 (/etc/rabbitmq/conf.d/50-trueup.conf:1)");
    check(
        &[(OLD, "[{rabbit, [{heartbeat, 7}]}]."), (B, "heartbeat = 20\n")],
        "7 (/etc/rabbitmq/rabbitmq.config:1)",
    );
}

#[test]
fn what_cannot_be_read_is_unknown() {
    #[track_caller]
    fn check(files: &[(&str, Option<&str>)], expected: &str) {
        let files: Files<'_> = files.iter().copied().collect();
        let found = effective(&Paths::default(), &files);
        assert_eq!(show(&found.heartbeat), expected);
        assert!(found.listen.is_err() || expected.contains("`heartbeat`"));
    }
    check(&[(CONF, None)], "`/etc/rabbitmq/rabbitmq.conf` could not be read");
    check(&[(ADVANCED, None)], "`/etc/rabbitmq/advanced.config` could not be read");
    check(&[(CONF, Some("heartbeat 20\n"))], "no `=` in this line at /etc/rabbitmq/rabbitmq.conf:1:1");
    check(
        &[(ADVANCED, Some("[{rabbit,\n []}]"))],
        "a `.` was expected at the end of the term at /etc/rabbitmq/advanced.config:2:6",
    );
    check(
        &[(CONF, Some("heartbeat = 60s\n"))],
        "`heartbeat` is no number at /etc/rabbitmq/rabbitmq.conf:1, so the node does not start",
    );
    check(
        &[(CONF, Some("include more/*.conf\n"))],
        "`/etc/rabbitmq/more/*.conf`, which /etc/rabbitmq/rabbitmq.conf:1 includes, was not read",
    );
}

#[test]
fn included_files_count_where_they_are_included() {
    let files =
        [(CONF, "heartbeat = 1\ninclude more/*.conf\n"), ("/etc/rabbitmq/more/x.conf", "heartbeat = 2\n")];
    assert_eq!(show(&read(&files).heartbeat), "2 (/etc/rabbitmq/more/x.conf:1)");
    let files = [(CONF, "include rabbitmq.conf\n")];
    assert_eq!(show(&read(&files).heartbeat), "`/etc/rabbitmq/rabbitmq.conf` includes itself");
}

#[test]
fn any_listener_option_replaces_the_default_list() {
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &str, lost: &[&str], source: &str) {
        let listen = read(files).listen.unwrap();
        let shown = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?}",
            listen.keepalive.value,
            listen.backlog.value,
            listen.nodelay.value,
            listen.linger.value,
            listen.exit_on_close.value,
            listen.user_timeout.value
        );
        assert_eq!(shown.replace("Some", ""), expected);
        assert_eq!(listen.lost, lost);
        assert_eq!(listen.source.to_string(), source);
    }
    check(&[], "None (128) (true) ((true, 0)) (false) None", &[], "default of RabbitMQ");
    check(
        &[(CONF, "heartbeat = 9\ntcp_listen_options.keepalive = true\n")],
        "(true) None None None None None",
        &["backlog", "nodelay", "linger", "exit_on_close"],
        "/etc/rabbitmq/rabbitmq.conf:2",
    );
    let all = "tcp_listen_options.backlog = 128\ntcp_listen_options.nodelay = true\n\
               tcp_listen_options.linger.on = true\ntcp_listen_options.linger.timeout = 0\n\
               tcp_listen_options.exit_on_close = false\ntcp_listen_options.keepalive = true\n";
    check(
        &[(B, all)],
        "(true) (128) (true) ((true, 0)) (false) None",
        &[],
        "/etc/rabbitmq/conf.d/50-trueup.conf:1",
    );
    check(
        &[(B, all), (Z, "tcp_listen_options.keepalive = false\n")],
        "(false) (128) (true) ((true, 0)) (false) None",
        &[],
        "/etc/rabbitmq/conf.d/50-trueup.conf:1",
    );
    check(
        &[(CONF, "tcp_listen_options.linger.timeout = 3\n")],
        "None None None ((false, 3)) None None",
        &["backlog", "nodelay", "exit_on_close"],
        "/etc/rabbitmq/rabbitmq.conf:1",
    );
    check(
        &[(CONF, "tcp_listen_options = none\n")],
        "None None None None None None",
        &["backlog", "nodelay", "linger", "exit_on_close"],
        "/etc/rabbitmq/rabbitmq.conf:1",
    );
    // advanced.config replaces the whole list, so nothing of the .conf files is left of it.
    check(
        &[
            (B, all),
            (
                ADVANCED,
                "[{rabbit, [{tcp_listen_options,\n  [{keepalive, true}, {nodelay,true},\n   {linger, {true, 0}}, {raw,6,18,<<5000:64/native>>}]}]}].",
            ),
        ],
        "(true) None (true) ((true, 0)) None (5000)",
        &["backlog", "exit_on_close"],
        "/etc/rabbitmq/advanced.config:2",
    );
    check(
        &[(ADVANCED, "[{rabbit, [{tcp_listen_options, [binary, {raw, 1, 2, <<3>>}, {backlog, 16#10}]}]}].")],
        "None (16) None None None None",
        &["nodelay", "linger", "exit_on_close"],
        "/etc/rabbitmq/advanced.config:1",
    );
}

#[test]
fn each_listener_option_has_its_place() {
    let files =
        [(CONF, "tcp_listen_options.backlog = 5\n"), (B, "# ours\ntcp_listen_options.keepalive = true\n")];
    let listen = read(&files).listen.unwrap();
    assert_eq!(listen.keepalive.source.to_string(), "/etc/rabbitmq/conf.d/50-trueup.conf:2");
    assert_eq!(listen.backlog.source.to_string(), "/etc/rabbitmq/rabbitmq.conf:1");
}

#[test]
fn other_settings_are_read() {
    let files = [
        (CONF, "cluster_partition_handling = pause_minority\nvm_memory_high_watermark.relative = 0.4\n"),
        (B, "vm_memory_high_watermark.absolute = 2GB\n"),
        (ADVANCED, "[{rabbit, [{disk_free_limit, {mem_relative, 1.0}}]}]."),
    ];
    let found = read(&files);
    assert_eq!(show(&found.cluster_partition_handling), "pause_minority (/etc/rabbitmq/rabbitmq.conf:1)");
    assert_eq!(show(&found.vm_memory_high_watermark), "2GB (/etc/rabbitmq/conf.d/50-trueup.conf:1)");
    assert_eq!(show(&found.disk_free_limit), "mem_relative 1 (/etc/rabbitmq/advanced.config:1)");
    let found = read(&[]);
    assert_eq!(show(&found.cluster_partition_handling), "ignore (default of RabbitMQ)");
    assert_eq!(show(&found.disk_free_limit), "50000000 (default of RabbitMQ)");
}

#[test]
fn cuttlefish_lines_are_read_as_cuttlefish_reads_them() {
    #[track_caller]
    fn check(text: &str, expected: Result<&[(&str, &str, usize)], &str>) {
        let found = match conf::parse("x.conf", text) {
            Ok(items) => Ok(items
                .into_iter()
                .map(|item| match item {
                    Item::Setting(setting) => (setting.key, setting.value, setting.line),
                    Item::Include { pattern, line } => ("include".to_owned(), pattern, line),
                })
                .collect::<Vec<_>>()),
            Err(error) => Err(error.message().to_owned()),
        };
        let expected = expected.map(|items| {
            items
                .iter()
                .map(|(key, value, line)| ((*key).to_owned(), (*value).to_owned(), *line))
                .collect::<Vec<_>>()
        });
        assert_eq!(found, expected.map_err(str::to_owned), "{text:?}");
    }
    check("a.b = 1\n", Ok(&[("a.b", "1", 1)]));
    check("a=1", Ok(&[("a", "1", 1)]));
    check("\t a.b-c_d\t=\t x y \t\r\n", Ok(&[("a.b-c_d", "x y", 1)]));
    check("a = 1 # note\nb = 2#note\n", Ok(&[("a", "1", 1), ("b", "2", 2)]));
    check("## c\n\n  # d\na = b = c\n", Ok(&[("a", "b = c", 4)]));
    check(
        "a = 'x # y'\nb = '''one\ntwo''' # c\nd = 1\n",
        Ok(&[("a", "x # y", 1), ("b", "one\ntwo", 2), ("d", "1", 4)]),
    );
    check("a\\.b.c = 1\n", Ok(&[("a.b.c", "1", 1)]));
    check("include conf.d/*.conf # all\n", Ok(&[("include", "conf.d/*.conf", 1)]));
    check("a =\n", Err("the value is empty"));
    check("a = # c\n", Err("the value is empty"));
    check("a\n", Err("no `=` in this line"));
    check("[a]\n", Err("no `=` in this line"));
    check("a b = 1\n", Err("the key is not of letters, digits, `_` and `-` joined by dots"));
    check("a..b = 1\n", Err("the key is not of letters, digits, `_` and `-` joined by dots"));
    check("a = 'x' y\n", Err("only a comment may follow the closing quote"));
    check("a = 'x\n", Err("the quote is not closed"));
}

#[test]
fn erlang_terms_are_read() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match advanced::parse("x", text) {
            Ok(node) => plain(&node.term),
            Err(error) => error.message().to_owned(),
        };
        assert_eq!(shown, expected, "{text}");
    }
    fn plain(term: &Term) -> String {
        let join = |nodes: &[advanced::Node]| {
            nodes.iter().map(|node| plain(&node.term)).collect::<Vec<_>>().join(",")
        };
        match term {
            Term::Atom(name) => format!("'{name}'"),
            Term::Int(number) => number.to_string(),
            Term::Float(number) => format!("{number:?}"),
            Term::Text(text) => format!("{text:?}"),
            Term::Binary(numbers) => format!("{numbers:?}"),
            Term::Tuple(nodes) => format!("{{{}}}", join(nodes)),
            Term::List(nodes) => format!("[{}]", join(nodes)),
            Term::Other => "#".into(),
        }
    }
    check("[].", "[]");
    check("% c\n[a, 'B c', {d,1}]\n. % e\n", "['a','B c',{'d',1}]");
    check("[60, -1, 1_000, 16#3C, $a, 0.4, 1.5e-3].", "[60,-1,1000,60,97,0.4,0.0015]");
    check(r#"["a\"b" "c", <<"d">>, <<"e"/utf8>>]."#, r#"["a\"bc","d","e"]"#);
    check(
        "[<<5000:64/native>>, <<1:32/native-unsigned,2:4/native-unit:8>>, <<1,2>>, <<>>].",
        "[[5000],[1, 2],[1, 2],[]]",
    );
    check("[#{a => 1, \"b\" => [c]}].", "[#]");
    check("[60].", "[60]");
    check("60.", "60");
    check("[a", "`,` or `]` was expected");
    check("[a,]", "a term was expected");
    check("[a].[b].", "there is more than one term");
    check("[\"a].", "the quote is not closed");
    check("[99999999999999999999].", "this is no number");
    check(&"[".repeat(100_000), "the terms are nested too deeply");
}

#[test]
fn a_node_looks_where_its_environment_says() {
    #[track_caller]
    fn check(environment: &[(&str, &str)], env_file: &str, version: Option<&str>, expected: [&str; 3]) {
        let environment: BTreeMap<String, String> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let paths = locate(&environment, Some(env_file), version);
        assert_eq!([paths.main.as_str(), &paths.additional, &paths.advanced], expected);
    }
    let default = ["/etc/rabbitmq/rabbitmq", "/etc/rabbitmq/conf.d/*.conf", "/etc/rabbitmq/advanced.config"];
    check(&[], "", None, default);
    check(&[], "# CONFIG_FILE=/x\nNODENAME=rabbit@a\n", Some("3.10.8"), default);
    check(&[], "", Some("3.8.3"), ["/etc/rabbitmq/rabbitmq", "", "/etc/rabbitmq/advanced.config"]);
    check(
        &[],
        "CONFIG_FILE=/a/b\nexport RABBITMQ_ADVANCED_CONFIG_FILE=\"/a/c d.config\"\nCONFIG_FILES='/d' # all\n",
        None,
        ["/a/b", "/d", "/a/c d.config"],
    );
    check(&[("RABBITMQ_CONFIG_FILE", "/p")], "CONFIG_FILE=/a/b\n", None, ["/p", default[1], default[2]]);
}

#[test]
fn other_paths_are_followed() {
    let files: Files<'_> = [
        ("/x/main.conf", "heartbeat = 1\n"),
        ("/x/more/a", "heartbeat = 2\n"),
        ("/x/more/sub/b", "heartbeat = 3\n"),
        ("/etc/rabbitmq/rabbitmq.conf", "heartbeat = 4\n"),
    ]
    .into_iter()
    .map(|(path, text)| (path, Some(text)))
    .collect();
    let paths =
        Paths { main: "/x/main.conf".into(), additional: "/x/more".into(), advanced: "/x/none".into() };
    assert_eq!(paths.conf_files(&files), ["/x/main.conf", "/x/more/a"]);
    assert_eq!(show(&effective(&paths, &files).heartbeat), "2 (/x/more/a:1)");
}
