#!/bin/sh
# The programs of a made-up controller; see host.rs. One text under several names: systemctl, rabbitmqctl,
# rabbitmq-diagnostics, ss, sysctl, systemd-run (which keeps a timer's command as a file). What they know is in files below var/fixture.
set -u
export LC_ALL=C
root=${0%/bin/*}
name=${0##*/}
fixture=$root/var/fixture
shared=$fixture/shared
read -r me <"$fixture/name"
now=$(date +%s)
case $name\ ${1-} in
  ss* | systemctl\ show | systemctl\ fixture-*) ;;
  *) printf '%s %s\n' "$name" "$*" >>"$fixture/calls" ;;
esac

say() { printf '%s\n' "$*"; }

unit_of() { case $1 in *.*) say "$1" ;; *) say "$1.service" ;; esac }

pid_of() {
  main=$(cat "$fixture/pids/$1" 2>/dev/null)
  say "${main:-0}"
}

address_of() { sed -n "s/^$1 //p" "$shared/hosts" | cut -d' ' -f1; }

root_of() { sed -n "s/^$1 [^ ]* //p" "$shared/hosts"; }

# The last value of an option over the files that a unit reads: option_of UNIT SECTION KEY DEFAULT
option_of() {
  found=$4
  while read -r file; do
    for part in "$root$file" "$root${file%.conf}.conf.d"/*.conf; do
      [ -f "$part" ] || continue
      value=$(sed -n "/^\[$2\]/,/^\[/s/^$3[ \t]*[=:][ \t]*//p" "$part" | tail -n 1)
      found=${value:-$found}
    done
  done <"$fixture/units/$1/config"
  say "$found"
}

rabbit_option() {
  value=$(cat "$1/etc/rabbitmq/rabbitmq.conf" "$1"/etc/rabbitmq/conf.d/*.conf 2>/dev/null |
    sed -n "s/^$2[ \t]*=[ \t]*//p" | tail -n 1)
  say "${value:-$3}"
}

rabbit_up() { [ -s "$(root_of "$1")/var/fixture/pids/rabbitmq-server.service" ]; }

# The negotiated heartbeat: the client's word, or the smaller one; py-amqp connection.py.
negotiated() {
  if [ "$1" -eq 0 ]; then say 0
  elif [ "$2" -eq 0 ] || [ "$1" -lt "$2" ]; then say "$1"
  else say "$2"; fi
}

# A unit's connections: two, to the first broker that runs.
connect() {
  [ -f "$fixture/units/$1/config" ] || return 0
  broker=
  while read -r host _; do
    if rabbit_up "$host"; then broker=$host; break; fi
  done <"$shared/hosts"
  [ -n "$broker" ] || return 0
  client=$(option_of "$1" oslo_messaging_rabbit heartbeat_timeout_threshold 60)
  server=$(rabbit_option "$(root_of "$broker")" heartbeat 60)
  heartbeat=$(negotiated "$client" "$server")
  delay=0
  if [ -f "$fixture/slow/$1" ]; then read -r delay <"$fixture/slow/$1"; fi
  for role in listen reply; do
    port=$(($(cat "$shared/port") + 1))
    say "$port" >"$shared/port"
    # The keepalive time is the one in force when the socket is made.
    time=$(cat "$(root_of "$broker")/proc/sys/net/ipv4/tcp_keepalive_time")
    say "$me $1 $(pid_of "$1") $broker $heartbeat $((now + delay)) $time" >"$shared/connections/$port"
  done
}

disconnect() {
  for file in "$shared/connections"/*; do
    [ -f "$file" ] || continue
    read -r host unit _ <"$file"
    if [ "$host $unit" = "$me $1" ]; then rm -f "$file"; fi
  done
}

stop() {
  pid=$(pid_of "$1")
  disconnect "$1"
  : >"$fixture/pids/$1"
  [ "$pid" = 0 ] || rm -rf "$root/proc/${pid:?}"
  if [ "$1" = rabbitmq-server.service ]; then reconnect_all; fi
}

# Clients of a broker that went away connect to another one.
reconnect_all() {
  lost=
  for file in "$shared/connections"/*; do
    [ -f "$file" ] || continue
    read -r host unit _ broker _ <"$file"
    if [ "$broker" = "$me" ]; then
      rm -f "$file"
      case $lost in *"$host $unit;"*) ;; *) lost="$lost$host $unit;" ;; esac
    fi
  done
  while [ -n "$lost" ]; do
    pair=${lost%%;*}
    lost=${lost#*;}
    "$(root_of "${pair% *}")/bin/systemctl" fixture-connect "${pair#* }"
  done
}

start() {
  if [ -f "$fixture/broken/$1" ]; then
    say failed >"$fixture/failed/$1"
    return 0
  fi
  rm -f "$fixture/failed/$1"
  pid=$(($(cat "$fixture/next_pid") + 1))
  say "$pid" >"$fixture/next_pid"
  process "$1" "$pid" "$now"
  if [ "$1" = rabbitmq-server.service ]; then
    keepalive=$(rabbit_option "$root" tcp_listen_options.keepalive false)
    say "$keepalive" >"$fixture/listener_keepalive"
    # Whoever found no broker finds this one.
    while read -r host _ at; do
      for place in "$at/var/fixture/units"/*; do
        [ -s "$at/var/fixture/pids/${place##*/}" ] || continue
        grep -qs "^$host ${place##*/} " "$shared/connections"/* ||
          "$at/bin/systemctl" fixture-connect "${place##*/}"
      done
    done <"$shared/hosts"
  else
    connect "$1"
  fi
}

# The entry of a process in proc: process UNIT PID STARTED
process() {
  at=$root/proc/$2
  booted=$(sed -n 's/^btime //p' "$root/proc/stat")
  mkdir -p "$at/ns"
  cp "$fixture/units/$1/cmdline" "$at/cmdline"
  cp "$fixture/units/$1/environ" "$at/environ"
  case $1 in rabbitmq*) say beam.smp ;; *) say "${1%.service}" ;; esac >"$at/comm"
  printf '%s (%s) S 1 %s %s 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 %s 0 0\n' \
    "$2" "${1%.service}" "$2" "$2" "$((($3 - booted) * 100))" >"$at/stat"
  say "0::/system.slice/$1" >"$at/cgroup"
  ln -sfn / "$at/cwd"
  ln -sfn 'net:[4026531840]' "$at/ns/net"
  say "$2" >"$fixture/pids/$1"
}

show() {
  for unit in "$@"; do
    unit=$(unit_of "$unit")
    pid=$(pid_of "$unit")
    load=loaded active=active sub=running
    if [ ! -d "$fixture/units/$unit" ]; then load=not-found; fi
    if [ "$pid" = 0 ]; then active=inactive sub=dead; fi
    if [ -f "$fixture/failed/$unit" ]; then active=failed sub=failed; fi
    enabled=
    if [ -d "$fixture/units/$unit" ]; then enabled=disabled; fi
    if [ -f "$fixture/enabled/$unit" ]; then enabled=enabled; fi
    printf 'Id=%s\nNames=%s\nActiveState=%s\nSubState=%s\nLoadState=%s\nUnitFileState=%s\nMainPID=%s\nNRestarts=0\n\n' \
      "$unit" "$unit" "$active" "$sub" "$load" "$enabled" "$pid"
  done
}

systemctl() {
  verb=
  words=
  for word in "$@"; do
    case $word in
      -*) ;;
      *) if [ -z "$verb" ]; then verb=$word; else words="$words $word"; fi ;;
    esac
  done
  # Names of units hold neither blanks nor wildcards.
  # shellcheck disable=SC2086
  set -- $words
  case $verb in
    show) show "$@" ;;
    daemon-reload) ;;
    fixture-connect) connect "$1" ;;
    fixture-start) start "$(unit_of "$1")" ;;
    is-active)
      case $1 in *.timer) [ -f "$fixture/timers/${1%.timer}" ]; return ;; esac
      active=$(show "$1" | sed -n 's/^ActiveState=//p')
      say "$active"
      [ "$active" = active ]
      ;;
    is-enabled)
      if [ -f "$fixture/enabled/$(unit_of "$1")" ]; then say enabled; else say disabled; return 1; fi
      ;;
    start | stop | restart | try-restart | enable | disable)
      for what in "$@"; do
        what=$(unit_of "$what")
        case $what in *.timer) rm -f "$fixture/timers/${what%.timer}"; continue ;; esac
        if [ ! -d "$fixture/units/$what" ]; then
          say "Failed to $verb $what: Unit $what not found." >&2
          return 5
        fi
        case $verb in
          start) [ "$(pid_of "$what")" != 0 ] || start "$what" ;;
          stop) stop "$what" ;;
          enable) : >"$fixture/enabled/$what" ;;
          disable) rm -f "$fixture/enabled/$what" ;;
          *) stop "$what"; start "$what" ;;
        esac
      done
      ;;
    *) say "Unknown command verb $verb." >&2; return 1 ;;
  esac
}

names() { # of hosts, as JSON words; with `up`: only those whose node runs
  separator=
  while read -r host _; do
    if [ "$1" = up ] && ! rabbit_up "$host"; then continue; fi
    printf '%s"rabbit@%s"' "$separator" "$host"
    separator=,
  done <"$shared/hosts"
}

rabbitmqctl() {
  while :; do
    case ${1-} in
      -q | -s | --quiet | --silent) shift ;;
      *) break ;;
    esac
  done
  if ! rabbit_up "$me"; then
    say "Error: unable to perform an operation on node 'rabbit@$me'." >&2
    return 69
  fi
  case ${1-} in
    cluster_status)
      alarms=
      if [ -f "$fixture/alarm" ]; then
        alarms="{\"node\":\"rabbit@$me\",\"resource\":\"memory\",\"type\":\"resource_limit\"}"
      fi
      listener="{\"interface\":\"[::]\",\"node\":\"rabbit@$me\",\"port\":5672,\"protocol\":\"amqp\"}"
      printf '{"alarms":[%s],"disk_nodes":[%s],"listeners":{"rabbit@%s":[%s]},"partitions":{},' \
        "$alarms" "$(names all)" "$me" "$listener"
      printf '"ram_nodes":[],"running_nodes":[%s],"versions":{"rabbit@%s":{"rabbitmq_version":"3.10.8"}}}\n' \
        "$(names up)" "$me"
      ;;
    list_connections)
      printf 'pid\tport\tpeer_host\tpeer_port\tstate\ttimeout\tconnected_at\tuser\tvhost\tclient_properties\n'
      for file in "$shared/connections"/*; do
        [ -f "$file" ] || continue
        read -r host unit pid broker heartbeat since _ <"$file"
        [ "$since" -le "$now" ] || continue
        printf '<rabbit@%s.1795343640.%s.0>\t5672\t%s\t%s\trunning\t%s\t%s\topenstack\t/\t' \
          "$broker" "${file##*/}" "$(address_of "$host")" "${file##*/}" "$heartbeat" "${since}000"
        printf '[{"product","py-amqp"},{"connection_name","%s:%s:%s"}]\n' \
          "${unit%.service}" "$pid" "00000000-0000-4000-8000-0000000${file##*/}"
      done
      ;;
    list_queues)
      printf 'name\tconsumers\tmessages_unacknowledged\n'
      for file in "$shared/connections"/*; do
        if [ -f "$file" ]; then printf 'reply_%s\t1\t0\n' "${file##*/}"; fi
      done
      ;;
    await_online_nodes | await_startup | wait | ping) ;;
    *) say "Command '$*' not found." >&2; return 64 ;;
  esac
}

ss() {
  beam=$(pid_of rabbitmq-server.service)
  keepalive=$(cat "$fixture/listener_keepalive" 2>/dev/null)
  for file in "$shared/connections"/*; do
    [ -f "$file" ] || continue
    read -r host unit pid broker _ since time <"$file"
    [ "$since" -le "$now" ] || continue
    client=$(address_of "$host"):${file##*/}
    server=$(address_of "$broker"):5672
    if [ "$host" = "$me" ]; then
      printf 'ESTAB 0 0 %s %s users:(("%s",pid=%s,fd=9)) timer:(keepalive,34sec,0)\n' \
        "$client" "$server" "${unit%.service}" "$pid"
    fi
    if [ "$broker" = "$me" ]; then
      timer=
      if [ "$keepalive" = true ]; then timer=" timer:(keepalive,${time}sec,0)"; fi
      printf 'ESTAB 0 0 %s %s users:(("beam.smp",pid=%s,fd=20))%s\n' "$server" "$client" "$beam" "$timer"
    fi
  done
}

sysctl() {
  for word in "$@"; do
    case $word in
      -*) ;;
      *=*)
        key=${word%%=*}
        say "${word#*=}" >"$root/proc/sys/$(say "$key" | tr . /)"
        say "$key = ${word#*=}"
        ;;
      *) cat "$root/proc/sys/$(say "$word" | tr . /)" ;;
    esac
  done
}

systemd_run() {
  unit=
  while [ "$1" != -- ]; do
    case $1 in --unit=*) unit=${1#*=} ;; esac
    shift
  done
  shift
  mkdir -p "$fixture/timers"
  for word in "$@"; do say "$word"; done >"$fixture/timers/$unit"
}

case $name in
  systemctl) systemctl "$@" ;;
  systemd-run) systemd_run "$@" ;;
  rabbitmqctl) rabbitmqctl "$@" ;;
  # Nothing of this cluster is quorum critical.
  rabbitmq-diagnostics | rabbitmq-upgrade | rabbitmq-queues) ;;
  ss) ss ;;
  sysctl) sysctl "$@" ;;
esac
