//! Is a restarted service healthy? Evidence, not "unit active": pure, from facts before and after.

use crate::facts::{Facts, Reading};
use crate::plan::{Restart, Role};

/// How long a new main process must have lived: a service that fails on its configuration exits in
/// the first seconds, and systemd starts it again.
pub const SETTLED_SECONDS: i64 = 3;

/// What is still awaited after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What must be seen.
    pub awaited: String,
    /// What is seen.
    pub seen: String,
}

/// Nothing, when the service is back; else what is missing.
///
/// A service that ran before is back when its main process is a new one, has settled, and its AMQP
/// connections are there again. A broker is back when its node runs, every member that ran before runs,
/// nothing is partitioned, no alarm is in force, and its listeners are there. An API connects to the
/// broker with its first call, so connections are not asked of it.
pub fn awaited(restart: &Restart, before: &Facts, after: &Facts) -> Option<Waiting> {
    let waiting = |awaited: String, seen: String| Some(Waiting { awaited, seen });
    let name = &restart.name;
    if let Some(unit) = after.units.get(name)
        && unit.active != "active"
    {
        return waiting(format!("{name} active"), format!("{} ({})", unit.active, unit.sub));
    }
    let Some(main) = main_process(after, name) else {
        return waiting(format!("a main process of {name}"), "none".to_owned());
    };
    if main_process(before, name).is_some_and(|old| old.pid == main.pid && old.started_at == main.started_at)
    {
        return waiting(format!("a new main process of {name}"), format!("still {}", main.pid));
    }
    let age = after.read_at - main.started_at;
    if age < SETTLED_SECONDS {
        return waiting(format!("{name} up for {SETTLED_SECONDS} s"), format!("{age} s"));
    }
    match restart.role {
        Role::Broker => broker(before, after),
        Role::RpcServer | Role::Agent => {
            let had = connections(before, name)?;
            let has = connections(after, name)?;
            (had > 0 && has == 0).then(|| Waiting {
                awaited: format!("AMQP connections of {name} (had {had})"),
                seen: "none".to_owned(),
            })
        }
        Role::Api => None,
    }
}

fn broker(before: &Facts, after: &Facts) -> Option<Waiting> {
    let waiting = |awaited: &str, seen: String| Some(Waiting { awaited: awaited.to_owned(), seen });
    let node = match &after.rabbitmq {
        Reading::Known(node) => node,
        Reading::Absent => return waiting("the RabbitMQ node", "no RabbitMQ".to_owned()),
        Reading::Unknown(reason) => return waiting("the RabbitMQ node", reason.clone()),
    };
    if !node.running {
        return waiting("the RabbitMQ node running", "not running".to_owned());
    }
    if !node.partitions.is_empty() {
        return waiting("no partition", format!("partitioned from {}", node.partitions.join(", ")));
    }
    if !node.alarms.is_empty() {
        return waiting("no alarm", node.alarms.join(", "));
    }
    let was = before.rabbitmq.known();
    let missing: Vec<&str> = was
        .into_iter()
        .flat_map(|was| &was.running_members)
        .filter(|member| !node.running_members.contains(member))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return waiting("every cluster member that ran before", format!("without {}", missing.join(", ")));
    }
    let deaf = was
        .into_iter()
        .flat_map(|was| &was.listeners)
        .find(|listener| !node.listeners.iter().any(|now| now.port == listener.port))?;
    waiting(&format!("a listener on port {}", deaf.port), "none".to_owned())
}

/// The main process of a unit or container.
fn main_process<'a>(facts: &'a Facts, name: &str) -> Option<&'a crate::facts::Process> {
    if let Some(unit) = facts.units.get(name)
        && unit.main_pid != 0
    {
        return facts.processes.get(&unit.main_pid);
    }
    members(facts, name).min_by_key(|process| (process.started_at, process.pid))
}

/// Every process of a unit or container.
fn members<'a>(facts: &'a Facts, name: &str) -> impl Iterator<Item = &'a crate::facts::Process> {
    facts.processes.values().filter(move |process| {
        process.container.as_deref() == Some(name) || process.cgroup.split('/').any(|part| part == name)
    })
}

/// How many AMQP sockets the processes of a unit hold; `None` where sockets cannot be attributed.
fn connections(facts: &Facts, name: &str) -> Option<usize> {
    let sockets = facts.sockets.known()?;
    if !sockets.is_empty() && sockets.iter().all(|socket| socket.pids.is_empty()) {
        return None;
    }
    let pids: Vec<u32> = members(facts, name).map(|process| process.pid).collect();
    Some(sockets.iter().filter(|socket| socket.pids.iter().any(|pid| pids.contains(pid))).count())
}
