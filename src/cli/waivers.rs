//! Reading waivers: from the inventory's variables, from a file beside the inventory, from `--waivers`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use serde_json::Value;

use crate::audit::health;
use crate::cli::args::{InventorySource, Reach};
use crate::cli::output::Output;
use crate::error::{Diagnostic, Result};
use crate::inventory::{Inventory, Vars};
use crate::waiver::{self, FILE, Resolved, VARIABLE, Waiver, Waivers};
use crate::yaml;

/// Every waiver of the run, with its hosts; `known` are the ids of all tasks. One that matches nothing is
/// warned about.
pub fn read(
    reach: &Reach,
    inventory: &Inventory,
    extra: &Vars,
    known: &BTreeSet<String>,
    output: Output,
) -> Result<Waivers> {
    let mut all = Vec::new();
    for path in files(reach) {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Diagnostic::new(format!("the file of waivers `{name}` cannot be read: {error}"))
        })?;
        for waiver in waiver::parse(&name, &text)? {
            all.push(resolved(waiver, inventory, None, known)?);
        }
    }
    for (waiver, hosts) in of_variables(inventory, extra)? {
        all.push(resolved(waiver, inventory, Some(&hosts), known)?);
    }
    if all.is_empty() {
        return Ok(Waivers::default());
    }
    for Resolved { waiver, fault, .. } in &all {
        if let Some(fault) = fault {
            output.warning(
                &Diagnostic::new(format!("this waiver matches nothing: {fault}")).at(waiver.place.clone()),
            );
        }
    }
    Ok(Waivers { all, today: Some(Zoned::now().date()) })
}

/// The files that hold waivers.
fn files(reach: &Reach) -> Vec<PathBuf> {
    if let Some(path) = &reach.waivers {
        return vec![path.clone()];
    }
    let mut found: Vec<PathBuf> = beside(&reach.source).into_iter().map(|folder| folder.join(FILE)).collect();
    found.retain(|path| path.is_file());
    found.dedup();
    found
}

/// The folders that the inventories stand in: a folder that is an inventory itself holds nothing else.
fn beside(source: &InventorySource) -> Vec<PathBuf> {
    let paths = source.inventory.iter().filter(|inventory| !inventory.contains(',')).map(Path::new);
    paths.map(|path| path.parent().map(Path::to_path_buf).unwrap_or_default()).collect()
}

/// The waivers in variables, each with the hosts that have it.
fn of_variables(inventory: &Inventory, extra: &Vars) -> Result<Vec<(Waiver, BTreeSet<String>)>> {
    let mut values: Vec<(&Value, BTreeSet<String>)> = Vec::new();
    for host in inventory.hosts() {
        let Some(value) = extra.get(VARIABLE).or_else(|| host.vars.get(VARIABLE)) else { continue };
        match values.iter_mut().find(|(known, _)| *known == value) {
            Some((_, hosts)) => {
                hosts.insert(host.name.clone());
            }
            None => values.push((value, [host.name.clone()].into())),
        }
    }
    let mut found = Vec::new();
    for (value, hosts) in values {
        for waiver in of_value(value, &hosts, inventory)? {
            found.push((waiver, hosts.clone()));
        }
    }
    Ok(found)
}

/// The waivers of a value, with their places in the file that it was written in; where that is not known (a
/// script, `-e`), in the value itself.
fn of_value(value: &Value, hosts: &BTreeSet<String>, inventory: &Inventory) -> Result<Vec<Waiver>> {
    let written = inventory.definitions().iter().find(|definition| definition.node.to_value() == *value);
    if let Some(definition) = written {
        return waiver::of_node(&definition.node, &definition.path, &definition.text, false);
    }
    let host = hosts.first().map_or("", String::as_str);
    let name = format!("{VARIABLE} of {host}");
    let text = serde_json::to_string_pretty(value).expect("a value has string keys");
    let Some(node) = yaml::load(&name, &text)? else { return Ok(Vec::new()) };
    waiver::of_node(&node, &name, &text, false)
}

/// A waiver with the hosts of its pattern, `within` those that have the variable it stands in.
fn resolved(
    waiver: Waiver,
    inventory: &Inventory,
    within: Option<&BTreeSet<String>>,
    known: &BTreeSet<String>,
) -> Result<Resolved> {
    let mut hosts: BTreeSet<String> = match &waiver.hosts {
        Some(pattern) => inventory
            .select(pattern, None)
            .map_err(|error| error.at(waiver.place.clone()))?
            .into_iter()
            .collect(),
        None => within.into_iter().flatten().cloned().collect(),
    };
    if let Some(within) = within {
        hosts.retain(|host| within.contains(host));
    }
    let mut faults: Vec<String> =
        waiver.task_fault(known.iter().map(String::as_str).chain([health::TASK])).into_iter().collect();
    if let Some(pattern) = &waiver.hosts {
        for unmatched in inventory.unmatched(pattern)? {
            let meant: String = unmatched.hints().iter().map(|hint| format!("; {hint}")).collect();
            faults.push(format!("{}{meant}", unmatched.message()));
        }
        if hosts.is_empty() && faults.is_empty() {
            faults.push(format!("`{pattern}` selects no host here"));
        }
    }
    // A part of a pattern that selects nothing is worth a word only where nothing else of it does.
    if !hosts.is_empty() {
        faults.retain(|fault| fault.starts_with("no task"));
    }
    let fault = Some(faults.join("; ")).filter(|fault| !fault.is_empty());
    Ok(Resolved { waiver, hosts, fault })
}
