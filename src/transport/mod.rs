//! How a command reaches a host: by the user's own ssh, or on this machine.
//!
//! [`connect`] gives a [`Connected`], whose one method [`Transport::run`] runs a [`Cmd`]. What holds
//! for both ways:
//! - the answer is the command's own: exit code (127 and 255 included), both outputs without a login
//!   shell's greeting, and an error of the host is never mistaken for one of the command;
//! - standard input arrives whole or the command never sees its end;
//! - dropping the future ends the command on the host (see [`wrapper`]), and dropping the
//!   [`Connected`] ends its ssh. A `kill -9` of this process does the same;
//! - no secret is in an argument, in the environment, in a file, or in a log.

mod control;
mod failure;
mod lasting;
mod local;
mod ssh;
pub mod target;
pub mod wrapper;

use std::future::Future;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::cmd::{Cmd, Output};
use crate::error::HostError;

pub use failure::classify;
pub use lasting::Lasting;
pub use local::Local;
pub use ssh::Ssh;
pub use target::{Connection, Flags, Target};

/// The most that one output of one command may hold, in bytes: a runaway command must not take the
/// memory of the machine that asks.
pub const OUTPUT_LIMIT: u64 = 64 << 20;

/// Runs commands on one host.
pub trait Transport: Send + Sync {
    /// Runs `cmd` and waits for its end. A command that exits with an error is an [`Output`]; an
    /// error is that the host could not be asked. Dropping the future ends the command.
    fn run(&self, cmd: &Cmd) -> impl Future<Output = Result<Output, HostError>> + Send;
}

/// A host that answered. Dropping it ends the connection.
#[derive(Debug)]
pub enum Connected {
    /// By ssh.
    Ssh(Box<Ssh>),
    /// This machine.
    Local(Local),
}

impl Transport for Connected {
    async fn run(&self, cmd: &Cmd) -> Result<Output, HostError> {
        match self {
            Self::Ssh(ssh) => ssh.run(cmd).await,
            Self::Local(local) => local.run(cmd).await,
        }
    }
}

impl Connected {
    /// Ends the connection and waits until its ssh is gone.
    pub async fn close(self) {
        if let Self::Ssh(ssh) = self {
            ssh.close().await;
        }
    }
}

/// Reaches the host that `target` describes. Dropping the future ends the attempt.
pub async fn connect(target: &Target) -> Result<Connected, HostError> {
    match target.connection {
        Connection::Ssh => Ok(Connected::Ssh(Box::new(Ssh::connect(target).await?))),
        Connection::Local => Ok(Connected::Local(Local::new(target))),
    }
}

/// Both outputs of a command, as they came.
struct Streams {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Feeds a wrapped command and reads what it says until it has said all.
///
/// The password is sent once, when sudo asks; what follows only after the command has begun, so
/// that sudo never takes the command's input for a password.
async fn converse(
    cmd: &Cmd,
    password: Option<&SecretString>,
    mut stdin: impl AsyncWrite + Unpin,
    mut stdout: impl AsyncRead + Unpin,
    mut stderr: impl AsyncRead + Unpin,
) -> Result<Streams, HostError> {
    let mut heard = Vec::new();
    if let Some(password) = password {
        let mut told = false;
        loop {
            match wrapper::listen(&heard) {
                wrapper::Sudo::Begun => break,
                wrapper::Sudo::AsksAgain => return Err(HostError::SudoPassword),
                wrapper::Sudo::Asks if !told => {
                    told = true;
                    // A closed pipe shows itself on the outputs.
                    let _ = stdin.write_all(format!("{}\n", password.expose_secret()).as_bytes()).await;
                    let _ = stdin.flush().await;
                }
                wrapper::Sudo::Asks | wrapper::Sudo::Silent => {}
            }
            match stderr.read_buf(&mut heard).await {
                Ok(read) if read > 0 && heard.len() as u64 <= OUTPUT_LIMIT => {}
                _ => break,
            }
        }
    }
    let feed = async {
        let mut pause = Duration::from_millis(20);
        let mut sent = stdin.write_all(&cmd.stdin).await;
        // The line that says that the input was whole, again and again: a `head` that reads ahead
        // (busybox's, uutils') swallows the first. The input stays open until the command has
        // ended, because the host takes its end for ours.
        while sent.is_ok() {
            sent = stdin.write_all(b"\n").await.and(stdin.flush().await);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        // A closed pipe shows itself on the outputs.
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let mut out = (&mut stdout).take(OUTPUT_LIMIT + 1);
    let mut err = (&mut stderr).take(OUTPUT_LIMIT + 1);
    let listen = async { tokio::join!(out.read_to_end(&mut said), err.read_to_end(&mut heard)) };
    tokio::select! {
        // A broken pipe ends an output like its end does; the exit code tells them apart.
        _ = listen => {}
        () = feed => {}
    }
    if said.len() as u64 > OUTPUT_LIMIT || heard.len() as u64 > OUTPUT_LIMIT {
        return Err(HostError::Malformed {
            message: format!("`{}` wrote more than {} MiB", first_words(cmd), OUTPUT_LIMIT >> 20),
        });
    }
    Ok(Streams { stdout: said, stderr: heard })
}

/// The answer, once the exit code is known: the command's own, or why it was never run.
fn conclude(streams: &Streams, status: i32, r#become: bool) -> Result<Output, HostError> {
    match (wrapper::split(&streams.stdout), wrapper::split(&streams.stderr)) {
        (Some((_, stdout)), Some((_, stderr))) => {
            Ok(Output { status, stdout: stdout.to_vec(), stderr: stderr.to_vec() })
        }
        _ if r#become => Err(wrapper::refusal(&streams.stderr)),
        _ => {
            let all = [streams.stdout.as_slice(), streams.stderr.as_slice()].concat();
            let said = String::from_utf8_lossy(&all);
            Err(HostError::Ssh {
                message: format!("the login shell ran nothing: {}", wrapper::last_line(&said)),
            })
        }
    }
}

/// What a message calls the command: its program and first argument, never its input.
fn first_words(cmd: &Cmd) -> String {
    cmd.argv.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(" ")
}
