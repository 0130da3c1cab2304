//! Which live AMQP connection of which broker belongs to which service of which host.

use crate::audit::Cluster;
use crate::facts::{AmqpConnection, Facts, Socket};
use crate::service::Running;

/// The live connections of a service, each with the inventory name of the broker's host.
pub fn of<'a>(cluster: &'a Cluster, facts: &Facts, running: &Running) -> Vec<(&'a str, &'a AmqpConnection)> {
    let brokers = cluster.iter().filter_map(|(host, facts)| Some((host.as_str(), facts.as_ref().ok()?)));
    brokers
        .filter_map(|(host, broker)| Some((host, broker.rabbitmq.known()?.connections.known()?)))
        .flat_map(|(host, connections)| connections.iter().map(move |connection| (host, connection)))
        .filter(|(_, connection)| belongs(connection, facts, running))
        .collect()
}

/// Is this connection the service's? The client's own socket says so where it is seen; its name
/// (`PROGRAM:PID:UUID` from oslo.messaging) where it is not.
fn belongs(connection: &AmqpConnection, facts: &Facts, running: &Running) -> bool {
    let Some(sockets) = facts.sockets.known() else {
        return named(connection, running, |pid| running.pids.contains(&pid));
    };
    match sockets.iter().find(|socket| is_end_of(socket, connection)) {
        // The broker's host may see it while the client's does not: a dead connection, or another host's.
        None => false,
        Some(socket) if !socket.pids.is_empty() => socket.pids.iter().any(|pid| running.pids.contains(pid)),
        // A container counts its processes from 1, so the number in the name says nothing here.
        Some(_) => {
            named(connection, running, |pid| running.container.is_some() || running.pids.contains(&pid))
        }
    }
}

/// Is the socket the client's end of this connection?
pub fn is_end_of(socket: &Socket, connection: &AmqpConnection) -> bool {
    socket.local_port == connection.peer_port
        && socket.peer_port == connection.port
        && same_address(&socket.local, &connection.peer_host)
}

/// Seconds until the keepalive timer of the broker's end of this connection fires, where one is armed.
pub fn armed(connection: &AmqpConnection, broker: &Facts) -> Option<u32> {
    let is_other_end = |socket: &&Socket| {
        socket.local_port == connection.port
            && socket.peer_port == connection.peer_port
            && same_address(&socket.peer, &connection.peer_host)
    };
    let socket = broker.sockets.known()?.iter().find(is_other_end)?;
    let fires = socket.fires_in_ms.filter(|_| socket.timer.as_deref() == Some("keepalive"))?;
    u32::try_from(fires.div_ceil(1000)).ok()
}

fn named(connection: &AmqpConnection, running: &Running, is_ours: impl Fn(u32) -> bool) -> bool {
    let Some((program, pid)) = client(connection) else { return false };
    running.service.programs().any(|known| known == program) && is_ours(pid)
}

/// Program and process of a connection's name.
pub fn client(connection: &AmqpConnection) -> Option<(&str, u32)> {
    let mut parts = connection.client_name.as_deref()?.split(':');
    let program = parts.next()?;
    Some((program, parts.next()?.parse().ok()?))
}

/// Equal but for brackets, zones, and IPv4 addresses in IPv6's clothes.
pub fn same_address(one: &str, other: &str) -> bool {
    plain_address(one) == plain_address(other)
}

/// An address as sockets and RabbitMQ both would write it.
pub fn plain_address(address: &str) -> &str {
    let inner = address.trim_start_matches('[');
    let end = inner.find([']', '%']).unwrap_or(inner.len());
    let inner = &inner[..end];
    inner.strip_prefix("::ffff:").filter(|v4| v4.contains('.')).unwrap_or(inner)
}
