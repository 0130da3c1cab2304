//! The probe's real script, run by the shells that hosts have, against made-up roots.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use trueup::cmd::{Cmd, Output};
use trueup::error::HostError;
use trueup::facts::{Facts, FileFact, Question, Reading};
use trueup::probe::{Request, probe};
use trueup::transport::Transport;

use crate::support::host::{Cluster, Controller};

/// Runs commands here, with another shell in the place of `sh`; counts them.
#[derive(Clone)]
struct Shell {
    words: &'static [&'static str],
    commands: Arc<Mutex<usize>>,
}

impl Shell {
    fn new(words: &'static [&'static str]) -> Self {
        Self { words, commands: Arc::default() }
    }
}

impl Transport for Shell {
    async fn run(&self, cmd: &Cmd) -> Result<Output, HostError> {
        *self.commands.lock().unwrap() += 1;
        let (words, cmd) = (self.words, cmd.clone());
        let run = move || {
            assert_eq!(cmd.argv[0], "sh");
            let mut child = Command::new(words[0])
                .args(&words[1..])
                .args(&cmd.argv[1..])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(&cmd.stdin).unwrap();
            let output = child.wait_with_output().unwrap();
            let status = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap());
            Output { status, stdout: output.stdout, stderr: output.stderr }
        };
        Ok(tokio::task::spawn_blocking(run).await.unwrap())
    }
}

/// The shells of this machine: Debian's, bash as `sh` (Red Hat), and busybox where it is installed.
fn shells() -> Vec<Shell> {
    let all: [&'static [&'static str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];
    let there = |words: &&&'static [&'static str]| {
        let there =
            Command::new(words[0]).args(["-c", ":"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        there.is_ok()
    };
    all.iter().filter(there).map(|words| Shell::new(words)).collect()
}

fn ask(shell: &Shell, root: &Path, questions: Vec<Question>) -> Facts {
    let request = Request {
        host: "ctl1".to_owned(),
        root: Some(root.display().to_string()),
        r#become: false,
        questions,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(probe(shell, &request)).unwrap()
}

fn file<'a>(facts: &'a Facts, path: &str) -> &'a FileFact {
    match facts.files.get(path) {
        Some(Reading::Known(file)) => file,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn a_controller_is_read_whole_by_every_shell() {
    let folder = TempDir::new().unwrap();
    let cluster = Cluster::build(&[("ctl1", folder.path())]);
    let ctl1 = cluster.host("ctl1");
    let before = ctl1.snapshot();
    for shell in shells() {
        let facts = ask(&shell, folder.path(), Vec::new());
        let name = shell.words[0];
        assert_eq!(*shell.commands.lock().unwrap(), 1, "{name}: one command is enough for a usual host");
        assert_eq!(facts.hostname, "ctl1", "{name}");
        assert_eq!(facts.sysctls["net.ipv4.tcp_keepalive_time"], Reading::Known("60".to_owned()), "{name}");
        let programs: Vec<&str> =
            facts.processes.values().map(|process| process.argv[1].rsplit('/').next().unwrap()).collect();
        assert_eq!(programs, ["-W", "cinder-scheduler", "cinder-volume"], "{name}");
        let volume = &facts.processes[&ctl1.pid("cinder-volume")];
        assert_eq!(volume.cgroup, "/system.slice/cinder-volume.service", "{name}");
        assert_eq!(volume.environ.keys().collect::<Vec<_>>(), ["HOME"], "{name}: nothing else is sent");
        assert_eq!(volume.cwd, "/", "{name}");
        let age = facts.read_at - volume.started_at;
        assert!((3595..3605).contains(&age), "{name}: {age}");
        assert_eq!(facts.units["cinder-volume.service"].main_pid, volume.pid, "{name}");
        assert_eq!(facts.units["cinder-volume.service"].enabled, "enabled", "{name}");
        let cinder = file(&facts, "/etc/cinder/cinder.conf");
        assert_eq!(cinder.content, ctl1.read("etc/cinder/cinder.conf"), "{name}");
        assert_eq!(cinder.mode, 0o640, "{name}");
        let link = file(&facts, "/etc/sysctl.d/99-sysctl.conf");
        assert_eq!(
            (link.link.as_deref(), link.content.as_str()),
            (Some("../sysctl.conf"), "# nothing here\n")
        );
        assert_eq!(facts.files["/etc/rabbitmq/advanced.config"], Reading::Absent, "{name}");
        assert_eq!(facts.folders["/run/sysctl.d"], Reading::Absent, "{name}");
        let versions: Vec<String> =
            facts.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
        assert_eq!(
            versions,
            [
                "oslo.messaging 14.0.3",
                "oslo.config 9.0.0",
                "amqp 5.1.1",
                "kombu 5.2.4",
                "rabbitmq-server 3.10.8"
            ],
            "{name}"
        );
        let rabbit = facts.rabbitmq.known().unwrap_or_else(|| panic!("{name}: {:?}", facts.rabbitmq));
        assert_eq!((rabbit.node.as_str(), rabbit.running), ("rabbit@ctl1", true), "{name}");
        let connections = rabbit.connections.known().unwrap();
        assert_eq!(connections.iter().map(|c| c.heartbeat).collect::<Vec<_>>(), [0, 0, 0, 0], "{name}");
        let sockets = facts.sockets.known().unwrap();
        assert_eq!(sockets.len(), 8, "{name}: both ends of four connections");
        let broker = sockets.iter().find(|socket| socket.local_port == 5672).unwrap();
        assert_eq!(
            (broker.timer.as_deref(), broker.fires_in_ms),
            (Some("keepalive"), Some(60_000)),
            "{name}"
        );
    }
    assert_eq!(ctl1.snapshot(), before, "a probe writes nothing");
}

#[test]
fn a_made_up_host_restarts_like_a_real_one() {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let cluster = Cluster::build(&[("ctl1", folders[0].path()), ("ctl2", folders[1].path())]);
    let (ctl1, ctl2) = (cluster.host("ctl1"), cluster.host("ctl2"));
    assert_eq!(cluster.hosts().iter().map(Controller::name).collect::<Vec<_>>(), ["ctl1", "ctl2"]);
    let shell = Shell::new(&["sh"]);
    let look = |root: &Path| ask(&shell, root, Vec::new());
    let heartbeats = |facts: &Facts| -> Vec<u32> {
        let rabbit = facts.rabbitmq.known().unwrap();
        rabbit.connections.known().unwrap().iter().map(|connection| connection.heartbeat).collect()
    };
    assert_eq!(heartbeats(&look(ctl1.root())).len(), 8, "the clients of both hosts are on the first broker");

    let text = ctl1.read("etc/cinder/cinder.conf").replace("threshold = 0", "threshold = 15");
    ctl1.write("etc/cinder/cinder.conf", text);
    let old = ctl1.pid("cinder-volume");
    ctl1.run("systemctl", &["restart", "cinder-volume"]);
    assert_ne!(ctl1.pid("cinder-volume"), old);
    let facts = look(ctl1.root());
    assert!(!facts.processes.contains_key(&old));
    assert!(facts.read_at - facts.processes[&ctl1.pid("cinder-volume")].started_at < 10);
    assert_eq!(heartbeats(&facts).iter().filter(|heartbeat| **heartbeat == 15).count(), 2);

    ctl1.run("systemctl", &["restart", "rabbitmq-server.service"]);
    let moved = look(ctl2.root());
    assert_eq!(heartbeats(&moved).len(), 8, "all clients are on the second broker");
    assert_eq!(moved.rabbitmq.known().unwrap().running_members, ["rabbit@ctl1", "rabbit@ctl2"]);
    assert_eq!(ctl1.restarts(), ["cinder-volume", "rabbitmq-server"]);

    ctl2.breaks("cinder-scheduler");
    ctl2.run("systemctl", &["restart", "cinder-scheduler"]);
    assert_eq!(look(ctl2.root()).units["cinder-scheduler.service"].active, "failed");
    assert_eq!(ctl2.pid("cinder-scheduler"), 0);
    ctl2.mends("cinder-scheduler");
    ctl2.slow("cinder-scheduler", 30);
    ctl2.alarm();
    ctl2.run("systemctl", &["restart", "cinder-scheduler"]);
    let facts = look(ctl2.root());
    assert_eq!(facts.units["cinder-scheduler.service"].active, "active");
    assert_eq!(heartbeats(&facts).len(), 6, "its connections are not back yet");
    assert_eq!(facts.rabbitmq.known().unwrap().alarms, ["memory on rabbit@ctl2"]);

    ctl2.sysctl("net.ipv4.tcp_retries2", "5");
    assert_eq!(ctl2.run("sysctl", &["-n", "net.ipv4.tcp_retries2"]), "5\n");
    ctl2.run("sysctl", &["-w", "net.ipv4.tcp_retries2=8"]);
    assert_eq!(look(ctl2.root()).sysctls["net.ipv4.tcp_retries2"], Reading::Known("8".to_owned()));
    assert!(ctl2.calls().iter().any(|call| call == "sysctl -w net.ipv4.tcp_retries2=8"));
}
