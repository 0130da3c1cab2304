# shellcheck shell=bash
# What is written on a host: its identity once, its configuration from the settings as often as they change.

RPC_PASSWORD=rpc-in-the-lab
DB_PASSWORD=db-in-the-lab
COOKIE=LABLABLABLABLABLABLA

# load_settings [--defaults] [KEY=VALUE...]: the defaults, then (without --defaults) what this lab runs with, then
# what is asked for now.
load_settings() {
    local pair known
    # shellcheck source=tests/lab/settings
    source "$LAB/settings"
    if [[ ${1:-} == --defaults ]]; then
        shift
    elif [[ -e $RUN/settings ]]; then
        source "$RUN/settings"
    fi
    known=$(sed -n 's/^\([A-Z_0-9]*\)=.*/\1/p' "$LAB/settings")
    for pair in "$@"; do
        grep -qxF "${pair%%=*}" <<<"$known" || die "no setting \`${pair%%=*}\`; there are:" $known
        [[ $pair =~ ^[A-Z_0-9]+=(default|on|off|[0-9]+(/[0-9]+/[0-9]+)?)$ ]] || die "not a value: \`$pair\`"
        printf -v "${pair%%=*}" %s "${pair#*=}"
    done
    for pair in $known; do printf '%s=%s\n' "$pair" "${!pair}"; done >"$RUN/settings"
}

write_identity() {
    local root=$1 host=$2 h
    echo "$host" >"$root/etc/hostname"
    { echo "127.0.0.1 localhost"; for h in "${HOSTS[@]}"; do echo "$(address_of "$h") $h"; done; } >"$root/etc/hosts"
    cp "$RUN/hostkeys/$host" "$root/etc/ssh/ssh_host_ed25519_key"
    cp "$RUN/hostkeys/$host.pub" "$root/etc/ssh/ssh_host_ed25519_key.pub"
    chmod 600 "$root/etc/ssh/ssh_host_ed25519_key"
    # Keys by user in root's hands: nothing to chown inside the overlay.
    mkdir -p "$root/etc/ssh/keys"
    cp "$RUN/key.pub" "$root/etc/ssh/keys/ops"
    cp "$RUN/key.pub" "$root/etc/ssh/keys/root"
    cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<-E
	HostKey /etc/ssh/ssh_host_ed25519_key
	AuthorizedKeysFile /etc/ssh/keys/%u
	PasswordAuthentication no
	E
    printf %s "$COOKIE" >"$root/var/lib/rabbitmq/.erlang.cookie"
    chroot "$root" chown rabbitmq:rabbitmq /var/lib/rabbitmq/.erlang.cookie
    chmod 400 "$root/var/lib/rabbitmq/.erlang.cookie"
    install -D -m 644 "$LAB/host/slowvolume.py" "$root/usr/lib/python3/dist-packages/slowvolume.py"
    install -D -m 644 "$LAB/host/rpc.py" "$root/usr/local/lib/trueup-lab/rpc.py"
    # One process, so that a call and the fault meet the same connections.
    sed -i 's/^processes = .*/processes = 1/; s/^threads = .*/threads = 4/' "$root/etc/cinder/cinder-api-uwsgi.ini"
    # RabbitMQ and Cinder on every controller, the database on the first.
    chroot "$root" systemctl --quiet enable rabbitmq-server 2>/dev/null
    [[ $host != "${HOSTS[0]}" ]] || chroot "$root" systemctl --quiet enable mariadb 2>/dev/null
    printf '[mysqld]\nbind-address = 0.0.0.0\ninnodb_flush_log_at_trx_commit = 0\nskip-name-resolve\n' \
        >"$root/etc/mysql/mariadb.conf.d/90-lab.cnf"
}

# put FILE: writes standard input there only where it differs, since a newer file says that its reader is stale.
put() {
    local text
    text=$(cat)
    [[ -e $1 && $text == "$(cat "$1")" ]] || printf '%s\n' "$text" >"$1"
}

# Everything a setting reaches, and nothing else's files: what a remediation wrote is taken away again.
write_config() {
    local root=$1 host=$2
    rm -f "$root"/etc/sysctl.d/*trueup* "$root"/etc/rabbitmq/conf.d/*trueup*
    write_sysctl | put "$root/etc/sysctl.d/50-controller.conf"
    write_rabbitmq | put "$root/etc/rabbitmq/rabbitmq.conf"
    printf 'NODENAME=rabbit@%s\nSERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none"\n' "$host" | put "$root/etc/rabbitmq/rabbitmq-env.conf"
    write_cinder "$host" | put "$root/etc/cinder/cinder.conf"
    chroot "$root" chown root:cinder /etc/cinder/cinder.conf
    chmod 640 "$root/etc/cinder/cinder.conf"
}

write_sysctl() {
    if [[ $KEEPALIVE != default ]]; then
        IFS=/ read -r time intvl probes <<<"$KEEPALIVE"
        echo "net.ipv4.tcp_keepalive_time = $time"
        echo "net.ipv4.tcp_keepalive_intvl = $intvl"
        echo "net.ipv4.tcp_keepalive_probes = $probes"
    fi
    [[ $RETRIES2 == default ]] || echo "net.ipv4.tcp_retries2 = $RETRIES2"
}

write_rabbitmq() {
    local h
    cat <<-E
	loopback_users = none
	default_user = openstack
	default_pass = $RPC_PASSWORD
	cluster_partition_handling = pause_minority
	cluster_formation.peer_discovery_backend = classic_config
	E
    for h in "${HOSTS[@]}"; do echo "cluster_formation.classic_config.nodes.${h#ctl} = rabbit@$h"; done
    [[ $LISTENER_KEEPALIVE == on ]] || return 0
    # A single tcp_listen_options key replaces the whole default list, so all of it is here.
    cat <<-E
	tcp_listen_options.backlog = 128
	tcp_listen_options.nodelay = true
	tcp_listen_options.linger.on = true
	tcp_listen_options.linger.timeout = 0
	tcp_listen_options.exit_on_close = false
	tcp_listen_options.keepalive = true
	E
}

write_cinder() {
    local host=$1 h urls=
    for h in "${HOSTS[@]}"; do urls+=",openstack:$RPC_PASSWORD@$(address_of "$h"):5672"; done
    cat <<-E
	[DEFAULT]
	# Block storage of the lab
	transport_url = rabbit://${urls#,}/
	rpc_response_timeout = $RPC_TIMEOUT
	rpc_ping_enabled = $RPC_PING
	host = $host
	storage_availability_zone = $host
	my_ip = $(address_of "$host")
	auth_strategy = noauth_include_project_id
	osapi_volume_listen = $(address_of "$host")
	osapi_volume_workers = 1
	enabled_backends = slow
	log_dir = /var/log/cinder
	state_path = /var/lib/cinder
	# A scheduler that missed a volume service's first report waits this long for the next one (up to 120 s by
	# default).
	backend_stats_polling_interval = 5
	periodic_interval = 5
	periodic_fuzzy_delay = 0

	[oslo_messaging_rabbit]
	rabbit_ha_queues = true
	E
    [[ $HEARTBEAT == default ]] || echo "heartbeat_timeout_threshold = $HEARTBEAT"
    cat <<-E

	[database]
	connection = mysql+pymysql://cinder:$DB_PASSWORD@$(address_of "${HOSTS[0]}")/cinder

	[oslo_concurrency]
	lock_path = /var/lib/cinder/tmp

	[slow]
	volume_driver = slowvolume.Driver
	volume_backend_name = slow
	E
}
