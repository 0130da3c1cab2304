//! Waivers, as a part of a report.

use std::collections::{BTreeMap, BTreeSet};

use super::{HostReport, HostStatus, Report};
use crate::audit::{Finding, health};
use crate::waiver::{Waived, Waivers};

impl Report {
    /// Adds how every waiver stands, and lets no waived finding count. Owed after everything else was added:
    /// the health of brokers and services can be waived as well.
    pub fn waive(&mut self, waivers: &Waivers) {
        for (name, host) in &mut self.hosts {
            for finding in &mut host.findings {
                if finding.waived.is_none() && !finding.is_note() {
                    finding.waived = waivers.for_task(name, &finding.task);
                }
            }
            if host.status == HostStatus::Findings && !host.findings.iter().any(Finding::counts) {
                host.status = HostStatus::Compliant;
            }
        }
        let findings: BTreeMap<&str, &[Finding]> =
            self.hosts.iter().map(|(name, host)| (name.as_str(), host.findings.as_slice())).collect();
        let health = self.command != "audit" && self.command != "plan";
        let looked_at = self.hosts.iter().map(|(name, host)| (name.as_str(), tasks(host, health))).collect();
        self.waivers = waivers.rows(&findings, &looked_at);
        self.count();
    }
}

/// Until when it does not count, or did not, and who answers for that.
pub(super) fn told(waived: &Waived) -> String {
    let until = if waived.expired { "waiver ended on" } else { "waived until" };
    format!("{until} {} by {}", waived.until, waived.owner)
}

/// The tasks that were looked at on a host.
fn tasks(host: &HostReport, health: bool) -> BTreeSet<&str> {
    let own = host.tasks.iter().map(|row| row.task.as_str());
    own.chain(Some(health::TASK).filter(|_| health && host.error.is_none())).collect()
}
