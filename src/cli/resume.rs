//! `trueup resume RUN`: finishes what was interrupted.

use crate::apply::checkpoint::RunId;
use crate::cli::answers::Answers;
use crate::cli::args::RunArgs;
use crate::cli::output::Output;
use crate::cli::policy::{self, Given};
use crate::cli::progress::Progress;
use crate::cli::record::Records;
use crate::cli::work::Work;
use crate::cli::{inputs, remediate, run};
use crate::error::{Diagnostic, Exit, Result};
use crate::report::Report;

/// Goes on with a run: hosts that are confirmed are left alone, those that are open go on at their first step
/// that is not done, those that put themselves back begin anew.
pub async fn run(args: RunArgs, output: Output) -> Result<Exit> {
    let started_at = run::now();
    let RunArgs { run, made: mut args } = args;
    let lease = args.going.lease()?;
    let answers = Answers::prepare(&args.format, &args.files.reports, &[], output)?;
    let records = Records::of(args.going.records.runs.as_deref(), &args.reach.source.inventory);
    let (about, record) = records.find(&run)?;
    let name = about.run.clone();
    if !about.resumable {
        return Err(Diagnostic::new(format!(
            "run {name} cannot be resumed: its plan held a secret and was not recorded"
        ))
        .hint(format!("`trueup rollback {name}` puts it back; then `trueup remediate`")));
    }
    let plan = record.plan()?;
    if about.extra_vars_withheld && args.reach.extra_vars.is_empty() {
        return Err(Diagnostic::new(format!(
            "run {name} was given -e variables that hold a secret and were not recorded"
        ))
        .hint(format!("trueup resume {name} with the same -e; or `trueup rollback {name}` puts it back")));
    }
    about.give_vars(&mut args.reach);
    let inputs = inputs::read(&args.subject(), &args.reach, output)?;
    let (what, command) = (format!("run {name}"), format!("trueup resume {name}"));
    let otherwise = format!("or put it back with `trueup rollback {name}`");
    policy::same(
        &inputs,
        &plan,
        &Given { what: &what, command: &command, playbook: args.playbook.is_some(), otherwise: &otherwise },
    )?;
    let id = RunId::parse(&name).ok_or_else(|| Diagnostic::new(format!("`{name}` is no run")))?;
    let cancel = run::interruptible(output);
    let progress = Progress::noted(answers.journal());
    let playbook = Some(plan.playbook.clone());
    let mut proposed = Report::new("resume", started_at.clone(), playbook, run::Audits::new());
    proposed.add_plan(&plan);
    if !remediate::agreed(&proposed, &plan, &args.going, output)? {
        return Ok(Exit::Findings);
    }
    let this = crate::apply::checkpoint::Run { id, ..run::identity(lease, !args.going.no_failsafe) };
    let work = Work {
        command: "resume",
        started_at,
        plan: &plan,
        inputs: &inputs,
        reach: &args.reach,
        going: &args.going,
        progress: &progress,
        cancel: &cancel,
    };
    let report = work.go(&this, &record, true).await?;
    let exit = answers.give(report, args.going.diff);
    Ok(if cancel.is_cancelled() { Exit::Interrupted } else { exit })
}
