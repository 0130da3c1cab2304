//! The playbooks and templates in the binary: every file of `playbooks/` and `templates/`.

/// The playbook that runs when none is named.
pub const DEFAULT_PLAYBOOK: &str = "rpc-survives";

/// Every embedded playbook, by its name without ending.
pub const PLAYBOOKS: &[(&str, &str)] = &[("rpc-survives", include_str!("../../playbooks/rpc-survives.yml"))];

/// Every embedded template, by the name that `src:` gives.
pub const TEMPLATES: &[(&str, &str)] = &[
    ("oslo-messaging.conf.j2", include_str!("../../templates/oslo-messaging.conf.j2")),
    ("oslo-rpc-timeout.conf.j2", include_str!("../../templates/oslo-rpc-timeout.conf.j2")),
    ("rabbitmq-keepalive.conf.j2", include_str!("../../templates/rabbitmq-keepalive.conf.j2")),
    ("sysctl-keepalive.conf.j2", include_str!("../../templates/sysctl-keepalive.conf.j2")),
    ("sysctl-retries2.conf.j2", include_str!("../../templates/sysctl-retries2.conf.j2")),
];

/// The embedded playbook of this name, with or without `.yml`.
pub fn playbook(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name.strip_suffix(".yml").unwrap_or(name);
    PLAYBOOKS.iter().copied().find(|(known, _)| *known == name)
}
