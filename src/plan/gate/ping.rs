//! Does a restarted service answer? An RPC with a reply, where `rpc_ping_enabled` offers it.
//!
//! It is the service's own Python that asks, with the service's own settings (`ping.py`), so no password
//! leaves the host. Each consumer of a queue that only this host serves is called once: RabbitMQ goes round
//! them, so one worker of eight that is stuck is found. An error that the service answers with is an answer
//! too; a release before 12.4.0, which has no `oslo_rpc_server_ping`, gives one.

use std::collections::BTreeMap;
use std::fmt;

use super::brokers::own_queues;
use super::{Waiting, waiting};
use crate::audit::Cluster;
use crate::audit::effective::{Settings, View};
use crate::conf::oslo::boolean;
use crate::facts::{CommandFact, Facts, Process, Question};
use crate::plan::{Restart, Role};
use crate::service::{self, Running};

const SCRIPT: &str = include_str!("ping.py");

/// How long one call is waited for, in seconds: a ping is answered in milliseconds.
const PATIENCE: u32 = 5;

/// The most calls to one queue.
const MOST: u32 = 32;

/// Where Python finds its libraries.
const PATHS: [&str; 3] = ["HOME", "PYTHONPATH", "VIRTUAL_ENV"];

/// As the user of the process `$1`, where we are root: its libraries may be that user's to write.
const AS_ITS_USER: &str = r#"pid=$1
shift
cd /
[ "$(id -u)" = 0 ] || exec "$@"
exec setpriv --reuid "$(stat -c %u "/proc/$pid")" --regid "$(stat -c %g "/proc/$pid")" --clear-groups "$@""#;

/// What to ask a service; an error says why it cannot be asked. `None`: it does not offer it.
pub fn question(host: &str, restart: &Restart, cluster: &Cluster) -> Option<Result<Question, String>> {
    if !matches!(restart.role, Role::RpcServer | Role::Agent) {
        return None;
    }
    let facts = cluster.get(host)?.as_ref().ok()?;
    let services = service::running(facts);
    let running = services.iter().find(|running| running.restarts_as() == Some(&restart.name))?;
    let settings = Settings::read(facts, running, View::Process).ok()?;
    let offered = settings.option("DEFAULT", "rpc_ping_enabled").ok()?.value?;
    if !boolean(offered.trim()).ok()? {
        return None;
    }
    Some(argv(facts, running, cluster).map(|argv| Question::Command { id: id(restart), argv }))
}

/// Under which its answer is found in [`Facts::commands`]; no task's command has a line break.
fn id(restart: &Restart) -> String {
    format!("ping\n{}", restart.name)
}

fn argv(facts: &Facts, running: &Running, cluster: &Cluster) -> Result<Vec<String>, String> {
    let queues = own_queues(facts, running, cluster).ok_or("no broker told its queues")?;
    if queues.is_empty() {
        return Err("no queue is served by this host alone".to_owned());
    }
    let members = || running.pids.iter().filter_map(|pid| facts.processes.get(pid));
    let main = running.main_pid.and_then(|pid| facts.processes.get(&pid));
    let (process, python) = main
        .into_iter()
        .chain(members())
        .find_map(|process| Some((process, interpreter(process)?)))
        .ok_or("its processes do not tell their Python")?;
    let (mut argv, pid) = into(facts, process)?;
    let (project, program) = (running.service.project.clone(), running.service.name.clone());
    argv.extend([python, "-B", "-c", SCRIPT].map(str::to_owned));
    argv.extend([pid, project, program, PATIENCE.to_string()]);
    argv.extend(queues.iter().map(|(name, consumers)| format!("{name}={}", consumers.min(&MOST))));
    argv.push("--".to_owned());
    argv.extend(running.config.iter().map(|file| format!("--config-file={}", file.path)));
    Ok(argv)
}

/// The Python of a process: in front of its script, also in a title that it gave itself
/// (`neutron-l3-agent: worker (/usr/bin/python3 /usr/bin/neutron-l3-agent …)`).
fn interpreter(process: &Process) -> Option<&str> {
    let words = process.argv.iter().flat_map(|word| word.split_whitespace());
    words.map(|word| word.trim_start_matches('(')).find(|word| {
        let name = word.rsplit('/').next().unwrap_or_default();
        name.strip_prefix("python").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    })
}

/// What goes in front of a command so that it runs where this process does, and the process's number there
/// (0 in a container, whose environment the command has anyway).
fn into(facts: &Facts, process: &Process) -> Result<(Vec<String>, String), String> {
    let Some(container) = &process.container else {
        if process.network_namespace.is_some() {
            return Err("it runs in a network namespace of its own".to_owned());
        }
        let pid = process.pid.to_string();
        let mut argv = ["sh", "-c", AS_ITS_USER, "trueup", &pid, "env"].map(str::to_owned).to_vec();
        // The others can be secret, and a command line is everybody's to read.
        let environ = process.environ.iter().filter(|(name, _)| PATHS.contains(&name.as_str()));
        argv.extend(environ.map(|(name, value)| format!("{name}={value}")));
        return Ok((argv, pid));
    };
    let engine =
        facts.containers.get(container).filter(|it| ["docker", "podman"].contains(&it.engine.as_str()));
    let known = engine.ok_or_else(|| format!("no engine leads into the container {container}"))?;
    Ok(([&known.engine, "exec", "-w", "/", &known.id].map(str::to_owned).to_vec(), "0".to_owned()))
}

/// What the calls to a service's queues came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// By queue.
    queues: BTreeMap<String, Calls>,
    /// Were all calls made?
    ended: bool,
}

/// The calls to one queue.
#[derive(Debug, Clone, Default, PartialEq)]
struct Calls {
    answered: u32,
    /// The slowest answer, in seconds.
    slowest: f64,
    /// Calls without an answer in [`PATIENCE`].
    silent: u32,
}

impl Answers {
    /// What the question was answered with. An error says why the service could not be asked.
    ///
    /// # Errors
    /// As said: it is not evidence of anything.
    pub fn read(restart: &Restart, facts: &Facts) -> Result<Self, String> {
        let Some(CommandFact { status, stdout, stderr }) = facts.commands.get(&id(restart)) else {
            return Err("the host did not say".to_owned());
        };
        if let Some(why) = stdout.lines().find_map(|line| line.strip_prefix("cannot ")) {
            return Err(format!("its Python says {}", why.trim()));
        }
        let mut lines = stdout.lines();
        match lines.next() {
            Some("asking") => {}
            _ if *status == 124 => return Err("its Python did not begin in time".to_owned()),
            _ => {
                let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
                return Err(format!("its Python ended with {status}: {}", last.trim()));
            }
        }
        let mut found = Self::default();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["answered", seconds, queue] => {
                    let calls = found.queues.entry((*queue).to_owned()).or_default();
                    calls.answered += 1;
                    calls.slowest = calls.slowest.max(seconds.parse().unwrap_or_default());
                }
                ["silent", queue] => found.queues.entry((*queue).to_owned()).or_default().silent += 1,
                _ => found.ended |= line == "done",
            }
        }
        Ok(found)
    }

    /// Did every call get its answer?
    pub fn complete(&self) -> bool {
        self.ended && self.queues.values().all(|calls| calls.silent == 0)
    }
}

/// "2 of 2 calls on cinder-volume.ctl1@lvm in 0.012 s", one queue after the other.
impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (queue, Calls { answered, silent, slowest })) in self.queues.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{answered} of {} calls on {queue} in {slowest:.3} s", answered + silent)?;
        }
        Ok(())
    }
}

/// Nothing, when every consumer answers; else what is missing.
///
/// A queue on which calls were lost `before` the restart owes no more answers than it gave then: a
/// connection that died silently goes on taking every other call until its broker notices, and that is what
/// the change is for.
pub fn awaited(restart: &Restart, before: Option<&Answers>, answers: &Answers) -> Option<Waiting> {
    let what = |queue: &str| format!("an answer of {} to each RPC{queue}", restart.name);
    let lossy = |queue: &String| before?.queues.get(queue).filter(|calls| calls.silent > 0);
    let is_worse = |queue: &String, calls: &Calls| {
        calls.silent > 0 && lossy(queue).is_none_or(|then| calls.answered < then.answered)
    };
    if let Some((queue, Calls { answered, silent, .. })) =
        answers.queues.iter().find(|(queue, calls)| is_worse(queue, calls))
    {
        let seen = format!("{silent} of {} calls without one in {PATIENCE} s", answered + silent);
        return waiting(what(&format!(" on {queue}")), seen);
    }
    if answers.ended { None } else { waiting(what(""), "the calls did not end in time") }
}

#[cfg(test)]
#[path = "ping_tests.rs"]
mod tests;
