//! The script of the checkpoint itself, under dash, bash and busybox sh, on a made-up host: every verb and
//! refusal, and a death at every point of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use trueup::apply::checkpoint::{self, Answer, Now, Run, RunId, Standing, Status, Verb};
use trueup::cmd;
use trueup::error::HostError;
use trueup::plan::content::sha256;
use trueup::plan::{Action, HostPlan, Restart, Role, Step};

use crate::support::host::{Cluster, Controller};

const SHELLS: [&str; 3] = ["dash", "bash", "busybox"];

/// A made-up host whose `sh` is this one.
struct Host {
    folder: TempDir,
    cluster: Cluster,
    /// Words before a command, for limits.
    limits: &'static str,
}

/// Mode, owner, time of change, and bytes (or where a link points).
type Tree = BTreeMap<PathBuf, (u32, u32, i64, i64, Vec<u8>)>;

impl Host {
    fn new(shell: &str) -> Self {
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

    fn is(&self) -> &Controller {
        &self.cluster.hosts()[0]
    }

    fn root(&self) -> String {
        self.is().root().display().to_string()
    }

    fn dir(&self, run: &Run) -> PathBuf {
        self.is().path("var/lib/trueup").join(run.id.as_str())
    }

    /// `sh -c SCRIPT trueup WORDS` on this host.
    fn sh(&self, script: &str, words: &[String], stdin: &[u8]) -> Output {
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

    fn begin(&self, run: &Run, plan: &HostPlan) -> Result<Answer, HostError> {
        let script = checkpoint::script(&self.root(), run, plan, 0);
        let words = [vec![self.dir(run).display().to_string()], run.words()].concat();
        let output = self.sh(checkpoint::BEGIN, &words, script.as_bytes());
        answer(run, "begin", output)
    }

    fn asks(&self, run: &Run, words: &[&str], stdin: &[u8]) -> Result<Answer, HostError> {
        let mut all = vec![self.dir(run).display().to_string()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        let output = self.sh(checkpoint::ASK, &all, stdin);
        answer(run, words[0], output)
    }

    fn ask(&self, run: &Run, verb: &Verb) -> Result<Answer, HostError> {
        let words = verb.words(run);
        self.asks(run, &words.iter().map(String::as_str).collect::<Vec<_>>(), b"")
    }

    /// Carries out a step of [`plan`].
    fn step(&self, run: &Run, plan: &HostPlan, number: usize) -> Result<Answer, HostError> {
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

    fn status(&self) -> Vec<Status> {
        let script = checkpoint::status_script(&self.root());
        let output = self.sh("exec sh -s -- status", &[], script.as_bytes());
        assert!(output.status.success(), "{output:?}");
        checkpoint::parse_status(&String::from_utf8(output.stdout).unwrap())
    }

    fn standing(&self, run: &Run) -> Option<Standing> {
        self.status().into_iter().find(|status| status.run == run.id).map(|status| status.standing)
    }

    /// What the timer, or the boot unit, runs.
    fn fires(&self, run: &Run, verb: &str) -> Output {
        let words = [self.dir(run).join("checkpoint").display().to_string(), verb.to_owned()];
        self.sh("exec sh \"$@\"", &words, b"")
    }

    fn tree(&self) -> Tree {
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
    fn holds(&self) -> Vec<String> {
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
    fn keep(&self, name: &str) -> PathBuf {
        let kept = self.folder.path().join(name);
        let _ = fs::remove_dir_all(&kept);
        copy(self.is().root(), &kept);
        kept
    }

    /// Everything as it was then.
    fn becomes(&self, kept: &Path) {
        fs::remove_dir_all(self.is().root()).unwrap();
        copy(kept, self.is().root());
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.is().path("bin").join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

fn answer(run: &Run, verb: &str, output: Output) -> Result<Answer, HostError> {
    let status = output.status.code().unwrap_or(137);
    let output = cmd::Output { status, stdout: output.stdout, stderr: output.stderr };
    checkpoint::answer(&run.id, verb, &output)
}

fn whoami() -> (String, String) {
    let meta = fs::metadata("/proc/self").unwrap();
    (meta.uid().to_string(), meta.gid().to_string())
}

const ODD: &str = "/etc/odd folder/it's \"$(x)\"\n`y`*.conf";

fn files() -> Vec<(&'static str, &'static str)> {
    vec![("/etc/plain.conf", "old\n"), ("/etc/behind.conf", "old, behind a link\n"), (ODD, "old, odd\n")]
}

fn run(number: u16) -> Run {
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
fn plan() -> HostPlan {
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
fn calls(host: &Host) -> Vec<String> {
    let calls = host.is().calls();
    let wanted = ["systemctl restart", "systemctl enable", "systemctl disable", "rabbitmq-upgrade "];
    calls.into_iter().filter(|call| wanted.iter().any(|start| call.starts_with(start))).collect()
}

fn all_steps(host: &Host, run: &Run, plan: &HostPlan) {
    for number in 0..plan.steps.len() {
        host.step(run, plan, number).unwrap();
    }
}

#[test]
fn a_run_is_carried_out_confirmed_and_put_back_later() {
    for shell in SHELLS {
        let (host, run, plan) = (Host::new(shell), run(1), plan());
        let before = host.tree();
        host.begin(&run, &plan).unwrap();
        host.begin(&run, &plan).expect("an answer that was lost is asked for again");
        let mode = |path: &str| fs::metadata(host.is().path(path)).unwrap().mode() & 0o777;
        assert_eq!((mode("var/lib/trueup"), mode("var/lib/trueup/lock")), (0o700, 0o700), "{shell}");
        let status = &host.status()[0];
        assert_eq!((status.standing, status.holds, status.alive()), (Standing::Open, true, true));
        assert_eq!((status.who.as_str(), status.lease, status.seen), ("ops@laptop", 300, Some(0)));
        let timer = host.is().timer().unwrap();
        assert_eq!(timer[0], "/bin/sh");
        assert_eq!(timer[2..], ["failsafe"]);
        let wanted = "etc/systemd/system/multi-user.target.wants/trueup-failsafe.service";
        assert!(fs::read_to_string(host.is().path(wanted)).unwrap().contains("checkpoint boot\n"));

        all_steps(&host, &run, &plan);
        assert_eq!(host.is().read("etc/plain.conf"), "new /etc/plain.conf\n", "{shell}");
        assert_eq!(host.is().read("etc/behind.conf"), "new /etc/link.conf\n", "a link stays one");
        assert_eq!(mode("etc/made/for it/new.conf"), 0o640);
        assert_eq!(host.is().read("proc/sys/net/ipv4/tcp_retries2"), "8\n");
        host.ask(&run, &Verb::Passed(8)).unwrap();
        assert!(host.status()[0].noted("passed", 8));
        host.ask(&run, &Verb::Confirm).unwrap();
        host.ask(&run, &Verb::Confirm).expect("an answer that was lost is asked for again");
        assert_eq!((host.standing(&run), host.holds()), (Some(Standing::Confirmed), vec![]), "{shell}");
        let over = |answer: Result<Answer, HostError>| match answer {
            Err(HostError::NotOpen { standing, .. }) => standing,
            other => panic!("{shell}: {other:?}"),
        };
        assert_eq!(over(host.step(&run, &plan, 1)), "confirmed");
        assert_eq!(over(host.ask(&run, &Verb::Renew)), "confirmed");
        assert_eq!(over(host.ask(&run, &Verb::Restore { whole: true, force: false })), "confirmed");
        assert_eq!(over(host.ask(&run, &Verb::Take { reopen: false })), "confirmed");

        let kept = host.ask(&run, &Verb::Check).unwrap().files;
        assert!(kept.iter().all(|file| file.now == Now::Ours) && kept.len() == 4, "{shell}: {kept:?}");
        assert_eq!(host.is().read(&kept[0].saved[1..]), "old\n");
        let later = Run { session: "later".to_owned(), ..run.clone() };
        host.ask(&later, &Verb::Take { reopen: true }).unwrap();
        assert!(host.is().timer().is_some(), "the way back has a failsafe, too");
        let _ = fs::remove_file(host.is().path("var/fixture/calls"));
        let files = host.ask(&later, &Verb::Restore { whole: false, force: false }).unwrap();
        assert_eq!((files.owed, files.left), (vec![7, 8], vec![]), "{shell}");
        assert_eq!(host.standing(&run), Some(Standing::Restoring));
        host.ask(&later, &Verb::Restart(7)).unwrap();
        host.ask(&later, &Verb::Restart(7)).unwrap();
        host.ask(&later, &Verb::Restore { whole: true, force: false }).unwrap();
        assert_eq!(
            calls(&host),
            [
                "systemctl enable cinder-volume.service",
                "systemctl restart rabbitmq-server.service",
                "systemctl restart cinder-scheduler.service"
            ],
            "{shell}: each once; the commands round the batch were all carried out"
        );
        assert_eq!((host.standing(&run), host.holds()), (Some(Standing::Restored), vec![]));
        assert_eq!(host.tree(), before, "{shell}");
        assert_eq!(host.is().read("proc/sys/net/ipv4/tcp_retries2"), "15\n");
        assert_ne!(host.is().pid("cinder-volume"), 0);
    }
}

#[test]
fn the_failsafe_waits_for_the_lease_and_puts_everything_back() {
    for shell in SHELLS {
        let (host, run, plan) = (Host::new(shell), run(1), plan());
        let before = host.tree();
        // A night's sleep of the timer is a moment here; each second passes on the host's own clock.
        host.program(
            "sleep",
            "#!/bin/sh\nroot=${0%/bin/*}\nread -r up _ <\"$root/proc/uptime\"\n\
             echo \"$((${up%.*} + $1)).00 1\" >\"$root/proc/uptime\"\necho \"slept $1\" >>\"$root/var/fixture/slept\"\n",
        );
        host.begin(&run, &plan).unwrap();
        for number in 0..8 {
            host.step(&run, &plan, number).unwrap();
        }
        host.is().wait(100);
        host.ask(&run, &Verb::Renew).unwrap();
        host.is().wait(120);
        let fired = host.fires(&run, "failsafe");
        assert!(fired.status.success(), "{shell}: {fired:?}");
        assert_eq!(host.is().read("var/fixture/slept"), "slept 180\n", "the rest of the lease");
        assert_eq!(host.tree(), before, "{shell}");
        assert_eq!((host.standing(&run), host.holds()), (Some(Standing::Restored), vec![]));
        let calls = calls(&host);
        assert_eq!(
            calls.last().unwrap(),
            "rabbitmq-upgrade into the pool",
            "{shell}: a way out of the pool has one back"
        );
        assert_eq!(host.is().restarts(), ["rabbitmq-server"; 2], "only what was restarted");
        assert!(matches!(host.step(&run, &plan, 8), Err(HostError::NotOpen { .. })));
        // What has ended says so as often as it is asked.
        assert!(host.fires(&run, "failsafe").status.success());
    }
}

#[test]
fn a_host_that_was_booted_is_put_back_before_its_services_start() {
    for shell in SHELLS {
        let (host, run, mut plan) = (Host::new(shell), run(1), plan());
        let before = host.tree();
        host.begin(&run, &plan).unwrap();
        all_steps(&host, &run, &plan);
        let changed = host.tree();
        assert!(host.fires(&run, "boot").status.success());
        assert_eq!(host.tree(), changed, "{shell}: it was not booted");
        let boots = |number: u32| {
            host.is()
                .write("proc/sys/kernel/random/boot_id", format!("5d0f1d3c-0000-4000-8000-{number:012}\n"));
            host.is().write("proc/uptime", "9.50 1.00\n");
            let _ = fs::remove_dir_all(host.is().path("var/fixture/timers"));
            // The kernel's own, until systemd-sysctl sets what the files say.
            host.is().sysctl("net.ipv4.tcp_retries2", "12");
        };
        boots(2);
        assert_eq!(host.status()[0].seen, None);
        let _ = fs::remove_file(host.is().path("var/fixture/calls"));
        assert!(host.fires(&run, "boot").status.success(), "{shell}");
        let etc = |tree: Tree| -> Tree {
            tree.into_iter().filter(|(path, _)| !path.starts_with("etc/systemd")).collect()
        };
        assert_eq!(etc(host.tree()), etc(before.clone()), "{shell}");
        assert_eq!(host.standing(&run), Some(Standing::Restoring), "the pool comes when the host is up");
        let late = host.is().timer().unwrap();
        assert_eq!(late.last().unwrap(), "failsafe");
        assert!(host.fires(&run, "failsafe").status.success());
        let _ = fs::remove_dir_all(host.is().path("var/fixture/timers"));
        assert_eq!(
            host.is().restarts(),
            Vec::<String>::new(),
            "{shell}: all of them started on the old files"
        );
        assert_eq!((host.tree(), host.holds()), (before.clone(), vec![]), "{shell}");

        // Without commands round the batch it is done at once.
        plan.steps.retain(|step| !matches!(step.action, Action::Run { .. }));
        let again = self::run(2);
        host.begin(&again, &plan).unwrap();
        all_steps(&host, &again, &plan);
        boots(3);
        assert!(host.fires(&again, "boot").status.success());
        assert_eq!((host.standing(&again), host.holds()), (Some(Standing::Restored), vec![]));
        assert_eq!(host.tree(), before, "{shell}");
    }
}

/// Nothing is changed, and nothing of the refused run stays.
#[track_caller]
fn refused(host: &Host, run: &Run, plan: &HostPlan, says: &str) {
    let (before, held) = (host.tree(), host.holds());
    let error = host.begin(run, plan).expect_err("it is refused");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!((host.tree(), host.holds()), (before, held), "{error}");
    assert!(!host.dir(run).exists(), "{error}");
}

#[test]
fn a_run_that_cannot_be_safe_is_refused() {
    for shell in SHELLS {
        let (host, plan) = (Host::new(shell), plan());
        // Somebody was here since the plan was made.
        host.is().write("etc/plain.conf", "by hand\n");
        refused(&host, &run(1), &plan, "`/etc/plain.conf` has changed since the plan was made; plan again");
        host.is().write("etc/plain.conf", "old\n");
        host.is().write("etc/made/for it/new.conf", "by hand\n");
        refused(&host, &run(1), &plan, "`/etc/made/for it/new.conf` has changed");
        fs::remove_dir_all(host.is().path("etc/made")).unwrap();
        // A link to nothing, a folder, a setting that the kernel has not.
        fs::remove_file(host.is().path("etc/behind.conf")).unwrap();
        refused(&host, &run(1), &plan, "/etc/link.conf is a symbolic link to nothing");
        fs::create_dir(host.is().path("etc/behind.conf")).unwrap();
        refused(&host, &run(1), &plan, "/etc/link.conf is not a regular file");
        fs::remove_dir(host.is().path("etc/behind.conf")).unwrap();
        host.is().write("etc/behind.conf", files()[1].1);
        fs::remove_file(host.is().path("proc/sys/net/ipv4/tcp_retries2")).unwrap();
        refused(&host, &run(1), &plan, "tcp_retries2");
        host.is().sysctl("net.ipv4.tcp_retries2", "15");
        // No systemd, or one that makes no timers.
        fs::remove_dir(host.is().path("run/systemd/system")).unwrap();
        refused(&host, &run(1), &plan, "no failsafe: systemd does not run on this host");
        let without = Run { failsafe: false, ..run(1) };
        host.begin(&without, &plan).expect("--no-failsafe goes without");
        assert_eq!(host.holds(), ["var/lib/trueup/lock"]);
        host.ask(&without, &Verb::Restore { whole: true, force: false }).unwrap();
        assert!(!host.dir(&without).exists(), "where nothing was changed nothing is kept");
        fs::create_dir(host.is().path("run/systemd/system")).unwrap();
        host.program("systemd-run", "#!/bin/sh\necho 'Failed to start transient timer unit' >&2; exit 1\n");
        refused(&host, &run(1), &plan, "no failsafe: the failsafe could not be armed");
    }
}

#[test]
fn one_run_at_a_time_holds_a_host() {
    for shell in SHELLS {
        let (host, plan) = (Host::new(shell), plan());
        let answers: Vec<Result<Answer, HostError>> = std::thread::scope(|scope| {
            let begun: Vec<_> = (0..10)
                .map(|number| {
                    scope.spawn({
                        let (host, plan) = (&host, &plan);
                        move || host.begin(&run(number), plan)
                    })
                })
                .collect();
            begun.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(won, 1, "{shell}: {answers:?}");
        for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            let HostError::Held { who, alive, .. } = answer else { panic!("{shell}: {answer}") };
            assert_eq!((who.as_str(), *alive), ("ops@laptop (pid 4242)", true));
        }
        let status = host.status();
        assert_eq!(status.len(), 1, "{shell}: whoever was refused leaves nothing: {status:?}");
        let holder = status[0].run.clone();

        // Dead, but not put back: said so, and not taken away.
        host.is().wait(301);
        let error = host.begin(&run(50), &plan).unwrap_err();
        assert!(matches!(error, HostError::Held { alive: false, seen: Some(301), .. }), "{shell}: {error:?}");
        // Somebody takes it over; whoever had it is told.
        let holder = Run { id: holder, session: "new".to_owned(), who: "other@desk".to_owned(), ..run(0) };
        host.ask(&holder, &Verb::Take { reopen: false }).unwrap();
        for session in 0..10 {
            let old = Run { id: holder.id.clone(), ..run(session) };
            let error = host.step(&old, &plan, 1).unwrap_err();
            assert!(matches!(&error, HostError::TakenOver { who, .. } if who == "other@desk"), "{error:?}");
        }
        host.step(&holder, &plan, 1).unwrap();
        host.ask(&holder, &Verb::Restore { whole: true, force: false }).unwrap();
        host.begin(&run(51), &plan).expect("the next one may");
        // A lock of a run that never began, or that is gone, holds nobody up.
        host.ask(&run(51), &Verb::Confirm).unwrap();
        symlink("20261122T131500Z-dead", host.is().path("var/lib/trueup/lock")).unwrap();
        host.begin(&run(52), &plan).unwrap();
    }
}

#[test]
fn what_somebody_else_has_changed_is_left_unless_forced() {
    for shell in SHELLS {
        let (host, run, plan) = (Host::new(shell), run(1), plan());
        let before = host.tree();
        host.begin(&run, &plan).unwrap();
        all_steps(&host, &run, &plan);
        host.is().write("etc/plain.conf", "by hand\n");
        host.is().sysctl("net.ipv4.tcp_retries2", "9");
        let stale = host.step(&run, &plan, 1).unwrap_err();
        assert!(stale.to_string().contains("the file has changed meanwhile"), "{shell}: {stale}");
        let answer = host.ask(&run, &Verb::Restore { whole: true, force: false }).unwrap();
        assert_eq!(
            answer.left,
            [
                "/etc/plain.conf: changed by somebody else meanwhile; left as it is",
                "/proc/sys/net/ipv4/tcp_retries2: set to 9 by somebody else meanwhile; left as it is"
            ],
            "{shell}"
        );
        let status = host.status().remove(0);
        assert_eq!((status.standing, status.left, status.holds), (Standing::Broken, answer.left, false));
        assert_eq!(host.is().read("etc/plain.conf"), "by hand\n");
        let differs: Vec<PathBuf> = host
            .tree()
            .into_iter()
            .filter(|(path, is)| before.get(path) != Some(is))
            .map(|(path, _)| path)
            .collect();
        assert_eq!(differs, [Path::new("etc/plain.conf")], "{shell}: everything else is back");
        let kept = host.ask(&run, &Verb::Check).unwrap().files;
        assert_eq!(
            kept.iter().map(|file| file.now).collect::<Vec<_>>(),
            [Now::Changed, Now::Old, Now::Old, Now::Old]
        );

        host.ask(&run, &Verb::Take { reopen: true }).unwrap();
        let forced = host.ask(&run, &Verb::Restore { whole: true, force: true }).unwrap();
        assert_eq!(forced.left, Vec::<String>::new(), "{shell}");
        assert_eq!((host.tree(), host.standing(&run)), (before, Some(Standing::Restored)));
        assert_eq!(host.is().read("proc/sys/net/ipv4/tcp_retries2"), "15\n");
    }
}

#[test]
fn a_full_or_read_only_disk_leaves_the_old_file_or_the_next_attempt_puts_it_back() {
    for shell in SHELLS {
        let (mut host, mut plan) = (Host::new(shell), plan());
        let big = "x".repeat(200_000);
        let path = plan.basis.keys().find(|path| path.ends_with("plain.conf")).unwrap().clone();
        host.is().write("etc/plain.conf", &big);
        plan.basis.insert(path, Some(sha256(big.as_bytes())));
        let before = host.tree();
        // Files of at most 4 KiB (dash, busybox) or 8 KiB (bash): the checkpoint itself does not fit.
        host.limits = "ulimit -f 8; ";
        refused(&host, &run(1), &plan, "");
        // 128 or 256 KiB: the copy of the old file does not fit.
        host.limits = "ulimit -f 256; ";
        refused(&host, &run(1), &plan, "");
        host.limits = "";
        let run = run(2);
        host.begin(&run, &plan).unwrap();
        let write = |host: &Host, text: &str| {
            let (user, before, new) = (whoami(), sha256(big.as_bytes()), sha256(text.as_bytes()));
            let words =
                ["step", "s2", "1", "write", "/etc/plain.conf", "600", &user.0, &user.1, &before, &new];
            host.asks(&run, &words, text.as_bytes())
        };
        host.limits = "ulimit -f 256; ";
        let larger = "y".repeat(300_000);
        write(&host, &larger).unwrap_err();
        host.limits = "";
        assert_eq!(host.is().read("etc/plain.conf"), big, "{shell}");
        write(&host, "small").unwrap();
        host.step(&run, &plan, 7).unwrap();

        host.limits = "ulimit -f 256; ";
        let answer = host.ask(&run, &Verb::Restore { whole: true, force: false }).unwrap();
        assert_eq!(answer.left, ["/etc/plain.conf: could not be put back"], "{shell}");
        assert!(answer.again, "{shell}");
        host.limits = "";
        host.program("mktemp", "#!/bin/sh\necho 'mktemp: Read-only file system' >&2; exit 1\n");
        let answer = host.ask(&run, &Verb::Restore { whole: true, force: false }).unwrap();
        assert_eq!(answer.left, ["/etc/plain.conf: no file can be made beside it"], "{shell}");
        fs::remove_file(host.is().path("bin/mktemp")).unwrap();
        assert_eq!(host.standing(&run), Some(Standing::Restoring));
        assert_eq!(host.is().restarts(), ["rabbitmq-server"], "no restart on a file that is still new");
        assert!(host.is().timer().is_some(), "the timer is still armed");
        host.is().wait(301);
        assert!(host.fires(&run, "failsafe").status.success(), "{shell}");
        assert_eq!((host.tree(), host.holds()), (before, vec![]), "{shell}");
        assert_eq!(host.is().restarts(), ["rabbitmq-server"; 2]);
    }
}

#[test]
fn the_newest_ten_checkpoints_that_have_ended_are_kept() {
    for shell in SHELLS {
        let (host, plan) = (Host::new(shell), plan());
        for number in 0..12 {
            host.begin(&run(number), &plan).unwrap();
            host.step(&run(number), &plan, 8).unwrap();
            host.ask(&run(number), &Verb::Confirm).unwrap();
        }
        let kept: Vec<RunId> = host.status().into_iter().map(|status| status.run).collect();
        assert_eq!(kept, (2..12).map(|number| run(number).id).collect::<Vec<_>>(), "{shell}");
    }
}

/// Programs that change something, or whose turn comes right after something was changed.
const DEADLY: &[&str] = &[
    "cat",
    "chmod",
    "chown",
    "cp",
    "ln",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "rmdir",
    "sync",
    "systemctl",
    "systemd-run",
];

/// Lets the whole session die just before the `at`th call of such a program; how many calls there were.
struct Death<'a> {
    host: &'a Host,
}

impl<'a> Death<'a> {
    fn prepare(host: &'a Host) -> Self {
        let bin = host.is().path("bin");
        fs::create_dir(bin.join("deadly")).unwrap();
        for name in DEADLY {
            let real = ["/usr/bin", "/bin"].iter().map(|at| Path::new(at).join(name)).find(|at| at.exists());
            let real = if name.starts_with("system") { bin.join("real").join(name) } else { real.unwrap() };
            // The host's own programs find themselves by where they are.
            if name.starts_with("system") {
                fs::create_dir_all(bin.join("real")).unwrap();
                fs::rename(bin.join(name), &real).unwrap();
                let _ = fs::remove_file(&real);
                symlink("../host.sh", &real).unwrap();
                symlink(format!("real/{name}"), bin.join(name)).unwrap();
            }
            let text = format!(
                "#!/bin/dash\nroot=${{0%/bin/*}}\nread -r left <\"$root/var/fixture/left\"\n\
                 echo $((left - 1)) >\"$root/var/fixture/left\"\n\
                 [ \"$left\" != 1 ] || kill -KILL 0\nexec {} \"$@\"\n",
                real.display()
            );
            host.program(&format!("deadly/{name}"), &text);
        }
        Self { host }
    }

    /// Does this with a death before the `at`th call. Did it die?
    fn at(&self, at: u32, what: impl Fn() -> Result<Answer, HostError>) -> bool {
        let bin = self.host.is().path("bin");
        self.host.is().write("var/fixture/left", format!("{at}\n"));
        for name in DEADLY {
            let _ = fs::remove_file(bin.join(name));
            symlink(format!("deadly/{name}"), bin.join(name)).unwrap();
        }
        let answer = what();
        for name in DEADLY {
            fs::remove_file(bin.join(name)).unwrap();
            if name.starts_with("system") {
                symlink(format!("real/{name}"), bin.join(name)).unwrap();
            }
        }
        let left: i64 = self.host.is().read("var/fixture/left").trim().parse().unwrap();
        assert!(left <= 0 || answer.is_ok(), "{answer:?}");
        left <= 0
    }
}

/// What the death interrupts.
enum Tried {
    Begin,
    Step(usize),
    Verb(Verb),
}

/// Killed at every point of every verb, the host puts itself back, byte for byte; only a run whose
/// confirmation was written stays. Every `stride`th point.
fn dies_everywhere(shell: &str, stride: u32) {
    let (host, mut plan) = (Host::new(shell), plan());
    // One of each kind.
    for step in [8, 3, 2] {
        plan.steps.remove(step);
    }
    let death = Death::prepare(&host);
    let before = host.tree();
    let mut number = 0;
    let mut points = 0;
    let mut ends = BTreeSet::new();
    let restore = |whole| Verb::Restore { whole, force: false };
    let all = plan.steps.len();
    let mut table = vec![(None, Tried::Begin)];
    table.extend((0..all).map(|step| (Some(step), Tried::Step(step))));
    let verbs = [restore(false), restore(true), Verb::Renew, Verb::Confirm];
    table.extend(verbs.map(|verb| (Some(all), Tried::Verb(verb))));
    let clean = host.keep("clean");
    for (done, tried) in table {
        number += 1;
        let run = run(number);
        host.becomes(&clean);
        if let Some(done) = done {
            host.begin(&run, &plan).unwrap();
            for step in 0..done {
                host.step(&run, &plan, step).unwrap();
            }
        }
        let ready = host.keep("ready");
        for at in (1..).step_by(stride as usize) {
            host.becomes(&ready);
            let died = death.at(at, || match &tried {
                Tried::Begin => host.begin(&run, &plan),
                Tried::Step(step) => host.step(&run, &plan, *step),
                Tried::Verb(verb) => host.ask(&run, verb),
            });
            points += u32::from(died);
            host.is().wait(301);
            let place = format!("{shell}: after {done:?} steps, call {at}");
            if host.dir(&run).join("checkpoint").exists() {
                let fired = host.fires(&run, "failsafe");
                assert!(fired.status.success(), "{place}: {fired:?}");
            }
            let standing = host.standing(&run);
            ends.insert(format!("{standing:?}"));
            if standing == Some(Standing::Confirmed) {
                assert_eq!(host.is().read("etc/plain.conf"), "new /etc/plain.conf\n", "{place}");
                assert_eq!(host.holds(), Vec::<String>::new(), "{place}");
                host.ask(&run, &Verb::Take { reopen: true }).unwrap();
                host.ask(&run, &restore(true)).unwrap();
            }
            assert_eq!(host.tree(), before, "{place}");
            assert_eq!(host.holds(), Vec::<String>::new(), "{place}");
            assert_eq!(host.is().read("proc/sys/net/ipv4/tcp_retries2"), "15\n", "{place}");
            assert!(host.is().path("var/fixture/enabled/cinder-volume.service").exists(), "{place}");
            for unit in ["rabbitmq-server", "cinder-scheduler", "cinder-volume"] {
                assert_ne!(host.is().pid(unit), 0, "{place}: {unit} runs");
            }
            if !died {
                break;
            }
        }
    }
    assert!(points > 100 / stride, "only {points} points");
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), ["None", "Some(Confirmed)", "Some(Restored)"]);
}

#[test]
fn a_death_at_any_point_leaves_a_host_that_puts_itself_back_dash() {
    dies_everywhere("dash", 1);
}

#[test]
fn a_death_at_any_point_leaves_a_host_that_puts_itself_back_bash() {
    dies_everywhere("bash", 7);
}

#[test]
fn a_death_at_any_point_leaves_a_host_that_puts_itself_back_busybox() {
    dies_everywhere("busybox", 5);
}

#[test]
fn words_of_a_run_are_one_line_and_ids_are_safe_names() {
    for (text, valid) in [
        ("20261122T131502Z-3f2a", true),
        ("20261122T131502Z-3f2a.2", true),
        ("20261122T131502Z-3f2a.", false),
        ("20261122T131502Z-3F2A", false),
        ("../../etc", false),
        ("20261122T131502Z-3f2a/..", false),
        ("last", false),
    ] {
        assert_eq!(RunId::parse(text).is_some(), valid, "{text}");
    }
    let id = RunId::parse("20261122T131502Z-3f2a").unwrap();
    assert_eq!((id.part(1), id.part(2).as_str()), (id.clone(), "20261122T131502Z-3f2a.2"));
    assert_eq!((id.part(3).number(), id.part(3).base().to_owned()), (3, id.to_string()));
    let odd = Run { who: "a\nstanding confirmed\n".to_owned(), ..run(1) };
    assert_eq!(odd.words()[1], "a standing confirmed");
    assert_eq!(cmd::quote(ODD).matches('\n').count(), 1);
}
