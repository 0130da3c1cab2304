//! `sysctl`: kernel settings, live and after the next boot.

mod boot;

use std::collections::{BTreeMap, BTreeSet};

use super::{Arguments, Context, Kind, Module, Outcome};
use crate::audit::{Finding, Level, Severity};
use crate::error::{Diagnostic, Place, Result};
use crate::facts::Question;
use crate::facts::{Facts, Reading};
use crate::plan::{Action, Change};

/// `sysctl: {src: sysctl-keepalive.conf.j2, dest: /etc/sysctl.d/60-trueup.conf}`, or Ansible's
/// `sysctl: {name: net.ipv4.tcp_retries2, value: 6}`.
pub const KIND: Kind = Kind {
    name: "sysctl",
    aliases: &["ansible.posix.sysctl"],
    arguments: &[
        "src",
        "dest",
        "name",
        "value",
        "sysctl_file",
        "everywhere",
        "state",
        "reload",
        "sysctl_set",
    ],
    summary: "kernel settings are live and survive a reboot",
    parse,
};

/// Where drop-ins go.
const FOLDER: &str = "/etc/sysctl.d/";

#[derive(Debug)]
struct Sysctl {
    /// What should be, by dotted name.
    wanted: BTreeMap<String, String>,
    /// Our drop-in, and its whole content.
    dest: String,
    content: String,
    /// Also on hosts without a broker.
    everywhere: bool,
}

fn parse(arguments: &Arguments) -> Result<Box<dyn Module>> {
    if let Some(state) = arguments.text("state")?.filter(|state| state != "present") {
        return Err(arguments
            .error("state", format!("`{state}` is not supported"))
            .hint("a task says what should be set; take the line out of its file by hand"));
    }
    let (wanted, content) = match (&arguments.src, arguments.text("name")?) {
        (Some(rendered), None) => (settings(&rendered.name, &rendered.text)?, rendered.text.clone()),
        (None, Some(name)) => {
            let key = name.replace('/', ".");
            let value = arguments.required("value")?;
            let content = format!("# Written by trueup.\n{key} = {value}\n");
            (BTreeMap::from([(key, value)]), content)
        }
        (None, None) => return Err(arguments.error("src", "`src`, or `name` and `value`, is missing")),
        (Some(_), Some(_)) => return Err(arguments.error("name", "`src` and `name` exclude each other")),
    };
    let dest = match (arguments.path("dest")?, arguments.path("sysctl_file")?) {
        (Some(dest), _) | (None, Some(dest)) => dest,
        // One file a setting: two tasks must not write one file over each other.
        (None, None) => match wanted.keys().next().filter(|_| wanted.len() == 1) {
            Some(key) => format!("{FOLDER}60-trueup-{key}.conf"),
            None => return Err(arguments.error("dest", "`dest` is missing")),
        },
    };
    let name = dest.strip_prefix(FOLDER).unwrap_or_default();
    let stem = name.strip_suffix(".conf").unwrap_or_default();
    if stem.is_empty() || stem.contains('/') || stem.starts_with('.') {
        let at = if arguments.get("dest").is_some() { "dest" } else { "sysctl_file" };
        return Err(arguments
            .error(at, format!("`{dest}` is no drop-in, and only whole drop-ins are written"))
            .hint(format!("{at}: {FOLDER}60-trueup.conf")));
    }
    Ok(Box::new(Sysctl {
        wanted,
        dest,
        content,
        everywhere: arguments.boolean("everywhere")?.unwrap_or(false),
    }))
}

/// The `key = value` lines of a rendered template.
fn settings(path: &str, text: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with(['#', ';']) {
            continue;
        }
        let error = |message: &str| Diagnostic::new(message).at(Place::line(path, text, at + 1));
        let (key, value) = plain.split_once('=').ok_or_else(|| error("no `=` in this line"))?;
        let (key, value) = (key.trim().trim_start_matches('-').replace('/', "."), value.trim());
        if key.contains(['*', '?', '[']) {
            return Err(error("a pattern sets no setting in particular").hint("name each setting"));
        }
        if value.is_empty() {
            return Err(error("this setting has no value"));
        }
        found.insert(key, value.to_owned());
    }
    if found.is_empty() {
        return Err(Diagnostic::new(format!("`{path}` renders to no setting at all")));
    }
    Ok(found)
}

/// Equal as the kernel sees them: blanks between numbers do not matter.
fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

/// Where the settings must hold: the namespaces of the broker's processes, the host's own without any.
fn namespaces(facts: &Facts, context: &Context<'_>) -> BTreeSet<Option<String>> {
    let brokers = context.brokers().flat_map(|broker| &broker.pids);
    let found: BTreeSet<_> = brokers
        .filter_map(|pid| facts.processes.get(pid))
        .map(|process| process.network_namespace.clone())
        .collect();
    if found.is_empty() { BTreeSet::from([None]) } else { found }
}

impl Sysctl {
    /// What the kernel uses now.
    fn live(&self, context: &Context<'_>, namespace: Option<&str>) -> (Vec<Finding>, Vec<Change>) {
        let facts = context.facts;
        let mut findings = Vec::new();
        let mut changes = Vec::new();
        for (key, wanted) in &self.wanted {
            let readings = match namespace {
                None => Some(&facts.sysctls),
                Some(namespace) => facts.namespaces.get(namespace),
            };
            let subject = match namespace {
                None => key.clone(),
                Some(namespace) => format!("{key} in the broker's network namespace {namespace}"),
            };
            let finding = Finding::new(context.task, Level::Running, subject);
            let source = format!("sysctl {key}");
            let is = match readings.and_then(|readings| readings.get(key)) {
                Some(Reading::Known(is)) if same(is, wanted) => continue,
                Some(Reading::Known(is)) => is,
                Some(Reading::Absent) => {
                    let finding = finding.differs(wanted, "no such setting in this kernel");
                    findings.push(finding.evidence(source, "absent").manual("take it out of the template"));
                    continue;
                }
                Some(Reading::Unknown(reason)) => {
                    findings.push(finding.unknown(wanted, reason).manual(super::AS_ROOT));
                    continue;
                }
                None => {
                    findings.push(finding.unknown(wanted, "it was not read").manual(super::AS_ROOT));
                    continue;
                }
            };
            let finding = finding.differs(wanted, is).evidence(source, format!("{key} = {is}"));
            findings.push(match namespace {
                None => {
                    changes.push(Change {
                        task: context.task.id.clone(),
                        action: Action::SetSysctl {
                            key: key.clone(),
                            value: wanted.clone(),
                            before: Some(is.clone()),
                        },
                        owes: Vec::new(),
                    });
                    finding.automatic(format!("sysctl -w {key}={}", crate::cmd::quote(wanted)))
                }
                Some(_) => finding.manual(format!(
                    "set {key} = {wanted} inside the broker's container: it does not follow its host"
                )),
            });
        }
        (findings, changes)
    }

    /// Broker sockets whose armed keepalive timer is longer than the wanted time: a changed setting does
    /// not reach them until it fires.
    fn sockets(&self, context: &Context<'_>) -> Option<Finding> {
        const TIME: &str = "net.ipv4.tcp_keepalive_time";
        let wanted: u64 = self.wanted.get(TIME)?.trim().parse().ok()?;
        let rabbit = context.facts.rabbitmq.known()?;
        let ports: BTreeSet<u16> = rabbit.listeners.iter().map(|listener| listener.port).collect();
        let ours = |port: u16| ports.contains(&port) || (ports.is_empty() && [5671, 5672].contains(&port));
        let sockets = context.facts.sockets.known()?;
        let armed: Vec<_> = sockets
            .iter()
            .filter(|socket| ours(socket.local_port) && socket.timer.as_deref() == Some("keepalive"))
            .collect();
        // `ss` rounds, so a second more is still the new time.
        let old: Vec<u64> = armed
            .iter()
            .filter_map(|socket| socket.fires_in_ms)
            .filter(|fires| *fires > wanted * 1000 + 1000)
            .collect();
        let longest = old.iter().max()?.div_ceil(1000);
        let finding = Finding::new(context.task, Level::Connection, TIME)
            .differs(
                format!("timers of at most {wanted} s"),
                format!("{} of {} broker sockets have a timer of up to {longest} s", old.len(), armed.len()),
            )
            .evidence("ss -tno", format!("timer:(keepalive,{longest}sec,0)"));
        // With heartbeats on, keepalive is the second line, and the old timers fire once and are gone.
        let by_keepalive_alone = rabbit
            .connections
            .known()
            .is_some_and(|all| all.iter().any(|connection| connection.heartbeat == 0));
        let mend = format!(
            "the old timers end by themselves within {longest} s, and at once when the clients or the broker \
             restart"
        );
        Some(if by_keepalive_alone {
            finding.at_most(Severity::Warning).settled(mend)
        } else {
            finding.at_most(Severity::Info).settled(mend)
        })
    }
}

impl Module for Sysctl {
    fn questions(&self) -> Vec<Question> {
        let mut questions: Vec<_> = self.wanted.keys().cloned().map(Question::Sysctl).collect();
        questions.push(Question::File(self.dest.clone()));
        questions
    }

    fn check(&self, context: &Context<'_>) -> Outcome {
        let facts = context.facts;
        if !self.everywhere {
            match &facts.rabbitmq {
                Reading::Absent => return Outcome::NotApplicable("no broker".to_owned()),
                Reading::Unknown(reason) if context.brokers().next().is_none() => {
                    let finding = Finding::new(context.task, Level::Running, "the broker");
                    return Outcome::unknown(finding.unknown("a broker or none", reason));
                }
                Reading::Unknown(_) | Reading::Known(_) => {}
            }
        }
        let mut findings = Vec::new();
        let mut changes = Vec::new();
        let namespaces = namespaces(facts, context);
        for namespace in &namespaces {
            let (found, wanted) = self.live(context, namespace.as_deref());
            findings.extend(found);
            changes.extend(wanted);
        }
        // A container's own namespace is set up by its own boot, which is not the host's.
        if namespaces.contains(&None) {
            let (found, wanted) = boot::check(self, context);
            findings.extend(found);
            changes.extend(wanted);
        }
        findings.extend(self.sockets(context));
        Outcome::Checked { findings, changes }
    }
}
