//! Carrying out a plan: batch by batch, step by step, and back again when a step or gate fails.
//!
//! Nothing is decided here. The plan says what to do; [`crate::plan::gate`] says when a service is
//! back; [`Site`] is a host that can be read and changed: [`remote::Remote`] over a transport, or
//! [`recorded::Recorded`] in memory for the demo and the property tests.

pub mod recorded;
pub mod remote;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::HostError;
use crate::event::{Event, Events};
use crate::facts::Facts;
use crate::plan::outcome::{Ending, HostOutcome};
use crate::plan::{Action, Batch, HostPlan, Plan, Restart, Step, content, gate};

/// A file as it was, to be put back, or as it is to be.
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

/// How a file is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub path: String,
    /// What; `None` removes the file.
    pub file: Option<Saved>,
    /// The SHA-256 of the file that is there now (`None`: no file); it is left alone when it differs.
    pub expected: Option<String>,
    /// A command that must accept the new file (`%s` is its path) first.
    pub validate: Option<Vec<String>>,
}

/// A host that can be read and changed.
pub trait Site: Send + Sync + 'static {
    /// Reads its facts.
    fn probe(&self) -> impl Future<Output = Result<Facts, HostError>> + Send;
    /// Reads one file, `None` when there is none.
    fn read(&self, path: &str) -> impl Future<Output = Result<Option<Saved>, HostError>> + Send;
    /// Replaces or removes one file, whole or not at all.
    fn write(&self, write: &Write) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Carries out an action that changes no file.
    fn act(&self, action: &Action) -> impl Future<Output = Result<(), HostError>> + Send;
}

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

/// Carries out `plan` on `sites` (one for every host of the plan) and says how it went on each host.
///
/// The hosts of a batch go side by side; the next batch starts when every host of the last one is
/// healthy, or not more of them failed than the batch allows. `cancel` is looked at between steps and
/// while a gate waits: the host at work is put back, and the run stops.
pub async fn apply<S: Site>(
    plan: &Plan,
    sites: BTreeMap<String, std::sync::Arc<S>>,
    patience: Patience,
    events: &Events,
    cancel: &CancellationToken,
) -> BTreeMap<String, HostOutcome> {
    let stale = stale(plan, &sites).await;
    if !stale.is_empty() {
        for (host, reason) in &stale {
            let step = "compare the host with the plan".to_owned();
            events(Event::StepFailed { host: host.clone(), step, reason: reason.clone() });
        }
        return refused(plan, &stale);
    }
    let mut outcomes: BTreeMap<String, HostOutcome> = BTreeMap::new();
    let of = plan.batches.len();
    let mut stopped = false;
    for (number, batch) in plan.batches.iter().enumerate() {
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
        for host in &batch.hosts {
            let site =
                sites.get(&host.host).cloned().expect("the caller gives a site for every host of the plan");
            let (host, events, cancel) = (host.clone(), events.clone(), cancel.clone());
            running.spawn(async move { Worker { site, host, patience, events, cancel }.run().await });
        }
        let mut failed = 0;
        while let Some(done) = running.join_next().await {
            let done = done.expect("a worker does not panic");
            failed += usize::from(done.ending.failed());
            outcomes.insert(done.host.clone(), done);
        }
        stopped = too_many(batch, failed);
    }
    outcomes
}

/// The hosts whose files are no longer what the plan is based on, and what differs.
async fn stale<S: Site>(
    plan: &Plan,
    sites: &BTreeMap<String, std::sync::Arc<S>>,
) -> BTreeMap<String, String> {
    let mut asked = JoinSet::new();
    for host in plan.batches.iter().flat_map(|batch| &batch.hosts) {
        if let Some(site) = sites.get(&host.host).cloned() {
            let host = host.clone();
            asked.spawn(async move { (unchanged(&*site, &host.basis).await.err(), host.host) });
        }
    }
    let mut stale = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        if let (Some(reason), host) = answer.expect("a comparison does not panic") {
            stale.insert(host, reason);
        }
    }
    stale
}

/// Is every file still what it was (SHA-256 by path, `None` where there was none)? Else what differs.
async fn unchanged<S: Site>(site: &S, basis: &BTreeMap<String, Option<String>>) -> Result<(), String> {
    for (path, expected) in basis {
        let now = site.read(path).await.map_err(|error| error.to_string())?;
        if now.map(|file| content::sha256(&file.bytes)) != *expected {
            return Err(format!("`{path}` has changed since the plan was made; plan again"));
        }
    }
    Ok(())
}

/// Ansible's rule: the run stops when the share of failed hosts is *greater* than the percentage.
fn too_many(batch: &Batch, failed: usize) -> bool {
    failed > 0 && failed as f64 * 100.0 > batch.max_fail_percentage * batch.hosts.len() as f64
}

fn outcome(host: &HostPlan, ending: Ending) -> HostOutcome {
    HostOutcome { host: host.host.clone(), ending, done: Vec::new() }
}

/// What has been done to a host and must be undone when a later step fails, newest last.
#[derive(Default)]
struct Undo {
    files: Vec<Changed>,
    sysctls: Vec<(String, String)>,
    restarts: Vec<Restarted>,
}

/// A file that was, or may have been, replaced.
struct Changed {
    path: String,
    /// As it was.
    old: Option<Saved>,
    /// The SHA-256 of what it became.
    ours: String,
}

/// A service that was restarted, and the host's facts just before.
struct Restarted {
    restart: Restart,
    before: Facts,
}

/// The first pause between two looks at a host; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

struct Worker<S> {
    site: std::sync::Arc<S>,
    host: HostPlan,
    patience: Patience,
    events: Events,
    cancel: CancellationToken,
}

impl<S: Site> Worker<S> {
    async fn run(self) -> HostOutcome {
        let mut outcome = outcome(&self.host, Ending::Applied);
        if self.host.steps.is_empty() {
            return outcome;
        }
        let before = match self.fresh().await {
            Ok(facts) => facts,
            Err(reason) => {
                self.failed("compare the host with the plan", &reason);
                outcome.ending = Ending::Stale { reason };
                return outcome;
            }
        };
        let (mut undo, mut looked) = (Undo::default(), before.clone());
        let restarts = |step: &Step| matches!(step.action, Action::Restart(_));
        let last_restart = self.host.steps.iter().rposition(restarts);
        for (number, step) in self.host.steps.iter().enumerate() {
            let name = step.action.to_string();
            (self.events)(Event::StepStarted { host: self.host.host.clone(), step: name.clone() });
            let started = Instant::now();
            let last = last_restart == Some(number);
            let done = self.step(step, last, &before, &mut looked, &mut undo).await;
            match done {
                Ok(changed) => {
                    outcome.done.push(changed);
                    let (host, took) = (self.host.host.clone(), started.elapsed());
                    (self.events)(Event::StepDone { host, step: name, changed, took });
                }
                Err(reason) => {
                    self.failed(&name, &reason);
                    outcome.ending = self.put_back(name, reason, undo, &before).await;
                    return outcome;
                }
            }
        }
        outcome
    }

    fn failed(&self, step: &str, reason: &str) {
        let (host, step, reason) = (self.host.host.clone(), step.to_owned(), reason.to_owned());
        (self.events)(Event::StepFailed { host, step, reason });
    }

    /// The host's facts, if every file the plan is based on is still what it was: also when it was
    /// asked at the start of the run, because batches take their time.
    async fn fresh(&self) -> Result<Facts, String> {
        let facts = self.site.probe().await.map_err(|error| error.to_string())?;
        unchanged(&*self.site, &self.host.basis).await.map(|()| facts)
    }

    /// Carries out one step; `looked` is the newest look at the host, `last` says that no restart follows.
    async fn step(
        &self,
        step: &Step,
        last: bool,
        before: &Facts,
        looked: &mut Facts,
        undo: &mut Undo,
    ) -> Result<bool, String> {
        if self.cancel.is_cancelled() {
            return Err("interrupted".to_owned());
        }
        match &step.action {
            action @ (Action::WriteFile { .. } | Action::SetOptions { .. }) => {
                self.change_file(step, action, undo).await
            }
            action @ Action::SetSysctl { key, value, .. } => {
                // Without the old value there is no way back, so the new one is not set.
                let old = before.sysctls.get(key).and_then(|reading| reading.known());
                let old = old.ok_or_else(|| format!("the value of `{key}` is not known"))?;
                undo.sysctls.push((key.clone(), old.clone()));
                self.site.act(action).await.map_err(|error| error.to_string())?;
                Ok(old != value)
            }
            action @ (Action::SetUnit { .. } | Action::Run { .. }) => {
                self.site.act(action).await.map_err(|error| error.to_string())?;
                Ok(true)
            }
            Action::Restart(restart) => {
                // Owed back even if the command fails: it may have stopped the service first.
                undo.restarts.push(Restarted { restart: restart.clone(), before: looked.clone() });
                self.act_restart(restart).await?;
                // After the last one, all of them are looked at once more, and for a while.
                let (watched, settle) = if last {
                    (undo.restarts.as_slice(), self.patience.settle)
                } else {
                    (&undo.restarts[undo.restarts.len() - 1..], Duration::ZERO)
                };
                *looked = self.healthy(watched, settle, &self.cancel).await?;
                Ok(true)
            }
        }
    }

    async fn act_restart(&self, restart: &Restart) -> Result<(), String> {
        self.site.act(&Action::Restart(restart.clone())).await.map_err(|error| error.to_string())
    }

    async fn change_file(&self, step: &Step, action: &Action, undo: &mut Undo) -> Result<bool, String> {
        let path = content::path(action).expect("the caller matched an action on a file");
        let old = self.site.read(path).await.map_err(|error| error.to_string())?;
        let basis = old.as_ref().map(|file| content::sha256(&file.bytes));
        let bytes = content::after(action, old.as_ref().map(|file| file.bytes.as_slice()))?;
        let after = content::sha256(&bytes);
        if step.after.as_ref().is_some_and(|planned| *planned != after) {
            return Err(format!("`{path}` would not become what the plan shows"));
        }
        let (mode, owner, group, validate) = match action {
            Action::WriteFile { mode, owner, group, validate, .. } => {
                (*mode, owner.clone(), group.clone(), validate.clone())
            }
            _ => (None, None, None, None),
        };
        let there = old.as_ref();
        let file = Saved {
            bytes,
            mode: mode.or(there.map(|file| file.mode)).unwrap_or(0o644),
            owner: owner.or(there.map(|file| file.owner.clone())).unwrap_or_else(|| "root".to_owned()),
            group: group.or(there.map(|file| file.group.clone())).unwrap_or_else(|| "root".to_owned()),
        };
        if old.as_ref() == Some(&file) {
            return Ok(false);
        }
        let write = Write { path: path.to_owned(), file: Some(file), expected: basis, validate };
        // Remembered first: a lost connection can hide that the file was replaced.
        undo.files.push(Changed { path: path.to_owned(), old, ours: after });
        self.site.write(&write).await.map_err(|error| error.to_string())?;
        Ok(true)
    }

    /// Waits until these services are healthy by evidence and have been up for `settle`: the look that
    /// showed it, or what was seen last.
    async fn healthy(
        &self,
        restarts: &[Restarted],
        settle: Duration,
        cancel: &CancellationToken,
    ) -> Result<Facts, String> {
        let seconds = i64::try_from(settle.as_secs()).unwrap_or(i64::MAX);
        let limit = self.patience.deadline + settle;
        let deadline = tokio::time::Instant::now() + limit;
        let mut pause = FIRST_PAUSE.min(self.patience.pause);
        loop {
            let waiting = match self.site.probe().await {
                Ok(after) => {
                    let awaited = |one: &Restarted| gate::awaited(&one.restart, &one.before, &after, seconds);
                    match restarts.iter().find_map(awaited) {
                        None => return Ok(after),
                        Some(waiting) => waiting,
                    }
                }
                Err(error) => gate::Waiting {
                    awaited: "an answer of the host".to_owned(),
                    seen: error.to_string(),
                    hopeless: false,
                },
            };
            let gate::Waiting { awaited, seen, hopeless } = waiting;
            if hopeless {
                return Err(format!("not healthy after the restart: awaited {awaited}, seen: {seen}"));
            }
            if tokio::time::Instant::now() + pause > deadline {
                let seconds = limit.as_secs();
                return Err(format!(
                    "not healthy after the restart: awaited {awaited} for {seconds} s, seen: {seen}"
                ));
            }
            (self.events)(Event::Waiting { host: self.host.host.clone(), awaited, seen });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => return Err("interrupted".to_owned()),
            }
            pause = (pause * 2).min(self.patience.pause);
        }
    }

    /// The way back: files, kernel settings, then the services that were restarted on what is now gone.
    async fn put_back(&self, step: String, reason: String, undo: Undo, before: &Facts) -> Ending {
        let host = self.host.host.clone();
        (self.events)(Event::RollingBack { host: host.clone() });
        let mut left = Vec::new();
        for file in undo.files.iter().rev() {
            match self.insist(|| self.put_back_file(file)).await {
                Ok(None) => {}
                Ok(Some(reason)) => left.push(format!("{}: {reason}", file.path)),
                Err(error) => left.push(format!("{}: {error}", file.path)),
            }
        }
        for (key, value) in undo.sysctls.into_iter().rev() {
            let action = Action::SetSysctl { key: key.clone(), value, before: None };
            if let Err(error) = self.insist(|| self.site.act(&action)).await {
                left.push(format!("{key}: {error}"));
            }
        }
        // An interrupted run still waits for its services to be back: leaving them half up is worse.
        let never = CancellationToken::new();
        for Restarted { restart, .. } in undo.restarts {
            let now = self.insist(|| self.site.probe()).await.unwrap_or_else(|_| before.clone());
            let healthy = async {
                self.act_restart(&restart).await?;
                self.healthy(&[Restarted { restart: restart.clone(), before: now }], Duration::ZERO, &never)
                    .await
            };
            if let Err(error) = healthy.await {
                left.push(format!("{}: {error}", restart.name));
            }
        }
        let error = (!left.is_empty()).then(|| left.join("; "));
        (self.events)(Event::RolledBack { host, error: error.clone() });
        match error {
            None => Ending::RolledBack { step, reason },
            Some(left) => Ending::Broken { step, reason, left },
        }
    }

    /// Asks again while the host cannot be reached: on the way back a lost connection is no reason to
    /// give up before the deadline.
    async fn insist<T, F>(&self, ask: impl Fn() -> F) -> Result<T, HostError>
    where
        F: Future<Output = Result<T, HostError>>,
    {
        let deadline = tokio::time::Instant::now() + self.patience.deadline;
        let mut pause = FIRST_PAUSE.min(self.patience.pause);
        loop {
            match ask().await {
                Err(error) if error.may_pass() && tokio::time::Instant::now() + pause < deadline => {
                    let (awaited, seen) = ("an answer of the host".to_owned(), error.to_string());
                    (self.events)(Event::Waiting { host: self.host.host.clone(), awaited, seen });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.patience.pause);
                }
                answer => return answer,
            }
        }
    }

    /// Puts one file back if it is ours now; one that was never replaced is left as it is, and one that
    /// somebody else has changed meanwhile is not overwritten: the answer says so.
    async fn put_back_file(&self, changed: &Changed) -> Result<Option<String>, HostError> {
        let Changed { path, old, ours } = changed;
        let now = self.site.read(path).await?;
        if now == *old {
            return Ok(None);
        }
        let expected = now.map(|file| content::sha256(&file.bytes));
        if expected.as_ref() != Some(ours) {
            return Ok(Some("changed by somebody else meanwhile; left as it is".to_owned()));
        }
        let write = Write { path: path.clone(), file: old.clone(), expected, validate: None };
        self.site.write(&write).await.map(|()| None)
    }
}

/// The outcome of a plan that was not begun because hosts have changed since it was made.
fn refused(plan: &Plan, stale: &BTreeMap<String, String>) -> BTreeMap<String, HostOutcome> {
    let names: Vec<&str> = stale.keys().map(String::as_str).collect();
    let others = format!("nothing was begun, because {} changed since the plan was made", names.join(", "));
    let ending = |host: &HostPlan| match stale.get(&host.host) {
        Some(reason) => Ending::Stale { reason: reason.clone() },
        None => Ending::NotReached { reason: others.clone() },
    };
    let hosts = plan.batches.iter().flat_map(|batch| &batch.hosts);
    hosts.map(|host| (host.host.clone(), outcome(host, ending(host)))).collect()
}

/// The outcome of a plan that was not begun because hosts could not be reached.
pub fn not_begun(plan: &Plan, unreachable: &BTreeMap<String, HostError>) -> BTreeMap<String, HostOutcome> {
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
