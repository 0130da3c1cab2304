//! What `drift --keep DIR` keeps from run to run: the last report, the verdict, and a lock so that no two runs
//! overlap. Every file is replaced whole.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::cli::output::Output;
use crate::cli::private;
use crate::error::{Diagnostic, Exit, Result};
use crate::plan::content::sha256;
use crate::report::{HostStatus, Report, Style, format};

/// How long the command of `--notify` may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The verdict of the last run, and how the last run went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the verdict itself is one of its fields, and a saved word")]
pub struct Verdict {
    /// `clean`, `drift`, `unreachable` or `broken`.
    pub verdict: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Of what was last told to the command of `--notify`.
    pub digest: String,
    /// When the last run started, RFC 3339.
    pub started_at: String,
    /// When it ended; absent: it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// What it exited with, where it ended with a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// Why it could not do its work; the last report is an older run's then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// How a run went.
pub enum Outcome {
    /// It made a report.
    Finished(Box<Report>),
    /// It made none, and why.
    Broken(String),
}

/// A folder that this run alone writes to.
pub struct Kept {
    folder: PathBuf,
    before: Option<Verdict>,
    started_at: String,
    _lock: File,
}

/// The verdict that was kept in `folder`; `None` where no run has been.
pub fn verdict(folder: &Path) -> Result<Option<Verdict>> {
    let path = folder.join("verdict.json");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Diagnostic::new(format!("`{}` cannot be read: {error}", path.display()))),
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
            Diagnostic::new(format!("`{}` is not what trueup wrote: {error}", path.display()))
                .hint("remove it; the next run tells its verdict as if it were the first")
        }),
    }
}

/// Is a run under way in `folder`?
pub fn is_running(folder: &Path) -> bool {
    let lock = File::open(folder.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

impl Kept {
    /// Takes the folder for this run.
    pub fn open(folder: &Path, started_at: &str) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Diagnostic::new(format!("`{}` cannot be used: {error}", folder.display()))
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(folder.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                return Err(Diagnostic::new(format!(
                    "another drift run is under way in `{}`: {}",
                    folder.display(),
                    holder.trim()
                ))
                .hint("wait for its end; without --keep and --notify a run needs no folder and can go beside it"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let holder = format!("process {}, since {started_at}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(holder.as_bytes()))
            .map_err(failed)?;
        let kept = Self {
            before: verdict(folder)?,
            folder: folder.to_path_buf(),
            started_at: started_at.to_owned(),
            _lock: lock,
        };
        // Without an end: if this process does not get to write one, the next reader sees that.
        kept.put(&Verdict {
            started_at: kept.started_at.clone(),
            ended_at: None,
            exit: None,
            trouble: None,
            ..kept.before.clone().unwrap_or_default()
        })?;
        Ok(kept)
    }

    fn put(&self, verdict: &Verdict) -> Result<()> {
        let mut text = serde_json::to_string_pretty(verdict).expect("a verdict is texts and a number");
        text.push('\n');
        private::write(&self.folder.join("verdict.json"), &text)
    }

    /// Is this another verdict than what was last told?
    pub fn is_news(&self, report: &Report) -> bool {
        self.before.as_ref().map_or(NO_DRIFT, |before| &before.digest) != digest(report)
    }

    /// Keeps how the run went, and tells it where it is news. A report is replaced only by a report.
    pub async fn close(
        self,
        outcome: Outcome,
        notify: Option<&str>,
        ended_at: &str,
        output: Output,
    ) -> Result<()> {
        let before = self.before.clone().unwrap_or_default();
        let last = self.folder.join("last.json");
        let (word, digest, exit, trouble) = match &outcome {
            Outcome::Finished(report) => {
                let write = format("json").expect("json is a format").write;
                private::write(&last, &write(report, Style::default()))?;
                (word(report), digest(report), Some(report.exit().code()), None)
            }
            Outcome::Broken(message) => ("broken", "broken".to_owned(), None, Some(message.clone())),
        };
        let mut verdict = Verdict {
            verdict: word.to_owned(),
            since: if before.verdict == word { before.since.clone() } else { ended_at.to_owned() },
            digest: digest.clone(),
            started_at: self.started_at.clone(),
            ended_at: Some(ended_at.to_owned()),
            exit,
            trouble,
        };
        // Before the first run there is the digest of no drift: a first run without any is no news.
        let known = before.digest.as_str();
        let told = match notify {
            Some(command) if known != digest => {
                let text = fs::read_to_string(&last).unwrap_or_default();
                tell(command, &verdict, &text).await
            }
            _ => Ok(()),
        };
        if told.is_err() {
            // It is still news at the next run.
            verdict.digest = before.digest;
        } else if notify.is_some() && known != digest {
            output.say(&format!(
                "the verdict is another than last time ({word}): told to the command of --notify"
            ));
        }
        self.put(&verdict)?;
        told
    }
}

/// The digest of a report without drift.
const NO_DRIFT: &str = "";

/// The verdict in a word.
fn word(report: &Report) -> &'static str {
    let drifted = report.differences().any(|(_, difference)| difference.counts());
    match report.exit() {
        Exit::Compliant => "clean",
        Exit::Unreachable if !drifted => "unreachable",
        _ => "drift",
    }
}

/// What makes a verdict another one: every difference that counts, and hosts without an answer. Times and counts in
/// sentences go on without anything having changed.
fn digest(report: &Report) -> String {
    let steady = |text: &str| -> String {
        if text.contains(' ') {
            text.chars().filter(|c| !c.is_ascii_digit()).collect()
        } else {
            text.to_owned()
        }
    };
    let mut lines: Vec<String> = report
        .differences()
        .filter(|(_, difference)| difference.counts())
        .map(|(host, one)| {
            let words = [
                host,
                &format!("{:?} {:?}", one.kind, one.cause),
                &one.subject,
                &steady(&one.before),
                &steady(&one.now),
                &one.diff,
            ];
            words.join("\0")
        })
        .collect();
    let without_answer = |status| matches!(status, HostStatus::Unreachable | HostStatus::Failed);
    let broken = report.hosts.iter().filter(|(_, host)| without_answer(host.status));
    lines.extend(broken.map(|(name, host)| format!("{name}\0{}", host.status.word())));
    if lines.is_empty() {
        return NO_DRIFT.to_owned();
    }
    lines.sort();
    sha256(lines.join("\n").as_bytes())
}

/// Runs the command with the report on its standard input.
async fn tell(command: &str, verdict: &Verdict, report: &str) -> Result<()> {
    let failed = |reason: String| {
        Diagnostic::new(format!("the command of --notify {reason}")).hint("the next run tells it again")
    };
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("TRUEUP_VERDICT", &verdict.verdict)
        .env("TRUEUP_EXIT", verdict.exit.map_or_else(String::new, |exit| exit.to_string()))
        .env("TRUEUP_TROUBLE", verdict.trouble.as_deref().unwrap_or_default())
        .stdin(Stdio::piped())
        // Standard output is trueup's answer.
        .stdout(std::io::stderr())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let work = async {
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // A command that does not read its input has done nothing wrong.
        let _ = stdin.write_all(report.as_bytes()).await;
        drop(stdin);
        child.wait().await
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Err(_) => Err(failed(format!("did not end within {} s", PATIENCE.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("was lost: {error}"))),
        Ok(Ok(status)) if !status.success() => Err(failed(format!("failed: {status}"))),
        Ok(Ok(_)) => Ok(()),
    }
}
