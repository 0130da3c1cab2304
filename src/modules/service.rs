//! `service`: a systemd unit is enabled and runs, or is not and does not.

use super::{Arguments, Context, Kind, Module, Outcome};
use crate::audit::{Finding, Level};
use crate::error::Result;
use crate::facts::Question;
use crate::plan::{Action, Change};

/// `service: {name: rabbitmq-server, enabled: true, state: started}`
pub const KIND: Kind = Kind {
    name: "service",
    aliases: &[
        "ansible.builtin.service",
        "ansible.builtin.systemd",
        "ansible.builtin.systemd_service",
        "ansible.legacy.service",
        "ansible.legacy.systemd",
        "systemd",
        "systemd_service",
    ],
    arguments: &["name", "enabled", "state"],
    summary: "a unit is enabled and running",
    parse,
};

#[derive(Debug)]
struct Service {
    unit: String,
    enabled: Option<bool>,
    running: Option<bool>,
}

fn parse(arguments: &Arguments) -> Result<Box<dyn Module>> {
    let name = arguments.required("name")?;
    let running = match arguments.text("state")?.as_deref() {
        None => None,
        Some("started" | "running") => Some(true),
        Some("stopped") => Some(false),
        Some(other @ ("restarted" | "reloaded")) => {
            return Err(arguments
                .error("state", format!("`{other}` is an action, and a task says what should hold"))
                .hint("a changed configuration restarts the services that read it, without being told"));
        }
        Some(other) => {
            return Err(arguments
                .error("state", format!("unknown state `{other}`"))
                .suggest(other, ["started", "stopped"]));
        }
    };
    let enabled = arguments.boolean("enabled")?;
    if enabled.is_none() && running.is_none() {
        return Err(arguments.error("name", "neither `enabled` nor `state` is given, so nothing is checked"));
    }
    let unit = if name.contains('.') { name } else { format!("{name}.service") };
    Ok(Box::new(Service { unit, enabled, running }))
}

impl Module for Service {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Unit(self.unit.clone())]
    }

    fn check(&self, context: &Context<'_>) -> Outcome {
        let Some(unit) = context.facts.units.get(&self.unit).filter(|unit| unit.load != "not-found") else {
            return Outcome::NotApplicable(format!("no unit {}", self.unit));
        };
        let show = format!("systemctl show {}", self.unit);
        let masked = unit.load == "masked";
        let mend = |finding: Finding, verb: &str| {
            if masked {
                finding.manual(format!("systemctl unmask {0} && systemctl {verb} {0}", self.unit))
            } else {
                finding.automatic(format!("systemctl {verb} {}", self.unit))
            }
        };
        let mut findings = Vec::new();
        // Units such as `static` ones cannot be enabled or disabled: they run when something wants them.
        let is_enabled = match unit.enabled.as_str() {
            "enabled" | "enabled-runtime" | "alias" => Some(true),
            "disabled" | "masked" | "masked-runtime" => Some(false),
            _ => None,
        };
        if let (Some(wanted), Some(is)) = (self.enabled, is_enabled)
            && wanted != is
        {
            let finding = Finding::new(context.task, Level::Boot, &self.unit)
                .differs(if wanted { "enabled" } else { "disabled" }, &unit.enabled)
                .evidence(&show, format!("UnitFileState={}", unit.enabled));
            findings.push(mend(finding, if wanted { "enable" } else { "disable" }));
        }
        let is_running = matches!(unit.active.as_str(), "active" | "reloading");
        if let Some(wanted) = self.running
            && wanted != is_running
        {
            let finding = Finding::new(context.task, Level::Running, &self.unit)
                .differs(
                    if wanted { "active" } else { "inactive" },
                    format!("{} ({})", unit.active, unit.sub),
                )
                .evidence(&show, format!("ActiveState={} SubState={}", unit.active, unit.sub));
            findings.push(mend(finding, if wanted { "start" } else { "stop" }));
        }
        let changes = if findings.is_empty() || masked {
            Vec::new()
        } else {
            let action =
                Action::SetUnit { unit: self.unit.clone(), enabled: self.enabled, running: self.running };
            vec![Change { task: context.task.id.clone(), action, owes: Vec::new() }]
        };
        Outcome::Checked { findings, changes }
    }
}
