//! What a run verifies against must be what its plan was made for: a host that does not hold it is put back.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cli::inputs::Inputs;
use crate::conf::secret;
use crate::drift::fingerprint;
use crate::error::{Diagnostic, Result};
use crate::inventory::Vars;
use crate::plan::{Plan, Wanted};

/// What the tasks that a plan has steps for ask for on each of its hosts.
pub fn wanted(inputs: &Inputs, plan: &Plan) -> Wanted {
    let mut wanted = Wanted::new();
    for host in plan.batches.iter().flat_map(|batch| &batch.hosts) {
        let tasks = inputs.tasks.get(&host.host).into_iter().flatten();
        let has_steps = |id: &String| host.steps.iter().any(|step| step.tasks.contains(id));
        let prints =
            tasks.filter(|task| has_steps(&task.id)).map(|task| (task.id.clone(), fingerprint(task)));
        let prints: BTreeMap<String, String> = prints.collect();
        if !prints.is_empty() {
            wanted.entry(host.host.clone()).or_default().extend(prints);
        }
    }
    wanted
}

/// A plan that is carried out, in the words of the command line.
pub struct Given<'a> {
    /// `run 20261122T131502Z-3f2a`, the plan's file.
    pub what: &'a str,
    /// The command without options: `trueup resume 20261122T131502Z-3f2a`.
    pub command: &'a str,
    /// Was a playbook named?
    pub playbook: bool,
    /// What can be done instead.
    pub otherwise: &'a str,
}

/// Refuses a plan that was made for something else than what these inputs ask for.
pub fn same(inputs: &Inputs, plan: &Plan, given: &Given<'_>) -> Result<()> {
    let Given { what, command, .. } = given;
    if !given.playbook && inputs.playbook != plan.playbook {
        return Err(Diagnostic::new(format!(
            "{what} was made with the playbook `{}`, and would be verified with `{}`",
            plan.playbook, inputs.playbook
        ))
        .hint(format!("{command} --playbook {}", plan.playbook)));
    }
    if let Some(unknown) = plan.host_names().iter().find(|host| !inputs.hosts.contains_key(*host)) {
        return Err(Diagnostic::new(format!(
            "{what} changes `{unknown}`, which this inventory and limit do not select"
        ))
        .hint("give the inventory that it was made with, without --limit"));
    }
    let now = wanted(inputs, plan);
    for (host, tasks) in &plan.wanted {
        let own = now.get(host);
        let other = tasks.iter().find(|(task, print)| own.and_then(|own| own.get(*task)) != Some(*print));
        if let Some((task, _)) = other {
            return Err(Diagnostic::new(format!(
                "{what} was made for another policy: task `{task}` asks for something else on {host} now"
            ))
            .hint(format!(
                "give the playbook, the inventory and the -e variables that it was made with; {}",
                given.otherwise
            )));
        }
    }
    Ok(())
}

/// May these variables be written down? Not when something in them came out of a vault or is named like a secret.
pub fn may_be_recorded(vars: &Vars, secrets: &[String]) -> bool {
    fn is_open(key: &str, value: &Value, secrets: &[String]) -> bool {
        match value {
            Value::Object(map) => map.iter().all(|(key, value)| is_open(key, value, secrets)),
            Value::Array(list) => list.iter().all(|value| is_open(key, value, secrets)),
            Value::Null | Value::Bool(_) => true,
            Value::Number(_) | Value::String(_) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let holds = |secret: &String| !secret.is_empty() && text.contains(secret.as_str());
                secret::mask_value(key, &text) == text && !secrets.iter().any(holds)
            }
        }
    }
    vars.iter().all(|(key, value)| is_open(key, value, secrets))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_with_a_secret_are_not_written_down() {
        let check = |vars: Value, expected: bool| {
            let vars: Vars = vars.as_object().unwrap().clone().into_iter().collect();
            assert_eq!(may_be_recorded(&vars, &["vaulted".to_owned()]), expected, "{vars:?}");
        };
        check(json!({}), true);
        check(json!({"heartbeat_timeout_threshold": 10, "hosts": ["ctl1"], "deep": {"a": null}}), true);
        check(json!({"ansible_password": "x"}), false);
        check(json!({"ansible_become_password": 1234}), false);
        check(json!({"deep": {"rabbit": [{"password": "x"}]}}), false);
        check(json!({"url": "rabbit://openstack:x@ctl1/"}), false);
        check(json!({"banner": ["a vaulted word"]}), false);
    }
}
