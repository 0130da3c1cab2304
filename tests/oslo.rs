//! The oslo.config reader against answers recorded from oslo.config 10.7.0 (`tests/oslo/compare.py
//! --record`), and its look-ups, each checked there by hand.

mod edit;
mod order;

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use trueup::conf::oslo::{Config, Source, TransportUrl, boolean, escape, float, integer, read, show};

/// What oslo.config's parser answers: section, key, values; `None` when it refuses the file.
type Recorded = Option<IndexMap<String, IndexMap<String, Vec<String>>>>;

fn config(texts: &[&str]) -> Config {
    let files = texts.iter().enumerate();
    Config::new(files.map(|(at, text)| read(&format!("{at}.conf"), text.as_bytes()).unwrap()).collect())
}

fn ours(bytes: &[u8]) -> Recorded {
    let file = read("case.conf", bytes).ok()?;
    let mut json = show::json(&Config::new(vec![file]));
    let values = |list: &mut serde_json::Value| {
        for place in list.as_array_mut().unwrap() {
            *place = place["value"].take();
        }
    };
    let sections = json["sections"].as_object_mut().unwrap();
    sections.values_mut().flat_map(|keys| keys.as_object_mut().unwrap().values_mut()).for_each(values);
    Some(serde_json::from_value(json["sections"].take()).unwrap())
}

/// With the order of sections and keys, which `==` on maps leaves out.
fn in_order(recorded: &Recorded) -> String {
    serde_json::to_string(recorded).unwrap()
}

#[test]
fn every_recorded_file_reads_as_oslo_config_reads_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oslo/cases");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "conf") {
            let recorded = std::fs::read_to_string(path.with_extension("json")).unwrap();
            let recorded: Recorded = serde_json::from_str(&recorded).unwrap();
            let read = ours(&std::fs::read(&path).unwrap());
            assert_eq!(in_order(&read), in_order(&recorded), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 40, "only {seen} cases found");
}

#[test]
fn every_recorded_document_reads_as_oslo_config_reads_it() {
    let text = include_str!("oslo/cases/generated.json");
    let recorded: Vec<(String, Recorded)> = serde_json::from_str(text).unwrap();
    assert!(recorded.iter().filter(|(_, answer)| answer.is_some()).count() > 100);
    for (text, answer) in recorded {
        assert_eq!(in_order(&ours(text.as_bytes())), in_order(&answer), "{text:?}");
    }
}

#[test]
fn a_file_that_stops_the_service_is_refused_with_its_place() {
    #[track_caller]
    fn check(text: &[u8], message: &str, line: usize, column: usize) {
        let error = read("x.conf", text).unwrap_err();
        let place = error.place().unwrap();
        assert_eq!((error.message(), place.line, place.column), (message, line, column));
    }
    check(b"[DEFAULT]\n  foo = a\n", "unexpected continuation line", 2, 3);
    check(b"[DEFAULT]\nfoo = a\n# n\n  b\n", "unexpected continuation line", 4, 3);
    check(b"[DEFAULT] # c\n", "the section header does not end with `]`", 1, 1);
    check(b"[]\n", "empty section name", 1, 1);
    check(b"[DEFAULT]\r\nfoo\r\n", "no `=` or `:` in this line", 2, 1);
    check(b"\xef\xbb\xbf[DEFAULT]\n", "no `=` or `:` in this line", 1, 1);
    check(b"[DEFAULT]\n = b\n", "unexpected continuation line", 2, 2);
    check(b"[DEFAULT]\n: b\n", "the key is empty", 2, 1);
    check(b"# c\nk = 1\n  more\n[DEFAULT]\n", "an option before any section", 2, 1);
    check(b"[DEFAULT]\na = 1\nk = caf\xe9\n", "not UTF-8: byte 0xe9", 3, 8);
    check(b"\xff", "not UTF-8: byte 0xff", 1, 1);
    check(b"a\n\xff", "not UTF-8: byte 0xff", 2, 1);
}

#[test]
fn the_deciding_occurrence_is_the_one_oslo_config_takes() {
    #[track_caller]
    fn check(texts: &[&str], group: &str, key: &str, old: &[(&str, &str)], expected: Option<(&str, &str)>) {
        let found = config(texts).effective(group, key, old);
        let found = found.map(|found| (found.value, found.source.to_string()));
        assert_eq!(found, expected.map(|(value, source)| (value.to_owned(), source.to_owned())), "{texts:?}");
    }
    let old = &[("DEFAULT", "old")][..];
    check(&["[DEFAULT]\nk=1\nk=2\n"], "DEFAULT", "k", &[], Some(("2", "0.conf:3")));
    check(&["[DEFAULT]\nk=1\n[x]\n[DEFAULT]\nk=2\n"], "DEFAULT", "k", &[], Some(("2", "0.conf:5")));
    check(&["[DEFAULT]\nk=1\n", "[DEFAULT]\nk=2\n"], "DEFAULT", "k", &[], Some(("2", "1.conf:2")));
    check(&["[DEFAULT]\nk=1\n", "[DEFAULT]\nl=2\n"], "DEFAULT", "k", &[], Some(("1", "0.conf:2")));
    check(&["[default]\nk=1\n"], "DEFAULT", "k", &[], None);
    check(&["[ DEFAULT ]\nk=1\n"], "DEFAULT", "k", &[], None);
    check(&["[Grp]\nk=1\n[gRP]\nk=2\n"], "grp", "k", &[], Some(("2", "0.conf:4")));
    check(&["[DEFAULT]\nk=1\n"], "grp", "k", &[], None);
    check(&["[DEFAULT]\nK=1\n"], "DEFAULT", "k", &[], None);
    check(&["[DEFAULT]\na-b=1\n"], "DEFAULT", "a_b", &[], None);
    // The new name wins within a file whatever the order; a later file wins with the old name.
    check(&["[DEFAULT]\nk=1\nold=2\n"], "DEFAULT", "k", old, Some(("1", "0.conf:2")));
    check(&["[DEFAULT]\nk=1\nold=2\n", "[DEFAULT]\nold=3\n"], "DEFAULT", "k", old, Some(("3", "1.conf:2")));
    check(&["[DEFAULT]\nold=1\n[g]\nk=2\n"], "g", "k", old, Some(("2", "0.conf:4")));
}

#[test]
fn many_values_collect_in_reading_order_old_names_first() {
    let texts = ["[DEFAULT]\nm=1\nold=9\n[default]\nm=2\n", "[DEFAULT]\nm=3\nm=4\n"];
    let values = config(&texts).all("DEFAULT", "m", &[("DEFAULT", "old")]);
    assert_eq!(values.iter().map(|v| v.value.as_str()).collect::<Vec<_>>(), ["9", "1", "3", "4"]);
}

#[test]
fn the_environment_beats_files_since_6_7_0() {
    #[track_caller]
    fn check(version: Option<&str>, variable: &str, expected: &str) {
        let variables = BTreeMap::from([(variable.to_owned(), "7".to_owned())]);
        let config = config(&["[grp]\nab=1\n"]).with_environment(variables, version);
        let found = config.effective("Grp", "ab", &[("grp", "old")]).unwrap();
        assert_eq!(found.value, expected, "{version:?} {variable}");
        assert_eq!(matches!(found.source, Source::Environment(_)), expected == "7");
    }
    check(None, "OS_GRP__AB", "7");
    check(Some("10.7.0"), "OS_GRP__AB", "7");
    check(Some("6.7.0"), "OS_GRP__AB", "7");
    check(Some("6.7.0.dev1"), "OS_GRP__AB", "7");
    check(Some("6.6.9"), "OS_GRP__AB", "1");
    check(Some("3.22"), "OS_GRP__AB", "1");
    check(None, "OS_GRP__OLD", "1");
    check(None, "OS_grp__ab", "1");
}

#[test]
fn placeholders_are_replaced_or_make_the_option_unreadable() {
    #[track_caller]
    fn check(value: &str, expected: Option<&str>) {
        let text = "[DEFAULT]\nx=1\nself=$self\ntwo=$x$x\nempty=\n[g]\ny=2\nx=gx\n[Big]\nz=3\n";
        let defaults = |group: &str, key: &str| match (group, key) {
            ("DEFAULT", "none") => Some(None),
            ("DEFAULT", "shipped") => Some(Some("d".to_owned())),
            _ => None,
        };
        let found = config(&[text]).substitute("DEFAULT", value, &defaults);
        assert_eq!(found.ok().as_deref(), expected, "{value}");
    }
    check("plain", Some("plain"));
    check("$x", Some("1"));
    check("a${x}b", Some("a1b"));
    check("$two", Some("11"));
    check("$empty", Some(""));
    check("$g.y", Some("2"));
    check("${g.y}z", Some("2z"));
    check("${Big.z}", Some("3"));
    check("${G.y}", None);
    check("${DEFAULT.x}", None);
    check("$x.", None);
    check("$X", None);
    check("$undefined", None);
    check("$h.z", None);
    check("$self", None);
    check("$none!", Some("!"));
    check("$shipped", Some("d"));
    check("$9 $", Some("$9 $"));
    check("${x", Some("${x"));
    check("$$x", Some("$x"));
    check(r"\$x", Some("$x"));
    check(r"$\$x", Some("$1"));
    check(r"\\$x", Some(r"\$x"));
    let config = config(&["[DEFAULT]\nx=1\nw=5\n[g]\ny=2\nx=gx\n"]);
    assert_eq!(config.substitute("g", "$x $y $w", &|_, _| None).unwrap(), "gx 2 5");
}

#[test]
fn types_convert_as_oslo_config_converts() {
    for (text, value) in [
        ("60", Ok(Some(60))),
        (" 60\n", Ok(Some(60))),
        ("1_0", Ok(Some(10))),
        ("+5", Ok(Some(5))),
        ("-1", Ok(Some(-1))),
        ("", Ok(None)),
        (" \n", Ok(None)),
        ("0x10", Err(())),
        ("60s", Err(())),
        ("60.0", Err(())),
        ("1__0", Err(())),
        ("_1", Err(())),
        ("1_", Err(())),
        ("- 1", Err(())),
        ("90 # s", Err(())),
    ] {
        assert_eq!(integer(text).map_err(|_| ()), value, "{text:?}");
    }
    for (text, value) in [
        ("1e3", Ok(Some(1000.0))),
        ("inf", Ok(Some(f64::INFINITY))),
        ("-Inf", Ok(Some(f64::NEG_INFINITY))),
        ("1_0.5", Ok(Some(10.5))),
        (".5", Ok(Some(0.5))),
        ("5.", Ok(Some(5.0))),
        ("1e1_0", Ok(Some(1e10))),
        ("", Ok(None)),
        ("1._5", Err(())),
        ("1_e5", Err(())),
        ("0x1", Err(())),
    ] {
        assert_eq!(float(text).map_err(|_| ()), value, "{text:?}");
    }
    for (text, value) in [
        ("True", Ok(true)),
        ("ON", Ok(true)),
        ("yes", Ok(true)),
        ("0", Ok(false)),
        (" true", Err(())),
        ("", Err(())),
        ("2", Err(())),
        ("y", Err(())),
        ("enabled", Err(())),
    ] {
        assert_eq!(boolean(text).map_err(|_| ()), value, "{text:?}");
    }
}

#[test]
fn transport_urls_split_as_oslo_messaging_splits_them() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match TransportUrl::parse(text) {
            Err(error) => error,
            Ok(url) => {
                let hosts = url.hosts.iter().map(|host| {
                    let user = host.user.as_deref().unwrap_or("-");
                    let password = host.password.as_ref().map_or("-", |password| password.expose());
                    let port = host.port.map_or("-".to_owned(), |port| port.to_string());
                    format!("{user} {password} {} {port}", host.host)
                });
                let hosts: Vec<_> = hosts.collect();
                format!("{} [{}] {:?} {:?}", url.scheme, hosts.join(", "), url.virtual_host, url.query)
            }
        };
        assert_eq!(shown, expected, "{text}");
    }
    check("rabbit://", "rabbit [] None {}");
    check("rabbit://u:p@h:5672/", r#"rabbit [u p h 5672] Some("") {}"#);
    check("rabbit://u:p@h1:1,v:q@h2/vh", r#"rabbit [u p h1 1, v q h2 -] Some("vh") {}"#);
    check("rabbit://u:p@h1,h2", "rabbit [u p h1 -, - - h2 -] None {}");
    check("rabbit://u%40:p%2F%zz@h//a%2Fb", r#"rabbit [u@ p/%zz h -] Some("/a/b") {}"#);
    check("rabbit://u:p@[::1]:5672/", r#"rabbit [u p ::1 5672] Some("") {}"#);
    check("rabbit://::1/", r#"rabbit [- - ::1 -] Some("") {}"#);
    check("Rabbit://u@h", "rabbit [u - h -] None {}");
    check("rabbit://u:p@x@h", "rabbit [u p@x h -] None {}");
    check(
        "rabbit://h/?heartbeat_timeout_threshold=20&a=1&a=2&b=&c=x%20y+z",
        r#"rabbit [- - h -] Some("") {"a": "1,2", "c": "x y z", "heartbeat_timeout_threshold": "20"}"#,
    );
    check("rabbit://h/v#frag?x=1", r#"rabbit [- - h -] Some("v") {}"#);
    check("h:5672", "h [] None {}");
    check("//h", "the URL has no scheme such as `rabbit:`");
    check("rabbit://u:secret@h:x/", "the port of host `h` is not a number");
    let url = TransportUrl::parse("rabbit://u:hunter2@h/").unwrap();
    assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
}

#[test]
fn a_dollar_is_escaped_so_that_it_comes_back() {
    for text in ["", "a", "$", "$$", r"\$", r"a\$b$", r"\\$", "${x}", r"$\", "$x.y"] {
        let back = Config::default().substitute("DEFAULT", &escape(text), &|_, _| None);
        assert_eq!(back.as_deref(), Ok(text));
    }
}

#[test]
fn the_text_for_people_shows_what_wins_and_hides_passwords() {
    let config = config(&[
        "[DEFAULT]\nrpc_response_timeout = 60\ntransport_url = rabbit://u:hunter2@h:5672/\n",
        "[Default_x]\n[DEFAULT]\nrpc_response_timeout = 90\n[keystone_authtoken]\npassword = hunter2\n",
    ]);
    assert_eq!(
        show::text(&config),
        "[DEFAULT]\n\
         rpc_response_timeout = 90  # 1.conf:3\n  # overrides 60, 0.conf:2\n\
         transport_url = rabbit://u:***@h:5672/  # 0.conf:3\n\n\
         [default_x]\n\n\
         [keystone_authtoken]\npassword = ***  # 1.conf:5\n"
    );
}
