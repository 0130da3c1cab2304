//! What running services really use: processes older than their files, copies in containers, and
//! negotiated heartbeats.

use super::{Wanted, same};
use crate::audit::effective::{RABBIT, Settings, View};
use crate::audit::{Finding, Level, brokers, connections};
use crate::deployment::Persist;
use crate::modules::{Context, restart};
use crate::plan::{Action, Change};
use crate::service::{RestartWay, Running};
use crate::timing;

/// Overdue restarts; services whose restart is `owed` already are left out, it mends them too.
pub fn check(
    context: &Context<'_>,
    wanted: &[Wanted],
    services: &[Settings<'_>],
    owed: &[&str],
) -> (Vec<Finding>, Vec<Change>) {
    let mut findings = Vec::new();
    let mut changes = Vec::new();
    for settings in services {
        let running = settings.running();
        let is_owed =
            matches!(&running.restart, RestartWay::By(restart) if owed.contains(&restart.name.as_str()));
        if !running.runs() || is_owed {
            continue;
        }
        let files = files(context, running);
        let files: Vec<(&str, i64)> = files.iter().map(|(path, at)| (path.as_str(), *at)).collect();
        let (found, overdue) = restart::stale(context, &[running], &files);
        if !found.is_empty() {
            findings.extend(found);
            changes.extend(overdue);
            continue;
        }
        if let Some(found) =
            copied(context, wanted, running).or_else(|| negotiated(context, wanted, settings))
        {
            let (found, restart) = mended_by_restart(context, running, found);
            findings.push(found);
            changes.extend(restart);
        }
    }
    (findings, changes)
}

/// The files whose change a running process has to take note of: where an edit of them lasts.
fn files(context: &Context<'_>, running: &Running) -> Vec<(String, i64)> {
    let known = |key: &str| Some((key.to_owned(), context.facts.files.get(key)?.known()?.modified_at));
    running
        .config
        .iter()
        .filter_map(|file| match &file.persist {
            Persist::At { path, .. } => known(path).or_else(|| known(&file.fact)),
            Persist::Blocked(_) => None,
        })
        .collect()
}

/// The container still has a copy of the file as it was.
fn copied(context: &Context<'_>, wanted: &[Wanted], running: &Running) -> Option<Finding> {
    running.container.as_ref()?;
    let settings = Settings::read(context.facts, running, View::Process).ok()?;
    wanted.iter().find_map(|wanted| {
        let found = settings.option(&wanted.group, &wanted.key).ok()?;
        let is = found.value.clone().unwrap_or_default();
        (!same(&is, &wanted.value)).then(|| {
            Finding::new(
                context.task,
                Level::Running,
                format!("{} of {}", wanted.name(), running.service.name),
            )
            .differs(&wanted.value, format!("{is}, in the container's own copy of the file"))
            .evidence(found.origin.to_string(), format!("{} = {is}", found.name.1))
        })
    })
}

/// Live connections whose heartbeat is not what the files of both sides would negotiate.
fn negotiated(context: &Context<'_>, wanted: &[Wanted], settings: &Settings<'_>) -> Option<Finding> {
    let is_threshold =
        |wanted: &&Wanted| wanted.group == RABBIT && wanted.key == "heartbeat_timeout_threshold";
    let threshold: u32 = wanted.iter().find(is_threshold)?.value.trim().parse().ok()?;
    let running = settings.running();
    let all = connections::of(context.cluster, context.facts, running);
    let mut differ = Vec::new();
    for (host, connection) in &all {
        let Some(Ok(facts)) = context.cluster.get(*host) else { continue };
        // A broker whose own heartbeat is not known could have asked for anything.
        let Ok(offered) = brokers::offered(facts) else { continue };
        let expected = timing::negotiated_heartbeat(threshold, offered.value);
        if connection.heartbeat != expected {
            differ.push((*host, *connection, expected));
        }
    }
    let (host, connection, expected) = differ.first()?;
    let finding = Finding::new(
        context.task,
        Level::Connection,
        format!("AMQP connections of {}", running.service.name),
    )
    .differs(
        format!("negotiated heartbeat {expected} s"),
        format!("{} of {} connections have {} s", differ.len(), all.len(), connection.heartbeat),
    )
    .evidence(
        format!("rabbitmqctl list_connections on {host}"),
        format!(
            "{} from {}:{}, timeout {}",
            connection.client_name.as_deref().unwrap_or("a client"),
            connection.peer_host,
            connection.peer_port,
            connection.heartbeat
        ),
    );
    Some(finding)
}

fn mended_by_restart(
    context: &Context<'_>,
    running: &Running,
    finding: Finding,
) -> (Finding, Option<Change>) {
    match &running.restart {
        RestartWay::By(restart) => {
            let action = Action::Restart(restart.clone());
            let change = Change { task: context.task.id.clone(), action, owes: Vec::new() };
            (finding.automatic(format!("restart {}", restart.name)), Some(change))
        }
        RestartWay::NotRunning => (finding.settled("it reads the files when it is started"), None),
        RestartWay::Blocked(how) => (finding.manual(how), None),
    }
}
