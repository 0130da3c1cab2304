//! `rabbitmq_config`: every setting of a rendered file is what the broker reads.

use super::{AS_ROOT, Arguments, Context, Kind, Module, Outcome, Rendered, restart};
use crate::audit::brokers::files::Files;
use crate::audit::{Finding, Level, brokers};
use crate::conf::at_least;
use crate::conf::rabbitmq::conf::{self, Item, Setting};
use crate::conf::rabbitmq::{CONF_D_SINCE, Source};
use crate::deployment::{self, Persist};
use crate::error::{Diagnostic, Place, Result};
use crate::facts::Reading;
use crate::plan::{Action, Change};
use crate::probe::Question;
use crate::service::{RestartWay, Running};

/// `rabbitmq_config: {src: rabbitmq-keepalive.conf.j2, dest: /etc/rabbitmq/conf.d/50-trueup.conf}`
pub const KIND: Kind = Kind {
    name: "rabbitmq_config",
    aliases: &[],
    arguments: &["src", "content", "dest"],
    summary: "settings are what the broker reads",
    parse,
};

/// Where drop-ins go.
const FOLDER: &str = "/etc/rabbitmq/conf.d/";

const KEEPALIVE: &str = "tcp_listen_options.keepalive";

/// The list that holds the listeners' socket options. One that is set replaces RabbitMQ's own whole list.
const LIST: &str = "tcp_listen_options.";

#[derive(Debug)]
struct RabbitConfig {
    /// What should be, in the order of the file.
    wanted: Vec<(String, String)>,
    dest: String,
    content: String,
}

fn parse(arguments: &Arguments) -> Result<Box<dyn Module>> {
    let Rendered { name, text: content } = arguments.source()?;
    let wanted = settings(&name, &content)?;
    arguments.required("dest")?;
    let dest = arguments.path("dest")?.expect("required above");
    let stem = dest.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(".conf")).unwrap_or_default();
    if stem.is_empty() || stem.contains('/') || stem.starts_with('.') {
        return Err(arguments
            .error("dest", format!("`{dest}` is no drop-in, and only whole drop-ins are written"))
            .hint(format!("dest: {FOLDER}50-trueup.conf")));
    }
    Ok(Box::new(RabbitConfig { wanted, dest, content }))
}

/// The settings of a rendered template.
fn settings(path: &str, text: &str) -> Result<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    for item in conf::parse(path, text)? {
        let error = |line, message: &str| Diagnostic::new(message).at(Place::line(path, text, line));
        let Setting { key, value, line } = match item {
            Item::Setting(setting) => setting,
            Item::Include { line, .. } => return Err(error(line, "a drop-in of ours includes nothing")),
        };
        if crate::conf::secret::is_secret_key(&key) {
            return Err(error(line, "a secret would stand in the plan and in the diff")
                .hint("keep it out of the template"));
        }
        found.retain(|(known, _)| *known != key);
        found.push((key, value));
    }
    if found.is_empty() {
        return Err(Diagnostic::new(format!("`{path}` renders to no setting at all")));
    }
    Ok(found)
}

/// Equal as RabbitMQ converts them.
fn same(is: Option<&str>, wanted: &str) -> bool {
    let number = |text: &str| text.parse::<i64>().ok();
    is.is_some_and(|is| is == wanted || number(is).is_some_and(|is| number(wanted) == Some(is)))
}

/// The file of a source; none for a default.
fn path_of(source: &Source) -> Option<&str> {
    match source {
        Source::Default => None,
        Source::File { path, .. } => Some(path),
    }
}

impl RabbitConfig {
    /// Every line, for a person to write.
    fn lines(&self) -> String {
        let lines = self.wanted.iter().map(|(key, value)| format!("`{key} = {value}`"));
        lines.collect::<Vec<_>>().join(", ")
    }

    /// The same for the section of `rabbit` in a file of Erlang terms.
    fn terms(&self) -> String {
        let (listen, rest): (Vec<_>, Vec<_>) = self.wanted.iter().partition(|(key, _)| key.starts_with(LIST));
        let mut terms: Vec<String> =
            rest.iter().map(|(key, value)| format!("`{{{key}, {value}}}`")).collect();
        let mut options: Vec<String> = listen.iter().map(|(key, _)| self.term(key)).collect();
        options.dedup();
        if !options.is_empty() {
            terms.push(format!("`{{tcp_listen_options, [{}]}}`", options.join(", ")));
        }
        terms.join(", ")
    }

    /// One setting as an Erlang term; of `linger` both halves.
    fn term(&self, key: &str) -> String {
        let wanted = |name: &str, otherwise: &str| {
            let found = self.wanted.iter().find(|(known, _)| known == name);
            found.map_or_else(|| otherwise.to_owned(), |(_, value)| value.clone())
        };
        match key.strip_prefix(LIST) {
            // What rabbitmq.conf leaves out of the pair is off and 0.
            Some("linger.on" | "linger.timeout") => format!(
                "{{linger, {{{}, {}}}}}",
                wanted("tcp_listen_options.linger.on", "false"),
                wanted("tcp_listen_options.linger.timeout", "0")
            ),
            Some(option) => format!("{{{option}, {}}}", wanted(key, "true")),
            None => format!("{{{key}, {}}}", wanted(key, "true")),
        }
    }

    /// Why the drop-in cannot mend it, and what a person does instead; `None`: it can.
    fn obstacle(&self, context: &Context<'_>, broker: Option<&Running>, files: &Files<'_>) -> Option<String> {
        let lines = self.lines();
        if let Some(broker) = broker.filter(|broker| broker.container.is_some()) {
            let place = deployment::Place {
                service: broker.service,
                unit: None,
                container: broker.container.as_deref(),
                argv: &[],
                facts: context.facts,
            };
            return Some(match broker.deployment.persist(&place, &self.dest) {
                Persist::Blocked(reason) => format!("{reason}: {lines}"),
                Persist::At { path, warning } => {
                    let warning = warning.map_or_else(String::new, |warning| format!(" ({warning})"));
                    let how = restart::by_hand(&[broker]);
                    format!("write {path} on the host{warning} and restart the container{how}: {lines}")
                }
            });
        }
        let instead = || match files.main() {
            (path, true) => format!("write {} into the section `rabbit` of {path}", self.terms()),
            (path, false) => format!("add these lines to {path}: {lines}"),
        };
        match files.version.as_deref() {
            None => {
                return Some(format!(
                    "the version of RabbitMQ is not known, nor so whether it reads {FOLDER} (since 3.8.4): {}",
                    instead()
                ));
            }
            Some(version) if !at_least(version, CONF_D_SINCE) => {
                return Some(format!(
                    "RabbitMQ {version} does not read {FOLDER} (since 3.8.4): {}",
                    instead()
                ));
            }
            Some(_) => {}
        }
        if !files.paths.reads(&self.dest) {
            return Some(format!(
                "this node reads {} in place of {FOLDER} (RABBITMQ_CONFIG_FILES): put a file there with {lines}",
                files.paths.additional
            ));
        }
        match broker {
            Some(Running { restart: RestartWay::Blocked(how), .. }) => {
                Some(format!("write {} with {lines}; then {how}", self.dest))
            }
            _ => None,
        }
    }

    /// What mends one setting, with whether our drop-in does.
    fn mend(
        &self,
        files: &Files<'_>,
        (key, value): (&str, &str),
        is: &Source,
        obstacle: Option<&String>,
    ) -> std::result::Result<String, String> {
        let terms = files.terms();
        let in_terms = |source: &Source| terms.is_some() && path_of(source) == terms.as_deref();
        let overruled = |source: &Source| {
            if key.starts_with(LIST) {
                let term = self.term(key);
                format!("write {term} into tcp_listen_options at {source}, or take the list out there")
            } else {
                format!("write {} at {source}, or take it out there", self.term(key))
            }
        };
        if in_terms(is) {
            return Err(overruled(is));
        }
        if let Some(obstacle) = obstacle {
            return Err(obstacle.clone());
        }
        match files.setting_with(&self.dest, &self.content, key) {
            Ok(then) if same(then.value.as_deref(), value) => {
                Ok(format!("write {} and restart the broker", self.dest))
            }
            Ok(then) if in_terms(&then.source) => Err(overruled(&then.source)),
            Ok(then) => Err(format!(
                "{} beats {}: change that line to `{key} = {value}`, or take it out",
                then.source, self.dest
            )),
            Err(reason) => Err(format!("mend this first: {reason}")),
        }
    }

    /// Could not be established.
    fn unknown(&self, context: &Context<'_>, reason: String, mend: &str) -> Outcome {
        let expected = self.wanted.iter().map(|(key, value)| format!("{key} = {value}"));
        let finding = Finding::new(context.task, Level::File, "the broker's files");
        let expected = expected.collect::<Vec<_>>().join(", ");
        Outcome::unknown(finding.unknown(expected, reason).manual(mend))
    }
}

impl Module for RabbitConfig {
    fn questions(&self) -> Vec<Question> {
        vec![Question::File(self.dest.clone())]
    }

    fn check(&self, context: &Context<'_>) -> Outcome {
        let broker = context.brokers().next();
        match &context.facts.rabbitmq {
            Reading::Absent if broker.is_none() => return Outcome::NotApplicable("no broker".to_owned()),
            Reading::Unknown(reason) if broker.is_none() => {
                let finding = Finding::new(context.task, Level::File, "the broker");
                return Outcome::unknown(finding.unknown("a broker or none", reason));
            }
            Reading::Absent | Reading::Unknown(_) | Reading::Known(_) => {}
        }
        let files = match Files::of(context.facts, broker) {
            Ok(files) => files,
            Err(reason) => return self.unknown(context, reason, AS_ROOT),
        };
        let mut findings = Vec::new();
        let mut can_write = false;
        let obstacle = self.obstacle(context, broker, &files);
        for (key, value) in &self.wanted {
            let is = match files.setting(key) {
                Ok(is) => is,
                Err(reason) => {
                    let mend = "mend that line; `rabbitmqctl environment` tells what the node runs with";
                    return self.unknown(context, reason, mend);
                }
            };
            if same(is.value.as_deref(), value) {
                let in_folder = path_of(&is.source).is_some_and(|path| path.starts_with(FOLDER));
                if in_folder && files.version.is_none() {
                    let reason = format!("the version of RabbitMQ, and so whether it reads {FOLDER}");
                    return self.unknown(context, reason, AS_ROOT);
                }
                continue;
            }
            let (actual, text) = match (&is.value, &is.source) {
                (Some(is), _) => (is.clone(), format!("{key} = {is}")),
                (None, Source::Default) => ("not set".to_owned(), format!("{key}: not set")),
                (None, Source::File { .. }) => (
                    "not set: the list that is set replaces the default".to_owned(),
                    "tcp_listen_options is set here, and this is not in it".to_owned(),
                ),
            };
            let finding = Finding::new(context.task, Level::File, key)
                .differs(value, actual)
                .evidence(is.source.to_string(), text);
            findings.push(match self.mend(&files, (key, value), &is.source, obstacle.as_ref()) {
                Ok(mend) => {
                    can_write = true;
                    finding.automatic(mend)
                }
                Err(mend) => finding.manual(mend),
            });
        }
        let mut changes = Vec::new();
        if can_write {
            changes.push(Change {
                task: context.task.id.clone(),
                action: Action::WriteFile {
                    path: self.dest.clone(),
                    content: self.content.clone(),
                    mode: None,
                    owner: None,
                    group: None,
                    validate: None,
                },
                owes: restart::owed(&broker.into_iter().collect::<Vec<_>>()),
            });
        } else if let Some(broker) = broker.filter(|broker| broker.runs()) {
            let (overdue, restarts) = restart::stale(context, &[broker], &files.changed());
            if overdue.is_empty() && findings.is_empty() {
                findings.extend(self.sockets(context));
            }
            findings.extend(overdue);
            changes.extend(restarts);
        }
        Outcome::Checked { findings, changes }
    }
}

impl RabbitConfig {
    /// Keepalive is on in the files, the broker has read them, and its sockets have it not.
    fn sockets(&self, context: &Context<'_>) -> Option<Finding> {
        let wanted = self.wanted.iter().any(|(key, value)| key == KEEPALIVE && value == "true");
        (wanted && brokers::armed(context.facts) == Some(false)).then(|| {
            Finding::new(context.task, Level::Connection, "the broker's sockets")
                .differs("a keepalive timer on every idle socket", "no timer on some")
                .evidence("ss -tno", "no timer:(keepalive,…)")
                .manual("see which listener they came by: only AMQP listeners take tcp_listen_options")
        })
    }
}
