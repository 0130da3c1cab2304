//! What should hold: plays, tasks and templates.
//!
//! A playbook is read strictly ([`Playbook::parse`]); [`Playbook::bind`] then fills in one host's
//! variables and renders every template, so that nothing is left to render once a host is touched.
//! [`load::load`] is the one function that reads files; everything else is text in, values out.

pub mod bind;
pub mod builtin;
#[cfg(test)]
mod cases;
mod explain;
mod keywords;
pub mod load;
mod parse;
pub mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::audit::Severity;
use crate::error::Place;
use crate::modules::{Kind, Module};
use crate::plan::rollout::Serial;

pub use bind::{Bound, Filled, HostVars, RoundCommand, Skipped};
pub use explain::explain;
pub use load::{Loaded, load};

/// Variables by name, templates in them not yet rendered.
pub type Vars = IndexMap<String, Value>;

/// A playbook as written: templates in it are not yet rendered.
#[derive(Debug, Clone)]
pub struct Playbook {
    /// The file's name as the user knows it; `builtin:NAME` for an embedded one.
    pub path: String,
    /// Its plays, in order.
    pub plays: Vec<Play>,
    /// What was accepted and has no effect here, or that Ansible warns about.
    pub warnings: Vec<crate::error::Diagnostic>,
}

/// A play: what should hold on which hosts, and how a rollout goes over them.
#[derive(Debug, Clone)]
pub struct Play {
    /// What it is for; the hosts pattern where it has no name.
    pub name: String,
    /// The hosts pattern, as Ansible writes it.
    pub hosts: String,
    /// Whether commands run as root; `None` leaves it to the command line and the inventory.
    pub r#become: Option<bool>,
    /// Sizes of the batches; the last one repeats. Empty: all hosts at once.
    pub serial: Vec<Serial>,
    /// The run stops when more than this share of a batch's hosts failed.
    pub max_fail_percentage: Option<f64>,
    /// One failed host stops the run.
    pub any_errors_fatal: bool,
    /// `vars:`, not yet rendered.
    pub vars: Scoped,
    /// `vars_files:` in order: their names, and what they hold once [`load::load`] has read them.
    pub vars_files: Vec<VarsFile>,
    /// Commands before each batch.
    pub pre_tasks: Vec<Task>,
    /// What should hold.
    pub tasks: Vec<Task>,
    /// Commands after each batch.
    pub post_tasks: Vec<Task>,
    /// Tags that every task of the play has.
    pub tags: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

/// Variables and where each stands.
#[derive(Debug, Clone, Default)]
pub struct Scoped {
    /// The values, not yet rendered.
    pub vars: Vars,
    /// Where each value stands.
    pub places: BTreeMap<String, Place>,
}

/// One entry of `vars_files:`.
#[derive(Debug, Clone)]
pub struct VarsFile {
    /// As written; where it is a list, the first file that exists is read.
    pub candidates: Vec<String>,
    /// What it holds.
    pub scoped: Scoped,
    /// Where the entry stands in the playbook.
    pub place: Place,
}

/// A task as written.
#[derive(Debug, Clone)]
pub struct Task {
    /// Stable name: `id:`, or made from `name:`.
    pub id: String,
    /// What should hold, a sentence.
    pub name: String,
    /// Conditions, all of which must hold.
    pub when: Vec<Condition>,
    /// The list that `loop:` goes over, not yet rendered.
    pub r#loop: Option<(Value, Place)>,
    /// The variable that holds the loop's item.
    pub loop_var: String,
    /// The task's own tags and the play's.
    pub tags: Vec<String>,
    /// The task's own variables.
    pub vars: Scoped,
    /// How bad it is when the task does not hold.
    pub severity: Severity,
    /// Why it matters.
    pub why: String,
    /// Where that can be read.
    pub references: Vec<String>,
    /// What kind of task it is; `None` for a command round a batch.
    pub kind: Option<&'static Kind>,
    /// Its arguments, not yet rendered.
    pub arguments: Map<String, Value>,
    /// Where each argument stands.
    pub argument_places: BTreeMap<String, Place>,
    /// Where the module stands.
    pub module_place: Place,
    /// Where the task stands.
    pub place: Place,
}

/// One condition of `when:`.
#[derive(Debug, Clone)]
pub struct Condition {
    /// A boolean, or an expression.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
}

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

/// The texts that `src:` can name, by that name.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    /// Name in `src:` to file name and text.
    pub files: BTreeMap<String, Source>,
    /// The environment of this process, for `lookup('env', …)`.
    pub environment: BTreeMap<String, String>,
}

/// A text and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name as the user knows it; `builtin:NAME` for an embedded one.
    pub path: String,
    /// The text.
    pub text: Arc<str>,
}

/// Whether a task with these tags runs under `--tags only` and `--skip-tags skip`, by Ansible's rules:
/// `always` runs unless it is skipped by name, `never` only when asked for, and `all`, `tagged` and
/// `untagged` are words of their own.
pub fn selected(tags: &[String], only: &[String], skip: &[String]) -> bool {
    let untagged = ["untagged".to_owned()];
    let own = if tags.is_empty() { &untagged[..] } else { tags };
    let has = |list: &[String], word: &str| list.iter().any(|tag| tag == word);
    let shares = |list: &[String]| own.iter().any(|tag| has(list, tag));
    let run = has(own, "always")
        || ((only.is_empty() || has(only, "all")) && !has(own, "never"))
        || shares(only)
        || (has(only, "tagged") && !tags.is_empty() && !has(own, "never"));
    let skipped = if has(skip, "all") {
        !has(own, "always") || has(skip, "always")
    } else {
        shares(skip) || (has(skip, "tagged") && !tags.is_empty())
    };
    run && !skipped
}
