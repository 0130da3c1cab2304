//! Baselines on disk: `.trueup/baseline/`, one file a host, for their owner alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::audit::Cluster;
use crate::cli::inputs::Inputs;
use crate::cli::private;
use crate::cli::run::{Audits, now};
use crate::drift::{self, Baseline, Fault, fingerprint};
use crate::error::{Diagnostic, Result};
use crate::event::{Event, Events};
use crate::facts::saved::file_name;
use crate::report::{HostStatus, Report};

/// Where baselines are, unless somebody says otherwise.
pub fn folder(inputs: &Inputs) -> PathBuf {
    inputs.home.join("baseline")
}

/// Every baseline in `folder`, by inventory name; none where the folder is not there.
pub fn load(folder: &Path) -> Result<BTreeMap<String, Baseline>> {
    let (found, faults) = legible(folder)?;
    faults.into_iter().next().map_or(Ok(found), Err)
}

/// The same for one who replaces them: those that can be read, and what is wrong with the others.
pub fn legible(folder: &Path) -> Result<(BTreeMap<String, Baseline>, Vec<Diagnostic>)> {
    let cannot = |what: &Path, error: std::io::Error| {
        Diagnostic::new(format!("the baseline `{}` cannot be read: {error}", what.display()))
    };
    let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((found, faults)),
        entries => entries.map_err(|error| cannot(folder, error))?,
    };
    for entry in entries {
        let path = entry.map_err(|error| cannot(folder, error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| cannot(&path, error))?;
        match drift::from_json(&path.display().to_string(), &text) {
            Ok(baseline) => drop(found.insert(baseline.facts.host.clone(), baseline)),
            Err(fault) => faults.push(fault),
        }
    }
    Ok((found, faults))
}

/// Saves what was read from each of these hosts.
pub fn save(folder: &Path, command: &str, inputs: &Inputs, cluster: &Cluster, audits: &Audits) -> Result<()> {
    let saved_at = now();
    for (host, verdict) in audits {
        let (Ok(verdict), Some(Ok(facts))) = (verdict, cluster.get(host)) else { continue };
        let tasks = inputs.tasks.get(host).into_iter().flatten();
        let baseline = Baseline {
            format_version: drift::FORMAT_VERSION.to_owned(),
            trueup: env!("CARGO_PKG_VERSION").to_owned(),
            saved_at: saved_at.clone(),
            command: command.to_owned(),
            playbook: inputs.playbook.clone(),
            tasks: tasks.map(|task| (task.id.clone(), fingerprint(task))).collect(),
            findings: verdict.findings.iter().map(Fault::of).collect(),
            facts: facts.clone(),
        };
        private::write(&folder.join(file_name(host)), &drift::to_json(&baseline))?;
    }
    Ok(())
}

/// Keeps what a verified run left, where all went well. That it cannot be kept is worth a word and does not undo
/// the run.
pub fn keep(report: &Report, inputs: &Inputs, cluster: &Cluster, audits: &Audits, events: &Events) {
    let well = |status| matches!(status, HostStatus::Compliant | HostStatus::Findings);
    if !report.hosts.values().all(|host| well(host.status)) {
        return;
    }
    if let Err(error) = save(&folder(inputs), &report.command, inputs, cluster, audits) {
        let text = format!("no baseline for `trueup drift`: {error}");
        events(Event::Note { host: None, text });
    }
}

/// Forgets hosts that the inventory no longer has.
pub fn forget(folder: &Path, baselines: &BTreeMap<String, Baseline>, inputs: &Inputs) -> Result<Vec<String>> {
    let gone: Vec<String> =
        baselines.keys().filter(|host| !inputs.inventory.contains(*host)).cloned().collect();
    for host in &gone {
        let path = folder.join(file_name(host));
        fs::remove_file(&path)
            .map_err(|error| Diagnostic::new(format!("`{}` cannot be removed: {error}", path.display())))?;
    }
    Ok(gone)
}
