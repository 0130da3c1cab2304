//! Carrying out a plan: each host is a transaction, batch by batch, and back again when something fails.
//!
//! Nothing is decided here. The plan says what to do; [`crate::plan::gate`] says when a service is
//! back; [`Site`] is a host that can be read and changed: [`remote::Remote`] over a transport, or
//! [`recorded::Recorded`] in memory for the demo and the property tests.
//!
//! Every host of the plan is held before the first one changes: its checkpoint is made, its lock taken,
//! its failsafe armed ([`checkpoint`]). A host that refuses is the end of a run that has changed nothing.
//! `worker` does the rest, one host each.

mod back;
pub mod checkpoint;
mod gates;
mod hold;
pub mod recorded;
pub mod remote;
mod rollback;
mod worker;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::audit::Cluster;
use crate::error::HostError;
use crate::event::{Event, Events};
use crate::facts::{Facts, Question};
use crate::plan::outcome::{Ending, HostOutcome};
use crate::plan::rollout::{self, Instances};
use crate::plan::{Action, Batch, HostPlan, Plan};
use checkpoint::{Answer, Run, Status, Verb};
use hold::{Held, Holding};
use worker::Worker;

pub use rollback::roll_back;

/// A file as it is, or as it is to be.
#[derive(Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner's name or number.
    pub owner: String,
    /// Group's name or number.
    pub group: String,
}

/// Files hold secrets.
impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Saved({} bytes, {:o}, {}:{})", self.bytes.len(), self.mode, self.owner, self.group)
    }
}

/// What a step does to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Replaces one file, whole or not at all.
    Write {
        /// Where.
        path: String,
        /// What.
        file: Saved,
        /// The SHA-256 of the file that is there now (`None`: no file); it is left alone when it differs.
        expected: Option<String>,
        /// A command that must accept the new file (`%s` is its path) first.
        validate: Option<Vec<String>>,
    },
    /// Carries out an action that changes no file.
    Act(Action),
}

/// A host that can be read and changed.
pub trait Site: Send + Sync + 'static {
    /// Reads its facts.
    fn probe(&self) -> impl Future<Output = Result<Facts, HostError>> + Send {
        self.look(&[])
    }
    /// Reads its facts, and what these questions ask beyond them.
    fn look(&self, questions: &[Question]) -> impl Future<Output = Result<Facts, HostError>> + Send;
    /// The same without what its broker says, which is the costly part.
    fn glance(&self, questions: &[Question]) -> impl Future<Output = Result<Facts, HostError>> + Send;
    /// Reads one file, `None` when there is none.
    fn read(&self, path: &str) -> impl Future<Output = Result<Option<Saved>, HostError>> + Send;
    /// The runs whose checkpoints it has, oldest first.
    fn runs(&self) -> impl Future<Output = Result<Vec<Status>, HostError>> + Send;
    /// Takes its lock, saves everything the plan changes, arms its failsafe. Refused, with nothing
    /// changed, when another run holds it or a file is not what the plan is based on. Asking twice is safe.
    fn begin(
        &self,
        run: &Run,
        plan: &HostPlan,
        turn: usize,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Carries out a step of an open run; a run that is no longer open is refused.
    fn step(
        &self,
        run: &Run,
        number: usize,
        deed: &Deed,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Everything else that its checkpoint can be asked. Asking twice is safe.
    fn ask(&self, run: &Run, verb: &Verb) -> impl Future<Output = Result<Answer, HostError>> + Send;
}

/// The hosts of a run by name.
pub type Sites<S> = BTreeMap<String, Arc<S>>;

/// How long gates wait.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two looks, at most: the first come sooner after each other.
    pub pause: Duration,
    /// How long every restarted service of a host must have been up before the next batch.
    pub settle: Duration,
    /// Until a service must be back.
    pub deadline: Duration,
}

impl Default for Patience {
    /// RabbitMQ takes up to two minutes to come back into a cluster with many queues; Cinder's API
    /// about 12 s.
    fn default() -> Self {
        Self {
            pause: Duration::from_secs(2),
            settle: Duration::from_secs(10),
            deadline: Duration::from_mins(3),
        }
    }
}

/// What of the steps of this host does not hold in its fresh facts: asked before a host is confirmed.
pub type Holds = Arc<dyn Fn(&HostPlan, &Facts) -> Vec<String> + Send + Sync>;

/// How a plan is carried out.
#[derive(Clone)]
pub struct Options {
    /// How long gates wait.
    pub patience: Patience,
    /// What must hold before a host is confirmed.
    pub holds: Holds,
    /// What the operator allows although it is not safe.
    pub allow: rollout::Allow,
    /// Goes on with a run that was interrupted: hosts that are confirmed are left alone, those that are open
    /// are taken over and begin at their first step that is not done, the others begin anew.
    pub resume: bool,
}

/// How many hosts are held or let go at once.
const FORKS: usize = 20;

/// Carries out `plan` on `sites` and says how it went on each host. `sites` has every host of the plan,
/// and others whose facts are wanted before a restart.
///
/// The hosts of a batch go side by side; the next batch starts when every host of the last one is
/// healthy, or not more of them failed than the batch allows. `cancel` is looked at between steps and
/// while a gate waits: the host at work is put back, and the run stops.
pub async fn apply<S: Site>(
    plan: &Plan,
    run: &Run,
    sites: Sites<S>,
    options: &Options,
    events: &Events,
    cancel: &CancellationToken,
) -> BTreeMap<String, HostOutcome> {
    let turns = turns(plan);
    let first = turns.iter().flatten().filter(|(_, turn)| *turn == 0).map(|(host, _)| *host);
    let holding = Holding { run, options, events, cancel };
    let mut held = match hold_all(first, holding, &sites).await {
        Ok(held) => held,
        Err(refused) => {
            for (host, error) in &refused {
                events(Event::Refused { host: host.clone(), reason: explained(error) });
            }
            return not_begun(plan, &refused);
        }
    };
    let instances = Arc::new(instances(plan, &sites).await);
    let sites = Arc::new(sites);
    let mut outcomes: BTreeMap<String, HostOutcome> = BTreeMap::new();
    let of = plan.batches.len();
    let mut stopped = false;
    for (number, (batch, turns)) in plan.batches.iter().zip(&turns).enumerate() {
        if stopped || cancel.is_cancelled() {
            for host in &batch.hosts {
                let reason = if cancel.is_cancelled() { "interrupted" } else { "an earlier host failed" };
                let ending = Ending::NotReached { reason: reason.to_owned() };
                outcomes.entry(host.host.clone()).or_insert_with(|| outcome(host, ending));
            }
            continue;
        }
        events(Event::BatchStarted {
            number: number + 1,
            of,
            hosts: batch.hosts.iter().map(|host| host.host.clone()).collect(),
            steps: batch.hosts.iter().map(|host| host.steps.len()).sum(),
        });
        let mut running = JoinSet::new();
        for (host, turn) in turns {
            let worker = Worker {
                run: run.clone(),
                sites: Arc::clone(&sites),
                instances: Arc::clone(&instances),
                logs: BTreeMap::new(),
                newest: Mutex::new(None),
                host: (*host).clone(),
                turn: *turn,
                options: options.clone(),
                events: events.clone(),
                cancel: cancel.clone(),
            };
            let held = if *turn == 0 { held.remove(&host.host) } else { None };
            running.spawn(worker.run(held));
        }
        for host in batch.hosts.iter().filter(|host| host.steps.is_empty()) {
            outcomes.entry(host.host.clone()).or_insert_with(|| outcome(host, Ending::Applied));
        }
        let mut failed = 0;
        while let Some(done) = running.join_next().await {
            let done = done.expect("a worker does not panic");
            failed += usize::from(done.ending.failed());
            events(Event::HostEnded(done.clone()));
            outcomes.insert(done.host.clone(), done);
        }
        stopped = too_many(batch, failed);
    }
    let_go(held, &sites).await;
    outcomes
}

/// The hosts of each batch that have steps, each with which of its turns in the plan it is, from 0.
fn turns(plan: &Plan) -> Vec<Vec<(&HostPlan, usize)>> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    plan.batches
        .iter()
        .map(|batch| {
            let hosts = batch.hosts.iter().filter(|host| !host.steps.is_empty());
            hosts
                .map(|host| {
                    let turn = seen.entry(&host.host).or_insert(0);
                    *turn += 1;
                    (host, *turn - 1)
                })
                .collect()
        })
        .collect()
}

/// Holds every one of these hosts, or none and why.
async fn hold_all<'a, S: Site>(
    hosts: impl Iterator<Item = &'a HostPlan>,
    holding: Holding<'_>,
    sites: &Sites<S>,
) -> Result<BTreeMap<String, Held>, BTreeMap<String, HostError>> {
    let mut asked = JoinSet::new();
    let places = Arc::new(Semaphore::new(FORKS));
    for host in hosts {
        let site = site(sites, &host.host);
        let (host, places) = (host.clone(), Arc::clone(&places));
        let (run, options) = (holding.run.clone(), holding.options.clone());
        let (events, cancel) = (Arc::clone(holding.events), holding.cancel.clone());
        asked.spawn(async move {
            let _place = places.acquire_owned().await.expect("the semaphore is never closed");
            let holding = Holding { run: &run, options: &options, events: &events, cancel: &cancel };
            (holding.hold(&site, &host, 0).await, host.host)
        });
    }
    let (mut held, mut refused) = (BTreeMap::new(), BTreeMap::new());
    while let Some(answer) = asked.join_next().await {
        match answer.expect("holding a host does not panic") {
            (Ok(one), host) => {
                held.insert(host, one);
            }
            (Err(error), host) => {
                refused.insert(host, error);
            }
        }
    }
    if refused.is_empty() {
        return Ok(held);
    }
    let_go(held, sites).await;
    Err(refused)
}

/// Lets hosts go that were held and not changed. One that cannot be told lets go by itself when its lease is over.
async fn let_go<S: Site>(held: BTreeMap<String, Held>, sites: &Sites<S>) {
    let mut asked = JoinSet::new();
    for (host, held) in held.into_iter().filter(|(_, held)| held.is_untouched()) {
        let site = site(sites, &host);
        asked.spawn(
            async move { drop(site.ask(&held.run, &Verb::Restore { whole: true, force: false }).await) },
        );
    }
    while asked.join_next().await.is_some() {}
}

fn site<S>(sites: &Sites<S>, host: &str) -> Arc<S> {
    sites.get(host).cloned().expect("the caller gives a site for every host of the plan")
}

/// Ansible's rule: the run stops when the share of failed hosts is *greater* than the percentage.
fn too_many(batch: &Batch, failed: usize) -> bool {
    failed > 0 && failed as f64 * 100.0 > batch.max_fail_percentage * batch.hosts.len() as f64
}

fn outcome(host: &HostPlan, ending: Ending) -> HostOutcome {
    HostOutcome { host: host.host.clone(), ending, done: Vec::new() }
}

/// An error with what can be done about it.
fn explained(error: &HostError) -> String {
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
}

/// The outcome of a plan that was not begun because hosts refused or could not be reached.
pub fn not_begun(plan: &Plan, refused: &BTreeMap<String, HostError>) -> BTreeMap<String, HostOutcome> {
    let all = |why: fn(&HostError) -> bool| -> Vec<&str> {
        refused.iter().filter(|(_, error)| why(error)).map(|(host, _)| host.as_str()).collect()
    };
    let (changed, other) = (
        all(|error| matches!(error, HostError::Stale { .. })),
        all(|error| !matches!(error, HostError::Stale { .. })),
    );
    let others = if other.is_empty() {
        format!("nothing was begun, because {} changed since the plan was made", changed.join(", "))
    } else {
        format!("nothing was begun, because {} refused", other.join(", "))
    };
    let ending = |host: &HostPlan| match refused.get(&host.host) {
        Some(error) => Ending::Refused { reason: explained(error) },
        None => Ending::NotReached { reason: others.clone() },
    };
    let hosts = plan.batches.iter().flat_map(|batch| &batch.hosts);
    hosts.map(|host| (host.host.clone(), outcome(host, ending(host)))).collect()
}

/// The outcome of a plan that was not begun because hosts could not be reached.
pub fn not_reached(plan: &Plan, unreachable: &BTreeMap<String, HostError>) -> BTreeMap<String, HostOutcome> {
    let names: Vec<&str> = unreachable.keys().map(String::as_str).collect();
    let others = format!("nothing was begun, because {} could not be reached", names.join(", "));
    plan.batches
        .iter()
        .flat_map(|batch| &batch.hosts)
        .map(|host| {
            let reason = unreachable.get(&host.host).map_or_else(|| others.clone(), ToString::to_string);
            (host.host.clone(), outcome(host, Ending::NotReached { reason }))
        })
        .collect()
}

/// Where services ran when the plan was made; now, where a plan of an older version does not say.
async fn instances<S: Site>(plan: &Plan, sites: &Sites<S>) -> Instances {
    if plan.instances.is_empty() {
        rollout::instances(&around(sites.iter()).await)
    } else {
        plan.instances.clone()
    }
}

/// The newest facts of these sites.
async fn around<'a, S: Site>(sites: impl Iterator<Item = (&'a String, &'a Arc<S>)>) -> Cluster {
    let mut asked = JoinSet::new();
    let places = Arc::new(Semaphore::new(FORKS));
    for (host, site) in sites {
        let (host, site, places) = (host.clone(), Arc::clone(site), Arc::clone(&places));
        asked.spawn(async move {
            let _place = places.acquire_owned().await.expect("the semaphore is never closed");
            (host, site.probe().await)
        });
    }
    let mut cluster = Cluster::new();
    while let Some(answer) = asked.join_next().await {
        let (host, facts) = answer.expect("a probe does not panic");
        cluster.insert(host, facts);
    }
    cluster
}
