//! What `rabbitmqctl` said.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::sockets::plain_address;
use crate::facts::{AmqpConnection, Listener, Queue, Rabbit, Reading, ReplyQueue};

/// The cluster as `cluster_status --formatter json` tells it (RabbitMQ cluster_status_command.ex, 3.7 to
/// 4.x). Warnings of the Erlang machine may stand in front.
pub(super) fn cluster(text: &str, node: &str) -> Result<Rabbit, String> {
    let start = text.find('{').ok_or_else(|| last_words(text))?;
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    let Some(Ok(Value::Object(status))) = values.next() else { return Err(last_words(text)) };
    let names = |key: &str| -> Vec<String> { status.get(key).map(names_in).unwrap_or_default() };
    let mut members = names("disk_nodes");
    members.extend(names("ram_nodes"));
    let mut running_members = names("running_nodes");
    members
        .extend(running_members.iter().filter(|name| !members.contains(name)).cloned().collect::<Vec<_>>());
    members.sort();
    members.dedup();
    running_members.sort();
    running_members.dedup();
    let node = own_node(node, &members);
    Ok(Rabbit {
        running: running_members.contains(&node),
        version: status
            .get("versions")
            .and_then(|versions| versions.get(&node)?.get("rabbitmq_version")?.as_str())
            .map(str::to_owned),
        members,
        running_members,
        partitions: status
            .get("partitions")
            .map(|partitions| partitioned(partitions, &node))
            .unwrap_or_default(),
        other_partitions: status
            .get("partitions")
            .map(|partitions| partitioned_elsewhere(partitions, &node))
            .unwrap_or_default(),
        maintenance: status.get("maintenance_status").map(under_maintenance).unwrap_or_default(),
        alarms: status.get("alarms").and_then(Value::as_array).into_iter().flatten().map(alarm).collect(),
        listeners: status
            .get("listeners")
            .and_then(|listeners| listeners.get(&node)?.as_array())
            .into_iter()
            .flatten()
            .filter_map(listener)
            .collect(),
        node,
        connections: Reading::Absent,
        reply_queues: Reading::Absent,
        queues: Reading::Absent,
        quorum: Reading::Absent,
    })
}

/// A command's last line, for a reason; of RabbitMQ's tools the one that names the error, which pages of
/// advice follow.
pub(super) fn last_words(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().find(|line| line.starts_with("Error:"));
    let line = error.or_else(|| lines().next_back()).unwrap_or("no answer");
    line.chars().take(200).collect()
}

fn names_in(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// `guess` is exact, or right up to a domain (`rabbit@ctl1` for `rabbit@ctl1.example.org`).
fn own_node(guess: &str, members: &[String]) -> String {
    if members.iter().any(|member| member == guess) {
        return guess.to_owned();
    }
    let short =
        |name: &str| name.split_once('@').map(|(_, host)| host.split('.').next().unwrap_or(host).to_owned());
    let alike: Vec<&String> = members.iter().filter(|member| short(member) == short(guess)).collect();
    match (alike.as_slice(), members) {
        ([one], _) => (*one).clone(),
        ([], [one]) => one.clone(),
        _ => guess.to_owned(),
    }
}

/// Nodes that `node` is partitioned from: `{"a": ["b"]}`; from the other side's view it counts as well.
fn partitioned(partitions: &Value, node: &str) -> Vec<String> {
    let mut from: Vec<String> = Vec::new();
    for (side, others) in partitions.as_object().into_iter().flatten() {
        let others = names_in(others);
        if side == node {
            from.extend(others);
        } else if others.iter().any(|other| other == node) {
            from.push(side.clone());
        }
    }
    from.sort();
    from.dedup();
    from
}

/// Partitions that `node` has no part in.
fn partitioned_elsewhere(partitions: &Value, node: &str) -> Vec<String> {
    let sides = partitions.as_object().into_iter().flatten().filter(|(side, _)| *side != node);
    sides
        .filter_map(|(side, others)| {
            let others: Vec<String> = names_in(others).into_iter().filter(|other| other != node).collect();
            (!others.is_empty()).then(|| format!("{side} from {}", others.join(", ")))
        })
        .collect()
}

/// `{"rabbit@ctl1": "not under maintenance", "rabbit@ctl2": "marked for maintenance"}`, since 3.8.8, or
/// `unknown`; 3.10 wraps the second in codes for colours.
fn under_maintenance(status: &Value) -> Vec<String> {
    let nodes = status.as_object().into_iter().flatten();
    let is_drained = |word: &Value| {
        word.as_str().is_some_and(|it| it.contains("maintenance") && !it.contains("not under"))
    };
    nodes.filter(|(_, word)| is_drained(word)).map(|(node, _)| node.clone()).collect()
}

/// `{"node": …, "resource": "memory", "type": "resource_limit"}` (RabbitMQ cli/core/alarms.ex).
fn alarm(alarm: &Value) -> String {
    let word = |key: &str| alarm.get(key).and_then(Value::as_str);
    match (word("resource").or_else(|| word("type")), word("node")) {
        (Some(what), Some(node)) => format!("{what} on {node}"),
        (Some(what), None) => what.to_owned(),
        _ => alarm.as_str().map_or_else(|| alarm.to_string(), str::to_owned),
    }
}

fn listener(listener: &Value) -> Option<Listener> {
    let protocol = listener.get("protocol")?.as_str()?;
    if !matches!(protocol, "amqp" | "amqp/ssl") {
        return None;
    }
    Some(Listener {
        protocol: protocol.to_owned(),
        address: plain_address(listener.get("interface")?.as_str()?),
        port: u16::try_from(listener.get("port")?.as_u64()?).ok()?,
    })
}

static CLIENT_NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\{(?:<<)?"connection_name"(?:>>)?,(?:longstr,)?(?:<<)?"((?:[^"\\]|\\.)*)""#)
        .expect("the expression is fixed")
});

/// The connections of `node`, from the table of `list_connections` with the script's columns: `pid port
/// peer_host peer_port state timeout connected_at user vhost client_properties`. The table spans the
/// cluster; a process id such as `<rabbit@ctl1.1795343640.1524.0>` names the node.
pub(super) fn connections(text: &str, node: &str) -> Vec<AmqpConnection> {
    text.lines().filter_map(|line| connection(line, node)).collect()
}

fn connection(line: &str, node: &str) -> Option<AmqpConnection> {
    let columns: Vec<&str> = line.splitn(10, '\t').collect();
    let [pid, port, peer_host, peer_port, status, timeout, connected_at, user, _vhost, properties] =
        columns.as_slice()
    else {
        return None;
    };
    pid.strip_prefix('<')?.strip_prefix(node)?.strip_prefix('.')?;
    Some(AmqpConnection {
        peer_host: plain_address(peer_host),
        peer_port: peer_port.parse().ok()?,
        port: port.parse().ok()?,
        heartbeat: timeout.parse().ok()?,
        status: (*status).to_owned(),
        connected_at: connected_at.parse::<i64>().unwrap_or_default() / 1000,
        client_name: CLIENT_NAME.captures(properties).map(|found| found[1].to_owned()),
        user: (*user).to_owned(),
    })
}

/// Virtual hosts that connections of the table use.
pub(super) fn virtual_hosts(text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('<'))
        .filter_map(|line| line.split('\t').nth(8).map(str::to_owned))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The reply queues of the table of `list_queues name consumers messages_unacknowledged`.
pub(super) fn reply_queues(text: &str) -> Vec<ReplyQueue> {
    let mut found: Vec<ReplyQueue> = text.lines().filter_map(reply_queue).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn reply_queue(line: &str) -> Option<ReplyQueue> {
    let mut columns = line.split('\t');
    let name = columns.next().filter(|name| name.starts_with("reply_"))?;
    // A queue whose node is down has empty columns.
    let mut number = || columns.next().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
    Some(ReplyQueue { name: name.to_owned(), consumers: number(), unacknowledged: number() })
}

/// The other queues of the table: those of services, whose names stay.
pub(super) fn queues(text: &str) -> Vec<Queue> {
    let mut found: Vec<Queue> = text.lines().filter_map(queue).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn queue(line: &str) -> Option<Queue> {
    let (name, numbers) = line.split_once('\t')?;
    let consumers = numbers.split('\t').next().unwrap_or_default().trim();
    let heading = name == "name" && consumers == "consumers";
    if heading || name.starts_with("reply_") || name.contains("_fanout_") {
        return None;
    }
    Some(Queue { name: name.to_owned(), consumers: consumers.parse().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = r#"{"alarms":[{"node":"rabbit@ctl2","resource":"memory","type":"resource_limit"}],
        "disk_nodes":["rabbit@ctl2","rabbit@ctl1"],"ram_nodes":["rabbit@ctl3"],"running_nodes":["rabbit@ctl1","rabbit@ctl2"],
        "listeners":{"rabbit@ctl1":[
            {"interface":"[::]","node":"rabbit@ctl1","port":25672,"protocol":"clustering","purpose":"inter-node"},
            {"interface":"10.0.0.1","node":"rabbit@ctl1","port":5671,"protocol":"amqp/ssl","purpose":"AMQP"}],
          "rabbit@ctl2":[{"interface":"[::]","node":"rabbit@ctl2","port":5672,"protocol":"amqp","purpose":"AMQP"}]},
        "partitions":{"rabbit@ctl3":["rabbit@ctl1","rabbit@ctl2"]},
        "maintenance_status":{"rabbit@ctl1":"not under maintenance","rabbit@ctl2":"\u001b[35mmarked for maintenance\u001b[0m","rabbit@ctl3":"unknown"},
        "versions":{"rabbit@ctl1":{"erlang_version":"26","rabbitmq_name":"RabbitMQ","rabbitmq_version":"3.13.7"}}}"#;

    #[test]
    fn a_cluster_is_read_from_the_view_of_one_node() {
        let rabbit = cluster(STATUS, "rabbit@ctl1").unwrap();
        assert!(rabbit.running);
        assert_eq!(rabbit.version.as_deref(), Some("3.13.7"));
        assert_eq!(rabbit.members, ["rabbit@ctl1", "rabbit@ctl2", "rabbit@ctl3"]);
        assert_eq!(rabbit.running_members, ["rabbit@ctl1", "rabbit@ctl2"]);
        assert_eq!(rabbit.partitions, ["rabbit@ctl3"]);
        assert_eq!(rabbit.other_partitions, ["rabbit@ctl3 from rabbit@ctl2"]);
        assert_eq!(rabbit.maintenance, ["rabbit@ctl2"]);
        assert_eq!(rabbit.alarms, ["memory on rabbit@ctl2"]);
        let listener = Listener { protocol: "amqp/ssl".into(), address: "10.0.0.1".into(), port: 5671 };
        assert_eq!(rabbit.listeners, [listener]);
        assert!(!cluster(STATUS, "rabbit@ctl3").unwrap().running);
    }

    #[test]
    fn a_reason_is_the_line_that_names_the_error() {
        let check = |text: &str, expected: &str| assert_eq!(last_words(text), expected);
        check("", "no answer");
        check("one\ntwo\n\n", "two");
        // rabbitmqctl 3.10 where the node is down.
        let down = "Error: unable to perform an operation on node 'rabbit@ctl3'. Please see diagnostics\n\n\
            DIAGNOSTICS\n===========\n\n * Erlang cookie hash: g7HqSCbaz9NwwyVpsgmxWQ==\n";
        check(down, "Error: unable to perform an operation on node 'rabbit@ctl3'. Please see diagnostics");
    }

    #[test]
    fn warnings_in_front_and_behind_do_no_harm() {
        let text = format!("warning: the VM is running with latin1\n{STATUS}\nbye\n");
        assert_eq!(cluster(&text, "rabbit@ctl1").unwrap().members.len(), 3);
        // RabbitMQ 4.3 has no partitions of its own any more.
        assert_eq!(cluster(r#"{"running_nodes":["a@b"]}"#, "a@b").unwrap().partitions, [""; 0]);
        for text in ["", "Error: unable to connect\n", "{\"running_nodes\":", "[]"] {
            assert!(cluster(text, "a@b").is_err(), "{text}");
        }
    }

    #[test]
    fn a_node_is_known_with_and_without_its_domain() {
        let check = |guess: &str, members: &[&str], expected: &str| {
            let members: Vec<String> = members.iter().map(|member| (*member).to_owned()).collect();
            assert_eq!(own_node(guess, &members), expected, "{guess} {members:?}");
        };
        check("rabbit@a", &["rabbit@a", "rabbit@b"], "rabbit@a");
        check("rabbit@a", &["rabbit@a.example.org", "rabbit@b.example.org"], "rabbit@a.example.org");
        check("rabbit@a", &["bunny@a", "bunny@b"], "bunny@a");
        check("rabbit@a", &["rabbit@other"], "rabbit@other");
        check("rabbit@a", &["rabbit@x", "rabbit@y"], "rabbit@a");
        check("rabbit@a", &[], "rabbit@a");
    }

    #[test]
    fn connections_are_those_of_the_node() {
        let check = |line: &str, expected: Option<(&str, u16, u16, u32, Option<&str>)>| {
            let found = connection(line, "rabbit@ctl1");
            let found = found
                .as_ref()
                .map(|c| (c.peer_host.as_str(), c.peer_port, c.port, c.heartbeat, c.client_name.as_deref()));
            assert_eq!(found, expected, "{line}");
        };
        let line = |node: &str, properties: &str| {
            format!(
                "<{node}.1795343640.1524.0>\t5672\t10.77.0.13\t48932\trunning\t15\t1795344152794\topenstack\t/\t{properties}"
            )
        };
        let client = r#"[{"product","py-amqp"},{"connection_name","cinder-volume:546:12f4"}]"#;
        let found = Some(("10.77.0.13", 48932, 5672, 15, Some("cinder-volume:546:12f4")));
        check(&line("rabbit@ctl1", client), found);
        check(&line("rabbit@ctl1", r#"[{<<"connection_name">>,<<"cinder-volume:546:12f4">>}]"#), found);
        check(&line("rabbit@ctl1", "[]"), Some(("10.77.0.13", 48932, 5672, 15, None)));
        check(&line("rabbit@ctl12", client), None);
        check(&line("rabbit@ctl2", client), None);
        check(
            "pid\tport\tpeer_host\tpeer_port\tstate\ttimeout\tconnected_at\tuser\tvhost\tclient_properties",
            None,
        );
        check("Listing connections ...", None);
        let table = format!(
            "{}\n{}\n",
            line("rabbit@ctl1", client),
            line("rabbit@ctl2", client).replace("\t/\t", "\t/nova\t")
        );
        assert_eq!(virtual_hosts(&table), ["/", "/nova"]);
        assert_eq!(connections(&table, "rabbit@ctl1")[0].connected_at, 1_795_344_152);
    }

    #[test]
    fn queues_are_told_apart() {
        let table = "name\tconsumers\tmessages_unacknowledged\nreply_b\t2\t1\nreply_a\t\t\ncinder\t3\t0\n\
            cinder-volume_fanout_4f\t1\t0\ncinder-volume.ctl1@lvm\t\t\nListing queues\n";
        let found = reply_queues(table);
        let queue = |name: &str, consumers, unacknowledged| ReplyQueue {
            name: name.into(),
            consumers,
            unacknowledged,
        };
        assert_eq!(found, [queue("reply_a", 0, 0), queue("reply_b", 2, 1)]);
        let queue = |name: &str, consumers| Queue { name: name.into(), consumers };
        assert_eq!(queues(table), [queue("cinder", 3), queue("cinder-volume.ctl1@lvm", 0)]);
    }
}
