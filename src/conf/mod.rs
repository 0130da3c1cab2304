//! Configuration files as their own readers see them: oslo.config, sysctl.d, RabbitMQ.
//!
//! Everything here takes bytes and gives values with file and line; nothing here reads a file.
//! - [`oslo`]: what an OpenStack service reads, and the editor of its files.
//! - [`fragment`]: rust-ini as the second reader: our templates' output, and doubts about host files.
//! - [`sysctl`]: what the next boot sets, and what `sysctl --system` would set.
//! - [`rabbitmq`]: rabbitmq.conf, conf.d and advanced.config.
//! - [`secret`]: which keys hold secrets, and how to show them.

pub mod fragment;
pub mod oslo;
pub mod rabbitmq;
pub mod secret;
pub mod sysctl;
