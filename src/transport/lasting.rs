//! A host that is reached again when its connection was lost.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Connected, Target, Transport, connect};
use crate::cmd::{Cmd, Output};
use crate::error::HostError;

/// A connection that is made anew after it was lost. The command that was under way is not repeated:
/// whoever gave it knows whether that is safe.
#[derive(Debug)]
pub struct Lasting {
    target: Target,
    connection: Mutex<Option<Arc<Connected>>>,
}

impl Lasting {
    /// Reaches the host for the first time.
    pub async fn connect(target: Target) -> Result<Self, HostError> {
        let connected = connect(&target).await?;
        Ok(Self { target, connection: Mutex::new(Some(Arc::new(connected))) })
    }

    /// The connection there is, or a new one. Commands that come meanwhile wait for it.
    async fn connected(&self) -> Result<Arc<Connected>, HostError> {
        let mut connection = self.connection.lock().await;
        if let Some(connected) = &*connection {
            return Ok(Arc::clone(connected));
        }
        let connected = Arc::new(connect(&self.target).await?);
        *connection = Some(Arc::clone(&connected));
        Ok(connected)
    }
}

impl Transport for Lasting {
    async fn run(&self, cmd: &Cmd) -> Result<Output, HostError> {
        let connected = self.connected().await?;
        let answer = connected.run(cmd).await;
        if matches!(answer, Err(HostError::Disconnected { .. })) {
            let mut connection = self.connection.lock().await;
            // Unless another command has done so already.
            if connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, &connected)) {
                *connection = None;
            }
        }
        answer
    }
}
