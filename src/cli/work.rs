//! What `remediate`, `apply`, `resume` and `rollback` have in common: reach the hosts, change them, keep a
//! record of the run, verify.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::apply::checkpoint::Run;
use crate::apply::remote::Remote;
use crate::apply::{self, Holds, Options, Sites};
use crate::audit::{Cluster, Finding, Level, Remedy, Status, audit, health};
use crate::cli::args::{Going, Reach};
use crate::cli::baseline;
use crate::cli::inputs::Inputs;
use crate::cli::progress::Progress;
use crate::cli::record::{About, Record, Records};
use crate::cli::run;
use crate::error::{HostError, Result};
use crate::event::{Event, Events};
use crate::plan::Plan;
use crate::plan::outcome::{Ending, HostOutcome};
use crate::report::{self, Report};
use crate::transport::Lasting;

/// A plan that is carried out for a command.
pub struct Work<'a> {
    /// The command.
    pub command: &'static str,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// What is done.
    pub plan: &'a Plan,
    /// What the user gave.
    pub inputs: &'a Inputs,
    /// How hosts are reached.
    pub reach: &'a Reach,
    /// How it is carried out.
    pub going: &'a Going,
    /// Where it is shown.
    pub progress: &'a Arc<Progress>,
    /// Stops it.
    pub cancel: &'a CancellationToken,
}

/// The hosts that were reached, and why the others were not.
pub struct Reached {
    /// Each ready to be changed.
    pub sites: Sites<Remote<Lasting>>,
    /// Why not.
    pub unreachable: BTreeMap<String, HostError>,
}

impl Work<'_> {
    /// Begins a new run: its record first, because without one there is no way back later.
    pub async fn begin(&self) -> Result<Report> {
        let lease = self.going.lease()?;
        let run = run::identity(lease, !self.going.no_failsafe);
        let inventories = &self.reach.source.inventory;
        let about = About::new(
            run.id.to_string(),
            self.command,
            self.started_at.clone(),
            run.who.clone(),
            inventories.clone(),
            self.plan,
        );
        let about = About { extra_vars: self.inputs.extra_vars.clone(), ..about };
        let records = Records::of(self.going.records.runs.as_deref(), inventories);
        let record = records.begin(about, self.plan, &self.inputs.secrets)?;
        self.go(&run, &record, false).await
    }

    /// Carries the plan out and verifies. The record knows how it went after every host.
    pub async fn go(&self, run: &Run, record: &Record, resume: bool) -> Result<Report> {
        let Reached { sites, mut unreachable } =
            connect(self.inputs, self.going.patience().deadline, |_| true, self.cancel).await;
        // The other hosts are only looked at.
        let planned = self.plan.host_names();
        unreachable.retain(|host, _| planned.contains(host));
        let outcomes = if unreachable.is_empty() {
            let events = recording(self.progress.events(), record);
            let text = if run.failsafe {
                let seconds = run.lease.as_secs();
                format!("run {}: a host that does not hear of it for {seconds} s puts itself back", run.id)
            } else {
                format!("run {}: without a failsafe", run.id)
            };
            events(Event::Note { host: None, text });
            let (patience, allow) = (self.going.patience(), self.going.allow());
            let options = Options { patience, holds: holds(self.inputs), allow, resume };
            let outcomes = apply::apply(self.plan, run, sites, &options, &events, self.cancel).await;
            self.progress.clear();
            outcomes
        } else {
            apply::not_reached(self.plan, &unreachable)
        };
        record.write_outcomes(&outcomes)?;
        let mut report = self.afterwards(&outcomes).await?;
        let untouched = |outcome: &HostOutcome| {
            matches!(outcome.ending, Ending::NotReached { .. } | Ending::Refused { .. })
                || outcome.ending.is_back()
        };
        if !outcomes.values().all(untouched) {
            report.run = Some(run.id.to_string());
        }
        record.write_report(&report::as_json(&report))?;
        Ok(report)
    }

    /// Reads and audits every host again, and says what was done and what holds now.
    async fn afterwards(&self, outcomes: &BTreeMap<String, HostOutcome>) -> Result<Report> {
        // After an interruption the hosts are still read: the report must say what is.
        let reading = if self.cancel.is_cancelled() { CancellationToken::new() } else { self.cancel.clone() };
        // Connections come back one by one, and a dead consumer stays until its broker notices: what does not
        // hold at the first look may hold at the next. Where the apply failed, nothing is waited for.
        let went_well = outcomes.values().all(|outcome| outcome.ending == Ending::Applied);
        let deadline = Instant::now() + VERIFY_FOR;
        loop {
            let cluster: Cluster =
                run::cluster(self.inputs, None, self.reach.forks, self.progress, &reading).await?;
            let audits = run::verdicts(self.inputs, &cluster);
            let playbook = Some(self.inputs.playbook.clone());
            let mut report = Report::new(self.command, self.started_at.clone(), playbook, audits);
            report.add_outcome(self.plan, outcomes);
            report.add_health(&cluster);
            report.waive(&self.inputs.waivers);
            let open = || report.hosts.values().flat_map(|host| &host.findings).any(may_pass);
            if !went_well || reading.is_cancelled() || Instant::now() > deadline || !open() {
                if went_well && !reading.is_cancelled() {
                    let audits = run::verdicts(self.inputs, &cluster);
                    baseline::keep(&report, self.inputs, &cluster, &audits, &self.progress.events());
                }
                return Ok(report);
            }
            tokio::time::sleep(VERIFY_PAUSE).await;
        }
    }
}

/// Connects to the hosts of the run that `wanted` names.
pub async fn connect(
    inputs: &Inputs,
    restart_deadline: Duration,
    wanted: impl Fn(&str) -> bool,
    cancel: &CancellationToken,
) -> Reached {
    let mut connections = JoinSet::new();
    for (host, reached) in inputs.hosts.iter().filter(|(host, _)| wanted(host)) {
        let (host, target, cancel) = (host.clone(), reached.target.clone(), cancel.clone());
        connections.spawn(async move {
            let connected = tokio::select! {
                connected = Lasting::connect(target) => connected,
                () = cancel.cancelled() => Err(HostError::Interrupted),
            };
            (host, connected)
        });
    }
    let mut reached = Reached { sites: Sites::new(), unreachable: BTreeMap::new() };
    while let Some(connection) = connections.join_next().await {
        match connection.expect("connecting does not panic") {
            (host, Ok(transport)) => {
                let request = inputs.hosts[&host].request.clone();
                reached.sites.insert(host, Arc::new(Remote { transport, request, restart_deadline }));
            }
            (host, Err(error)) => {
                reached.unreachable.insert(host, error);
            }
        }
    }
    reached
}

/// The same events, and the record knows how it went on a host as soon as that is known.
pub fn recording(events: Events, record: &Record) -> Events {
    let (record, known) = (record.clone(), Mutex::new(record.outcomes()));
    Arc::new(move |event| {
        if let Event::HostEnded(outcome) = &event {
            let mut known = known.lock().expect("no holder panics");
            known.insert(outcome.host.clone(), outcome.clone());
            // The hosts come first: a full disk here is no reason to leave one half changed.
            if let Err(error) = record.write_outcomes(&known) {
                events(Event::Note { host: None, text: format!("the run's record: {error}") });
            }
        }
        events(event);
    })
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

/// How long a verification looks again at what does not hold yet.
const VERIFY_FOR: Duration = Duration::from_secs(30);

/// Between two looks.
const VERIFY_PAUSE: Duration = Duration::from_secs(3);

/// May this finding pass by itself after an apply? What a person must mend does not, unless it is about
/// the health of brokers and services.
fn may_pass(finding: &Finding) -> bool {
    !finding.is_note()
        && (finding.remedy != Remedy::Manual
            || finding.status == Status::Unknown
            || finding.task == health::TASK)
}
