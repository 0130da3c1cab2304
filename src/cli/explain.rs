//! `trueup explain`.

use crate::cli::args::{ExplainArgs, InventorySource};
use crate::cli::inputs;
use crate::cli::output::Output;
use crate::error::{Diagnostic, Exit, Result};
use crate::inventory::vault;
use crate::playbook::{Task, explain};
use crate::report::beside;

/// The widest text that is easy to read.
const WIDEST: usize = 100;

/// Explains a task, or lists them all.
pub fn run(args: &ExplainArgs, output: Output) -> Result<Exit> {
    let nowhere = InventorySource {
        inventory: Vec::new(),
        vault_password_file: Vec::new(),
        vault_id: Vec::new(),
        ask_vault_pass: false,
    };
    let loaded = inputs::playbook(args.playbook.as_deref(), &nowhere, &vault::Keys::default())?;
    let tasks =
        || loaded.playbook.plays.iter().flat_map(|play| play.tasks.iter().map(move |task| (play, task)));
    let Some(id) = &args.task else {
        output.answer(&list(tasks().map(|(_, task)| task), output.width()));
        return Ok(Exit::Compliant);
    };
    let (play, task) = tasks().find(|(_, task)| task.id == *id).ok_or_else(|| {
        Diagnostic::new(format!("no task `{id}` in {}", loaded.playbook.path))
            .suggest(id, tasks().map(|(_, task)| task.id.as_str()))
    })?;
    // A playbook may need what an inventory gives; then its values are shown as they are written.
    let filled = play.filled(task, &loaded.templates).ok();
    output.answer(&explain(task, filled.as_ref(), output.width().min(WIDEST)));
    Ok(Exit::Compliant)
}

/// Every task and its name.
fn list<'a>(tasks: impl Iterator<Item = &'a Task> + Clone, width: usize) -> String {
    let longest = tasks.clone().map(|task| task.id.chars().count()).max().unwrap_or(0);
    tasks.map(|task| beside(&task.id, &task.name, longest + 2, width)).collect()
}
