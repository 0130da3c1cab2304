use std::fmt::Write as _;

use super::*;

fn check(text: &str, expected: &str) {
    let node = load("test.yml", text).unwrap_or_else(|error| panic!("{text:?}: {}", error.render(false)));
    let value = node.map_or(Value::Null, |node| node.to_value());
    assert_eq!(value.to_string(), expected, "{text:?}");
}

fn fails(text: &str, line: usize, column: usize, message: &str) {
    let error = load("test.yml", text).expect_err(text);
    let place = error.place().expect("a place");
    assert_eq!((place.line, place.column), (line, column), "{}", error.render(false));
    let shown = error.render(false);
    assert!(shown.contains(message), "{text:?}: {shown}");
}

#[test]
fn plain_scalars_are_yaml_1_1() {
    for (text, expected) in [
        ("yes", "true"),
        ("Off", "false"),
        ("y", "\"y\""),
        ("'no'", "\"no\""),
        ("0644", "420"),
        ("0o644", "\"0o644\""),
        ("089", "\"089\""),
        ("12:30", "750"),
        ("-1:30", "-90"),
        ("12:60", "\"12:60\""),
        ("1:30.5", "90.5"),
        ("1e3", "\"1e3\""),
        ("1.0e+3", "1000.0"),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("-0b101", "-5"),
        ("2026-11-22", "\"2026-11-22\""),
        ("2026-11-22 1:02:03.5 -5", "\"2026-11-22T01:02:03.500000-05:00\""),
        ("2026-11-22T10:00:00Z", "\"2026-11-22T10:00:00+00:00\""),
        (".inf", "\"inf\""),
        ("~", "null"),
        ("", "null"),
        ("---", "null"),
        ("!!str 012", "\"012\""),
        ("!!int '012'", "10"),
        ("! 12", "12"),
        ("[! ]", "[\"\"]"),
        ("99999999999999999999", "\"99999999999999999999\""),
        ("18446744073709551615", "18446744073709551615"),
        ("a # b", "\"a\""),
        ("a#b", "\"a#b\""),
        ("http://[::1]:80", "\"http://[::1]:80\""),
        ("!unsafe '{{ x }}'", r#"{"__ansible_unsafe":"{{ x }}"}"#),
        ("!unsafe [a, {b: c}]", r#"[{"__ansible_unsafe":"a"},{"b":{"__ansible_unsafe":"c"}}]"#),
        ("!vault |\n  x\n", r#"{"__ansible_vault":"x\n"}"#),
        ("{1: a, 1.5: b, ~: c, no: d}", r#"{"1":"a","1.5":"b","null":"c","false":"d"}"#),
    ] {
        check(text, expected);
    }
}

#[test]
fn json_is_read_as_json() {
    for (text, expected) in [
        ("{\"a\": 1e3}", r#"{"a":1000.0}"#),
        ("{\"a\": [true, null],\n\t\"b\": \"c\"}", r#"{"a":[true,null],"b":"c"}"#),
        ("{\"a\": {\"__ansible_vault\": \"x\"}}", r#"{"a":{"__ansible_vault":"x"}}"#),
    ] {
        check(text, expected);
    }
}

#[test]
fn merges_and_repeated_keys_follow_python_dictionaries() {
    for (text, expected) in [
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}", r#"{"a":{"x":1,"y":2},"b":{"x":3,"y":2}}"#),
        ("b: {x: 3, <<: {x: 1, z: 2}}", r#"{"b":{"x":3,"z":2}}"#),
        ("b: {<<: [{x: 1}, {x: 2, y: 2}]}", r#"{"b":{"x":1,"y":2}}"#),
        ("a: 1\nb: 2\na: 3", r#"{"a":3,"b":2}"#),
        ("1: a\ntrue: b", r#"{"1":"b"}"#),
        ("a: &x 1\nb: *x", r#"{"a":1,"b":1}"#),
    ] {
        check(text, expected);
    }
    let mut warnings = Vec::new();
    read("test.yml", "a: 1\nb:\n  c: 1\n  c: 2\n", &mut warnings).unwrap();
    let told: Vec<_> = warnings.iter().map(|w| (w.message(), w.place().unwrap().line)).collect();
    assert_eq!(told, [("duplicate key `c`", 4)]);
}

#[test]
fn mistakes_have_a_place_and_a_hint() {
    for (text, line, column, message) in [
        ("a: {{ x }}", 1, 4, "quote the template: \"{{ x }}\""),
        ("a: 1\n\tb: 2", 2, 1, "indent with spaces"),
        ("a: b: c", 1, 5, "quote a value that contains"),
        ("a: 'x", 1, 4, "quot"),
        ("a: *b", 1, 4, "unknown anchor"),
        ("a: &a [*a]", 1, 8, "inside the value"),
        ("a: !foo 1", 1, 4, "unknown tag `!foo`"),
        ("a: <<", 1, 4, "quote it"),
        ("a: 2026-13-01", 1, 4, "looks like"),
        ("a: 1\n---\nb: 2", 3, 1, "more than one document"),
        ("a: \u{1}", 1, 4, "control character"),
        ("[1, 2", 1, 1, "unclosed"),
    ] {
        fails(text, line, column, message);
    }
}

#[test]
fn bombs_and_depths_are_refused() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    for text in [bomb, "[".repeat(5000), "- ".repeat(5000), "- 1".to_owned()] {
        let outcome = load("test.yml", &text);
        assert_eq!(outcome.is_err(), text.len() > 3, "{}", &text[..text.len().min(40)]);
    }
}

#[test]
fn a_type_error_points_at_the_value() {
    let text = "hosts: web\nserial: one\n";
    let node = load("p.yml", text).unwrap().unwrap();
    let error = node.get("serial").unwrap().expect_int("`serial`", "p.yml", text).unwrap_err();
    assert_eq!(error.to_string(), "`serial` must be an integer, not a string");
    assert_eq!(error.place().unwrap().to_string(), "p.yml:2:9");
}
