//! The script of the checkpoint itself, under dash, bash and busybox sh, on a made-up host: every verb and
//! refusal, and a death at every point of it.

mod death;
mod host;
mod refusals;

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use trueup::apply::checkpoint::{Answer, Now, Run, RunId, Standing, Verb};
use trueup::cmd;
use trueup::error::HostError;
use trueup::plan::Action;

use host::{Host, ODD, Tree, all_steps, calls, plan, run};

const SHELLS: [&str; 3] = ["dash", "bash", "busybox"];

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
