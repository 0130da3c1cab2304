//! Hosts written down as files and command outputs, made into facts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use trueup::audit::Cluster;
use trueup::facts::{
    AmqpConnection, CommandFact, Container, FORMAT_VERSION, Facts, FileFact, Listener, Package, Process,
    Rabbit, Reading, Socket, Unit,
};
use trueup::plan::content::sha256;

/// When every host was read. Times in a description count back from it.
pub const NOW: i64 = 1_700_000_000;
const DAY: i64 = 86_400;

/// A host as `tests/rules/*.yml` describe it; what is left out is as on a host where nothing special is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// IPv4 address.
    address: String,
    /// Path to content; null: there is no such file.
    #[serde(default)]
    files: BTreeMap<String, Option<FileText>>,
    /// `key = value` lines, as `sysctl` prints them.
    #[serde(default)]
    sysctl: String,
    /// Kernel settings of other network namespaces.
    #[serde(default)]
    namespaces: BTreeMap<String, String>,
    /// Processes by pid.
    #[serde(default)]
    processes: BTreeMap<u32, Option<Program>>,
    #[serde(default)]
    units: BTreeMap<String, UnitText>,
    #[serde(default)]
    containers: BTreeMap<String, String>,
    /// Package name to version, on the host and in all its containers.
    #[serde(default)]
    packages: BTreeMap<String, String>,
    /// Version of the broker, if there is one.
    #[serde(default)]
    rabbitmq: Option<Broker>,
    /// Command line to standard output and exit code.
    #[serde(default)]
    commands: BTreeMap<String, CommandText>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum FileText {
    Plain(String),
    Full {
        #[serde(default)]
        text: String,
        /// Why it could not be read.
        #[serde(default)]
        unknown: Option<String>,
        /// Seconds since it was changed.
        #[serde(default = "day")]
        age: i64,
        #[serde(default = "readable")]
        mode: u32,
        #[serde(default)]
        link: Option<String>,
    },
}

fn day() -> i64 {
    DAY
}

fn readable() -> u32 {
    0o644
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    /// Command line.
    cmd: String,
    /// Its unit, without `.service`.
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    container: Option<String>,
    /// Seconds since it started.
    #[serde(default = "hour")]
    age: i64,
    #[serde(default)]
    environ: BTreeMap<String, String>,
    #[serde(default)]
    namespace: Option<String>,
    /// Its AMQP connections.
    #[serde(default)]
    connections: Vec<Link>,
}

fn hour() -> i64 {
    3_600
}

/// A connection to a broker, seen from both ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    /// Inventory name of the broker's host.
    to: String,
    /// Client's port.
    port: u16,
    /// Negotiated heartbeat.
    heartbeat: u32,
    /// Seconds until the keepalive timer of the broker's socket fires; null: none is armed.
    #[serde(default)]
    timer: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitText {
    #[serde(default = "active")]
    active: String,
    #[serde(default = "enabled")]
    enabled: String,
    #[serde(default = "loaded")]
    load: String,
    #[serde(default)]
    main_pid: u32,
}

fn active() -> String {
    "active".to_owned()
}

fn enabled() -> String {
    "enabled".to_owned()
}

fn loaded() -> String {
    "loaded".to_owned()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Broker {
    version: String,
    #[serde(default = "yes")]
    running: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandText {
    #[serde(default)]
    rc: i32,
    #[serde(default)]
    stdout: String,
}

/// The facts of these hosts, by inventory name.
pub fn cluster(hosts: &BTreeMap<String, Described>) -> Cluster {
    let mut all: BTreeMap<String, Facts> =
        hosts.iter().map(|(name, host)| (name.clone(), facts(name, host))).collect();
    for (name, host) in hosts {
        for (pid, program) in &host.processes {
            for link in program.iter().flat_map(|program| &program.connections) {
                connect(&mut all, hosts, (name, *pid), link);
            }
        }
    }
    all.into_iter().map(|(name, facts)| (name, Ok(facts))).collect()
}

fn connect(
    all: &mut BTreeMap<String, Facts>,
    hosts: &BTreeMap<String, Described>,
    (from, pid): (&str, u32),
    link: &Link,
) {
    let (here, there) = (&hosts[from].address, &hosts[&link.to].address);
    let socket =
        |local: &str, local_port, peer: &str, peer_port, pids: Vec<u32>, timer: Option<u64>| Socket {
            local: local.to_owned(),
            local_port,
            peer: peer.to_owned(),
            peer_port,
            pids,
            send_queue: 0,
            timer: timer.map(|_| "keepalive".to_owned()),
            fires_in_ms: timer.map(|seconds| seconds * 1000),
        };
    let program = all[from].processes[&pid].argv.clone();
    let program = program.iter().find(|word| !word.contains("python")).unwrap();
    let program = program.rsplit('/').next().unwrap();
    let client = all.get_mut(from).unwrap();
    if let Reading::Known(sockets) = &mut client.sockets {
        sockets.push(socket(here, link.port, there, 5672, vec![pid], Some(60)));
    }
    let broker = all.get_mut(&link.to).unwrap();
    if let Reading::Known(sockets) = &mut broker.sockets {
        sockets.push(socket(there, 5672, here, link.port, Vec::new(), link.timer));
    }
    let Reading::Known(rabbit) = &mut broker.rabbitmq else { panic!("{} has no broker", link.to) };
    let Reading::Known(connections) = &mut rabbit.connections else { unreachable!("made below") };
    connections.push(AmqpConnection {
        peer_host: here.clone(),
        peer_port: link.port,
        port: 5672,
        heartbeat: link.heartbeat,
        status: "running".to_owned(),
        connected_at: NOW - 3_600,
        client_name: Some(format!("{program}:{pid}:4cc2a6cc-6b1f-4d5e-9f4b-000000000000")),
        user: "openstack".to_owned(),
    });
}

fn facts(name: &str, host: &Described) -> Facts {
    let mut files: BTreeMap<String, Reading<FileFact>> =
        host.files.iter().map(|(path, text)| (path.clone(), file(text.as_ref()))).collect();
    // What is not written down of the places where RabbitMQ looks was looked for, and is not there.
    for (_, broker) in host.processes.iter().filter_map(|(pid, it)| Some((pid, it.as_ref()?))) {
        if !broker.cmd.contains("beam") {
            continue;
        }
        let within = broker.container.as_ref().map_or_else(String::new, |name| format!("container:{name}:"));
        for name in ["rabbitmq.conf", "rabbitmq.config", "advanced.config", "rabbitmq-env.conf"] {
            files.entry(format!("{within}/etc/rabbitmq/{name}")).or_insert(Reading::Absent);
        }
    }
    let packages = packages(host);
    Facts {
        history: None,
        format_version: FORMAT_VERSION.to_owned(),
        host: name.to_owned(),
        hostname: name.to_owned(),
        read_at: NOW,
        booted_at: NOW - 10 * DAY,
        uid: 0,
        masked: false,
        unread: BTreeMap::new(),
        logs: BTreeMap::new(),
        folders: folders(&files),
        files,
        sysctls: sysctls(&host.sysctl),
        namespaces: host.namespaces.iter().map(|(name, text)| (name.clone(), sysctls(text))).collect(),
        processes: host
            .processes
            .iter()
            .filter_map(|(pid, it)| Some((*pid, process(*pid, it.as_ref()?))))
            .collect(),
        units: units(host),
        containers: host
            .containers
            .iter()
            .map(|(name, engine)| (name.clone(), container(name, engine)))
            .collect(),
        packages,
        rabbitmq: host
            .rabbitmq
            .as_ref()
            .map_or(Reading::Absent, |broker| Reading::Known(rabbit(name, broker))),
        sockets: Reading::Known(Vec::new()),
        commands: host.commands.iter().map(|(line, it)| (line.clone(), command(it))).collect(),
    }
}

fn file(text: Option<&FileText>) -> Reading<FileFact> {
    let fact = |text: &str, age: i64, mode, link: Option<String>| {
        Reading::Known(FileFact {
            content: text.into(),
            mode,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            modified_at: NOW - age,
            sha256: sha256(text.as_bytes()),
            link,
        })
    };
    match text {
        None => Reading::Absent,
        Some(FileText::Plain(text)) => fact(text, DAY, 0o644, None),
        Some(FileText::Full { unknown: Some(reason), .. }) => Reading::Unknown(reason.clone()),
        Some(FileText::Full { text, age, mode, link, .. }) => fact(text, *age, *mode, link.clone()),
    }
}

fn folders(files: &BTreeMap<String, Reading<FileFact>>) -> BTreeMap<String, Reading<Vec<String>>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, reading) in files {
        let (folder, name) = path.rsplit_once('/').unwrap();
        let entry = names.entry(folder.to_owned()).or_default();
        if !matches!(reading, Reading::Absent) {
            entry.insert(name.to_owned());
        }
    }
    let rabbitmq: Vec<String> =
        names.keys().filter(|folder| folder.ends_with("/etc/rabbitmq")).cloned().collect();
    for folder in rabbitmq {
        names.entry(format!("{folder}/conf.d")).or_default();
    }
    names.entry("/etc/sysctl.d".to_owned()).or_default();
    names.into_iter().map(|(folder, names)| (folder, Reading::Known(names.into_iter().collect()))).collect()
}

fn sysctls(text: &str) -> BTreeMap<String, Reading<String>> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(key, value)| (key.trim().to_owned(), Reading::Known(value.trim().to_owned()))).collect()
}

fn process(pid: u32, program: &Program) -> Process {
    let cgroup = match (&program.container, &program.unit) {
        (Some(container), _) => format!("/machine.slice/libpod-{container}.scope"),
        (None, Some(unit)) => format!("/system.slice/{unit}.service"),
        (None, None) => "/user.slice".to_owned(),
    };
    Process {
        pid,
        parent: 1,
        argv: shlex::split(&program.cmd).unwrap(),
        environ: program.environ.clone(),
        cgroup,
        started_at: NOW - program.age,
        network_namespace: program.namespace.clone(),
        container: program.container.clone(),
        cwd: "/".to_owned(),
    }
}

fn units(host: &Described) -> BTreeMap<String, Unit> {
    let unit = |text: &UnitText| Unit {
        active: text.active.clone(),
        sub: if text.active == "active" { "running" } else { "dead" }.to_owned(),
        load: text.load.clone(),
        enabled: text.enabled.clone(),
        main_pid: text.main_pid,
        restarts: 0,
        drop_ins: Vec::new(),
    };
    let mut units: BTreeMap<String, Unit> = BTreeMap::new();
    for (pid, program) in &host.processes {
        let Some(name) = program.as_ref().and_then(|program| program.unit.as_ref()) else { continue };
        let text = UnitText { active: active(), enabled: enabled(), load: loaded(), main_pid: *pid };
        units.entry(format!("{name}.service")).or_insert_with(|| unit(&text));
    }
    units.extend(host.units.iter().map(|(name, text)| (format!("{name}.service"), unit(text))));
    units
}

fn container(name: &str, engine: &str) -> Container {
    Container {
        engine: engine.to_owned(),
        id: sha256(name.as_bytes()),
        image: format!("quay.io/{name}"),
        status: "running".to_owned(),
        network: "host".to_owned(),
    }
}

fn packages(host: &Described) -> Vec<Package> {
    let containers = host.containers.keys().map(|name| Some(name.clone()));
    let places: Vec<Option<String>> = [None].into_iter().chain(containers).collect();
    let package = |(name, version): (&String, &String), container: &Option<String>| Package {
        name: name.clone(),
        version: version.clone(),
        place: "/usr/lib/python3/dist-packages".to_owned(),
        container: container.clone(),
    };
    places.iter().flat_map(|container| host.packages.iter().map(|entry| package(entry, container))).collect()
}

fn rabbit(name: &str, broker: &Broker) -> Rabbit {
    let node = format!("rabbit@{name}");
    let members = if broker.running { vec![node.clone()] } else { Vec::new() };
    Rabbit {
        node,
        running: broker.running,
        version: Some(broker.version.clone()),
        members: members.clone(),
        running_members: members,
        partitions: Vec::new(),
        alarms: Vec::new(),
        listeners: vec![Listener { protocol: "amqp".to_owned(), address: "::".to_owned(), port: 5672 }],
        connections: Reading::Known(Vec::new()),
        reply_queues: Reading::Known(Vec::new()),
        ..Rabbit::default()
    }
}

fn command(text: &CommandText) -> CommandFact {
    CommandFact { status: text.rc, stdout: text.stdout.clone(), stderr: String::new() }
}
