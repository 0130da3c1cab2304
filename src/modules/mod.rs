//! Kinds of task, one file each, in one visible table: [`KINDS`].
//!
//! A module is pure: it says what to ask of a host, and decides on what came back. Templates are
//! rendered before a module sees them, so an undefined variable is an error before any host is touched.

mod arguments;
mod command;
mod detection_window;
mod oslo_config;
mod rabbitmq_config;
mod restart;
mod service;
mod sysctl;
mod template;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::audit::{Cluster, Finding, Windows};
use crate::error::{Place, Result};
use crate::facts::Facts;
use crate::facts::Question;
use crate::plan::{Change, Role};
use crate::service::Running;

/// A kind of task: its name, its arguments, and how a task of this kind is made.
#[derive(Debug)]
pub struct Kind {
    /// The word in the playbook.
    pub name: &'static str,
    /// Other words for it: Ansible's names of the same module.
    pub aliases: &'static [&'static str],
    /// The arguments it takes; any other is an error with a suggestion.
    pub arguments: &'static [&'static str],
    /// One line for `trueup explain`.
    pub summary: &'static str,
    /// Makes the task from arguments whose templates are rendered.
    pub parse: fn(&Arguments) -> Result<Box<dyn Module>>,
}

/// What a task gave its module, every template rendered with one host's variables.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The arguments by name, `src` left out.
    pub values: Map<String, Value>,
    /// The text that the template named by `src` rendered to, and that template's name.
    pub src: Option<Rendered>,
    /// Where each argument stands in the playbook, for errors.
    pub places: std::collections::BTreeMap<String, Place>,
    /// Where the task's module stands.
    pub place: Place,
}

/// A rendered template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The template's name, as in `oslo-messaging.conf.j2`.
    pub name: String,
    /// What it rendered to.
    pub text: String,
}

/// What a module decides on.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Inventory name of the host.
    pub host: &'a str,
    /// Its facts.
    pub facts: &'a Facts,
    /// Its services, found by [`crate::service::running`].
    pub services: &'a [Running],
    /// All hosts of the run, for what spans hosts.
    pub cluster: &'a Cluster,
    /// The windows of every host's services, now; empty for a task that is no invariant.
    pub windows: &'a Windows,
    /// The same after every change of this run; empty for a task that is no invariant.
    pub windows_after: &'a Windows,
    /// The playbook's task, for what a finding repeats (id, name, severity, why).
    pub task: &'a crate::playbook::BoundTask,
}

impl<'a> Context<'a> {
    /// The broker's services of this host.
    pub fn brokers(&self) -> impl Iterator<Item = &'a Running> + use<'a> {
        self.services.iter().filter(|running| running.service.role == Role::Broker)
    }

    /// The host's services with these names.
    pub fn named(&self, names: &[String]) -> Vec<&'a Running> {
        self.services.iter().filter(|running| names.contains(&running.service.name)).collect()
    }
}

/// What a module decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Its subject does not exist on this host, and what that is.
    NotApplicable(String),
    /// Its subject exists: what does not hold (nothing: it holds), and the changes that mend it.
    Checked {
        /// What does not hold.
        findings: Vec<Finding>,
        /// The changes that mend it; empty where only a person can.
        changes: Vec<Change>,
    },
}

impl Outcome {
    /// It could not be established.
    fn unknown(finding: Finding) -> Self {
        let finding = if finding.mend.is_empty() { finding.manual(AS_ROOT) } else { finding };
        Self::Checked { findings: vec![finding], changes: Vec::new() }
    }
}

/// What mends most of what could not be read.
const AS_ROOT: &str = "let trueup read it: run it as root there (`become: true`)";

/// One task's module.
pub trait Module: std::fmt::Debug + Send + Sync {
    /// What the probe must ask beyond what it always asks.
    fn questions(&self) -> Vec<Question> {
        Vec::new()
    }

    /// Is it about the outcome of everything else? Then it is checked after all other tasks of all hosts.
    fn is_invariant(&self) -> bool {
        false
    }

    /// Does it hold, and what would mend it?
    fn check(&self, context: &Context<'_>) -> Outcome;
}

/// Every kind of task.
pub const KINDS: &[&Kind] = &[
    &detection_window::KIND,
    &oslo_config::KIND,
    &rabbitmq_config::KIND,
    &sysctl::KIND,
    &template::KIND,
    &service::KIND,
    &command::KIND,
];

/// The kind with this name or alias.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name == name || kind.aliases.contains(&name))
}
