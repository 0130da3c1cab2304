//! `trueup` makes OpenStack RPC survive the loss of a broker connection, and keeps it so.
//!
//! # The flow
//! ```text
//!  inventory ─┐                                 (pure)                 (pure)            (pure)
//!  playbook ──┼─► tasks x hosts ─► queries ─► PROBE ─► Facts ─► audit ─► Findings ─► plan ─► Plan
//!  templates ─┘                              I/O, parallel                                    │
//!                                                                                             ▼
//!  Report ◄── audit again + health gates ◄──────────── APPLY: batch by batch, verify, else roll back
//! ```
//! Everything but [`transport`], [`probe`], [`apply`] and [`cli`] is synchronous, does no I/O and is
//! tested as values. A plan leaves nothing to decide at apply time.
//!
//! # Invariants
//! - Unknown is never compliant: absent, unreadable and different are three answers.
//! - A bad host is data ([`error::HostError`]); a bad input is an error ([`error::Diagnostic`]) before
//!   any host is touched; a bug is a panic.
//! - stdout is the answer, stderr the conversation; only [`cli`] prints or exits.

pub mod apply;
pub mod audit;
pub mod cli;
pub mod cmd;
pub mod conf;
pub mod deployment;
pub mod drift;
pub mod error;
pub mod event;
pub mod facts;
pub mod format_version;
pub mod incidents;
pub mod inventory;
pub mod messaging;
pub mod modules;
pub mod plan;
pub mod playbook;
pub mod probe;
pub mod report;
pub mod service;
pub mod timing;
pub mod transport;
pub mod waiver;
pub mod yaml;
