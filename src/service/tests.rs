//! Process lists as hosts of each deployment kind have them.

use serde_json::{Value, json};

use super::*;

/// A host from lines: `process PID PARENT CGROUP CONTAINER|- ARGV…` (started at PID), `unit NAME
/// MAIN_PID`, `container NAME ENGINE`, `file PATH`, `package PLACE`, `environ PID NAME=VALUE`.
fn host(lines: &[&str]) -> Facts {
    let mut facts = json!({
        "format_version": "1.0", "host": "ctl1", "hostname": "ctl1", "read_at": 10_000, "booted_at": 0, "uid": 0,
        "masked": false, "files": {}, "folders": {}, "sysctls": {}, "namespaces": {}, "processes": {},
        "units": {}, "containers": {}, "packages": [], "rabbitmq": "absent", "sockets": "absent", "commands": {},
    });
    for line in lines {
        let words = shlex::split(line).unwrap();
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["process", pid, parent, cgroup, container, argv @ ..] => {
                let number: u32 = pid.parse().unwrap();
                facts["processes"][*pid] = json!({
                    "pid": number, "parent": parent.parse::<u32>().unwrap(), "argv": argv, "environ": {},
                    "cgroup": cgroup, "started_at": number, "network_namespace": null,
                    "container": Some(*container).filter(|name| *name != "-"), "cwd": "/",
                });
            }
            ["unit", name, pid] => {
                let main_pid: u32 = pid.parse().unwrap();
                let active = if main_pid == 0 { "inactive" } else { "active" };
                facts["units"][*name] = json!({
                    "active": active, "sub": "running", "load": "loaded", "enabled": "enabled",
                    "main_pid": main_pid, "restarts": 0,
                });
            }
            ["container", name, engine] => {
                facts["containers"][*name] = json!({
                    "engine": engine, "id": "0123456789abcdef", "image": "", "status": "running", "network": "host",
                });
            }
            ["file", path] => {
                facts["files"][*path] = json!({"known": {
                    "content": "", "mode": 0o640, "owner": "root", "group": "root", "modified_at": 0, "sha256": "",
                    "link": null,
                }});
            }
            ["unreadable", path] => facts["files"][*path] = json!({"unknown": "permission denied"}),
            ["absent", path] => facts["files"][*path] = json!("absent"),
            ["environ", pid, pair] => {
                let (name, value) = pair.split_once('=').unwrap();
                facts["processes"][*pid]["environ"][name] = Value::from(value);
            }
            ["package", place] => facts["packages"].as_array_mut().unwrap().push(json!({
                "name": "oslo.messaging", "version": "14.0.3", "place": place, "container": null,
            })),
            other => panic!("{other:?}"),
        }
    }
    serde_json::from_value(facts).unwrap()
}

/// One line a service: `NAME KIND UNIT main=PID pids=… since=T`, then its files (`=` where an edit goes to the
/// same path), what is missing, and its restart.
fn shown(running: &Running) -> Vec<String> {
    let pids: Vec<String> = running.pids.iter().map(ToString::to_string).collect();
    let mut lines = vec![format!(
        "{} {} {} main={} pids={} since={}",
        running.service.name,
        running.deployment.name(),
        running.unit.as_deref().unwrap_or("-"),
        running.main_pid.map_or("-".to_owned(), |pid| pid.to_string()),
        pids.join(","),
        running.started_at.map_or("-".to_owned(), |at| at.to_string()),
    )];
    for file in &running.config {
        lines.push(match &file.persist {
            Persist::At { path, .. } if *path == file.path => format!("  {} =", file.path),
            Persist::At { path, .. } => format!("  {} {path}", file.path),
            Persist::Blocked(_) => format!("  {} blocked", file.path),
        });
    }
    lines.extend(running.missing.iter().map(|path| format!("  missing {path}")));
    lines.extend(running.environ.iter().map(|(name, value)| format!("  {name}={value}")));
    lines.push(match &running.restart {
        RestartWay::By(restart) => format!("  {}", restart.argv.join(" ")),
        RestartWay::NotRunning => "  not running".to_owned(),
        RestartWay::Blocked(reason) => format!("  blocked: {reason}"),
    });
    lines
}

fn check(lines: &[&str], expected: &[&str]) {
    let found = running(&host(lines));
    let actual: Vec<String> = found.iter().flat_map(shown).collect();
    assert_eq!(actual, expected, "\n{}", actual.join("\n"));
}

#[test]
fn definitions_are_valid() {
    for service in services() {
        let same = services().iter().filter(|other| other.name == service.name).count();
        assert_eq!(same, 1, "{}", service.name);
        for program in service.programs() {
            let owners =
                services().iter().filter(|other| other.programs().any(|name| name == program)).count();
            assert_eq!(owners, 1, "{program}");
        }
        for kind in service.units.keys().chain(service.config.keys()) {
            assert!(deployment::KINDS.iter().any(|known| known.name() == kind), "{} {kind}", service.name);
        }
        for kind in deployment::KINDS {
            for unit in kind.units(service) {
                let owners =
                    services().iter().filter(|other| kind.units(other).any(|name| name == unit)).count();
                assert_eq!(owners, 1, "{} {unit}", kind.name());
            }
        }
    }
    assert_eq!(service("cinder-volume").unwrap().role, Role::RpcServer);
    assert_eq!(services().iter().filter(|service| service.role == Role::Broker).count(), 1);
}

#[test]
fn debian_packages() {
    check(
        &[
            "package /usr/lib/python3/dist-packages",
            "file /etc/rabbitmq/rabbitmq.conf",
            "file /etc/rabbitmq/advanced.config",
            "file /etc/rabbitmq/conf.d/50-trueup.conf",
            "file /etc/rabbitmq/conf.d/notes.txt",
            "file /etc/cinder/cinder.conf",
            "file /etc/nova/nova.conf",
            "file /etc/nova/nova-compute.conf",
            "file /etc/neutron/neutron.conf",
            "file /etc/neutron/server.conf.d/10-local.conf",
            "unreadable /etc/neutron/plugins/ml2/ml2_conf.ini",
            "process 100 1 /system.slice/rabbitmq-server.service - /usr/lib/erlang/erts-13.1.5/bin/beam.smp -W w",
            "process 200 1 /system.slice/cinder-volume.service - /usr/bin/python3 /usr/bin/cinder-volume --config-file=/etc/cinder/cinder.conf --log-file=/var/log/cinder/cinder-volume.log",
            "process 201 200 /system.slice/cinder-volume.service - /usr/bin/python3 /usr/bin/cinder-volume --config-file=/etc/cinder/cinder.conf --log-file=/var/log/cinder/cinder-volume.log",
            "process 202 201 /system.slice/cinder-volume.service - /bin/sh -c 'lvs --noheadings'",
            "process 300 1 /system.slice/cinder-api.service - /usr/bin/uwsgi_python3 --http-socket [::]:8776 --ini /etc/cinder/cinder-api-uwsgi.ini",
            "process 301 300 /system.slice/cinder-api.service - /usr/bin/uwsgi_python3 --http-socket [::]:8776 --ini /etc/cinder/cinder-api-uwsgi.ini",
            "process 400 1 /system.slice/nova-compute.service - /usr/bin/python3 /usr/bin/nova-compute --config-file=/etc/nova/nova.conf --config-file=/etc/nova/nova-compute.conf",
            "process 500 1 /system.slice/neutron-rpc-server.service - /usr/bin/python3 /usr/bin/neutron-rpc-server --config-file=/etc/neutron/neutron.conf --config-dir=/etc/neutron/server.conf.d --config-file=/etc/neutron/plugins/ml2/ml2_conf.ini",
            "process 501 500 /system.slice/neutron-rpc-server.service - 'neutron-rpc-server: rpc worker (/usr/bin/python3 /usr/bin/neutron-rpc-server --config-file=/etc/neutron/neutron.conf)'",
            "process 600 1 /system.slice/ssh.service - sshd",
            "unit rabbitmq-server.service 100",
            "unit cinder-volume.service 200",
            "unit cinder-api.service 300",
            "unit nova-compute.service 400",
            "unit cinder-scheduler.service 0",
        ],
        &[
            "rabbitmq-server debian rabbitmq-server.service main=100 pids=100 since=100",
            "  /etc/rabbitmq/rabbitmq.conf =",
            "  /etc/rabbitmq/conf.d/50-trueup.conf =",
            "  /etc/rabbitmq/advanced.config =",
            "  systemctl restart rabbitmq-server.service",
            "cinder-scheduler debian cinder-scheduler.service main=- pids= since=-",
            "  /etc/cinder/cinder.conf =",
            "  not running",
            "cinder-volume debian cinder-volume.service main=200 pids=200,201 since=200",
            "  /etc/cinder/cinder.conf =",
            "  systemctl restart cinder-volume.service",
            "neutron-rpc-server debian neutron-rpc-server.service main=500 pids=500,501 since=500",
            "  /etc/neutron/neutron.conf =",
            "  /etc/neutron/server.conf.d/10-local.conf =",
            "  /etc/neutron/plugins/ml2/ml2_conf.ini =",
            "  systemctl restart neutron-rpc-server.service",
            "nova-compute debian nova-compute.service main=400 pids=400 since=400",
            "  /etc/nova/nova.conf =",
            "  /etc/nova/nova-compute.conf =",
            "  systemctl restart nova-compute.service",
            "cinder-api debian cinder-api.service main=300 pids=300,301 since=300",
            "  /etc/cinder/cinder.conf =",
            "  systemctl restart cinder-api.service",
        ],
    );
}

#[test]
fn wsgi_services_share_the_web_server() {
    check(
        &[
            "package /usr/lib/python3/dist-packages",
            "file /etc/cinder/cinder.conf",
            "file /etc/keystone/keystone.conf",
            "process 10 1 /system.slice/apache2.service - /usr/sbin/apache2 -k start",
            "process 11 10 /system.slice/apache2.service - (wsgi:cinder-api) -k start",
            "process 12 10 /system.slice/apache2.service - (wsgi:keystone-pu -k start",
            "process 13 10 /system.slice/apache2.service - (wsgi:keystone-public) -k start",
            "unit apache2.service 10",
        ],
        &[
            "keystone debian apache2.service main=13 pids=13 since=13",
            "  /etc/keystone/keystone.conf =",
            "  systemctl restart apache2.service",
            "cinder-api debian apache2.service main=11 pids=11 since=11",
            "  /etc/cinder/cinder.conf =",
            "  systemctl restart apache2.service",
        ],
    );
}

#[test]
fn rdo_packages() {
    check(
        &[
            "package /usr/lib/python3.9/site-packages",
            "file /usr/share/cinder/cinder-dist.conf",
            "file /etc/cinder/cinder.conf",
            "file /etc/cinder/cinder.conf.d/99-ours.conf",
            "file /etc/nova/nova.conf",
            "process 200 1 /system.slice/openstack-cinder-scheduler.service - /usr/bin/python3 /usr/bin/cinder-scheduler --config-file /usr/share/cinder/cinder-dist.conf --config-file /etc/cinder/cinder.conf --logfile /var/log/cinder/scheduler.log",
            "process 300 1 /system.slice/openstack-nova-conductor.service - /usr/bin/python3 /usr/bin/nova-conductor",
            "process 301 300 /system.slice/openstack-nova-conductor.service - /usr/bin/python3 /usr/bin/nova-conductor",
            "unit openstack-nova-scheduler.service 0",
        ],
        &[
            "cinder-scheduler rdo openstack-cinder-scheduler.service main=200 pids=200 since=200",
            "  /etc/cinder/cinder.conf.d/99-ours.conf =",
            "  /usr/share/cinder/cinder-dist.conf blocked",
            "  /etc/cinder/cinder.conf =",
            "  systemctl restart openstack-cinder-scheduler.service",
            "nova-conductor rdo openstack-nova-conductor.service main=300 pids=300,301 since=300",
            "  /etc/nova/nova.conf =",
            "  systemctl restart openstack-nova-conductor.service",
            "nova-scheduler rdo openstack-nova-scheduler.service main=- pids= since=-",
            "  /etc/nova/nova.conf =",
            "  not running",
        ],
    );
}

#[test]
fn kolla_containers() {
    check(
        &[
            "container cinder_volume docker",
            "container heat_engine docker",
            "container rabbitmq docker",
            "unit kolla-cinder_volume-container.service 4000",
            "file container:cinder_volume:/etc/cinder/cinder.conf",
            "file container:cinder_volume:/etc/cinder/extra.conf",
            "file container:rabbitmq:/etc/rabbitmq/rabbitmq.conf",
            "file container:rabbitmq:/etc/rabbitmq/conf.d/management.conf",
            "file /etc/cinder/cinder.conf",
            "process 90 1 /docker/cc rabbitmq dumb-init --single-child -- kolla_start",
            "process 100 90 /docker/cc rabbitmq /usr/lib/erlang/erts-13/bin/beam.smp -W w",
            "process 200 1 /docker/aa cinder_volume dumb-init --single-child -- kolla_start",
            "process 201 200 /docker/aa cinder_volume /var/lib/kolla/venv/bin/python3 /var/lib/kolla/venv/bin/cinder-volume --config-file /etc/cinder/cinder.conf --config-file /etc/cinder/extra.conf",
            "process 300 1 /docker/bb heat_engine /var/lib/kolla/venv/bin/python3 /var/lib/kolla/venv/bin/heat-engine",
        ],
        &[
            "rabbitmq-server kolla rabbitmq main=90 pids=90,100 since=90",
            "  /etc/rabbitmq/rabbitmq.conf /etc/kolla/rabbitmq/rabbitmq.conf",
            "  /etc/rabbitmq/conf.d/management.conf blocked",
            "  docker restart rabbitmq",
            "cinder-volume kolla cinder_volume main=200 pids=200,201 since=200",
            "  /etc/cinder/cinder.conf /etc/kolla/cinder-volume/cinder.conf",
            "  /etc/cinder/extra.conf /etc/kolla/cinder-volume/extra.conf",
            "  systemctl restart kolla-cinder_volume-container.service",
            "heat-engine kolla heat_engine main=300 pids=300 since=300",
            "  docker restart heat_engine",
        ],
    );
}

#[test]
fn openstack_ansible_venvs() {
    check(
        &[
            "container infra1_heat_container-1a2b lxc",
            "process 200 1 /system.slice/cinder-volume.service - /openstack/venvs/cinder-29.0.0/bin/python /openstack/venvs/cinder-29.0.0/bin/cinder-volume --config-file /etc/cinder/cinder.conf",
            "environ 200 OS_DEFAULT__RPC_RESPONSE_TIMEOUT=90",
            "environ 200 OS_CLOUD=default",
            "process 300 1 /lxc.payload.infra1_heat_container-1a2b/system.slice/heat-engine.service infra1_heat_container-1a2b /openstack/venvs/heat-29.0.0/bin/python /openstack/venvs/heat-29.0.0/bin/heat-engine",
            "file container:infra1_heat_container-1a2b:/etc/heat/heat.conf",
        ],
        &[
            "cinder-volume openstack_ansible cinder-volume.service main=200 pids=200 since=200",
            "  missing /etc/cinder/cinder.conf",
            "  OS_DEFAULT__RPC_RESPONSE_TIMEOUT=90",
            "  systemctl restart cinder-volume.service",
            "heat-engine openstack_ansible heat-engine.service main=300 pids=300 since=300",
            "  /etc/heat/heat.conf blocked",
            "  lxc-attach -n infra1_heat_container-1a2b -- systemctl restart heat-engine.service",
        ],
    );
}

#[test]
fn tripleo_containers_and_bundles() {
    check(
        &[
            "unit tripleo_nova_conductor.service 1",
            "unit tripleo_cinder_api.service 1",
            "container nova_conductor podman",
            "container nova_compute podman",
            "container openstack-cinder-volume-podman-0 podman",
            "container rabbitmq-bundle-podman-1 podman",
            "file container:nova_conductor:/etc/nova/nova.conf",
            "file container:nova_compute:/etc/nova/nova.conf",
            "process 100 1 /machine.slice/libpod-aa.scope rabbitmq-bundle-podman-1 /usr/lib64/erlang/erts-11/bin/beam.smp",
            "process 200 1 /machine.slice/libpod-bb.scope nova_conductor /usr/bin/python3 /usr/bin/nova-conductor",
            "process 250 1 /machine.slice/libpod-dd.scope nova_compute /usr/bin/python3 /usr/bin/nova-compute",
            "process 300 1 /machine.slice/libpod-cc.scope openstack-cinder-volume-podman-0 /usr/bin/python3 /usr/bin/cinder-volume --config-file /usr/share/cinder/cinder-dist.conf --config-file /etc/cinder/cinder.conf",
        ],
        &[
            "rabbitmq-server tripleo rabbitmq-bundle-podman-1 main=100 pids=100 since=100",
            "  blocked: pacemaker runs rabbitmq-server as `rabbitmq-bundle` and would count a restart behind its back as a failure; run `pcs resource restart rabbitmq-bundle ctl1`, one host after the other",
            "cinder-volume tripleo openstack-cinder-volume-podman-0 main=300 pids=300 since=300",
            "  missing /usr/share/cinder/cinder-dist.conf",
            "  missing /etc/cinder/cinder.conf",
            "  blocked: pacemaker runs cinder-volume as `openstack-cinder-volume` and would count a restart behind its back as a failure; run `pcs resource restart openstack-cinder-volume ctl1`, one host after the other",
            "nova-conductor tripleo nova_conductor main=200 pids=200 since=200",
            "  /etc/nova/nova.conf /var/lib/config-data/puppet-generated/nova/etc/nova/nova.conf",
            "  systemctl restart tripleo_nova_conductor.service",
            "nova-compute tripleo nova_compute main=250 pids=250 since=250",
            "  /etc/nova/nova.conf /var/lib/config-data/puppet-generated/nova_libvirt/etc/nova/nova.conf",
            "  systemctl restart tripleo_nova_compute.service",
        ],
    );
}

#[test]
fn anything_else_is_plain() {
    check(
        &[
            "file /opt/stack/cinder.conf",
            "process 200 1 /system.slice/devstack@c-vol.service - /usr/bin/python3 /opt/stack/bin/cinder-volume --config-file /opt/stack/cinder.conf",
            "process 300 1 / - /usr/bin/python3 -u /opt/stack/bin/heat-engine",
            "process 301 300 / - /usr/bin/python3 -u /opt/stack/bin/heat-engine",
            "process 310 1 / - /usr/bin/python3 -u /opt/stack/bin/heat-engine",
            "process 400 1 / - vi /etc/cinder/cinder-volume",
        ],
        &[
            "cinder-volume plain devstack@c-vol.service main=200 pids=200 since=200",
            "  /opt/stack/cinder.conf =",
            "  systemctl restart devstack@c-vol.service",
            "heat-engine plain - main=300 pids=300,301 since=300",
            "  blocked: no systemd unit or container supervises heat-engine; restart it by hand after the change",
            "heat-engine plain - main=310 pids=310 since=310",
            "  blocked: no systemd unit or container supervises heat-engine; restart it by hand after the change",
        ],
    );
}
