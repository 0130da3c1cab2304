//! Detection windows of all hosts together: rows with the same numbers are one.

use std::collections::{BTreeMap, BTreeSet};

use super::grid::{self, Cell, Column};
use super::names::names;
use super::text::{Ink, beside, count};
use crate::audit::WindowRow;
use crate::report::Style;
use crate::timing::{Timeline, duration};

/// So many different windows are shown.
const SHOWN: usize = 5;

/// So many lines say whose a window is.
const OWNERS: usize = 3;

/// What a dead connection means for the calls of a service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// Nothing bounds the broker's detection: replies are lost.
    Unbounded,
    /// One side notices so many seconds after the caller has given up.
    Late(f64),
    /// A call this old, in seconds, still gets its reply.
    Survives(f64),
    /// Callers wait without end.
    Patient,
}

/// Connections with the same window.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// The numbers; `broker_best` is the smallest.
    pub row: WindowRow,
    /// Whose: service, host, broker.
    pub owners: BTreeSet<(&'a str, &'a str, &'a str)>,
}

impl Group<'_> {
    /// What it means.
    pub fn fate(&self) -> Fate {
        match (self.row.survivable_age, self.row.broker_worst.and(self.row.client_worst)) {
            (_, None) => Fate::Unbounded,
            (None, Some(_)) => Fate::Patient,
            (Some(age), Some(_)) if age > 0.0 => Fate::Survives(age),
            (Some(age), Some(_)) => Fate::Late(-age),
        }
    }

    /// Are replies lost?
    pub fn loses(&self) -> bool {
        matches!(self.fate(), Fate::Unbounded | Fate::Late(_))
    }

    /// Is it the client that needs longer?
    pub fn client_is_slower(&self) -> bool {
        self.row.client_worst.zip(self.row.broker_worst).is_some_and(|(client, broker)| client > broker)
    }

    /// As a drawing takes it.
    pub fn timeline(&self) -> Timeline {
        Timeline {
            broker_best: self.row.broker_best,
            broker_worst: self.row.broker_worst,
            client_worst: self.row.client_worst,
            rpc_response_timeout: self.row.rpc_response_timeout,
        }
    }

    /// Whose windows these are: `cinder-api, cinder-volume on ctl1, ctl2; brokers ctl1, ctl3`.
    pub fn whose(&self) -> Vec<String> {
        let mut hosts: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for (service, host, broker) in &self.owners {
            hosts.entry((service, broker)).or_default().insert(host);
        }
        let mut services: BTreeMap<(BTreeSet<&str>, &str), BTreeSet<&str>> = BTreeMap::new();
        for ((service, broker), hosts) in hosts {
            services.entry((hosts, broker)).or_default().insert(service);
        }
        let mut brokers: BTreeMap<(BTreeSet<&str>, BTreeSet<&str>), BTreeSet<&str>> = BTreeMap::new();
        for ((hosts, broker), services) in services {
            brokers.entry((services, hosts)).or_default().insert(broker);
        }
        let lines = brokers.into_iter().map(|((services, hosts), brokers)| {
            let noun = if brokers.len() == 1 { "broker" } else { "brokers" };
            format!(
                "{} on {}; {noun} {}",
                list(&services).join(", "),
                names(&list(&hosts)),
                names(&list(&brokers))
            )
        });
        lines.collect()
    }
}

fn list<'a>(set: &BTreeSet<&'a str>) -> Vec<&'a str> {
    set.iter().copied().collect()
}

/// The windows of all hosts, the worst first.
pub fn grouped<'a>(rows: impl Iterator<Item = (&'a str, &'a WindowRow)>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (host, row) in rows {
        let owner = (row.service.as_str(), host, row.broker.as_str());
        let same = |group: &&mut Group<'_>| {
            let anonymous = WindowRow {
                service: group.row.service.clone(),
                broker: group.row.broker.clone(),
                broker_best: group.row.broker_best,
                ..row.clone()
            };
            group.row == anonymous && group.row.broker_best.is_some() == row.broker_best.is_some()
        };
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.owners.insert(owner);
                if row.broker_best < group.row.broker_best {
                    group.row.broker_best = row.broker_best;
                }
            }
            None => groups.push(Group { row: row.clone(), owners: BTreeSet::from([owner]) }),
        }
    }
    let rank = |group: &Group<'_>| match group.fate() {
        Fate::Unbounded => f64::NEG_INFINITY,
        Fate::Late(seconds) => -seconds,
        Fate::Survives(seconds) => seconds,
        Fate::Patient => f64::INFINITY,
    };
    groups.sort_by(|one, other| rank(one).total_cmp(&rank(other)));
    groups
}

/// `10 s to 18 min`, `30 to 45 s`; at least the first and at most the second.
pub fn span(best: Option<f64>, worst: Option<f64>) -> String {
    let Some(worst) = worst else { return "may never".to_owned() };
    let Some(best) = best.filter(|best| *best < worst) else { return duration(worst) };
    let (best, worst) = (duration(best.floor()), duration(worst));
    match (best.split_once(' '), worst.split_once(' ')) {
        (Some((low, unit)), Some((_, same))) if unit == same => format!("{low} to {worst}"),
        _ => format!("{best} to {worst}"),
    }
}

/// The setting that decides, as short as an operator says it.
pub fn short(setting: &str) -> &str {
    match setting {
        "heartbeat_timeout_threshold" => "heartbeat",
        other => other.strip_prefix("net.ipv4.").unwrap_or(other),
    }
}

/// What a row of the table tells.
pub const COLUMNS: [Column<'static>; 6] = [
    Column { title: "heartbeat", wraps: false },
    Column { title: "broker notices", wraps: false },
    Column { title: "decided by", wraps: false },
    Column { title: "client back", wraps: false },
    Column { title: "callers wait", wraps: false },
    Column { title: "call survives", wraps: false },
];

/// A window in words, as [`COLUMNS`] has it.
pub fn cells(group: &Group<'_>) -> Vec<Cell> {
    let row = &group.row;
    let heartbeat = if row.heartbeat == 0.0 { "off".to_owned() } else { duration(row.heartbeat) };
    let survives = match group.fate() {
        Fate::Unbounded | Fate::Late(_) => Cell::inked("no", Ink::Red),
        Fate::Survives(age) => Cell::inked(format!("to {}", duration(age.floor())), Ink::Green),
        Fate::Patient => Cell::inked("yes", Ink::Green),
    };
    vec![
        Cell::plain(heartbeat),
        Cell::plain(span(row.broker_best, row.broker_worst)),
        Cell::plain(short(&row.decided_by)),
        Cell::plain(row.client_worst.map_or("may never".to_owned(), duration)),
        Cell::plain(row.rpc_response_timeout.map_or("without end".to_owned(), duration)),
        survives,
    ]
}

/// All windows as a table, each with the services it is of below; as sentences where the terminal is too narrow.
pub fn table(groups: &[Group<'_>], style: Style) -> String {
    let room: usize = style.width.into();
    let shown = &groups[..groups.len().min(SHOWN)];
    let rows: Vec<Vec<Cell>> = shown.iter().map(cells).collect();
    let widths = grid::fit(&COLUMNS, &rows, room.saturating_sub(2));
    let mut out =
        widths.as_deref().map_or_else(String::new, |widths| grid::titles(&COLUMNS, widths, 2, style.colour));
    for (group, row) in shown.iter().zip(rows) {
        out.push_str(&match &widths {
            Some(widths) => grid::line(&row, widths, 2, style.colour),
            None => beside("  ", &sentence(group), 2, room),
        });
        let whose = group.whose();
        for line in whose.iter().take(OWNERS) {
            out.push_str(&beside("", line, 4, room));
        }
        if whose.len() > OWNERS {
            out.push_str(&format!("    and {} more\n", whose.len() - OWNERS));
        }
    }
    if groups.len() > SHOWN {
        let text = format!("and {} that are no worse", count(groups.len() - SHOWN, "window"));
        out.push_str(&beside("", &text, 2, room));
    }
    out
}

fn sentence(group: &Group<'_>) -> String {
    let texts: Vec<String> = cells(group).into_iter().map(|cell| cell.text).collect();
    let heartbeat = &texts[0];
    format!(
        "heartbeat {heartbeat}: broker notices: {} (by {}), client is back: {}, callers wait: {}, a call survives: {}",
        texts[1], texts[2], texts[3], texts[4], texts[5]
    )
}
