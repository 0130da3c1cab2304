//! `trueup demo`: a recorded cluster through audit, diff, apply and verify, with the code of the real
//! commands. Only the hosts are not real.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::apply::recorded::Recorded;
use crate::apply::{self, Options, Patience};
use crate::audit::Cluster;
use crate::cli::answers::Answers;
use crate::cli::args::{DemoArgs, Files, InventorySource, Reach, Subject};
use crate::cli::inputs::{self, Inputs};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{run, work};
use crate::error::{Exit, Result};
use crate::facts::{Facts, Question, Reading, saved};
use crate::plan::content;
use crate::plan::rollout::Allow;
use crate::report::{FORMATS, Report, Style, beside};

/// The widest text that is easy to read.
const WIDEST: usize = 100;

/// The recording: `trueup facts --save` on the cluster that `tests/lab` builds, with the settings of the
/// incident. Secrets were masked before they were written.
const RECORDING: &[(&str, &str)] = &[
    ("ctl1.json", include_str!("../../demo/ctl1.json")),
    ("ctl2.json", include_str!("../../demo/ctl2.json")),
    ("ctl3.json", include_str!("../../demo/ctl3.json")),
];

/// Nothing here takes that long.
const LEASE: Duration = Duration::from_mins(5);

/// Runs the whole flow on the recorded cluster.
pub async fn run(args: DemoArgs, output: Output) -> Result<Exit> {
    let answers = Answers::prepare("human", &args.files.reports, &[], output)?;
    let mut recording = Cluster::new();
    for (name, text) in RECORDING {
        let mut facts = saved::from_json(name, text)?;
        // The masked files are the recording's files: there are no others behind them.
        facts.masked = false;
        for reading in facts.files.values_mut() {
            if let Reading::Known(file) = reading {
                file.sha256 = content::sha256(file.content.as_bytes());
            }
        }
        recording.insert(facts.host.clone(), Ok(facts));
    }
    let inputs = recorded_inputs(&recording, &args.strategy, output)?;
    for (host, reached) in &inputs.hosts {
        if let Some(Ok(facts)) = recording.get_mut(host) {
            note_absent(facts, &reached.request.questions);
        }
    }
    // In paragraphs, as wide as the reports.
    output.answer(&beside("", &opening(&recording), 0, output.width().min(WIDEST)));

    let started_at = run::now();
    output.answer("\n$ trueup audit -i inventory\n\n");
    let audits = run::verdicts(&inputs, &recording);
    let report = Report::new("audit", started_at.clone(), Some(inputs.playbook.clone()), audits.clone());
    show(&report, false, output);

    output.answer("\n$ trueup plan -i inventory\n\n");
    let plan = run::plan(&inputs, &audits, &recording, &started_at);
    let mut report = Report::new("plan", started_at.clone(), Some(inputs.playbook.clone()), audits);
    report.add_plan(&plan);
    show(&report, true, output);

    output.answer("\n$ trueup remediate -i inventory --yes      (on a copy in memory)\n\n");
    let progress = Progress::noted(answers.journal());
    let cluster = Arc::new(Mutex::new(recording));
    let sites: BTreeMap<String, Arc<Recorded>> = inputs
        .hosts
        .keys()
        .map(|host| (host.clone(), Arc::new(Recorded::new(Arc::clone(&cluster), host))))
        .collect();
    let patience = Patience { pause: Duration::ZERO, settle: Duration::ZERO, deadline: Duration::ZERO };
    let options = Options { patience, holds: work::holds(&inputs), allow: Allow::default(), resume: false };
    let run = run::identity(LEASE, true);
    let outcomes =
        apply::apply(&plan, &run, sites, &options, &progress.events(), &CancellationToken::new()).await;
    progress.clear();
    let cluster = cluster.lock().expect("no holder of the lock panics").clone();
    let audits = run::verdicts(&inputs, &cluster);
    let mut after = Report::new("remediate", started_at, Some(inputs.playbook.clone()), audits);
    after.add_outcome(&plan, &outcomes);
    after.add_health(&cluster);
    after.add_before(&report);
    let exit = answers.give(after, false);
    output.answer(CLOSING);
    Ok(exit)
}

fn show(report: &Report, diff: bool, output: Output) {
    let width = u16::try_from(output.width()).unwrap_or(100);
    output.answer(&(FORMATS[0].write)(report, Style { colour: output.colour(), width, diff, rows: None }));
}

/// Files that this strategy asks for and the recording did not: they are not there when the recorded listing of
/// their folder has no such name.
fn note_absent(facts: &mut Facts, questions: &[Question]) {
    for question in questions {
        let Question::File(path) = question else { continue };
        let Some((folder, name)) = path.rsplit_once('/') else { continue };
        let listed = facts.folders.get(folder).and_then(Reading::known);
        if listed.is_some_and(|names| names.iter().all(|known| known != name)) {
            facts.files.entry(path.clone()).or_insert(Reading::Absent);
        }
    }
}

/// The built-in playbook on the recorded hosts, as if an inventory had named them.
fn recorded_inputs(recording: &Cluster, strategy: &str, output: Output) -> Result<Inputs> {
    let names: Vec<&str> = recording.keys().map(String::as_str).collect();
    let subject = Subject {
        playbook: None,
        tags: Vec::new(),
        skip_tags: Vec::new(),
        format: "human".to_owned(),
        files: Files::default(),
    };
    let source = InventorySource { inventory: vec![names.join(",") + ","], ..InventorySource::default() };
    let reach = Reach { source, extra_vars: vec![format!("strategy={strategy}")], ..Reach::default() };
    inputs::read(&subject, &reach, output)
}

fn opening(recording: &Cluster) -> String {
    let first = recording.values().flatten().next();
    let day = first
        .and_then(|facts| jiff::Timestamp::from_second(facts.read_at).ok())
        .map_or_else(String::new, |time| format!(" on {}", time.strftime("%Y-%m-%d")));
    format!(
        "THIS IS A RECORDING of three controllers ({}), made{day} on a real cluster of RabbitMQ and Cinder with the \
         settings of the incident: no heartbeats, keepalive 60 + 2 * 5 s, rpc_response_timeout 60 s. Nothing here \
         touches a network or a host; everything else is the code of the real commands.",
        recording.keys().cloned().collect::<Vec<_>>().join(", ")
    )
}

const CLOSING: &str = "\nThat was a recording, changed in memory. With your own controllers:\n\n    \
    trueup audit -i INVENTORY\n";
