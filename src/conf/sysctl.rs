//! sysctl.d: what the next boot sets.
