//! Made-up controllers: a folder each that looks like the root of a host with RabbitMQ and Cinder, and
//! programs in its `bin` that behave like the real ones as far as audit, plan and remediate can tell.
//!
//! ```ignore
//! let sshd = Sshd::start();
//! let cluster = Cluster::build(&[("ctl1", &sshd.root())]);
//! let ctl1 = cluster.host("ctl1");
//! ctl1.write("etc/sysctl.d/50-site.conf", "net.ipv4.tcp_retries2 = 8\n");
//! // … run trueup …
//! assert_eq!(ctl1.restarts(), ["rabbitmq-server", "cinder-scheduler", "cinder-volume"]);
//! ```
//!
//! What the programs do (`host.sh`):
//! - `systemctl restart` gives the unit a **new process** (a new folder in `proc`, started now) and new
//!   AMQP connections, whose heartbeat is negotiated from `heartbeat_timeout_threshold` in the unit's
//!   files and `heartbeat` in the broker's, read **at that moment**; a restarted broker takes over
//!   `tcp_listen_options.keepalive`, and its clients move to another node;
//! - `ss`, `rabbitmqctl list_connections` and `list_queues` show those connections, also between the
//!   hosts of one cluster; keepalive timers are on where the listener has them;
//! - `sysctl -w` and writes to `proc/sys` are live values; nothing applies `sysctl.d` (no host reboots);
//! - [`Controller::breaks`], [`Controller::slow`] and [`Controller::alarm`] make
//!   things go wrong;
//! - every call is kept: [`Controller::calls`], [`Controller::restarts`].
//!
//! The settings at first are the incident's: keepalive 60/5/2 and on at the listener, heartbeat 0 in
//! `cinder.conf`, a timeout of 60 s. Files are two hours old and processes one hour, so nothing is stale.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const PROGRAMS: &[&str] = &[
    "systemctl",
    "rabbitmqctl",
    "rabbitmq-diagnostics",
    "rabbitmq-upgrade",
    "rabbitmq-queues",
    "ss",
    "sysctl",
    "systemd-run",
];

/// The units of a controller and the words of their command lines.
const UNITS: &[(&str, &[&str])] = &[
    (
        "rabbitmq-server.service",
        &["/usr/lib/erlang/erts-13.1.5/bin/beam.smp", "-W", "w", "--", "-noshell", "-s", "rabbit", "boot"],
    ),
    (
        "cinder-scheduler.service",
        &["/usr/bin/python3", "/usr/bin/cinder-scheduler", "--config-file=/etc/cinder/cinder.conf"],
    ),
    (
        "cinder-volume.service",
        &["/usr/bin/python3", "/usr/bin/cinder-volume", "--config-file=/etc/cinder/cinder.conf"],
    ),
];

/// Hosts that know each other: one RabbitMQ cluster, one Cinder.
pub struct Cluster {
    hosts: Vec<Controller>,
}

impl Cluster {
    /// Fills the folders (which exist) of these hosts. The first one also keeps what they share.
    pub fn build(hosts: &[(&str, &Path)]) -> Self {
        let shared = hosts[0].1.join("var/fixture/shared");
        fs::create_dir_all(shared.join("connections")).unwrap();
        fs::write(shared.join("port"), "40000\n").unwrap();
        let address = |number: usize| format!("10.20.0.{}", 11 + number);
        let lines = hosts.iter().enumerate();
        let table: String =
            lines.map(|(n, (name, root))| format!("{name} {} {}\n", address(n), root.display())).collect();
        fs::write(shared.join("hosts"), table).unwrap();
        let url: Vec<String> =
            (0..hosts.len()).map(|n| format!("openstack:s3cret-rpc@{}:5672", address(n))).collect();
        let hosts: Vec<Controller> = hosts
            .iter()
            .map(|(name, root)| Controller { name: (*name).to_owned(), root: root.to_path_buf() })
            .collect();
        for host in &hosts {
            host.fill(&shared, &format!("rabbit://{}/", url.join(",")));
        }
        // Brokers first, so that every client finds one.
        for (unit, _) in UNITS {
            for host in &hosts {
                host.run("systemctl", &["fixture-start", unit]);
            }
        }
        for host in &hosts {
            host.age();
            let _ = fs::remove_file(host.root.join("var/fixture/calls"));
        }
        Self { hosts }
    }

    /// One of them.
    pub fn host(&self, name: &str) -> &Controller {
        self.hosts.iter().find(|host| host.name == name).expect("the host was built")
    }

    /// All of them.
    pub fn hosts(&self) -> &[Controller] {
        &self.hosts
    }
}

/// One host of a [`Cluster`].
pub struct Controller {
    name: String,
    root: PathBuf,
}

impl Controller {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that stands for `/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path of the host (without a slash in front) on this machine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The content of a file.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Writes a file, two hours old so that no process is older than it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        old(&path);
    }

    /// Sets a live kernel setting, by dotted name.
    pub fn sysctl(&self, key: &str, value: &str) {
        self.write(&format!("proc/sys/{}", key.replace('.', "/")), format!("{value}\n"));
    }

    /// A unit will not come up again: it fails when it is next started.
    pub fn breaks(&self, unit: &str) {
        self.write(&format!("var/fixture/broken/{unit}.service"), "");
    }

    /// It will come up again.
    pub fn mends(&self, unit: &str) {
        fs::remove_file(self.path(&format!("var/fixture/broken/{unit}.service"))).unwrap();
    }

    /// A unit's connections come back only so many seconds after its next restart.
    pub fn slow(&self, unit: &str, seconds: u32) {
        self.write(&format!("var/fixture/slow/{unit}.service"), format!("{seconds}\n"));
    }

    /// The broker reports a memory alarm.
    pub fn alarm(&self) {
        self.write("var/fixture/alarm", "");
    }

    /// The main process of a unit, 0 when it does not run.
    pub fn pid(&self, unit: &str) -> u32 {
        let text = fs::read_to_string(self.path(&format!("var/fixture/pids/{unit}.service")));
        text.unwrap_or_default().trim().parse().unwrap_or(0)
    }

    /// Every call of a program that acts or asks the broker, `NAME ARGUMENTS`, oldest first.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("var/fixture/calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The units that were restarted, oldest first, without `.service`.
    pub fn restarts(&self) -> Vec<String> {
        let calls = self.calls();
        let units = calls.iter().filter_map(|call| call.strip_prefix("systemctl restart "));
        units.map(|unit| unit.trim_end_matches(".service").to_owned()).collect()
    }

    /// Runs one of the host's programs here; what it wrote on standard output.
    pub fn run(&self, program: &str, words: &[&str]) -> String {
        let output = Command::new(self.path("bin").join(program)).args(words).output().unwrap();
        assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The command of the one timer that is armed, a word a line; `None` where none is.
    pub fn timer(&self) -> Option<Vec<String>> {
        let found = fs::read_dir(self.path("var/fixture/timers")).into_iter().flatten();
        let timers: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
        assert!(timers.len() < 2, "{timers:?}");
        let text = fs::read_to_string(timers.first()?).unwrap();
        Some(text.lines().map(str::to_owned).collect())
    }

    /// Lets the host's own clock, which counts from its boot, go on.
    pub fn wait(&self, seconds: u64) {
        let now = self.read("proc/uptime");
        let now: u64 = now.split('.').next().unwrap().parse().unwrap();
        self.write("proc/uptime", format!("{}.00 1.00\n", now + seconds));
    }

    /// Every file below the root that a host really has (`proc`, `var/fixture` and checkpoints left out), with its bytes:
    /// equal before and after means that nothing was changed.
    pub fn snapshot(&self) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
        let mut found = std::collections::BTreeMap::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let short = path.strip_prefix(&self.root).unwrap().to_owned();
                if [Path::new("var/fixture"), Path::new("var/lib/trueup"), Path::new("proc")]
                    .contains(&short.as_path())
                {
                    continue;
                }
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_symlink() {
                    found.insert(short, fs::read_link(&path).unwrap().display().to_string().into_bytes());
                } else {
                    found.insert(short, fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    fn fill(&self, shared: &Path, url: &str) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        self.write("var/fixture/name", format!("{}\n", self.name));
        self.write("var/fixture/next_pid", "1000\n");
        for folder in ["pids", "enabled", "failed", "broken", "slow"] {
            fs::create_dir_all(self.path("var/fixture").join(folder)).unwrap();
        }
        if !self.path("var/fixture/shared").exists() {
            symlink(shared, self.path("var/fixture/shared")).unwrap();
        }
        self.write("bin/host.sh", include_str!("host.sh"));
        fs::set_permissions(self.path("bin/host.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        for program in PROGRAMS {
            symlink("host.sh", self.path("bin").join(program)).unwrap();
        }
        self.write("proc/stat", format!("cpu  1 2 3\nbtime {}\nprocesses 9\n", now - 864_000));
        self.write("proc/uptime", "864000.00 1.00\n");
        self.write("proc/sys/kernel/random/boot_id", "5d0f1d3c-0000-4000-8000-000000000001\n");
        fs::create_dir_all(self.path("run/systemd/system")).unwrap();
        self.write("proc/sys/kernel/hostname", format!("{}\n", self.name));
        self.write("proc/1/cmdline", "/sbin/init\0");
        for folder in ["proc/1/ns", "proc/self/ns"] {
            fs::create_dir_all(self.path(folder)).unwrap();
            symlink("net:[4026531840]", self.path(folder).join("net")).unwrap();
        }
        self.sysctl("net.ipv4.tcp_keepalive_time", "60");
        self.sysctl("net.ipv4.tcp_keepalive_intvl", "5");
        self.sysctl("net.ipv4.tcp_keepalive_probes", "2");
        self.sysctl("net.ipv4.tcp_retries2", "15");
        self.write(
            "etc/sysctl.d/50-controller.conf",
            "net.ipv4.tcp_keepalive_time = 60\nnet.ipv4.tcp_keepalive_intvl = 5\nnet.ipv4.tcp_keepalive_probes = 2\n",
        );
        self.write("etc/sysctl.conf", "# nothing here\n");
        symlink("../sysctl.conf", self.path("etc/sysctl.d/99-sysctl.conf")).unwrap();
        self.write("usr/lib/sysctl.d/50-pid-max.conf", "kernel.pid_max = 4194304\n");
        self.write(
            "etc/os-release",
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n",
        );
        self.write(
            "etc/cinder/cinder.conf",
            format!(
                "[DEFAULT]\n# Block storage\ntransport_url = {url}\nrpc_response_timeout = 60\n\n\
                 [database]\nconnection = mysql+pymysql://cinder:s3cret-db@10.20.0.1/cinder\n\n\
                 [oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 0\n"
            ),
        );
        fs::set_permissions(self.path("etc/cinder/cinder.conf"), fs::Permissions::from_mode(0o640)).unwrap();
        self.write(
            "etc/rabbitmq/rabbitmq.conf",
            "listeners.tcp.default = 5672\ncluster_partition_handling = pause_minority\n\
             tcp_listen_options.backlog = 128\ntcp_listen_options.nodelay = true\n\
             tcp_listen_options.linger.on = true\ntcp_listen_options.linger.timeout = 0\n\
             tcp_listen_options.exit_on_close = false\ntcp_listen_options.keepalive = true\n",
        );
        self.write("etc/rabbitmq/rabbitmq-env.conf", format!("NODENAME=rabbit@{}\n", self.name));
        for entry in [
            "oslo.messaging-14.0.3.dist-info",
            "oslo.config-9.0.0.dist-info",
            "amqp-5.1.1.dist-info",
            "kombu-5.2.4.dist-info",
        ] {
            fs::create_dir_all(self.path("usr/lib/python3/dist-packages").join(entry)).unwrap();
        }
        fs::create_dir_all(self.path("usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8")).unwrap();
        for (unit, argv) in UNITS {
            let words: String = argv.iter().flat_map(|word| [*word, "\0"]).collect();
            self.write(&format!("var/fixture/units/{unit}/cmdline"), words);
            let home = unit.split(['-', '.']).next().unwrap();
            let environ = format!("LANG=C\0HOME=/var/lib/{home}\0PATH=/usr/bin\0");
            self.write(&format!("var/fixture/units/{unit}/environ"), environ);
            if unit.starts_with("cinder") {
                self.write(&format!("var/fixture/units/{unit}/config"), "/etc/cinder/cinder.conf\n");
            }
            self.write(&format!("var/fixture/enabled/{unit}"), "");
            self.write(&format!("lib/systemd/system/{unit}"), "[Service]\nType=simple\n");
        }
    }

    /// Lets every process have started an hour ago.
    fn age(&self) {
        for (unit, _) in UNITS {
            let stat = format!("proc/{}/stat", self.pid(unit.trim_end_matches(".service")));
            let text = self.read(&stat);
            let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            words[21] = (words[21].parse::<u64>().unwrap() - 360_000).to_string();
            self.write(&stat, words.join(" "));
        }
    }
}

fn old(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(2)).unwrap();
}
