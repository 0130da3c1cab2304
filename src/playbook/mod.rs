//! What should hold: plays, tasks and templates.
//!
//! A playbook is read strictly ([`Playbook::parse`]); [`Playbook::bind`] then fills in one host's
//! variables and renders every template, so that nothing is left to render once a host is touched.

use crate::audit::Severity;
use crate::error::Place;
use crate::modules::Module;

/// A task with one host's values filled in.
#[derive(Debug)]
pub struct BoundTask {
    /// Stable name: `id:`, or made from `name:`.
    pub id: String,
    /// What should hold, a sentence.
    pub name: String,
    /// How bad it is when it does not.
    pub severity: Severity,
    /// Why it matters.
    pub why: String,
    /// Where that can be read.
    pub references: Vec<String>,
    /// What `--tags` selects by.
    pub tags: Vec<String>,
    /// Where it stands in the playbook.
    pub place: Place,
    /// How to look and how to mend.
    pub module: Box<dyn Module>,
}
