//! What several integration tests share.
pub mod described;
pub mod host;
pub mod sshd;
