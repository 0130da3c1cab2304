//! The answer of a run, one file a format.
