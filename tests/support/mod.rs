//! What several integration tests share.
pub mod host;
pub mod sshd;
