//! What today's settings would make of a call that was lost then.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Found, LostCall};
use crate::audit::WindowRow;

/// Would a call like that be lost again?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Even at worst its reply would come in time.
    Survives,
    /// It depends on what the heartbeats and timers are doing at that moment.
    MayBeLost,
    /// Even at best nobody would wait any more.
    Lost,
}

impl Fate {
    /// As the end of a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Survives => "would survive",
            Self::MayBeLost => "may be lost again",
            Self::Lost => "would be lost again",
        }
    }
}

/// What the audit says about a connection like the one that was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlook {
    /// Would it be lost again?
    pub fate: Fate,
    /// The earliest the broker would notice, in seconds from the last byte; null: never.
    pub broker_best: Option<f64>,
    /// The latest; null: never.
    pub broker_worst: Option<f64>,
    /// The latest the client would be connected again; null: never.
    pub client_worst: Option<f64>,
    /// How long a caller waits today; null: without end.
    pub rpc_response_timeout: Option<f64>,
    /// The setting that decides the latest.
    pub decided_by: String,
    /// The broker whose window it is.
    pub broker: String,
}

/// Puts today's outlook to every lost call whose host was audited.
pub fn join(found: &mut Found, windows: &BTreeMap<String, Vec<WindowRow>>) {
    for incident in &mut found.incidents {
        let broker = incident.lost_broker.clone();
        for call in &mut incident.calls {
            call.today = outlook(call, broker.as_deref(), windows);
        }
    }
}

/// Today's outlook for one call.
fn outlook(
    call: &LostCall,
    broker: Option<&str>,
    windows: &BTreeMap<String, Vec<WindowRow>>,
) -> Option<Outlook> {
    let all = || windows.get(&call.host).into_iter().flatten();
    let own = |row: &&WindowRow| row.service == call.service;
    let there = |row: &&WindowRow| broker.is_none_or(|broker| row.broker == broker);
    // The connection that was lost; else the service's worst, else the host's.
    let worst = |rows: &mut dyn Iterator<Item = &WindowRow>| {
        rows.min_by(|one, other| margin(one).total_cmp(&margin(other))).cloned()
    };
    let row = worst(&mut all().filter(own).filter(there))
        .or_else(|| worst(&mut all().filter(own)))
        .or_else(|| worst(&mut all()))?;
    // Without a time the call counts as sent when the connection was cut.
    let age = call.age_at_cut.unwrap_or_default();
    let survives = |broker: Option<f64>| match (row.rpc_response_timeout, broker, row.client_worst) {
        (None, Some(_), Some(_)) => true,
        (Some(timeout), Some(broker), Some(client)) => age + broker.max(client) < timeout,
        _ => false,
    };
    let fate = if survives(row.broker_worst) {
        Fate::Survives
    } else if survives(row.broker_best) {
        Fate::MayBeLost
    } else {
        Fate::Lost
    };
    Some(Outlook {
        fate,
        broker_best: row.broker_best,
        broker_worst: row.broker_worst,
        client_worst: row.client_worst,
        rpc_response_timeout: row.rpc_response_timeout,
        decided_by: row.decided_by.clone(),
        broker: row.broker,
    })
}

/// How much time a connection leaves: the more, the better.
fn margin(row: &WindowRow) -> f64 {
    match (row.survivable_age, row.broker_worst.and(row.client_worst)) {
        (_, None) => f64::NEG_INFINITY,
        (Some(age), Some(_)) => age,
        (None, Some(_)) => f64::INFINITY,
    }
}
