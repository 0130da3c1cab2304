//! A host at the other end of a transport.

use std::time::Duration;

use crate::apply::checkpoint::{self, Answer, Run, Status, Verb};
use crate::apply::{Deed, Saved, Site};
use crate::cmd::{Cmd, Output};
use crate::error::HostError;
use crate::facts::{Facts, Question};
use crate::plan::{Action, HostPlan, content};
use crate::probe::{self, Request};
use crate::transport::Transport;

/// A real host.
#[derive(Debug)]
pub struct Remote<T> {
    /// How commands reach it.
    pub transport: T,
    /// Its name, its root, whether it takes sudo, and what is asked of it.
    pub request: Request,
    /// How long a restart may take: a RabbitMQ node tells systemd that it is up only when it is.
    pub restart_deadline: Duration,
}

/// Prints mode, owner, group, then the bytes; exit 44 when there is no such file.
const READ: &str = r#"
[ -e "$1" ] || exit 44
stat -L -c '%a %u %g' -- "$1" && cat -- "$1"
"#;

/// How long the checkpoint is given: it waits a minute for its mutex.
const CHECKPOINT_DEADLINE: Duration = Duration::from_mins(2);

impl<T: Transport> Remote<T> {
    fn root(&self) -> &str {
        self.request.root.as_deref().unwrap_or_default().trim_end_matches('/')
    }

    /// What is always asked of it, and these.
    fn asking(&self, questions: &[Question]) -> Request {
        let mut request = self.request.clone();
        request.questions.extend_from_slice(questions);
        request
    }

    fn folder(&self, run: &Run) -> String {
        format!("{}{}/{}", self.root(), checkpoint::FOLDER, run.id)
    }

    /// `sh -c script` with words and standard input: the script is ours and constant, everything else
    /// is a quoted word or standard input.
    fn shell(&self, script: &str, words: &[String], stdin: Vec<u8>) -> Cmd {
        let argv = ["sh", "-c", script, "trueup"].map(str::to_owned).into_iter();
        Cmd::new(argv.chain(words.iter().cloned())).with_stdin(stdin).becoming(self.request.r#become)
    }

    /// The checkpoint of a run with these words.
    async fn checkpoint(&self, run: &Run, words: Vec<String>, stdin: Vec<u8>) -> Result<Output, HostError> {
        let words = [vec![self.folder(run)], words].concat();
        let deadline = CHECKPOINT_DEADLINE.max(self.restart_deadline);
        self.transport.run(&self.shell(checkpoint::ASK, &words, stdin).within(deadline)).await
    }
}

impl<T: Transport + 'static> Site for Remote<T> {
    async fn look(&self, questions: &[Question]) -> Result<Facts, HostError> {
        probe::probe(&self.transport, &self.asking(questions)).await
    }

    async fn glance(&self, questions: &[Question]) -> Result<Facts, HostError> {
        probe::glance(&self.transport, &self.asking(questions)).await
    }

    async fn read(&self, path: &str) -> Result<Option<Saved>, HostError> {
        let what = format!("read {path}");
        let words = [format!("{}{path}", self.root())];
        let output = self.transport.run(&self.shell(READ, &words, Vec::new())).await?;
        match output.status {
            0 => parse_saved(&output.stdout).map(Some).ok_or(HostError::Malformed { message: what }),
            44 => Ok(None),
            _ => {
                let text = String::from_utf8_lossy(&output.stderr);
                let message = text.lines().next_back().unwrap_or("no message").trim().to_owned();
                Err(HostError::CommandFailed { command: what, status: output.status, message })
            }
        }
    }

    async fn runs(&self) -> Result<Vec<Status>, HostError> {
        let script = checkpoint::status_script(self.root());
        let output =
            self.transport.run(&Cmd::script(script, ["status"]).becoming(self.request.r#become)).await?;
        if output.success() {
            return Ok(checkpoint::parse_status(&String::from_utf8_lossy(&output.stdout)));
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let message = text.lines().next_back().unwrap_or("no message").trim().to_owned();
        let command = "read the checkpoints".to_owned();
        Err(HostError::CommandFailed { command, status: output.status, message })
    }

    async fn begin(&self, run: &Run, plan: &HostPlan, turn: usize) -> Result<(), HostError> {
        let script = checkpoint::script(self.root(), run, plan, turn);
        let words = [vec![self.folder(run)], run.words()].concat();
        let cmd = self.shell(checkpoint::BEGIN, &words, script.into_bytes()).within(CHECKPOINT_DEADLINE);
        let output = self.transport.run(&cmd).await?;
        checkpoint::answer(&run.id, "make a checkpoint", &output).map(drop)
    }

    async fn step(&self, run: &Run, number: usize, deed: &Deed) -> Result<(), HostError> {
        let words = |kind: &str, more: Vec<String>| {
            [vec!["step".to_owned(), run.session.clone(), number.to_string(), kind.to_owned()], more].concat()
        };
        let (words, stdin, what) = match deed {
            Deed::Write { path, file, expected, validate } => {
                let more = vec![
                    path.clone(),
                    format!("{:o}", file.mode),
                    file.owner.clone(),
                    file.group.clone(),
                    expected.clone().unwrap_or_else(|| "none".to_owned()),
                    content::sha256(&file.bytes),
                ];
                let more = [more, validate.clone().unwrap_or_default()].concat();
                (words("write", more), file.bytes.clone(), format!("write {path}"))
            }
            Deed::Act(action) => {
                let (kind, more) = match action {
                    Action::SetSysctl { key, value, .. } => {
                        ("sysctl", vec![checkpoint::sysctl_path(key), value.clone()])
                    }
                    Action::SetUnit { unit, enabled, running } => {
                        let enabled = enabled.map(|yes| if yes { "enable" } else { "disable" });
                        let running = running.map(|yes| if yes { "start" } else { "stop" });
                        let verbs: Vec<&str> = enabled.into_iter().chain(running).collect();
                        ("unit", vec![verbs.join(" "), unit.clone()])
                    }
                    Action::Run { argv } => ("run", argv.clone()),
                    Action::Restart(restart) => ("run", restart.argv.clone()),
                    Action::WriteFile { .. } | Action::SetOptions { .. } => {
                        unreachable!("a file is written as `Deed::Write`")
                    }
                };
                (words(kind, more), Vec::new(), action.to_string())
            }
        };
        let output = self.checkpoint(run, words, stdin).await?;
        checkpoint::answer(&run.id, &what, &output).map(drop)
    }

    async fn ask(&self, run: &Run, verb: &Verb) -> Result<Answer, HostError> {
        let words = verb.words(run);
        let what = words.first().cloned().unwrap_or_default();
        let output = self.checkpoint(run, words, Vec::new()).await?;
        checkpoint::answer(&run.id, &what, &output)
    }
}

fn parse_saved(stdout: &[u8]) -> Option<Saved> {
    let end = stdout.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&stdout[..end]).ok()?;
    let mut words = head.split(' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let owner = words.next()?.to_owned();
    let group = words.next()?.to_owned();
    Some(Saved { bytes: stdout[end + 1..].to_vec(), mode, owner, group })
}
