//! Commands by the user's own ssh: one master connection a host, a channel a command.
//!
//! The `openssh` crate speaks to the master over its control socket. It cannot pass arguments to
//! the ssh it starts itself, hard-wires `BatchMode`, and leaves that ssh running when a connection
//! attempt is dropped; so the master is started here, as a child in its own process group, and
//! handed to the crate with [`Session::resume_mux`].

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use openssh::{Error as MuxError, Session};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::control::Place;
use super::wrapper::{self, Become};
use super::{Target, Transport, classify, conclude, converse, first_words};
use crate::cmd::{Cmd, Output};
use crate::error::HostError;

/// How many commands one connection carries at once. sshd allows 10 (`MaxSessions`), but frees a
/// slot only after it has told the exit code: with more than 5 at once some are refused.
const CHANNELS: usize = 4;

/// How many connect timeouts a login may take: `ConnectTimeout` covers TCP and the banner, and a
/// server that stops during key exchange or authentication would hang for ever.
const LOGIN: u32 = 2;

/// How often the control socket is looked for while ssh logs in.
const LOOK: Duration = Duration::from_millis(4);

/// A host reached by ssh.
#[derive(Debug)]
pub struct Ssh {
    // Before `master`: its socket is gone when the master is.
    session: Session,
    master: Master,
    slots: Semaphore,
    r#become: Option<Become>,
    deadline: Duration,
}

/// The ssh that holds the connection. Dropping it ends it and its proxies.
#[derive(Debug)]
struct Master {
    child: Child,
    place: Place,
}

impl Drop for Master {
    fn drop(&mut self) {
        self.end();
    }
}

impl Master {
    /// Asks ssh and its proxy commands to end. The runtime reaps them.
    fn end(&self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself a moment ago; it is not reaped yet, so the id is its own.
            let _ = kill_process_group(pid, Signal::TERM);
            // OpenSSH 9.2 only notes a TERM, and one that comes just before it polls lets it sleep until
            // something happens (client_loop in clientloop.c). A guest at its socket happens.
            let _ = UnixStream::connect(self.place.socket());
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.place.log()).unwrap_or_default()).into_owned()
    }
}

impl Ssh {
    /// Logs in.
    pub async fn connect(target: &Target) -> Result<Self, HostError> {
        let started = start(target)
            .map_err(|error| HostError::Ssh { message: format!("`ssh` did not start: {error}") });
        // The answers live as long as the login.
        let (mut master, _answers) = started?;
        let socket = master.place.socket();
        let limit = target.connect_timeout * LOGIN;
        let login = async {
            loop {
                if socket.exists() {
                    return Ok(());
                }
                tokio::select! {
                    _ = master.child.wait() => return Err(classify(&master.log(), target)),
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        };
        tokio::time::timeout(limit, login).await.unwrap_or_else(|_| {
            Err(HostError::Deadline { seconds: limit.as_secs(), doing: "logging in".to_owned() })
        })?;
        // Ansible does not call sudo for the user it already is.
        let already = target.user.as_deref() == Some(&target.become_user);
        Ok(Self {
            session: Session::resume_mux(socket.into_boxed_path(), None),
            master,
            slots: Semaphore::new(CHANNELS),
            r#become: (!already).then(|| target.sudo()),
            deadline: target.deadline,
        })
    }

    /// Ends the connection and waits until ssh is gone.
    pub async fn close(mut self) {
        self.master.end();
        let _ = self.master.child.wait().await;
    }

    async fn ask(&self, cmd: &Cmd, sudo: Option<&Become>, deadline: Duration) -> Result<Output, HostError> {
        let line = wrapper::line(cmd, sudo, deadline);
        let doing = || format!("running `{}`", first_words(cmd));
        let mut pause = Duration::from_millis(10);
        let mut child = loop {
            let mut command = self.session.raw_command(&line);
            command
                .stdin(openssh::Stdio::piped())
                .stdout(openssh::Stdio::piped())
                .stderr(openssh::Stdio::piped());
            match command.spawn().await {
                Ok(child) => break child,
                // A slot is freed a little later than its command's end; the deadline ends the wait.
                Err(MuxError::SshMux(error)) if error.to_string().contains("open refused") => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(320));
                }
                Err(MuxError::InvalidCommand) => {
                    return Err(HostError::Malformed { message: "a command holds a NUL byte".to_owned() });
                }
                Err(_) => return Err(HostError::Disconnected { doing: doing() }),
            }
        };
        let pipes = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            unreachable!("all three were asked for");
        };
        let password = sudo.and_then(|sudo| sudo.password.as_ref());
        let streams = converse(cmd, password, stdin, stdout, stderr).await?;
        let status = match child.wait().await {
            Ok(status) => status.code().unwrap_or(255),
            // The crate takes 127 for its own.
            Err(MuxError::Remote(_)) => 127,
            Err(_) => return Err(HostError::Disconnected { doing: doing() }),
        };
        conclude(&streams, status, sudo.is_some())
    }
}

impl Transport for Ssh {
    async fn run(&self, cmd: &Cmd) -> Result<Output, HostError> {
        let sudo = self.r#become.as_ref().filter(|_| cmd.r#become);
        let deadline = cmd.deadline.unwrap_or(self.deadline);
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        tokio::time::timeout(deadline, self.ask(cmd, sudo, deadline)).await.unwrap_or_else(|_| {
            Err(HostError::Deadline {
                seconds: deadline.as_secs(),
                doing: format!("running `{}`", first_words(cmd)),
            })
        })
    }
}

/// Starts the master. The files hold the answers to ssh's questions until they are dropped.
fn start(target: &Target) -> std::io::Result<(Master, Vec<fs::File>)> {
    let place = Place::new()?;
    let mut answers = Vec::new();
    for (name, answer) in [("password", &target.password), ("passphrase", &target.passphrase)] {
        if let Some(answer) = answer {
            answers.push(place.answer(name, answer)?);
        }
    }
    let log = fs::File::create(place.log())?;
    let child = Command::new("ssh")
        .args(arguments(target, &place.socket()))
        .env("LC_ALL", "C")
        // Never the terminal: a question without an answer is a refusal.
        .env("SSH_ASKPASS", Place::askpass()?)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("TRUEUP_ANSWERS", place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // The terminal's ^C is ours; and the group is what is ended, proxy commands included.
        .process_group(0)
        .spawn()?;
    let master = Master { child, place };
    if let Some(pid) = master.child.id() {
        master.place.record(pid)?;
    }
    Ok((master, answers))
}

/// ssh takes the first value of an option: what must be so comes first, then what the user says in
/// Ansible's order (ansible-core `plugins/connection/ssh.py`, `_build_command`), then our defaults.
/// What none of them says is up to the user's `ssh_config`, host key checking included: its own
/// default asks about an unknown key, which nobody answers.
fn arguments(target: &Target, socket: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["-M", "-N", "-T", "-S"].map(OsString::from).to_vec();
    words.push(socket.into());
    let option = |words: &mut Vec<OsString>, text: String| words.extend(["-o".into(), text.into()]);
    let (before, after) = &target.ssh_args;
    for text in [
        "ControlPersist=no",
        "ForkAfterAuthentication=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
    ] {
        option(&mut words, text.to_owned());
    }
    words.extend(before.iter().map(OsString::from));
    if !target.host_key_checking {
        option(&mut words, "StrictHostKeyChecking=no".to_owned());
    }
    if let Some(port) = target.port {
        option(&mut words, format!("Port={port}"));
    }
    if let Some(key) = &target.private_key {
        option(&mut words, format!("IdentityFile=\"{key}\""));
    }
    if let Some(user) = &target.user {
        option(&mut words, format!("User=\"{user}\""));
    }
    option(&mut words, format!("ConnectTimeout={}", target.connect_timeout.as_secs()));
    words.extend(after.iter().map(OsString::from));
    if target.password.is_none() && target.passphrase.is_none() {
        option(&mut words, "BatchMode=yes".to_owned());
    }
    for text in
        ["NumberOfPasswordPrompts=1", "ServerAliveInterval=5", "ServerAliveCountMax=3", "LogLevel=INFO"]
    {
        option(&mut words, text.to_owned());
    }
    words.extend(["--".into(), OsString::from(&target.address)]);
    words
}
