//! The whole tool against made-up controllers behind real sshds: the binary, an inventory, and what it
//! answered.
//!
//! ```ignore
//! let rig = Rig::new(3);
//! let answer = rig.trueup(&["audit"]);
//! assert_eq!(answer.code, 2);
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::host::{Cluster, Controller};
use super::schema;
use super::sshd::{SUDO_FREE, Sshd, kill, processes_with};

/// Passwords in the files of the controllers: no output may hold them.
pub const SECRETS: &[&str] = &["s3cret-rpc", "s3cret-db"];

/// Arguments of `remediate` and `apply` that keep tests short where all is well.
pub const GO: &[&str] = &["--yes", "--settle", "0"];

/// Controllers `ctl1`, `ctl2`… of one cluster, each behind its own sshd.
pub struct Rig {
    pub sshds: Vec<Sshd>,
    pub cluster: Cluster,
    pub folder: TempDir,
}

/// A run that has been started.
pub struct Run {
    child: Child,
    err: PathBuf,
}

impl Run {
    /// What it has said on standard error so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        kill(self.child.id(), name);
    }
}

/// What one run answered.
#[derive(Debug)]
pub struct Answer {
    /// Exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Answer {
    /// The answer of `--format json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The same, checked against the published schema of reports.
    #[track_caller]
    pub fn report(&self) -> Value {
        let published = include_str!("../../schema/report-1.0.json");
        let report = self.json();
        assert_eq!(schema::fault(&serde_json::from_str(published).unwrap(), &report), None);
        report
    }

    /// How every host stands, by the answer of `--format json`.
    pub fn stands(&self) -> Vec<String> {
        let report = self.json();
        let hosts = report["hosts"].as_object().unwrap();
        hosts.values().map(|host| host["status"].as_str().unwrap().to_owned()).collect()
    }

    /// Checks the exit code, and says everything if it is another.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Checks that standard error holds these texts, in this order.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) -> &Self {
        in_order("stderr", &self.err, texts);
        self
    }

    /// The same for standard output.
    #[track_caller]
    pub fn answers(&self, texts: &[&str]) -> &Self {
        in_order("stdout", &self.out, texts);
        self
    }
}

#[track_caller]
fn in_order(name: &str, whole: &str, texts: &[&str]) {
    let mut rest = whole;
    for text in texts {
        let at = rest.find(text).unwrap_or_else(|| panic!("no `{text}` (in this order) in {name}:\n{whole}"));
        rest = &rest[at + text.len()..];
    }
}

impl Rig {
    /// So many controllers, with the incident's settings.
    pub fn new(hosts: usize) -> Self {
        Self::with(hosts, Sshd::start)
    }

    /// The same with sshds of another kind.
    pub fn with(hosts: usize, start: impl Fn() -> Sshd) -> Self {
        let sshds: Vec<Sshd> = (0..hosts).map(|_| start()).collect();
        let roots: Vec<PathBuf> = sshds.iter().map(Sshd::root).collect();
        let names: Vec<String> = (1..=hosts).map(|number| format!("ctl{number}")).collect();
        let pairs: Vec<(&str, &Path)> =
            names.iter().map(String::as_str).zip(roots.iter().map(PathBuf::as_path)).collect();
        let cluster = Cluster::build(&pairs);
        let folder = tempfile::Builder::new().prefix("trueup-rig-").tempdir().unwrap();
        let rig = Self { sshds, cluster, folder };
        for sshd in &rig.sshds {
            sshd.stub("sudo", SUDO_FREE);
        }
        rig.inventory("");
        rig
    }

    /// Writes the inventory, with `more` at its end.
    pub fn inventory(&self, more: &str) {
        let lines: String = self
            .cluster
            .hosts()
            .iter()
            .zip(&self.sshds)
            .map(|(host, sshd)| format!("{} {}\n", host.name(), sshd.inventory_vars()))
            .collect();
        self.file("hosts", &format!("{lines}{more}"));
    }

    /// Writes a file into the working folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// One controller.
    pub fn host(&self, name: &str) -> &Controller {
        self.cluster.host(name)
    }

    /// Puts SCRIPT before every call of a host's `systemctl`; `$1` is its verb, `$2` its unit, `$root` the
    /// host's root, and `real` calls the program itself.
    pub fn before_systemctl(&self, name: &str, script: &str) {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let bin = self.host(name).path("bin");
        fs::create_dir_all(bin.join("real")).unwrap();
        fs::remove_file(bin.join("systemctl")).unwrap();
        let _ = symlink("../host.sh", bin.join("real/systemctl"));
        let text = format!(
            "#!/bin/sh\nroot=${{0%/bin/*}}\nreal() {{ \"$root/bin/real/systemctl\" \"$@\"; }}\n{script}\nreal \"$@\"\n"
        );
        fs::write(bin.join("systemctl"), text).unwrap();
        fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A unit of a host does not start while its heartbeat is what the playbook wants.
    pub fn breaks_when_remedied(&self, name: &str, unit: &str) {
        self.before_systemctl(
            name,
            &format!(
                "broken=$root/var/fixture/broken/{unit}.service
                if grep -q 'threshold = 15' \"$root/etc/cinder/cinder.conf\"; then : >\"$broken\"
                else rm -f \"$broken\"; fi"
            ),
        );
    }

    /// The brokers' listeners have no keepalive, so that the built-in playbook restarts the brokers.
    pub fn without_listener_keepalive(&self) {
        for host in self.cluster.hosts() {
            host.write("etc/rabbitmq/rabbitmq.conf", "listeners.tcp.default = 5672\n");
            host.write("var/fixture/listener_keepalive", "false\n");
        }
    }

    /// The built-in playbook with other words at its top (`serial`, `max_fail_percentage`).
    pub fn playbook(&self, serial: &str, max_fail_percentage: &str) {
        let built_in = include_str!("../../playbooks/rpc-survives.yml");
        let text = built_in
            .replace("serial: 1 ", &format!("serial: {serial} "))
            .replace("max_fail_percentage: 0 ", &format!("max_fail_percentage: {max_fail_percentage} "));
        assert_ne!(text, built_in);
        self.file("play.yml", &text);
    }

    /// The processes of the run that are left: ssh here, commands on the hosts.
    pub fn leftovers(&self) -> Vec<u32> {
        let of = |sshd: &Sshd| {
            let config = sshd.path("ssh_config").display().to_string();
            let root = sshd.root().display().to_string();
            [processes_with(&config), processes_with(&root)].concat()
        };
        self.sshds.iter().flat_map(of).collect()
    }

    /// Everything that the hosts hold.
    pub fn snapshot(&self) -> Vec<std::collections::BTreeMap<PathBuf, (u32, Vec<u8>)>> {
        let mode = |host: &Controller, path: &PathBuf| {
            use std::os::unix::fs::MetadataExt as _;
            fs::symlink_metadata(host.root().join(path)).unwrap().mode()
        };
        let of = |host: &Controller| {
            host.snapshot()
                .into_iter()
                .map(|(path, bytes)| (path.clone(), (mode(host, &path), bytes)))
                .collect()
        };
        self.cluster.hosts().iter().map(of).collect()
    }

    /// Restarts on all hosts, in the order of the hosts.
    pub fn restarts(&self) -> Vec<Vec<String>> {
        self.cluster.hosts().iter().map(Controller::restarts).collect()
    }

    /// `trueup WORDS[0] -i hosts WORDS[1..]` in the working folder, not yet run.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        command
            .arg(words[0])
            .args(["-i", "hosts"])
            .args(&words[1..])
            .current_dir(self.folder.path())
            .env_remove("ANSIBLE_INVENTORY")
            .env_remove("ANSIBLE_VAULT_PASSWORD_FILE")
            .env_remove("ANSIBLE_HOST_KEY_CHECKING")
            .stdin(Stdio::null());
        command
    }

    /// Runs it.
    #[track_caller]
    pub fn trueup(&self, words: &[&str]) -> Answer {
        self.finish(self.spawn(self.command(words)))
    }

    /// Starts it, with its outputs caught.
    pub fn spawn(&self, mut command: Command) -> Run {
        let err = tempfile::Builder::new().prefix("err").tempfile_in(self.folder.path()).unwrap();
        let (file, err) = err.keep().unwrap();
        Run { child: command.stdout(Stdio::piped()).stderr(file).spawn().unwrap(), err }
    }

    /// Waits for its end. Nobody's password may be in what it says.
    #[track_caller]
    pub fn finish(&self, run: Run) -> Answer {
        let output = run.child.wait_with_output().unwrap();
        let answer = Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: fs::read_to_string(run.err).unwrap(),
        };
        for secret in SECRETS {
            assert!(!answer.out.contains(secret) && !answer.err.contains(secret), "{answer:#?}");
        }
        answer
    }

    /// `remediate` or `apply` with [`GO`] and these words.
    #[track_caller]
    pub fn go(&self, words: &[&str]) -> Answer {
        self.trueup(&[words, GO].concat())
    }
}

/// Waits for something that happens soon.
#[track_caller]
pub fn soon(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_mins(1), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}
