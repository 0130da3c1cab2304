//! The editor: one option changes, every other byte stays.

use proptest::prelude::*;
use trueup::conf::oslo::{Config, read, set, set_parsed};

#[track_caller]
fn check(text: &str, group: &str, key: &str, value: &str, expected: &str) {
    let old = [("DEFAULT", "old")];
    let edited = set("x.conf", text.as_bytes(), group, key, value, &old).unwrap();
    assert_eq!(String::from_utf8(edited.bytes).unwrap(), expected);
}

#[test]
fn the_deciding_occurrence_is_changed_in_place() {
    let check = |text, expected| check(text, "DEFAULT", "k", "9", expected);
    check("[DEFAULT]\nk = 1\n", "[DEFAULT]\nk = 9\n");
    check("[DEFAULT]\nk=1", "[DEFAULT]\nk=9");
    check("[DEFAULT]\r\nk\t:\t1 \r\nl = 2\r\n", "[DEFAULT]\r\nk\t:\t9\r\nl = 2\r\n");
    check("[DEFAULT]\nk = 1\nk = 2\n", "[DEFAULT]\nk = 1\nk = 9\n");
    check(
        "[DEFAULT]\nk = 1\n[x]\nk = 5\n[DEFAULT]\nk = 2\n",
        "[DEFAULT]\nk = 1\n[x]\nk = 5\n[DEFAULT]\nk = 9\n",
    );
    check("[DEFAULT]\nk = 1\n  more\n\teven more\n# c\n", "[DEFAULT]\nk = 9\n# c\n");
    check("[DEFAULT]\nk = 'a b'\n", "[DEFAULT]\nk = 9\n");
    check("[DEFAULT]\nk =\n", "[DEFAULT]\nk =9\n");
    check("[DEFAULT]\nk = 90 # s\n", "[DEFAULT]\nk = 9\n");
    check("[DEFAULT]\nk = 9\n", "[DEFAULT]\nk = 9\n");
    check("[DEFAULT]\nk = \"9\"\n", "[DEFAULT]\nk = \"9\"\n");
}

#[test]
fn an_old_name_that_decides_is_changed_under_its_name() {
    let check = |text, expected| check(text, "g", "k", "9", expected);
    check("[DEFAULT]\nold = 1\n", "[DEFAULT]\nold = 9\n");
    check("[DEFAULT]\nold = 1\n[g]\nk = 2\n", "[DEFAULT]\nold = 1\n[g]\nk = 9\n");
}

#[test]
fn an_absent_option_is_added() {
    let check = |text, expected| check(text, "DEFAULT", "k", "9", expected);
    check("[DEFAULT]\na = 1\n\n[x]\nb = 2\n", "[DEFAULT]\na = 1\nk = 9\n\n[x]\nb = 2\n");
    check("[DEFAULT]\na = 1\n  more\n[x]\n", "[DEFAULT]\na = 1\n  more\nk = 9\n[x]\n");
    check("[DEFAULT]\n\n[x]\n", "[DEFAULT]\nk = 9\n\n[x]\n");
    check(
        "[DEFAULT]\na = 1\n# Of k.\n#k = 60\n#b = 2\n",
        "[DEFAULT]\na = 1\n# Of k.\n#k = 60\nk = 9\n#b = 2\n",
    );
    check("[DEFAULT]", "[DEFAULT]\nk = 9");
    check("[DEFAULT]\r\na = 1", "[DEFAULT]\r\na = 1\r\nk = 9");
    check("[x]\na = 1\n", "[x]\na = 1\n\n[DEFAULT]\nk = 9\n");
    check("[x]\na = 1", "[x]\na = 1\n\n[DEFAULT]\nk = 9\n");
    check("[x]\r\na = 1\r\n\r\n", "[x]\r\na = 1\r\n\r\n[DEFAULT]\r\nk = 9\r\n");
    check("", "[DEFAULT]\nk = 9\n");
    check("[default]\nk = 1\n", "[default]\nk = 1\n\n[DEFAULT]\nk = 9\n");
}

#[test]
fn a_group_spelled_in_another_case_is_the_same_group() {
    check("[Grp]\na = 1\n", "grp", "k", "9", "[Grp]\na = 1\nk = 9\n");
}

#[test]
fn values_are_spelled_so_that_the_service_reads_them() {
    let check = |value, line: &str| check("[g]\nk = 1\n", "g", "k", value, &format!("[g]\nk = {line}\n"));
    check("a$b", "a$$b");
    check(r"a\$b", r"a\\$b");
    check(" a ", "\" a \"");
    check("'a'", "\"'a'\"");
    check("\"", "\"\"\"");
    check("a\"b", "a\"b");
    check("", "");
    check("# c", "# c");
    check("rabbit://u:p%40@h/", "rabbit://u:p%40@h/");
}

#[test]
fn references_stay_references_when_asked() {
    let edited = set_parsed("x", b"[g]\nk = 1\n", "g", "k", "$my_ip", &[]).unwrap();
    assert_eq!(edited.bytes, b"[g]\nk = $my_ip\n");
}

#[test]
fn what_cannot_be_is_refused() {
    #[track_caller]
    fn check(text: &str, group: &str, key: &str, value: &str, expected: &str) {
        let error = set("x", text.as_bytes(), group, key, value, &[]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    check("[g]\n k = 1\n", "g", "k", "1", "unexpected continuation line");
    check("[g]\n", "g", "k", "a\nb", "the value cannot be written: it has a line break");
    check("[g]\n", "g", "k", "a\rb", "the value cannot be written: it has a line break");
    check(
        "[g]\n",
        "",
        "k",
        "a",
        "the name cannot be written: the group is empty, has a line break or ends with a blank",
    );
    let key = "the name cannot be written: the key is empty, or has a line break, `=`, `:` or outer blanks";
    check("[g]\n", "g", "", "a", key);
    check("[g]\n", "g", " k", "a", key);
    check("[g]\n", "g", "a=b", "a", key);
    check("[g]\n", "g", "#k", "a", "the name cannot be written: the key begins like a section or a comment");
}

/// Lines of which most mean something, so that documents are often readable.
fn document() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "(k|l|old) ?[=:] ?[a-z0-9'\"$ #]{0,6}",
        2 => "  [a-z=#\\[]{1,5}",
        2 => "[#;] ?(k|l) = [a-z0-9]{0,3}",
        2 => "\\[(DEFAULT|g|G|default|x)\\]",
        1 => Just(String::new()),
    ];
    let ending = prop_oneof![6 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r")];
    (proptest::collection::vec((line, ending), 0..14), any::<bool>()).prop_map(|(lines, cut)| {
        let mut text = "[g]\n".to_owned();
        for (line, ending) in lines {
            text.push_str(&line);
            text.push_str(ending);
        }
        if cut { text.trim_end_matches(['\r', '\n']).to_owned() } else { text }
    })
}

/// Where each line starts, and where the last one ends.
fn line_starts(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'\n' || (byte == b'\r' && text.as_bytes().get(at + 1) != Some(&b'\n')) {
            starts.push(at + 1);
        }
    }
    starts.push(text.len());
    starts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_is_read_back_changes_only_its_lines_and_is_idempotent(
        text in document(),
        group in "(DEFAULT|g|x)",
        value in "[ -~äß]{0,12}",
    ) {
        let old = [("g", "old")];
        let Ok(before) = read("x", text.as_bytes()) else { return Ok(()) };
        let edited = set("x", text.as_bytes(), &group, "k", &value, &old).unwrap();
        let after = read("x", &edited.bytes).unwrap();

        let config = Config::new(vec![after.clone()]);
        let found = config.effective(&group, "k", &old).unwrap();
        prop_assert_eq!(found.source.to_string(), format!("x:{}", edited.line));
        prop_assert_eq!(config.substitute(&group, &found.value, &|_, _| None).unwrap(), value.clone());

        let again = set("x", &edited.bytes, &group, "k", &value, &old).unwrap();
        prop_assert_eq!(&again.bytes, &edited.bytes);

        // Outside the option's own lines every byte is the same; a new option only adds bytes.
        let (old, new) = (text.as_bytes(), edited.bytes.as_slice());
        let same = |a: &mut dyn Iterator<Item = &u8>, b: &mut dyn Iterator<Item = &u8>| {
            a.zip(b).take_while(|(a, b)| a == b).count()
        };
        let head = same(&mut old.iter(), &mut new.iter());
        let tail = same(&mut old.iter().rev(), &mut new.iter().rev());
        if edited.before.is_none() {
            prop_assert!(head + tail >= old.len(), "{:?}", std::str::from_utf8(new));
        } else if old != new {
            let entry = before.entries.iter().rfind(|entry| entry.line == edited.line).unwrap();
            let starts = line_starts(&text);
            prop_assert!(head >= starts[entry.line - 1]);
            prop_assert!(tail >= old.len() - starts[entry.last_line]);
        }

        // Every other option is what it was.
        let others = |file: &trueup::conf::oslo::File| -> Vec<(String, String, String)> {
            let all = file.entries.iter();
            all.filter(|entry| !(["k", "old"].contains(&entry.key.as_str())))
                .map(|entry| (entry.section.clone(), entry.key.clone(), entry.value.clone()))
                .collect()
        };
        prop_assert_eq!(others(&before), others(&after));
    }
}
