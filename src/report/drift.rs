//! Drift, as a part of a report.

use std::collections::BTreeMap;

use super::{Compared, Report};
use crate::drift::{Baseline, Difference, Drift};

impl Report {
    /// Adds what differs from these baselines.
    pub fn add_drift(&mut self, drift: Drift, baselines: &BTreeMap<String, Baseline>) {
        let saved = |(host, baseline): (&String, &Baseline)| (host.clone(), baseline.saved_at.clone());
        self.drift =
            Some(Compared { baselines: baselines.iter().map(saved).collect(), cluster: drift.cluster });
        for (host, differences) in drift.hosts {
            if let Some(host) = self.hosts.get_mut(&host) {
                host.drift = differences;
            }
        }
        self.count();
    }

    /// Every difference with its host; new and gone hosts first.
    pub fn differences(&self) -> impl Iterator<Item = (&str, &Difference)> {
        let cluster = self.drift.iter().flat_map(|compared| &compared.cluster);
        let cluster = cluster.map(|difference| (difference.subject.as_str(), difference));
        let own = self
            .hosts
            .iter()
            .flat_map(|(name, host)| host.drift.iter().map(move |difference| (name.as_str(), difference)));
        cluster.chain(own)
    }
}
