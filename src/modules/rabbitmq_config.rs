//! `rabbitmq_config`: every setting of a rendered file is what the broker reads.

use super::{AS_ROOT, Arguments, Context, Kind, Module, Outcome, restart};
use crate::audit::brokers::files::{Files, Found};
use crate::audit::{Finding, Level, brokers};
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

/// The list that holds socket options, and RabbitMQ's own values of it (`deps/rabbit/Makefile`).
const LIST: &str = "tcp_listen_options.";
const LIST_DEFAULTS: [(&str, &str); 5] = [
    ("tcp_listen_options.backlog", "128"),
    ("tcp_listen_options.nodelay", "true"),
    ("tcp_listen_options.linger.on", "true"),
    ("tcp_listen_options.linger.timeout", "0"),
    ("tcp_listen_options.exit_on_close", "false"),
];

#[derive(Debug)]
struct RabbitConfig {
    /// What should be, in the order of the file.
    wanted: Vec<(String, String)>,
    dest: String,
    content: String,
}

fn parse(arguments: &Arguments) -> Result<Box<dyn Module>> {
    let (name, content) = match (&arguments.src, arguments.text("content")?) {
        (Some(rendered), None) => (rendered.name.clone(), rendered.text.clone()),
        (None, Some(content)) => ("content".to_owned(), content),
        (None, None) => return Err(arguments.error("src", "`src` or `content` is missing")),
        (Some(_), Some(_)) => {
            return Err(arguments.error("content", "`src` and `content` exclude each other"));
        }
    };
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

/// The `key = value` lines of a rendered template.
fn settings(path: &str, text: &str) -> Result<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with('#') {
            continue;
        }
        let error = |message: &str| Diagnostic::new(message).at(Place::line(path, text, at + 1));
        let (key, value) = plain.split_once('=').ok_or_else(|| error("no `=` in this line"))?;
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() || value.is_empty() {
            return Err(error("this setting has no name or no value"));
        }
        if crate::conf::secret::is_secret_key(key) {
            return Err(
                error("a secret would stand in the plan and in the diff").hint("keep it out of the template")
            );
        }
        found.retain(|(known, _)| known != key);
        found.push((key.to_owned(), value.to_owned()));
    }
    if found.is_empty() {
        return Err(Diagnostic::new(format!("`{path}` renders to no setting at all")));
    }
    Ok(found)
}

/// What the broker reads for one setting.
enum Is {
    /// This line says so.
    Set(Found),
    /// Nobody sets it, and this is the default; `None`: no default that we know of.
    Default(Option<&'static str>),
    /// A list that is set elsewhere replaces the defaults, this one among them.
    Replaced(Found),
    /// `advanced.config` replaces every line of this list.
    Overruled(Found),
}

fn is(files: &Files<'_>, key: &str) -> Is {
    if key.starts_with(LIST) {
        if let Some(found) = files.listen_options_in_terms() {
            return Is::Overruled(found);
        }
        return match (files.plain(key), files.any_plain(LIST)) {
            (Some(found), _) => Is::Set(found),
            (None, Some(found)) => Is::Replaced(found),
            (None, None) => {
                Is::Default(LIST_DEFAULTS.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
            }
        };
    }
    match files.effective(key) {
        Some(found) => Is::Set(found),
        None => Is::Default(None),
    }
}

impl RabbitConfig {
    /// Why the drop-in cannot mend it; `None`: it can.
    fn obstacle(context: &Context<'_>, broker: Option<&Running>, files: &Files<'_>) -> Option<String> {
        if let Some(broker) = broker
            && let Some(container) = &broker.container
        {
            return Some(format!(
                "the broker runs in the container `{container}`: set this in the configuration of {}",
                broker.deployment.name()
            ));
        }
        if let Some(Running { restart: RestartWay::Blocked(how), .. }) = broker {
            return Some(how.clone());
        }
        if let Some(version) = context.facts.rabbitmq.known().and_then(|rabbit| rabbit.version.as_deref())
            && !files.reads_drop_ins(version)
        {
            return Some(format!(
                "RabbitMQ {version} does not read {FOLDER}: set this in its main file ({})",
                files.main_file()
            ));
        }
        None
    }

    /// A drop-in that sorts after ours and says something else.
    fn beaten_by(&self, files: &Files<'_>, key: &str, value: &str) -> Option<Found> {
        let found = files.plain(key).filter(|found| !same(&found.value, value))?;
        let path = found.source.rsplit_once(':').map_or(found.source.as_str(), |(path, _)| path);
        (path.starts_with(FOLDER) && path > self.dest.as_str()).then_some(found)
    }
}

/// Equal as RabbitMQ converts them.
fn same(one: &str, other: &str) -> bool {
    let truth = |text: &str| match text {
        "true" | "on" => Some(true),
        "false" | "off" => Some(false),
        _ => None,
    };
    one == other || truth(one).is_some_and(|one| truth(other) == Some(one))
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
            Err(reason) => {
                let expected: Vec<_> =
                    self.wanted.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                let finding = Finding::new(context.task, Level::File, "the broker's files");
                return Outcome::unknown(finding.unknown(expected.join(", "), reason).manual(AS_ROOT));
            }
        };
        let mut findings = Vec::new();
        let mut can_write = false;
        let obstacle = Self::obstacle(context, broker, &files);
        for (key, value) in &self.wanted {
            let found = is(&files, key);
            let (actual, source, text) = match &found {
                Is::Set(found) if same(&found.value, value) => continue,
                Is::Default(Some(default)) if same(default, value) => continue,
                Is::Set(found) => {
                    (found.value.clone(), found.source.clone(), format!("{key} = {}", found.value))
                }
                Is::Default(default) => {
                    let actual = default.map_or("not set", |default| default);
                    (actual.to_owned(), "default of RabbitMQ".to_owned(), format!("{key}: {actual}"))
                }
                Is::Replaced(found) => (
                    "not set: a list that is set replaces the default".to_owned(),
                    found.source.clone(),
                    format!("{LIST}* is set here, and this is not in it"),
                ),
                // Of the list in Erlang terms only keepalive is looked at: the rest is its author's choice.
                Is::Overruled(_)
                    if key != KEEPALIVE || files.listener_keepalive().value == same(value, "true") =>
                {
                    continue;
                }
                Is::Overruled(found) => (
                    "not set: Erlang terms replace the whole list".to_owned(),
                    found.source.clone(),
                    "tcp_listen_options".to_owned(),
                ),
            };
            let finding =
                Finding::new(context.task, Level::File, key).differs(value, actual).evidence(source, text);
            findings.push(match (&found, &obstacle, self.beaten_by(&files, key, value)) {
                (Is::Overruled(found), _, _) => finding.manual(format!(
                    "write {{{}, {value}}} into tcp_listen_options in {}, or take the list out there",
                    key.trim_start_matches(LIST),
                    found.source
                )),
                (_, Some(obstacle), _) => finding.manual(obstacle),
                (_, None, Some(later)) => finding.manual(format!(
                    "{} beats {}: change that line, or take it out",
                    later.source, self.dest
                )),
                (_, None, None) => {
                    can_write = true;
                    finding.automatic(format!("write {} and restart the broker", self.dest))
                }
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
        let wanted = self.wanted.iter().any(|(key, value)| key == KEEPALIVE && same(value, "true"));
        (wanted && brokers::armed(context.facts) == Some(false)).then(|| {
            Finding::new(context.task, Level::Connection, "the broker's sockets")
                .differs("a keepalive timer on every idle socket", "no timer on some")
                .evidence("ss -tno", "no timer:(keepalive,…)")
                .manual("see which listener they came by: only AMQP listeners take tcp_listen_options")
        })
    }
}
