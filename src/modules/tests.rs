//! Arguments of every kind: what is taken, what is refused and how.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Arguments, Rendered, kind};
use crate::error::{Place, Result};

fn arguments(values: &Value, src: Option<&str>) -> Arguments {
    Arguments {
        values: values.as_object().unwrap().clone(),
        src: src.map(|text| Rendered { name: "x.j2".to_owned(), text: text.to_owned() }),
        places: BTreeMap::new(),
        place: Place::new("p.yml", "- x:\n", 1, 3, 1),
    }
}

fn parse(name: &str, values: &Value, src: Option<&str>) -> Result<()> {
    (kind(name).unwrap().parse)(&arguments(values, src)).map(|_| ())
}

fn taken(name: &str, values: &Value, src: Option<&str>) {
    parse(name, values, src).unwrap_or_else(|error| panic!("{name} {values}: {}", error.render(false)));
}

fn refused(name: &str, values: &Value, src: Option<&str>, message: &str) {
    let error = parse(name, values, src).expect_err(&format!("{name} {values}"));
    let told = error.render(false);
    assert!(told.contains(message), "{name} {values}: {told}");
}

#[test]
fn every_kind_has_its_own_names() {
    let mut names: Vec<&str> =
        super::KINDS.iter().flat_map(|kind| kind.aliases.iter().copied().chain([kind.name])).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert_eq!(kind("ansible.posix.sysctl").unwrap().name, "sysctl");
    assert!(kind("apt").is_none());
}

#[test]
fn sysctl_takes_a_template_or_ansible_s_arguments() {
    let dest = "/etc/sysctl.d/60-x.conf";
    taken("sysctl", &json!({"dest": dest}), Some("net.ipv4.tcp_retries2 = 6\n# x\n"));
    taken("sysctl", &json!({"name": "net.ipv4.tcp_retries2", "value": 6}), None);
    taken("sysctl", &json!({"name": "net/ipv4/tcp_retries2", "value": "6", "state": "present"}), None);
    refused("sysctl", &json!({"name": "a.b"}), None, "`value` is missing");
    refused("sysctl", &json!({"dest": dest}), None, "`name` and `value`");
    refused("sysctl", &json!({"dest": dest}), Some("# nothing\n"), "renders to no setting");
    refused("sysctl", &json!({"dest": dest}), Some("a b\n"), "no `=` in this line");
    refused("sysctl", &json!({"dest": dest}), Some("net.ipv4.* = 1\n"), "a pattern");
    refused("sysctl", &json!({}), Some("a.b = 1\na.c = 2\n"), "`dest` is missing");
    refused("sysctl", &json!({"dest": "/etc/sysctl.conf"}), Some("a.b = 1\n"), "only whole drop-ins");
    refused("sysctl", &json!({"dest": "/etc/sysctl.d/../x.conf"}), Some("a.b = 1\n"), "without `..`");
    refused(
        "sysctl",
        &json!({"name": "a.b", "value": 1, "state": "absent"}),
        None,
        "`absent` is not supported",
    );
}

#[test]
fn oslo_config_refuses_what_no_release_takes() {
    let rabbit = |line: &str| format!("[oslo_messaging_rabbit]\n{line}\n");
    taken("oslo_config", &json!({"services": "all"}), Some(&rabbit("heartbeat_timeout_threshold = 15")));
    taken("oslo_config", &json!({"services": ["cinder-volume"]}), Some(&rabbit("kombu_reconnect_delay = 5")));
    taken("oslo_config", &json!({}), Some("[DEFAULT]\ndebug = true\n"));
    let check = |line: &str, message: &str| refused("oslo_config", &json!({}), Some(&rabbit(line)), message);
    check("heartbeat_timeout_treshold = 15", "did you mean `heartbeat_timeout_threshold`?");
    check("heartbeat_timeout_threshold = soon", "`soon` is not an integer");
    check("rabbit_quorum_queue = perhaps", "not a boolean");
    check("", "renders to no option");
    refused(
        "oslo_config",
        &json!({"services": ["cinder-volum"]}),
        Some(&rabbit("heartbeat_rate = 3")),
        "did you mean",
    );
    refused(
        "oslo_config",
        &json!({"services": ["rabbitmq-server"]}),
        Some(&rabbit("heartbeat_rate = 3")),
        "unknown service",
    );
}

#[test]
fn rabbitmq_config_writes_drop_ins_without_secrets() {
    let dest = "/etc/rabbitmq/conf.d/50-x.conf";
    taken("rabbitmq_config", &json!({"dest": dest}), Some("tcp_listen_options.keepalive = true\n"));
    let check = |dest: &str, text: &str, message: &str| {
        refused("rabbitmq_config", &json!({"dest": dest}), Some(text), message);
    };
    check("/etc/rabbitmq/rabbitmq.conf", "a = b\n", "is no drop-in");
    check(dest, "default_pass = x\n", "a secret");
    check(dest, "a\n", "no `=` in this line");
    check(dest, "\n", "renders to no setting");
}

#[test]
fn template_takes_modes_as_ansible_does() {
    let check = |mode: Value, fine: bool| {
        let result =
            parse("template", &json!({"content": "x", "dest": "/etc/x", "mode": mode.clone()}), None);
        assert_eq!(result.is_ok(), fine, "{mode}");
    };
    check(json!("0644"), true);
    check(json!("644"), true);
    check(json!("0o600"), true);
    check(json!(420), true);
    check(json!(644), false);
    check(json!(400), false);
    check(json!("u=rw"), false);
    check(json!("9"), false);
    taken("copy", &json!({"content": "x", "dest": "/etc/x", "validate": "check -f %s"}), None);
    refused("template", &json!({"content": "x", "dest": "/etc/x", "validate": "check"}), None, "write `%s`");
    refused("template", &json!({"dest": "/etc/x"}), None, "`src` or `content` is missing");
    refused("template", &json!({"content": "x", "dest": "etc/x"}), None, "not an absolute path");
}

#[test]
fn service_and_command_say_what_should_hold() {
    taken("systemd", &json!({"name": "chrony", "enabled": "yes", "state": "started"}), None);
    refused("service", &json!({"name": "chrony"}), None, "nothing is checked");
    refused("service", &json!({"name": "chrony", "state": "restarted"}), None, "is an action");
    refused("service", &json!({"name": "chrony", "state": "startd"}), None, "did you mean `started`?");
    taken("command", &json!({"argv": ["true"]}), None);
    taken("command", &json!({"cmd": "grep -q 'a b' /x", "rc": 1, "matches": "^a"}), None);
    refused("command", &json!({}), None, "`argv` or `cmd` is missing");
    refused("command", &json!({"cmd": "echo 'a"}), None, "unfinished quote");
    refused("command", &json!({"argv": ["x"], "matches": "("}), None, "not a regular expression");
    refused("command", &json!({"argv": ["x"], "rc": "one"}), None, "not a whole number");
}

#[test]
fn detection_window_knows_its_strategies() {
    taken("detection_window", &json!({}), None);
    taken("detection_window", &json!({"survivable_age": "15", "strategy": "rpc_timeout"}), None);
    refused("detection_window", &json!({"strategy": "heartbeats"}), None, "did you mean `heartbeat`?");
    refused("detection_window", &json!({"survivable_age": -1}), None, "not a number of seconds");
}
