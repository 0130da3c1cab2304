//! Secrets are masked, what is no secret stays, and a masked file keeps its lines.

use std::collections::BTreeMap;

use proptest::prelude::*;
use trueup::conf::oslo::{Config, read};
use trueup::conf::secret::{Kind, is_secret_key, mask_argv, mask_environ, mask_file, mask_line, mask_value};

#[test]
fn keys_are_secret_by_their_names() {
    for key in [
        "password",
        "rabbit_password",
        "admin_password",
        "default_pass",
        "OS_KEYSTONE_AUTHTOKEN__PASSWORD",
        "OS_PASSWORD",
        "metadata_proxy_shared_secret",
        "memcache_secret_key",
        "auth_encryption_key",
        "fixed_key",
        "hmac_keys",
        "admin_token",
        "RABBITMQ_ERLANG_COOKIE",
        "-setcookie",
        "--os-password",
        "cluster_formation.aws.secret_key",
        "default_users.a.password",
        "ssl_options.password",
        "MYSQL_PWD",
        "access_key",
    ] {
        assert!(is_secret_key(key), "{key}");
    }
    for key in [
        "transport_url",
        "connection",
        "heartbeat_timeout_threshold",
        "rabbit_userid",
        "ssl_key_file",
        "keyfile",
        "password_hash_algorithm",
        "password_expires_days",
        "token_expiration",
        "OS_DEFAULT__RPC_RESPONSE_TIMEOUT",
        "rpc_response_timeout",
        "default_user",
        "keepalive",
        "key_manager",
        "tcp_listen_options.keepalive",
    ] {
        assert!(!is_secret_key(key), "{key}");
    }
}

#[test]
fn only_the_secret_part_of_a_value_is_masked() {
    #[track_caller]
    fn check(key: &str, value: &str, expected: &str) {
        assert_eq!(mask_value(key, value), expected, "{key} = {value}");
    }
    check("transport_url", "rabbit://u:p@h:5672/v", "rabbit://u:***@h:5672/v");
    check("transport_url", "rabbit://u:p@h1:1,v:q@h2:2/", "rabbit://u:***@h1:1,v:***@h2:2/");
    check("transport_url", "rabbit://u:p%40%2F@[::1]:5672//", "rabbit://u:***@[::1]:5672//");
    check("transport_url", "rabbit://u:p@h/?heartbeat_rate=3", "rabbit://u:***@h/?heartbeat_rate=3");
    // A `://` within a password, behind a letter of two bytes.
    assert_eq!(mask_line("#transport_url=rabbit://u:\u{e4}://x@h/"), "#transport_url=rabbit://u:***@h/");
    assert_eq!(mask_line("#transport_url=rabbit://u:s\"://x@h/"), "#transport_url=rabbit://u:***@h/");
    check("transport_url", "rabbit://u:p@s@h/", "rabbit://u:***@h/");
    check("transport_url", "rabbit://u:p/q?r#s@h/", "rabbit://u:***@h/");
    check("transport_url", "rabbit://h1:5672,h2:5672/", "rabbit://h1:5672,h2:5672/");
    check("transport_url", "rabbit://u@h/", "rabbit://u@h/");
    check("transport_url", "rabbit://", "rabbit://");
    check("connection", "mysql+pymysql://c:p@db/c?charset=utf8", "mysql+pymysql://c:***@db/c?charset=utf8");
    check("connection", "x://h/?password=p&a=1", "x://h/?password=***&a=1");
    check("backend_url", "redis://:p@h:6379/0", "redis://:***@h:6379/0");
    check("password", "p", "***");
    check("password", "", "");
    check("password", "a\nb", "***\n***");
    check("heartbeat_timeout_threshold", "60", "60");
}

#[test]
fn a_line_of_any_kind_is_masked() {
    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(mask_line(line), expected);
    }
    check("password = p\n", "password = ***\n");
    check("#password = p q\r\n", "#password = ***\r\n");
    check("+password=p", "+password=***");
    check("password =\n", "password =\n");
    check("-transport_url = rabbit://u:p@h/\n", "-transport_url = rabbit://u:***@h/\n");
    check("export RABBITMQ_ERLANG_COOKIE=\"p\"", "export RABBITMQ_ERLANG_COOKIE=\"***\"");
    check(r#"{"a": 1, "password": "p", "b": [2]}"#, r#"{"a": 1, "password": "***", "b": [2]}"#);
    check(r#"{"password": "p\"q", "token": 7}"#, r#"{"password": "***", "token": ***}"#);
    check(r#"["x://u:p@h", "y://v:q@i"]"#, r#"["x://u:***@h", "y://v:***@i"]"#);
    check("  password: p  # note", "  password: ***");
    check("{default_pass, <<\"p\">>},", "{default_pass, <<\"***\">>},");
    check("rabbit.default_pass => p", "rabbit.default_pass => ***");
    check("# The password to use: see below.", "# The password to use: see below.");
    check("heartbeat = 60", "heartbeat = 60");
    check("time=12:30 user=x password=p q", "time=12:30 user=x password=***");
    check("password=\"a\" b\"", "password=***");
}

#[test]
fn files_are_masked_by_their_kind() {
    #[track_caller]
    fn check(path: &str, text: &str, expected: &str) {
        assert_eq!(mask_file(Kind::of(path), text), expected, "{path}");
    }
    check(
        "/etc/cinder/cinder.conf",
        "[a]\r\npassword = p\r\n  more\r\n\r\nk = v\r\n  w\r\n#password = old\r\n",
        "[a]\r\npassword = ***\r\n  ***\r\n\r\nk = v\r\n  w\r\n#password = ***\r\n",
    );
    check(
        "/etc/cinder/cinder.conf",
        "[a]\ntransport_url = rabbit://u:p@h1:5672,\n  u:p@h2:5672/\n",
        "[a]\ntransport_url = rabbit://u:***@h1:5672,\n  u:p@h2:5672/\n".replace("u:p@", "***@").as_str(),
    );
    check(
        "/etc/cinder/cinder.conf",
        "[a]\ntransport_url = rabbit://u:pa\n  ss@h2:5672/\n",
        "[a]\ntransport_url = rabbit://***\n  ***@h2:5672/\n",
    );
    check(
        "/etc/rabbitmq/rabbitmq.conf",
        "default_user = u\ndefault_pass = p # x\nheartbeat = 60\n# default_pass = p\nssl_options.password = '''p\nq'''\nloopback_users = none\n",
        "default_user = u\ndefault_pass = ***\nheartbeat = 60\n# default_pass = ***\nssl_options.password = '''***\n***'''\nloopback_users = none\n",
    );
    check(
        "/etc/rabbitmq/rabbitmq-env.conf",
        "NODENAME=x\nERLANG_COOKIE='p'\n",
        "NODENAME=x\nERLANG_COOKIE='***'\n",
    );
    check("/var/lib/rabbitmq/.erlang.cookie", "SECRET", "***");
    check(
        "/etc/rabbitmq/advanced.config",
        "% {default_pass, <<\"p\">>}\n[{rabbit, [{heartbeat, 60}, {default_user, <<\"u\">>},\n  {default_pass,\n    <<\"p\\\"\n q\">>}, {ssl_options, [{password, \"p\"}, {verify, verify_peer}]},\n  {'amqp_uri', \"amqp://u:p@h\"}]}].\n",
        "% {default_pass, <<\"***\">>}\n[{rabbit, [{heartbeat, 60}, {default_user, <<\"u\">>},\n  {default_pass,\n    <<\"***\n\">>}, {ssl_options, [{password, \"***\"}, {verify, verify_peer}]},\n  {'amqp_uri', \"amqp://u:***@h\"}]}].\n",
    );
    check(
        "x.yml",
        "a: 1\nrabbit_password: p\ntokens:\n  - p\nkey: |\n  p\n\n  q\nurl: rabbit://u:p@h/\n- password: 'p\n    q'\n",
        "a: 1\nrabbit_password: \"***\"\ntokens:\n  - \"***\"\nkey: |\n  \"***\"\n\n  \"***\"\nurl: rabbit://u:***@h/\n- password: \"***\"\n    \"***\"\n",
    );
    check(
        "x.diff",
        "--- a\n+++ b\n@@ -1,3 +1,3 @@\n   tail of what\n k = 1\n-password = p\n+password = q\n-  more\n heartbeat = 5\n",
        "--- a\n+++ b\n@@ -1,3 +1,3 @@\n   ***\n k = 1\n-password = ***\n+password = ***\n-  ***\n heartbeat = 5\n",
    );
}

#[test]
fn environments_and_command_lines_are_masked() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (line, expected) in [
        ("x --os-password p --debug", "x --os-password *** --debug"),
        ("x --os-password=p -v", "x --os-password=*** -v"),
        ("beam -setcookie p -sname x", "beam -setcookie *** -sname x"),
        ("x rabbit://u:p@h/", "x rabbit://u:***@h/"),
        ("x --url=rabbit://u:p@h/", "x --url=rabbit://u:***@h/"),
        ("env OS_PASSWORD=p x", "env OS_PASSWORD=*** x"),
        (
            "cinder-volume --config-file /etc/cinder/cinder.conf",
            "cinder-volume --config-file /etc/cinder/cinder.conf",
        ),
        ("x --ask-password --config-file /x", "x --ask-password --config-file /x"),
        (
            "/usr/bin/keystone-manage bootstrap --bootstrap-password p",
            "/usr/bin/keystone-manage bootstrap --bootstrap-password ***",
        ),
    ] {
        assert_eq!(mask_argv(&words(line)), words(expected));
    }
    let variables =
        [("OS_DEFAULT__TRANSPORT_URL", "rabbit://u:p@h"), ("OS_X__PASSWORD", "p"), ("OS_X__A", "1")];
    let variables: BTreeMap<String, String> =
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let masked: Vec<String> = mask_environ(&variables).into_values().collect();
    assert_eq!(masked, ["rabbit://u:***@h", "1", "***"]);
}

#[test]
fn a_masked_file_still_reads_and_keeps_its_other_values() {
    let text = "[DEFAULT]\ntransport_url = rabbit://u:p@h/\n[a]\npassword = \"p\"\n  q\nk = 5\n";
    let masked = mask_file(Kind::Oslo, text);
    let config = Config::new(vec![read("x", masked.as_bytes()).unwrap()]);
    assert_eq!(config.effective("a", "k", &[]).unwrap().source.to_string(), "x:6");
}

/// A secret without the characters its surroundings could not hold unescaped.
fn secret(without: &'static str) -> impl Strategy<Value = String> {
    let plain = "[ -~äß]{8,20}".prop_map(move |text: String| text.replace(|c| without.contains(c), "x"));
    plain.prop_map(|text| format!("S{text}T"))
}

/// No stretch of six characters of `secret` is left.
fn hidden(secret: &str, shown: &str) -> bool {
    let letters: Vec<char> = secret.chars().collect();
    !letters.windows(6).any(|stretch| shown.contains(&stretch.iter().collect::<String>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_secret_never_shows_in_an_assignment(p in secret(""), key in "(password|auth_encryption_key|x_secret)") {
        for sign in ["=", " = ", ": ", ":"] {
            let line = format!("{key}{sign}{p}\n");
            prop_assert!(hidden(&p, &mask_line(&line)), "{} -> {}", line, mask_line(&line));
            let file = format!("[a]\n{line}  {p}\n#{line}");
            let shown = mask_file(Kind::Oslo, &file);
            prop_assert!(hidden(&p, &shown), "{} -> {}", file, shown);
            prop_assert_eq!(shown.lines().count(), file.lines().count());
        }
        let conf = format!("default_pass = {p}\n# default_pass = '{p}'\n");
        prop_assert!(hidden(&p, &mask_file(Kind::Rabbitmq, &conf)));
    }

    #[test]
    fn a_secret_never_shows_in_a_url(p in secret(","), q in secret("@,"), r in secret("@,")) {
        let one = format!("rabbit://user:{p}@host:5672/");
        prop_assert!(hidden(&p, &mask_value("transport_url", &one)));
        let many = format!("rabbit://user:{q}@h1:5672,user:{r}@h2:5672/");
        let shown = mask_value("transport_url", &many);
        prop_assert_eq!(&shown, "rabbit://user:***@h1:5672,user:***@h2:5672/");
        let file = format!("[DEFAULT]\ntransport_url = {many}\n#transport_url={many}\n");
        let shown = mask_file(Kind::Oslo, &file);
        prop_assert!(hidden(&q, &shown) && hidden(&r, &shown), "{}", shown);
    }

    #[test]
    fn a_secret_never_shows_across_continuation_lines(p in secret("@,"), cut in 1_usize..8) {
        let at = p.char_indices().nth(cut).unwrap().0;
        let file = format!("[DEFAULT]\ntransport_url = rabbit://u:{}\n  {}@h/\nk = 1\n", &p[..at], &p[at..]);
        let shown = mask_file(Kind::Oslo, &file);
        prop_assert!(hidden(&p, &shown), "{} -> {}", file, shown);
        prop_assert!(shown.ends_with("@h/\nk = 1\n"), "{}", shown);
    }

    #[test]
    fn a_secret_never_shows_in_json(p in secret(""), q in secret("@, \"'<(\\")) {
        let url = format!("rabbit://u:{q}@h/");
        let json = serde_json::json!({"a": [1, url], "password": p, "b": {"admin_token": p, "c": "plain"}});
        for text in [json.to_string(), serde_json::to_string_pretty(&json).unwrap()] {
            let shown = mask_file(Kind::Text, &text);
            prop_assert!(hidden(&p, &shown) && hidden(&q, &shown), "{} -> {}", text, shown);
            let escaped = serde_json::to_string(&p).unwrap();
            prop_assert!(hidden(&escaped[1..escaped.len() - 1], &shown), "{} -> {}", text, shown);
            let back: serde_json::Value = serde_json::from_str(&shown).unwrap();
            prop_assert_eq!(&back["b"]["c"], "plain");
        }
    }

    #[test]
    fn a_secret_never_shows_in_erlang_terms(p in secret("")) {
        let text = p.replace('\\', "\\\\").replace('"', "\\\"");
        let file = format!("[{{rabbit, [{{default_pass,\n <<\"{text}\">>}}, {{heartbeat, 5}}, {{password, {{encrypted, <<\"{text}\">>}}}}]}}].\n");
        let shown = mask_file(Kind::Erlang, &file);
        prop_assert!(hidden(&p, &shown) && hidden(&text, &shown), "{} -> {}", file, shown);
        let kept = "{heartbeat, 5}";
        prop_assert!(shown.contains(kept));
        prop_assert_eq!(shown.lines().count(), file.lines().count());
    }

    #[test]
    fn a_secret_never_shows_in_yaml(p in secret("")) {
        let single = p.replace('\'', "''");
        let double = p.replace('\\', "\\\\").replace('"', "\\\"");
        let file = format!("a: 1\npassword: {p}\n- db_password: '{single}'\n  x_token: \"{double}\"\nsecret_key: |\n  {p}\n  {p}\nb: 2\n");
        let shown = mask_file(Kind::Yaml, &file);
        prop_assert!([&p, &single, &double].iter().all(|p| hidden(p, &shown)), "{} -> {}", file, shown);
        prop_assert!(shown.ends_with("\nb: 2\n"));
        prop_assert_eq!(shown.lines().count(), file.lines().count());
    }

    #[test]
    fn a_secret_never_shows_in_a_diff(p in secret("@,"), radius in 0_usize..3) {
        let old = format!("[a]\nk = 1\nl = 2\npassword = {p}\n  {p}\nm = 3\ntransport_url = rabbit://u:{p}@h/\nn = 4\n");
        let new = old.replace("k = 1", "k = 2").replace("m = 3", "m = 4");
        let diff = similar::TextDiff::from_lines(&old, &new).unified_diff().context_radius(radius).to_string();
        let shown = mask_file(Kind::Diff, &diff);
        prop_assert!(hidden(&p, &shown), "{} -> {}", diff, shown);
        prop_assert!(shown.contains("+m = 4"));
    }

    #[test]
    fn a_secret_never_shows_in_a_command_line(p in secret(",")) {
        let words = ["x".to_owned(), format!("--password={p}"), "--os-token".into(), p.clone(), format!("rabbit://u:{p}@h")];
        let shown = mask_argv(&words).join(" ");
        prop_assert!(hidden(&p, &shown), "{}", shown);
    }
}
