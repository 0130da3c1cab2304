//! `trueup remediate`: audit, plan, ask, apply, verify.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::apply::checkpoint::Run;
use crate::apply::remote::Remote;
use crate::apply::{self, Holds, Options, Sites};
use crate::audit::{Cluster, Finding, Level, Remedy, Status, audit, health};
use crate::cli::answers::Answers;
use crate::cli::args::{Going, RemediateArgs};
use crate::cli::inputs::Inputs;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{inputs, prompt, run};
use crate::error::{Exit, HostError, Result};
use crate::event::Event;
use crate::plan::Plan;
use crate::plan::outcome::{Ending, HostOutcome};
use crate::report::{Report, Style};
use crate::transport::Lasting;

/// Audits, plans, asks, applies and verifies.
pub async fn run(args: RemediateArgs, output: Output) -> Result<Exit> {
    let started_at = run::now();
    let lease = args.going.lease()?;
    let answers = Answers::prepare(&args.subject.format, &args.subject.files.reports, &[], output)?;
    let inputs = inputs::read(&args.subject, &args.reach, output)?;
    let cancel = run::interruptible(output);
    let progress = Progress::noted(answers.journal());
    let cluster = run::cluster(&inputs, None, args.reach.forks, &progress, &cancel).await?;
    let audits = run::verdicts(&inputs, &cluster);
    let plan = run::plan(&inputs, &audits, &cluster, &started_at);
    let mut report = Report::new("remediate", started_at.clone(), Some(inputs.playbook.clone()), audits);
    report.add_plan(&plan);
    report.waive(&inputs.waivers);
    if args.check || plan.is_empty() {
        return Ok(answers.give(report, args.going.diff));
    }
    if !agreed(&report, &plan, &args.going, output)? {
        return Ok(Exit::Findings);
    }
    let run = run::identity(lease, !args.going.no_failsafe);
    let outcomes = carry_out(&plan, &run, &inputs, &args.going, false, &progress, &cancel).await?;
    let mut after =
        afterwards("remediate", started_at, &plan, &outcomes, &inputs, args.reach.forks, &progress, &cancel)
            .await?;
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
    let style = Style { colour: output.colour_on_stderr(), width, diff: going.diff };
    output.say(&report.changes_text(style));
    let yes = prompt::confirm(&format!("Change {}?", plan.host_names().join(", ")))?;
    if !yes {
        output.say("nothing was changed");
    }
    Ok(yes)
}

/// What of a host's steps its own fresh facts do not show: tasks that a step is for and that still do not
/// hold in files, after a reboot, or in what runs. Connections come back later, and are looked at afterwards.
pub fn holds(inputs: &Inputs) -> Holds {
    let tasks = Arc::clone(&inputs.tasks);
    Arc::new(move |host, facts| {
        let cluster = Cluster::from([(host.host.clone(), Ok(facts.clone()))]);
        let verdicts = audit(&tasks, &cluster);
        let is_for = |finding: &Finding| {
            let blocked = host.blocked.iter().any(|blocked| blocked.task == finding.task);
            !blocked && host.steps.iter().any(|step| step.tasks.contains(&finding.task))
        };
        let open = |finding: &&Finding| {
            finding.status == Status::Fail
                && finding.remedy == Remedy::Automatic
                && finding.level != Level::Connection
                && is_for(finding)
        };
        let findings = verdicts.get(&host.host).into_iter().flatten().flat_map(|audit| &audit.findings);
        findings
            .filter(open)
            .map(|finding| {
                format!(
                    "{}: {} is {}, not {}",
                    finding.task, finding.subject, finding.actual, finding.expected
                )
            })
            .collect()
    })
}

/// Connects to the hosts, then applies the plan. A host of the plan that cannot be reached stops the run
/// before anything is changed; the others are only looked at.
pub async fn carry_out(
    plan: &Plan,
    run: &Run,
    inputs: &Inputs,
    going: &Going,
    resume: bool,
    progress: &Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<BTreeMap<String, HostOutcome>> {
    let patience = going.patience();
    let mut connections = JoinSet::new();
    for (host, reached) in &inputs.hosts {
        let (host, target, cancel) = (host.clone(), reached.target.clone(), cancel.clone());
        connections.spawn(async move {
            let connected = tokio::select! {
                connected = Lasting::connect(target) => connected,
                () = cancel.cancelled() => Err(HostError::Interrupted),
            };
            (host, connected)
        });
    }
    let planned = plan.host_names();
    let mut sites: Sites<Remote<Lasting>> = BTreeMap::new();
    let mut unreachable: BTreeMap<String, HostError> = BTreeMap::new();
    while let Some(connection) = connections.join_next().await {
        let (host, connected) = connection.expect("connecting does not panic");
        match connected {
            Ok(transport) => {
                let request = inputs.hosts[&host].request.clone();
                let restart_deadline = patience.deadline;
                sites.insert(host, Arc::new(Remote { transport, request, restart_deadline }));
            }
            Err(error) if planned.contains(&host) => {
                unreachable.insert(host, error);
            }
            Err(_) => {}
        }
    }
    if !unreachable.is_empty() {
        return Ok(apply::not_reached(plan, &unreachable));
    }
    let events = progress.events();
    let text = if run.failsafe {
        let seconds = run.lease.as_secs();
        format!("run {}: a host that does not hear of it for {seconds} s puts itself back", run.id)
    } else {
        format!("run {}: without a failsafe", run.id)
    };
    events(Event::Note { host: None, text });
    let options = Options { patience, holds: holds(inputs), resume };
    let outcomes = apply::apply(plan, run, sites, &options, &events, cancel).await;
    progress.clear();
    Ok(outcomes)
}

/// Reads and audits every host again, and says what was done and what holds now.
#[expect(clippy::too_many_arguments, reason = "the whole of a run comes together here, for two commands")]
pub async fn afterwards(
    command: &str,
    started_at: String,
    plan: &Plan,
    outcomes: &BTreeMap<String, HostOutcome>,
    inputs: &Inputs,
    forks: u16,
    progress: &Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Report> {
    // After an interruption the hosts are still read: the report must say what is.
    let reading = if cancel.is_cancelled() { CancellationToken::new() } else { cancel.clone() };
    // Connections come back one by one, and a dead consumer stays until its broker notices: what does not
    // hold at the first look may hold at the next. Where the apply failed, nothing is waited for.
    let went_well = outcomes.values().all(|outcome| outcome.ending == Ending::Applied);
    let deadline = Instant::now() + VERIFY_FOR;
    loop {
        let cluster: Cluster = run::cluster(inputs, None, forks, progress, &reading).await?;
        let audits = run::verdicts(inputs, &cluster);
        let mut report = Report::new(command, started_at.clone(), Some(inputs.playbook.clone()), audits);
        report.add_outcome(plan, outcomes);
        report.add_health(&cluster);
        report.waive(&inputs.waivers);
        let open = || report.hosts.values().flat_map(|host| &host.findings).any(may_pass);
        if !went_well || reading.is_cancelled() || Instant::now() > deadline || !open() {
            return Ok(report);
        }
        tokio::time::sleep(VERIFY_PAUSE).await;
    }
}

/// How long a verification looks again at what does not hold yet.
const VERIFY_FOR: Duration = Duration::from_secs(30);

/// Between two looks.
const VERIFY_PAUSE: Duration = Duration::from_secs(3);

/// May this finding pass by itself after an apply? What a person must mend does not, unless it is about
/// the health of brokers and services.
fn may_pass(finding: &Finding) -> bool {
    finding.counts()
        && (finding.remedy != Remedy::Manual
            || finding.status == Status::Unknown
            || finding.task == health::TASK)
}
