//! What was read from one host: typed, complete, and honest about what could not be read.
//!
//! [`Facts`] are what the probe returns, what `trueup facts --save` writes (through
//! [`Facts::masked`]) and what audit and plan decide on. Everything in them was read; nothing is
//! concluded. Paths are the host's own, without the `trueup_root` prefix.

pub mod history;
mod mask;
mod rabbit;
pub mod saved;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use rabbit::{AmqpConnection, Listener, Queue, Quorum, Rabbit, ReplyQueue};

/// The version of the saved form. A file with another major version is refused.
pub const FORMAT_VERSION: &str = "1.0";

/// One thing that was asked: its value, its absence, or why it is not known.
///
/// Absent, unreadable and different are three answers; unknown is never compliant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// Read.
    Known(T),
    /// It was looked for and is not there.
    #[default]
    Absent,
    /// It could not be read, and why.
    Unknown(String),
}

impl<T> Reading<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Why it is not known; `None` when it was read or is certainly absent.
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Self::Unknown(reason) => Some(reason),
            Self::Known(_) | Self::Absent => None,
        }
    }
}

/// Everything read from one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// [`FORMAT_VERSION`] of the tool that wrote them.
    pub format_version: String,
    /// Inventory name.
    pub host: String,
    /// The host's own name (`uname -n`): what RabbitMQ node names end in.
    pub hostname: String,
    /// The host's clock when it was read, seconds since the epoch.
    pub read_at: i64,
    /// When the host booted, seconds since the epoch by the host's clock.
    pub booted_at: i64,
    /// The user the probe ran as; not 0 means that some answers may be unknown.
    pub uid: u32,
    /// `true`: secrets are masked (facts that were saved), so a file's bytes are not its content.
    pub masked: bool,
    /// Every file that was asked for, by absolute path on the host; a file that a container reads has
    /// the container's name in front, as in `container:cinder_volume:/etc/cinder/cinder.conf`.
    pub files: BTreeMap<String, Reading<FileFact>>,
    /// Folders that were listed, with the names of their entries, sorted bytewise.
    pub folders: BTreeMap<String, Reading<Vec<String>>>,
    /// Live kernel settings in the host's own network namespace, by dotted name.
    pub sysctls: BTreeMap<String, Reading<String>>,
    /// The same in other network namespaces (LXC, bridged containers), by namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, Reading<String>>>,
    /// Processes of OpenStack services and of RabbitMQ, by pid.
    pub processes: BTreeMap<u32, Process>,
    /// systemd units of services we know, by unit name; absent where there is no systemd.
    pub units: BTreeMap<String, Unit>,
    /// Containers of services we know, by name, where an engine answers.
    pub containers: BTreeMap<String, Container>,
    /// Versions of what is installed.
    pub packages: Vec<Package>,
    /// The broker on this host.
    pub rabbitmq: Reading<Rabbit>,
    /// AMQP sockets of this host, both directions; `Unknown` without `ss`.
    pub sockets: Reading<Vec<Socket>>,
    /// What commands answered, by [`Question::Command`]'s id.
    pub commands: BTreeMap<String, CommandFact>,
    /// The tracebacks at the end of the logs of services, where they were asked for, by
    /// [`Question::Log`]'s name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logs: BTreeMap<String, Reading<Vec<Traceback>>>,
    /// What package tools did there, where it was asked for ([`Question::History`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<history::History>,
    /// What could not be read and has no [`Reading`] of its own, and why: `processes` (the list may be
    /// incomplete), `environ:PID`, `cwd:PID`, `units`, `containers`, `packages`.
    #[serde(default)]
    pub unread: BTreeMap<String, String>,
}

/// Facts of a host about which nothing was read, in the current format.
impl Default for Facts {
    fn default() -> Self {
        Self {
            format_version: FORMAT_VERSION.to_owned(),
            host: String::new(),
            hostname: String::new(),
            read_at: 0,
            booted_at: 0,
            uid: 0,
            masked: false,
            files: BTreeMap::new(),
            folders: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            processes: BTreeMap::new(),
            units: BTreeMap::new(),
            containers: BTreeMap::new(),
            packages: Vec::new(),
            rabbitmq: Reading::Absent,
            sockets: Reading::Absent,
            commands: BTreeMap::new(),
            logs: BTreeMap::new(),
            history: None,
            unread: BTreeMap::new(),
        }
    }
}

/// Something a task wants to know beyond what is always read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// A file, by its absolute path on the host.
    File(String),
    /// Every file of a folder whose name ends so (`.conf`).
    Folder {
        /// Absolute path.
        path: String,
        /// Ending of the names that are read.
        suffix: String,
    },
    /// A live kernel setting, by dotted name.
    Sysctl(String),
    /// A systemd unit.
    Unit(String),
    /// The tracebacks at the end of a service's log.
    Log {
        /// Under which they are found in [`Facts::logs`]: the unit or container.
        name: String,
        /// The file it writes to, as files are named in [`Facts::files`].
        file: Option<String>,
        /// The unit whose journal is read too.
        unit: Option<String>,
    },
    /// Would quorum queues lose their majority without this host's node ([`Rabbit::quorum`])?
    Quorum,
    /// What package tools did, and which package owns each file that is read.
    History,
    /// A command that changes no file: the playbook's own, or a call that asks a service for an answer.
    Command {
        /// Under which its answer is found in `Facts::commands`.
        id: String,
        /// Program and arguments, no shell.
        argv: Vec<String>,
    },
}

/// One file.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileFact {
    /// Its bytes as text; bytes that are not UTF-8 make the file `Reading::Unknown`. Shared, because the
    /// simulated cluster of a plan differs from the real one in a few files only.
    pub content: Arc<str>,
    /// Permission bits, such as 0o640.
    pub mode: u32,
    /// Owner's name, or number where it has none.
    pub owner: String,
    /// Group's name, or number where it has none.
    pub group: String,
    /// Last change of its content, seconds since the epoch.
    pub modified_at: i64,
    /// SHA-256 of the real bytes, also when `content` is masked. Lower-case hexadecimal.
    pub sha256: String,
    /// Where it points to, when the path is a symbolic link.
    pub link: Option<String>,
}

/// Contents hold passwords, so only the size is shown.
impl std::fmt::Debug for FileFact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileFact({} bytes, {:o}, {}:{})", self.content.len(), self.mode, self.owner, self.group)
    }
}

/// One process of a service.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub parent: u32,
    /// Its command line.
    pub argv: Vec<String>,
    /// Its environment, only names that start with `OS_` (oslo.config) or `RABBITMQ_`, `PYTHONPATH`,
    /// `HOME` and `VIRTUAL_ENV`.
    pub environ: BTreeMap<String, String>,
    /// Its control group path, as in `/system.slice/cinder-volume.service`.
    pub cgroup: String,
    /// When it started, seconds since the epoch by the host's clock.
    pub started_at: i64,
    /// Its network namespace, `None` when it is the host's own.
    pub network_namespace: Option<String>,
    /// The container it runs in (by its mount namespace and control group), if any.
    pub container: Option<String>,
    /// The working folder.
    pub cwd: String,
}

impl Process {
    /// Is it a process of this unit or container?
    pub fn is_of(&self, name: &str) -> bool {
        self.container.as_deref() == Some(name) || self.cgroup.split('/').any(|part| part == name)
    }
}

/// Command lines and environments can hold passwords.
impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Process({} {}, {})", self.pid, self.argv.first().map_or("", String::as_str), self.cgroup)
    }
}

/// One systemd unit, from `systemctl show`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unit {
    /// `ActiveState`: active, inactive, failed, activating…
    pub active: String,
    /// `SubState`: running, dead, exited…
    pub sub: String,
    /// `LoadState`: loaded, masked, not-found…
    pub load: String,
    /// `UnitFileState`: enabled, disabled, static, masked…
    pub enabled: String,
    /// `MainPID`, 0 when it has none.
    pub main_pid: u32,
    /// `NRestarts`: how often systemd restarted it by itself.
    pub restarts: u32,
    /// `DropInPaths`: files that change the unit; pacemaker writes one for each unit that it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop_ins: Vec<String>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Container {
    /// `docker` or `podman`.
    pub engine: String,
    /// Its id, full.
    pub id: String,
    /// Its image.
    pub image: String,
    /// running, exited…
    pub status: String,
    /// Its network mode, `host` mostly.
    pub network: String,
}

/// One installed version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Package {
    /// `oslo.messaging`, `oslo.config`, `amqp`, `kombu`, `rabbitmq-server`.
    pub name: String,
    /// Its version, without the distribution's revision.
    pub version: String,
    /// Where it is: a Python site folder, or the package database.
    pub place: String,
    /// The container it is in, `None` on the host itself.
    pub container: Option<String>,
}

/// One TCP socket of the AMQP ports, from `ss -tnop`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Socket {
    /// Own address.
    pub local: String,
    /// Own port.
    pub local_port: u16,
    /// Peer's address.
    pub peer: String,
    /// Peer's port.
    pub peer_port: u16,
    /// The processes that hold it (`ss -p`); empty where the probe may not see them.
    pub pids: Vec<u32>,
    /// Bytes not yet acknowledged by the peer.
    pub send_queue: u64,
    /// The timer that is armed: `keepalive`, `on` (retransmission), `persist`, `timewait`; none:
    /// nothing is armed, for an idle socket that SO_KEEPALIVE is off.
    pub timer: Option<String>,
    /// When it fires, in milliseconds, as `ss` prints it (rounded).
    pub fires_in_ms: Option<u64>,
}

/// A traceback in the log of a service. Its message is not kept: it may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traceback {
    /// When it was written, as the log has it.
    pub at: String,
    /// Who wrote it, as in `cinder.volume.manager`; the program where the journal alone has it.
    pub logger: String,
    /// The class of its exception.
    pub exception: String,
}

/// The answer to a `command` task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CommandFact {
    /// Exit code; 124 when it did not end in time.
    pub status: i32,
    /// Standard output, at most 64 KiB.
    pub stdout: String,
    /// Standard error, at most 4 KiB.
    pub stderr: String,
}
