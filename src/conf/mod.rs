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

/// Whether `version` (`6.7.0`, `10.7.0.dev3`) is at least `wanted`.
pub(crate) fn at_least(version: &str, wanted: [u32; 3]) -> bool {
    let mut numbers = version.split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse().unwrap_or(0)
    });
    let mut next = || numbers.next().unwrap_or(0);
    [next(), next(), next()] >= wanted
}
