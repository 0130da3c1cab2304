//! What the files give, and the edits that mend it.

use std::collections::BTreeMap;

use super::{Wanted, same};
use crate::audit::effective::{self, Effective, Origin, Settings};
use crate::audit::{Finding, Level, Severity};
use crate::conf::fragment::{self, Ambiguity};
use crate::conf::oslo::{Source, group_name};
use crate::deployment::Persist;
use crate::modules::{Context, restart};
use crate::plan::{Action, Change, OptionValue};
use crate::service::{ConfigFile, Running};

/// What one option is for several services that read it from the same place.
struct Wrong<'a> {
    wanted: &'a Wanted,
    services: Vec<&'a Running>,
    actual: String,
    evidence: Option<(String, String)>,
    mend: Mend,
    /// Older names that the installed release still reads, as (group, key).
    deprecated: Vec<(String, String)>,
}

/// What would mend it.
#[derive(Clone, PartialEq, Eq)]
enum Mend {
    /// Set it in this file of the host; the warning says what would undo that.
    Set { path: String, warning: Option<String> },
    /// A person.
    Hand(String),
    /// It is not known what is wrong.
    Unknown(String),
}

/// Findings and edits for every option that is not what it should be.
pub fn check(
    context: &Context<'_>,
    wanted: &[Wanted],
    services: &[Settings<'_>],
) -> (Vec<Finding>, Vec<Change>) {
    let mut wrong: Vec<Wrong<'_>> = Vec::new();
    for wanted in wanted {
        for settings in services {
            let Some(found) = judge(context, wanted, settings) else { continue };
            let alike = wrong.iter_mut().find(|known| {
                std::ptr::eq(known.wanted, wanted)
                    && known.actual == found.actual
                    && known.evidence == found.evidence
                    && known.mend == found.mend
                    && known.deprecated == found.deprecated
            });
            match alike {
                Some(known) => known.services.extend(found.services),
                None => wrong.push(found),
            }
        }
    }
    let changes = edits(context, &wrong);
    (wrong.iter().map(|wrong| wrong.finding(context)).collect(), changes)
}

/// What is wrong with one option of one service; `None`: nothing.
fn judge<'a>(context: &Context<'_>, wanted: &'a Wanted, settings: &Settings<'a>) -> Option<Wrong<'a>> {
    let running = settings.running();
    let option = effective::known(&wanted.group, &wanted.key);
    let names = option.map(|option| option.deprecated_names(settings.release.as_ref())).unwrap_or_default();
    let deprecated: Vec<_> =
        names.into_iter().map(|(group, key)| (group.to_owned(), key.to_owned())).collect();
    let wrong = |actual: String, evidence, mend| {
        Some(Wrong {
            wanted,
            services: vec![running],
            actual,
            evidence,
            mend,
            deprecated: deprecated.clone(),
        })
    };
    let found = match settings.option(&wanted.group, &wanted.key) {
        Ok(found) => found,
        Err(reason) => return wrong("unknown".to_owned(), None, Mend::Unknown(reason)),
    };
    if found.value.as_deref().is_some_and(|value| same(value, &wanted.value)) {
        return None;
    }
    let actual = match &found.value {
        Some(value) if value.is_empty() => "empty".to_owned(),
        Some(value) => value.clone(),
        None => "not set".to_owned(),
    };
    let text = format!("{} = {actual}", found.name.1);
    let evidence = Some((found.origin.to_string(), text));
    if let Some(Err(reason)) = option.map(|option| option.valid(settings.release.as_ref(), &wanted.value)) {
        return wrong(actual, evidence, Mend::Hand(format!("choose another value: {reason}")));
    }
    wrong(actual, evidence, mend(context, wanted, &found, settings))
}

fn mend(context: &Context<'_>, wanted: &Wanted, found: &Effective, settings: &Settings<'_>) -> Mend {
    let running = settings.running();
    match &found.origin {
        Origin::Set(Source::Environment(name)) => Mend::Hand(format!(
            "take {name} out of the environment of {} (its unit or container): it beats every file",
            running.service.name
        )),
        Origin::Url(source) => Mend::Hand(format!(
            "take `{}=` out of the query of transport_url in {source}: it beats [{}]",
            wanted.key, wanted.group
        )),
        Origin::Set(Source::File { path, .. }) => {
            let Some(at) = settings.file(context.facts, path) else {
                return Mend::Hand(format!("set {} in {path}", wanted.name()));
            };
            let file = &running.config[at];
            // A file below /usr is the package's: what is read after it has the last word.
            if path.starts_with("/usr/") {
                return match editable(&running.config[at + 1..], running) {
                    Some(mend) => mend,
                    None => {
                        Mend::Hand(format!("{path} belongs to a package; set the option in a file after it"))
                    }
                };
            }
            match &file.persist {
                Persist::At { path, warning } => Mend::Set { path: path.clone(), warning: warning.clone() },
                Persist::Blocked(reason) => Mend::Hand(reason.clone()),
            }
        }
        Origin::Default(_) => editable(&running.config, running)
            .unwrap_or_else(|| Mend::Hand(format!("no file of {} can be edited here", running.service.name))),
    }
}

/// The service's main file where it is among `files`, else the last one that may be edited.
fn editable(files: &[ConfigFile], running: &Running) -> Option<Mend> {
    let set = |file: &ConfigFile| match &file.persist {
        Persist::At { path, warning } if !file.path.starts_with("/usr/") => {
            Some(Mend::Set { path: path.clone(), warning: warning.clone() })
        }
        Persist::At { .. } | Persist::Blocked(_) => None,
    };
    let main = format!("/{}.conf", running.service.project);
    let mains = files.iter().filter(|file| file.path.ends_with(&main));
    mains.chain(files.iter().rev()).find_map(set)
}

impl Wrong<'_> {
    fn finding(&self, context: &Context<'_>) -> Finding {
        let names: Vec<_> = self.services.iter().map(|running| running.service.name.as_str()).collect();
        let subject = format!("{} of {}", self.wanted.name(), names.join(", "));
        let mut finding = Finding::new(context.task, Level::File, subject);
        finding = match &self.mend {
            Mend::Unknown(reason) => finding.unknown(&self.wanted.value, reason),
            Mend::Set { .. } | Mend::Hand(_) => finding.differs(&self.wanted.value, &self.actual),
        };
        if let Some((source, text)) = &self.evidence {
            finding = finding.evidence(source, text);
        }
        match &self.mend {
            Mend::Unknown(_) => finding.manual("mend the reference, or set the option itself"),
            Mend::Hand(how) => finding.manual(how),
            Mend::Set { path, warning } => {
                let Wanted { key, value, .. } = self.wanted;
                let warning = warning.as_ref().map(|warning| format!("; {warning}")).unwrap_or_default();
                let by_hand = restart::by_hand(&self.services);
                finding.automatic(format!("set {key} = {value} in {path} and restart{warning}{by_hand}"))
            }
        }
    }
}

/// One edit a file, owing the restart of every service of the host that reads it, named or not.
fn edits(context: &Context<'_>, wrong: &[Wrong<'_>]) -> Vec<Change> {
    let mut files: BTreeMap<&str, Vec<OptionValue>> = BTreeMap::new();
    for wrong in wrong {
        let Mend::Set { path, .. } = &wrong.mend else { continue };
        let Wanted { group, key, value } = wrong.wanted.clone();
        let deprecated = wrong.deprecated.clone();
        let options = files.entry(path).or_default();
        let option = OptionValue { group, key, value, deprecated };
        if !options.contains(&option) {
            options.push(option);
        }
    }
    let reads = |running: &&Running, path: &str| {
        running.config.iter().any(|file| matches!(&file.persist, Persist::At { path: at, .. } if at == path))
    };
    files
        .into_iter()
        .map(|(path, options)| {
            let readers: Vec<&Running> =
                context.services.iter().filter(|running| reads(running, path)).collect();
            Change {
                task: context.task.id.clone(),
                action: Action::SetOptions { path: path.to_owned(), options },
                owes: restart::owed(&readers),
            }
        })
        .collect()
}

/// Where a common INI reader takes a file for something else than oslo.config does: people and tools who
/// read it are probably wrong too. Where our options are meant, it is to be mended; elsewhere it is a note.
pub fn ambiguous(context: &Context<'_>, wanted: &[Wanted], services: &[Settings<'_>]) -> Vec<Finding> {
    let texts: BTreeMap<&str, &str> =
        services.iter().flat_map(|settings| settings.texts(context.facts)).collect();
    let mut findings = Vec::new();
    for (path, text) in texts {
        // A file that oslo.config cannot read is a finding of its own.
        let Ok(doubts) = fragment::cross_check(path, text.as_bytes()) else { continue };
        let (ours, others): (Vec<_>, Vec<_>) = doubts.into_iter().partition(|doubt| {
            wanted.iter().any(|wanted| wanted.key == doubt.key && wanted.group == group_name(&doubt.group))
        });
        for doubt in ours {
            let finding = ambiguity(context, path, &doubt);
            findings.push(finding.at_most(Severity::Warning).manual("rewrite the line plainly: key = value"));
        }
        if let Some(doubt) = others.first() {
            let finding = ambiguity(context, path, doubt).at_most(Severity::Info);
            findings.push(finding.settled("nothing of this task depends on it"));
        }
    }
    findings
}

fn ambiguity(context: &Context<'_>, path: &str, doubt: &Ambiguity) -> Finding {
    let source = doubt.line.map_or_else(|| path.to_owned(), |line| format!("{path}:{line}"));
    Finding::new(context.task, Level::File, format!("syntax of {path}"))
        .differs("lines that every reader reads alike", "ambiguous syntax")
        .evidence(source, doubt.to_string())
}
