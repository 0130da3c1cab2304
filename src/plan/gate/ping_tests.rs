use super::super::brokers::tests::{UNIT, cluster, file, listing};
use super::*;
use crate::facts::{Container, Reading};

const CONF: &str = "/etc/cinder/cinder.conf";

fn restart(role: Role) -> Restart {
    let argv = vec!["systemctl".to_owned(), "restart".to_owned(), UNIT.to_owned()];
    Restart { role, order: 0, service: "cinder-volume".to_owned(), name: UNIT.to_owned(), argv }
}

/// cinder-volume on ctl1 with this configuration.
fn host(conf: &str) -> Cluster {
    let mut hosts = cluster(20, 500, &[]);
    file(own(&mut hosts), CONF, conf);
    hosts
}

fn own(hosts: &mut Cluster) -> &mut Facts {
    hosts.get_mut("ctl1").unwrap().as_mut().unwrap()
}

#[test]
fn a_service_that_offers_it_is_called() {
    let check = |role, conf: &str, expected: bool| {
        assert_eq!(question("ctl1", &restart(role), &host(conf)).is_some(), expected, "{role:?} {conf}");
    };
    check(Role::RpcServer, "[DEFAULT]\nrpc_ping_enabled = true\n", true);
    check(Role::Agent, "[DEFAULT]\nrpc_ping_enabled = Yes\n", true);
    check(Role::RpcServer, "[DEFAULT]\nrpc_ping_enabled = false\n", false);
    check(Role::RpcServer, "[DEFAULT]\nrpc_ping_enabled = maybe\n", false);
    check(Role::RpcServer, "[oslo_messaging_rabbit]\nrpc_ping_enabled = true\n", false);
    check(Role::RpcServer, "", false);
    check(Role::Api, "[DEFAULT]\nrpc_ping_enabled = true\n", false);
    check(Role::Broker, "[DEFAULT]\nrpc_ping_enabled = true\n", false);
}

#[test]
fn it_is_called_by_its_own_python_as_its_own_user() {
    // What stands before the script and behind it; or why it cannot be called.
    let check = |change: &dyn Fn(&mut Cluster), expected: Result<(&str, &str), &str>| {
        let mut hosts = host("[DEFAULT]\nrpc_ping_enabled = true\n");
        change(&mut hosts);
        let asked = question("ctl1", &restart(Role::RpcServer), &hosts).unwrap().map(|question| {
            let Question::Command { argv, id } = question else { panic!("{question:?}") };
            assert_eq!(id, "ping\ncinder-volume.service");
            let at = argv.iter().position(|word| word == SCRIPT).unwrap();
            let rest = argv[..at].iter().map(|word| if word == AS_ITS_USER { "AS_ITS_USER" } else { word });
            (rest.collect::<Vec<_>>().join(" "), argv[at + 1..].join(" "))
        });
        let asked = asked.as_ref().map(|(before, behind)| (before.as_str(), behind.as_str()));
        assert_eq!(asked.map_err(String::as_str), expected);
    };
    let called =
        "20 cinder cinder-volume 5 cinder-volume.ctl1@lvm=2 -- --config-file=/etc/cinder/cinder.conf";
    let python = "sh -c AS_ITS_USER trueup 20 env /usr/bin/python3 -B -c";
    check(&|_| {}, Ok((python, called)));
    let argv = |hosts: &mut Cluster, line: &str| {
        own(hosts).processes.get_mut(&20).unwrap().argv = shlex::split(line).unwrap();
    };
    check(
        &|hosts| {
            argv(
                hosts,
                "/openstack/venvs/cinder-27/bin/python3.11 /openstack/venvs/cinder-27/bin/cinder-volume",
            );
        },
        Ok(("sh -c AS_ITS_USER trueup 20 env /openstack/venvs/cinder-27/bin/python3.11 -B -c", called)),
    );
    // It has given itself a title.
    check(
        &|hosts| argv(hosts, "'cinder-volume: worker (/usr/bin/python3 /usr/bin/cinder-volume)'"),
        Ok((python, called)),
    );
    check(&|hosts| argv(hosts, "/usr/bin/cinder-volume"), Err("its processes do not tell their Python"));
    // A password in its environment stays there.
    check(
        &|hosts| {
            let environ = &mut own(hosts).processes.get_mut(&20).unwrap().environ;
            environ.insert("OS_DEFAULT__TRANSPORT_URL".to_owned(), "rabbit://u:secret@h/".to_owned());
            environ.insert("PYTHONPATH".to_owned(), "/opt/lib".to_owned());
        },
        Ok(("sh -c AS_ITS_USER trueup 20 env PYTHONPATH=/opt/lib /usr/bin/python3 -B -c", called)),
    );
    check(
        &|hosts| own(hosts).processes.get_mut(&20).unwrap().network_namespace = Some("net:[7]".to_owned()),
        Err("it runs in a network namespace of its own"),
    );
    // A connection that has died silently is a consumer too; the other hosts' queues are not asked.
    check(
        &|hosts| {
            listing(hosts, "cinder-volume.ctl1@lvm", Some(40));
            listing(hosts, "cinder-volume.ctl1@nfs", Some(1));
            listing(hosts, "cinder-volume.ctl1@gone", Some(0));
        },
        Ok((python, &called.replace("lvm=2", "lvm=32 cinder-volume.ctl1@nfs=1"))),
    );
    check(
        &|hosts| listing(hosts, "cinder-volume.ctl1@lvm", None),
        Err("no queue is served by this host alone"),
    );
    check(
        &|hosts| hosts.values_mut().flatten().for_each(|facts| facts.rabbitmq = Reading::Absent),
        Err("no broker told its queues"),
    );
}

#[test]
fn a_container_is_asked_inside() {
    let process = |container: &str| {
        let argv = vec!["/var/lib/kolla/venv/bin/python3".to_owned()];
        Process { pid: 7, argv, container: Some(container.to_owned()), ..Process::default() }
    };
    let mut facts = Facts::default();
    for (name, engine) in [("cinder_volume", "podman"), ("cinder_volumes_container", "lxc")] {
        let container =
            Container { engine: engine.to_owned(), id: "4f0c".to_owned(), ..Container::default() };
        facts.containers.insert(name.to_owned(), container);
    }
    let check = |name: &str, expected: Result<&str, &str>| {
        let found = into(&facts, &process(name)).map(|(argv, pid)| format!("{} {pid}", argv.join(" ")));
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    };
    check("cinder_volume", Ok("podman exec -w / 4f0c 0"));
    check("cinder_volumes_container", Err("no engine leads into the container cinder_volumes_container"));
    check("other", Err("no engine leads into the container other"));
}

/// What a Python said that ended with this status.
fn answers(status: i32, stdout: &str) -> Result<Answers, String> {
    let restart = restart(Role::RpcServer);
    let mut facts = Facts::default();
    let stderr = "Traceback (most recent call last):\nSyntaxError: invalid syntax\n\n".to_owned();
    facts.commands.insert(id(&restart), CommandFact { status, stdout: stdout.to_owned(), stderr });
    Answers::read(&restart, &facts)
}

#[test]
fn what_cannot_be_asked_says_why() {
    let check =
        |status, stdout: &str, expected: &str| assert_eq!(answers(status, stdout), Err(expected.to_owned()));
    check(
        0,
        "cannot ModuleNotFoundError oslo_messaging\n",
        "its Python says ModuleNotFoundError oslo_messaging",
    );
    check(0, "cannot ConfigFilesNotFoundError \n", "its Python says ConfigFilesNotFoundError");
    check(
        0,
        "asking\nanswered 0.010 q\ncannot MessageDeliveryFailure \n",
        "its Python says MessageDeliveryFailure",
    );
    check(124, "", "its Python did not begin in time");
    check(127, "", "its Python ended with 127: SyntaxError: invalid syntax");
    check(1, "something else\n", "its Python ended with 1: SyntaxError: invalid syntax");
    let nothing = Answers::read(&restart(Role::RpcServer), &Facts::default());
    assert_eq!(nothing, Err("the host did not say".to_owned()));
}

#[test]
fn every_consumer_answers_or_it_is_awaited() {
    let check = |before: Option<&str>, after: &str, expected: Option<&str>| {
        let lines = |text: &str| text.replace(", ", "\n");
        let before = before.map(|text| answers(0, &lines(text)).unwrap());
        let after = answers(0, &lines(after)).unwrap();
        let waiting = awaited(&restart(Role::RpcServer), before.as_ref(), &after);
        assert!(waiting.as_ref().is_none_or(|waiting| !waiting.hopeless));
        let found = waiting.map(|waiting| format!("{}: {}", waiting.awaited, waiting.seen));
        assert_eq!(found.as_deref(), expected, "{after:?}");
    };
    let lost = Some("an answer of cinder-volume.service to each RPC on q: 1 of 2 calls without one in 5 s");
    let (good, half) =
        ("asking, answered 0.012 q, answered 0.010 q, done", "asking, answered 0.012 q, silent q, done");
    let none = "asking, silent q, silent q, done";
    check(None, good, None);
    check(Some(good), good, None);
    check(None, half, lost);
    check(Some(good), half, lost);
    // A dead connection took every other call before.
    check(Some(half), half, None);
    check(Some(half), good, None);
    let all = "an answer of cinder-volume.service to each RPC on q: 2 of 2 calls without one in 5 s";
    check(Some(half), none, Some(all));
    // It did not answer before either, so this is not the restart's fault.
    check(Some(none), none, None);
    let cut = "an answer of cinder-volume.service to each RPC: the calls did not end in time";
    check(None, "asking, answered 0.012 q", Some(cut));
    check(None, "asking", Some(cut));
}

#[test]
fn answers_are_told_by_queue() {
    let text = "asking\nanswered 0.012 a\nanswered 0.100 a\nsilent a\nanswered 0.003 b\ndone\n";
    assert_eq!(
        answers(0, text).unwrap().to_string(),
        "2 of 3 calls on a in 0.100 s, 1 of 1 calls on b in 0.003 s"
    );
}
