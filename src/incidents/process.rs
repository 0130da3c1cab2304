//! What became of each client process's connections: when they were lost, and when there was one again.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::event::{Cause, Endpoint, Event, Kind};
use super::seconds;

/// One process of a service on a host. Numbers repeat between containers, so the service belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its host.
    pub host: String,
    /// Its service; empty where no line tells.
    pub service: String,
    /// Its number, where lines have one.
    pub pid: Option<u32>,
}

impl Process {
    /// Who wrote an event.
    pub fn of(event: &Event) -> Self {
        Self { host: event.host.clone(), service: event.service.clone(), pid: event.pid }
    }
}

/// A connection that was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dead {
    /// To which broker.
    pub broker: Option<Endpoint>,
    /// oslo.messaging's id of it.
    pub connection: Option<String>,
    /// The client's port.
    pub port: Option<u16>,
}

/// From the loss of a process's connections to the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    /// Whose.
    pub process: Process,
    /// When the process knew.
    pub at: Timestamp,
    /// Why, as it was first said.
    pub cause: Cause,
    /// The connections; none where no line names one.
    pub dead: Vec<Dead>,
    /// Did the broker take its leave, or was nobody there when the client tried it again?
    pub broker_was_down: bool,
    /// When there was a connection again, and where to.
    pub back: Option<(Timestamp, Endpoint)>,
    /// Client ports of the new connections.
    pub new_ports: Vec<u16>,
    /// The last line of it.
    pub last: Timestamp,
}

impl Loss {
    /// The first broker that was named.
    pub fn broker(&self) -> Option<&Endpoint> {
        self.dead.iter().find_map(|dead| dead.broker.as_ref())
    }
}

/// Lines of one loss are not further apart: a process has several connections, and a failover tries
/// brokers a second apart or two.
const TOGETHER: f64 = 5.0;

/// Every loss of every process, by time.
pub fn losses(events: &[Event]) -> Vec<Loss> {
    let mut processes: BTreeMap<Process, Vec<&Event>> = BTreeMap::new();
    for event in events {
        if matches!(event.kind, Kind::Lost { .. } | Kind::Connected { .. }) {
            processes.entry(Process::of(event)).or_default().push(event);
        }
    }
    let mut losses: Vec<Loss> =
        processes.into_iter().flat_map(|(process, events)| of_process(&process, &events)).collect();
    losses.sort_by_key(|loss| loss.at);
    losses
}

fn of_process(process: &Process, events: &[&Event]) -> Vec<Loss> {
    let mut losses: Vec<Loss> = Vec::new();
    let mut known: BTreeMap<&str, Dead> = BTreeMap::new();
    for event in events {
        let open =
            losses.last_mut().filter(|loss| loss.back.is_none() || seconds(loss.last, event.at) <= TOGETHER);
        match &event.kind {
            Kind::Lost { cause, broker, connection, port, attempt, .. } => {
                let before = connection.as_deref().and_then(|id| known.get(id));
                let dead = Dead {
                    broker: broker.clone().or_else(|| before.and_then(|dead| dead.broker.clone())),
                    connection: connection.clone(),
                    port: port.or_else(|| before.and_then(|dead| dead.port)),
                };
                let connecting = *attempt || cause.is_of_connecting();
                let Some(loss) = open else {
                    losses.push(Loss {
                        process: process.clone(),
                        at: event.at,
                        cause: *cause,
                        dead: vec![dead],
                        broker_was_down: connecting || *cause == Cause::Forced,
                        back: None,
                        new_ports: Vec::new(),
                        last: event.at,
                    });
                    continue;
                };
                loss.last = event.at;
                let same_broker = loss.broker().is_none() || dead.broker.as_ref() == loss.broker();
                // A broker that was not there at the first try says why the connection was lost.
                loss.broker_was_down |=
                    *cause == Cause::Forced || (*cause == Cause::Refused && same_broker && broker.is_some());
                let is_known = dead.connection.is_some()
                    && loss.dead.iter().any(|one| one.connection == dead.connection);
                if !connecting && !is_known && dead != Dead::default() {
                    loss.dead.push(dead);
                }
            }
            Kind::Connected { broker, connection, port, .. } => {
                if let Some(loss) = open {
                    loss.last = event.at;
                    loss.back.get_or_insert_with(|| (event.at, broker.clone()));
                    loss.new_ports.extend(*port);
                }
                if let Some(id) = connection {
                    let now =
                        Dead { broker: Some(broker.clone()), connection: Some(id.clone()), port: *port };
                    known.insert(id, now);
                }
            }
            _ => {}
        }
    }
    losses
}
