//! What was read from one host.
