//! Which hosts change together, and why it is not safe to go on.

mod safe;

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::Cluster;
use crate::plan::{Action, HostPlan, Restart, Role};
use crate::service;

pub use safe::{Allow, Look, Obstacle, obstacles, questions, trouble};

/// Where each service ran when the plan was made: service to inventory names. Only services whose
/// instances stand in for each other; an agent serves its own host.
pub type Instances = BTreeMap<String, BTreeSet<String>>;

/// Where the services of a cluster run now.
pub fn instances(cluster: &Cluster) -> Instances {
    let mut found = Instances::new();
    for (host, facts) in cluster.iter().filter_map(|(host, facts)| Some((host, facts.as_ref().ok()?))) {
        let services = service::running(facts).into_iter();
        for running in services.filter(|running| running.runs() && running.service.role != Role::Agent) {
            found.entry(running.service.name.clone()).or_default().insert(host.clone());
        }
    }
    found
}

/// The hosts to ask, besides its own, just before this restart: those that ran the service when the plan
/// was made.
pub fn witnesses<'a>(host: &str, restart: &Restart, instances: &'a Instances) -> Vec<&'a str> {
    let others = instances.get(&restart.service).into_iter().flatten();
    others.map(String::as_str).filter(|other| *other != host).collect()
}

/// Splits a batch where its hosts must not restart together.
///
/// - No two hosts of a batch restart a broker: RabbitMQ nodes go down one at a time however large
///   `serial` is. Quorum queues lose their majority otherwise, and `pause_minority` stops the nodes that
///   are left.
/// - No batch restarts every instance of a service that has several.
pub fn split(batch: Vec<HostPlan>, instances: &Instances) -> Vec<Vec<HostPlan>> {
    one_broker_at_a_time(batch).into_iter().flat_map(|batch| leave_an_instance(batch, instances)).collect()
}

fn one_broker_at_a_time(batch: Vec<HostPlan>) -> Vec<Vec<HostPlan>> {
    let broker = |host: &HostPlan| restarts(host).any(|restart| restart.role == Role::Broker);
    let (brokers, mut rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(broker);
    let mut batches: Vec<Vec<HostPlan>> = brokers.into_iter().map(|host| vec![host]).collect();
    match batches.first_mut() {
        Some(first) => first.append(&mut rest),
        None if rest.is_empty() => {}
        None => batches.push(rest),
    }
    batches
}

fn leave_an_instance(batch: Vec<HostPlan>, instances: &Instances) -> Vec<Vec<HostPlan>> {
    let mut batches: Vec<Vec<HostPlan>> = Vec::new();
    let mut down: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for host in batch {
        for restart in restarts(&host) {
            down.entry(restart.service.clone()).or_default().insert(host.host.clone());
        }
        let all_down = |(service, hosts): (&String, &BTreeSet<String>)| {
            instances.get(service).is_some_and(|all| all.len() > 1 && all.is_subset(hosts))
        };
        let last_one_goes = down.iter().any(all_down);
        match batches.last_mut() {
            Some(batch) if !last_one_goes => batch.push(host),
            _ => {
                down.clear();
                for restart in restarts(&host) {
                    down.entry(restart.service.clone()).or_default().insert(host.host.clone());
                }
                batches.push(vec![host]);
            }
        }
    }
    batches
}

/// The restarts of a host's plan.
pub fn restarts(host: &HostPlan) -> impl Iterator<Item = &Restart> {
    host.steps.iter().filter_map(|step| match &step.action {
        Action::Restart(restart) => Some(restart),
        _ => None,
    })
}

/// The sizes of the batches of `total` hosts. `serial` holds counts or percentages of `total`; its
/// last entry repeats until every host has a batch, as in Ansible; an empty list is one batch of all.
pub fn batch_sizes(serial: &[Serial], total: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut left = total;
    let mut entries = serial.iter();
    let mut last = None;
    while left > 0 {
        last = entries.next().or(last);
        let size = match last {
            None | Some(Serial::Count(0)) => left,
            Some(Serial::Count(count)) => *count,
            // Ansible rounds down and takes at least one host.
            Some(Serial::Percent(percent)) => (total * usize::from(*percent) / 100).max(1),
        };
        let size = size.clamp(1, left);
        sizes.push(size);
        left -= size;
    }
    sizes
}

/// One entry of a play's `serial`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serial {
    /// This many hosts; 0 is all of them.
    Count(usize),
    /// This share of the play's hosts, in per cent.
    Percent(u8),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Step;

    /// A host's plan from the services that it restarts.
    fn host(name: &str, services: &[(&str, Role)]) -> HostPlan {
        let step = |(service, role): &(&str, Role)| {
            let name = format!("{service}.service");
            let argv = vec!["systemctl".to_owned(), "restart".to_owned(), name.clone()];
            let restart = Restart { role: *role, order: 0, service: (*service).to_owned(), name, argv };
            let action = Action::Restart(restart);
            Step { tasks: Vec::new(), action, diff: String::new(), after: None }
        };
        let steps = services.iter().map(step).collect();
        HostPlan { host: name.to_owned(), basis: BTreeMap::new(), steps, blocked: Vec::new() }
    }

    #[test]
    fn batches_are_split_where_hosts_must_not_restart_together() {
        const BROKER: (&str, Role) = ("rabbitmq-server", Role::Broker);
        const VOLUME: (&str, Role) = ("cinder-volume", Role::RpcServer);
        const API: (&str, Role) = ("cinder-api", Role::Api);
        const COMPUTE: (&str, Role) = ("nova-compute", Role::Agent);
        type Hosts<'a> = &'a [(&'a str, &'a [(&'a str, Role)])];
        let all = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect::<BTreeSet<_>>();
        let instances = Instances::from([
            ("rabbitmq-server".to_owned(), all(&["a", "b", "c"])),
            ("cinder-volume".to_owned(), all(&["a", "b", "c"])),
            ("cinder-api".to_owned(), all(&["a"])),
        ]);
        let check = |hosts: Hosts<'_>, expected: &[&[&str]]| {
            let batch = hosts.iter().map(|(name, services)| host(name, services)).collect();
            let batches = split(batch, &instances);
            let names: Vec<Vec<&str>> =
                batches.iter().map(|batch| batch.iter().map(|host| host.host.as_str()).collect()).collect();
            assert_eq!(names, expected, "{hosts:?}");
        };
        check(&[], &[]);
        check(&[("a", &[BROKER]), ("b", &[BROKER]), ("c", &[BROKER])], &[&["a"], &["b"], &["c"]]);
        check(&[("a", &[BROKER, VOLUME]), ("b", &[VOLUME]), ("d", &[COMPUTE])], &[&["a", "b", "d"]]);
        // Every instance of cinder-volume in one batch: the last one waits.
        check(&[("a", &[VOLUME]), ("b", &[VOLUME]), ("c", &[VOLUME])], &[&["a", "b"], &["c"]]);
        check(&[("a", &[BROKER]), ("b", &[VOLUME]), ("c", &[VOLUME])], &[&["a", "b", "c"]]);
        check(&[("a", &[BROKER, VOLUME]), ("b", &[VOLUME]), ("c", &[VOLUME])], &[&["a", "b"], &["c"]]);
        check(&[("b", &[VOLUME]), ("c", &[VOLUME])], &[&["b", "c"]]);
        // There is no other instance that could serve meanwhile.
        check(&[("a", &[API]), ("b", &[COMPUTE])], &[&["a", "b"]]);
        check(&[("x", &[COMPUTE]), ("y", &[COMPUTE])], &[&["x", "y"]]);
    }

    #[test]
    fn the_others_of_a_service_are_asked() {
        let instances = Instances::from([(
            "cinder-volume".to_owned(),
            ["a", "b", "c"].map(str::to_owned).into_iter().collect(),
        )]);
        let check = |on: &str, service: &str, expected: &[&str]| {
            let plan = host(on, &[(service, Role::RpcServer)]);
            let restart = restarts(&plan).next().unwrap();
            assert_eq!(witnesses(on, restart, &instances), expected, "{service} on {on}");
        };
        check("b", "cinder-volume", &["a", "c"]);
        check("d", "cinder-volume", &["a", "b", "c"]);
        check("b", "nova-conductor", &[]);
    }

    #[test]
    fn batches_are_ansibles() {
        use Serial::{Count, Percent};
        let check = |serial: &[Serial], total, expected: &[usize]| {
            assert_eq!(batch_sizes(serial, total), expected, "{serial:?} of {total}");
        };
        check(&[], 5, &[5]);
        check(&[], 0, &[]);
        check(&[Count(0)], 4, &[4]);
        check(&[Count(1)], 3, &[1, 1, 1]);
        check(&[Count(2)], 5, &[2, 2, 1]);
        check(&[Percent(30)], 10, &[3, 3, 3, 1]);
        check(&[Percent(10)], 3, &[1, 1, 1]);
        check(&[Count(1), Percent(100)], 4, &[1, 3]);
        check(&[Count(1), Count(5), Count(10)], 30, &[1, 5, 10, 10, 4]);
    }
}
