//! A host in memory: a recording that can be changed. The demo and the property tests apply plans to it
//! with the same code that changes real hosts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::apply::checkpoint::{Answer, Run, Status, Verb};
use crate::apply::{Deed, Saved, Site};
use crate::audit::Cluster;
use crate::error::HostError;
use crate::facts::{Facts, FileFact, Question, Reading, Unit};
use crate::plan::{Action, HostPlan, content, simulate};

/// One host of a recorded cluster. Its clock stands still between actions and moves on by
/// [`simulate::RESTART_SECONDS`] with each restart.
#[derive(Debug)]
pub struct Recorded {
    /// The cluster, shared by its hosts: a restart on one is seen by the brokers of the others.
    pub cluster: Arc<Mutex<Cluster>>,
    /// Inventory name.
    pub host: String,
    /// Its checkpoint, while a run is open.
    open: Mutex<Option<Checkpoint>>,
}

/// What is needed to put a recorded host back.
#[derive(Debug, Clone)]
struct Checkpoint {
    plan: HostPlan,
    files: BTreeMap<String, Option<Reading<FileFact>>>,
    sysctls: BTreeMap<String, Reading<String>>,
    units: BTreeMap<String, Unit>,
    /// The steps that were begun.
    begun: Vec<usize>,
    restarted: Vec<usize>,
}

impl Recorded {
    /// One host of this cluster.
    pub fn new(cluster: Arc<Mutex<Cluster>>, host: impl Into<String>) -> Self {
        Self { cluster, host: host.into(), open: Mutex::new(None) }
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().expect("no holder of the lock panics")
    }

    fn open(&self) -> MutexGuard<'_, Option<Checkpoint>> {
        self.open.lock().expect("no holder of the lock panics")
    }

    fn facts(&self) -> Result<Facts, HostError> {
        self.cluster().get(&self.host).cloned().unwrap_or_else(|| {
            Err(HostError::Malformed { message: format!("the recording has no host `{}`", self.host) })
        })
    }

    /// The checkpoint, if the run is open.
    fn held(&self, run: &Run) -> Result<Checkpoint, HostError> {
        let gone = || HostError::NotOpen { run: run.id.to_string(), standing: "gone".to_owned() };
        self.open().clone().ok_or_else(gone)
    }

    fn put_back(&self, checkpoint: &Checkpoint) {
        if let Some(Ok(facts)) = self.cluster().get_mut(&self.host) {
            for (path, reading) in &checkpoint.files {
                match reading {
                    Some(Reading::Known(file)) => {
                        simulate::write(facts, path, Some(file.content.to_string()), file.mode);
                        facts.files.insert(path.clone(), Reading::Known(file.clone()));
                    }
                    _ => simulate::write(facts, path, None, 0),
                }
            }
            facts.sysctls.extend(checkpoint.sysctls.clone());
            facts.units.extend(checkpoint.units.clone());
        }
    }
}

impl Site for Recorded {
    async fn look(&self, _questions: &[Question]) -> Result<Facts, HostError> {
        self.facts()
    }

    async fn glance(&self, _questions: &[Question]) -> Result<Facts, HostError> {
        self.facts()
    }

    async fn read(&self, path: &str) -> Result<Option<Saved>, HostError> {
        match self.facts()?.files.get(path) {
            Some(Reading::Known(file)) => Ok(Some(Saved {
                bytes: file.content.as_bytes().to_vec(),
                mode: file.mode,
                owner: file.owner.clone(),
                group: file.group.clone(),
            })),
            Some(Reading::Unknown(reason)) => {
                Err(HostError::Malformed { message: format!("{path}: {reason}") })
            }
            Some(Reading::Absent) | None => Ok(None),
        }
    }

    async fn runs(&self) -> Result<Vec<Status>, HostError> {
        Ok(Vec::new())
    }

    async fn begin(&self, _: &Run, plan: &HostPlan, _: usize) -> Result<(), HostError> {
        let facts = self.facts()?;
        let mut paths = Vec::new();
        for (path, expected) in &plan.basis {
            let now = self.read(path).await?.map(|file| content::sha256(&file.bytes));
            if now != *expected {
                paths.push(path.clone());
            }
        }
        if !paths.is_empty() {
            return Err(HostError::Stale { paths });
        }
        let mut checkpoint = Checkpoint {
            plan: plan.clone(),
            files: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            units: BTreeMap::new(),
            begun: Vec::new(),
            restarted: Vec::new(),
        };
        for step in &plan.steps {
            match &step.action {
                Action::WriteFile { path, .. } | Action::SetOptions { path, .. } => {
                    checkpoint.files.insert(path.clone(), facts.files.get(path).cloned());
                }
                Action::SetSysctl { key, .. } => {
                    checkpoint.sysctls.extend(facts.sysctls.get_key_value(key).map(owned));
                }
                Action::SetUnit { unit, .. } => {
                    checkpoint.units.extend(facts.units.get_key_value(unit).map(owned));
                }
                Action::Restart(_) | Action::Run { .. } => {}
            }
        }
        *self.open() = Some(checkpoint);
        Ok(())
    }

    async fn step(&self, run: &Run, number: usize, deed: &Deed) -> Result<(), HostError> {
        self.held(run)?;
        if let Deed::Write { path, expected, .. } = deed {
            let now = self.read(path).await?.map(|file| content::sha256(&file.bytes));
            if now != *expected {
                return Err(HostError::Malformed { message: "the file has changed meanwhile".to_owned() });
            }
        }
        if let Some(checkpoint) = &mut *self.open() {
            checkpoint.begun.push(number);
        }
        match deed {
            Deed::Write { path, file, .. } => {
                if let Some(Ok(facts)) = self.cluster().get_mut(&self.host) {
                    let text = String::from_utf8_lossy(&file.bytes).into_owned();
                    simulate::write(facts, path, Some(text), file.mode);
                }
            }
            Deed::Act(action) => simulate::act(&mut self.cluster(), &self.host, action),
        }
        Ok(())
    }

    async fn ask(&self, run: &Run, verb: &Verb) -> Result<Answer, HostError> {
        let checkpoint = self.held(run)?;
        let owed = |number: &usize| {
            let restart = matches!(checkpoint.plan.steps[*number].action, Action::Restart(_));
            restart && !checkpoint.restarted.contains(number)
        };
        let restart = |number: usize| {
            let action = &checkpoint.plan.steps[number].action;
            simulate::act(&mut self.cluster(), &self.host, action);
        };
        match verb {
            Verb::Take { .. } | Verb::Renew | Verb::Passed(_) | Verb::Check => {}
            Verb::Confirm => *self.open() = None,
            Verb::Restore { whole, .. } => {
                self.put_back(&checkpoint);
                let owed = checkpoint.begun.iter().copied().filter(owed).collect();
                if !whole {
                    return Ok(Answer { owed, ..Answer::default() });
                }
                owed.into_iter().for_each(restart);
                *self.open() = None;
            }
            Verb::Restart(number) => {
                restart(*number);
                if let Some(checkpoint) = &mut *self.open() {
                    checkpoint.restarted.push(*number);
                }
            }
        }
        Ok(Answer::default())
    }
}

fn owned<V: Clone>((name, value): (&String, &V)) -> (String, V) {
    (name.clone(), value.clone())
}
