//! Which restarts a changed file owes, and which are overdue.

use super::Context;
use crate::audit::{Finding, Level, is_older};
use crate::plan::{Action, Change, Restart};
use crate::service::{RestartWay, Running};

/// The restarts of these services; none for one that does not run or that we may not restart.
pub fn owed(services: &[&Running]) -> Vec<Restart> {
    let way = |running: &&Running| match &running.restart {
        RestartWay::By(restart) => Some(restart.clone()),
        RestartWay::NotRunning | RestartWay::Blocked(_) => None,
    };
    services.iter().filter_map(way).collect()
}

/// What a person has to restart, and how, once the files are mended; empty when nothing.
pub fn by_hand(services: &[&Running]) -> String {
    let way = |running: &&Running| match &running.restart {
        RestartWay::Blocked(how) => Some(format!("; {}: {how}", running.service.name)),
        RestartWay::By(_) | RestartWay::NotRunning => None,
    };
    services.iter().filter_map(way).collect()
}

/// The services that run with what stood in the files (path, time of change) before: nothing of
/// oslo.messaging and nothing of RabbitMQ's configuration is read again while a process lives.
pub fn stale(
    context: &Context<'_>,
    services: &[&Running],
    files: &[(&str, i64)],
) -> (Vec<Finding>, Vec<Change>) {
    let mut findings = Vec::new();
    let mut changes = Vec::new();
    for running in services {
        let newer = files.iter().filter(|(_, modified_at)| is_older(running, *modified_at));
        let Some((path, modified_at)) = newer.max_by_key(|(_, modified_at)| modified_at) else { continue };
        let (finding, change) = overdue(context, running, path, *modified_at);
        findings.push(finding);
        changes.extend(change);
    }
    (findings, changes)
}

fn overdue(
    context: &Context<'_>,
    running: &Running,
    path: &str,
    modified_at: i64,
) -> (Finding, Option<Change>) {
    let started_at = running.started_at.expect("only a service that started is older than its file");
    let finding = Finding::new(context.task, Level::Running, &running.service.name)
        .differs(
            format!("started after {path} changed"),
            format!("started {} before", span(modified_at - started_at)),
        )
        .evidence(path, format!("changed at {}", time(modified_at)))
        .evidence(process(running), format!("started at {}", time(started_at)));
    match &running.restart {
        RestartWay::By(restart) => {
            let change = Change {
                task: context.task.id.clone(),
                action: Action::Restart(restart.clone()),
                owes: Vec::new(),
            };
            (finding.automatic(format!("restart {}", restart.name)), Some(change))
        }
        RestartWay::NotRunning => (finding.settled("it reads the file when it is started"), None),
        RestartWay::Blocked(how) => (finding.manual(how.clone()), None),
    }
}

fn process(running: &Running) -> String {
    running.main_pid.map_or_else(|| running.service.name.clone(), |pid| format!("/proc/{pid}/stat"))
}

/// RFC 3339, as the host's clock had it.
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// `3 s`, `5 min`, `2 h`, `4 days`: the largest unit that fits.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
