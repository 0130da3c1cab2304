//! The probe's real script, run by the shells that hosts have, against made-up roots.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use trueup::cmd::{Cmd, Output};
use trueup::error::HostError;
use trueup::event::{Event, Events, silent};
use trueup::facts::{Facts, FileFact, Question, Reading};
use trueup::probe::{Request, probe, probe_all};
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

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn program(root: &Path, path: &str, script: &str) {
    write(root, path, script);
    fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A process of a made-up `proc`.
fn process(root: &Path, pid: u32, argv: &[&str], environ: &[&str], cgroup: &str) {
    let words = |words: &[&str]| words.iter().flat_map(|word| [*word, "\0"]).collect::<String>();
    write(root, &format!("proc/{pid}/cmdline"), words(argv));
    write(root, &format!("proc/{pid}/environ"), words(environ));
    write(root, &format!("proc/{pid}/cgroup"), format!("0::{cgroup}\n"));
    write(
        root,
        &format!("proc/{pid}/stat"),
        format!("{pid} (a b) S 1 1 1 0 -1 {} 100 0 0\n", "0 ".repeat(14).trim()),
    );
    fs::create_dir_all(root.join(format!("proc/{pid}/ns"))).unwrap();
}

fn unknown<T>(reading: Option<&Reading<T>>) -> &str {
    reading.and_then(Reading::unknown).unwrap_or("known")
}

fn file<'a>(facts: &'a Facts, path: &str) -> &'a FileFact {
    match facts.files.get(path) {
        Some(Reading::Known(file)) => file,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn the_broker_is_read_where_its_environment_says_it_looks() {
    let folder = TempDir::new().unwrap();
    let cluster = Cluster::build(&[("ctl1", folder.path())]);
    let ctl1 = cluster.host("ctl1");
    let env = "CONFIG_FILE=/srv/rabbit/main\nexport RABBITMQ_CONFIG_FILES='/srv/rabbit/more/*.conf'\n";
    ctl1.write("etc/rabbitmq/rabbitmq-env.conf", env);
    ctl1.write("etc/rabbitmq/rabbitmq.conf", "include site/*.inc\ninclude one.inc\n");
    ctl1.write("etc/rabbitmq/site/a.inc", "heartbeat = 9\n");
    ctl1.write("srv/rabbit/main.conf", "heartbeat = 10\n");
    ctl1.write("srv/rabbit/more/50-a.conf", "heartbeat = 11\n");
    let shell = Shell::new(&["sh"]);
    let facts = ask(&shell, folder.path(), Vec::new());
    assert_eq!(shell.commands.lock().unwrap().to_owned(), 2);
    let check = |path: &str, content: &str| assert_eq!(*file(&facts, path).content, *content, "{path}");
    check("/srv/rabbit/main.conf", "heartbeat = 10\n");
    check("/srv/rabbit/more/50-a.conf", "heartbeat = 11\n");
    check("/etc/rabbitmq/site/a.inc", "heartbeat = 9\n");
    for absent in ["/srv/rabbit/main.config", "/etc/rabbitmq/one.inc", "/etc/rabbitmq/advanced.config"] {
        assert_eq!(facts.files[absent], Reading::Absent, "{absent}");
    }
    let offered = trueup::audit::brokers::offered(&facts).unwrap();
    assert_eq!((offered.value, offered.evidence.source.as_str()), (11, "/srv/rabbit/more/50-a.conf:1"));
}

#[test]
fn a_controller_is_read_whole_by_every_shell() {
    let folder = TempDir::new().unwrap();
    let building = jiff::Timestamp::now().as_second();
    let cluster = Cluster::build(&[("ctl1", folder.path())]);
    let built = jiff::Timestamp::now().as_second();
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
        // The fixture's services have run for an hour; a start is rounded to whole ticks and seconds.
        let started = volume.started_at + 3600;
        assert!((building - 2..=built + 2).contains(&started), "{name}: {building} {started} {built}");
        assert_eq!(facts.units["cinder-volume.service"].main_pid, volume.pid, "{name}");
        assert_eq!(facts.units["cinder-volume.service"].enabled, "enabled", "{name}");
        let cinder = file(&facts, "/etc/cinder/cinder.conf");
        assert_eq!(*cinder.content, ctl1.read("etc/cinder/cinder.conf"), "{name}");
        assert_eq!(cinder.mode, 0o640, "{name}");
        let link = file(&facts, "/etc/sysctl.d/99-sysctl.conf");
        assert_eq!((link.link.as_deref(), &*link.content), (Some("../sysctl.conf"), "# nothing here\n"));
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

#[test]
fn hostile_content_stays_content() {
    for shell in shells() {
        let name = shell.words[0];
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        let d = "etc/sysctl.d";
        for odd in [
            "a b.conf",
            "quo'te\".conf",
            "$(id).conf",
            "-rf.conf",
            "back\\slash.conf",
            ".hidden.conf",
            "*.conf",
            "ü.conf",
        ] {
            write(root, &format!("{d}/{odd}"), format!("# {odd}\n"));
        }
        write(root, &format!("{d}/line\nbreak.conf"), "x");
        write(root, &format!("{d}/binary.conf"), [0xff, 0xfe, 0, 1]);
        write(root, &format!("{d}/nul.conf"), "a\0b\r\nno end");
        write(root, &format!("{d}/huge.conf"), vec![b'x'; 3 << 20]);
        write(root, &format!("{d}/large.conf"), vec![b'x'; 1 << 20]);
        write(root, &format!("{d}/empty.conf"), "");
        write(root, &format!("{d}/not.config"), "");
        fs::create_dir(root.join(d).join("folder.conf")).unwrap();
        symlink("/dev/null", root.join(d).join("masked.conf")).unwrap();
        symlink("/gone", root.join(d).join("dangling.conf")).unwrap();
        symlink("loop.conf", root.join(d).join("loop.conf")).unwrap();
        symlink("/etc/real file.txt", root.join(d).join("absolute.conf")).unwrap();
        symlink("../.././etc/../etc/hosts.txt", root.join(d).join("winding.conf")).unwrap();
        write(root, "etc/real file.txt", "inside the root\n");
        write(root, "etc/hosts.txt", "winding\n");
        let fifo = root.join(d).join("fifo.conf");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // A process that ended while it was looked at.
        write(root, "proc/77/cmdline", "/usr/bin/cinder-volume\0");
        process(
            root,
            78,
            &["/usr/bin/cinder-volume", "a\nb", "", "ü"],
            &["OS_X__Y=a\nb=c", "SECRET=1"],
            "/x",
        );

        let facts = ask(&shell, root, Vec::new());
        let content = |file_name: &str| file(&facts, &format!("/{d}/{file_name}")).content.to_string();
        let reading = |file_name: &str| facts.files.get(&format!("/{d}/{file_name}"));
        for odd in [
            "a b.conf",
            "quo'te\".conf",
            "$(id).conf",
            "-rf.conf",
            ".hidden.conf",
            "*.conf",
            "ü.conf",
            "back\\slash.conf",
        ] {
            assert_eq!(content(odd), format!("# {odd}\n"), "{name}");
        }
        assert_eq!(content("nul.conf"), "a\0b\r\nno end", "{name}");
        assert_eq!(content("empty.conf"), "", "{name}");
        assert_eq!(content("large.conf").len(), 1 << 20, "{name}");
        assert_eq!(unknown(reading("huge.conf")), "it is larger than 1 MiB", "{name}");
        assert_eq!(unknown(reading("binary.conf")), "it is not UTF-8 text", "{name}");
        assert_eq!(unknown(reading("fifo.conf")), "it is not a plain file", "{name}");
        assert_eq!(file(&facts, "/etc/sysctl.d/masked.conf").link.as_deref(), Some("/dev/null"), "{name}");
        assert_eq!(reading("dangling.conf"), Some(&Reading::Absent), "{name}");
        assert_eq!(reading("folder.conf"), None, "{name}");
        assert_eq!(reading("not.config"), None, "{name}");
        assert_eq!(content("absolute.conf"), "inside the root\n", "{name}");
        let winding = reading("winding.conf").unwrap();
        assert!(winding.known().is_none_or(|file| *file.content == *"winding\n"), "{name}: {winding:?}");
        let names = facts.folders["/etc/sysctl.d"].known().unwrap();
        assert!(names.contains(&"line\nbreak.conf".to_owned()), "{name}");
        assert_eq!(names.len(), 22, "{name}: {names:?}");
        assert_eq!(facts.processes.keys().collect::<Vec<_>>(), [&78], "{name}");
        let odd = &facts.processes[&78];
        assert_eq!(odd.argv, ["/usr/bin/cinder-volume", "a\nb", "", "ü"], "{name}");
        assert_eq!(odd.environ, [("OS_X__Y".to_owned(), "a\nb=c".to_owned())].into(), "{name}");
    }
}

/// Writes the frames' own mark into a file of the host, as nobody can who does not see our input.
#[derive(Clone)]
struct Spy(Shell, std::path::PathBuf);

impl Transport for Spy {
    async fn run(&self, cmd: &Cmd) -> Result<Output, HostError> {
        let script = String::from_utf8(cmd.stdin.clone()).unwrap();
        let token = script.lines().next().unwrap().strip_prefix("token=").unwrap().to_owned();
        fs::write(&self.1, format!("a\n{token} end  \n\n{token} absent  \n/etc/passwd\n")).unwrap();
        self.0.run(cmd).await
    }
}

#[tokio::test]
async fn even_the_mark_of_the_frames_in_a_file_does_no_harm() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "etc/sysctl.d/a.conf", "");
    write(folder.path(), "etc/sysctl.d/b.conf", "b");
    let spy = Spy(Shell::new(&["sh"]), folder.path().join("etc/sysctl.d/a.conf"));
    let root = Some(folder.path().display().to_string());
    let facts = probe(&spy, &Request { root, ..Request::default() }).await.unwrap();
    assert!(file(&facts, "/etc/sysctl.d/a.conf").content.contains("/etc/passwd"));
    assert_eq!(*file(&facts, "/etc/sysctl.d/b.conf").content, *"b");
    assert_eq!(facts.files.get("/etc/passwd"), None);
}

#[test]
fn what_may_not_be_read_is_unknown_and_not_absent() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    let mode =
        |path: &str, mode| fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    write(root, "etc/cinder/cinder.conf", "secret");
    write(root, "etc/sysctl.d/closed.conf", "");
    write(root, "etc/sysctl.d/open.conf", "");
    write(root, "proc/sys/net/ipv4/tcp_retries2", "15\n");
    process(root, 78, &["/usr/bin/cinder-volume"], &["OS_X__Y=1"], "/x");
    mode("etc/cinder", 0o000);
    mode("etc/sysctl.d/closed.conf", 0o000);
    mode("proc/78/environ", 0o000);
    mode("proc/sys/net/ipv4/tcp_retries2", 0o000);
    let root_user = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let shell = if root_user {
        Shell::new(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh"])
    } else {
        Shell::new(&["sh"])
    };
    let facts = ask(&shell, root, Vec::new());
    mode("etc/cinder", 0o755);
    let denied = "permission denied";
    assert_ne!(facts.uid, 0);
    assert_eq!(unknown(facts.files.get("/etc/cinder/cinder.conf")), denied);
    assert_eq!(unknown(facts.folders.get("/etc/cinder/cinder.conf.d")), denied);
    assert_eq!(unknown(facts.files.get("/etc/sysctl.d/closed.conf")), denied);
    assert_eq!(unknown(facts.sysctls.get("net.ipv4.tcp_retries2")), denied);
    assert_eq!(facts.sysctls["net.ipv4.tcp_keepalive_time"], Reading::Absent);
    assert_eq!(facts.unread.get("environ:78").map(String::as_str), Some(denied));
    assert!(file(&facts, "/etc/sysctl.d/open.conf").content.is_empty());
}

#[test]
fn files_in_unusual_places_take_a_second_command() {
    for shell in shells() {
        let name = shell.words[0];
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        process(
            root,
            78,
            &[
                "/opt/odd venv/bin/python3",
                "/opt/odd venv/bin/cinder-volume",
                "--config-file",
                "/srv/a b.conf",
                "--config-dir=/srv/d",
            ],
            &["HOME=/srv/home"],
            "/system.slice/cinder-volume.service",
        );
        process(
            root,
            79,
            &["/usr/bin/python3", "/usr/bin/nova-conductor"],
            &["HOME=/srv/home"],
            "/system.slice/nova-conductor.service",
        );
        write(
            root,
            "srv/a b.conf",
            "[DEFAULT]\ntransport_url = rabbit://u:p@h:5673,v:q@[::1]:5674/x?a=b:9\n",
        );
        write(root, "srv/d/1.conf", "[DEFAULT]\n");
        write(root, "srv/home/.nova/nova.conf", "[DEFAULT]\n");
        fs::create_dir_all(root.join("opt/odd venv/lib/python3.11/site-packages/amqp-5.3.1.dist-info"))
            .unwrap();
        program(
            root,
            "bin/ss",
            "#!/bin/sh\ncase $* in *5672*) ;; *) echo 'ESTAB 0 0 10.0.0.1:9 10.0.0.2:5673'; echo 'ESTAB 0 0 10.0.0.1:9 10.0.0.2:3306' ;; esac\n",
        );
        let questions = vec![
            Question::Command {
                id: "say".into(),
                argv: ["sh", "-c", "echo out; echo err >&2; exit 3"].map(str::to_owned).into(),
            },
            Question::Command { id: "none".into(), argv: vec!["no such program".into()] },
            Question::Command {
                id: "flood".into(),
                argv: ["head", "-c", "100000", "/dev/zero"].map(str::to_owned).into(),
            },
            Question::File("/srv/it's here".into()),
            Question::File("/srv/none".into()),
            Question::Folder { path: "/srv/d".into(), suffix: ".conf".into() },
            Question::Sysctl("kernel.pid_max".into()),
            Question::Sysctl("../../etc/passwd".into()),
        ];
        write(root, "srv/it's here", "asked");
        write(root, "proc/sys/kernel/pid_max", "4194304\n");
        let facts = ask(&shell, root, questions);
        assert_eq!(*shell.commands.lock().unwrap(), 2, "{name}");
        assert_eq!(*file(&facts, "/srv/it's here").content, *"asked", "{name}");
        assert_eq!(facts.files["/srv/none"], Reading::Absent, "{name}");
        assert_eq!(*file(&facts, "/srv/d/1.conf").content, *"[DEFAULT]\n", "{name}");
        assert!(file(&facts, "/srv/a b.conf").content.contains("5673"), "{name}");
        assert_eq!(*file(&facts, "/srv/home/.nova/nova.conf").content, *"[DEFAULT]\n", "{name}");
        assert_eq!(facts.sockets.known().map(Vec::len), Some(1), "{name}");
        assert_eq!(facts.packages[0].place, "/opt/odd venv/lib/python3.11/site-packages", "{name}");
        assert_eq!(facts.sysctls["kernel.pid_max"], Reading::Known("4194304".to_owned()), "{name}");
        let said = &facts.commands["say"];
        assert_eq!(
            (said.status, said.stdout.as_str(), said.stderr.as_str()),
            (3, "out\n", "err\n"),
            "{name}"
        );
        assert_eq!(facts.commands["none"].status, 127, "{name}");
        assert_eq!(facts.commands["flood"].stdout.len(), 65536, "{name}");
    }
}

#[test]
fn every_virtual_host_in_use_is_asked_for_its_reply_queues() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let argv = ["/usr/lib/erlang/erts-13/bin/beam.smp", "-s", "rabbit", "boot"];
    process(root, 32, &argv, &["RABBITMQ_NODENAME=bunny@ctl1"], "/system.slice/rabbitmq-server.service");
    let script = r#"#!/bin/sh
case "$*" in
  *cluster_status*) echo '{"disk_nodes":["bunny@ctl1"],"running_nodes":["bunny@ctl1"]}' ;;
  *list_connections*)
    for vhost in / /nova '/a b'; do
      printf '<bunny@ctl1.1.2.0>\t5672\t10.0.0.1\t40000\trunning\t15\t1\tu\t%s\t[]\n' "$vhost"
    done ;;
  *'-p /nova'*) printf 'reply_nova\t2\t1\n' ;;
  *'-p /a b'*) printf 'reply_ab\t1\t0\nother\t1\t0\n' ;;
  *list_queues*) printf 'reply_root\t1\t0\n' ;;
esac
"#;
    program(root, "bin/rabbitmqctl", script);
    for shell in shells() {
        let facts = ask(&shell, root, Vec::new());
        let name = shell.words[0];
        let rabbit = facts.rabbitmq.known().unwrap_or_else(|| panic!("{name}: {:?}", facts.rabbitmq));
        assert_eq!((rabbit.node.as_str(), rabbit.running), ("bunny@ctl1", true), "{name}");
        assert_eq!(rabbit.connections.known().map(Vec::len), Some(3), "{name}");
        let queues = rabbit.reply_queues.known().unwrap().iter();
        let queues: Vec<(&str, u32)> = queues.map(|queue| (queue.name.as_str(), queue.consumers)).collect();
        assert_eq!(queues, [("reply_root", 1), ("reply_ab", 1), ("reply_nova", 2)], "{name}");
    }
}

#[test]
fn containers_are_read_through_their_own_root_and_namespace() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let id = "f00dfeed".repeat(8);
    let argv = ["/usr/bin/python3", "/usr/bin/cinder-volume", "--config-file", "/etc/cinder/cinder.conf"];
    process(root, 500, &argv, &[], &format!("/system.slice/docker-{id}.scope"));
    process(root, 501, &argv, &[], &format!("/system.slice/docker-{id}.scope"));
    process(root, 600, &argv, &[], "/lxc.payload.ctl1_cinder/system.slice/cinder-volume.service");
    for pid in [500, 501, 600] {
        let inside = if pid == 600 { "lxc" } else { "docker" };
        write(root, &format!("{inside}/etc/cinder/real.conf"), format!("# {inside}\n"));
        fs::create_dir_all(
            root.join(inside).join("var/lib/kolla/venv/lib/python3.12/site-packages/kombu-5.4.0.dist-info"),
        )
        .unwrap();
        let link = root.join(inside).join("etc/cinder/cinder.conf");
        if !link.is_symlink() {
            // Absolute inside the container, as kolla makes them.
            symlink("/etc/cinder/real.conf", link).unwrap();
        }
        symlink(root.join(inside), root.join(format!("proc/{pid}/root"))).unwrap();
        symlink(format!("net:[{pid}]"), root.join(format!("proc/{pid}/ns/net"))).unwrap();
    }
    fs::create_dir_all(root.join("proc/self/ns")).unwrap();
    symlink("net:[500]", root.join("proc/self/ns/net")).unwrap();
    fs::create_dir_all(root.join("run")).unwrap();
    let _socket = UnixListener::bind(root.join("run/docker.sock")).unwrap();
    let line = format!("{id}\\tcinder_volume\\tkolla/cinder-volume:18\\trunning\\thost");
    program(root, "bin/docker", &format!("#!/bin/sh\nprintf '{line}\\n'\n"));
    program(
        root,
        "bin/nsenter",
        "#!/bin/sh\nshift 3\ncase $1 in\n  ss) exec \"$@\" ;;\n  grep) printf '/proc/sys/net/ipv4/tcp_retries2:15\\n\\0' ;;\nesac\n",
    );
    program(root, "bin/ss", "#!/bin/sh\necho 'ESTAB 0 0 10.0.0.1:9 10.0.0.2:5672'\n");
    for shell in shells() {
        let name = shell.words[0];
        let facts = ask(&shell, root, Vec::new());
        let inside = facts.processes.values().map(|process| process.container.as_deref()).collect::<Vec<_>>();
        assert_eq!(inside, [Some("cinder_volume"), Some("cinder_volume"), Some("ctl1_cinder")], "{name}");
        assert_eq!(facts.containers["cinder_volume"].image, "kolla/cinder-volume:18", "{name}");
        assert_eq!(facts.containers["ctl1_cinder"].engine, "lxc", "{name}");
        let docker = file(&facts, "container:cinder_volume:/etc/cinder/cinder.conf");
        assert_eq!(
            (&*docker.content, docker.link.as_deref()),
            ("# docker\n", Some("/etc/cinder/real.conf")),
            "{name}"
        );
        assert_eq!(
            *file(&facts, "container:ctl1_cinder:/etc/cinder/cinder.conf").content,
            *"# lxc\n",
            "{name}"
        );
        assert_eq!(facts.processes[&500].network_namespace, None, "{name}: the host's own");
        assert_eq!(facts.processes[&600].network_namespace.as_deref(), Some("net:[600]"), "{name}");
        let other = &facts.namespaces["net:[600]"];
        assert_eq!(other["net.ipv4.tcp_retries2"], Reading::Known("15".to_owned()), "{name}");
        assert_eq!(facts.sockets.known().map(Vec::len), Some(2), "{name}: both namespaces");
        let kombu = facts.packages.iter().filter(|package| package.name == "kombu");
        let places: Vec<_> = kombu.map(|p| (p.container.as_deref(), p.place.as_str())).collect();
        let site = "/var/lib/kolla/venv/lib/python3.12/site-packages";
        assert_eq!(places, [(Some("cinder_volume"), site), (Some("ctl1_cinder"), site)], "{name}");
    }
}

/// A host that answers, or never does.
#[derive(Clone)]
struct Maybe(Option<Shell>);

impl Transport for Maybe {
    async fn run(&self, cmd: &Cmd) -> Result<Output, HostError> {
        match &self.0 {
            Some(shell) => shell.run(cmd).await,
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_or_refuses_holds_up_nobody() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().display().to_string();
    let requests: Vec<Request> = (0..6)
        .map(|number| Request {
            host: format!("ctl{number}"),
            root: Some(root.clone()),
            ..Request::default()
        })
        .collect();
    let connect = |number: usize| async move {
        match number {
            0 => Ok(Maybe(None)),
            1 => Err(HostError::Refused { address: "10.0.0.1".to_owned(), port: 22 }),
            _ => Ok(Maybe(Some(Shell::new(&["sh"])))),
        }
    };
    let done = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&done);
    let events: Events = Arc::new(move |event| {
        if let Event::Probed { host, error } = event {
            seen.lock().unwrap().push((host, error.is_some()));
        }
    });
    let all = probe_all(requests.clone(), 2, connect, &events);
    assert!(tokio::time::timeout(Duration::from_secs(8), all).await.is_err(), "one host never answers");
    let mut done = done.lock().unwrap().clone();
    done.sort();
    let hosts: Vec<(&str, bool)> = done.iter().map(|(host, failed)| (host.as_str(), *failed)).collect();
    assert_eq!(hosts, [("ctl1", true), ("ctl2", false), ("ctl3", false), ("ctl4", false), ("ctl5", false)]);

    let cluster = probe_all(requests[1..].to_vec(), 20, move |number| connect(number + 1), &silent()).await;
    assert_eq!(cluster.len(), 5);
    assert!(matches!(cluster["ctl1"], Err(HostError::Refused { .. })));
    assert_eq!(cluster["ctl2"].as_ref().map(|facts| facts.host.as_str()), Ok("ctl2"));
}
