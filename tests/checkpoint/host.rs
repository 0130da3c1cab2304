//! A made-up host on which the script is run, and a run with a plan of every kind of step.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use trueup::apply::checkpoint::{self, Answer, Run, RunId, Standing, Status, Verb};
use trueup::cmd;
use trueup::error::HostError;
use trueup::plan::content::sha256;
use trueup::plan::{Action, HostPlan, Restart, Role, Step};

use crate::support::host::{Cluster, Controller};

/// A made-up host whose `sh` is this one.
pub struct Host {
    folder: TempDir,
    cluster: Cluster,
    /// Words before a command, for limits.
    pub limits: &'static str,
}

/// Mode, owner, time of change, and bytes (or where a link points).
pub type Tree = BTreeMap<PathBuf, (u32, u32, i64, i64, Vec<u8>)>;

impl Host {
    pub fn new(shell: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("trueup-checkpoint-").tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let found = ["/usr/bin", "/bin"].iter().map(|at| Path::new(at).join(shell)).find(|at| at.exists());
        fs::create_dir(folder.path().join("shell")).unwrap();
        symlink(found.expect("dash, bash and busybox are installed"), folder.path().join("shell/sh"))
            .unwrap();
        let cluster = Cluster::build(&[("ctl1", &root)]);
        let host = Self { folder, cluster, limits: "" };
        for (path, text) in files() {
            host.is().write(&path[1..], text);
        }
        symlink("behind.conf", host.is().path("etc/link.conf")).unwrap();
        // Times with fractions of a second, and a mode of its own.
        let old = fs::File::options().write(true).open(host.is().path("etc/behind.conf")).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)).unwrap();
        fs::set_permissions(host.is().path("etc/behind.conf"), fs::Permissions::from_mode(0o604)).unwrap();
        host
    }

    pub fn is(&self) -> &Controller {
        &self.cluster.hosts()[0]
    }

    pub fn root(&self) -> String {
        self.is().root().display().to_string()
    }

    pub fn dir(&self, run: &Run) -> PathBuf {
        self.is().path("var/lib/trueup").join(run.id.as_str())
    }

    /// `sh -c SCRIPT trueup WORDS` on this host.
    pub fn sh(&self, script: &str, words: &[String], stdin: &[u8]) -> Output {
        let feed = self.folder.path().join(format!("stdin.{:?}", std::thread::current().id()));
        fs::write(&feed, stdin).unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.folder.path().join("shell").display());
        Command::new("setsid")
            .args(["-w", "sh", "-c", &format!("{}{script}", self.limits), "trueup"])
            .args(words)
            .env("PATH", path)
            .stdin(Stdio::from(fs::File::open(feed).unwrap()))
            .output()
            .unwrap()
    }

    pub fn begin(&self, run: &Run, plan: &HostPlan) -> Result<Answer, HostError> {
        let script = checkpoint::script(&self.root(), run, plan, 0);
        let words = [vec![self.dir(run).display().to_string()], run.words()].concat();
        let output = self.sh(checkpoint::BEGIN, &words, script.as_bytes());
        answer(run, "begin", output)
    }

    pub fn asks(&self, run: &Run, words: &[&str], stdin: &[u8]) -> Result<Answer, HostError> {
        let mut all = vec![self.dir(run).display().to_string()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        let output = self.sh(checkpoint::ASK, &all, stdin);
        answer(run, words[0], output)
    }

    pub fn ask(&self, run: &Run, verb: &Verb) -> Result<Answer, HostError> {
        let words = verb.words(run);
        self.asks(run, &words.iter().map(String::as_str).collect::<Vec<_>>(), b"")
    }

    /// Carries out a step of [`plan`].
    pub fn step(&self, run: &Run, plan: &HostPlan, number: usize) -> Result<Answer, HostError> {
        let text = number.to_string();
        let lead = ["step", run.session.as_str(), text.as_str()];
        match &plan.steps[number].action {
            Action::WriteFile { path, content, .. } => {
                let before = plan.basis[path].clone().unwrap_or_else(|| "none".to_owned());
                let (user, new) = (whoami(), sha256(content.as_bytes()));
                let words = ["write", path, "640", &user.0, &user.1, &before, &new];
                self.asks(run, &[&lead[..], &words].concat(), content.as_bytes())
            }
            Action::SetSysctl { key, value, .. } => {
                self.asks(run, &[&lead[..], &["sysctl", &checkpoint::sysctl_path(key), value]].concat(), b"")
            }
            Action::SetUnit { unit, .. } => {
                self.asks(run, &[&lead[..], &["unit", "disable stop", unit]].concat(), b"")
            }
            Action::Run { argv } | Action::Restart(Restart { argv, .. }) => {
                let words: Vec<&str> = argv.iter().map(String::as_str).collect();
                self.asks(run, &[&lead[..], &["run"], &words].concat(), b"")
            }
            Action::SetOptions { .. } => unreachable!("the plan has none"),
        }
    }

    pub fn status(&self) -> Vec<Status> {
        let script = checkpoint::status_script(&self.root());
        let output = self.sh("exec sh -s -- status", &[], script.as_bytes());
        assert!(output.status.success(), "{output:?}");
        checkpoint::parse_status(&String::from_utf8(output.stdout).unwrap())
    }

    pub fn standing(&self, run: &Run) -> Option<Standing> {
        self.status().into_iter().find(|status| status.run == run.id).map(|status| status.standing)
    }

    /// What the timer, or the boot unit, runs.
    pub fn fires(&self, run: &Run, verb: &str) -> Output {
        let words = [self.dir(run).join("checkpoint").display().to_string(), verb.to_owned()];
        self.sh("exec sh \"$@\"", &words, b"")
    }

    pub fn tree(&self) -> Tree {
        let mut found = Tree::new();
        for (path, bytes) in self.is().snapshot() {
            let meta = fs::symlink_metadata(self.is().root().join(&path)).unwrap();
            // A link's own time is nobody's business.
            let time = if meta.is_symlink() { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) };
            if !path.starts_with("bin") {
                found.insert(path, (meta.mode(), meta.uid(), time.0, time.1, bytes));
            }
        }
        found
    }

    /// What is there of any run that is open: lock, timer, boot unit.
    pub fn holds(&self) -> Vec<String> {
        let mut found = Vec::new();
        for path in ["var/lib/trueup/lock", "etc/systemd/system/trueup-failsafe.service"] {
            if fs::symlink_metadata(self.is().path(path)).is_ok() {
                found.push(path.to_owned());
            }
        }
        found.extend(self.is().timer().map(|words| words.join(" ")));
        found
    }

    /// Keeps everything as it is now.
    pub fn keep(&self, name: &str) -> PathBuf {
        let kept = self.folder.path().join(name);
        let _ = fs::remove_dir_all(&kept);
        copy(self.is().root(), &kept);
        kept
    }

    /// Everything as it was then.
    pub fn becomes(&self, kept: &Path) {
        fs::remove_dir_all(self.is().root()).unwrap();
        copy(kept, self.is().root());
    }

    pub fn program(&self, name: &str, text: &str) {
        let path = self.is().path("bin").join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

pub fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

pub fn answer(run: &Run, verb: &str, output: Output) -> Result<Answer, HostError> {
    let status = output.status.code().unwrap_or(137);
    let output = cmd::Output { status, stdout: output.stdout, stderr: output.stderr };
    checkpoint::answer(&run.id, verb, &output)
}

pub fn whoami() -> (String, String) {
    let meta = fs::metadata("/proc/self").unwrap();
    (meta.uid().to_string(), meta.gid().to_string())
}

pub const ODD: &str = "/etc/odd folder/it's \"$(x)\"\n`y`*.conf";

pub fn files() -> Vec<(&'static str, &'static str)> {
    vec![("/etc/plain.conf", "old\n"), ("/etc/behind.conf", "old, behind a link\n"), (ODD, "old, odd\n")]
}

pub fn run(number: u16) -> Run {
    Run {
        id: RunId::parse(&format!("20261122T1315{:02}Z-{number:04x}", number % 60)).unwrap(),
        session: format!("s{number}"),
        who: "ops@laptop".to_owned(),
        pid: 4242,
        lease: Duration::from_mins(5),
        failsafe: true,
    }
}

/// Files of every kind, a kernel setting, a unit, and restarts, between two commands.
pub fn plan() -> HostPlan {
    let plain = |action: Action| Step { tasks: Vec::new(), action, diff: String::new(), after: None };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let write = |path: &str| {
        plain(Action::WriteFile {
            path: path.to_owned(),
            content: format!("new {path}\n"),
            mode: None,
            owner: None,
            group: None,
            validate: None,
        })
    };
    let restart = |unit: &str| {
        plain(Action::Restart(Restart {
            role: Role::RpcServer,
            order: 0,
            service: unit.to_owned(),
            name: format!("{unit}.service"),
            argv: words(&["systemctl", "restart", &format!("{unit}.service")]),
        }))
    };
    let steps = vec![
        plain(Action::Run { argv: words(&["rabbitmq-upgrade", "out of", "the pool"]) }),
        write("/etc/plain.conf"),
        write("/etc/link.conf"),
        write(ODD),
        write("/etc/made/for it/new.conf"),
        plain(Action::SetSysctl {
            key: "net.ipv4.tcp_retries2".to_owned(),
            value: "8".to_owned(),
            before: None,
        }),
        plain(Action::SetUnit {
            unit: "cinder-volume.service".to_owned(),
            enabled: Some(false),
            running: Some(false),
        }),
        restart("rabbitmq-server"),
        restart("cinder-scheduler"),
        plain(Action::Run { argv: words(&["rabbitmq-upgrade", "into", "the pool"]) }),
    ];
    let mut basis: BTreeMap<String, Option<String>> =
        files().into_iter().map(|(path, text)| (path.to_owned(), Some(sha256(text.as_bytes())))).collect();
    basis.insert("/etc/link.conf".to_owned(), basis["/etc/behind.conf"].clone());
    basis.insert("/etc/made/for it/new.conf".to_owned(), None);
    HostPlan { host: "ctl1".to_owned(), basis, steps, blocked: Vec::new() }
}

/// The host's part of what the plan is for.
pub fn calls(host: &Host) -> Vec<String> {
    let calls = host.is().calls();
    let wanted = ["systemctl restart", "systemctl enable", "systemctl disable", "rabbitmq-upgrade "];
    calls.into_iter().filter(|call| wanted.iter().any(|start| call.starts_with(start))).collect()
}

pub fn all_steps(host: &Host, run: &Run, plan: &HostPlan) {
    for number in 0..plan.steps.len() {
        host.step(run, plan, number).unwrap();
    }
}
