//! `trueup runs`: what changed hosts, and how it ended.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cli::args::RunsArgs;
use crate::cli::output::Output;
use crate::cli::record::{About, Records};
use crate::error::Exit;
use crate::plan::outcome::{Ending, HostOutcome};

/// Lists the runs that are recorded beside the inventory, oldest first.
pub fn run(args: &RunsArgs, output: Output) -> Exit {
    let all = Records::of(args.records.runs.as_deref(), &args.source.inventory).list();
    if args.format == "json" {
        let runs: Vec<_> =
            all.iter().map(|(about, record)| json!({"run": about, "outcomes": record.outcomes()})).collect();
        output.answer(&format!("{:#}\n", json!(runs)));
        return Exit::Compliant;
    }
    if all.is_empty() {
        output.say("no run is recorded here; -i INVENTORY or --runs DIR says where to look");
    }
    for (about, record) in &all {
        output.answer(&format!(
            "{}  {}  by {}  {}\n",
            about.run,
            about.command,
            about.who,
            standing(about, &record.outcomes())
        ));
    }
    Exit::Compliant
}

/// `applied: ctl1, ctl2; not known: ctl3 (\`trueup resume …\`)`
fn standing(about: &About, outcomes: &BTreeMap<String, HostOutcome>) -> String {
    let mut by_word: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in &about.hosts {
        let word = outcomes.get(host).map_or("interrupted", |outcome| word(&outcome.ending));
        by_word.entry(word).or_default().push(host);
    }
    let parts: Vec<String> =
        by_word.iter().map(|(word, hosts)| format!("{word}: {}", hosts.join(", "))).collect();
    let mut text = parts.join("; ");
    if by_word.contains_key("interrupted") || by_word.contains_key("open") {
        text.push_str(&format!(" (`trueup resume {0}` or `trueup rollback {0}`)", about.run));
    }
    text
}

fn word(ending: &Ending) -> &'static str {
    match ending {
        Ending::Applied => "applied",
        Ending::NotReached { .. } | Ending::Refused { .. } => "not changed",
        Ending::RolledBack { .. } | Ending::PutItselfBack { .. } => "put back",
        Ending::Open { .. } => "open",
        Ending::Broken { .. } => "NOT wholly put back",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_how_it_stands() {
        let about = |hosts: &[&str]| About {
            format_version: "1.0".to_owned(),
            run: "R".to_owned(),
            command: "remediate".to_owned(),
            started_at: String::new(),
            who: String::new(),
            inventory: Vec::new(),
            playbook: String::new(),
            extra_vars: crate::inventory::Vars::new(),
            extra_vars_withheld: false,
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            resumable: true,
            trueup: String::new(),
        };
        let check = |endings: &[(&str, Ending)], expected: &str| {
            let outcomes: BTreeMap<String, HostOutcome> = endings
                .iter()
                .map(|(host, ending)| {
                    let host = (*host).to_owned();
                    (host.clone(), HostOutcome { host, ending: ending.clone(), done: Vec::new() })
                })
                .collect();
            assert_eq!(standing(&about(&["ctl1", "ctl2"]), &outcomes), expected);
        };
        check(&[("ctl1", Ending::Applied), ("ctl2", Ending::Applied)], "applied: ctl1, ctl2");
        check(
            &[("ctl1", Ending::Applied)],
            "applied: ctl1; interrupted: ctl2 (`trueup resume R` or `trueup rollback R`)",
        );
        let back = Ending::RolledBack { step: String::new(), reason: String::new() };
        let not = Ending::NotReached { reason: String::new() };
        check(&[("ctl1", back), ("ctl2", not)], "not changed: ctl2; put back: ctl1");
    }
}
