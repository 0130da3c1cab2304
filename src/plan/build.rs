//! From the changes that tasks want to the steps of a plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::{Cluster, HostAudit};
use crate::conf::secret;
use crate::deployment::Persist;
use crate::facts::{Facts, FileFact, Reading};
use crate::plan::{
    Action, Batch, Blocked, Change, FORMAT_VERSION, HostPlan, OptionValue, Plan, Restart, Role, Step,
};
use crate::plan::{content, rollout};
use crate::service::{self, ConfigFile, RestartWay};

/// What one play asks of the plan.
#[derive(Debug, Clone, Default)]
pub struct Rollout {
    /// Inventory names, in the play's order.
    pub hosts: Vec<String>,
    /// How many at a time.
    pub serial: Vec<rollout::Serial>,
    /// The share of a batch's hosts that may fail before the run stops.
    pub max_fail_percentage: f64,
    /// The ids of the play's tasks: another play's changes on the same host are not its own.
    pub tasks: BTreeSet<String>,
    /// Commands before a host's changes, by host (`pre_tasks`).
    pub before: BTreeMap<String, Vec<Vec<String>>>,
    /// Commands after them, by host (`post_tasks`).
    pub after: BTreeMap<String, Vec<Vec<String>>>,
}

impl Rollout {
    /// Notes one host's tasks, and the commands round its batch.
    pub fn add(
        &mut self,
        host: &str,
        tasks: impl IntoIterator<Item = String>,
        before: Vec<Vec<String>>,
        after: Vec<Vec<String>>,
    ) {
        self.tasks.extend(tasks);
        self.before.insert(host.to_owned(), before);
        self.after.insert(host.to_owned(), after);
    }
}

/// The plan that mends what the audits found, in batches.
///
/// Hosts without steps and without blocked changes are left out; so are hosts without facts.
pub fn build(
    playbook: &str,
    made_at: &str,
    rollouts: &[Rollout],
    audits: &BTreeMap<String, HostAudit>,
    cluster: &Cluster,
) -> Plan {
    let mut batches: Vec<Batch> = Vec::new();
    let mut instances = rollout::instances(cluster);
    for play in rollouts {
        let mut hosts = play.hosts.iter();
        for size in rollout::batch_sizes(&play.serial, play.hosts.len()) {
            let plans: Vec<HostPlan> = hosts
                .by_ref()
                .take(size)
                .filter_map(|name| {
                    let facts = cluster.get(name)?.as_ref().ok()?;
                    let changes: Vec<Change> = audits
                        .get(name)?
                        .changes
                        .iter()
                        .filter(|change| play.tasks.contains(&change.task))
                        .cloned()
                        .collect();
                    host_plan(name, facts, &changes, play, cluster, &instances)
                })
                .collect();
            batches.extend(
                rollout::split(plans, &instances)
                    .into_iter()
                    .map(|hosts| Batch { max_fail_percentage: play.max_fail_percentage, hosts }),
            );
        }
    }
    let restarted: BTreeSet<&String> = batches
        .iter()
        .flat_map(|batch| &batch.hosts)
        .flat_map(rollout::restarts)
        .map(|restart| &restart.service)
        .collect();
    // Brokers are asked about every restart.
    let is_broker = |name: &str| service::service(name).is_some_and(|service| service.role == Role::Broker);
    instances.retain(|service, _| restarted.contains(service) || is_broker(service));
    Plan {
        format_version: FORMAT_VERSION.to_owned(),
        trueup: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: made_at.to_owned(),
        playbook: playbook.to_owned(),
        batches,
        instances,
        wanted: BTreeMap::new(),
    }
}

fn host_plan(
    name: &str,
    facts: &Facts,
    changes: &[Change],
    play: &Rollout,
    cluster: &Cluster,
    instances: &rollout::Instances,
) -> Option<HostPlan> {
    let mut plan = HostPlan::new(name);
    let merged = merge(changes, &mut plan.blocked);
    let owed = restarts(changes);
    // What may be allowed is asked again on apply, where the operator allows it.
    let brokers = owed.iter().filter(|(restart, _)| restart.role == Role::Broker);
    let unsafe_now = brokers.into_iter().find_map(|(restart, _)| {
        let look =
            rollout::Look { host: name, restart, instances, cluster, allow: rollout::Allow::default() };
        rollout::obstacles(&look).into_iter().find(|obstacle| !obstacle.may_be_allowed)
    });
    if let Some(obstacle) = unsafe_now {
        let reason = obstacle.to_string();
        let tasks: BTreeSet<&String> = changes.iter().map(|change| &change.task).collect();
        plan.blocked
            .extend(tasks.into_iter().map(|task| Blocked { task: task.clone(), reason: reason.clone() }));
        return Some(plan);
    }
    for (tasks, action) in merged {
        match step(tasks.clone(), action, facts, &mut plan.basis) {
            Ok(step) => plan.steps.push(step),
            Err(reason) => {
                plan.blocked.extend(tasks.into_iter().map(|task| Blocked { task, reason: reason.clone() }));
            }
        }
    }
    // A restart is owed by changes that are made; where all that owe it are blocked, so is it.
    let blocked: BTreeSet<&String> = plan.blocked.iter().map(|blocked| &blocked.task).collect();
    for (restart, tasks) in owed {
        if tasks.iter().any(|task| !blocked.contains(task)) {
            plan.steps.push(plain(tasks, Action::Restart(restart)));
        }
    }
    plan.blocked.extend(restarts_by_hand(facts, &plan.steps));
    if plan.steps.is_empty() {
        return (!plan.blocked.is_empty()).then_some(plan);
    }
    let command = |argv: &Vec<String>| plain(Vec::new(), Action::Run { argv: argv.clone() });
    let before = play.before.get(name).into_iter().flatten().map(command);
    plan.steps.splice(0..0, before);
    plan.steps.extend(play.after.get(name).into_iter().flatten().map(command));
    Some(plan)
}

/// Services that read a file which these steps change, and that only a person may restart (pacemaker runs
/// them, say): until then they run on what was there before.
fn restarts_by_hand(facts: &Facts, steps: &[Step]) -> Vec<Blocked> {
    let changes: Vec<(&str, &Step)> =
        steps.iter().filter_map(|step| Some((content::path(&step.action)?, step))).collect();
    let mut blocked = Vec::new();
    for running in service::running(facts) {
        let RestartWay::Blocked(how) = &running.restart else { continue };
        // A file of ours may be new to a broker, which reads all of its folder.
        let reads = |path: &str| {
            let file =
                |file: &ConfigFile| matches!(&file.persist, Persist::At { path: at, .. } if at == path);
            running.config.iter().any(file)
                || (running.service.role == Role::Broker && path.contains("/rabbitmq/"))
        };
        let tasks: BTreeSet<&String> =
            changes.iter().filter(|(path, _)| reads(path)).flat_map(|(_, step)| &step.tasks).collect();
        let reason = format!("{} is yours to restart afterwards: {how}", running.service.name);
        blocked.extend(tasks.into_iter().map(|task| Blocked { task: task.clone(), reason: reason.clone() }));
    }
    blocked
}

/// Changes of one file become one, duplicates too; two that contradict each other are both blocked.
/// In the order in which they are made: kernel settings, whole files, edits, units.
fn merge(changes: &[Change], blocked: &mut Vec<Blocked>) -> Vec<(Vec<String>, Action)> {
    let mut merged: Vec<(Vec<String>, Action)> = Vec::new();
    let mut contradict = |one: &[String], other: &str, what: &str| {
        for task in one.iter().map(String::as_str).chain([other]) {
            let reason =
                format!("tasks `{}` and `{other}` want different things of {what}", one.join("`, `"));
            blocked.push(Blocked { task: task.to_owned(), reason });
        }
    };
    for change in changes {
        let same = merged.iter_mut().find(|(_, action)| subject(action) == subject(&change.action));
        let Some((tasks, action)) = same else {
            if !matches!(change.action, Action::Restart(_)) {
                merged.push((vec![change.task.clone()], change.action.clone()));
            }
            continue;
        };
        match (action, &change.action) {
            (Action::SetOptions { path, options }, Action::SetOptions { options: more, .. }) => {
                for option in more {
                    match options.iter().find(|have| have.group == option.group && have.key == option.key) {
                        Some(have) if have.value != option.value => {
                            contradict(
                                tasks,
                                &change.task,
                                &format!("`[{}] {}` in {path}", option.group, option.key),
                            );
                        }
                        Some(_) => {}
                        None => options.push(OptionValue::clone(option)),
                    }
                }
            }
            (have, want) if have != want => contradict(tasks, &change.task, &describe_subject(want)),
            _ => {}
        }
        if !tasks.contains(&change.task) {
            tasks.push(change.task.clone());
        }
    }
    let contradicted: BTreeSet<&String> = blocked.iter().map(|blocked| &blocked.task).collect();
    merged.retain(|(tasks, _)| !tasks.iter().any(|task| contradicted.contains(task)));
    merged.sort_by_key(|(_, action)| match action {
        Action::WriteFile { path, .. } if path.contains("/sysctl.d/") => 0,
        Action::SetSysctl { .. } => 1,
        Action::WriteFile { .. } => 2,
        Action::SetOptions { .. } => 3,
        Action::SetUnit { .. } | Action::Run { .. } | Action::Restart(_) => 4,
    });
    merged
}

/// What an action is about: two actions on one subject must agree.
fn subject(action: &Action) -> (u8, &str) {
    match action {
        Action::WriteFile { path, .. } | Action::SetOptions { path, .. } => (0, path),
        Action::SetSysctl { key, .. } => (1, key),
        Action::SetUnit { unit, .. } => (2, unit),
        Action::Run { argv } => (3, argv.first().map_or("", String::as_str)),
        Action::Restart(restart) => (4, &restart.name),
    }
}

fn describe_subject(action: &Action) -> String {
    format!("`{}`", subject(action).1)
}

/// The restarts that changes owe, one a unit or container, in the order in which they happen: brokers
/// before their clients, RPC servers before the APIs that call them.
fn restarts(changes: &[Change]) -> Vec<(Restart, Vec<String>)> {
    let mut owed: BTreeMap<Restart, Vec<String>> = BTreeMap::new();
    for change in changes {
        let own = match &change.action {
            Action::Restart(restart) => Some(restart),
            _ => None,
        };
        for restart in change.owes.iter().chain(own) {
            let tasks = owed.entry(restart.clone()).or_default();
            if !tasks.contains(&change.task) {
                tasks.push(change.task.clone());
            }
        }
    }
    // Two services can share a unit (uwsgi, a container): the first in the order restarts it.
    let mut seen = BTreeSet::new();
    owed.into_iter().filter(|(restart, _)| seen.insert(restart.name.clone())).collect()
}

fn plain(tasks: Vec<String>, action: Action) -> Step {
    Step { tasks, action, diff: String::new(), after: None }
}

/// The step of an action, with its diff; notes in `basis` what the file must still be on apply.
fn step(
    tasks: Vec<String>,
    action: Action,
    facts: &Facts,
    basis: &mut BTreeMap<String, Option<String>>,
) -> Result<Step, String> {
    let Some(path) = content::path(&action) else { return Ok(plain(tasks, action)) };
    let before = existing(facts, path)?;
    let bytes = content::after(&action, before.map(|file| file.content.as_bytes()))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("`{path}` is not UTF-8"))?;
    // The diff is drawn between masked texts, so a secret on an untouched context line stays hidden.
    let old = before.map_or_else(String::new, |file| mask(path, &file.content));
    let diff = content::unified(path, &old, &mask(path, &text));
    // Saved facts are masked: their text is not the file's, so the result's hash is not known.
    let after = (!facts.masked || before.is_none()).then(|| content::sha256(text.as_bytes()));
    basis.insert(path.to_owned(), before.map(|file| file.sha256.clone()));
    Ok(Step { tasks, action, diff, after })
}

fn mask(path: &str, text: &str) -> String {
    secret::mask_file(secret::Kind::of(path), text)
}

fn existing<'a>(facts: &'a Facts, path: &str) -> Result<Option<&'a FileFact>, String> {
    match facts.files.get(path) {
        Some(Reading::Known(file)) => Ok(Some(file)),
        Some(Reading::Absent) => Ok(None),
        Some(Reading::Unknown(reason)) => Err(format!("`{path}` could not be read: {reason}")),
        None => Err(format!("`{path}` was not read")),
    }
}
