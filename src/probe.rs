//! Reading the facts of a host: one connection, at most two commands.

pub use crate::facts::Question;
