//! `trueup explain`.

use std::fmt::Write as _;

use crate::cli::args::{ExplainArgs, InventorySource};
use crate::cli::inputs;
use crate::cli::output::Output;
use crate::error::{Diagnostic, Exit, Result};
use crate::inventory::vault;
use crate::playbook::explain;

/// Explains a task, or lists them all.
pub fn run(args: &ExplainArgs, output: Output) -> Result<Exit> {
    let nowhere = InventorySource {
        inventory: Vec::new(),
        vault_password_file: Vec::new(),
        vault_id: Vec::new(),
        ask_vault_pass: false,
    };
    let loaded = inputs::playbook(args.playbook.as_deref(), &nowhere, &vault::Keys::default())?;
    let tasks = || loaded.playbook.plays.iter().flat_map(|play| &play.tasks);
    let Some(id) = &args.task else {
        let width = tasks().map(|task| task.id.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for task in tasks() {
            let _ = writeln!(text, "{:width$}  {}", task.id, task.name);
        }
        output.answer(&text);
        return Ok(Exit::Compliant);
    };
    let task = tasks().find(|task| task.id == *id).ok_or_else(|| {
        Diagnostic::new(format!("no task `{id}` in {}", loaded.playbook.path))
            .suggest(id, tasks().map(|task| task.id.as_str()))
    })?;
    output.answer(&explain(task));
    Ok(Exit::Compliant)
}
