//! The checkpoint of a run on a host, as values: ids, the script with what it is about, its verbs, and what
//! it answers.
//!
//! The script (`checkpoint.sh`, `restore.sh`) is put on the host in one piece with the lists it works
//! from, so that the host can put itself back without anybody. Everything an apply changes goes through
//! it: a run that is no longer open is refused, also when a laptop wakes up hours later.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cmd::{Output, quote};
use crate::error::HostError;
use crate::plan::{Action, HostPlan};

/// Where checkpoints are kept, below the host's root.
pub const FOLDER: &str = "/var/lib/trueup";

const SCRIPT: &str = concat!(include_str!("checkpoint.sh"), "\n", include_str!("restore.sh"));

/// Puts standard input on the host and begins. Without line breaks, `!` and backslashes, for any login shell.
pub const BEGIN: &str = "umask 077; b=${1%/*}; n=$b/.new.$$; shift; trap 'rm -f -- \"$n\"; exit 129' HUP INT TERM PIPE; \
     mkdir -p -- \"$b\" && cat >\"$n\" || { rm -f -- \"$n\"; exit 1; }; exec sh \"$n\" begin \"$@\"";

/// Asks the checkpoint that is there; where there is none, nothing is open.
pub const ASK: &str = "d=$1; shift; [ -f \"$d/checkpoint\" ] || exit 41; exec sh \"$d/checkpoint\" \"$@\"";

/// The id of a run: `20261122T131502Z-3f2a`, and `….2` for its second checkpoint on one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

impl RunId {
    /// The id of a run that begins at `at`; `random` keeps two of the same second apart.
    pub fn new(at: jiff::Timestamp, random: u16) -> Self {
        Self(format!("{}-{random:04x}", at.strftime("%Y%m%dT%H%M%SZ")))
    }

    /// Reads one; it becomes a folder's name on hosts, so nothing else is let through.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, part) = text.split_once('.').map_or((text, None), |(base, part)| (base, Some(part)));
        let (time, random) = base.split_once('-')?;
        let digits = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
        let (day, clock) = time.strip_suffix('Z')?.split_once('T')?;
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = digits(day, 8)
            && digits(clock, 6)
            && random.len() == 4
            && random.bytes().all(hexadecimal)
            && part.is_none_or(|part| (1..=4).contains(&part.len()) && digits(part, part.len()));
        fits.then(|| Self(text.to_owned()))
    }

    /// The `number`th checkpoint of this run on one host, from 1.
    #[must_use]
    pub fn part(&self, number: usize) -> Self {
        if number < 2 { Self(self.base().to_owned()) } else { Self(format!("{}.{number}", self.base())) }
    }

    /// Which checkpoint of its run it is, from 1.
    pub fn number(&self) -> usize {
        self.0.split_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or(1)
    }

    /// The run's own id.
    pub fn base(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who changes a host, and how long it waits for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Tells this process from another one that goes on with the same run: whoever was first is refused.
    pub session: String,
    /// `user@machine`.
    pub who: String,
    /// The process there.
    pub pid: u32,
    /// How long after the last sign of life the run counts as dead.
    pub lease: Duration,
    /// Does the host then put itself back?
    pub failsafe: bool,
}

impl Run {
    /// The same run, with its `number`th checkpoint on a host.
    #[must_use]
    pub fn part(&self, number: usize) -> Self {
        Self { id: self.id.part(number), ..self.clone() }
    }

    /// What `begin` and `take` are told.
    pub fn words(&self) -> Vec<String> {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        vec![
            self.session.clone(),
            one_line(&self.who),
            self.pid.to_string(),
            env!("CARGO_PKG_VERSION").to_owned(),
            self.lease.as_secs().to_string(),
            if self.failsafe { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// How a checkpoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is being made, or was never finished: nothing was changed.
    Beginning,
    /// The run is at work, or has died.
    Open,
    /// It is being put back.
    Restoring,
    /// It was carried out and verified.
    Confirmed,
    /// Everything was put back.
    Restored,
    /// It was put back but for what [`Status::left`] says.
    Broken,
}

impl Standing {
    /// Is the host held by it?
    pub fn is_open(self) -> bool {
        matches!(self, Self::Beginning | Self::Open | Self::Restoring)
    }

    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "beginning" => Self::Beginning,
            "open" => Self::Open,
            "restoring" => Self::Restoring,
            "confirmed" => Self::Confirmed,
            "restored" => Self::Restored,
            "broken" => Self::Broken,
            _ => return None,
        })
    }
}

/// For people.
impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Beginning => "beginning",
            Self::Open => "open",
            Self::Restoring => "being put back",
            Self::Confirmed => "confirmed",
            Self::Restored => "put back",
            Self::Broken => "not wholly put back",
        })
    }
}

/// One line of a checkpoint's journal: `begun 3 …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `begun`, `done`, `passed`, `failed`, `restarted`, `undone`, `failsafe`, `boot`, or a standing.
    pub what: String,
    /// The step it is about, from 0.
    pub step: Option<usize>,
    /// When, in seconds since 1970 by the host's clock.
    pub at: i64,
}

/// One checkpoint, as the host tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its id.
    pub run: RunId,
    /// How it stands.
    pub standing: Standing,
    /// `user@machine` of whoever runs it, or went on with it.
    pub who: String,
    /// Their process.
    pub pid: String,
    /// When it began or was taken over, in seconds since 1970 by the host's clock.
    pub since: i64,
    /// Version of the tool.
    pub trueup: String,
    /// How long after its last sign of life it counts as dead, in seconds.
    pub lease: u64,
    /// Does the host then put itself back?
    pub failsafe: bool,
    /// Which turn of the host in the plan it is for, from 0: a plan of several plays can have more than one.
    pub turn: usize,
    /// Seconds since its last sign of life; `None` when the host was booted since.
    pub seen: Option<u64>,
    /// What happened, oldest first.
    pub journal: Vec<Entry>,
    /// What could not be put back.
    pub left: Vec<String>,
    /// Does it hold the host?
    pub holds: bool,
}

impl Status {
    /// Is its lease not over?
    pub fn alive(&self) -> bool {
        self.seen.is_some_and(|seen| seen <= self.lease)
    }

    /// Did this happen to a step?
    pub fn noted(&self, what: &str, step: usize) -> bool {
        self.journal.iter().any(|entry| entry.what == what && entry.step == Some(step))
    }

    /// Why another run must not begin, while this one holds the host.
    pub fn held(&self) -> HostError {
        HostError::Held {
            run: self.run.to_string(),
            who: format!("{} (pid {})", self.who, self.pid),
            since: jiff::Timestamp::from_second(self.since).unwrap_or_default().to_string(),
            seen: self.seen,
            alive: self.alive(),
        }
    }
}

/// Reads what the verb `status` says, oldest run first. Lines of a later version of the script are passed over.
pub fn parse_status(text: &str) -> Vec<Status> {
    let mut found: Vec<Status> = Vec::new();
    let mut skipping = true;
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "run" {
            let run = RunId::parse(rest);
            skipping = run.is_none();
            found.extend(run.map(|run| Status {
                run,
                standing: Standing::Beginning,
                who: String::new(),
                pid: String::new(),
                since: 0,
                trueup: String::new(),
                lease: 0,
                failsafe: false,
                turn: 0,
                seen: None,
                journal: Vec::new(),
                left: Vec::new(),
                holds: false,
            }));
            continue;
        }
        if word == "lock" {
            for status in &mut found {
                status.holds = status.run.as_str() == rest;
            }
            continue;
        }
        let Some(status) = found.last_mut().filter(|_| !skipping) else { continue };
        match word {
            "standing" => status.standing = Standing::parse(rest).unwrap_or(Standing::Beginning),
            "who" => rest.clone_into(&mut status.who),
            "pid" => rest.clone_into(&mut status.pid),
            "since" => status.since = rest.parse().unwrap_or(0),
            "trueup" => rest.clone_into(&mut status.trueup),
            "lease" => status.lease = rest.parse().unwrap_or(0),
            "failsafe" => status.failsafe = rest == "yes",
            "turn" => status.turn = rest.parse().unwrap_or(0),
            "seen" => status.seen = rest.parse().ok(),
            "journal" => status.journal.extend(entry(rest)),
            "left" => status.left.push(rest.to_owned()),
            _ => {}
        }
    }
    found.sort_by(|one, other| {
        (one.run.base(), one.run.number()).cmp(&(other.run.base(), other.run.number()))
    });
    found
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let what = words.next()?.to_owned();
    let step = words.next()?.parse().ok();
    Some(Entry { what, step, at: words.next_back()?.parse().ok()? })
}

/// What is asked of a run's checkpoint on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Goes on with it in place of whoever began it: to finish it, or (`reopen`) to put it back, also after
    /// it has ended.
    Take {
        /// To put it back?
        reopen: bool,
    },
    /// The run is alive.
    Renew,
    /// The service that this step restarted is healthy.
    Passed(usize),
    /// Everything is verified: the host is let go, and the checkpoint kept.
    Confirm,
    /// Puts back files, kernel settings and units, then (unless told not to) restarts what was restarted,
    /// undoes the commands round the batch, and lets the host go.
    Restore {
        /// The rest too?
        whole: bool,
        /// Also over what somebody else has changed since?
        force: bool,
    },
    /// The restart of this step, on the way back.
    Restart(usize),
    /// What stands in the way of putting it back; changes nothing.
    Check,
}

impl Verb {
    /// The words for the script.
    pub fn words(&self, run: &Run) -> Vec<String> {
        let session = || run.session.clone();
        let word = str::to_owned;
        match self {
            Self::Take { reopen } => {
                let what = if *reopen { "reopen" } else { "continue" };
                [vec![word("take")], run.words(), vec![word(what)]].concat()
            }
            Self::Renew => vec![word("renew"), session()],
            Self::Passed(step) => vec![word("passed"), session(), step.to_string()],
            Self::Confirm => vec![word("confirm"), session()],
            Self::Restore { whole, force } => {
                let mut words = vec![word("restore"), session()];
                words.extend((!whole).then(|| word("--no-restarts")));
                words.extend(force.then(|| word("--force")));
                words
            }
            Self::Restart(step) => vec![word("restart"), session(), step.to_string()],
            Self::Check => vec![word("check")],
        }
    }
}

/// What a file of an ended run is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// What it was before the run.
    Old,
    /// What the run has made of it.
    Ours,
    /// Something else.
    Changed,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it is now.
    pub now: Now,
    /// Where the checkpoint has it as it was, below the host's root; no such file when there was none.
    pub saved: String,
    /// Its path.
    pub path: String,
}

/// What the script answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// What could not be put back.
    pub left: Vec<String>,
    /// The steps whose restarts are owed on the way back.
    pub owed: Vec<usize>,
    /// Will the failsafe try again what is left?
    pub again: bool,
    /// The files of the checkpoint (of [`Verb::Check`]).
    pub files: Vec<Kept>,
}

/// Reads the answer to a verb.
pub fn answer(run: &RunId, verb: &str, output: &Output) -> Result<Answer, HostError> {
    let text = String::from_utf8_lossy(&output.stdout);
    match output.status {
        // 49: put back, but for what is left.
        0 | 49 => {}
        _ => return Err(refusal(run, verb, output)),
    }
    let mut answer = Answer::default();
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "left" => answer.left.push(rest.to_owned()),
            "owed" => answer.owed.extend(rest.parse::<usize>().ok()),
            "again" => answer.again = true,
            "file" => answer.files.extend(kept(run, rest)),
            _ => {}
        }
    }
    Ok(answer)
}

fn kept(run: &RunId, line: &str) -> Option<Kept> {
    let mut words = line.splitn(3, ' ');
    let now = match words.next()? {
        "old" => Now::Old,
        "ours" => Now::Ours,
        _ => Now::Changed,
    };
    let saved = format!("{FOLDER}/{run}/saved/{}", words.next()?);
    Some(Kept { now, saved, path: words.next()?.to_owned() })
}

/// Why the script did not do as it was told, by its exit code.
pub fn refusal(run: &RunId, what: &str, output: &Output) -> HostError {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = errors.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
    let other = || parse_status(&text).into_iter().next();
    match output.status {
        40 => other().map(|status| status.held()),
        41 => Some(HostError::NotOpen {
            run: run.to_string(),
            standing: other().map_or_else(|| "gone".to_owned(), |status| status.standing.to_string()),
        }),
        42 => other().map(|status| HostError::TakenOver { run: run.to_string(), who: status.who }),
        43 => Some(HostError::NoFailsafe { reason: said.to_owned() }),
        51 => Some(HostError::Stale {
            paths: text.lines().filter_map(|line| line.strip_prefix("changed ")).map(str::to_owned).collect(),
        }),
        _ => None,
    }
    .unwrap_or_else(|| {
        // A command of the host says its own exit code.
        let own = text.lines().find_map(|line| line.strip_prefix("exit ")?.parse().ok());
        let status = own.unwrap_or(output.status);
        HostError::CommandFailed { command: what.to_owned(), status, message: said.to_owned() }
    })
}

/// The script of a run for one host: everything that is needed to put it back.
pub fn script(root: &str, run: &Run, plan: &HostPlan, turn: usize) -> String {
    let mut text = String::from("#!/bin/sh\n");
    // Commands before the first change are undone by those after the last one.
    let is_command = |action: &Action| matches!(action, Action::Run { .. });
    let pre = plan.steps.iter().take_while(|step| is_command(&step.action)).count();
    let numbers: Vec<String> = (0..pre).map(|number| number.to_string()).collect();
    for (name, value) in
        [("root", root), ("run", run.id.as_str()), ("turn", &turn.to_string()), ("pre", &numbers.join(" "))]
    {
        writeln!(text, "{name}={}", quote(value)).expect("writing to memory does not fail");
    }
    let mut lists: [(&str, Vec<Vec<String>>); 5] =
        ["files", "sysctls", "units", "restarts", "afterwards"].map(|name| (name, Vec::new()));
    for (number, step) in plan.steps.iter().enumerate() {
        let (step_word, saved) = (number.to_string(), format!("s{number}"));
        let (list, words) = match &step.action {
            Action::WriteFile { path, .. } | Action::SetOptions { path, .. } => {
                let before = plan.basis.get(path).and_then(Option::as_deref).unwrap_or("none");
                (0, vec![saved, path.clone(), before.to_owned()])
            }
            Action::SetSysctl { key, value, .. } => (1, vec![saved, sysctl_path(key), value.clone()]),
            Action::SetUnit { unit, .. } => (2, vec![saved, unit.clone()]),
            Action::Restart(restart) => (3, restart.argv.clone()),
            Action::Run { argv } if number >= pre => (4, argv.clone()),
            Action::Run { .. } => continue,
        };
        lists[list].1.push([vec![step_word], words].concat());
    }
    for (name, entries) in &lists {
        writeln!(text, "{name}() {{\n:").expect("writing to memory does not fail");
        for words in entries {
            let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
            writeln!(text, "\"$1\" {}", words.join(" ")).expect("writing to memory does not fail");
        }
        text.push_str("}\n");
    }
    text.push_str(SCRIPT);
    text
}

/// The script alone, which tells of every run of a host.
pub fn status_script(root: &str) -> String {
    format!("root={} run= turn=0 pre=\n{SCRIPT}", quote(root))
}

/// Where a kernel setting is, by its dotted name.
pub fn sysctl_path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}
