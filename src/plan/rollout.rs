//! Which hosts change together, and why it is not safe to go on.

use crate::audit::Cluster;
use crate::facts::{Facts, Rabbit, Reading};
use crate::plan::{Action, HostPlan, Role};

/// Splits batches so that no two hosts of one batch restart a broker: RabbitMQ nodes go down one at a
/// time however large `serial` is. Quorum queues lose their majority otherwise, and `pause_minority`
/// stops the nodes that are left.
pub fn one_broker_at_a_time(batch: Vec<HostPlan>) -> Vec<Vec<HostPlan>> {
    let (brokers, mut rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(restarts_broker);
    let mut batches: Vec<Vec<HostPlan>> = brokers.into_iter().map(|host| vec![host]).collect();
    match batches.first_mut() {
        Some(first) => first.append(&mut rest),
        None if rest.is_empty() => {}
        None => batches.push(rest),
    }
    batches
}

fn restarts_broker(host: &HostPlan) -> bool {
    host.steps
        .iter()
        .any(|step| matches!(&step.action, Action::Restart(restart) if restart.role == Role::Broker))
}

/// Why this host's broker must not be restarted now; `None` when it may.
///
/// What is asked is what every node of the cluster says, not only the node itself: a partition is
/// often seen from one side only.
pub fn broker_restart_blocked(host: &str, cluster: &Cluster) -> Option<String> {
    let own = rabbit(cluster.get(host)?.as_ref().ok()?)?;
    if !own.running {
        return None; // It cannot get worse, and a restart may mend it.
    }
    let mut nodes = cluster.values().flatten().filter_map(rabbit).filter(|node| node.running);
    if let Some(node) = nodes.clone().find(|node| !node.partitions.is_empty()) {
        return Some(format!(
            "{} is partitioned from {}; heal the partition first (`rabbitmqctl cluster_status`)",
            node.node,
            node.partitions.join(", ")
        ));
    }
    if let Some(node) = nodes.clone().find(|node| !node.alarms.is_empty()) {
        return Some(format!(
            "an alarm is in force: {}; publishers are blocked until it clears",
            node.alarms.join(", ")
        ));
    }
    let missing = nodes.find_map(|node| {
        let down = node.down();
        (!down.is_empty()).then(|| down.join(", "))
    })?;
    Some(format!("{missing} is down; another restart would take a second node of the cluster away"))
}

fn rabbit(facts: &Facts) -> Option<&Rabbit> {
    match &facts.rabbitmq {
        Reading::Known(rabbit) => Some(rabbit),
        Reading::Absent | Reading::Unknown(_) => None,
    }
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
