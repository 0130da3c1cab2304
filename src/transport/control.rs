//! The directory where the control sockets live, and the guard that leaves nothing behind.
//!
//! One directory a process, mode 0700, in `$XDG_RUNTIME_DIR` where its path is short enough for a
//! socket, else in `/tmp`. One guard a process: a shell that waits for the end of a pipe which only
//! this process holds. However this process ends, `kill -9` included, the pipe ends, and the guard
//! ends every ssh that is still there and removes the directory.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, mkfifoat};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

/// The longest path of a Unix socket on Linux without its final NUL (`unix(7)`: 108 bytes), less
/// the 17 that ssh adds while it binds (`mux.c`, `muxserver_listen`).
const SOCKET_PATH: usize = 107 - 17;

/// `/NNNNNN/ctl`, the part below the process's own directory.
const BELOW: usize = 11;

/// Answers ssh's questions: a password or a passphrase from the pipe of that name, once; never a
/// host key. It holds no secret itself, and neither does its environment.
const ASKPASS: &str = r#"#!/bin/sh
case $1 in
*'(yes/no'*) exit 1 ;;
*assphrase*) pipe=$TRUEUP_ANSWERS/passphrase ;;
*) pipe=$TRUEUP_ANSWERS/password ;;
esac
[ -p "$pipe" ] && IFS= read -r answer <"$pipe" && printf '%s\n' "$answer"
"#;

/// Reads nothing, but notices the end. The pid files name the leaders of ssh's process groups. An ssh that
/// slept through the first TERM wakes at the second.
const GUARD: &str = r#"trap '' HUP INT TERM
read -r nothing
end() {
  for file in "$1"/*/pid; do
    [ -f "$file" ] && read -r pid <"$file" && kill -s TERM -- "-$pid" && left=yes
  done
}
left=
end "$1"
[ -z "$left" ] || { sleep 1; end "$1"; }
rm -rf -- "$1""#;

struct Control {
    directory: PathBuf,
    /// Never written to.
    _guard: ChildStdin,
}

static CONTROL: OnceLock<Result<Control, String>> = OnceLock::new();

fn control() -> io::Result<&'static Control> {
    let make = || start().map_err(|error| format!("no directory for control sockets: {error}"));
    CONTROL.get_or_init(make).as_ref().map_err(|message| io::Error::other(message.clone()))
}

fn start() -> io::Result<Control> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("trueup-").permissions(fs::Permissions::from_mode(0o700));
    let fits = |directory: &TempDir| directory.path().as_os_str().len() + BELOW <= SOCKET_PATH;
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = match runtime.and_then(|runtime| builder.tempdir_in(runtime).ok()).filter(fits) {
        Some(directory) => directory,
        None => builder.tempdir_in("/tmp")?,
    };
    let mut askpass = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(directory.path().join("askpass"))?;
    askpass.write_all(ASKPASS.as_bytes())?;
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, "trueup-guard"])
        .arg(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Away from the terminal's ^C, which must not end it before us.
        .process_group(0)
        .spawn()?;
    let pipe = guard.stdin.take().expect("a pipe was asked for");
    // From here on the directory is the guard's to remove.
    Ok(Control { directory: directory.keep(), _guard: pipe })
}

/// The directory of one connection; removed when dropped.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
}

impl Place {
    /// A new one, empty.
    pub fn new() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::Builder::new()
            .prefix(&number.to_string())
            .rand_bytes(0)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&control()?.directory)?;
        Ok(Self { directory })
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.path().join("ctl")
    }

    /// What ssh and its proxies write.
    pub fn log(&self) -> PathBuf {
        self.path().join("log")
    }

    /// Where `askpass` finds its answers.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The program that answers for ssh.
    pub fn askpass() -> io::Result<PathBuf> {
        Ok(control()?.directory.join("askpass"))
    }

    /// Tells the guard about the ssh of this connection.
    pub fn record(&self, pid: u32) -> io::Result<()> {
        fs::write(self.path().join("pid"), format!("{pid}\n"))
    }

    /// A named pipe that holds `answer`, for one reader. The answer is in the kernel's buffer only,
    /// and goes when the returned file is dropped.
    pub fn answer(&self, name: &str, answer: &SecretString) -> io::Result<fs::File> {
        let path = self.path().join(name);
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)?;
        // Open for both ends, which on Linux waits for nobody.
        let mut pipe = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(i32::from_ne_bytes(rustix::fs::OFlags::NONBLOCK.bits().to_ne_bytes()))
            .open(path)?;
        pipe.write_all(answer.expose_secret().as_bytes())?;
        pipe.write_all(b"\n")?;
        Ok(pipe)
    }
}
