use super::*;
use crate::facts::{AmqpConnection, FileFact, Process, Queue, Socket, Unit};

pub(in crate::plan::gate) const UNIT: &str = "cinder-volume.service";

/// Three hosts with a node each; cinder-volume runs on ctl1 as process `pid`, up for `age` seconds, with
/// these connections: the broker's host, the port and the heartbeat.
pub(in crate::plan::gate) fn cluster(pid: u32, age: i64, links: &[(&str, u16, u32)]) -> Cluster {
    let members: Vec<String> = (1..=3).map(|number| format!("rabbit@ctl{number}")).collect();
    let mut hosts: BTreeMap<String, Facts> = (1..=3)
        .map(|number| {
            let name = format!("ctl{number}");
            let mut facts =
                Facts { host: name.clone(), hostname: name.clone(), read_at: 1000, ..Facts::default() };
            facts.rabbitmq = Reading::Known(Rabbit {
                node: format!("rabbit@{name}"),
                running: true,
                members: members.clone(),
                running_members: members.clone(),
                connections: Reading::Known(Vec::new()),
                reply_queues: Reading::Known(Vec::new()),
                queues: Reading::Known(queues()),
                ..Rabbit::default()
            });
            let argv = ["/usr/lib/erlang/beam.smp", "-s", "rabbit", "boot"];
            program(&mut facts, 10, "rabbitmq-server.service", &argv, 0);
            for name in ["rabbitmq.conf", "rabbitmq.config", "advanced.config", "rabbitmq-env.conf"] {
                facts.files.insert(format!("/etc/rabbitmq/{name}"), Reading::Absent);
            }
            facts.folders.insert("/etc/rabbitmq/conf.d".to_owned(), Reading::Known(Vec::new()));
            (name, facts)
        })
        .collect();
    let client = hosts.get_mut("ctl1").unwrap();
    let argv = ["/usr/bin/python3", "/usr/bin/cinder-volume", "--config-file=/etc/cinder/cinder.conf"];
    program(client, pid, UNIT, &argv, 1000 - age);
    file(client, "/etc/cinder/cinder.conf", "[oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 15\n");
    let socket = |port: &u16, broker: &str| Socket {
        local: "10.0.0.1".to_owned(),
        local_port: *port,
        peer: broker.to_owned(),
        peer_port: 5672,
        pids: vec![pid],
        ..Socket::default()
    };
    client.sockets = Reading::Known(links.iter().map(|(broker, port, _)| socket(port, broker)).collect());
    for (broker, port, heartbeat) in links {
        let Reading::Known(node) = &mut hosts.get_mut(*broker).unwrap().rabbitmq else { unreachable!() };
        let Reading::Known(connections) = &mut node.connections else { unreachable!() };
        connections.push(AmqpConnection {
            peer_host: "10.0.0.1".to_owned(),
            peer_port: *port,
            port: 5672,
            heartbeat: *heartbeat,
            client_name: Some(format!("cinder-volume:{pid}:12f4")),
            ..AmqpConnection::default()
        });
    }
    hosts.into_iter().map(|(name, facts)| (name, Ok(facts))).collect()
}

fn queues() -> Vec<Queue> {
    let names =
        [("cinder-volume", 3), ("cinder-volume.ctl1@lvm", 2), ("cinder-volume.ctl2@lvm", 1), ("other", 1)];
    names.map(|(name, consumers)| Queue { name: name.to_owned(), consumers }).into()
}

fn program(facts: &mut Facts, pid: u32, unit: &str, argv: &[&str], started_at: i64) {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let cgroup = format!("/system.slice/{unit}");
    facts.processes.insert(pid, Process { pid, argv, cgroup, started_at, ..Process::default() });
    let unit_fact = Unit { main_pid: pid, active: "active".to_owned(), ..Unit::default() };
    facts.units.insert(unit.to_owned(), unit_fact);
}

pub(in crate::plan::gate) fn file(facts: &mut Facts, path: &str, text: &str) {
    let fact = FileFact { content: text.into(), ..FileFact::default() };
    facts.files.insert(path.to_owned(), Reading::Known(fact));
}

fn node<'a>(cluster: &'a mut Cluster, host: &str) -> &'a mut Rabbit {
    match &mut cluster.get_mut(host).unwrap().as_mut().unwrap().rabbitmq {
        Reading::Known(node) => node,
        other => panic!("{other:?}"),
    }
}

/// Every node lists so many consumers of the queue; `None`: it does not know the queue.
pub(in crate::plan::gate) fn listing(cluster: &mut Cluster, queue: &str, consumers: Option<u32>) {
    for host in ["ctl1", "ctl2", "ctl3"] {
        let Reading::Known(queues) = &mut node(cluster, host).queues else { unreachable!() };
        queues.retain(|it| it.name != queue);
        queues.extend(consumers.map(|consumers| Queue { name: queue.to_owned(), consumers }));
    }
}

fn reply(cluster: &mut Cluster, host: &str, consumers: u32) {
    let queue = ReplyQueue { name: "reply_4f".to_owned(), consumers, unacknowledged: 1 };
    node(cluster, host).reply_queues = Reading::Known(vec![queue]);
}

fn check_restart(role: Role, before: &Cluster, after: &Cluster, settled: i64, expected: Option<&str>) {
    let (service, name) = match role {
        Role::Broker => ("rabbitmq-server", "rabbitmq-server.service"),
        _ => ("cinder-volume", UNIT),
    };
    let argv = vec!["systemctl".to_owned(), "restart".to_owned(), name.to_owned()];
    let restart = Restart { role, order: 0, service: service.to_owned(), name: name.to_owned(), argv };
    let restarted = Restarted { host: "ctl1", restart: &restart, before, after };
    let found = awaited(&restarted, settled);
    assert!(found.as_ref().is_none_or(|it| !it.hopeless), "{found:?}");
    let text = found.map(|it| format!("{}: {}", it.awaited, it.seen));
    assert_eq!(text.as_deref(), expected);
}

#[test]
fn connections_are_back_where_the_brokers_have_them() {
    let before = cluster(20, 500, &[("ctl1", 1, 60), ("ctl2", 2, 60), ("ctl3", 3, 60)]);
    let check = |age, links: &[(&str, u16, u32)], settled, expected: Option<&str>| {
        check_restart(Role::RpcServer, &before, &cluster(21, age, links), settled, expected);
    };
    let all = [("ctl1", 4, 15), ("ctl2", 5, 15), ("ctl2", 6, 15)];
    check(5, &all, 3, None);
    check(5, &all[..1], 0, None);
    let seen = "3 AMQP connections of cinder-volume: 0 in the brokers' own lists";
    check(5, &[], 0, Some(seen));
    check(500, &[], 3, Some(seen));
    // Fewer than before count only for a while: a pool grows when it is needed.
    check(5, &all[..1], 3, Some("3 AMQP connections of cinder-volume: 1 in the brokers' own lists"));
    check(POOL_GROWS_FOR, &all[..1], 3, None);
    // It may be connected to a node that nobody asked, or that does not tell.
    let mut some = cluster(21, 5, &[]);
    some.remove("ctl3");
    check_restart(Role::RpcServer, &before, &some, 3, None);
    let mut some = cluster(21, 5, &[]);
    node(&mut some, "ctl3").connections = Reading::Unknown("no answer in time".to_owned());
    check_restart(Role::RpcServer, &before, &some, 3, None);
    // A service that had none.
    let idle = cluster(20, 500, &[]);
    check_restart(Role::RpcServer, &idle, &cluster(21, 5, &[]), 3, None);
    check_restart(Role::Agent, &before, &cluster(21, 5, &[]), 0, Some(seen));
    check_restart(Role::Api, &before, &cluster(21, 5, &[]), 3, None);
}

#[test]
fn every_connection_has_the_heartbeat_that_the_settings_give() {
    let before = cluster(20, 500, &[("ctl1", 1, 60)]);
    let check = |role, links: &[(&str, u16, u32)], change: &dyn Fn(&mut Cluster), expected: Option<&str>| {
        let mut after = cluster(21, 50, links);
        change(&mut after);
        check_restart(role, &before, &after, 3, expected);
    };
    let seen = "a heartbeat of 15 s on each AMQP connection of cinder-volume: 60 s at the broker on ctl2";
    for role in [Role::RpcServer, Role::Agent, Role::Api] {
        check(role, &[("ctl1", 2, 15), ("ctl2", 3, 15)], &|_| {}, None);
        check(role, &[("ctl1", 2, 15), ("ctl2", 3, 60)], &|_| {}, Some(seen));
    }
    let broker = |text: &'static str, changed_at: i64| {
        move |cluster: &mut Cluster| {
            let facts = cluster.get_mut("ctl2").unwrap().as_mut().unwrap();
            let fact = FileFact { content: text.into(), modified_at: changed_at, ..FileFact::default() };
            facts.files.insert("/etc/rabbitmq/rabbitmq.conf".to_owned(), Reading::Known(fact));
        }
    };
    // The smaller one counts.
    check(Role::RpcServer, &[("ctl2", 3, 10)], &broker("heartbeat = 10\n", 0), None);
    let seen = "a heartbeat of 10 s on each AMQP connection of cinder-volume: 15 s at the broker on ctl2";
    check(Role::RpcServer, &[("ctl2", 3, 15)], &broker("heartbeat = 10\n", 0), Some(seen));
    // The node has not read its file yet, so what it offers is not known.
    check(Role::RpcServer, &[("ctl2", 3, 15)], &broker("heartbeat = 10\n", 500), None);
    let other = |text: &'static str| {
        move |cluster: &mut Cluster| {
            file(cluster.get_mut("ctl1").unwrap().as_mut().unwrap(), "/etc/cinder/cinder.conf", text);
        }
    };
    let off = other("[oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 0\n");
    check(Role::RpcServer, &[("ctl2", 3, 0)], &off, None);
    let seen = "a heartbeat of 0 s on each AMQP connection of cinder-volume: 15 s at the broker on ctl2";
    check(Role::RpcServer, &[("ctl2", 3, 15)], &off, Some(seen));
}

#[test]
fn consumers_are_back_on_the_queues_of_the_service() {
    let links = [("ctl1", 1, 15)];
    let check = |change: &dyn Fn(&mut Cluster, &mut Cluster), expected: Option<&str>| {
        let (mut before, mut after) = (cluster(20, 500, &links), cluster(21, 50, &links));
        change(&mut before, &mut after);
        check_restart(Role::RpcServer, &before, &after, 3, expected);
    };
    check(&|_, _| {}, None);
    check(
        &|_, after| listing(after, "cinder-volume.ctl1@lvm", Some(1)),
        Some("2 consumers on cinder-volume.ctl1@lvm: 1"),
    );
    check(
        &|_, after| listing(after, "cinder-volume.ctl1@lvm", None),
        Some("2 consumers on cinder-volume.ctl1@lvm: 0"),
    );
    // Other hosts', and queues of nobody we know, are not this restart's.
    check(&|_, after| listing(after, "cinder-volume.ctl2@lvm", Some(0)), None);
    check(&|_, after| listing(after, "other", Some(0)), None);
    check(&|_, after| listing(after, "cinder-volume", Some(1)), None);
    check(&|_, after| listing(after, "cinder-volume", Some(0)), Some("a consumer on cinder-volume: 0"));
    // A queue that had none, and one that is new.
    check(
        &|before, after| {
            listing(before, "cinder-volume.ctl1@lvm", Some(0));
            listing(after, "cinder-volume.ctl1@lvm", Some(0));
        },
        None,
    );
    check(&|before, _| listing(before, "cinder-volume.ctl1@lvm", None), None);
    // Without a queue of its own, all that consumed from the shared one count.
    check(
        &|before, after| {
            listing(before, "cinder-volume.ctl1@lvm", None);
            listing(after, "cinder-volume", Some(2));
        },
        Some("3 consumers on cinder-volume: 2"),
    );
    // Under the name that its configuration gives it.
    check(
        &|before, after| {
            listing(before, "cinder-volume.pool-a@lvm", Some(1));
            listing(after, "cinder-volume.pool-a@lvm", Some(0));
            let facts = after.get_mut("ctl1").unwrap().as_mut().unwrap();
            file(
                facts,
                "/etc/cinder/cinder.conf",
                "[DEFAULT]\nhost = pool-a\n\
                [oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 15\n",
            );
        },
        Some("a consumer on cinder-volume.pool-a@lvm: 0"),
    );
    // The brokers do not tell.
    check(
        &|_, after| {
            for host in ["ctl1", "ctl2", "ctl3"] {
                node(after, host).queues = Reading::Unknown("no answer in time".to_owned());
            }
        },
        Some("the queues of a broker: no answer in time"),
    );
    check(
        &|before, _| {
            for host in ["ctl1", "ctl2", "ctl3"] {
                node(before, host).queues = Reading::Absent;
            }
        },
        None,
    );
}

#[test]
fn a_server_belongs_to_the_host_it_is_named_after() {
    let check = |server: &str, expected| assert_eq!(is_on(server, "ctl1"), expected, "{server}");
    for server in ["ctl1", "ctl1@lvm", "ctl1.example.org", "ctl1:0"] {
        check(server, true);
    }
    for server in ["ctl10", "ctl1a", "xctl1", "", "ctl2@ctl1"] {
        check(server, false);
    }
}

#[test]
fn a_restart_leaves_one_consumer_on_each_reply_queue() {
    let links = [("ctl1", 1, 15)];
    for role in [Role::Broker, Role::RpcServer, Role::Agent, Role::Api] {
        let check = |change: &dyn Fn(&mut Cluster, &mut Cluster), expected: Option<&str>| {
            let (mut before, mut after) = (cluster(20, 500, &links), cluster(21, 50, &links));
            change(&mut before, &mut after);
            check_restart(role, &before, &after, 3, expected);
        };
        check(&|_, after| reply(after, "ctl2", 1), None);
        check(&|_, after| reply(after, "ctl2", 0), None);
        check(&|_, after| reply(after, "ctl2", 2), Some("one consumer a reply queue: 2 on reply_4f"));
        // It had two before.
        check(
            &|before, after| {
                reply(before, "ctl1", 2);
                reply(after, "ctl2", 2);
            },
            None,
        );
    }
}

#[test]
fn a_broker_is_back_when_every_node_sees_it_and_every_service_consumes() {
    let links = [("ctl1", 1, 15)];
    let check = |change: &dyn Fn(&mut Cluster), expected: Option<&str>| {
        let (before, mut after) = (cluster(20, 500, &links), cluster(20, 550, &links));
        change(&mut after);
        check_restart(Role::Broker, &before, &after, 3, expected);
    };
    check(&|_| {}, None);
    check(
        &|after| drop(node(after, "ctl2").running_members.remove(0)),
        Some("a whole cluster, as every node sees it: rabbit@ctl2 sees rabbit@ctl1 down"),
    );
    check(
        &|after| node(after, "ctl3").partitions.push("rabbit@ctl1".to_owned()),
        Some("a whole cluster, as every node sees it: rabbit@ctl3 is partitioned from rabbit@ctl1"),
    );
    check(
        &|after| node(after, "ctl3").alarms.push("disk on rabbit@ctl3".to_owned()),
        Some("a whole cluster, as every node sees it: an alarm is in force: disk on rabbit@ctl3"),
    );
    check(
        &|after| listing(after, "cinder-volume.ctl2@lvm", Some(0)),
        Some("a consumer on every queue of a service: none on cinder-volume.ctl2@lvm"),
    );
    check(&|after| listing(after, "cinder-volume.ctl2@lvm", None), None);
    check(&|after| listing(after, "other", Some(0)), None);
    check(&|after| listing(after, "cinder-volume", Some(1)), None);
}
