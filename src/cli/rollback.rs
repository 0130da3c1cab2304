//! `trueup rollback RUN`: everything as it was before that run.

use std::collections::BTreeMap;

use crate::apply::checkpoint::{Run, RunId};
use crate::apply::{self, Options};
use crate::cli::answers::Answers;
use crate::cli::args::{RollbackArgs, RunArgs};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::record::{About, Record, Records};
use crate::cli::work::{self, Reached};
use crate::cli::{inputs, prompt, run};
use crate::error::{Diagnostic, Exit, Result};
use crate::plan::outcome::{Ending, HostOutcome};
use crate::plan::{Batch, FORMAT_VERSION, HostPlan, Plan};
use crate::report::{ROLLBACK, Report};

/// Puts a run back on every host that it changed, or on those that `--limit` leaves.
pub async fn run(args: RollbackArgs, output: Output) -> Result<Exit> {
    let RollbackArgs { run: RunArgs { run: wanted, made: mut args }, force } = args;
    let started_at = run::now();
    let lease = args.going.lease()?;
    let answers = Answers::prepare(&args.format, &args.files.reports, &[], output)?;
    let records = Records::of(args.going.records.runs.as_deref(), &args.reach.source.inventory);
    let (about, record) = records.find(&wanted)?;
    about.give_vars(&mut args.reach);
    let inputs = inputs::read(&args.subject(), &args.reach, output)?;
    let id = RunId::parse(&about.run).ok_or_else(|| Diagnostic::new(format!("`{}` is no run", about.run)))?;
    let wanted: Vec<&str> =
        about.hosts.iter().map(String::as_str).filter(|host| inputs.hosts.contains_key(*host)).collect();
    if wanted.is_empty() {
        return Err(Diagnostic::new(format!(
            "run {} changed {}, which this inventory and limit do not select",
            about.run,
            about.hosts.join(", ")
        ))
        .hint("give the inventory that the run was given"));
    }
    if !args.going.yes {
        output.say(&format!("run {} of {} by {}", about.run, about.started_at, about.who));
        if !prompt::confirm(
            &format!("Put back {}?", wanted.join(", ")),
            "look at `trueup plan` first, then give --yes",
        )? {
            output.say("nothing was changed");
            return Ok(Exit::Findings);
        }
    }
    let cancel = run::interruptible(output);
    let progress = Progress::noted(answers.journal());
    let mut plan = plan_of(&about, &record, &wanted);
    // As for an apply with the same limit.
    plan.instances.values_mut().for_each(|hosts| hosts.retain(|host| inputs.hosts.contains_key(host)));
    let patience = args.going.patience();
    let Reached { sites, unreachable } = work::connect(&inputs, patience.deadline, |_| true, &cancel).await;
    let this = Run { id, ..run::identity(lease, !args.going.no_failsafe) };
    let (holds, allow) = (work::holds(&inputs), args.going.allow());
    let options = Options { patience, holds, allow, resume: false };
    let events = work::recording(progress.events(), &record);
    // A host that does not answer is no reason to leave the others as they are.
    let mut outcomes = apply::roll_back(&plan, &this, sites, &options, force, &events, &cancel).await;
    progress.clear();
    // The other hosts are only looked at.
    let unreachable = unreachable.into_iter().filter(|(host, _)| wanted.contains(&host.as_str()));
    outcomes.extend(unreachable.map(|(host, error)| {
        let ending = Ending::NotReached { reason: error.to_string() };
        (host.clone(), HostOutcome { host, ending, done: Vec::new() })
    }));
    // Where nothing was done, what is known already stands.
    let done = outcomes
        .clone()
        .into_iter()
        .filter(|(_, outcome)| !matches!(outcome.ending, Ending::NotReached { .. } | Ending::Refused { .. }));
    let known: BTreeMap<_, _> = record.outcomes().into_iter().chain(done).collect();
    record.write_outcomes(&known)?;
    let cluster =
        run::cluster(&inputs, None, args.reach.forks, &progress, &tokio_util::sync::CancellationToken::new())
            .await?;
    let audits = run::verdicts(&inputs, &cluster);
    let mut report = Report::new(ROLLBACK, started_at, Some(inputs.playbook.clone()), audits);
    report.add_rollback(&plan, &outcomes);
    report.add_health(&cluster);
    report.waive(&inputs.waivers);
    let exit = answers.give(report, args.going.diff);
    Ok(if cancel.is_cancelled() { Exit::Interrupted } else { exit })
}

/// The run's plan for these hosts; where it was not recorded, one host after the other without steps: each
/// host's own checkpoint knows what there is to put back.
fn plan_of(about: &About, record: &Record, wanted: &[&str]) -> Plan {
    let mut plan = record.plan().unwrap_or_else(|_| Plan {
        format_version: FORMAT_VERSION.to_owned(),
        trueup: about.trueup.clone(),
        made_at: about.started_at.clone(),
        playbook: about.playbook.clone(),
        instances: BTreeMap::new(),
        wanted: BTreeMap::new(),
        batches: about
            .hosts
            .iter()
            .map(|host| Batch { max_fail_percentage: 0.0, hosts: vec![HostPlan::new(host)] })
            .collect(),
    });
    for batch in &mut plan.batches {
        batch.hosts.retain(|host| wanted.contains(&host.host.as_str()));
    }
    plan
}
