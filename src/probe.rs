//! Reading the facts of a host: one connection, at most two commands.
