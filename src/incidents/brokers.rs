//! The brokers' side: when each noticed that a client was gone, when it was down or blocked, and how far
//! its clock is from its clients'.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::event::{Endpoint, Event, Goodbye, Kind, Peer};
use super::process::Loss;
use super::{Skew, seconds};

/// What the brokers' logs say.
#[derive(Debug, Clone, Default)]
pub struct Brokers {
    lives: Vec<Life>,
    /// A broker's address to the host whose log has it.
    addresses: BTreeMap<String, String>,
    /// Seconds that a broker's clock is ahead of a client's, by (client host, broker host).
    ahead: BTreeMap<(String, String), f64>,
    /// When a client's address made a connection, for clients whose lines name no port.
    accepted: Vec<(Timestamp, String, Peer)>,
    downs: Vec<(Timestamp, String)>,
    alarms: Vec<Alarm>,
    /// Hosts with a broker's log among the sources.
    hosts: BTreeSet<String>,
}

/// A connection as its broker saw it.
#[derive(Debug, Clone)]
struct Life {
    /// The broker's host.
    host: String,
    peer: Peer,
    /// By the broker's clock; absent where the log begins later.
    accepted: Option<Timestamp>,
    closed: Option<(Timestamp, Goodbye, String)>,
}

#[derive(Debug, Clone)]
struct Alarm {
    host: String,
    what: String,
    from: Timestamp,
    to: Option<Timestamp>,
}

/// A broker closed a connection that its client had lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// When, by the client's clock.
    pub at: Timestamp,
    /// The broker's host.
    pub host: String,
    /// File and line.
    pub source: String,
    /// Why it closed it.
    pub why: Goodbye,
    /// The client's port.
    pub port: u16,
}

/// A broker may take this long to notice; the longest that `tcp_retries2` gives by default is some 16 min,
/// and a keepalive before it adds little.
const LONGEST: f64 = 1260.0;

/// Clocks that are kept by NTP do not differ by more.
const SKEW: f64 = 2.0;

/// A connection's two lines belong together if they are not further apart: a wrong zone is within it.
const DAY: f64 = 93_600.0;

impl Brokers {
    /// Reads the brokers' side out of all events.
    pub fn new(events: &[Event]) -> Self {
        let mut brokers = Self::default();
        let mut open: BTreeMap<(String, String, u16), Life> = BTreeMap::new();
        for event in events {
            let key = |peer: &Peer| (event.host.clone(), peer.host.clone(), peer.port);
            let life = |peer: &Peer| Life {
                host: event.host.clone(),
                peer: peer.clone(),
                accepted: None,
                closed: None,
            };
            match &event.kind {
                Kind::Named { peer } => {
                    open.entry(key(peer)).or_insert_with(|| life(peer)).peer.name.clone_from(&peer.name);
                }
                Kind::Accepted { peer } => {
                    brokers.addresses.insert(peer.broker.host.clone(), event.host.clone());
                    brokers.accepted.push((event.at, event.host.clone(), peer.clone()));
                    // A port that is used again: the log does not tell how the one before ended.
                    let before = open.insert(key(peer), Life { accepted: Some(event.at), ..life(peer) });
                    brokers.lives.extend(before);
                }
                Kind::Closed { peer, why } => {
                    brokers.addresses.insert(peer.broker.host.clone(), event.host.clone());
                    let mut life = open.remove(&key(peer)).unwrap_or_else(|| life(peer));
                    life.peer.name = life.peer.name.or_else(|| peer.name.clone());
                    life.closed = Some((event.at, why.clone(), event.source()));
                    brokers.lives.push(life);
                }
                Kind::Broker { .. } => brokers.downs.push((event.at, event.host.clone())),
                Kind::Node { node, up: false } => {
                    let host = node.split('@').nth(1).unwrap_or(node);
                    brokers.downs.push((event.at, host.to_owned()));
                }
                Kind::Alarm { what, on } => brokers.alarm(event, what, *on),
                _ => continue,
            }
            brokers.hosts.insert(event.host.clone());
        }
        brokers.lives.extend(open.into_values());
        brokers.compare_clocks(events);
        brokers
    }

    fn alarm(&mut self, event: &Event, what: &str, on: bool) {
        let open = self.alarms.iter_mut().find(|alarm| alarm.what == what && alarm.to.is_none());
        match (on, open) {
            (true, None) => self.alarms.push(Alarm {
                host: event.host.clone(),
                what: what.to_owned(),
                from: event.at,
                to: None,
            }),
            (false, Some(alarm)) => alarm.to = Some(event.at),
            _ => {}
        }
    }

    /// The client writes `Reconnected … with port N` when the broker writes `accepting …:N`.
    fn compare_clocks(&mut self, events: &[Event]) {
        let mut apart: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
        for event in events {
            let Kind::Connected { broker, port: Some(port), .. } = &event.kind else { continue };
            let to = self.host(broker);
            let same = |(_, host, peer): &&(Timestamp, String, Peer)| {
                peer.port == *port && to.as_ref().is_none_or(|to| to == host)
            };
            let ahead =
                |accepted: &(Timestamp, String, Peer)| (accepted.1.clone(), seconds(event.at, accepted.0));
            let nearest = self
                .accepted
                .iter()
                .filter(same)
                .map(ahead)
                .min_by(|one, other| one.1.abs().total_cmp(&other.1.abs()));
            if let Some((host, ahead)) = nearest.filter(|(_, ahead)| ahead.abs() <= DAY) {
                apart.entry((event.host.clone(), host)).or_default().push(ahead);
            }
        }
        for (pair, mut all) in apart {
            all.sort_by(f64::total_cmp);
            self.ahead.insert(pair, all[all.len() / 2]);
        }
    }

    /// The host at a broker's address, as far as the logs tell.
    pub fn host(&self, broker: &Endpoint) -> Option<String> {
        let by_address = self.addresses.get(&broker.host).cloned();
        by_address.or_else(|| {
            let short = broker.host.split('.').next().unwrap_or(&broker.host);
            self.hosts.iter().find(|host| **host == broker.host || host.as_str() == short).cloned()
        })
    }

    /// Is there a broker's log among the sources?
    pub fn are_known(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Clocks that are apart.
    pub fn skews(&self) -> Vec<Skew> {
        let wrong = self.ahead.iter().filter(|(_, ahead)| ahead.abs() > SKEW);
        wrong
            .map(|((client, broker), ahead)| Skew { host: broker.clone(), of: client.clone(), ahead: *ahead })
            .collect()
    }

    /// A broker's time by a client's clock.
    fn by_clock_of(&self, client: &str, host: &str, at: Timestamp) -> Timestamp {
        let ahead = self.ahead.get(&(client.to_owned(), host.to_owned())).copied().unwrap_or_default();
        if ahead.abs() > SKEW {
            at.checked_sub(SignedDuration::from_secs_f64(ahead)).unwrap_or(at)
        } else {
            at
        }
    }

    /// When brokers closed the connections of a loss, by time; `until` is when the process lost the next ones.
    ///
    /// A connection's id lives on when it is made anew, so the one that was lost is the last that a broker had
    /// accepted under that id.
    pub fn notices(&self, loss: &Loss, until: Option<Timestamp>) -> Vec<Notice> {
        let client = &loss.process.host;
        let address = self.address(loss);
        let at_client = |life: &&Life| address.as_ref().is_none_or(|address| *address == life.peer.host);
        let accepted = |life: &Life| life.accepted.map(|at| self.by_clock_of(client, &life.host, at));
        let closed =
            |life: &Life| life.closed.as_ref().map(|(at, ..)| self.by_clock_of(client, &life.host, *at));
        let is_old = |life: &&Life| {
            !loss.new_ports.contains(&life.peer.port)
                && accepted(life).is_none_or(|at| seconds(loss.at, at) <= SKEW)
                && closed(life).is_none_or(|at| seconds(loss.at, at).abs() <= LONGEST)
        };
        let old = || self.lives.iter().filter(is_old).filter(at_client);
        let mut found: Vec<&Life> = Vec::new();
        for dead in &loss.dead {
            let is_it = |life: &&Life| match dead.port {
                Some(port) => life.peer.port == port,
                None => dead.connection.is_some() && life.peer.connection() == dead.connection.as_deref(),
            };
            found.extend(old().filter(is_it).max_by_key(|life| accepted(life).or_else(|| closed(life))));
        }
        // Further connections of the process that were cut at the same time, and that it has not missed yet.
        let in_time = |life: &&Life| {
            closed(life)
                .is_some_and(|at| seconds(loss.at, at) >= -SKEW && until.is_none_or(|until| at < until))
        };
        let of_process = |life: &&Life| {
            // By a timer of the broker's: others ended because the process did, or because somebody asked.
            let by_timer = matches!(life.closed, Some((_, Goodbye::Heartbeats(_) | Goodbye::TcpTimeout, _)));
            by_timer && life.peer.pid().is_some() && life.peer.pid() == loss.process.pid
        };
        found.extend(old().filter(in_time).filter(of_process));
        if found.is_empty() && address.is_some() {
            found.extend(old().filter(in_time).filter(|life| life.peer.name.is_none()));
        }
        let mut notices: Vec<Notice> = found
            .into_iter()
            .filter_map(|life| {
                let (_, why, source) = life.closed.as_ref()?;
                (*why != Goodbye::Normal).then(|| Notice {
                    at: closed(life).unwrap_or_default(),
                    host: life.host.clone(),
                    source: source.clone(),
                    why: why.clone(),
                    port: life.peer.port,
                })
            })
            .collect();
        notices.sort_by(|one, other| one.at.cmp(&other.at).then_with(|| one.port.cmp(&other.port)));
        notices.dedup();
        notices
    }

    /// The client's address, from the connection that it made next.
    fn address(&self, loss: &Loss) -> Option<String> {
        let by_port = self.accepted.iter().find(|(_, _, peer)| {
            loss.new_ports.contains(&peer.port) && peer.pid().is_none_or(|pid| Some(pid) == loss.process.pid)
        });
        let (back, _) = loss.back.as_ref()?;
        let by_time = || {
            // A connection is accepted some milliseconds before its client says so.
            let near = |(at, host, _): &&(Timestamp, String, Peer)| {
                let at = self.by_clock_of(&loss.process.host, host, *at);
                (-0.5..=0.2).contains(&seconds(*back, at))
            };
            let mut near = self.accepted.iter().filter(near).map(|(_, _, peer)| &peer.host);
            let first = near.next()?;
            near.all(|other| other == first).then_some(first)
        };
        by_port.map(|(_, _, peer)| &peer.host).or_else(by_time).cloned()
    }

    /// A broker that went or came between two moments.
    pub fn down_between(
        &self,
        client: &str,
        from: Timestamp,
        to: Timestamp,
        broker: Option<&Endpoint>,
    ) -> Option<(Timestamp, String)> {
        let only = broker.and_then(|broker| self.host(broker));
        self.downs
            .iter()
            .filter(|(_, host)| only.as_ref().is_none_or(|only| only == host))
            .map(|(at, host)| (self.by_clock_of(client, host, *at), host.clone()))
            .find(|(at, _)| *at >= from && *at <= to)
    }

    /// An alarm that was in force at some time between two moments.
    pub fn alarm_between(
        &self,
        client: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<(Timestamp, String, String)> {
        self.alarms.iter().find_map(|alarm| {
            let set = self.by_clock_of(client, &alarm.host, alarm.from);
            let cleared = alarm.to.map(|to| self.by_clock_of(client, &alarm.host, to));
            (set <= to && cleared.is_none_or(|cleared| cleared >= from))
                .then(|| (set, alarm.host.clone(), alarm.what.clone()))
        })
    }
}
