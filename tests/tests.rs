//! The integration tests: one binary, one module a subject.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod checkpoint;
mod drift;
mod faults;
mod formats;
mod fragment;
mod human;
mod incidents;
mod inventory;
mod layers;
mod oslo;
mod plan;
mod playbook;
mod probe;
mod promises;
mod rabbitmq;
mod remediate;
mod report;
mod rules;
mod runs;
mod schedule;
mod secret;
mod shells;
mod support;
mod sysctl;
mod transport;
mod waivers;
