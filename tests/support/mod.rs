//! What several integration tests share.
pub mod chromium;
pub mod described;
pub mod host;
pub mod reports;
pub mod rig;
pub mod schema;
pub mod sshd;
