//! `tests/rules/<task-id>.yml`: what is on a host, and what the shipped task of that name finds there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_yaml::Value;
use trueup::audit::{self, Cluster, Finding, HostAudit, Level, Remedy, Standing, Status, Tasks};
use trueup::plan::{Action, simulate};
use trueup::playbook::{self, HostVars, Vars};

use crate::support::described::{self, Described};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows.
    #[serde(rename = "case")]
    shows: String,
    /// A cluster of `_clusters.yml` that it starts from.
    like: String,
    /// What differs from it, merged into it host by host; null takes away.
    #[serde(default)]
    hosts: Value,
    /// Variables, as `-e` gives them.
    #[serde(default)]
    vars: Value,
    /// The host whose findings are meant; the first without.
    #[serde(default)]
    on: Option<String>,
    /// Every finding of the task on that host, in order; none: it holds.
    #[serde(default)]
    finds: Vec<Expected>,
    /// It has no subject there, and this is missing.
    #[serde(default)]
    not_applicable: Option<String>,
    /// Every change it wants there, each as `path: what` or a command, in order.
    #[serde(default)]
    changes: Option<Vec<String>>,
    /// Services whose restart is owed, each once.
    #[serde(default)]
    restarts: Option<Vec<String>>,
}

/// A finding; what is given must be equal, or for texts be contained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    level: Level,
    #[serde(default)]
    status: Option<Status>,
    subject: String,
    #[serde(default)]
    actual: Option<String>,
    /// Source of a piece of evidence, in full.
    #[serde(default)]
    at: Option<String>,
    remedy: Remedy,
    #[serde(default)]
    mend: Option<String>,
}

impl Expected {
    fn fits(&self, finding: &Finding) -> bool {
        let has =
            |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| text.contains(wanted));
        finding.level == self.level
            && finding.status == self.status.unwrap_or(Status::Fail)
            && finding.remedy == self.remedy
            && finding.subject.contains(&self.subject)
            && has(&self.actual, &finding.actual)
            && has(&self.mend, &finding.mend)
            && self
                .at
                .as_ref()
                .is_none_or(|at| finding.evidence.iter().any(|evidence| evidence.source == *at))
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rules"))
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `over` laid over `base`: mappings merge, anything else replaces, null takes away.
fn merge(base: &mut Value, over: &Value) {
    let (Value::Mapping(base), Value::Mapping(over)) = (&mut *base, over) else {
        *base = over.clone();
        return;
    };
    for (key, value) in over {
        match base.get_mut(key) {
            Some(below) if value.is_mapping() && below.is_mapping() => merge(below, value),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The shipped tasks of every host, with variables as `-e` gives them.
pub fn bound(cluster: &Cluster, vars: &Value) -> Tasks {
    let loaded = playbook::load(None, &[], &|_| panic!("nothing is encrypted")).unwrap();
    let extra: Vars =
        if vars.is_null() { Vars::new() } else { serde_yaml::from_value(vars.clone()).unwrap() };
    let inventory = Vars::new();
    let play = &loaded.playbook.plays[0];
    let bind = |name: &String| {
        let host = HostVars { name, inventory: &inventory, extra: &extra };
        let bound = loaded.playbook.bind(play, &host, &loaded.templates).unwrap_or_else(|error| {
            panic!("{}", error.render(false));
        });
        (name.clone(), bound.tasks)
    };
    cluster.keys().map(bind).collect()
}

fn audited(cluster: &Cluster, vars: &Value, host: &str) -> HostAudit {
    audit::audit(&bound(cluster, vars), cluster).remove(host).unwrap().unwrap()
}

/// The hosts of `_clusters.yml`, by the cluster's name.
pub fn clusters() -> BTreeMap<String, Value> {
    let mut clusters: Value = read("_clusters.yml");
    clusters.apply_merge().unwrap();
    serde_yaml::from_value(clusters).unwrap()
}

/// The facts of one of these clusters.
pub fn cluster(name: &str) -> Cluster {
    let hosts: BTreeMap<String, Described> = serde_yaml::from_value(clusters()[name].clone()).unwrap();
    described::cluster(&hosts)
}

/// The built-in playbook's tasks for every host.
pub fn built_in(cluster: &Cluster) -> Tasks {
    bound(cluster, &Value::Null)
}

/// The cluster after every change and every owed restart.
fn carried_out(cluster: &Cluster, tasks: &Tasks) -> Cluster {
    let mut then = cluster.clone();
    for (host, verdict) in audit::audit(tasks, cluster) {
        let changes = verdict.unwrap().changes;
        let (restarts, edits): (Vec<_>, Vec<_>) = changes
            .iter()
            .map(|change| &change.action)
            .partition(|action| matches!(action, Action::Restart(_)));
        simulate::after(&mut then, &host, edits).unwrap();
        let owed = changes.iter().flat_map(|change| &change.owes).cloned();
        let overdue = restarts.into_iter().filter_map(|action| match action {
            Action::Restart(restart) => Some(restart.clone()),
            _ => None,
        });
        for restart in owed.chain(overdue).collect::<BTreeSet<_>>() {
            simulate::act(&mut then, &host, &Action::Restart(restart));
        }
    }
    then
}

/// The cluster that a case describes.
fn described(name: &str, case: &Case, clusters: &BTreeMap<String, Value>) -> Cluster {
    let mut hosts =
        clusters.get(&case.like).unwrap_or_else(|| panic!("{name}: no cluster {}", case.like)).clone();
    if !case.hosts.is_null() {
        merge(&mut hosts, &case.hosts);
    }
    let hosts: BTreeMap<String, Described> =
        serde_yaml::from_value(hosts).unwrap_or_else(|error| panic!("{name}: {error}"));
    described::cluster(&hosts)
}

/// Every cluster that is described here, each with what it shows and the case's own variables.
pub fn described_clusters() -> Vec<(String, Cluster, Value)> {
    let bases = clusters();
    let cases = cases();
    let each = cases.iter().flat_map(|(task, cases)| cases.iter().map(move |case| (task, case)));
    let each = each.map(|(task, case)| {
        let name = format!("{task}: {}", case.shows);
        let cluster = described(&name, case, &bases);
        (name, cluster, case.vars.clone())
    });
    each.collect()
}

fn check(task: &str, case: &Case, clusters: &BTreeMap<String, Value>) -> Result<(), String> {
    let name = format!("{task}: {}", case.shows);
    let cluster = described(&name, case, clusters);
    let on = case.on.clone().unwrap_or_else(|| cluster.keys().next().unwrap().clone());
    let audit = audited(&cluster, &case.vars, &on);
    let standing = audit.tasks.iter().find(|(id, _)| id == task);
    let standing = &standing.unwrap_or_else(|| panic!("{name}: the task is not selected")).1;
    let missing = match standing {
        Standing::NotApplicable(subject) => Some(subject),
        Standing::Holds | Standing::Fails => None,
    };
    if case.not_applicable.as_ref() != missing {
        return Err(format!("{name}\nit is {standing:?}"));
    }
    let findings: Vec<&Finding> = audit.findings.iter().filter(|finding| finding.task == task).collect();
    let fits = findings.len() == case.finds.len()
        && case.finds.iter().zip(&findings).all(|(expected, finding)| expected.fits(finding));
    if !fits {
        return Err(format!("{name}\nexpected {:?}\nfound {findings:#?}", case.finds));
    }
    let changes: Vec<_> = audit.changes.iter().filter(|change| change.task == task).collect();
    let actions: Vec<String> = changes.iter().map(|change| words(&change.action)).collect();
    if case.changes.as_ref().is_some_and(|wanted| *wanted != actions) {
        return Err(format!("{name}\nit wants {actions:#?}"));
    }
    let owed: BTreeSet<&String> =
        changes.iter().flat_map(|change| &change.owes).map(|owed| &owed.service).collect();
    if case.restarts.as_ref().is_some_and(|wanted| !wanted.iter().eq(owed.iter().copied())) {
        return Err(format!("{name}\nit owes {owed:?}"));
    }
    // What is called automatic is gone once the changes are made.
    let tasks = bound(&cluster, &case.vars);
    let then = carried_out(&cluster, &tasks);
    let left = audit::audit(&tasks, &then).remove(&on).unwrap().unwrap().findings;
    let left: Vec<_> = left.iter().filter(|finding| finding.remedy == Remedy::Automatic).collect();
    if !left.is_empty() {
        return Err(format!("{name}\nafter the changes it still finds {left:#?}"));
    }
    Ok(())
}

fn words(action: &Action) -> String {
    match action {
        Action::SetOptions { path, options } => {
            let options = options.iter().map(|it| format!("[{}] {} = {}", it.group, it.key, it.value));
            format!("{path}: {}", options.collect::<Vec<_>>().join(", "))
        }
        Action::WriteFile { path, .. } => format!("write {path}"),
        Action::SetSysctl { key, value, .. } => format!("sysctl -w {key}={value}"),
        Action::SetUnit { unit, .. } => format!("set {unit}"),
        Action::Run { argv } => argv.join(" "),
        Action::Restart(restart) => format!("restart {}", restart.service),
    }
}

fn cases() -> BTreeMap<String, Vec<Case>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(task) = name.strip_suffix(".yml").filter(|task| !task.starts_with('_')) {
            all.insert(task.to_owned(), read(&name));
        }
    }
    all
}

#[test]
fn every_case_finds_what_it_says() {
    let clusters = clusters();
    let mut wrong = Vec::new();
    for (task, cases) in cases() {
        let each = cases.iter().filter_map(|case| check(&task, case, &clusters).err());
        wrong.extend(each);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_shipped_task_has_a_case_that_fires_and_one_that_does_not() {
    let loaded = playbook::load(None, &[], &|_| panic!("nothing is encrypted")).unwrap();
    let cases = cases();
    for task in loaded.playbook.plays.iter().flat_map(|play| &play.tasks) {
        let own = cases.get(&task.id).unwrap_or_else(|| panic!("tests/rules/{}.yml is missing", task.id));
        assert!(own.iter().any(|case| !case.finds.is_empty()), "{} has no case that fires", task.id);
        let holds = |case: &Case| case.finds.is_empty() && case.not_applicable.is_none();
        assert!(own.iter().any(holds), "{} has no case in which it holds", task.id);
    }
    for task in cases.keys() {
        let shipped =
            loaded.playbook.plays.iter().flat_map(|play| &play.tasks).any(|known| known.id == *task);
        assert!(shipped, "tests/rules/{task}.yml is of no shipped task");
    }
}
