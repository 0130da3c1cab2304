//! What is wrong with brokers and services whatever the playbook says: asked after an apply, and by `verify`.

use super::{Evidence, Finding, Level, Remedy, Severity, Status};
use crate::facts::{Facts, Rabbit, Reading};
use crate::service;

/// The id that health findings carry in place of a task's.
pub const TASK: &str = "health";

/// Everything that is wrong on one host now.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    match &facts.rabbitmq {
        Reading::Known(node) => broker(node, &mut found),
        Reading::Unknown(reason) => found.push(finding(
            "RabbitMQ",
            Status::Unknown,
            "an answer of the node",
            reason,
            "rabbitmqctl cluster_status",
            "look at the node's log",
        )),
        Reading::Absent => {}
    }
    for running in service::running(facts) {
        let unit = running.unit.as_ref().and_then(|name| Some((name, facts.units.get(name)?)));
        if let Some((name, unit)) = unit
            && unit.active == "failed"
        {
            let seen = format!("{} ({}), restarted {} times", unit.active, unit.sub, unit.restarts);
            let source = format!("systemctl show {name}");
            found.push(finding(
                name,
                Status::Fail,
                "active",
                &seen,
                &source,
                &format!("journalctl -u {name} says why"),
            ));
        }
    }
    found
}

fn broker(node: &Rabbit, found: &mut Vec<Finding>) {
    let source = "rabbitmqctl cluster_status";
    let mut add = |expected: &str, actual: &str, mend: &str| {
        found.push(finding(&node.node, Status::Fail, expected, actual, source, mend));
    };
    if !node.running {
        add("running", "not running", "start the node; its log says why it stopped");
        return;
    }
    if !node.partitions.is_empty() {
        let actual = format!("partitioned from {}", node.partitions.join(", "));
        add("no partition", &actual, "restart the nodes of the minority, one at a time");
    }
    if !node.alarms.is_empty() {
        let mend = "free memory or disk: publishers are blocked, and a blocked connection's heartbeats are not checked";
        add("no alarm", &node.alarms.join(", "), mend);
    }
    let down = node.down();
    if !down.is_empty() {
        add(
            "every member running",
            &format!("{} down", down.join(", ")),
            "start it, or forget it with `rabbitmqctl forget_cluster_node`",
        );
    }
    if let Reading::Known(queues) = &node.reply_queues {
        for queue in queues.iter().filter(|queue| queue.consumers > 1) {
            let actual = format!(
                "{} has {} consumers, {} messages unacknowledged",
                queue.name, queue.consumers, queue.unacknowledged
            );
            found.push(finding(
                &node.node,
                Status::Fail,
                "one consumer a reply queue",
                &actual,
                "rabbitmqctl list_queues name consumers messages_unacknowledged",
                "a dead and a live consumer share it: the dead one goes when the broker notices; \
                 `rabbitmqctl close_connection` ends it now",
            ));
        }
    }
}

fn finding(subject: &str, status: Status, expected: &str, actual: &str, source: &str, mend: &str) -> Finding {
    Finding {
        task: TASK.to_owned(),
        title: "Brokers and services are healthy".to_owned(),
        severity: Severity::Critical,
        level: Level::Running,
        status,
        subject: subject.to_owned(),
        expected: expected.to_owned(),
        actual: actual.to_owned(),
        evidence: vec![Evidence { source: source.to_owned(), text: actual.to_owned() }],
        remedy: Remedy::Manual,
        mend: mend.to_owned(),
        why: "No setting helps while the brokers themselves are not well.".to_owned(),
        waived: None,
    }
}
