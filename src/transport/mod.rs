//! How a command reaches a host.
