//! What should hold: plays, tasks and templates.
