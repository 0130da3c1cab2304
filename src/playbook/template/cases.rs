//! Templates and what they give.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Renderer, Scope};
use crate::error::Place;
use crate::playbook::{Condition, Scoped, Templates, Vars};

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
