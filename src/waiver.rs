//! Waivers: differences that somebody has taken responsibility for until a day.
//!
//! A finding of a waived task on a waived host is shown as waived, does not set the exit code, and is left
//! alone by a plan. After the day it counts again, and the report says whose waiver ended. Waivers stand in
//! the inventory's variables ([`VARIABLE`]), in `waivers.yml` beside the inventory, or in `--waivers FILE`:
//! ```yaml
//! - task: tcp-keepalive
//!   hosts: ctl2                 # Ansible's patterns
//!   reason: the load balancer's vendor wants 60 s until its firmware 4.2
//!   owner: network team
//!   until: 2026-12-31           # the last day on which it holds
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::Finding;
use crate::error::{Place, Result, nearest};
use crate::yaml::{self, Kind, Node};

/// The variable that holds a list of waivers.
pub const VARIABLE: &str = "trueup_waivers";

/// The file that is read where it stands beside the inventory.
pub const FILE: &str = "waivers.yml";

/// The keys of a waiver.
const KEYS: [&str; 5] = ["task", "hosts", "reason", "owner", "until"];

/// One waiver as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The id of the task whose findings it is for.
    pub task: String,
    /// The hosts, an Ansible pattern; `None` in a variable: every host that has the variable.
    pub hosts: Option<String>,
    /// Why the difference is accepted.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it holds.
    pub until: Date,
    /// Where it stands.
    pub place: Place,
}

/// A waiver and the hosts of the inventory that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// As written.
    pub waiver: Waiver,
    /// Inventory names, those outside of `--limit` too.
    pub hosts: BTreeSet<String>,
    /// Why it can match nothing at all: no such task, no such host.
    pub fault: Option<String>,
}

/// What a finding says about the waiver that is for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waived {
    /// Why the difference is accepted.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it holds, as in `2026-12-31`.
    pub until: String,
    /// `true`: that day is over, and the finding counts.
    pub expired: bool,
    /// Where the waiver stands.
    pub source: String,
}

/// A waiver in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaiverRow {
    /// The id of the task whose findings it is for.
    pub task: String,
    /// The hosts of the inventory that it is for, whether they were read or not.
    pub hosts: Vec<String>,
    /// Why the difference is accepted.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it holds, as in `2026-12-31`.
    pub until: String,
    /// Where it stands.
    pub source: String,
    /// How it stands today.
    pub standing: WaiverStanding,
    /// The findings of this run that it is for.
    pub findings: usize,
    /// What is wrong with it, where it matches nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// How a waiver stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaiverStanding {
    /// It is in force, and there are findings it is for.
    InForce,
    /// Its day is over: its findings count again.
    Expired,
    /// Every host it is for was read, and the task has nothing to waive there.
    NotNeeded,
    /// It names a task or hosts that do not exist.
    MatchesNothing,
    /// This run did not look at its task on its hosts.
    NotLookedAt,
}

/// The waivers of a file: a list, or a mapping with [`VARIABLE`] alone.
pub fn parse(path: &str, text: &str) -> Result<Vec<Waiver>> {
    let Some(root) = yaml::load(path, text)? else { return Ok(Vec::new()) };
    let list = match root.as_map() {
        Some([(key, list)]) if key.as_str() == Some(VARIABLE) => list,
        Some(pairs) => {
            let odd = pairs.iter().map(|(key, _)| key).find(|key| key.as_str() != Some(VARIABLE));
            let odd = odd.unwrap_or(&root);
            let error = odd.error(path, text, format!("unknown key `{}` in a file of waivers", odd.key()));
            return Err(error.hint(format!("it is a list of waivers, or `{VARIABLE}:` with one")));
        }
        None => &root,
    };
    of_node(list, path, text, true)
}

/// The waivers of a list. In a file each must name its `hosts`; a variable belongs to hosts anyway.
pub fn of_node(list: &Node, path: &str, text: &str, hosts_needed: bool) -> Result<Vec<Waiver>> {
    if list.is_null() {
        return Ok(Vec::new());
    }
    let items = list.expect_seq("the list of waivers", path, text)?;
    items.iter().map(|item| one(item, path, text, hosts_needed)).collect()
}

fn one(item: &Node, path: &str, text: &str, hosts_needed: bool) -> Result<Waiver> {
    let pairs = item.expect_map("a waiver", path, text)?;
    if let Some((key, _)) = pairs.iter().find(|(key, _)| !KEYS.contains(&key.key().as_str())) {
        let typed = key.key();
        return Err(key
            .error(path, text, format!("unknown key `{typed}` in a waiver"))
            .suggest(&typed, KEYS));
    }
    let missing = |key: &str| {
        item.error(path, text, format!("this waiver has no `{key}`")).hint(match key {
            "until" => "a waiver ends on a day: `until: 2026-12-31`; renew it then, if it must be",
            "owner" => "`owner:` is who is asked when it ends",
            "reason" => "`reason:` is what a reader of the report is told",
            "task" => "`trueup explain` lists the ids of the tasks",
            _ => "`hosts: all`, or a host, a group, or a pattern of Ansible",
        })
    };
    let word = |key: &str| -> Result<String> {
        let value = item.get(key).ok_or_else(|| missing(key))?;
        let word = value.expect_str(&format!("`{key}` of a waiver"), path, text)?.trim();
        if word.is_empty() {
            return Err(value.error(path, text, format!("`{key}` of this waiver is empty")));
        }
        Ok(word.to_owned())
    };
    let hosts = match item.get("hosts") {
        None if !hosts_needed => None,
        _ => Some(word("hosts")?),
    };
    let until = item.get("until").ok_or_else(|| missing("until"))?;
    Ok(Waiver {
        task: word("task")?,
        hosts,
        reason: word("reason")?,
        owner: word("owner")?,
        until: day(until, path, text)?,
        place: item.place(path, text),
    })
}

fn day(node: &Node, path: &str, text: &str) -> Result<Date> {
    let written = match &node.kind {
        Kind::Str(written) | Kind::Unsafe(written) | Kind::Time(written) => Some(written.trim()),
        _ => None,
    };
    // Strictly a day: a time would be dropped without a word.
    let parsed = written.filter(|text| text.len() == 10).and_then(|text| text.parse::<Date>().ok());
    parsed.ok_or_else(|| {
        let typed = node.key();
        node.error(path, text, format!("`until: {typed}` is not a day of the calendar"))
            .hint("write it as year-month-day: `until: 2026-12-31`")
    })
}

impl Waiver {
    /// Is its last day over?
    pub fn is_expired(&self, today: Date) -> bool {
        today > self.until
    }

    /// `waivers.yml:3`
    pub fn source(&self) -> String {
        format!("{}:{}", self.place.path, self.place.line)
    }

    /// Its task among the `known` ones, or what was probably meant.
    pub fn task_fault<'a>(&self, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let known: Vec<&str> = known.into_iter().collect();
        // A loop's tasks are `id[item]`: the id alone stands for all of them.
        let own = |id: &&str| covers(&self.task, id);
        if known.iter().any(own) {
            return None;
        }
        let meant = nearest(&self.task, &known).map(|best| format!("; did you mean `{best}`?"));
        Some(format!("no task has the id `{}`{}", self.task, meant.unwrap_or_default()))
    }
}

/// Does a waiver of `task` cover the task `id`? It does by its id, and every turn of a loop by the loop's id.
fn covers(task: &str, id: &str) -> bool {
    id == task || id.strip_prefix(task).is_some_and(|rest| rest.starts_with('['))
}

impl Resolved {
    fn is_for(&self, host: &str, task: &str) -> bool {
        covers(&self.waiver.task, task) && self.hosts.contains(host)
    }

    fn waived(&self, today: Date) -> Waived {
        let Waiver { reason, owner, until, .. } = &self.waiver;
        Waived {
            reason: reason.clone(),
            owner: owner.clone(),
            until: until.to_string(),
            expired: self.waiver.is_expired(today),
            source: self.waiver.source(),
        }
    }
}

/// The waivers of a run, and what day it is where trueup runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waivers {
    /// All of them.
    pub all: Vec<Resolved>,
    /// Today; `None` where there are no waivers.
    pub today: Option<Date>,
}

impl Waivers {
    /// The waiver for this task on this host; of several the one that holds longest.
    pub fn for_task(&self, host: &str, task: &str) -> Option<Waived> {
        let longest =
            self.all.iter().filter(|one| one.is_for(host, task)).max_by_key(|one| one.waiver.until)?;
        Some(longest.waived(self.today?))
    }

    /// Is this task on this host left alone today?
    pub fn in_force(&self, host: &str, task: &str) -> bool {
        self.for_task(host, task).is_some_and(|waived| !waived.expired)
    }

    /// Every waiver against what a run saw: findings by host, and by host the tasks that were looked at there.
    pub fn rows(
        &self,
        findings: &BTreeMap<&str, &[Finding]>,
        looked_at: &BTreeMap<&str, BTreeSet<&str>>,
    ) -> Vec<WaiverRow> {
        let Some(today) = self.today else { return Vec::new() };
        let row = |one: &Resolved| {
            let Waiver { task, reason, owner, until, .. } = &one.waiver;
            let of_host = |host: &&String| findings.get(host.as_str()).copied().unwrap_or_default();
            let own = one.hosts.iter().flat_map(|host| of_host(&host));
            let number = own.filter(|finding| covers(task, &finding.task) && !finding.is_note()).count();
            let seen = |host: &String| {
                looked_at.get(host.as_str()).is_some_and(|tasks| tasks.iter().any(|id| covers(task, id)))
            };
            let standing = if one.fault.is_some() {
                WaiverStanding::MatchesNothing
            } else if one.waiver.is_expired(today) {
                WaiverStanding::Expired
            } else if number > 0 {
                WaiverStanding::InForce
            } else if one.hosts.iter().all(seen) {
                WaiverStanding::NotNeeded
            } else {
                WaiverStanding::NotLookedAt
            };
            WaiverRow {
                task: task.clone(),
                hosts: one.hosts.iter().cloned().collect(),
                reason: reason.clone(),
                owner: owner.clone(),
                until: until.to_string(),
                source: one.waiver.source(),
                standing,
                findings: number,
                fault: one.fault.clone(),
            }
        };
        self.all.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "task: heartbeat, hosts: ctl1, reason: r, owner: o, until: 2026-12-31";

    fn check(text: &str, expected: std::result::Result<usize, (&str, usize, &str)>) {
        let found = parse("waivers.yml", text);
        match (found, expected) {
            (Ok(waivers), Ok(number)) => assert_eq!(waivers.len(), number, "{text}"),
            (Err(error), Err((message, line, hint))) => {
                assert!(error.message().contains(message), "{text}: {error}");
                assert_eq!(error.place().map(|place| place.line), Some(line), "{text}");
                assert!(error.hints().join(" ").contains(hint), "{text}: {:?}", error.hints());
            }
            (found, expected) => panic!("{text}: {found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn a_file_of_waivers_is_read_strictly() {
        check("", Ok(0));
        check("---\n", Ok(0));
        check(&format!("- {{{GOOD}}}\n"), Ok(1));
        check(&format!("- {{{GOOD}}}\n- {{{GOOD}}}\n"), Ok(2));
        check(&format!("trueup_waivers:\n  - {{{GOOD}}}\n"), Ok(1));
        check("waivers: []", Err(("unknown key `waivers`", 1, "list of waivers")));
        check("trueup_waivers: []\nmore: 1", Err(("unknown key `more`", 2, "list of waivers")));
        check("- heartbeat", Err(("a waiver must be a mapping", 1, "")));
        check("heartbeat", Err(("the list of waivers must be a list", 1, "")));
        let without = |key: &str, line: &str| {
            let fields = ["task: heartbeat", "hosts: all", "reason: r", "owner: o", "until: 2026-12-31"];
            let kept: Vec<&str> =
                fields.into_iter().filter(|field| !field.starts_with(key)).chain([line]).collect();
            format!("\n- {}", kept.join("\n  "))
        };
        for (key, hint) in [
            ("task", "trueup explain"),
            ("hosts", "hosts: all"),
            ("reason", "is told"),
            ("owner", "asked"),
            ("until", "until: 2026-12-31"),
        ] {
            check(&without(key, ""), Err((&format!("no `{key}`"), 2, hint)));
            check(&without(key, &format!("{key}: ''")), Err((key, 6, "")));
            check(&without(key, &format!("{key}: [1]")), Err((key, 6, "")));
        }
        check(&without("until", "untill: 2026-12-31"), Err(("unknown key `untill`", 6, "`until`")));
        for day in ["'2026-02-30'", "31.12.2026", "20261231", "2026-12-31 10:00:00", "never", "'2026-12'"] {
            check(&without("until", &format!("until: {day}")), Err(("is not a day", 6, "2026-12-31")));
        }
        check(&without("until", "until: '2026-12-31'"), Ok(1));
    }

    #[test]
    fn the_last_day_still_counts() {
        let waiver = parse("w", &format!("- {{{GOOD}}}")).unwrap().remove(0);
        for (today, expired) in [("2026-12-30", false), ("2026-12-31", false), ("2027-01-01", true)] {
            assert_eq!(waiver.is_expired(today.parse().unwrap()), expired, "{today}");
        }
    }

    #[test]
    fn of_two_waivers_the_longer_one_counts() {
        let text = format!("- {{{GOOD}}}\n- {{{}}}", GOOD.replace("2026", "2025"));
        let hosts: BTreeSet<String> = ["ctl1".to_owned()].into();
        let resolved = |waiver| Resolved { waiver, hosts: hosts.clone(), fault: None };
        let all = parse("w", &text).unwrap().into_iter().map(resolved).collect();
        let waivers = Waivers { all, today: Some("2026-06-01".parse().unwrap()) };
        let check = |host: &str, task: &str, expected: Option<&str>| {
            let waived = waivers.for_task(host, task);
            assert_eq!(waived.map(|waived| waived.source).as_deref(), expected, "{host} {task}");
        };
        check("ctl1", "heartbeat", Some("w:1"));
        check("ctl1", "heartbeat[cinder]", Some("w:1"));
        check("ctl1", "heartbeats", None);
        check("ctl2", "heartbeat", None);
    }

    #[test]
    fn a_misspelt_task_is_told_with_what_was_meant() {
        let waiver =
            |task: &str| parse("w", &format!("- {{{}}}", GOOD.replace("heartbeat", task))).unwrap().remove(0);
        let check = |task: &str, expected: Option<&str>| {
            let fault = waiver(task).task_fault(["heartbeat", "tcp-keepalive[a]"]);
            assert_eq!(fault.as_deref(), expected, "{task}");
        };
        check("heartbeat", None);
        check("tcp-keepalive", None);
        check("hartbeat", Some("no task has the id `hartbeat`; did you mean `heartbeat`?"));
        check("else", Some("no task has the id `else`"));
    }
}
