//! Commands on this machine, in the same wrapper as by ssh.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::wrapper::{self, Become};
use super::{Target, Transport, conclude, converse, first_words};
use crate::cmd::{Cmd, Output};
use crate::error::HostError;

/// This machine.
#[derive(Debug)]
pub struct Local {
    r#become: Option<Become>,
    deadline: Duration,
}

impl Local {
    /// With `target`'s deadline and way to become root. Without sudo where this process already is
    /// whom sudo would make it, as Ansible does.
    pub fn new(target: &Target) -> Self {
        let already = rustix::process::geteuid().is_root() && target.become_user == "root";
        Self { r#become: (!already).then(|| target.sudo()), deadline: target.deadline }
    }
}

impl Transport for Local {
    async fn run(&self, cmd: &Cmd) -> Result<Output, HostError> {
        let sudo = self.r#become.as_ref().filter(|_| cmd.r#become);
        let deadline = cmd.deadline.unwrap_or(self.deadline);
        let failed =
            |error: std::io::Error| HostError::Ssh { message: format!("`sh` did not start: {error}") };
        let ask = async {
            // Its own process group, so that the wrapper's watchdog ends the command and not us,
            // and the terminal's ^C reaches us first.
            let mut child = Command::new("sh")
                .args(["-c", &wrapper::line(cmd, sudo, deadline)])
                .process_group(0)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(failed)?;
            let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
                unreachable!("all three were asked for");
            };
            let password = sudo.and_then(|sudo| sudo.password.as_ref());
            let streams = converse(cmd, password, stdin, stdout, stderr).await?;
            let status = child.wait().await.map_err(failed)?;
            let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default();
            conclude(&streams, status.code().unwrap_or(128 + signal), sudo.is_some())
        };
        tokio::time::timeout(deadline, ask).await.unwrap_or_else(|_| {
            Err(HostError::Deadline {
                seconds: deadline.as_secs(),
                doing: format!("running `{}`", first_words(cmd)),
            })
        })
    }
}
