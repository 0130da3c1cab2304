//! What a host's facts would be after an action: for predictions, the demo and the property tests.

use std::collections::BTreeMap;

use crate::audit::effective::{RABBIT, Settings, View};
use crate::audit::{Cluster, brokers, connections};
use crate::deployment::Persist;
use crate::facts::{Facts, FileFact, Reading, Socket};
use crate::plan::{Action, Restart, Role, content};
use crate::service;
use crate::timing::negotiated_heartbeat;

/// How long a restart takes, as far as a simulation is concerned.
pub const RESTART_SECONDS: i64 = 15;

/// Facts in which every step of a host's plan has been carried out.
///
/// # Errors
/// A few words, when a file cannot be edited as planned.
pub fn after<'a>(
    cluster: &mut Cluster,
    host: &str,
    actions: impl IntoIterator<Item = &'a Action>,
) -> Result<(), String> {
    for action in actions {
        if let Some(path) = content::path(action) {
            let Some(Ok(facts)) = cluster.get_mut(host) else { continue };
            let before = facts.files.get(path).and_then(Reading::known).map(|file| file.content.clone());
            let bytes = content::after(action, before.as_ref().map(|content| content.as_bytes()))?;
            let mode = match action {
                Action::WriteFile { mode, .. } => mode.unwrap_or(0o644),
                _ => 0o644,
            };
            write(facts, path, Some(String::from_utf8_lossy(&bytes).into_owned()), mode);
        } else {
            act(cluster, host, action);
        }
    }
    Ok(())
}

/// A file is written (`None`: removed): its content, hash and time, and its name in its folder's listing.
pub fn write(facts: &mut Facts, path: &str, content: Option<String>, mode: u32) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let listed = match facts.folders.get_mut(folder) {
        Some(Reading::Known(names)) => Some(names),
        _ => None,
    };
    let Some(content) = content else {
        if let Some(names) = listed {
            names.retain(|have| have != name);
        }
        facts.files.insert(path.to_owned(), Reading::Absent);
        return;
    };
    if let Some(names) = listed
        && let Err(at) = names.binary_search_by(|have| have.as_str().cmp(name))
    {
        names.insert(at, name.to_owned());
    }
    let sha256 = content::sha256(content.as_bytes());
    let modified_at = facts.read_at;
    let entry = facts.files.entry(path.to_owned()).or_insert(Reading::Absent);
    if let Reading::Known(file) = entry {
        (file.content, file.sha256, file.modified_at) = (content.into(), sha256, modified_at);
    } else {
        let (owner, group) = ("root".to_owned(), "root".to_owned());
        *entry = Reading::Known(FileFact {
            content: content.into(),
            mode,
            owner,
            group,
            modified_at,
            sha256,
            link: None,
        });
    }
}

/// An action that changes no file.
pub fn act(cluster: &mut Cluster, host: &str, action: &Action) {
    match action {
        Action::Restart(restart) => restarted(cluster, host, restart),
        Action::SetSysctl { key, value, .. } => {
            if let Some(Ok(facts)) = cluster.get_mut(host) {
                facts.sysctls.insert(key.clone(), Reading::Known(value.clone()));
            }
        }
        Action::SetUnit { unit, enabled, running } => {
            if let Some(Ok(facts)) = cluster.get_mut(host)
                && let Some(unit) = facts.units.get_mut(unit)
            {
                if let Some(enabled) = enabled {
                    if *enabled { "enabled" } else { "disabled" }.clone_into(&mut unit.enabled);
                }
                if let Some(running) = running {
                    (unit.active, unit.sub) = if *running {
                        ("active".to_owned(), "running".to_owned())
                    } else {
                        ("inactive".to_owned(), "dead".to_owned())
                    };
                }
            }
        }
        Action::Run { .. } | Action::WriteFile { .. } | Action::SetOptions { .. } => {}
    }
}

/// New processes, and new connections with what is now configured.
fn restarted(cluster: &mut Cluster, host: &str, restart: &Restart) {
    let Some(Ok(facts)) = cluster.get_mut(host) else { return };
    let now = facts.read_at;
    facts.read_at += RESTART_SECONDS;
    copy_into_container(facts, restart);
    let pids = renew_processes(facts, &restart.name, now);
    if let Reading::Known(sockets) = &mut facts.sockets {
        for pid in sockets.iter_mut().flat_map(|socket| &mut socket.pids) {
            *pid = pids.get(pid).copied().unwrap_or(*pid);
        }
    }
    match restart.role {
        Role::Broker => arm_sockets(facts),
        Role::RpcServer | Role::Agent | Role::Api => reconnect(cluster, host, restart, &pids, now),
    }
}

/// What a container reads is copied from the host when it starts.
fn copy_into_container(facts: &mut Facts, restart: &Restart) {
    let copies: Vec<(String, String)> = service::running(facts)
        .into_iter()
        .filter(|running| running.restarts_as() == Some(&restart.name))
        .flat_map(|running| running.config)
        .filter_map(|file| match file.persist {
            Persist::At { path, .. } if path != file.fact => Some((path, file.fact)),
            _ => None,
        })
        .collect();
    for (from, to) in copies {
        if let Some(file) = facts.files.get(&from).cloned() {
            facts.files.insert(to, file);
        }
    }
}

/// The broker's side of every connection is new: its keepalive timer is armed with the time in force now,
/// where its listeners have keepalive on.
fn arm_sockets(facts: &mut Facts) {
    let time = facts.sysctls.get("net.ipv4.tcp_keepalive_time").and_then(Reading::known);
    let time: Option<u64> = time.and_then(|time| time.trim().parse().ok());
    let keepalive = brokers::listener_keepalive(facts).unwrap_or(false);
    let ports: Vec<u16> = match &facts.rabbitmq {
        Reading::Known(node) => node.listeners.iter().map(|listener| listener.port).collect(),
        _ => Vec::new(),
    };
    if let Reading::Known(sockets) = &mut facts.sockets {
        for socket in sockets.iter_mut().filter(|socket| ports.contains(&socket.local_port)) {
            socket.timer = keepalive.then(|| "keepalive".to_owned());
            socket.fires_in_ms = time.filter(|_| keepalive).map(|seconds| seconds * 1000);
        }
    }
}

/// A client's connections are new: as many as before, from its new process, with the heartbeat that its
/// configuration and the broker's now give.
fn reconnect(cluster: &mut Cluster, host: &str, restart: &Restart, pids: &BTreeMap<u32, u32>, now: i64) {
    let Some(Ok(facts)) = cluster.get(host) else { return };
    let services = service::running(facts);
    let Some(running) = services.iter().find(|running| running.restarts_as() == Some(&restart.name)) else {
        return;
    };
    let asked = Settings::read(facts, running, View::Lasting)
        .and_then(|settings| settings.option(RABBIT, "heartbeat_timeout_threshold"))
        .ok()
        .and_then(|option| option.value?.trim().parse::<u32>().ok());
    let own: Vec<Socket> = facts.sockets.known().cloned().unwrap_or_default();
    for broker in cluster.values_mut().flatten() {
        let offered = brokers::heartbeat(broker);
        let Reading::Known(node) = &mut broker.rabbitmq else { continue };
        let Reading::Known(live) = &mut node.connections else { continue };
        for connection in live.iter_mut() {
            let Some((program, pid)) = connections::client(connection) else { continue };
            let Some(new) = pids.get(&pid) else { continue };
            if !own.iter().any(|socket| connections::is_end_of(socket, connection)) {
                continue;
            }
            connection.client_name = Some(format!("{program}:{new}:simulated"));
            connection.connected_at = now;
            if let Some(asked) = asked {
                connection.heartbeat = negotiated_heartbeat(asked, offered);
            }
        }
    }
}

/// Every process of the unit or container gets a new number and start; old numbers to new ones.
fn renew_processes(facts: &mut Facts, name: &str, now: i64) -> BTreeMap<u32, u32> {
    let old: Vec<u32> =
        facts.processes.values().filter(|process| process.is_of(name)).map(|process| process.pid).collect();
    let free = facts.processes.keys().last().copied().unwrap_or(1) + 1;
    let pids: BTreeMap<u32, u32> = old.into_iter().zip(free..).collect();
    for (old, new) in &pids {
        if let Some(mut process) = facts.processes.remove(old) {
            process.pid = *new;
            process.started_at = now;
            process.parent = pids.get(&process.parent).copied().unwrap_or(process.parent);
            facts.processes.insert(*new, process);
        }
    }
    if let Some(unit) = facts.units.get_mut(name) {
        unit.main_pid = pids.get(&unit.main_pid).copied().unwrap_or(unit.main_pid);
    }
    pids
}
