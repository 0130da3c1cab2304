//! Asking round before a restart, and until its service is back.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::hold::Held;
use super::worker::{FIRST_PAUSE, Failure, Worker};
use super::{Site, Sites, around};
use crate::audit::Cluster;
use crate::error::HostError;
use crate::event::Event;
use crate::facts::{Facts, Question};
use crate::plan::gate::ping::Answers;
use crate::plan::gate::{self, Waiting};
use crate::plan::rollout::{self, Look, Obstacle};
use crate::plan::{Restart, Role};
use crate::service;

/// A service that was restarted, and what was read of its host and of the brokers just before.
pub(super) struct Restarted {
    pub restart: Restart,
    pub before: Cluster,
    /// What it answered then, where it was called.
    pub answers: Option<Answers>,
}

/// How much of a host is read: a glance leaves its broker out.
#[derive(Debug, Clone, Copy)]
enum Depth {
    Full,
    Glance,
}

/// How old the look that ended one gate may be to begin the next.
const FRESH: Duration = Duration::from_secs(10);

/// Looks again until nothing is awaited, with pauses that grow.
struct Patient<'a> {
    until: tokio::time::Instant,
    pause: Duration,
    longest: Duration,
    cancel: &'a CancellationToken,
    lost: &'a CancellationToken,
}

impl Patient<'_> {
    /// Is it too late for another look?
    fn is_over(&self) -> bool {
        tokio::time::Instant::now() + self.pause > self.until
    }

    /// Waits for the next look. `Err` when the run is interrupted, or over on its host.
    async fn pause(&mut self, run: &str) -> Result<(), Failure> {
        tokio::select! {
            () = tokio::time::sleep(self.pause) => {}
            () = self.cancel.cancelled() => return Err("interrupted".to_owned().into()),
            () = self.lost.cancelled() => {
                let (run, standing) = (run.to_owned(), "over".to_owned());
                return Err(HostError::NotOpen { run, standing }.into());
            }
        }
        self.pause = (self.pause * 2).min(self.longest);
        Ok(())
    }
}

impl<S: Site> Worker<S> {
    fn patient<'a>(
        &self,
        limit: Duration,
        cancel: &'a CancellationToken,
        lost: &'a CancellationToken,
    ) -> Patient<'a> {
        let longest = self.options.patience.pause;
        let until = tokio::time::Instant::now() + limit;
        Patient { until, pause: FIRST_PAUSE.min(longest), longest, cancel, lost }
    }

    /// Waits until none of these restarts is unsafe: what was read then. `Err` with the reasons, when one
    /// does not pass or lasts until the deadline.
    pub(super) async fn may_restart(
        &self,
        restarts: &[&Restart],
        lost: &CancellationToken,
    ) -> Result<Cluster, Failure> {
        if restarts.is_empty() {
            return Ok(Cluster::new());
        }
        let limit = self.options.patience.deadline;
        let mut patient = self.patient(limit, &self.cancel, lost);
        loop {
            let cluster = match self.newest(restarts).await {
                Some(cluster) => cluster,
                None => self.look(restarts, true).await,
            };
            let own = cluster.get(&self.host.host);
            let own_error = own.and_then(|own| own.as_ref().err()).map(ToString::to_string);
            let found: Vec<Obstacle> = restarts.iter().flat_map(|it| self.obstacles(it, &cluster)).collect();
            if found.is_empty() && own_error.is_none() {
                return Ok(cluster);
            }
            let mut reasons: Vec<String> = own_error.into_iter().collect();
            for obstacle in found.iter().map(ToString::to_string) {
                if !reasons.contains(&obstacle) {
                    reasons.push(obstacle);
                }
            }
            let seen = reasons.join("; ");
            if found.iter().any(|obstacle| !obstacle.passes) {
                return Err(format!("a restart is not safe: {seen}").into());
            }
            if patient.is_over() {
                let seconds = limit.as_secs();
                return Err(format!("a restart was not safe for {seconds} s: {seen}").into());
            }
            let names: Vec<&str> = restarts.iter().map(|restart| restart.name.as_str()).collect();
            let awaited = format!("a restart of {} to be safe", names.join(", "));
            (self.events)(Event::Waiting { host: self.host.host.clone(), awaited, seen });
            patient.pause(&self.run.id.to_string()).await?;
        }
    }

    /// The look that has just shown the last restart to be healthy, where it has all that this one needs;
    /// the host itself is looked at again. A broker is restarted after a look of its own only.
    async fn newest(&self, restarts: &[&Restart]) -> Option<Cluster> {
        let (at, mut cluster) = self.newest.lock().expect("no holder of the lock panics").take()?;
        let own = self.host.host.as_str();
        let is_there = |host: &str| cluster.contains_key(host);
        let has_all = restarts.iter().all(|restart| {
            restart.role != Role::Broker
                && rollout::witnesses(own, restart, &self.instances).into_iter().all(is_there)
        });
        if !has_all || at.elapsed() > FRESH {
            return None;
        }
        let told = cluster.remove(own)?.ok()?.rabbitmq;
        let mut facts = self.look_here(restarts, &[], Depth::Glance).await.ok()?;
        facts.rabbitmq = told;
        cluster.insert(own.to_owned(), Ok(facts));
        Some(cluster)
    }

    fn obstacles(&self, restart: &Restart, cluster: &Cluster) -> Vec<Obstacle> {
        let (host, instances, allow) = (self.host.host.as_str(), &*self.instances, self.options.allow);
        rollout::obstacles(&Look { host, restart, instances, cluster, allow })
    }

    /// Fresh facts of this host, of the brokers, and, `before` a restart, of those that have a say in it.
    async fn look(&self, restarts: &[&Restart], before: bool) -> Cluster {
        let own = self.host.host.as_str();
        let mut asked: Vec<&str> = self.brokers();
        let mut questions = Vec::new();
        if before {
            for restart in restarts {
                asked.extend(rollout::witnesses(own, restart, &self.instances));
                questions.extend_from_slice(rollout::questions(restart));
            }
        }
        asked.retain(|host| *host != own);
        let (own_facts, others) =
            tokio::join!(self.look_here(restarts, &questions, Depth::Full), around(self.others(&asked)));
        let mut cluster = others;
        cluster.insert(own.to_owned(), own_facts);
        for host in asked {
            // It was there when the plan was made: what is not known is not safe.
            cluster.entry(host.to_owned()).or_insert_with(|| {
                let message = "it could not be reached when the run began".to_owned();
                Err(HostError::Malformed { message })
            });
        }
        cluster
    }

    /// Fresh facts of this host, with the logs of these services.
    async fn look_here(
        &self,
        restarts: &[&Restart],
        questions: &[Question],
        depth: Depth,
    ) -> Result<Facts, HostError> {
        let mut questions = questions.to_vec();
        questions.extend(restarts.iter().filter_map(|restart| self.logs.get(&restart.name).cloned()));
        match depth {
            Depth::Full => self.site().look(&questions).await,
            Depth::Glance => self.site().glance(&questions).await,
        }
    }

    /// The hosts that had a broker when the plan was made.
    fn brokers(&self) -> Vec<&str> {
        let brokers = service::services().iter().filter(|service| service.role == Role::Broker);
        let hosts = brokers.filter_map(|service| self.instances.get(&service.name)).flatten();
        hosts.map(String::as_str).collect()
    }

    fn others<'a>(&'a self, hosts: &'a [&str]) -> impl Iterator<Item = (&'a String, &'a std::sync::Arc<S>)> {
        let sites: &Sites<S> = &self.sites;
        sites.iter().filter(|(name, _)| hosts.contains(&name.as_str()))
    }

    /// What is read before a service is restarted on the way back.
    pub(super) async fn surroundings(&self, restart: &Restart) -> Result<Cluster, HostError> {
        let mut cluster = self.look(&[restart], false).await;
        match cluster.remove(&self.host.host) {
            Some(Ok(own)) => {
                cluster.insert(self.host.host.clone(), Ok(own));
                Ok(cluster)
            }
            Some(Err(error)) => Err(error),
            None => unreachable!("a look has this host"),
        }
    }

    /// Waits until these services are healthy by evidence and have been up for `settle`: the look that
    /// showed it, or what was seen last. On the way forward (`held`) it can be interrupted, or lost.
    pub(super) async fn healthy(
        &self,
        restarted: &[Restarted],
        settle: Duration,
        held: Option<&Held>,
    ) -> Result<Facts, Failure> {
        let seconds = i64::try_from(settle.as_secs()).unwrap_or(i64::MAX);
        let limit = self.options.patience.deadline + settle;
        // An interrupted run still waits for its services to be back: leaving them half up is worse.
        let never = CancellationToken::new();
        let (cancel, lost) = held.map_or((&never, &never), |held| (&self.cancel, &held.lost));
        let mut patient = self.patient(limit, cancel, lost);
        loop {
            let Waiting { awaited, seen, hopeless } = match self.awaited(restarted, seconds).await {
                Ok(facts) => return Ok(facts),
                Err(waiting) => waiting,
            };
            if hopeless {
                let reason = format!("not healthy after the restart: awaited {awaited}, seen: {seen}");
                return Err(reason.into());
            }
            if patient.is_over() {
                let seconds = limit.as_secs();
                let reason =
                    format!("not healthy after the restart: awaited {awaited} for {seconds} s, seen: {seen}");
                return Err(reason.into());
            }
            (self.events)(Event::Waiting { host: self.host.host.clone(), awaited, seen });
            patient.pause(&self.run.id.to_string()).await?;
        }
    }

    /// Calls a service, where it offers that; the inner error says why it cannot be called.
    pub(super) async fn call(
        &self,
        restart: &Restart,
        cluster: &Cluster,
    ) -> Result<Option<Result<Answers, String>>, HostError> {
        let question = match gate::ping::question(&self.host.host, restart, cluster) {
            Some(Ok(question)) => question,
            Some(Err(reason)) => return Ok(Some(Err(reason))),
            None => return Ok(None),
        };
        let facts = self.site().glance(&[question]).await?;
        Ok(Some(Answers::read(restart, &facts)))
    }

    /// One look: at the host alone, and once it has nothing left to await, at what the brokers say of it and
    /// at the logs. The last to be restarted is called then; the others were when it was their turn.
    async fn awaited(&self, restarted: &[Restarted], settled: i64) -> Result<Facts, Waiting> {
        let restarts: Vec<&Restart> = restarted.iter().map(|one| &one.restart).collect();
        let host = self.host.host.as_str();
        let before =
            |one: &Restarted| one.before.get(host).and_then(|own| own.clone().ok()).unwrap_or_default();
        let no_answer = |error: HostError| Waiting {
            awaited: "an answer of the host".to_owned(),
            seen: error.to_string(),
            hopeless: false,
        };
        let brokers = restarts.iter().any(|restart| restart.role == Role::Broker);
        let depth = if brokers { Depth::Full } else { Depth::Glance };
        let own = self.look_here(&restarts, &[], depth).await.map_err(no_answer)?;
        if let Some(waiting) =
            restarted.iter().find_map(|one| gate::awaited(&one.restart, &before(one), &own, settled))
        {
            return Err(waiting);
        }
        let at = tokio::time::Instant::now();
        let after = self.look(&restarts, false).await;
        if let Some(Err(error)) = after.get(host) {
            return Err(no_answer(error.clone()));
        }
        let seen_by_brokers = |one: &Restarted| {
            let (restart, before) = (&one.restart, &one.before);
            gate::brokers::awaited(
                &gate::brokers::Restarted { host, restart, before, after: &after },
                settled,
            )
        };
        let waiting = restarted.iter().find_map(seen_by_brokers);
        let Some(Ok(own)) = after.get(host) else { unreachable!("it was put there above") };
        let in_log = || restarted.iter().find_map(|one| gate::log::awaited(&one.restart, &before(one), own));
        if let Some(waiting) = waiting.or_else(in_log) {
            return Err(waiting);
        }
        let own = own.clone();
        if let Some(Restarted { restart, answers: had, .. }) = restarted.last()
            && let Some(called) = self.call(restart, &after).await.map_err(no_answer)?
        {
            let text = match called {
                Ok(answers) => match gate::ping::awaited(restart, had.as_ref(), &answers) {
                    Some(waiting) => return Err(waiting),
                    None if answers.complete() => format!("{} answered {answers}", restart.name),
                    None => format!("{} answered {answers}, no worse than before", restart.name),
                },
                Err(reason) => format!("{} was not called: {reason}", restart.name),
            };
            (self.events)(Event::Note { host: Some(self.host.host.clone()), text });
        }
        *self.newest.lock().expect("no holder of the lock panics") = Some((at, after));
        Ok(own)
    }
}
