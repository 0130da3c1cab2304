//! A host in memory: a recording that can be changed. The demo and the property tests apply plans to it
//! with the same code that changes real hosts.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::apply::{Saved, Site, Write};
use crate::audit::Cluster;
use crate::error::HostError;
use crate::facts::{Facts, Reading};
use crate::plan::{Action, content, simulate};

/// One host of a recorded cluster. Its clock stands still between actions and moves on by
/// [`simulate::RESTART_SECONDS`] with each restart.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The cluster, shared by its hosts: a restart on one is seen by the brokers of the others.
    pub cluster: Arc<Mutex<Cluster>>,
    /// Inventory name.
    pub host: String,
}

impl Recorded {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().expect("no holder of the lock panics")
    }

    fn facts(&self) -> Result<Facts, HostError> {
        self.cluster().get(&self.host).cloned().unwrap_or_else(|| {
            Err(HostError::Malformed { message: format!("the recording has no host `{}`", self.host) })
        })
    }
}

impl Site for Recorded {
    async fn probe(&self) -> Result<Facts, HostError> {
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

    async fn write(&self, write: &Write) -> Result<(), HostError> {
        let now = self.read(&write.path).await?.map(|file| content::sha256(&file.bytes));
        if now != write.expected {
            return Err(HostError::Malformed { message: "the file has changed meanwhile".to_owned() });
        }
        if let Some(Ok(facts)) = self.cluster().get_mut(&self.host) {
            let file = write.file.as_ref();
            simulate::write(
                facts,
                &write.path,
                file.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()),
                file.map_or(0o644, |file| file.mode),
            );
        }
        Ok(())
    }

    async fn act(&self, action: &Action) -> Result<(), HostError> {
        simulate::act(&mut self.cluster(), &self.host, action);
        Ok(())
    }
}
