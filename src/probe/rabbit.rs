//! What `rabbitmqctl` said.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::sockets::plain_address;
use crate::facts::{AmqpConnection, Listener, Rabbit, Reading, ReplyQueue};

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
    })
}

/// A command's last line, for a reason.
pub(super) fn last_words(text: &str) -> String {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no answer");
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
