//! Puts a whole run back, later: every host that it has changed and that has not put itself back.
//!
//! The way is the one of a step that fails ([`super::worker`]): the host's checkpoint puts files, kernel
//! settings and units back, the services restart in their order, each with its gate. Every host is looked
//! at before the first one changes, and what somebody else has changed since stands in the way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::back::Back;
use super::checkpoint::{Now, Run, Standing, Status, Verb};
use super::hold::held;
use super::worker::Worker;
use super::{Options, Site, Sites, explained, instances, outcome, site};
use crate::conf::secret::{Kind, mask_file};
use crate::error::HostError;
use crate::event::{Event, Events};
use crate::plan::outcome::{Ending, HostOutcome};
use crate::plan::{Action, HostPlan, Plan, Restart, content};

/// What is put back on one host.
struct Part {
    status: Status,
    plan: HostPlan,
}

/// Puts back what `run` has changed on the hosts of `plan` that are among `sites`, batch by batch; the other
/// sites are only looked at. Where a file was changed since, nothing is done on any host, unless `force` says
/// that it does not matter. Restarts are asked about as those of an apply are.
pub async fn roll_back<S: Site>(
    plan: &Plan,
    run: &Run,
    sites: Sites<S>,
    options: &Options,
    force: bool,
    events: &Events,
    cancel: &CancellationToken,
) -> BTreeMap<String, HostOutcome> {
    let mut outcomes = BTreeMap::new();
    let (mut parts, mut refused) = (BTreeMap::new(), BTreeMap::new());
    let planned =
        |host: &String| plan.batches.iter().flat_map(|batch| &batch.hosts).any(|it| it.host == *host);
    for host in sites.keys().filter(|host| planned(host)) {
        match look(&site(&sites, host), run, plan, host, force).await {
            Ok(found) => {
                parts.insert(host.clone(), found);
            }
            Err(reason) => {
                events(Event::Refused { host: host.clone(), reason: reason.clone() });
                refused.insert(host.clone(), reason);
            }
        }
    }
    let instances = Arc::new(instances(plan, &sites).await);
    let sites = Arc::new(sites);
    for (number, batch) in plan.batches.iter().enumerate() {
        let mut running = JoinSet::new();
        for host in &batch.hosts {
            // A host of several plays is put back as a whole, at its first turn.
            let Some(found) = parts.remove(&host.host) else { continue };
            let ending = |reason: &str| Ending::NotReached { reason: reason.to_owned() };
            let standing = if !refused.is_empty() {
                Some(ending("nothing was put back, because another host refused"))
            } else if found.is_empty() {
                Some(ending("this run has changed nothing here, or it was put back already"))
            } else {
                cancel.is_cancelled().then(|| ending("interrupted"))
            };
            if let Some(ending) = standing {
                outcomes.insert(host.host.clone(), outcome(host, ending));
                continue;
            }
            let worker = Worker {
                run: run.clone(),
                sites: Arc::clone(&sites),
                instances: Arc::clone(&instances),
                logs: BTreeMap::new(),
                newest: Mutex::new(None),
                host: HostPlan::new(&host.host),
                turn: 0,
                options: options.clone(),
                events: events.clone(),
                cancel: cancel.clone(),
            };
            running.spawn(worker.undo(found, force));
        }
        if !running.is_empty() {
            let hosts = batch.hosts.iter().map(|host| host.host.clone()).collect();
            let of = plan.batches.len();
            events(Event::BatchStarted { number: number + 1, of, hosts, steps: running.len() });
        }
        while let Some(done) = running.join_next().await {
            let done: HostOutcome = done.expect("a worker does not panic");
            events(Event::HostEnded(done.clone()));
            outcomes.insert(done.host.clone(), done);
        }
    }
    outcomes.extend(refused.into_iter().map(|(host, reason)| {
        let ending = Ending::Refused { reason };
        (host.clone(), HostOutcome { host, ending, done: Vec::new() })
    }));
    outcomes
}

/// What of a run can be put back on a host, newest first; an error says what stands in the way.
async fn look<S: Site>(
    site: &Arc<S>,
    run: &Run,
    plan: &Plan,
    host: &str,
    force: bool,
) -> Result<Vec<Part>, String> {
    let of_run = |status: &Status| status.run.base() == run.id.base();
    let runs = site.runs().await.map_err(|error| explained(&error))?;
    // Whoever is still at work in this run's name is told that it was taken over.
    if let Some(other) =
        runs.iter().find(|status| status.holds && status.standing.is_open() && !of_run(status))
    {
        return Err(explained(&other.held()));
    }
    let turns: Vec<&HostPlan> =
        plan.batches.iter().flat_map(|batch| batch.hosts.iter().filter(|plan| plan.host == host)).collect();
    let mut parts = Vec::new();
    for status in runs.into_iter().rev().filter(of_run) {
        if matches!(status.standing, Standing::Beginning | Standing::Restored) {
            continue;
        }
        let part = run.part(status.run.number());
        let kept = site.ask(&part, &Verb::Check).await.map_err(|error| explained(&error))?.files;
        let changed: Vec<_> = kept.iter().filter(|file| file.now == Now::Changed).collect();
        if !changed.is_empty() && !force {
            let mut said = String::new();
            for file in changed {
                said.push_str(&format!("`{}` was changed by somebody else since; ", file.path));
                let diff = difference(site, &file.path, &file.saved).await;
                said.push_str(&diff.map_err(|error| explained(&error))?);
            }
            return Err(format!("{said}--force puts it back all the same"));
        }
        // A plan that held a secret was not recorded: the host then restarts what it has restarted by itself.
        let plan = turns.get(status.turn).map_or_else(|| HostPlan::new(host), |plan| (*plan).clone());
        parts.push(Part { status, plan });
    }
    Ok(parts)
}

/// What putting a file back would change in it, secrets masked.
async fn difference<S: Site>(site: &Arc<S>, path: &str, saved: &str) -> Result<String, HostError> {
    let text = |file: Option<super::Saved>| {
        let bytes = file.map(|file| file.bytes).unwrap_or_default();
        String::from_utf8(bytes).map(|text| mask_file(Kind::of(path), &text)).ok()
    };
    let (now, then) = (text(site.read(path).await?), text(site.read(saved).await?));
    Ok(match (now, then) {
        (Some(now), Some(then)) => {
            format!("putting it back would do this:\n{}", content::unified(path, &now, &then))
        }
        _ => "it is not UTF-8 text; ".to_owned(),
    })
}

impl<S: Site> Worker<S> {
    /// Puts one host back, its newest checkpoint first.
    async fn undo(mut self, parts: Vec<Part>, force: bool) -> HostOutcome {
        let mut outcome =
            outcome(&self.host, Ending::NotReached { reason: "nothing was to be put back".into() });
        // Leaving a host half put back is worse than waiting for it, so nothing interrupts the way back itself.
        let interrupt = self.cancel.clone();
        let never = CancellationToken::new();
        for Part { status, plan } in parts {
            (self.turn, self.host) = (status.turn, plan);
            self.cancel.clone_from(&interrupt);
            let restarts =
                self.host.steps.iter().enumerate().filter_map(|(number, step)| match &step.action {
                    Action::Restart(restart) if status.noted("begun", number) => Some(restart),
                    _ => None,
                });
            let restarts: Vec<&Restart> = restarts.collect();
            if let Err(failure) = self.may_restart(&restarts, &never).await {
                outcome.ending = if interrupt.is_cancelled() {
                    Ending::NotReached { reason: "interrupted".to_owned() }
                } else {
                    self.refused(&failure.into_error())
                };
                break;
            }
            // What has begun is what is put back, in the plan's order.
            outcome.done = (0..self.host.steps.len()).map(|number| status.noted("begun", number)).collect();
            let run = self.run.part(status.run.number());
            let site = self.site();
            if let Err(error) = site.ask(&run, &Verb::Take { reopen: true }).await {
                outcome.ending = self.refused(&error);
                break;
            }
            let held = held(&site, run, Some(status));
            self.cancel = CancellationToken::new();
            let (step, reason) = ("put the run back".to_owned(), "asked for".to_owned());
            outcome.ending = self.put_back(&held, Back { step, reason, force, in_peace: true }).await;
            if !outcome.ending.is_back() {
                break;
            }
        }
        outcome
    }
}
