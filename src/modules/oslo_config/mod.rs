//! `oslo_config`: every option of a rendered fragment is what every named service reads.

mod files;
mod running;

use super::{Arguments, Context, Kind, Module, Outcome, Rendered};
use crate::audit::effective::{self, RABBIT, Settings, View};
use crate::audit::{Finding, Level};
use crate::conf::fragment;
use crate::error::{Diagnostic, Place, Result};
use crate::messaging::{self, RELEASES, Series};
use crate::plan::Role;
use crate::service::{self, Running};

/// `oslo_config: {src: oslo-messaging.conf.j2, services: all}`
pub const KIND: Kind = Kind {
    name: "oslo_config",
    aliases: &[],
    arguments: &["src", "content", "services"],
    summary: "options of a fragment are what every named service reads",
    parse,
};

/// One option of the fragment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    group: String,
    key: String,
    value: String,
}

impl Wanted {
    /// `key [group]`
    fn name(&self) -> String {
        format!("{} [{}]", self.key, self.group)
    }

    /// An option that oslo.messaging's group never had, or a value that no release takes, is refused before
    /// any host is touched. Options of other groups are taken as they are.
    fn check_any_release(&self) -> Result<()> {
        let Some(option) = effective::known(&self.group, &self.key) else {
            if self.group != RABBIT {
                return Ok(());
            }
            let names = messaging::options().iter().filter(|option| option.group == RABBIT);
            return Err(Diagnostic::new(format!(
                "oslo.messaging has no option `{}` in [{RABBIT}]",
                self.key
            ))
            .suggest(&self.key, names.map(|option| option.name.as_str())));
        };
        let taken = |series: &Series| option.valid(Some(&series.from), &self.value).is_ok();
        if RELEASES.iter().any(taken) {
            return Ok(());
        }
        let reason = option.valid(None, &self.value).err().unwrap_or_default();
        Err(Diagnostic::new(format!("`{} = {}` is not valid: {reason}", self.key, self.value)))
    }
}

#[derive(Debug)]
struct OsloConfig {
    wanted: Vec<Wanted>,
    /// `None`: every service of the host.
    services: Option<Vec<String>>,
}

fn parse(arguments: &Arguments) -> Result<Box<dyn Module>> {
    let Rendered { name, text } = arguments.source()?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for entry in fragment::fragment(&name, &text)? {
        let option = Wanted { group: entry.group(), key: entry.key, value: entry.value };
        option.check_any_release().map_err(|error| error.at(Place::line(&name, &text, entry.line)))?;
        wanted.retain(|known| (&known.group, &known.key) != (&option.group, &option.key));
        wanted.push(option);
    }
    if wanted.is_empty() {
        return Err(arguments.error("src", format!("`{name}` renders to no option at all")));
    }
    let services = match arguments.list("services")? {
        None => None,
        Some(all) if all == ["all"] => None,
        Some(names) => {
            let known = || service::services().iter().filter(|service| service.role != Role::Broker);
            for name in &names {
                if !known().any(|service| service.name == *name) {
                    return Err(arguments
                        .error("services", format!("unknown service `{name}`"))
                        .suggest(name, known().map(|service| service.name.as_str())));
                }
            }
            Some(names)
        }
    };
    Ok(Box::new(OsloConfig { wanted, services }))
}

impl OsloConfig {
    fn is_subject(&self, running: &Running) -> bool {
        running.service.role != Role::Broker
            && self.services.as_ref().is_none_or(|names| names.contains(&running.service.name))
    }
}

impl Module for OsloConfig {
    fn check(&self, context: &Context<'_>) -> Outcome {
        let subjects: Vec<&Running> =
            context.services.iter().filter(|running| self.is_subject(running)).collect();
        if let (true, Some(reason)) = (subjects.is_empty(), context.facts.unread.get("processes")) {
            let finding = Finding::new(context.task, Level::File, "the services of this host");
            return Outcome::unknown(finding.unknown("services or none", reason));
        }
        if subjects.is_empty() {
            return Outcome::NotApplicable(match &self.services {
                None => "no OpenStack service".to_owned(),
                Some(names) => format!("no {}", names.join(", no ")),
            });
        }
        let mut findings = Vec::new();
        let mut readable = Vec::new();
        let mut unreadable: Vec<(String, Vec<&str>)> = Vec::new();
        for running in subjects {
            match Settings::read(context.facts, running, View::Lasting) {
                Ok(settings) => readable.push(settings),
                Err(reason) => match unreadable.iter_mut().find(|(known, _)| *known == reason) {
                    Some((_, services)) => services.push(&running.service.name),
                    None => unreadable.push((reason, vec![&running.service.name])),
                },
            }
        }
        for (reason, services) in unreadable {
            let expected = self.wanted.iter().map(|wanted| format!("{} = {}", wanted.key, wanted.value));
            let expected = expected.collect::<Vec<_>>().join(", ");
            let finding = Finding::new(context.task, Level::File, services.join(", "));
            findings.push(finding.unknown(expected, reason).manual(super::AS_ROOT));
        }
        let (found, mut changes) = files::check(context, &self.wanted, &readable);
        let owed: Vec<&str> =
            changes.iter().flat_map(|change| &change.owes).map(|restart| restart.name.as_str()).collect();
        let (overdue, restarts) = running::check(context, &self.wanted, &readable, &owed);
        findings.extend(found);
        findings.extend(overdue);
        findings.extend(files::ambiguous(context, &self.wanted, &readable));
        changes.extend(restarts);
        Outcome::Checked { findings, changes }
    }
}

/// Equal as oslo.config converts them: `15`, `15.0` and `"15"`; `true` and `yes`.
fn same(one: &str, other: &str) -> bool {
    use crate::conf::oslo::{boolean, float};
    if one == other {
        return true;
    }
    match (float(one), float(other)) {
        (Ok(one), Ok(other)) => return one == other,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) if boolean(one).is_err() || boolean(other).is_err() => {
            return false;
        }
        _ => {}
    }
    matches!((boolean(one), boolean(other)), (Ok(one), Ok(other)) if one == other)
}
