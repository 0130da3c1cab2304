//! Services under systemd with no known installer: the fallback.

use super::{Deployment, Place};

/// Any host.
#[derive(Debug)]
pub struct Plain;

impl Deployment for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn recognises(&self, _: &Place<'_>) -> bool {
        true
    }
}
