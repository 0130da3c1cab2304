//! What audit, plan, remediate, apply and verify have in common: probe, audit, plan, report.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::apply::checkpoint::{Run, RunId};
use crate::audit::{Cluster, HostAudit, audit_with};
use crate::cli::answers::Answers;
use crate::cli::args::AuditArgs;
use crate::cli::inputs::{self, Inputs};
use crate::cli::output::Output;
use crate::cli::policy;
use crate::cli::progress::Progress;
use crate::error::{Exit, HostError, Result};
use crate::plan::Plan;
use crate::plan::build::build;
use crate::probe;
use crate::transport::{self, Target};

/// The verdicts of an audit.
pub type Audits = BTreeMap<String, std::result::Result<HostAudit, HostError>>;

/// Cancelled by the first Ctrl-C, by TERM, or when the terminal goes away (HUP): a host at work is put
/// back first. A second Ctrl-C or TERM ends the process at once.
pub fn interruptible(output: Output) -> CancellationToken {
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let listen = |kind| signal(kind).expect("a runtime with signals runs");
    let (mut int, mut term, mut hup) =
        (listen(SignalKind::interrupt()), listen(SignalKind::terminate()), listen(SignalKind::hangup()));
    tokio::spawn(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
        output.say("interrupted: ending what is under way; press Ctrl-C again to leave at once");
        token.cancel();
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        std::process::exit(i32::from(Exit::Interrupted.code()));
    });
    cancel
}

/// The time now, RFC 3339, to the second.
pub fn now() -> String {
    Timestamp::now().round(jiff::Unit::Second).unwrap_or_else(|_| Timestamp::now()).to_string()
}

/// A new run of this process.
pub fn identity(lease: Duration, failsafe: bool) -> Run {
    use std::hash::BuildHasher as _;
    // Seeded by the system's source of random numbers, once a process.
    let random = std::hash::RandomState::new().hash_one(std::process::id());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    Run {
        id: RunId::new(Timestamp::now(), u16::try_from(random & 0xffff).expect("16 bits")),
        session: format!("{random:016x}"),
        who: format!("{user}@{machine}"),
        pid: std::process::id(),
        lease,
        failsafe,
    }
}

/// The facts of every host: from a folder of saved ones, or read from the hosts.
pub async fn cluster(
    inputs: &Inputs,
    saved: Option<&Path>,
    forks: u16,
    progress: &std::sync::Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Cluster> {
    if let Some(folder) = saved {
        let mut all = probe::load(folder)?;
        return Ok(inputs
            .hosts
            .keys()
            .map(|name| {
                let missing = || {
                    Err(HostError::Malformed { message: format!("no saved facts in {}", folder.display()) })
                };
                (name.clone(), all.remove(name).map_or_else(missing, Ok))
            })
            .collect());
    }
    let requests = inputs.hosts.values().map(|reached| reached.request.clone()).collect();
    let targets: Vec<Target> = inputs.hosts.values().map(|reached| reached.target.clone()).collect();
    let connect = |number: usize| {
        let target = targets[number].clone();
        async move { transport::connect(&target).await }
    };
    let events = progress.events();
    let cluster = tokio::select! {
        cluster = probe::probe_all(requests, usize::from(forks), connect, &events) => cluster,
        // Dropping the probe ends its commands on the hosts.
        () = cancel.cancelled() => {
            inputs.hosts.keys().map(|name| (name.clone(), Err(HostError::Interrupted))).collect()
        }
    };
    progress.clear();
    Ok(cluster)
}

/// What `audit`, `verify` and `plan` begin with.
pub struct Audited {
    /// When the run started.
    pub started_at: String,
    /// What the user gave.
    pub inputs: Inputs,
    /// What was read.
    pub cluster: Cluster,
    /// What was decided.
    pub audits: Audits,
}

/// Reads inputs and hosts (or saved facts), and audits.
pub async fn audited(args: &AuditArgs, answers: &Answers, output: Output) -> Result<Audited> {
    let started_at = now();
    let inputs = inputs::read(&args.subject, &args.reach, output)?;
    let cancel = interruptible(output);
    let progress = Progress::noted(answers.journal());
    let cluster = cluster(&inputs, args.facts.as_deref(), args.reach.forks, &progress, &cancel).await?;
    let audits = verdicts(&inputs, &cluster);
    Ok(Audited { started_at, inputs, cluster, audits })
}

/// The plan that mends what the audits found.
pub fn plan(inputs: &Inputs, audits: &Audits, cluster: &Cluster, made_at: &str) -> Plan {
    let known: BTreeMap<String, HostAudit> =
        audits.iter().filter_map(|(host, verdict)| Some((host.clone(), verdict.clone().ok()?))).collect();
    let plan = build(&inputs.playbook, made_at, &inputs.rollouts, &known, cluster);
    Plan { wanted: policy::wanted(inputs, &plan), ..plan }
}

/// The verdict on every host of the run.
pub fn verdicts(inputs: &Inputs, cluster: &Cluster) -> Audits {
    audit_with(&inputs.tasks, cluster, &inputs.waivers)
}
