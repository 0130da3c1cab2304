//! What stands in the way of a run, of a step, and of the way back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use trueup::apply::checkpoint::{Answer, Now, Run, Standing, Verb};
use trueup::error::HostError;
use trueup::plan::HostPlan;
use trueup::plan::content::sha256;

use super::SHELLS;
use super::host::{Host, all_steps, files, plan, run, whoami};

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
