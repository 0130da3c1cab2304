//! The record of runs, beside the inventory: what was planned, how it went on each host, what was reported.
//!
//! One folder a run, `.trueup/runs/RUN/`, for its owner alone (mode 0700, files 0600), with no secret in it:
//! a plan that holds one is not written, and such a run can be rolled back but not resumed. Every file is
//! written beside its place and renamed, so that a reader never sees half of one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cli::args::Reach;
use crate::cli::{inputs, policy, private};
use crate::error::{Diagnostic, Result};
use crate::inventory::Vars;
use crate::plan::Plan;
use crate::plan::outcome::HostOutcome;

/// The version of the files.
const FORMAT_VERSION: &str = "1.0";

/// What a run is: `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of these files.
    pub format_version: String,
    /// Its id.
    pub run: String,
    /// The command that began it: `remediate` or `apply`.
    pub command: String,
    /// When, RFC 3339.
    pub started_at: String,
    /// `user@machine` of the operator.
    pub who: String,
    /// The inventories it was given.
    pub inventory: Vec<String>,
    /// Its playbook.
    pub playbook: String,
    /// Its -e variables.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    pub extra_vars: Vars,
    /// Were there -e variables that are not written down, because one of them holds a secret?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extra_vars_withheld: bool,
    /// The hosts it changes, in the order of the plan.
    pub hosts: Vec<String>,
    /// Can it be resumed? Not when its plan held a secret, which is not written down.
    pub resumable: bool,
    /// Version of the tool.
    pub trueup: String,
}

impl About {
    /// What is known when a run begins.
    pub fn new(
        run: String,
        command: &str,
        started_at: String,
        who: String,
        inventory: Vec<String>,
        plan: &Plan,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION.to_owned(),
            run,
            command: command.to_owned(),
            started_at,
            who,
            inventory,
            playbook: plan.playbook.clone(),
            extra_vars: Vars::new(),
            extra_vars_withheld: false,
            hosts: plan.host_names(),
            resumable: true,
            trueup: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The variables of the run, where the command line gives none.
    pub fn give_vars(&self, reach: &mut Reach) {
        if reach.extra_vars.is_empty() && !self.extra_vars.is_empty() {
            reach.extra_vars.push(serde_json::json!(self.extra_vars).to_string());
        }
    }
}

/// Where runs are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    folder: PathBuf,
}

impl Records {
    /// `folder` where one was given, else `.trueup/runs` beside the first inventory that is a file or folder,
    /// else in the current folder.
    pub fn of(folder: Option<&Path>, inventories: &[String]) -> Self {
        let folder = folder.map_or_else(|| inputs::home(inventories).join("runs"), Path::to_path_buf);
        Self { folder }
    }

    /// Begins the record of a run. Without one there is no way back later, so an error here ends the run
    /// before any host is touched.
    pub fn begin(&self, about: About, plan: &Plan, secrets: &[String]) -> Result<Record> {
        let record = Record { folder: self.folder.join(&about.run) };
        let resumable = plan.secret(secrets).is_none();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&record.folder).map_err(|error| {
            Diagnostic::new(format!("the run cannot be recorded in `{}`: {error}", record.folder.display()))
                .hint("--runs DIR records it elsewhere")
        })?;
        if resumable {
            record.write("plan.json", plan)?;
        }
        let withheld = !policy::may_be_recorded(&about.extra_vars, secrets);
        let extra_vars = if withheld { Vars::new() } else { about.extra_vars.clone() };
        record.write("run.json", &About { resumable, extra_vars, extra_vars_withheld: withheld, ..about })?;
        Ok(record)
    }

    /// Every run that is recorded here, oldest first; a folder that is none is left out.
    pub fn list(&self) -> Vec<(About, Record)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut found: Vec<(About, Record)> = entries
            .filter_map(|entry| {
                let record = Record { folder: entry.path() };
                Some((record.about().ok()?, record))
            })
            .collect();
        found.sort_by(|(one, _), (other, _)| one.run.cmp(&other.run));
        found
    }

    /// The run of this name, or the newest one for `last`.
    pub fn find(&self, name: &str) -> Result<(About, Record)> {
        let mut all = self.list();
        let known: Vec<String> = all.iter().map(|(about, _)| about.run.clone()).collect();
        let at = match name {
            "last" => known.len().checked_sub(1),
            name => known.iter().position(|run| run == name),
        };
        at.map(|at| all.swap_remove(at)).ok_or_else(|| {
            let folder = self.folder.display();
            match known.last() {
                None => Diagnostic::new(format!("no run is recorded in `{folder}`"))
                    .hint("give the inventory (-i) that the run was given, or --runs DIR"),
                Some(newest) => Diagnostic::new(format!("no run `{name}` is recorded in `{folder}`"))
                    .hint(format!("`trueup runs` lists them; the newest is {newest}")),
            }
        })
    }
}

/// The record of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    folder: PathBuf,
}

impl Record {
    /// What the run is.
    pub fn about(&self) -> Result<About> {
        self.read("run.json")
    }

    /// What it was to do.
    pub fn plan(&self) -> Result<Plan> {
        self.read("plan.json")
    }

    /// How it went on the hosts that are known so far; none before the first one ended.
    pub fn outcomes(&self) -> BTreeMap<String, HostOutcome> {
        self.read("outcome.json").unwrap_or_default()
    }

    /// Writes how it went so far.
    pub fn write_outcomes(&self, outcomes: &BTreeMap<String, HostOutcome>) -> Result<()> {
        self.write("outcome.json", outcomes)
    }

    /// Writes what was reported; `text` is its JSON form.
    pub fn write_report(&self, text: &str) -> Result<()> {
        private::write(&self.folder.join("report.json"), text)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.folder.join(name);
        let text = fs::read_to_string(&path)
            .map_err(|error| Diagnostic::new(format!("`{}` cannot be read: {error}", path.display())))?;
        serde_json::from_str(&text).map_err(|error| {
            Diagnostic::new(format!("`{}` is not what a run wrote: {error}", path.display()))
        })
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value).expect("records hold only what JSON can say");
        text.push('\n');
        private::write(&self.folder.join(name), &text)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::plan::{Action, Batch, HostPlan, OptionValue, Step};

    fn plan(value: &str) -> Plan {
        let options = vec![OptionValue {
            group: "DEFAULT".to_owned(),
            key: "transport_url".to_owned(),
            value: value.to_owned(),
            deprecated: Vec::new(),
        }];
        let action = Action::SetOptions { path: "/etc/cinder/cinder.conf".to_owned(), options };
        let step = Step { tasks: Vec::new(), action, diff: String::new(), after: None };
        let host = HostPlan {
            host: "ctl1".to_owned(),
            basis: BTreeMap::new(),
            steps: vec![step],
            blocked: Vec::new(),
        };
        Plan {
            format_version: crate::plan::FORMAT_VERSION.to_owned(),
            trueup: "0".to_owned(),
            made_at: "2026-01-01T00:00:00Z".to_owned(),
            playbook: "built-in".to_owned(),
            instances: BTreeMap::new(),
            wanted: BTreeMap::new(),
            batches: vec![Batch { max_fail_percentage: 0.0, hosts: vec![host] }],
        }
    }

    fn begin(records: &Records, run: &str, plan: &Plan) -> Record {
        let started = "2026-01-01T00:00:00Z".to_owned();
        let about = About::new(run.to_owned(), "apply", started, "ops@desk".to_owned(), Vec::new(), plan);
        let Action::SetOptions { options, .. } = &plan.batches[0].hosts[0].steps[0].action else { panic!() };
        let extra_vars = Vars::from([("banner".to_owned(), options[0].value.clone().into())]);
        let about = About { extra_vars, ..about };
        records.begin(about, plan, &["vaulted".to_owned()]).unwrap()
    }

    #[test]
    fn a_run_is_found_again_without_its_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::of(Some(&folder.path().join("runs")), &[]);
        begin(&records, "20260101T000000Z-0001", &plan("15"));
        begin(&records, "20260102T000000Z-0001", &plan("a vaulted word"));
        let recorded = records.find("last").unwrap().0;
        assert!(recorded.extra_vars.is_empty() && recorded.extra_vars_withheld);
        let recorded = records.find("20260101T000000Z-0001").unwrap().0;
        assert_eq!(
            (recorded.extra_vars["banner"].as_str(), recorded.extra_vars_withheld),
            (Some("15"), false)
        );
        let check = |name: &str, run: &str, resumable: bool| {
            let (about, record) = records.find(name).unwrap();
            assert_eq!((about.run.as_str(), about.resumable), (run, resumable), "{name}");
            assert_eq!(record.plan().is_ok(), resumable, "{name}");
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&record.folder), 0o700, "{name}");
            for file in fs::read_dir(&record.folder).unwrap().flatten() {
                assert_eq!(mode(&file.path()), 0o600, "{file:?}");
                assert!(!fs::read_to_string(file.path()).unwrap().contains("vaulted"), "{file:?}");
            }
        };
        check("last", "20260102T000000Z-0001", false);
        check("20260101T000000Z-0001", "20260101T000000Z-0001", true);
        let error = records.find("20260103T000000Z-0001").unwrap_err();
        assert!(error.hints()[0].contains("the newest is 20260102T000000Z-0001"), "{error:?}");
    }

    #[test]
    fn runs_are_recorded_beside_the_inventory() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hosts"), "").unwrap();
        let file = folder.path().join("hosts").display().to_string();
        let whole = folder.path().display().to_string();
        let check = |inventories: &[&str], expected: &Path| {
            let inventories: Vec<String> = inventories.iter().map(|&one| one.to_owned()).collect();
            assert_eq!(Records::of(None, &inventories).folder, expected, "{inventories:?}");
        };
        let beside = folder.path().join(".trueup/runs");
        check(&[&file], &beside);
        check(&[&whole], &beside);
        check(&["ctl1,ctl2,", &file], &beside);
        check(&["ctl1,"], Path::new(".trueup/runs"));
        check(&[], Path::new(".trueup/runs"));
    }
}
