//! `trueup remediate`: audit, plan, ask, apply, verify.

use crate::cli::answers::Answers;
use crate::cli::args::{Going, RemediateArgs};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::work::Work;
use crate::cli::{baseline, inputs, prompt, run};
use crate::error::{Exit, Result};
use crate::plan::Plan;
use crate::report::{Report, Style};

/// Audits, plans, asks, applies and verifies.
pub async fn run(args: RemediateArgs, output: Output) -> Result<Exit> {
    let started_at = run::now();
    args.going.lease()?;
    let answers = Answers::prepare(&args.subject.format, &args.subject.files.reports, &[], output)?;
    let inputs = inputs::read(&args.subject, &args.reach, output)?;
    let cancel = run::interruptible(output);
    let progress = Progress::noted(answers.journal());
    let cluster = run::cluster(&inputs, None, args.reach.forks, &progress, &cancel).await?;
    let audits = run::verdicts(&inputs, &cluster);
    let plan = run::plan(&inputs, &audits, &cluster, &started_at);
    let mut report =
        Report::new("remediate", started_at.clone(), Some(inputs.playbook.clone()), audits.clone());
    report.add_plan(&plan);
    report.waive(&inputs.waivers);
    if args.check || plan.is_empty() {
        if !args.check && report.exit() == Exit::Compliant {
            baseline::keep(&report, &inputs, &cluster, &audits, &progress.events());
        }
        return Ok(answers.give(report, args.going.diff));
    }
    if !agreed(&report, &plan, &args.going, output)? {
        return Ok(Exit::Findings);
    }
    let work = Work {
        command: "remediate",
        started_at,
        plan: &plan,
        inputs: &inputs,
        reach: &args.reach,
        going: &args.going,
        progress: &progress,
        cancel: &cancel,
    };
    let mut after = work.begin().await?;
    after.add_before(&report);
    let exit = answers.give(after, args.going.diff);
    Ok(if cancel.is_cancelled() { Exit::Interrupted } else { exit })
}

/// Shows what would be done and asks, unless `--yes` was given.
pub fn agreed(report: &Report, plan: &Plan, going: &Going, output: Output) -> Result<bool> {
    if going.yes {
        return Ok(true);
    }
    let width = u16::try_from(output.width()).unwrap_or(100);
    let style = Style { colour: output.colour_on_stderr(), width, diff: going.diff, rows: None };
    output.say(&report.changes_text(style));
    let yes = prompt::confirm(
        &format!("Change {}?", plan.host_names().join(", ")),
        "look at `trueup plan` first, then give --yes",
    )?;
    if !yes {
        output.say("nothing was changed");
    }
    Ok(yes)
}
