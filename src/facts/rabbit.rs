//! What was read of a broker.

use serde::{Deserialize, Serialize};

use super::Reading;

/// The broker on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rabbit {
    /// Node name, `rabbit@ctl1`.
    pub node: String,
    /// Does the node run and answer? What follows is empty where it does not.
    pub running: bool,
    /// Its version.
    pub version: Option<String>,
    /// Cluster members known to it.
    pub members: Vec<String>,
    /// Cluster members that run.
    pub running_members: Vec<String>,
    /// Nodes it is partitioned from.
    pub partitions: Vec<String>,
    /// Partitions between other nodes that it knows of, as in `rabbit@ctl2 from rabbit@ctl3`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_partitions: Vec<String>,
    /// Nodes in maintenance mode (`rabbitmq-upgrade drain`): they take no clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<String>,
    /// Alarms in force, as in `memory on rabbit@ctl2`.
    pub alarms: Vec<String>,
    /// Its AMQP listeners.
    pub listeners: Vec<Listener>,
    /// Live AMQP connections of this node; `Unknown` where the node did not say.
    pub connections: Reading<Vec<AmqpConnection>>,
    /// Reply queues (`reply_*`) of the virtual hosts with consumers and unacknowledged messages.
    pub reply_queues: Reading<Vec<ReplyQueue>>,
    /// The other queues of the virtual hosts in use, but for fanout queues, whose names change with each
    /// start of a service.
    #[serde(default, skip_serializing_if = "is_absent")]
    pub queues: Reading<Vec<Queue>>,
    /// Whether quorum queues would lose their majority without this node; absent where nobody asked.
    #[serde(default, skip_serializing_if = "is_absent")]
    pub quorum: Reading<Quorum>,
}

/// Saved facts hold only what was asked for.
fn is_absent<T>(reading: &Reading<T>) -> bool {
    matches!(reading, Reading::Absent)
}

impl Rabbit {
    /// Cluster members that do not run.
    pub fn down(&self) -> Vec<&str> {
        let runs = |member: &&String| !self.running_members.contains(member);
        self.members.iter().filter(runs).map(String::as_str).collect()
    }
}

/// A listening port of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Listener {
    /// `amqp` or `amqp/ssl`.
    pub protocol: String,
    /// Address it is bound to.
    pub address: String,
    /// TCP port.
    pub port: u16,
}

/// One connection as the broker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AmqpConnection {
    /// Peer's address.
    pub peer_host: String,
    /// Peer's TCP port.
    pub peer_port: u16,
    /// The broker's own port.
    pub port: u16,
    /// The negotiated heartbeat in seconds, 0 when off (`timeout` of `list_connections`).
    pub heartbeat: u32,
    /// running, blocked, blocking, flow…
    pub status: String,
    /// When it was made, seconds since the epoch.
    pub connected_at: i64,
    /// `connection_name` of the client: `PROGRAM:PID:UUID` from oslo.messaging.
    pub client_name: Option<String>,
    /// AMQP user.
    pub user: String,
}

/// One reply queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplyQueue {
    /// `reply_…`.
    pub name: String,
    /// More than one: a dead and a live consumer, or two processes with one name.
    pub consumers: u32,
    /// Delivered and not acknowledged.
    pub unacknowledged: u32,
}

/// A queue that services share or serve by name (`cinder-volume.ctl1@lvm`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// How many consume from it.
    pub consumers: u32,
}

/// The answer of `rabbitmq-diagnostics check_if_node_is_quorum_critical`.
///
/// It passes on a node that is the only one of its cluster, and on one in maintenance mode
/// (`check_if_node_is_quorum_critical_command.ex`, 3.8.10 and later), whatever depends on the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quorum {
    /// Exit code: 0 passed; 69 failed; 64 where the release does not know the command.
    pub status: i32,
    /// What it said, in lines.
    pub message: String,
}
