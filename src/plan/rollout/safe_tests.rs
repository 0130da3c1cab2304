use std::collections::BTreeMap;

use super::*;
use crate::error::HostError;
use crate::facts::{AmqpConnection, FileFact, Process, Socket, Unit};

const NODES: [&str; 3] = ["rabbit@ctl1", "rabbit@ctl2", "rabbit@ctl3"];

/// `count` hosts, each with a node of one cluster and a cinder-volume.
fn cluster(count: usize) -> Cluster {
    let members: Vec<String> = NODES[..count].iter().map(|node| (*node).to_owned()).collect();
    let host = |number: usize| {
        let name = format!("ctl{number}");
        let mut facts = Facts { host: name.clone(), hostname: name.clone(), ..Facts::default() };
        facts.rabbitmq = Reading::Known(Rabbit {
            node: format!("rabbit@{name}"),
            running: true,
            version: Some("3.10.8".to_owned()),
            members: members.clone(),
            running_members: members.clone(),
            quorum: Reading::Known(Quorum { status: 0, message: "no quorum queues".to_owned() }),
            ..Rabbit::default()
        });
        for (pid, unit, argv) in [
            (10, "rabbitmq-server.service", vec!["/usr/lib/erlang/beam.smp", "-s", "rabbit", "boot"]),
            (20, "cinder-volume.service", vec!["/usr/bin/python3", "/usr/bin/cinder-volume"]),
        ] {
            let process = Process {
                pid,
                argv: argv.into_iter().map(str::to_owned).collect(),
                cgroup: format!("/system.slice/{unit}"),
                ..Process::default()
            };
            facts.processes.insert(pid, process);
            let unit_fact = Unit {
                active: "active".to_owned(),
                load: "loaded".to_owned(),
                enabled: "enabled".to_owned(),
                main_pid: pid,
                ..Unit::default()
            };
            facts.units.insert(unit.to_owned(), unit_fact);
        }
        for name in ["rabbitmq.conf", "rabbitmq.config", "advanced.config", "rabbitmq-env.conf"] {
            facts.files.insert(format!("/etc/rabbitmq/{name}"), Reading::Absent);
        }
        facts.folders.insert("/etc/rabbitmq/conf.d".to_owned(), Reading::Known(Vec::new()));
        (name, Ok(facts))
    };
    (1..=count).map(host).collect()
}

fn facts<'a>(cluster: &'a mut Cluster, host: &str) -> &'a mut Facts {
    cluster.get_mut(host).unwrap().as_mut().unwrap()
}

fn node<'a>(cluster: &'a mut Cluster, host: &str) -> &'a mut Rabbit {
    match &mut facts(cluster, host).rabbitmq {
        Reading::Known(node) => node,
        other => panic!("{other:?}"),
    }
}

fn restart(service: &str, role: Role) -> Restart {
    let name = format!("{service}.service");
    let argv = vec!["systemctl".to_owned(), "restart".to_owned(), name.clone()];
    Restart { role, order: 0, service: service.to_owned(), name, argv }
}

/// The restart of a service on ctl1 of so many hosts after this change: how each obstacle begins, with
/// `!` in front of one that does not pass by itself, and `*` in front of one that may be allowed.
fn check_restart(service: &str, role: Role, hosts: usize, change: &dyn Fn(&mut Cluster), expected: &[&str]) {
    let before = cluster(hosts);
    let instances = super::super::instances(&before);
    let mut cluster = before;
    change(&mut cluster);
    let restart = restart(service, role);
    let look = Look {
        host: "ctl1",
        restart: &restart,
        instances: &instances,
        cluster: &cluster,
        allow: Allow::default(),
    };
    let found = obstacles(&look);
    let marked: Vec<String> = found
        .iter()
        .map(|it| {
            let marks = (if it.passes { "" } else { "!" }, if it.may_be_allowed { "*" } else { "" });
            format!("{}{}{}", marks.0, marks.1, it.seen)
        })
        .collect();
    let as_expected = marked.len() == expected.len()
        && marked.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
    assert!(as_expected, "{service}: {marked:#?} is not {expected:#?}");
    // An obstacle says what a person can do, and names the flag where there is one.
    for obstacle in &found {
        assert!(!obstacle.mend.is_empty(), "{obstacle}");
        assert_eq!(obstacle.may_be_allowed, obstacle.mend.contains(FLAG), "{obstacle}");
    }
    let allowed = obstacles(&Look { allow: Allow { quorum_loss: true }, ..look });
    assert_eq!(allowed.len(), found.iter().filter(|it| !it.may_be_allowed).count());
}

#[test]
fn a_node_stops_only_where_its_cluster_can_do_without_it() {
    let check = |hosts, change: &dyn Fn(&mut Cluster), expected: &[&str]| {
        check_restart("rabbitmq-server", Role::Broker, hosts, change, expected);
    };
    check(3, &|_| {}, &[]);
    check(1, &|_| {}, &[]);
    check(2, &|_| {}, &[]);
    // Partitions, whoever sees them.
    check(
        3,
        &|cluster| node(cluster, "ctl1").partitions.push("rabbit@ctl3".to_owned()),
        &["rabbit@ctl1 is partitioned from rabbit@ctl3"],
    );
    check(
        3,
        &|cluster| node(cluster, "ctl2").partitions.push("rabbit@ctl3".to_owned()),
        &["rabbit@ctl2 is partitioned from rabbit@ctl3"],
    );
    check(
        3,
        &|cluster| node(cluster, "ctl1").other_partitions.push("rabbit@ctl2 from rabbit@ctl3".to_owned()),
        &["rabbit@ctl1 sees rabbit@ctl2 from rabbit@ctl3 partitioned"],
    );
    // Alarms.
    check(
        3,
        &|cluster| node(cluster, "ctl3").alarms.push("memory on rabbit@ctl3".to_owned()),
        &["an alarm is in force: memory on rabbit@ctl3"],
    );
    // Members.
    check(
        3,
        &|cluster| drop(node(cluster, "ctl1").running_members.pop()),
        &["rabbit@ctl1 sees rabbit@ctl3 down"],
    );
    check(
        3,
        &|cluster| drop(node(cluster, "ctl2").running_members.remove(0)),
        &["rabbit@ctl2 sees rabbit@ctl1 down"],
    );
    // A node that says nothing.
    check(
        3,
        &|cluster| facts(cluster, "ctl1").rabbitmq = Reading::Unknown("no answer in time".to_owned()),
        &["the node on ctl1 does not say how its cluster is: no answer in time"],
    );
    check(
        3,
        &|cluster| facts(cluster, "ctl2").rabbitmq = Reading::Unknown("no answer in time".to_owned()),
        &["the node on ctl2 cannot be asked about the cluster: no answer in time"],
    );
    check(
        3,
        &|cluster| {
            cluster.insert("ctl3".to_owned(), Err(HostError::Malformed { message: "gone".to_owned() }));
        },
        &["the node on ctl3 cannot be asked about the cluster: "],
    );
    // A node that is down takes nothing away.
    check(3, &|cluster| node(cluster, "ctl1").running = false, &[]);
    // Another cluster of the site.
    check(
        3,
        &|cluster| {
            let other = node(cluster, "ctl3");
            other.members = vec!["cell@ctl3".to_owned(), "cell@ctl4".to_owned()];
            other.alarms.push("disk on cell@ctl4".to_owned());
        },
        &[],
    );
    // Several things at once are all said.
    check(
        3,
        &|cluster| {
            node(cluster, "ctl2").alarms.push("disk on rabbit@ctl2".to_owned());
            node(cluster, "ctl3").running_members.remove(0);
        },
        &["an alarm is in force: disk on rabbit@ctl2", "rabbit@ctl3 sees rabbit@ctl1 down"],
    );
}

#[test]
fn quorum_queues_keep_their_majority() {
    let check = |hosts, status: i32, message: &str, expected: &[&str]| {
        let quorum = Quorum { status, message: message.to_owned() };
        let change = |cluster: &mut Cluster| node(cluster, "ctl1").quorum = Reading::Known(quorum.clone());
        check_restart("rabbitmq-server", Role::Broker, hosts, &change, expected);
    };
    let failed = "queue 'q1' in vhost '/' would lose quorum if node rabbit@ctl1 is stopped\n";
    check(3, 0, "Node rabbit@ctl1 reported no quorum queues with minimum quorum", &[]);
    for code in [69, 70, 1] {
        let seen = format!(
            "*check_if_node_is_quorum_critical failed with exit code {code}: queue 'q1' in vhost '/' would"
        );
        check(3, code, failed, &[&seen]);
    }
    check(2, 69, failed, &["!*check_if_node_is_quorum_critical failed with exit code 69"]);
    let many = failed.repeat(5);
    let line = failed.trim_end();
    let seen = format!(
        "*check_if_node_is_quorum_critical failed with exit code 69: {line}, {line}, {line} (and 2 more)"
    );
    check(3, 69, &many, &[&seen]);
    // A release that has quorum queues and not the check under this name.
    check(
        3,
        64,
        "Command not found",
        &["*whether quorum queues need rabbit@ctl1 is not known: Command not found"],
    );
    check(3, 127, "not found", &["*whether quorum queues need rabbit@ctl1 is not known: not found"]);
    let with = |hosts, change: &dyn Fn(&mut Rabbit), expected: &[&str]| {
        check_restart("rabbitmq-server", Role::Broker, hosts, &|all| change(node(all, "ctl1")), expected);
    };
    // One that has none.
    let old = |node: &mut Rabbit| {
        node.version = Some("3.7.28".to_owned());
        node.quorum = Reading::Known(Quorum { status: 64, message: "Command not found".to_owned() });
    };
    with(3, &old, &[]);
    with(
        3,
        &|node| node.quorum = Reading::Unknown("no answer in time".to_owned()),
        &["*whether quorum queues need rabbit@ctl1 is not known: no answer in time"],
    );
    // When a plan is made nobody asks.
    with(3, &|node| node.quorum = Reading::Absent, &[]);
    with(2, &|node| node.quorum = Reading::Absent, &[]);
    // The check passes on a node in maintenance mode, whatever depends on it.
    with(
        3,
        &|node| node.maintenance.push("rabbit@ctl1".to_owned()),
        &["!*rabbit@ctl1 is in maintenance mode, so its quorum check says nothing"],
    );
    with(
        3,
        &|node| node.maintenance.push("rabbit@ctl2".to_owned()),
        &["!rabbit@ctl2 is in maintenance mode and takes no clients"],
    );
}

#[test]
fn two_nodes_that_pause_are_no_rolling_restart() {
    let check = |hosts, handling: &str, version: &str, expected: &[&str]| {
        let change = |cluster: &mut Cluster| {
            let content = format!("cluster_partition_handling = {handling}\n");
            let file = FileFact { content: content.into(), ..FileFact::default() };
            facts(cluster, "ctl1")
                .files
                .insert("/etc/rabbitmq/rabbitmq.conf".to_owned(), Reading::Known(file));
            node(cluster, "ctl1").version = Some(version.to_owned());
        };
        check_restart("rabbitmq-server", Role::Broker, hosts, &change, expected);
    };
    let seen =
        "!*the cluster has two nodes and pause_minority (/etc/rabbitmq/rabbitmq.conf:1): the other one";
    check(2, "pause_minority", "3.10.8", &[seen]);
    check(2, "pause_minority", "4.2.1", &[seen]);
    check(2, "pause_minority", "4.3.0", &[]);
    check(2, "autoheal", "3.10.8", &[]);
    check(3, "pause_minority", "3.10.8", &[]);
    check(1, "pause_minority", "3.10.8", &[]);
}

#[test]
fn the_last_instance_of_a_service_stays() {
    let stop = |cluster: &mut Cluster, host: &str| {
        let facts = facts(cluster, host);
        facts.processes.remove(&20);
        facts.units.get_mut("cinder-volume.service").unwrap().main_pid = 0;
    };
    let seen = "no other cinder-volume runs now, and ctl2, ctl3 ran it when the plan was made";
    let check = |role, hosts, change: &dyn Fn(&mut Cluster), expected: &[&str]| {
        check_restart("cinder-volume", role, hosts, change, expected);
    };
    check(Role::RpcServer, 3, &|_| {}, &[]);
    check(Role::RpcServer, 3, &|cluster| stop(cluster, "ctl2"), &[]);
    let both = |cluster: &mut Cluster| {
        stop(cluster, "ctl2");
        stop(cluster, "ctl3");
    };
    check(Role::RpcServer, 3, &both, &[seen]);
    check(Role::Api, 3, &both, &[seen]);
    // An agent serves its own host.
    check(Role::Agent, 3, &both, &[]);
    // Its unit fails, and a process of it is still there.
    let failing = |cluster: &mut Cluster| {
        stop(cluster, "ctl2");
        facts(cluster, "ctl3").units.get_mut("cinder-volume.service").unwrap().active =
            "deactivating".to_owned();
    };
    check(Role::RpcServer, 3, &failing, &[seen]);
    let unreachable = |cluster: &mut Cluster| {
        stop(cluster, "ctl3");
        cluster.insert("ctl2".to_owned(), Err(HostError::Malformed { message: "gone".to_owned() }));
    };
    check(Role::RpcServer, 3, &unreachable, &[seen]);
    // It does not run itself, or there never was another one.
    let all = |cluster: &mut Cluster| {
        both(cluster);
        stop(cluster, "ctl1");
    };
    check(Role::RpcServer, 3, &all, &[]);
    check(Role::RpcServer, 1, &|_| {}, &[]);
}

#[test]
fn a_service_starts_on_a_cluster_that_can_serve_it() {
    let partition = |cluster: &mut Cluster| node(cluster, "ctl2").partitions.push("rabbit@ctl3".to_owned());
    let alarm = |cluster: &mut Cluster| node(cluster, "ctl2").alarms.push("disk on rabbit@ctl2".to_owned());
    let down = |cluster: &mut Cluster| drop(node(cluster, "ctl1").running_members.pop());
    for role in [Role::RpcServer, Role::Agent, Role::Api] {
        let check = |change: &dyn Fn(&mut Cluster), expected: &[&str]| {
            check_restart("cinder-volume", role, 3, change, expected);
        };
        check(&partition, &["rabbit@ctl2 is partitioned from rabbit@ctl3"]);
        check(&alarm, &["an alarm is in force: disk on rabbit@ctl2"]);
        // Two nodes of three serve it.
        check(&down, &[]);
    }
    // It is connected to the brokers of another cluster only.
    let elsewhere = |cluster: &mut Cluster| {
        let other = node(cluster, "ctl3");
        other.members = vec!["cell@ctl3".to_owned()];
        other.alarms.push("disk on cell@ctl3".to_owned());
        let link =
            AmqpConnection { peer_host: "10.0.0.1".into(), peer_port: 9, port: 5672, ..Default::default() };
        node(cluster, "ctl2").connections = Reading::Known(vec![link]);
        let (local, peer) = ("10.0.0.1".to_owned(), "10.0.0.2".to_owned());
        let socket =
            Socket { local, local_port: 9, peer, peer_port: 5672, pids: vec![20], ..Socket::default() };
        facts(cluster, "ctl1").sockets = Reading::Known(vec![socket]);
    };
    check_restart("cinder-volume", Role::RpcServer, 3, &elsewhere, &[]);
}

#[test]
fn what_pacemaker_has_taken_over_is_not_restarted() {
    let path = "/run/systemd/system/cinder-volume.service.d/50-pacemaker.conf";
    let taken = |cluster: &mut Cluster| {
        let unit = facts(cluster, "ctl1").units.get_mut("cinder-volume.service").unwrap();
        unit.drop_ins.push(path.to_owned());
    };
    let seen = "!cinder-volume.service is not ours to restart";
    check_restart("cinder-volume", Role::RpcServer, 3, &taken, &[seen]);
    check_restart("rabbitmq-server", Role::Broker, 3, &taken, &[]);
}

#[test]
fn only_a_node_is_asked_about_quorum() {
    let mut asked = BTreeMap::new();
    for role in [Role::Broker, Role::RpcServer, Role::Agent, Role::Api] {
        asked.insert(role, questions(&restart("any", role)).len());
    }
    let expected = [(Role::Broker, 1), (Role::RpcServer, 0), (Role::Agent, 0), (Role::Api, 0)];
    assert_eq!(asked, expected.into());
}
