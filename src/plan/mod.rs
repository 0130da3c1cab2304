//! From findings to batches of steps.
