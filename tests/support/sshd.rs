//! A real sshd on 127.0.0.1: one host of a test, with its own keys, its own root folder and its own
//! programs first on its PATH. It ends when it is dropped. Works as root and as anybody else;
//! any number may run at once.
//!
//! ```ignore
//! let host = Sshd::start();
//! host.stub("systemctl", "#!/bin/sh\necho active\n");
//! std::fs::create_dir_all(host.root().join("etc")).unwrap();
//! let inventory = format!("ctl1 {}\n", host.inventory_vars());
//! ```

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use indexmap::IndexMap;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A `sudo` that asks nobody and runs the command.
pub const SUDO_FREE: &str = "#!/bin/sh
while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"
";

/// A `sudo` that needs a password and, asked not to ask, says so.
pub const SUDO_WANTS_PASSWORD: &str = "#!/bin/sh
echo 'sudo: a password is required' >&2; exit 1
";

/// A `sudo` for people who are not in the sudoers file.
pub const SUDO_REFUSES: &str = "#!/bin/sh
echo 'ops is not in the sudoers file.' >&2; exit 1
";

/// A `sudo` that behaves like sudo with this password: prompt on standard error, one line from
/// standard input, three attempts.
pub fn sudo_with_password(password: &str) -> String {
    format!(
        r#"#!/bin/sh
prompt=
while [ "$1" != -- ]; do
  case $1 in
  -n) echo 'sudo: a password is required' >&2; exit 1 ;;
  -p) prompt=$2; shift ;;
  esac
  shift
done
shift
for attempt in 1 2 3; do
  printf %s "$prompt" >&2
  IFS= read -r answer || {{ echo 'sudo: no password was provided' >&2; exit 1; }}
  [ "$answer" = '{password}' ] && exec "$@"
  echo 'Sorry, try again.' >&2
done
echo 'sudo: 3 incorrect password attempts' >&2
exit 1
"#
    )
}

/// The user that [`Builder::password_user`] adds, and the password.
pub const PASSWORD_USER: (&str, &str) = ("trueup-test", "pa ss");

/// `openssl passwd -6` of that password.
const PASSWORD_HASH: &str =
    "$6$trueuptest$NGZlkIhJF9QVTTYBWBHJ69bSOkP6xXEuK5FknDQiqMXVug7vEYdja3n0Sy2DX3Hunc3w/1GxCtgkmpoVSNJyI/";

/// Whether this process may have a file system view of its own (root, in most containers too).
pub fn may_unshare() -> bool {
    Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// What an [`Sshd`] is started with.
#[derive(Default)]
pub struct Builder {
    config: String,
    passphrase: String,
    password_user: bool,
}

impl Builder {
    /// Adds lines to `sshd_config`, before the defaults of this file (sshd takes the first).
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Protects the user's key with a passphrase.
    pub fn passphrase(mut self, passphrase: &str) -> Self {
        passphrase.clone_into(&mut self.passphrase);
        self
    }

    /// Adds [`PASSWORD_USER`], who logs in by password, on this host only: its sshd sees its own
    /// `/etc/passwd`. Where [`may_unshare`] says so.
    pub fn password_user(mut self) -> Self {
        self.password_user = true;
        self.config("PasswordAuthentication yes")
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Sshd {
        let folder = tempfile::Builder::new().prefix("trueup-sshd-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["root", "bin"] {
            fs::create_dir(at(name)).unwrap();
        }
        keygen(&at("host_key"), "");
        keygen(&at("user_key"), &self.passphrase);
        fs::copy(at("user_key.pub"), at("authorized_keys")).unwrap();
        if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
            // sshd's privilege separation folder, which the service unit would have made.
            let _ = fs::create_dir("/run/sshd");
        }
        if self.password_user {
            let (user, _) = PASSWORD_USER;
            for (file, line) in [
                ("passwd", format!("{user}:x:64999:64999::/:/bin/sh\n")),
                ("shadow", format!("{user}:{PASSWORD_HASH}:19000:0:99999:7:::\n")),
            ] {
                let own = fs::read_to_string(Path::new("/etc").join(file)).unwrap();
                fs::write(at(file), own + &line).unwrap();
            }
            // Whoever logs in has to reach the stubs.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let start = || listen(folder.path(), &self.config, self.password_user);
        let (child, port) = (0..20).find_map(|_| start()).expect("sshd listens");
        let sshd = Sshd { child, port, folder };
        let public = fs::read_to_string(sshd.path("host_key.pub")).unwrap();
        fs::write(sshd.path("known_hosts"), format!("[127.0.0.1]:{port} {public}")).unwrap();
        sshd.write_ssh_config("user_key", "known_hosts");
        sshd
    }
}

/// A running sshd.
pub struct Sshd {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Sshd {
    /// One with the defaults.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// One that is different.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder that stands for `/` on this host.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A file of this fixture: `ssh_config`, `known_hosts`, `user_key`, `host_key`, `log`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a program on the host's PATH, before the machine's own.
    pub fn stub(&self, name: &str, script: &str) {
        // Renamed into place: a program that is being written cannot be run.
        let (new, path) = (self.path("bin").join(".new"), self.path("bin").join(name));
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// What the user's ssh is told, by `-F`.
    pub fn write_ssh_config(&self, key: &str, known_hosts: &str) {
        let text = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n",
            self.path(key).display(),
            self.path(known_hosts).display(),
        );
        fs::write(self.path("ssh_config"), text).unwrap();
    }

    /// The variables that reach it, as an inventory has them.
    pub fn vars(&self) -> IndexMap<String, Value> {
        IndexMap::from([
            ("ansible_host".to_owned(), json!("127.0.0.1")),
            ("ansible_port".to_owned(), json!(self.port)),
            (
                "ansible_ssh_common_args".to_owned(),
                json!(format!("-F {}", self.path("ssh_config").display())),
            ),
            ("trueup_root".to_owned(), json!(self.root())),
        ])
    }

    /// The same as the end of a line of an INI inventory.
    pub fn inventory_vars(&self) -> String {
        let word = |(key, value): (String, Value)| match value {
            Value::String(text) => format!("{key}='{text}'"),
            other => format!("{key}={other}"),
        };
        self.vars().into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// Cuts every connection, as a crash of the network would.
    pub fn cut(&self) {
        // A monitor, and below it, where privileges are separated, who holds the socket.
        let sessions = children(self.child.id());
        let below: Vec<u32> =
            sessions.iter().flat_map(|pid| children(*pid)).filter(|pid| is_sshd(*pid)).collect();
        for pid in below.into_iter().chain(sessions) {
            kill(pid, "KILL");
        }
    }

    /// How many connections it has.
    pub fn connections(&self) -> usize {
        children(self.child.id()).len()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let sessions = children(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in sessions {
            kill(pid, "TERM");
        }
    }
}

/// The pids whose command line contains `text`, this process left out.
pub fn processes_with(text: &str) -> Vec<u32> {
    pids()
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(text)
        })
        .collect()
}

/// Sends a signal to one process.
pub fn kill(pid: u32, signal: &str) {
    let _ = Command::new("kill").args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in parentheses: the letter of what it does, then the parent.
        let ppid = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        ppid == Some(parent)
    };
    pids().filter(is_child).collect()
}

fn is_sshd(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("sshd"))
}

fn keygen(path: &Path, passphrase: &str) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", "trueup-test", "-N", passphrase, "-f"])
        .arg(path)
        .status()
        .expect("openssh-client is installed");
    assert!(status.success());
}

/// Starts sshd on a port that was free a moment ago; `None` when somebody was faster.
fn listen(folder: &Path, config: &str, unshare: bool) -> Option<(Child, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = |name: &str| folder.join(name).display().to_string();
    // SHLVL tells bash that this is no login, so that the tester's own ~/.bashrc is not read.
    let text = format!(
        "{config}ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         LogLevel VERBOSE\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\n\
         SetEnv SHLVL=1 PATH={}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
        at("host_key"),
        at("authorized_keys"),
        at("bin"),
    );
    fs::write(folder.join("sshd_config"), text).unwrap();
    // Each step replaces the one before, so the pid stays that of sshd, which re-executes itself,
    // hence its full path.
    let script =
        "cd \"$1\"; [ -z \"$2\" ] || for f in passwd shadow; do mount --bind $f /etc/$f || exit; done;
        exec /usr/sbin/sshd -D -e -f \"$1/sshd_config\"";
    let (program, lead): (&str, &[&str]) = if unshare { ("unshare", &["-m", "sh"]) } else { ("sh", &[]) };
    let mut child = Command::new(program)
        .args(lead)
        .args(["-c", script, "sh"])
        .arg(folder)
        .arg(if unshare { "own users" } else { "" })
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssh-server is installed");
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    loop {
        let from = said.len();
        if lines.read_line(&mut said).unwrap() == 0 {
            let _ = child.wait();
            assert!(said.contains("Address already in use"), "{said}");
            return None;
        }
        if said[from..].contains("Server listening on") {
            break;
        }
    }
    // Somebody must read what it writes later, or it would block.
    let log = folder.join("log");
    std::thread::spawn(move || {
        let mut file = fs::File::create(log).ok()?;
        std::io::copy(&mut lines, &mut file).ok()
    });
    Some((child, port))
}
