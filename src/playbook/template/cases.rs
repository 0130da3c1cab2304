//! Templates and what they give.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Renderer, Scope};
use crate::error::Place;
use crate::playbook::{Condition, Scoped, Source, Templates, Vars};

fn scope(vars: &Json) -> Arc<Scope> {
    let vars: Vars = vars.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let scoped = Scoped { vars, ..Scoped::default() };
    let mut templates = Templates::default();
    templates.environment.insert("REGION".to_owned(), "north".to_owned());
    Scope::new(&Renderer::new(&templates), "ctl1", [&scoped])
}

fn place(text: &str) -> Place {
    Place::new("play.yml", text, 1, 1, text.chars().count())
}

/// Recorded by `tests/ansible/expressions.py`.
#[test]
fn every_recorded_expression_gives_what_ansible_gives() {
    let lines: Vec<Json> = serde_json::from_str(include_str!("ansible.json")).unwrap();
    let mut vars = json!({});
    let mut count = 0;
    let mut wrong = Vec::new();
    for line in &lines {
        if let Some(new) = line.get("vars") {
            vars = new.clone();
            continue;
        }
        count += 1;
        let scope = scope(&vars);
        let (raw, got) = if let Some(raw) = line.get("when") {
            let condition = Condition { value: raw.clone(), place: place(&raw.to_string()) };
            (raw, scope.condition(&condition).map(Json::Bool))
        } else {
            let raw = &line["template"];
            (raw, scope.value(raw, &place(&raw.to_string())).map(Option::unwrap_or_default))
        };
        let expected = if line.get("error").is_some() { None } else { Some(line["value"].clone()) };
        if got.clone().ok() != expected {
            wrong.push(format!("{raw}\n  ansible {expected:?}\n  here    {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 300, "{count}");
}

proptest::proptest! {
    /// Whatever a user writes gives a value or an error with a place in the text, never a panic.
    #[test]
    fn no_template_panics(parts in proptest::collection::vec(proptest::sample::select(vec![
        "{{", "}}", "{%", "%}", "{#", "#}", " ", "a", "d.k", "l[0]", "missing.x", "|", "default", "(", ")", "'", "\"",
        "\\", "\\1", "ü", "\n", "is", "defined", "if", "endif", "for", "in", "endfor", "regex_replace", ",", "1", "~",
        "set", "=", "omit", "to_yaml", "loop", "{", "}", ":", "[", "]", "+", "raw", "endraw",
    ]), 0..14)) {
        let text = parts.join(if parts.len() % 2 == 0 { " " } else { "" });
        let scope = scope(&json!({"a": "{{ d.k }}", "d": {"k": "ü\\{{ l }}"}, "l": [1, "{{ a }}"]}));
        for got in [
            scope.value(&json!(text), &place(&text)).err(),
            scope.condition(&Condition { value: json!(text), place: place(&text) }).err(),
            scope.text(&Source { path: "t.j2".to_owned(), text: text.as_str().into() }).err(),
        ].into_iter().flatten() {
            assert!(got.place().is_some_and(|place| place.line >= 1 && place.column >= 1));
            got.render(false);
        }
    }

    #[test]
    fn base64_is_undone(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
        let text = super::base64::encode(&bytes);
        assert_eq!(super::base64::decode(&text), Some(bytes));
    }
}
