//! `trueup apply FILE`: a saved plan.

use std::path::Path;

use crate::cli::answers::Answers;
use crate::cli::args::ApplyArgs;
use crate::cli::output::Output;
use crate::cli::policy::{self, Given};
use crate::cli::progress::Progress;
use crate::cli::work::Work;
use crate::cli::{inputs, remediate, run};
use crate::error::{Diagnostic, Exit, Place, Result};
use crate::format_version::can_read;
use crate::plan::{FORMAT_VERSION, Plan};
use crate::report::Report;

/// Applies a saved plan and verifies.
pub async fn run(args: ApplyArgs, output: Output) -> Result<Exit> {
    let started_at = run::now();
    let ApplyArgs { plan: file, made: args } = args;
    args.going.lease()?;
    let answers = Answers::prepare(&args.format, &args.files.reports, &[&file], output)?;
    let plan = load(&file)?;
    let inputs = inputs::read(&args.subject(), &args.reach, output)?;
    let what = format!("the plan `{}`", file.display());
    let command = format!("trueup apply {}", file.display());
    let otherwise = "or plan again";
    policy::same(
        &inputs,
        &plan,
        &Given { what: &what, command: &command, playbook: args.playbook.is_some(), otherwise },
    )?;
    let cancel = run::interruptible(output);
    let progress = Progress::noted(answers.journal());
    let mut proposed =
        Report::new("apply", started_at.clone(), Some(plan.playbook.clone()), run::Audits::new());
    proposed.add_plan(&plan);
    if !plan.is_empty() && !remediate::agreed(&proposed, &plan, &args.going, output)? {
        return Ok(Exit::Findings);
    }
    let work = Work {
        command: "apply",
        started_at,
        plan: &plan,
        inputs: &inputs,
        reach: &args.reach,
        going: &args.going,
        progress: &progress,
        cancel: &cancel,
    };
    let report = work.begin().await?;
    let exit = answers.give(report, args.going.diff);
    Ok(if cancel.is_cancelled() { Exit::Interrupted } else { exit })
}

fn load(path: &Path) -> Result<Plan> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Diagnostic::new(format!("the plan `{name}` cannot be read: {error}")))?;
    let plan: Plan = serde_json::from_str(&text).map_err(|error| {
        Diagnostic::new(format!("`{name}` is not a plan: {error}"))
            .at(Place::new(&name, &text, error.line(), error.column(), 1))
            .hint("`trueup plan -o FILE` writes one")
    })?;
    if !can_read(FORMAT_VERSION, &plan.format_version) {
        return Err(Diagnostic::new(format!(
            "`{name}` is a plan of format {}, and this trueup reads format {FORMAT_VERSION}",
            plan.format_version
        ))
        .hint("plan again"));
    }
    Ok(plan)
}
