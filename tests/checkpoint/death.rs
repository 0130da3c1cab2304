//! Whatever dies, and wherever: the host puts itself back.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use trueup::apply::checkpoint::{Answer, Standing, Verb};
use trueup::error::HostError;

use super::SHELLS;
use super::host::{Host, plan, run};

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

/// Lets the whole session die just before the `at`th call of such a program.
struct Death<'a> {
    host: &'a Host,
}

impl<'a> Death<'a> {
    /// By this signal.
    fn prepare(host: &'a Host, signal: &str) -> Self {
        host.is().write("var/fixture/signal", format!("{signal}\n"));
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
                 read -r signal <\"$root/var/fixture/signal\"\n[ \"$left\" != 1 ] || kill -\"$signal\" 0\nexec {} \"$@\"\n",
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
    let death = Death::prepare(&host, "KILL");
    let before = host.tree();
    let mut number = 0;
    let mut points = 0;
    let mut by_itself = 0;
    let mut ends = BTreeSet::new();
    let restore = |whole| Verb::Restore { whole, force: false };
    let all = plan.steps.len();
    let mut table = vec![(None, Tried::Begin)];
    table.extend((0..all).map(|step| (Some(step), Tried::Step(step))));
    let verbs = [restore(false), restore(true), Verb::Renew, Verb::Take { reopen: false }, Verb::Confirm];
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
            // Nobody else comes than the timer, and only where it was armed.
            if host.is().timer().is_some() {
                by_itself += 1;
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
    assert!(by_itself > points / 2, "the timer was armed at {by_itself} of {points} points");
    let known = ["None", "Some(Beginning)", "Some(Confirmed)", "Some(Restored)"];
    assert!(ends.iter().all(|end| known.contains(&end.as_str())) && ends.len() > 2, "{ends:?}");
}

/// A beginning that is ended (TERM to all of it) gives everything back at once.
#[test]
fn a_beginning_that_is_given_up_gives_the_host_back() {
    for (shell, stride) in SHELLS.into_iter().zip([1, 5, 3]) {
        let (host, run, plan) = (Host::new(shell), run(1), plan());
        let death = Death::prepare(&host, "TERM");
        let before = host.tree();
        let clean = host.keep("clean");
        let mut points = 0;
        for at in (1..).step_by(stride) {
            host.becomes(&clean);
            let died = death.at(at, || host.begin(&run, &plan));
            if !died {
                break;
            }
            points += 1;
            let place = format!("{shell}: call {at}");
            assert_eq!((host.tree(), host.holds()), (before.clone(), vec![]), "{place}");
            let kept = fs::read_dir(host.is().path("var/lib/trueup")).into_iter().flatten();
            let mut kept: Vec<String> =
                kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            kept.retain(|name| name != "mutex");
            assert_eq!(kept, Vec::<String>::new(), "{place}");
            host.begin(&run, &plan).expect("it may be asked again");
        }
        assert!(points > 30 / stride, "{shell}: only {points} points");
    }
}

/// Asked again while the first answer is not there, and ended: what the first one has made stays.
#[test]
fn a_beginning_that_is_asked_again_and_ended_leaves_the_first_alone() {
    for shell in SHELLS {
        let (host, run, plan) = (Host::new(shell), run(1), plan());
        let answers: Vec<Result<Answer, HostError>> = std::thread::scope(|scope| {
            let begin = || scope.spawn(|| host.begin(&run, &plan));
            let asked: Vec<_> = std::iter::repeat_with(begin).take(5).collect();
            asked.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(answers.iter().all(Result::is_ok), "{shell}: {answers:?}");
        let held = host.holds();
        let mutex = host.is().path("var/lib/trueup/mutex");
        let mut other = Command::new("flock")
            .arg(mutex)
            .args(["-c", "echo; read -r _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        other.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        host.program("sleep", "#!/bin/sh\nkill -TERM 0\n");
        host.begin(&run, &plan).expect_err("it waits for the mutex until it is ended");
        fs::remove_file(host.is().path("bin/sleep")).unwrap();
        drop(other.stdin.take());
        other.wait().unwrap();
        assert_eq!((host.standing(&run), host.holds()), (Some(Standing::Open), held), "{shell}");
        host.step(&run, &plan, 1).unwrap();
    }
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
