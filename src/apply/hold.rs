//! Holding a host: its checkpoint is begun, or what this run has begun there is taken over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::checkpoint::{Run, Standing, Status, Verb};
use super::worker::FIRST_PAUSE;
use super::{Options, Patience, Site};
use crate::error::HostError;
use crate::event::{Event, Events};
use crate::plan::{Action, HostPlan, Step};

/// A host that this run holds.
pub(super) struct Held {
    /// The run with the id of the checkpoint on this host.
    pub run: Run,
    /// How the checkpoint stood when it was taken over; `None`: it was begun now.
    pub taken: Option<Status>,
    /// Was it confirmed already?
    pub finished: bool,
    /// Cancelled when the host says that the run is over.
    pub lost: CancellationToken,
    /// Tells the host again and again that the run is alive.
    _renewal: Option<AbortOnDropHandle<()>>,
}

impl Held {
    /// Was nothing changed in its name?
    pub fn is_untouched(&self) -> bool {
        !self.finished && self.taken.is_none()
    }

    /// Is this step behind us? A restart is when its gate has passed, too.
    pub fn is_done(&self, number: usize, step: &Step) -> bool {
        let word = if matches!(step.action, Action::Restart(_)) { "passed" } else { "done" };
        self.taken.as_ref().is_some_and(|status| status.noted(word, number))
    }
}

/// What hosts are held for.
#[derive(Clone, Copy)]
pub(super) struct Holding<'a> {
    pub run: &'a Run,
    pub options: &'a Options,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

impl Holding<'_> {
    /// Begins on a host, or goes on with what this run has begun there.
    pub async fn hold<S: Site>(
        &self,
        site: &Arc<S>,
        plan: &HostPlan,
        turn: usize,
    ) -> Result<Held, HostError> {
        let (run, resume, mut number) = (self.run, self.options.resume, 1);
        if resume || turn > 0 {
            let runs = self.insist(plan, || site.runs()).await?;
            let ours = || runs.iter().filter(|status| status.run.base() == run.id.base());
            number = ours().map(|status| status.run.number()).max().unwrap_or(0) + 1;
            if let Some(newest) = ours().rfind(|status| resume && status.turn == turn) {
                let run = run.part(newest.run.number());
                match newest.standing {
                    Standing::Confirmed => {
                        return Ok(Held {
                            run,
                            taken: None,
                            finished: true,
                            lost: CancellationToken::new(),
                            _renewal: None,
                        });
                    }
                    Standing::Open => {
                        let take = Verb::Take { reopen: false };
                        self.insist(plan, || site.ask(&run, &take)).await?;
                        return Ok(held(site, run, Some(newest.clone())));
                    }
                    Standing::Restoring | Standing::Broken => {
                        return Err(HostError::NotOpen {
                            run: run.id.to_string(),
                            standing: newest.standing.to_string(),
                        });
                    }
                    Standing::Beginning | Standing::Restored => {}
                }
            }
        }
        let run = run.part(number);
        let lost = AtomicBool::new(false);
        let begin = || async {
            let answer = site.begin(&run, plan, turn).await;
            if answer.as_ref().is_err_and(HostError::may_pass) {
                lost.store(true, Ordering::Relaxed);
            }
            answer
        };
        match self.insist(plan, begin).await {
            Ok(()) => Ok(held(site, run, None)),
            Err(error) if lost.into_inner() => Err(given_up(site, &run, error).await),
            Err(error) => Err(error),
        }
    }

    async fn insist<T, F>(&self, plan: &HostPlan, ask: impl Fn() -> F) -> Result<T, HostError>
    where
        F: Future<Output = Result<T, HostError>>,
    {
        insist(&plan.host, &self.options.patience, self.events, self.cancel, ask).await
    }
}

/// Why a host is not held after an answer of it was lost: it may be held all the same. It is given back, or,
/// where that cannot be, who frees it is said.
async fn given_up<S: Site>(site: &Arc<S>, run: &Run, error: HostError) -> HostError {
    if matches!(error, HostError::Held { .. } | HostError::Stale { .. } | HostError::NoFailsafe { .. }) {
        return error;
    }
    match site.ask(run, &Verb::Restore { whole: true, force: false }).await {
        Ok(_) | Err(HostError::NotOpen { .. }) => error,
        Err(_) => HostError::Unanswered {
            run: run.id.base().to_owned(),
            reason: error.to_string(),
            lease: run.failsafe.then_some(run.lease.as_secs()),
        },
    }
}

/// A host that is held from now on; the run is renewed on it until this is dropped.
pub(super) fn held<S: Site>(site: &Arc<S>, run: Run, taken: Option<Status>) -> Held {
    let lost = CancellationToken::new();
    let (site, renewed, token) = (Arc::clone(site), run.clone(), lost.clone());
    let renewal = tokio::spawn(async move {
        let pause = (run_interval(renewed.lease)).max(Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause).await;
            let answer = site.ask(&renewed, &Verb::Renew).await;
            // Everything else may pass.
            if matches!(answer, Err(HostError::NotOpen { .. } | HostError::TakenOver { .. })) {
                token.cancel();
                return;
            }
        }
    });
    Held { run, taken, finished: false, lost, _renewal: Some(AbortOnDropHandle::new(renewal)) }
}

/// Four signs of life a lease: three may be lost.
fn run_interval(lease: Duration) -> Duration {
    lease / 4
}

/// Asks again while the host cannot be reached, until the deadline of a gate, or until `cancel`.
pub(super) async fn insist<T, F>(
    host: &str,
    patience: &Patience,
    events: &Events,
    cancel: &CancellationToken,
    ask: impl Fn() -> F,
) -> Result<T, HostError>
where
    F: Future<Output = Result<T, HostError>>,
{
    let deadline = tokio::time::Instant::now() + patience.deadline;
    let mut pause = FIRST_PAUSE.min(patience.pause);
    loop {
        let error = match ask().await {
            Err(error) if error.may_pass() && tokio::time::Instant::now() + pause < deadline => error,
            answer => return answer,
        };
        let (awaited, seen) = ("an answer of the host".to_owned(), error.to_string());
        events(Event::Waiting { host: host.to_owned(), awaited, seen });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return Err(error),
        }
        pause = (pause * 2).min(patience.pause);
    }
}
