//! The way back of one host: after a step that failed, or because somebody asks for it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Site;
use super::checkpoint::{Run, Standing, Status, Verb};
use super::gates::Restarted;
use super::hold::Held;
use super::worker::{Failure, Worker};
use crate::error::HostError;
use crate::event::Event;
use crate::plan::outcome::Ending;
use crate::plan::{Action, Step};

/// Why, and how, a host is put back.
pub(super) struct Back {
    /// The step that failed, or that asks for it.
    pub step: String,
    /// Why it failed.
    pub reason: String,
    /// Also what somebody else has changed?
    pub force: bool,
    /// Nothing is on fire: a restart waits until it is safe, as on the way forward. After a failure what is
    /// gone is gone, and no restart waits.
    pub in_peace: bool,
}

impl<S: Site> Worker<S> {
    /// The way back, the host's own: files, kernel settings and units; then the services that were
    /// restarted on what is now gone, each with its gate; then the commands round the batch.
    pub(super) async fn put_back(&self, held: &Held, back: Back) -> Ending {
        let host = self.host.host.clone();
        (self.events)(Event::RollingBack { host: host.clone() });
        let mut left = BTreeSet::new();
        let ended = self.way_back(held, &mut left, &back).await;
        let Back { step, reason, .. } = back;
        let left: Vec<String> = left.into_iter().collect();
        let (ending, error) = match ended {
            Ok(()) if left.is_empty() => (Ending::RolledBack { step, reason }, None),
            Ok(()) => {
                let left = left.join("; ");
                (Ending::Broken { step, reason, left: left.clone() }, Some(left))
            }
            Err(error @ (HostError::NotOpen { .. } | HostError::TakenOver { .. })) => {
                let text = error.to_string();
                let ending = self.over(held, step, error).await;
                let error = (!matches!(ending, Ending::PutItselfBack { .. })).then_some(text);
                (ending, error)
            }
            Err(HostError::NotSafe { reason: unsafe_now }) => {
                let next = owed(&held.run);
                (Ending::Open { step, reason: unsafe_now.clone(), next }, Some(unsafe_now))
            }
            Err(error) => {
                let next = next(&held.run);
                (Ending::Open { step, reason, next: format!("{error}; {next}") }, Some(error.to_string()))
            }
        };
        (self.events)(Event::RolledBack { host, error });
        ending
    }

    /// Notes in `left` what could not be put back; an error is that the host could not be asked, or that a
    /// restart is not safe.
    async fn way_back(&self, held: &Held, left: &mut BTreeSet<String>, back: &Back) -> Result<(), HostError> {
        let restore = |whole| Verb::Restore { whole, force: back.force };
        let answer = self.insist(|| self.ask(held, restore(false))).await?;
        left.extend(answer.left);
        if answer.again {
            left.insert("the host tries again every minute".to_owned());
            return Ok(());
        }
        for number in answer.owed {
            let Some(Step { action: Action::Restart(restart), .. }) = self.host.steps.get(number) else {
                continue;
            };
            let before = if back.in_peace {
                self.may_restart(&[restart], &held.lost).await.map_err(Failure::into_error)?
            } else {
                self.insist(|| self.surroundings(restart)).await?
            };
            let answer = self.insist(|| self.ask(held, Verb::Restart(number))).await?;
            left.extend(answer.left);
            let one = [Restarted { restart: restart.clone(), before, answers: None }];
            if let Err(Failure::Step(reason)) = self.healthy(&one, Duration::ZERO, None).await {
                left.insert(format!("{}: {reason}", restart.name));
            }
        }
        let answer = self.insist(|| self.ask(held, restore(true))).await?;
        left.extend(answer.left);
        Ok(())
    }

    /// The ending of a host on which the run is over, or somebody else's.
    pub(super) async fn over(&self, held: &Held, step: String, error: HostError) -> Ending {
        let reason = error.to_string();
        if let HostError::TakenOver { .. } = error {
            return Ending::Open { step, reason, next: "it is theirs to finish".to_owned() };
        }
        let deadline = tokio::time::Instant::now() + self.options.patience.deadline;
        loop {
            let runs = self.insist(|| self.runs()).await.unwrap_or_default();
            let own = runs.into_iter().find(|status| status.run == held.run.id);
            match own.map(|status| (status.standing, status.left)) {
                Some((Standing::Broken, left)) => {
                    return Ending::Broken { step, reason, left: left.join("; ") };
                }
                Some((Standing::Open | Standing::Restoring, _)) => {
                    if tokio::time::Instant::now() > deadline {
                        return Ending::Open { step, reason, next: next(&held.run) };
                    }
                    let (host, awaited) =
                        (self.host.host.clone(), "the host to have put itself back".to_owned());
                    (self.events)(Event::Waiting { host, awaited, seen: "it is at it".to_owned() });
                    tokio::time::sleep(self.options.patience.pause).await;
                }
                // Where nothing was changed nothing is kept.
                _ => return Ending::PutItselfBack { step, reason },
            }
        }
    }

    async fn runs(&self) -> Result<Vec<Status>, HostError> {
        self.site().runs().await
    }
}

/// What happens to a host whose files are back, and whose services are not restarted.
fn owed(run: &Run) -> String {
    let by_hand = format!("`trueup rollback {}` goes on with it", run.id.base());
    if run.failsafe {
        let seconds = run.lease.as_secs();
        format!(
            "its files are back, its restarts are owed: {by_hand}; the host itself does so {seconds} s after it \
             last heard of the run"
        )
    } else {
        format!("its files are back, its restarts are owed: {by_hand}")
    }
}

/// What happens to a host that is left open.
pub(super) fn next(run: &Run) -> String {
    let by_hand =
        format!("`trueup resume {0}` finishes it, `trueup rollback {0}` puts it back", run.id.base());
    if run.failsafe {
        let seconds = run.lease.as_secs();
        format!(
            "the host puts itself back {seconds} s after it last heard of the run; before that, {by_hand}"
        )
    } else {
        by_hand
    }
}
