//! The functions and names that every template has.

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, State};

use super::python::{Omit, invalid};
use crate::playbook::Templates;

/// Every function, for suggestions.
pub(super) const NAMES: &[&str] = &["dict", "lookup", "namespace", "q", "query", "range"];

pub(super) fn add(env: &mut Environment<'static>, templates: &Templates) {
    env.add_global("omit", Value::from_object(Omit));
    for (name, as_list) in [("lookup", false), ("query", true), ("q", true)] {
        let environment = templates.environment.clone();
        env.add_function(name, move |state: &State, plugin: String, terms: Rest<String>, kwargs: Kwargs| {
            let default = kwargs.get::<Option<Value>>("default")?;
            let wantlist = kwargs.get::<Option<bool>>("wantlist")?.unwrap_or(as_list);
            kwargs.assert_all_used()?;
            let found: Vec<Value> = match plugin.strip_prefix("ansible.builtin.").unwrap_or(&plugin) {
                "env" => terms
                    .iter()
                    .map(|name| match (environment.get(name), &default) {
                        (Some(value), _) => Value::from(value.as_str()),
                        (None, Some(default)) => default.clone(),
                        (None, None) => Value::from(""),
                    })
                    .collect(),
                "vars" => terms
                    .iter()
                    .map(|name| match (state.lookup(name), &default) {
                        (Some(value), _) if !value.is_undefined() => Ok(value),
                        (_, Some(default)) => Ok(default.clone()),
                        _ => Err(invalid(format!("no variable `{name}` was found by the lookup `vars`"))),
                    })
                    .collect::<Result<_, Error>>()?,
                other => return Err(invalid(format!("the lookup `{other}` of Ansible is not supported"))),
            };
            if wantlist {
                return Ok(Value::from(found));
            }
            match <[Value; 1]>::try_from(found) {
                Ok([one]) => Ok(one),
                Err(several) => {
                    Ok(Value::from(several.iter().map(super::python::str_of).collect::<Vec<_>>().join(",")))
                }
            }
        });
    }
}
