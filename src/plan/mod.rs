//! From findings to batches of steps: complete, serializable, with nothing left to decide.
//!
//! A plan holds no secret: an edit of an oslo.config file is stored as the option it sets, and the
//! bytes are made on apply by the same editor, from a file whose hash must equal the plan's basis.

pub mod build;
pub mod content;
pub mod gate;
pub mod outcome;
pub mod rollout;
pub mod simulate;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::conf::secret;

/// The version of the saved form.
pub const FORMAT_VERSION: &str = "1.0";

/// One thing that mends a finding; what modules propose. [`Step`]s are made from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The task that wants it.
    pub task: String,
    /// What is to be done.
    pub action: Action,
    /// The services that must restart for it to take effect.
    pub owes: Vec<Restart>,
}

/// What one change, and one step, does to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// Sets options of an oslo.config file where they are decided; every other byte stays.
    SetOptions {
        /// The file on the host.
        path: String,
        /// What to set.
        options: Vec<OptionValue>,
    },
    /// Writes a whole file of ours.
    WriteFile {
        /// The file on the host.
        path: String,
        /// Its new content.
        content: String,
        /// Permission bits; those of the file there, or 0o644, when `None`.
        mode: Option<u32>,
        /// Owner; the one there, or root, when `None`.
        owner: Option<String>,
        /// Group; the one there, or root, when `None`.
        group: Option<String>,
        /// A command that must accept the new file (`%s` is its path) before it takes the old one's place.
        validate: Option<Vec<String>>,
    },
    /// Sets a live kernel setting.
    SetSysctl {
        /// Dotted name.
        key: String,
        /// New value.
        value: String,
        /// The value there when the plan was made.
        before: Option<String>,
    },
    /// Enables, starts, disables or stops a unit.
    SetUnit {
        /// The unit's name.
        unit: String,
        /// Enabled at boot?
        enabled: Option<bool>,
        /// Running now?
        running: Option<bool>,
    },
    /// Runs a command of the playbook round a batch (`pre_tasks`, `post_tasks`).
    Run {
        /// Program and arguments, no shell.
        argv: Vec<String>,
    },
    /// Restarts one service and waits for its health.
    Restart(Restart),
}

/// One option of an oslo.config file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OptionValue {
    /// Section.
    pub group: String,
    /// Name.
    pub key: String,
    /// The value the service shall see.
    pub value: String,
    /// Older names under which the file may hold it, as (group, key): where one decides, it is edited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deprecated: Vec<(String, String)>,
}

/// What takes part in a rolling restart, in the order it restarts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// RabbitMQ: before its clients, never two nodes at a time.
    Broker,
    /// Serves RPC: scheduler, volume, conductor, engine.
    RpcServer,
    /// An agent on a host.
    Agent,
    /// Serves HTTP and calls RPC servers.
    Api,
}

/// A restart that is owed. Restarts of one `name` on a host merge into one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Restart {
    /// When in the order.
    pub role: Role,
    /// Order among equals.
    pub order: u32,
    /// The service, `cinder-volume`.
    pub service: String,
    /// Its unit or container.
    pub name: String,
    /// The command that restarts it; never a reload, which oslo.messaging ignores.
    pub argv: Vec<String>,
}

/// A plan: batches of hosts, each with steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT_VERSION`] of the tool that wrote it.
    pub format_version: String,
    /// Version of the tool.
    pub trueup: String,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// The playbook it follows.
    pub playbook: String,
    /// In order.
    pub batches: Vec<Batch>,
    /// Where brokers, and the services that it restarts, ran when it was made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: rollout::Instances,
    /// What its tasks asked for when it was made; a plan of an older version does not say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub wanted: Wanted,
}

/// For each host and task of a plan what the task asked for, as [`crate::drift::fingerprint`].
pub type Wanted = BTreeMap<String, BTreeMap<String, String>>;

/// Hosts that change together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The run stops when more than this share of the batch's hosts failed.
    pub max_fail_percentage: f64,
    /// Its hosts, with steps or blocked.
    pub hosts: Vec<HostPlan>,
}

/// What is done on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostPlan {
    /// Inventory name.
    pub host: String,
    /// What the plan was computed from: the SHA-256 of every file it changes, `None` where there is
    /// none. Apply refuses when a host differs.
    pub basis: BTreeMap<String, Option<String>>,
    /// In order.
    pub steps: Vec<Step>,
    /// What cannot be planned, with its reason.
    pub blocked: Vec<Blocked>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The tasks that want it.
    pub tasks: Vec<String>,
    /// What it does.
    pub action: Action,
    /// The change of the file as a unified diff, secrets masked; empty where no file changes.
    pub diff: String,
    /// The file's SHA-256 afterwards, where that is known beforehand.
    pub after: Option<String>,
}

/// What cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Blocked {
    /// The task that wants it.
    pub task: String,
    /// Why not, and what a person can do.
    pub reason: String,
}

impl HostPlan {
    /// A host with nothing to do.
    pub fn new(host: &str) -> Self {
        Self { host: host.to_owned(), basis: BTreeMap::new(), steps: Vec::new(), blocked: Vec::new() }
    }
}

impl Plan {
    /// Nothing to do on any host? What is blocked counts as nothing.
    pub fn is_empty(&self) -> bool {
        self.batches.iter().flat_map(|batch| &batch.hosts).all(|host| host.steps.is_empty())
    }

    /// The hosts that have steps, in order.
    pub fn host_names(&self) -> Vec<String> {
        let hosts = self.batches.iter().flat_map(|batch| &batch.hosts);
        hosts.filter(|host| !host.steps.is_empty()).map(|host| host.host.clone()).collect()
    }

    /// Where the plan holds a secret: one of `secrets` (what came out of vaults), or the value of an option
    /// that is one. Such a plan is applied, never saved.
    pub fn secret(&self, secrets: &[String]) -> Option<String> {
        let known =
            |text: &str| secrets.iter().any(|secret| secret.len() > 3 && text.contains(secret.as_str()));
        let steps = self.batches.iter().flat_map(|batch| &batch.hosts).flat_map(|host| &host.steps);
        steps.map(|step| &step.action).find_map(|action| match action {
            Action::SetOptions { path, options } => options
                .iter()
                .find(|option| {
                    secret::mask_value(&option.key, &option.value) != option.value || known(&option.value)
                })
                .map(|option| format!("`{}` in {path}", option.key)),
            Action::WriteFile { path, content, .. } => {
                let masked = secret::mask_file(secret::Kind::of(path), content);
                (masked != *content || known(content)).then(|| format!("the content of {path}"))
            }
            Action::Run { argv } => {
                argv.iter().any(|word| known(word)).then(|| "a command of the playbook".to_owned())
            }
            Action::SetSysctl { .. } | Action::SetUnit { .. } | Action::Restart(_) => None,
        })
    }
}

/// What it does, in a few words.
impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SetOptions { path, options } => {
                let keys: Vec<&str> = options.iter().map(|option| option.key.as_str()).collect();
                write!(f, "set {} in {path}", keys.join(", "))
            }
            Self::WriteFile { path, .. } => write!(f, "write {path}"),
            Self::SetSysctl { key, value, .. } => write!(f, "set {key} = {value}"),
            Self::SetUnit { unit, enabled, running } => {
                let mut words = Vec::new();
                words.extend(enabled.map(|yes| if yes { "enable" } else { "disable" }));
                words.extend(running.map(|yes| if yes { "start" } else { "stop" }));
                write!(f, "{} {unit}", words.join(" and "))
            }
            Self::Run { argv } => write!(f, "run {}", argv.join(" ")),
            Self::Restart(restart) => write!(f, "restart {}", restart.name),
        }
    }
}
