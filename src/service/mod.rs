//! OpenStack services as data.

/// A service found on a host.
#[derive(Debug, Clone)]
pub struct Running;
