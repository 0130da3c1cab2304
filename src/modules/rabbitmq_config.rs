//! `rabbitmq_config`: every setting of a rendered file is what the broker reads.

use super::{AS_ROOT, Arguments, Context, Kind, Module, Outcome, restart};
use crate::audit::brokers::files::Files;
use crate::audit::{Finding, Level, brokers};
use crate::conf::rabbitmq::{Answer, Source};
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

/// The list that holds socket options: where it is set, RabbitMQ's own (`deps/rabbit/Makefile`) is gone.
const LIST: &str = "tcp_listen_options.";

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
struct Is {
    /// `None`: nothing sets it and no default is known, or a list that is set does not name it.
    value: Option<String>,
    source: Source,
}

fn text<T: ToString>(answer: Answer<Option<T>>) -> (Option<String>, Source) {
    (answer.value.map(|value| value.to_string()), answer.source)
}

fn is(files: &Files<'_>, key: &str) -> std::result::Result<Is, String> {
    if let Some(option) = key.strip_prefix(LIST) {
        let listen = files.effective().listen?;
        let linger = |value: Option<String>| (value, listen.linger.source.clone());
        let (value, source) = match option {
            "keepalive" => text(listen.keepalive),
            "backlog" => text(listen.backlog),
            "nodelay" => text(listen.nodelay),
            "exit_on_close" => text(listen.exit_on_close),
            "linger.on" => linger(listen.linger.value.map(|(on, _)| on.to_string())),
            "linger.timeout" => linger(listen.linger.value.map(|(_, seconds)| seconds.to_string())),
            _ => match files.setting(key)? {
                Some(answer) => (Some(answer.value), answer.source),
                None => (None, Source::Default),
            },
        };
        return Ok(Is { value, source });
    }
    if key == "heartbeat" {
        let answer = files.effective().heartbeat?;
        return Ok(Is { value: Some(answer.value.to_string()), source: answer.source });
    }
    Ok(match files.setting(key)? {
        Some(answer) => Is { value: Some(answer.value), source: answer.source },
        None => Is { value: None, source: Source::Default },
    })
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
        if files.reads_drop_ins(FOLDER) {
            return None;
        }
        let version = context.facts.rabbitmq.known().and_then(|rabbit| rabbit.version.as_deref());
        Some(format!(
            "RabbitMQ {} does not read {FOLDER}: set this in its main file, {}",
            version.unwrap_or("there"),
            files.main_file()
        ))
    }

    /// Is this place in a drop-in that is read after ours?
    fn is_later(&self, source: &Source) -> bool {
        matches!(source, Source::File { path, .. } if path.starts_with(FOLDER) && *path > self.dest)
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
        let files = Files::of(context.facts, broker);
        let mut findings = Vec::new();
        let mut can_write = false;
        let obstacle = Self::obstacle(context, broker, &files);
        for (key, value) in &self.wanted {
            let finding = Finding::new(context.task, Level::File, key);
            let found = match is(&files, key) {
                Ok(found) => found,
                Err(reason) => {
                    findings.push(finding.unknown(value, files.because(reason)).manual(AS_ROOT));
                    continue;
                }
            };
            if found.value.as_deref().is_some_and(|is| same(is, value)) {
                continue;
            }
            let in_terms = files.is_terms(&found.source);
            // Of a list in Erlang terms only keepalive is looked at: the rest is its author's choice.
            if in_terms && key.starts_with(LIST) && key != KEEPALIVE {
                continue;
            }
            let actual = match (&found.value, &found.source) {
                (Some(is), _) => is.clone(),
                (None, Source::Default) => "not set".to_owned(),
                (None, Source::File { .. }) => "not set: a list that is set replaces the default".to_owned(),
            };
            let text = format!("{key}: {actual}");
            let finding = finding.differs(value, actual).evidence(found.source.to_string(), text);
            findings.push(if in_terms {
                let option = key.trim_start_matches(LIST);
                finding.manual(format!("set {option} to {value} in the Erlang terms of {}", found.source))
            } else if let Some(obstacle) = &obstacle {
                finding.manual(obstacle)
            } else if self.is_later(&found.source) && found.value.is_some() {
                let later = &found.source;
                finding.manual(format!("{later} beats {}: change that line, or take it out", self.dest))
            } else {
                can_write = true;
                finding.automatic(format!("write {} and restart the broker", self.dest))
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
