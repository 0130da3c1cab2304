//! `trueup drift`.

use crate::audit::Cluster;
use crate::cli::answers::Answers;
use crate::cli::args::DriftArgs;
use crate::cli::kept::{Kept, Outcome};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::run::Audits;
use crate::cli::{baseline, inputs, prompt, run};
use crate::drift::{Now, compare};
use crate::error::{Exit, Result};
use crate::facts::Question;
use crate::report::{Report, Style};

/// Says what differs from the last verified run and from what should hold; changes nothing on any host.
pub async fn run(args: DriftArgs, output: Output) -> Result<Exit> {
    let Some(folder) = args.keep.clone().or_else(|| args.notify.is_some().then(|| kept_beside(&args))) else {
        return Ok(compared(&args, None, output).await?.1);
    };
    let kept = Kept::open(&folder, &run::now())?;
    let (outcome, answer) = match compared(&args, Some(&kept), output).await {
        Ok((Some(report), exit)) if exit != Exit::Interrupted => {
            (Outcome::Finished(Box::new(report)), Ok(exit))
        }
        Ok((_, exit)) => (Outcome::Broken("the run was interrupted".to_owned()), Ok(exit)),
        Err(error) => (Outcome::Broken(error.message().to_owned()), Err(error)),
    };
    let told = kept.close(outcome, args.notify.as_deref(), &run::now(), output).await;
    // What went wrong first is said first.
    let exit = answer?;
    told?;
    Ok(exit)
}

/// Where `--notify` alone keeps the verdict it compares with.
fn kept_beside(args: &DriftArgs) -> std::path::PathBuf {
    inputs::home(&args.audit.reach.source.inventory).join("drift")
}

/// One look at every host.
struct Look {
    report: Report,
    cluster: Cluster,
    audits: Audits,
}

/// Reads, compares and answers; the report where one was made.
async fn compared(args: &DriftArgs, kept: Option<&Kept>, output: Output) -> Result<(Option<Report>, Exit)> {
    let subject = &args.audit.subject;
    let answers = Answers::prepare(&subject.format, &subject.files.reports, &[], output)?;
    let started_at = run::now();
    let mut inputs = inputs::read(subject, &args.audit.reach, output)?;
    for reached in inputs.hosts.values_mut() {
        reached.request.questions.push(Question::History);
    }
    let folder = args.baseline.clone().unwrap_or_else(|| baseline::folder(&inputs));
    let baselines = if args.accept {
        let (baselines, faults) = baseline::legible(&folder)?;
        for fault in &faults {
            output.warning(fault);
        }
        baselines
    } else {
        baseline::load(&folder)?
    };
    let cancel = run::interruptible(output);
    let progress = Progress::noted(answers.journal());
    let look = async || -> Result<Look> {
        let facts = args.audit.facts.as_deref();
        let cluster = run::cluster(&inputs, facts, args.audit.reach.forks, &progress, &cancel).await?;
        let audits = run::verdicts(&inputs, &cluster);
        let now = Now {
            tasks: &inputs.tasks,
            cluster: &cluster,
            audits: &audits,
            inventory: &inputs.inventory,
            whole: args.audit.reach.limit.is_none(),
        };
        let drift = compare(&baselines, &now);
        let own = baselines.iter().filter(|(host, _)| inputs.hosts.contains_key(*host));
        let own = own.map(|(host, baseline)| (host.clone(), baseline.clone())).collect();
        let playbook = Some(inputs.playbook.clone());
        let mut report = Report::new("drift", started_at.clone(), playbook, audits.clone());
        report.add_drift(drift, &own);
        report.waive(&inputs.waivers);
        Ok(Look { report, cluster, audits })
    };
    let mut seen = look().await?;
    // A broker that did not answer in time, or a service that was just starting, is no news.
    let is_news = kept.filter(|_| args.notify.is_some()).is_some_and(|kept| kept.is_news(&seen.report));
    if is_news && !cancel.is_cancelled() {
        output.say("the verdict is another than last time: looking once more before it is told");
        seen = look().await?;
    }
    let Look { report, cluster, audits } = seen;
    if args.accept {
        if cancel.is_cancelled() {
            return Ok((None, Exit::Interrupted));
        }
        if !agreed(&report, args.yes, output)? {
            return Ok((None, Exit::Findings));
        }
        baseline::save(&folder, "drift --accept", &inputs, &cluster, &audits)?;
        let gone = baseline::forget(&folder, &baselines, &inputs)?;
        return Ok((None, accepted(&audits, &gone, output)));
    }
    let quiet = args.changes_only && report.exit() == Exit::Compliant;
    let answers = if quiet { answers.silent() } else { answers };
    let exit = answers.give(report.clone(), true);
    Ok((Some(report), exit))
}

/// Lists what would be taken into the baseline, and asks, unless nobody wants to be asked or there is nothing.
fn agreed(report: &Report, yes: bool, output: Output) -> Result<bool> {
    if report.differences().next().is_none() {
        return Ok(true);
    }
    let width = u16::try_from(output.width()).unwrap_or(100);
    let style = Style { colour: output.colour_on_stderr(), width, diff: true, rows: None };
    output.say(&report.differences_text(style));
    if yes {
        return Ok(true);
    }
    let yes = prompt::confirm(
        "Take all of this as the baseline, so that it is told no more?",
        "look at `trueup drift` first, then give --yes",
    )?;
    if !yes {
        output.say("the baseline stays as it was");
    }
    Ok(yes)
}

/// Says whose baseline is a new one.
fn accepted(audits: &Audits, gone: &[String], output: Output) -> Exit {
    let mut exit = Exit::Compliant;
    for (host, verdict) in audits {
        match verdict {
            Ok(audit) => {
                let open = audit.findings.iter().filter(|finding| finding.counts()).count();
                let with =
                    if open > 0 { format!(", with {open} that should not be so") } else { String::new() };
                output.answer(&format!("{host}: what is now is the baseline{with}\n"));
            }
            Err(error) => {
                output.say(&format!("{host}: {error}; its baseline stays as it was"));
                exit = exit.worst(Exit::Unreachable);
            }
        }
    }
    for host in gone {
        output.answer(&format!("{host}: no longer in the inventory, forgotten\n"));
    }
    exit
}
