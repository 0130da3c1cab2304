//! Is a restarted service healthy? Evidence, not "unit active": pure, from facts before and after.
//!
//! In looks each of which costs more than the one before: [`awaited`] needs the host alone,
//! [`brokers::awaited`] the brokers too, [`log::awaited`] the service's log, and [`ping::awaited`] calls the
//! service. Each is asked again until nothing is awaited, for as long as the deadline allows.

pub mod brokers;
pub mod log;
pub mod ping;

use crate::facts::{Facts, Process, Reading};
use crate::plan::{Restart, Role};

/// What is still awaited after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What must be seen.
    pub awaited: String,
    /// What is seen.
    pub seen: String,
    /// Waiting longer is in vain: systemd has given the unit up.
    pub hopeless: bool,
}

/// What is awaited and what is seen, with hope.
#[expect(clippy::unnecessary_wraps, reason = "every caller answers with it")]
fn waiting(awaited: impl Into<String>, seen: impl Into<String>) -> Option<Waiting> {
    Some(Waiting { awaited: awaited.into(), seen: seen.into(), hopeless: false })
}

/// Nothing, when the service is back; else what is missing.
///
/// A service that ran before is back when its main process is a new one, has been up for `settled`
/// seconds, and its AMQP connections are there again. A broker is back when its node runs, every member that ran before runs,
/// nothing is partitioned, no alarm is in force, and its listeners are there. An API connects to the
/// broker with its first call, so connections are not asked of it.
///
/// Right after a restart `settled` is 0; at the end of a host's restarts every one of them is asked for
/// more, because a service can be active and gone some seconds later: with exit status 0 when the broker
/// refuses its first publish, which `Restart=on-failure` does not mend.
pub fn awaited(restart: &Restart, before: &Facts, after: &Facts, settled: i64) -> Option<Waiting> {
    let name = &restart.name;
    if let Some(unit) = after.units.get(name)
        && unit.active != "active"
    {
        let seen = format!("{} ({})", unit.active, unit.sub);
        // A unit that systemd will start again is `activating`, not `failed`.
        return Some(Waiting { awaited: format!("{name} active"), seen, hopeless: unit.active == "failed" });
    }
    let Some(main) = main_process(after, name) else {
        return waiting(format!("a main process of {name}"), "none".to_owned());
    };
    if !is_new(main, before, after) {
        return waiting(format!("a new main process of {name}"), format!("still {}", main.pid));
    }
    // A start is rounded up to whole seconds.
    let age = (after.read_at - main.started_at).max(0);
    if age < settled {
        return waiting(format!("{name} up for {settled} s"), format!("{age} s"));
    }
    match restart.role {
        Role::Broker => broker(before, after),
        Role::RpcServer | Role::Agent => {
            let had = connections(before, name)?;
            let has = connections(after, name)?;
            if had > 0 && has == 0 {
                return waiting(format!("AMQP connections of {name} (had {had})"), "none");
            }
            None
        }
        Role::Api => None,
    }
}

/// Did the process start after `before` was read? Both times count from the host's boot, so neither a
/// step of its clock nor the clocks of other hosts matter.
fn is_new(main: &Process, before: &Facts, after: &Facts) -> bool {
    /// Starts are reckoned in ticks and looks in whole seconds.
    const ROUNDING: i64 = 1;
    if before.processes.get(&main.pid).is_some_and(|old| old.started_at == main.started_at) {
        return false;
    }
    let looked = before.read_at - before.booted_at;
    let rebooted = after.read_at - after.booted_at < looked;
    rebooted || main.started_at - after.booted_at + ROUNDING >= looked
}

fn broker(before: &Facts, after: &Facts) -> Option<Waiting> {
    let node = match &after.rabbitmq {
        Reading::Known(node) => node,
        Reading::Absent => return waiting("the RabbitMQ node", "no RabbitMQ"),
        Reading::Unknown(reason) => return waiting("the RabbitMQ node", reason.clone()),
    };
    if !node.running {
        return waiting("the RabbitMQ node running", "not running");
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
    waiting(format!("a listener on port {}", deaf.port), "none")
}

/// The main process of a unit or container.
fn main_process<'a>(facts: &'a Facts, name: &str) -> Option<&'a Process> {
    if let Some(unit) = facts.units.get(name)
        && unit.main_pid != 0
    {
        return facts.processes.get(&unit.main_pid);
    }
    members(facts, name).min_by_key(|process| (process.started_at, process.pid))
}

/// Every process of a unit or container.
fn members<'a>(facts: &'a Facts, name: &str) -> impl Iterator<Item = &'a Process> {
    facts.processes.values().filter(move |process| process.is_of(name))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Listener, Process, Rabbit, Socket, Unit};

    /// A host with one unit whose main process is `pid`, up for `age` seconds, with `sockets` AMQP sockets.
    fn host(unit: &str, pid: u32, age: i64, sockets: usize) -> Facts {
        let mut facts = Facts { read_at: 1000, ..Facts::default() };
        facts.units.insert(
            unit.to_owned(),
            Unit {
                active: "active".to_owned(),
                sub: "running".to_owned(),
                load: "loaded".to_owned(),
                enabled: "enabled".to_owned(),
                main_pid: pid,
                restarts: 0,
                drop_ins: Vec::new(),
            },
        );
        facts.processes.insert(
            pid,
            Process {
                pid,
                parent: 1,
                argv: vec![unit.to_owned()],
                environ: std::collections::BTreeMap::new(),
                cgroup: format!("/system.slice/{unit}"),
                started_at: 1000 - age,
                network_namespace: None,
                container: None,
                cwd: "/".to_owned(),
            },
        );
        let socket = Socket {
            local: "10.0.0.1".to_owned(),
            local_port: 40000,
            peer: "10.0.0.2".to_owned(),
            peer_port: 5672,
            pids: vec![pid],
            send_queue: 0,
            timer: None,
            fires_in_ms: None,
        };
        facts.sockets = Reading::Known(vec![socket; sockets]);
        facts
    }

    /// The same host 20 s before.
    fn earlier(mut facts: Facts) -> Facts {
        facts.read_at -= 20;
        facts
    }

    fn restart(name: &str, role: Role) -> Restart {
        let argv = vec!["systemctl".to_owned(), "restart".to_owned(), name.to_owned()];
        Restart { role, order: 0, service: name.to_owned(), name: name.to_owned(), argv }
    }

    #[test]
    fn a_service_is_back_by_evidence() {
        let name = "cinder-volume.service";
        let before = earlier(host(name, 10, 500, 2));
        let check = |role, after: &Facts, expected: Option<&str>| {
            let seen = awaited(&restart(name, role), &before, after, 3).map(|waiting| waiting.awaited);
            assert_eq!(seen.as_deref(), expected);
        };
        check(Role::RpcServer, &host(name, 20, 5, 2), None);
        check(Role::RpcServer, &host(name, 20, 5, 1), None);
        check(Role::RpcServer, &host(name, 10, 500, 2), Some("a new main process of cinder-volume.service"));
        check(Role::RpcServer, &host(name, 20, 1, 2), Some("cinder-volume.service up for 3 s"));
        check(
            Role::RpcServer,
            &host(name, 20, 5, 0),
            Some("AMQP connections of cinder-volume.service (had 2)"),
        );
        check(Role::Api, &host(name, 20, 5, 0), None);
        // It has just started, and its start was rounded up.
        let just = awaited(&restart(name, Role::Api), &before, &host(name, 20, -1, 0), 10).unwrap();
        assert_eq!((just.awaited.as_str(), just.seen.as_str()), ("cinder-volume.service up for 10 s", "0 s"));
        assert_eq!(awaited(&restart(name, Role::Api), &before, &host(name, 20, -1, 0), 0), None);
        // Another process, and an older one than the look before the restart.
        check(Role::Api, &host(name, 30, 400, 0), Some("a new main process of cinder-volume.service"));
        let mut failed = host(name, 0, 5, 0);
        failed.units.get_mut(name).unwrap().active = "failed".to_owned();
        check(Role::Api, &failed, Some("cinder-volume.service active"));
        let given_up = |active: &str| {
            let mut facts = failed.clone();
            facts.units.get_mut(name).unwrap().active = active.to_owned();
            awaited(&restart(name, Role::Api), &facts, &facts, 0).unwrap().hopeless
        };
        for (active, expected) in [("failed", true), ("activating", false), ("inactive", false)] {
            assert_eq!(given_up(active), expected, "{active}");
        }
        let mut gone = host(name, 20, 5, 0);
        gone.processes.clear();
        check(Role::Api, &gone, Some("a main process of cinder-volume.service"));
    }

    #[test]
    fn a_process_is_new_by_the_clock_of_its_host() {
        let name = "cinder-api.service";
        // The host's boot and the look, then the process: by the clock of then and of now.
        let check = |before: (i64, i64), after: (i64, i64, i64), expected: bool| {
            let mut old = host(name, 10, 500, 0);
            (old.booted_at, old.read_at) = before;
            let mut now = host(name, 20, 0, 0);
            (now.booted_at, now.read_at) = (after.0, after.1);
            now.processes.get_mut(&20).unwrap().started_at = after.2;
            assert_eq!(
                awaited(&restart(name, Role::Api), &old, &now, 0).is_none(),
                expected,
                "{before:?} {after:?}"
            );
        };
        check((0, 1000), (0, 1020, 1010), true);
        check((0, 1000), (0, 1020, 1000), true);
        check((0, 1000), (0, 1000, 1001), true);
        check((0, 1000), (0, 1020, 900), false);
        // The clock was set back by an hour meanwhile, and forward.
        check((0, 10_000), (-3600, 6420, 6410), true);
        check((0, 10_000), (-3600, 6420, 6300), false);
        check((0, 10_000), (3600, 13_620, 13_500), false);
        // The host was booted again.
        check((0, 10_000), (10_100, 10_150, 10_110), true);
    }

    #[test]
    fn a_broker_is_back_with_its_whole_cluster() {
        let name = "rabbitmq-server.service";
        let node = |running: bool, members: &[&str]| Rabbit {
            node: "rabbit@ctl1".to_owned(),
            running,
            version: None,
            members: vec!["rabbit@ctl1".to_owned(), "rabbit@ctl2".to_owned()],
            running_members: members.iter().map(|member| (*member).to_owned()).collect(),
            partitions: Vec::new(),
            alarms: Vec::new(),
            listeners: vec![Listener { protocol: "amqp".to_owned(), address: "::".to_owned(), port: 5672 }],
            connections: Reading::Known(Vec::new()),
            reply_queues: Reading::Known(Vec::new()),
            ..Rabbit::default()
        };
        let check = |change: &dyn Fn(&mut Rabbit), expected: Option<&str>| {
            let mut before = earlier(host(name, 10, 500, 0));
            before.rabbitmq = Reading::Known(node(true, &["rabbit@ctl1", "rabbit@ctl2"]));
            let mut now = node(true, &["rabbit@ctl1", "rabbit@ctl2"]);
            change(&mut now);
            let mut after = host(name, 20, 5, 0);
            after.rabbitmq = Reading::Known(now);
            let seen =
                awaited(&restart(name, Role::Broker), &before, &after, 3).map(|waiting| waiting.awaited);
            assert_eq!(seen.as_deref(), expected);
        };
        check(&|_| {}, None);
        check(&|node| node.running = false, Some("the RabbitMQ node running"));
        check(&|node| drop(node.running_members.pop()), Some("every cluster member that ran before"));
        check(&|node| node.partitions.push("rabbit@ctl2".to_owned()), Some("no partition"));
        check(&|node| node.alarms.push("memory on rabbit@ctl2".to_owned()), Some("no alarm"));
        check(&|node| node.listeners.clear(), Some("a listener on port 5672"));
    }
}
