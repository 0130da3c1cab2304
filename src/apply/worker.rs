//! One host's part of a run: held, changed step by step with gates, verified, confirmed; else put back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::back::{Back, next};
use super::checkpoint::{Answer, Run, Verb};
use super::gates::Restarted;
use super::hold::{self, Held, Holding};
use super::{Deed, Options, Saved, Site, Sites, explained, outcome, site};
use crate::audit::Cluster;
use crate::error::HostError;
use crate::event::{Event, Events};
use crate::facts::{Facts, Question};
use crate::plan::outcome::{Ending, HostOutcome};
use crate::plan::rollout::{self, Instances};
use crate::plan::{Action, HostPlan, Restart, Step, content, gate};

/// Why a step did not succeed.
pub(super) enum Failure {
    /// It failed, or was not allowed to begin.
    Step(String),
    /// The run is over on this host, or somebody else goes on with it.
    Over(HostError),
}

impl Failure {
    /// As what stands in the way of a restart.
    pub fn into_error(self) -> HostError {
        match self {
            Self::Step(reason) => HostError::NotSafe { reason },
            Self::Over(error) => error,
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        match error {
            HostError::NotOpen { .. } | HostError::TakenOver { .. } => Self::Over(error),
            _ => Self::Step(error.to_string()),
        }
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Step(reason)
    }
}

/// The first pause between two looks at a host; each next one is twice as long.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// How long a host is asked again whether its steps hold: its service manager may still be at work.
const VERIFY_FOR: Duration = Duration::from_secs(20);

pub(super) struct Worker<S> {
    pub run: Run,
    pub sites: Arc<Sites<S>>,
    /// Where services ran when the plan was made.
    pub instances: Arc<Instances>,
    /// What to ask about the log of each service that restarts, by the name of its unit or container.
    pub logs: BTreeMap<String, Question>,
    /// The look that ended the last gate, and when.
    pub newest: Mutex<Option<(tokio::time::Instant, Cluster)>>,
    pub host: HostPlan,
    pub turn: usize,
    pub options: Options,
    pub events: Events,
    pub cancel: CancellationToken,
}

impl<S: Site> Worker<S> {
    pub(super) fn site(&self) -> Arc<S> {
        site(&self.sites, &self.host.host)
    }

    pub async fn run(mut self, held: Option<Held>) -> HostOutcome {
        let mut outcome = outcome(&self.host, Ending::Applied);
        let held = if let Some(held) = held {
            Ok(held)
        } else {
            let (run, options) = (&self.run, &self.options);
            let holding = Holding { run, options, events: &self.events, cancel: &self.cancel };
            holding.hold(&self.site(), &self.host, self.turn).await
        };
        let held = match held {
            Ok(held) if held.finished => {
                outcome.done = vec![true; self.host.steps.len()];
                return outcome;
            }
            Ok(held) => held,
            Err(error) => {
                outcome.ending = self.refused(&error);
                return outcome;
            }
        };
        let looked = match self.fresh(&held).await {
            Ok(facts) => facts,
            Err(error) => {
                outcome.ending = self.not_begun(&held, &error).await;
                return outcome;
            }
        };
        let restarts: Vec<&Restart> = rollout::restarts(&self.host).collect();
        let log = |restart: &&Restart| Some((restart.name.clone(), gate::log::question(restart, &looked)?));
        self.logs = restarts.iter().filter_map(log).collect();
        // Asked before the host changes as well: what is not safe is refused with nothing done.
        if held.taken.is_none()
            && let Err(failure) = self.may_restart(&restarts, &held.lost).await
        {
            let error = failure.into_error();
            outcome.ending = self.not_begun(&held, &error).await;
            return outcome;
        }
        if let Err((step, failure)) = self.change(&held, looked, &mut outcome).await {
            outcome.ending = match failure {
                Failure::Step(reason) => {
                    self.failed(&step, &reason);
                    self.put_back(&held, Back { step, reason, force: false, in_peace: false }).await
                }
                Failure::Over(error) => {
                    self.failed(&step, &error.to_string());
                    self.over(&held, step, error).await
                }
            };
        }
        outcome
    }

    /// Carries out every step that is not done, verifies and confirms; else the step that failed, and why.
    async fn change(
        &self,
        held: &Held,
        mut looked: Facts,
        outcome: &mut HostOutcome,
    ) -> Result<(), (String, Failure)> {
        let is_restart = |step: &Step| matches!(step.action, Action::Restart(_));
        let last_restart = self.host.steps.iter().rposition(is_restart);
        let mut restarted = Vec::new();
        for (number, step) in self.host.steps.iter().enumerate() {
            if held.is_done(number, step) {
                outcome.done.push(true);
                continue;
            }
            let name = step.action.to_string();
            (self.events)(Event::StepStarted { host: self.host.host.clone(), step: name.clone() });
            let started = Instant::now();
            let last = last_restart == Some(number);
            match self.step(held, number, last, &mut looked, &mut restarted).await {
                Ok(changed) => {
                    outcome.done.push(changed);
                    let (host, took) = (self.host.host.clone(), started.elapsed());
                    (self.events)(Event::StepDone { host, step: name, changed, took });
                }
                Err(failure) => return Err((name, failure)),
            }
        }
        let named = |failure| (VERIFY.to_owned(), failure);
        self.verify(held, looked).await.map_err(named)?;
        self.insist(|| self.ask(held, Verb::Confirm)).await.map(drop).map_err(|error| named(error.into()))
    }

    pub(super) async fn ask(&self, held: &Held, verb: Verb) -> Result<Answer, HostError> {
        self.site().ask(&held.run, &verb).await
    }

    pub(super) fn failed(&self, step: &str, reason: &str) {
        let (host, step, reason) = (self.host.host.clone(), step.to_owned(), reason.to_owned());
        (self.events)(Event::StepFailed { host, step, reason });
    }

    /// The host's facts, if every file the plan is based on is still what it was: also when it was
    /// so at the start of the run, because batches take their time. A run that goes on has changed them.
    async fn fresh(&self, held: &Held) -> Result<Facts, HostError> {
        let site = self.site();
        let facts = site.probe().await?;
        if held.taken.is_none() {
            let mut paths = Vec::new();
            for (path, expected) in &self.host.basis {
                let now = site.read(path).await?.map(|file| content::sha256(&file.bytes));
                if now != *expected {
                    paths.push(path.clone());
                }
            }
            if !paths.is_empty() {
                return Err(HostError::Stale { paths });
            }
        }
        Ok(facts)
    }

    /// The ending of a host that was held and not changed.
    async fn not_begun(&self, held: &Held, error: &HostError) -> Ending {
        if held.taken.is_some() {
            let (step, reason) = ("read the host".to_owned(), explained(error));
            self.failed(&step, &reason);
            return Ending::Open { step, reason, next: next(&held.run) };
        }
        // It lets go by itself when it cannot be told.
        let _ = self.ask(held, Verb::Restore { whole: true, force: false }).await;
        self.refused(error)
    }

    pub(super) fn refused(&self, error: &HostError) -> Ending {
        let (host, reason) = (self.host.host.clone(), explained(error));
        (self.events)(Event::Refused { host, reason: reason.clone() });
        Ending::Refused { reason }
    }

    /// Carries out one step; `looked` is the newest look at the host, `last` says that no restart follows.
    async fn step(
        &self,
        held: &Held,
        number: usize,
        last: bool,
        looked: &mut Facts,
        restarted: &mut Vec<Restarted>,
    ) -> Result<bool, Failure> {
        if self.cancel.is_cancelled() {
            return Err("interrupted".to_owned().into());
        }
        let (site, step) = (self.site(), &self.host.steps[number]);
        let act = |action: &Action| Deed::Act(action.clone());
        match &step.action {
            action @ (Action::WriteFile { .. } | Action::SetOptions { .. }) => {
                let Some(deed) = self.new_file(step, action).await? else { return Ok(false) };
                site.step(&held.run, number, &deed).await?;
                Ok(true)
            }
            action @ Action::SetSysctl { key, value, .. } => {
                site.step(&held.run, number, &act(action)).await?;
                Ok(looked.sysctls.get(key).and_then(|reading| reading.known()) != Some(value))
            }
            action @ (Action::SetUnit { .. } | Action::Run { .. }) => {
                site.step(&held.run, number, &act(action)).await?;
                Ok(true)
            }
            action @ Action::Restart(restart) => {
                let before = self.may_restart(&[restart], &held.lost).await?;
                let answers = self.call(restart, &before).await?.and_then(Result::ok);
                site.step(&held.run, number, &act(action)).await?;
                restarted.push(Restarted { restart: restart.clone(), before, answers });
                // After the last one, all of them are looked at once more, and for a while.
                let (watched, settle) = if last {
                    (restarted.as_slice(), self.options.patience.settle)
                } else {
                    (&restarted[restarted.len() - 1..], Duration::ZERO)
                };
                *looked = self.healthy(watched, settle, Some(held)).await?;
                self.insist(|| self.ask(held, Verb::Passed(number))).await?;
                Ok(true)
            }
        }
    }

    /// The file that a step writes; `None` when it is there already.
    async fn new_file(&self, step: &Step, action: &Action) -> Result<Option<Deed>, Failure> {
        let path = content::path(action).expect("the caller matched an action on a file");
        let old = self.site().read(path).await?;
        let expected = old.as_ref().map(|file| content::sha256(&file.bytes));
        let bytes = content::after(action, old.as_ref().map(|file| file.bytes.as_slice()))?;
        let after = content::sha256(&bytes);
        if step.after.as_ref().is_some_and(|planned| *planned != after) {
            return Err(format!("`{path}` would not become what the plan shows").into());
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
            return Ok(None);
        }
        Ok(Some(Deed::Write { path: path.to_owned(), file, expected, validate }))
    }

    /// Waits until the host's own facts show that its steps hold.
    async fn verify(&self, held: &Held, mut looked: Facts) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + VERIFY_FOR.min(self.options.patience.deadline);
        let mut pause = FIRST_PAUSE.min(self.options.patience.pause);
        // The last look is from before the last steps, unless they were restarts.
        let mut fresh = self.host.steps.last().is_some_and(|step| matches!(step.action, Action::Restart(_)));
        loop {
            if !fresh {
                match self.site().probe().await {
                    Ok(facts) => looked = facts,
                    Err(error) if error.may_pass() && tokio::time::Instant::now() < deadline => {}
                    Err(error) => return Err(error.into()),
                }
            }
            fresh = false;
            let open = (self.options.holds)(&self.host, &looked);
            if open.is_empty() {
                return Ok(());
            }
            let seen = open.join("; ");
            if tokio::time::Instant::now() + pause > deadline {
                return Err(format!("the host's own facts do not show it: {seen}").into());
            }
            let awaited = "what the steps are for to hold".to_owned();
            (self.events)(Event::Waiting { host: self.host.host.clone(), awaited, seen });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.cancel.cancelled() => return Err("interrupted".to_owned().into()),
                () = held.lost.cancelled() => {}
            }
            pause = (pause * 2).min(self.options.patience.pause);
        }
    }

    /// Asks again while the host cannot be reached: on the way back a lost connection is no reason to
    /// give up before the deadline.
    pub(super) async fn insist<T, F>(&self, ask: impl Fn() -> F) -> Result<T, HostError>
    where
        F: Future<Output = Result<T, HostError>>,
    {
        let (patience, events) = (&self.options.patience, &self.events);
        hold::insist(&self.host.host, patience, events, &CancellationToken::new(), ask).await
    }
}

/// The step that follows the plan's own.
const VERIFY: &str = "verify and confirm";
