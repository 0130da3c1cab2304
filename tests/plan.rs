//! What holds of every plan, on the recorded cluster and on every cluster that `tests/rules` describes,
//! with each strategy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use similar::{ChangeTag, TextDiff};
use tokio_util::sync::CancellationToken;
use trueup::apply::checkpoint::{self, RunId};
use trueup::apply::recorded::Recorded;
use trueup::apply::{self, Options, Patience};
use trueup::audit::{self, Cluster, Finding, HostAudit, Remedy, Tasks};
use trueup::facts::{Reading, saved};
use trueup::plan::build::{Rollout, build};
use trueup::plan::rollout::{Allow, Serial};
use trueup::plan::{Action, OptionValue, Plan, Role, content, simulate};

use crate::rules;

const STRATEGIES: [&str; 4] = ["heartbeat", "keepalive", "retries2", "rpc_timeout"];

/// The recording of the demo. Its files are as they were masked: there are no others behind them.
fn recorded() -> Cluster {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/demo"));
    let hosts = ["ctl1", "ctl2", "ctl3"].map(|host| {
        let name = format!("{host}.json");
        let text = std::fs::read_to_string(folder.join(&name)).unwrap();
        let mut facts = saved::from_json(&name, &text).unwrap();
        facts.masked = false;
        for reading in facts.files.values_mut() {
            if let Reading::Known(file) = reading {
                file.sha256 = content::sha256(file.content.as_bytes());
            }
        }
        (facts.host.clone(), Ok(facts))
    });
    hosts.into()
}

/// One cluster and one strategy, with its verdicts and the plan for one host at a time.
struct Run {
    name: String,
    cluster: Cluster,
    tasks: Tasks,
    audits: BTreeMap<String, HostAudit>,
    plan: Plan,
}

/// Every cluster with every strategy; the recording comes first.
static RUNS: LazyLock<Vec<Run>> = LazyLock::new(|| {
    let recorded = ("the recording".to_owned(), recorded(), serde_yaml::Value::Null);
    let clusters: Vec<_> = [recorded].into_iter().chain(rules::described_clusters()).collect();
    let with = |strategy: &str, (name, cluster, vars): &(String, Cluster, serde_yaml::Value)| {
        let mut vars = vars.as_mapping().cloned().unwrap_or_default();
        vars.insert("strategy".into(), strategy.into());
        let tasks = rules::bound(cluster, &vars.into());
        let name = format!("{name}, strategy {strategy}");
        let audits = audits(&tasks, cluster);
        let plan = plan(&tasks, &audits, cluster, ONE);
        Run { name, cluster: cluster.clone(), tasks, audits, plan }
    };
    clusters.iter().flat_map(|case| STRATEGIES.iter().map(move |strategy| with(strategy, case))).collect()
});

const ONE: &[Serial] = &[Serial::Count(1)];

fn audits(tasks: &Tasks, cluster: &Cluster) -> BTreeMap<String, HostAudit> {
    let verdicts = audit::audit(tasks, cluster);
    verdicts.into_iter().filter_map(|(host, verdict)| Some((host, verdict.ok()?))).collect()
}

fn plan(tasks: &Tasks, audits: &BTreeMap<String, HostAudit>, cluster: &Cluster, serial: &[Serial]) -> Plan {
    let hosts = tasks.keys().cloned().collect();
    let mut rollout = Rollout { hosts, serial: serial.to_vec(), ..Rollout::default() };
    for (host, tasks) in tasks {
        rollout.add(host, tasks.iter().map(|task| task.id.clone()), Vec::new(), Vec::new());
    }
    build("rpc-survives.yml", "2026-01-01T00:00:00Z", &[rollout], audits, cluster)
}

impl Run {
    /// The cluster once the plan has been carried out.
    fn after(&self) -> Cluster {
        let mut cluster = self.cluster.clone();
        for host in self.plan.batches.iter().flat_map(|batch| &batch.hosts) {
            let actions = host.steps.iter().map(|step| &step.action);
            simulate::after(&mut cluster, &host.host, actions)
                .unwrap_or_else(|reason| panic!("{}: {reason}", self.name));
        }
        cluster
    }

    /// Nothing that could be mended is left, what is left says why, and there is nothing more to plan.
    fn wrong_after(&self, cluster: &Cluster) -> Vec<String> {
        let hosts = self.plan.batches.iter().flat_map(|batch| &batch.hosts);
        let blocked: BTreeSet<(&str, &str)> = hosts
            .flat_map(|host| host.blocked.iter().map(|it| (host.host.as_str(), it.task.as_str())))
            .collect();
        let mut wrong = Vec::new();
        let audits = audits(&self.tasks, cluster);
        for (host, audit) in &audits {
            let excused = |finding: &Finding| blocked.contains(&(host.as_str(), finding.task.as_str()));
            for finding in &audit.findings {
                if finding.remedy == Remedy::Automatic && !excused(finding) {
                    wrong.push(format!("{host}: still to be mended: {finding:#?}"));
                }
                if finding.mend.is_empty() {
                    wrong.push(format!("{host}: says not what would mend it: {finding:#?}"));
                }
            }
        }
        let again = plan(&self.tasks, &audits, cluster, ONE);
        if !again.is_empty() {
            wrong.push(format!("there is more to plan: {:#?}", actions(&again)));
        }
        wrong.into_iter().map(|what| format!("{}: {what}", self.name)).collect()
    }
}

fn actions(plan: &Plan) -> Vec<&Action> {
    let hosts = plan.batches.iter().flat_map(|batch| &batch.hosts);
    hosts.flat_map(|host| &host.steps).map(|step| &step.action).collect()
}

#[test]
fn applying_a_plan_leaves_nothing_that_could_be_mended() {
    let mut wrong = Vec::new();
    let mut changed = 0;
    for run in RUNS.iter() {
        changed += usize::from(!run.plan.is_empty());
        wrong.extend(run.wrong_after(&run.after()));
    }
    assert!(changed > 50, "only {changed} plans do anything");
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n\n"));
}

fn a_run() -> checkpoint::Run {
    checkpoint::Run {
        id: RunId::parse("20261122T131502Z-3f2a").unwrap(),
        session: "1".to_owned(),
        who: "ops@laptop".to_owned(),
        pid: 1,
        lease: Duration::from_mins(5),
        failsafe: true,
    }
}

#[test]
fn applying_to_the_recording_as_apply_does_leaves_nothing_either() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for run in RUNS.iter().take(STRATEGIES.len()) {
        let cluster = Arc::new(Mutex::new(run.cluster.clone()));
        let site = |host: &String| {
            let recorded = Recorded::new(Arc::clone(&cluster), host);
            (host.clone(), Arc::new(recorded))
        };
        let sites: BTreeMap<String, Arc<Recorded>> = run.cluster.keys().map(site).collect();
        let patience = Patience { pause: Duration::ZERO, settle: Duration::ZERO, deadline: Duration::ZERO };
        let options =
            Options { patience, holds: Arc::new(|_, _| Vec::new()), allow: Allow::default(), resume: false };
        let (events, cancel) = (trueup::event::silent(), CancellationToken::new());
        let outcomes = runtime.block_on(apply::apply(&run.plan, &a_run(), sites, &options, &events, &cancel));
        let planned: BTreeSet<String> = run.plan.host_names().into_iter().collect();
        assert!(planned.iter().all(|host| outcomes.contains_key(host)), "{}: {outcomes:#?}", run.name);
        let applied = cluster.lock().unwrap().clone();
        let wrong = run.wrong_after(&applied);
        assert!(wrong.is_empty(), "{}\n{outcomes:#?}", wrong.join("\n\n"));
    }
}

#[test]
fn planning_twice_gives_the_same_bytes() {
    let bytes = |plan: &Plan| serde_json::to_string(plan).unwrap();
    for run in RUNS.iter() {
        let again = plan(&run.tasks, &audits(&run.tasks, &run.cluster), &run.cluster, ONE);
        assert_eq!(bytes(&again), bytes(&run.plan), "{}", run.name);
    }
}

#[test]
fn no_batch_restarts_two_brokers() {
    let serials: [&[Serial]; 5] = [
        &[Serial::Count(1)],
        &[Serial::Count(2)],
        &[Serial::Count(3)],
        &[Serial::Percent(100)],
        &[Serial::Count(1), Serial::Percent(100)],
    ];
    let is_broker = |action: &Action| matches!(action, Action::Restart(it) if it.role == Role::Broker);
    let mut restarts = 0;
    for run in RUNS.iter() {
        let mut of_serials = BTreeSet::new();
        for serial in serials {
            let plan = plan(&run.tasks, &run.audits, &run.cluster, serial);
            let mut hosts = BTreeSet::new();
            for batch in &plan.batches {
                let brokers: Vec<&String> = batch
                    .hosts
                    .iter()
                    .filter(|host| host.steps.iter().any(|step| is_broker(&step.action)))
                    .map(|host| &host.host)
                    .collect();
                assert!(brokers.len() <= 1, "{}, serial {serial:?}: {brokers:?} together", run.name);
                restarts += brokers.len();
                for host in &batch.hosts {
                    assert!(hosts.insert(host.host.clone()), "{}: {} is planned twice", run.name, host.host);
                }
            }
            of_serials.insert(hosts);
        }
        assert_eq!(of_serials.len(), 1, "{}: the serial decides which hosts change", run.name);
    }
    assert!(restarts >= 50, "only {restarts} restarts of brokers are planned");
}

/// The lines of `after` that `before` has not, and those of `before` that `after` has not.
fn changed(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let diff = TextDiff::from_lines(before, after);
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => added.push(change.value().to_owned()),
            ChangeTag::Delete => removed.push(change.value().to_owned()),
            ChangeTag::Equal => {}
        }
    }
    (added, removed)
}

#[test]
fn an_edit_changes_only_its_lines() {
    let mut edits = 0;
    for run in RUNS.iter() {
        for host in run.plan.batches.iter().flat_map(|batch| &batch.hosts) {
            let facts = run.cluster[&host.host].as_ref().unwrap();
            for step in &host.steps {
                let Action::SetOptions { path, options } = &step.action else { continue };
                let before = &facts.files[path].known().unwrap().content;
                let after = content::after(&step.action, Some(before.as_bytes())).unwrap();
                let after = String::from_utf8(after).unwrap();
                assert_eq!(step.after.as_deref(), Some(content::sha256(after.as_bytes()).as_str()));
                let (added, removed) = changed(before, &after);
                let sets = |line: &str, option: &OptionValue| {
                    let name = line.split(['=', ':']).next().unwrap_or_default().trim();
                    name == option.key || option.deprecated.iter().any(|(_, key)| key == name)
                };
                let header =
                    |line: &str| options.iter().any(|option| line.trim() == format!("[{}]", option.group));
                for line in &removed {
                    // A last line without an end gets one when another follows it.
                    let ended = added.iter().any(|added| added.strip_suffix('\n') == Some(line.as_str()));
                    let ours = options.iter().any(|option| sets(line, option));
                    assert!(ours || ended, "{}: {path}: took away {line:?}", run.name);
                }
                for line in &added {
                    let ended = before.ends_with(line.trim_end_matches('\n'));
                    let ours = options.iter().any(|option| sets(line, option));
                    let blank = line.trim().is_empty();
                    assert!(ours || header(line) || blank || ended, "{}: {path}: added {line:?}", run.name);
                }
                edits += 1;
            }
        }
    }
    assert!(edits > 50, "only {edits} edits are planned");
}
