# shellcheck shell=bash
# From the base root to a working cluster, and a change of its settings.

make_keys() {
    local host
    mkdir -p "$RUN/hostkeys"
    chmod 700 "$RUN"
    ssh-keygen -q -t ed25519 -N '' -C lab -f "$RUN/key"
    for host in "${HOSTS[@]}"; do
        mkdir -p "$RUN/$host"
        ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$RUN/hostkeys/$host"
        echo "$(address_of "$host") $(cut -d' ' -f1,2 "$RUN/hostkeys/$host.pub")"
    done >"$RUN/known_hosts"
    {
        printf 'Host *\n  User ops\n  IdentityFile %s\n  IdentitiesOnly yes\n' "$RUN/key"
        printf '  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n' "$RUN/known_hosts"
        for host in "${HOSTS[@]}"; do printf 'Host %s\n  HostName %s\n' "$host" "$(address_of "$host")"; done
    } >"$RUN/ssh_config"
    {
        printf 'controllers:\n  hosts:\n'
        for host in "${HOSTS[@]}"; do printf '    %s:\n      ansible_host: %s\n' "$host" "$(address_of "$host")"; done
        printf '  vars:\n    ansible_user: ops\n    ansible_ssh_private_key_file: %s\n' "$RUN/key"
        printf '    ansible_ssh_common_args: "-o UserKnownHostsFile=%s -o IdentitiesOnly=yes"\n' "$RUN/known_hosts"
    } >"$RUN/inventory.yml"
}

# The bridge and its cables exist only in namespaces of the lab; nothing is routed anywhere.
make_network() {
    local host ns
    ip netns add "$NETNS"
    ip -n "$NETNS" link set lo up
    ip -n "$NETNS" link add br0 type bridge
    ip -n "$NETNS" addr add "$SUBNET.1/24" dev br0
    ip -n "$NETNS" link set br0 up
    for host in "${HOSTS[@]}"; do
        ns=$(netns_of "$host")
        ip netns add "$ns"
        ip -n "$NETNS" link add "$host" type veth peer name eth0 netns "$ns"
        ip -n "$NETNS" link set "$host" master br0 up
        ip -n "$ns" link set lo up
        ip -n "$ns" addr add "$(address_of "$host")/24" dev eth0
        ip -n "$ns" link set eth0 up
    done
}

start_hosts() {
    local host base
    base=$(base_root)
    for host in "${HOSTS[@]}"; do
        setsid unshare --mount --propagation private "$LAB/lib/host.sh" "$NAME" "$host" "$base" \
            </dev/null >"$RUN/$host.log" 2>&1 &
        echo $! >"$RUN/$host.pid"
        disown
    done
    for host in "${HOSTS[@]}"; do until_ok 60 "SSH on $host" on "$host" true; done
}

# on HOST COMMAND...: over SSH, as the sudo user.
on() {
    local host=$1
    shift
    nsenter --net="/run/netns/$NETNS" ssh -F "$RUN/ssh_config" -o ConnectTimeout=2 "$host" "$@"
}

make_database() {
    until_ok 90 MariaDB inside "${HOSTS[0]}" mariadb -e 'select 1'
    inside "${HOSTS[0]}" mariadb -e "create database cinder; grant all on cinder.* to cinder@'%' identified by '$DB_PASSWORD';"
    inside "${HOSTS[0]}" runuser -u cinder -- cinder-manage --config-file /etc/cinder/cinder.conf db sync
}

cluster_is_whole() {
    inside "$1" rabbitmqctl --quiet cluster_status --formatter json |
        /usr/bin/python3 -c 'import json, sys; sys.exit(len(json.load(sys.stdin)["running_nodes"]) != int(sys.argv[1]))' \
            "${#HOSTS[@]}"
}

join_cluster() {
    local host
    for host in "${HOSTS[@]}"; do until_ok 120 "RabbitMQ on $host" cluster_is_whole "$host"; done
    # Mirrored queues, as OpenStack deployments of that time had them: a reply queue survives its node. Without the
    # last two keys a rolling restart leaves queues with messages and no consumer down, and publishers get a nack.
    inside "${HOSTS[0]}" rabbitmqctl --quiet set_policy --apply-to queues ha-all '^(?!amq\.).*' \
        '{"ha-mode":"all","ha-sync-mode":"automatic","ha-promote-on-shutdown":"always"}'
}

CINDER=(cinder-api cinder-scheduler cinder-volume)

# Ready means that RPC works: the API asks a scheduler, which has heard from every volume service. The schedulers
# take turns, so as many answers in a row as there are schedulers come from all of them.
cinder_answers() {
    local pools
    for _ in "${HOSTS[@]}"; do
        pools=$(nsenter --net="/run/netns/$NETNS" curl -sf -m 5 -H "X-Auth-Token: admin:$PROJECT" \
            "http://$(address_of "$1"):8776/v3/$PROJECT/scheduler-stats/get_pools") || return
        [[ $(grep -o '"ctl[0-9]@slow' <<<"$pools" | sort -u | wc -l) == "${#HOSTS[@]}" ]] || return
    done
}

restart_cinder() {
    local host
    everywhere systemctl restart "${CINDER[@]}"
    for host in "${HOSTS[@]}"; do
        until_ok 120 "Cinder on $host" cinder_answers "$host" || {
            everywhere systemctl --no-legend --plain --all list-units 'cinder-*' >&2 || true
            return 1
        }
    done
}

# The tables and the cluster do not need each other.
make_backends() {
    make_database >"$RUN/database.log" 2>&1 &
    local database=$!
    join_cluster
    wait "$database" || { cat "$RUN/database.log" >&2; return 1; }
}

abandon() {
    local jobs
    jobs=$(jobs -p)
    # shellcheck disable=SC2086
    [[ -z $jobs ]] || kill $jobs 2>/dev/null || true
    [[ ${TRUEUP_LAB_KEEP:-} == 1 ]] || lab_down
}

lab_up() {
    is_up && die "already up (settings are changed by \`set\`)"
    check_machine || exit 1
    phase "base root" build_base
    lab_down quiet
    mkdir -p "$RUN"
    # Whatever stops `up`, nothing of it stays; TRUEUP_LAB_KEEP=1 keeps the ruin to look at.
    trap 'abandon' EXIT
    trap 'exit 130' INT TERM
    load_settings "$@"
    make_keys
    phase "network" make_network
    phase "three hosts to SSH" start_hosts
    phase "RabbitMQ cluster and database" make_backends
    phase "Cinder on three controllers" restart_cinder
    trap - EXIT INT TERM
    say "up. inventory: $RUN/inventory.yml; run a command beside the hosts: tests/lab/lab exec COMMAND"
}

rabbitmq_files() { find "$1/etc/rabbitmq" -type f -print0 | sort -z | xargs -0 cat | sha256sum; }

# set [--defaults] KEY=VALUE...: the running cluster gets other settings, and every process that reads them is
# restarted: the brokers only where their files changed, one after the other and with nobody connected.
lab_set() {
    local host root before brokers=()
    is_up || die "not up"
    load_settings "$@"
    for host in "${HOSTS[@]}"; do
        root=/proc/$(init_of "$host")/root
        before=$(rabbitmq_files "$root")
        write_config "$root" "$host"
        inside "$host" sysctl -q net.ipv4.tcp_keepalive_time=7200 net.ipv4.tcp_keepalive_intvl=75 \
            net.ipv4.tcp_keepalive_probes=9 net.ipv4.tcp_retries2=15
        inside "$host" sysctl -q -p /etc/sysctl.d/50-controller.conf
        [[ $before == "$(rabbitmq_files "$root")" ]] || brokers+=("$host")
    done
    everywhere systemctl stop "${CINDER[@]}"
    # Dead connections that a broker has not noticed would be found, rightly, by the next audit.
    for host in "${HOSTS[@]}"; do ip netns exec "$(netns_of "$host")" ss -K -tnH 'sport = :5672' >/dev/null; done
    for host in "${brokers[@]}"; do phase "RabbitMQ on $host again" restart_rabbitmq "$host"; done
    phase "Cinder on three controllers again" restart_cinder
}

restart_rabbitmq() {
    inside "$1" systemctl restart rabbitmq-server
    until_ok 120 "RabbitMQ on $1" cluster_is_whole "$1"
}

# reboot HOST [--hard]: the host's systemd ends, and its supervisor boots the same root again. `--hard` is the kernel's
# reboot call at once: nothing is stopped, nothing is flushed. (Its disk is memory of this machine, so that, other
# than after a power cut, what was written is there without a flush, too.)
lab_reboot() {
    local host=$1 init words=()
    init=$(init_of "$host") || die "no host \`$host\` is up"
    [[ ${2:-} != --hard ]] || words=(--force --force)
    # Ends with its host, so its own end says nothing.
    inside "$host" systemctl reboot "${words[@]}" || true
    until_ok 120 "the end of $host" has_ended "$init"
    until_ok 60 "SSH on $host" on "$host" true
}
has_ended() { [[ ! -e /proc/$1 ]]; }
