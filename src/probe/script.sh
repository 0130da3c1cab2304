# Reads a host for an audit and writes nothing. It runs as `sh -s`, and the lines in front of it (see
# script.rs) set: token root full sysctls pattern projects units asked_units sockets ports environments
# virtual_hosts rabbit rabbit_pid broker_too quorum history patience, and the functions asked, commands and
# logs. Everything is in functions, so that a text cut off on the way does nothing at all.
# Few processes on purpose: what can be answered by the shell itself is.

# A frame: its name and argument, then its bytes up to the next frame.
part() { printf '\n%s %s %s %s\n' "$token" "$1" "${2-}" "${3-}"; }

# Is the program there? A host that lives below a folder has only the programs it brought.
has() {
  if [ -n "$root" ]; then
    [ -x "$root/bin/$1" ] || [ -x "$root/usr/bin/$1" ] || [ -x "$root/usr/sbin/$1" ] ||
      [ -x "$root/sbin/$1" ]
  else
    command -v "$1" >/dev/null 2>&1
  fi
}

# Runs a program that might hang, for at most so many seconds.
within() {
  if [ -n "$bounded" ]; then
    timeout -k 2 "$@"
  else
    shift
    "$@"
  fi
}

status() { printf '\n%s status %s\n' "$token" "$1"; }

# Below, a path is relative to $root, starts with a slash, and is kept in lists of lines.

# A path that could not be asked for in a list of lines: it holds a newline.
odd() {
  case $1 in
    *"$nl"*) part odd; printf '%s' "$1"; return 0 ;;
  esac
  return 1
}

# Nothing is seen at the path: is nothing there, or may we not look?
missing() {
  above=${1%/*}
  while [ -n "$above" ] && [ ! -e "$root$above" ]; do above=${above%/*}; done
  if [ -d "$root$above/" ] && [ ! -x "$root$above/" ]; then
    denied="$denied$1$nl"
  else
    absent="$absent$1$nl"
  fi
}

# A file, by its path, which may be inside a container's root ($base).
want() {
  odd "$1" && return
  case "$seen" in
    *"$nl$1$nl"*) return ;;
  esac
  seen="$seen$1$nl"
  at=$1
  hops=0
  while [ -L "$root$at" ] && [ "$hops" -lt 8 ]; do
    target=$(readlink "$root$at") || break
    odd "$target" && return
    if [ "$hops" -eq 0 ]; then
      part link "$1"
      printf '%s' "$target"
    fi
    case $target in
      /dev/null) part masked "$1"; return ;;
      /*) at=$base$target ;;
      *)
        at=${at%/*}
        while :; do
          case $target in
            ../*) target=${target#../} at=${at%/*} ;;
            ./*) target=${target#./} ;;
            *) break ;;
          esac
        done
        at=$at/$target
        ;;
    esac
    hops=$((hops + 1))
  done
  if [ -f "$root$at" ]; then
    if [ ! -r "$root$at" ]; then
      denied="$denied$1$nl"
    else
      files="$files${at#/}$nl"
      [ "$at" = "$1" ] || { part real "$1"; printf '%s' "$at"; }
    fi
  elif [ -e "$root$at" ]; then
    special="$special$1$nl"
  else
    missing "$1"
  fi
}

# The names in a folder, and its files whose name ends so.
want_folder() {
  odd "$1" && return
  case "$seen" in
    *"$nl$1//$2$nl"*) return ;;
  esac
  seen="$seen$1//$2$nl"
  if [ ! -d "$root$1/" ]; then
    if [ -e "$root$1" ]; then special="$special$1/$nl"; else missing "$1/"; fi
    return
  fi
  if [ ! -r "$root$1/" ] || [ ! -x "$root$1/" ]; then
    denied="$denied$1/$nl"
    return
  fi
  part folder "$1"
  count=0
  names=
  set +f
  for entry in "$root$1"/* "$root$1"/.[!.]*; do
    if [ ! -e "$entry" ] && [ ! -L "$entry" ]; then continue; fi
    count=$((count + 1))
    if [ "$count" -gt 1000 ]; then break; fi
    # No name holds a slash, so it separates them.
    printf '%s/' "${entry##*/}"
    case $entry in
      *"$nl"*) ;;
      *"$2") [ -d "$entry" ] || names="$names${entry#"$root"}$nl" ;;
    esac
  done
  set -f
  if [ "$count" -gt 1000 ]; then part crowded "$1"; fi
  for name in $names; do want "$name"; done
}

# Only the names in a folder.
want_names() { want_folder "$1" '/'; }

# What oslo.config looks for, for every project that has something here, seen from $base.
want_projects() {
  for project in $projects; do
    if [ ! -e "$root$base/etc/$project" ] && [ ! -e "$root$base/usr/share/$project" ]; then
      [ -z "$base" ] && missing "/etc/$project/"
      continue
    fi
    if [ ! -x "$root$base/etc/$project/" ] && [ -d "$root$base/etc/$project/" ]; then
      want "$base/etc/$project/$project.conf"
      want_folder "$base/etc/$project/$project.conf.d" .conf
      continue
    fi
    want_folder "$base/etc/$project" .conf
    want_folder "$base/etc/$project/$project.conf.d" .conf
    set +f
    for folder in "$root$base/etc/$project"/*.conf.d "$root$base/etc/$project"/conf.d/*; do
      if [ -d "$folder" ]; then want_folder "${folder#"$root"}" .conf; fi
    done
    for dist in "$root$base/usr/share/$project"/*-dist.conf; do
      if [ -e "$dist" ]; then want "${dist#"$root"}"; fi
    done
    set -f
    for home in "/var/lib/$project" /root; do
      want "$base$home/.$project/$project.conf"
      want "$base$home/$project.conf"
    done
    want "$base/etc/$project.conf"
    case $project in
      neutron)
        want_folder "$base/etc/neutron/plugins/ml2" .ini
        want_folder "$base/etc/neutron" .ini
        ;;
    esac
  done
}

want_rabbit() {
  want "$base/etc/rabbitmq/rabbitmq.conf"
  want "$base/etc/rabbitmq/advanced.config"
  want "$base/etc/rabbitmq/rabbitmq.config"
  want "$base/etc/rabbitmq/rabbitmq-env.conf"
  want "$base/etc/rabbitmq/enabled_plugins"
  want_folder "$base/etc/rabbitmq/conf.d" .conf
}

want_sysctl() {
  for folder in /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d; do
    want_folder "$folder" .conf
  done
  # Where /lib is not a link to /usr/lib, systemd reads it too.
  if [ ! -L "$root/lib" ]; then want_folder /lib/sysctl.d .conf; fi
  want /etc/sysctl.conf
}

# Versions are in the names of these folders: nothing is opened.
versions() {
  [ -d "$1" ] || return 0
  if [ ! -r "$1" ]; then
    printf '%s\n' "$1/"
    return
  fi
  for found in "$1"/oslo[._]messaging-[0-9]*-info "$1"/oslo[._]config-[0-9]*-info \
    "$1"/amqp-[0-9]*-info "$1"/kombu-[0-9]*-info; do
    if [ -e "$found" ]; then printf '%s\n' "$found"; fi
  done
}

packages() {
  set +f
  for site in "$root$base"/usr/lib*/python*/*-packages "$root$base"/usr/local/lib*/python*/*-packages \
    "$root$base"/openstack/venvs/*/lib/python*/*-packages "$root$base"/opt/*/lib/python*/*-packages \
    "$root$base"/var/lib/kolla/venv/lib/python*/*-packages \
    "$root$base"/var/lib/openstack/lib/python*/*-packages; do
    versions "$site"
  done
  for found in "$root$base"/usr/lib/rabbitmq/lib/rabbitmq_server-[0-9]* \
    "$root$base"/opt/rabbitmq_server-[0-9]* "$root$base"/usr/local/lib/erlang/lib/rabbitmq_server-[0-9]* \
    "$root$base"/opt/rabbitmq/plugins/rabbit-[0-9]*; do
    if [ -e "$found" ]; then printf '%s\n' "$found"; fi
  done
  set -f
}

# The same in virtual environments that processes were found to use.
environments() {
  set +f
  for environment in $environments; do
    for site in "$root$environment"/lib*/python*/*-packages; do versions "$site"; done
  done
  set -f
}

# Which container is the process in? Sets inside to ENGINE:ID, or to nothing; adds its unit to units.
locate() {
  inside=
  while IFS= read -r line; do
    case $line in
      */libpod-conmon-*) ;;
      */docker-*.scope*) inside=${line##*/docker-}; inside=docker:${inside%%.scope*} ;;
      */docker/*) inside=${line##*/docker/}; inside=docker:${inside%%/*} ;;
      */libpod-*) inside=${line##*/libpod-}; inside=${inside%%/*}; inside=podman:${inside%.scope} ;;
      */lxc.payload.*) inside=${line##*/lxc.payload.}; inside=lxc:${inside%%/*} ;;
      */lxc/*) inside=${line##*/lxc/}; inside=lxc:${inside%%/*} ;;
      */system.slice/*.service*)
        unit=${line##*/system.slice/}
        while :; do
          case $unit in
            *.slice/*) unit=${unit#*.slice/} ;;
            *) break ;;
          esac
        done
        unit=${unit%%/*}
        case "$nl$found_units" in
          *"$nl$unit$nl"*) ;;
          *) found_units="$found_units$unit$nl" ;;
        esac
        ;;
    esac
    [ -z "$inside" ] || break
  done <"$root/proc/$1/cgroup"
}

# Live kernel settings, what /proc says about the processes, and the clock.
processes() {
  found=
  if [ "$full" = yes ]; then
    set +f
    set -- "$root"/proc/[0-9]*/cmdline
    set -f
    found=$(grep -lzasE -e "$pattern" "$@")
  fi
  lines=
  environs=
  for path in $found; do
    path=${path%/cmdline}
    pids="$pids${path##*/}$nl"
    lines="$lines$path/cmdline$nl$path/stat$nl$path/cgroup$nl"
    links="$links$path/cwd$nl$path/ns/net$nl"
    # Only Erlang machines can be brokers; a name that cannot be read may be one.
    comm=beam
    if [ -r "$path/comm" ]; then read -r comm <"$path/comm"; fi
    case $comm in beam*) erlang="$erlang$path/cmdline$nl" ;; esac
    if [ -r "$path/environ" ]; then
      environs="$environs$path/environ$nl"
    elif [ -e "$path/environ" ]; then
      denied="$denied${path#"$root"}/environ$nl"
    fi
  done
  for key in $sysctls; do
    path=/proc/sys/$key
    if [ -r "$root$path" ]; then
      lines="$lines$root$path$nl"
    elif [ -e "$root$path" ]; then
      denied="$denied$path$nl"
    else
      missing "$path"
    fi
  done
  part proc
  grep -zaHs -e '' $lines "$root/proc/stat" /proc/uptime
  part clock
  if [ -n "$root" ]; then grep -s -e '^btime' /proc/stat; fi
  [ -n "$pids" ] || return 0
  part environ
  [ -z "$environs" ] ||
    grep -zaHsE -e '^(OS_|RABBITMQ_|PYTHONPATH=|HOME=|VIRTUAL_ENV=)' $environs /dev/null
  links="$links$root/proc/self/ns/net$nl$root/proc/1/ns/net$nl"
  [ -z "$erlang" ] || brokers=$(grep -lzasxF -e rabbit $erlang)
  for pid in $pids; do
    locate "$pid"
    [ -n "$inside" ] || continue
    part inside "$pid" "$inside"
    case "$containers" in
      *"$inside$nl"*) ;;
      *) containers="$containers$pid $inside$nl" ;;
    esac
  done
}

# The broker of this host, if its node runs: the words that reach it.
broker() {
  for path in $brokers; do
    pid=${path%/cmdline}
    pid=${pid##*/}
    locate "$pid"
    rabbit=host
    rabbit_pid=$pid
    case $inside in
      '') if ! has rabbitmqctl; then rabbit=; fi ;;
      *) rabbit=$inside ;;
    esac
    return
  done
}

# One of RabbitMQ's tools, where the broker is.
tool() {
  case $rabbit in
    host) within "$patience" "$@" ;;
    docker:*) within "$patience" docker exec "${rabbit#*:}" "$@" ;;
    podman:*) within "$patience" podman exec "${rabbit#*:}" "$@" ;;
    *) within "$patience" nsenter -t "$rabbit_pid" -m -u -i -n -p -r "$@" ;;
  esac </dev/null 2>&1
  status "$?"
}

ctl() { tool rabbitmqctl -q "$@"; }

# Only just before the node is stopped: it costs as much as a listing.
quorum() {
  [ "$quorum" = yes ] || return 0
  part rabbit check_if_node_is_quorum_critical
  tool rabbitmq-diagnostics -q check_if_node_is_quorum_critical
}

# Tables and not JSON: they name the node of each connection, and every release since 3.6 writes them.
connections() {
  ctl list_connections pid port peer_host peer_port state timeout connected_at user vhost client_properties
}

queues() { ctl list_queues name consumers messages_unacknowledged; }

other_queues() {
  for name in $virtual_hosts; do
    part vhost "$name"
    ctl list_queues -p "$name" name consumers messages_unacknowledged
  done
}

services() {
  [ "$full" = yes ] || [ -n "$asked_units" ] || return 0
  set +f
  for folder in etc run usr/local/lib usr/lib lib; do
    for place in "$root/$folder/systemd/system" "$root/$folder/systemd/generator" \
      "$root/$folder/systemd/generator.late"; do
      [ -d "$place" ] || continue
      for name in $units; do
        for path in "$place"/$name; do
          if [ -e "$path" ] || [ -L "$path" ]; then
            name=${path##*/}
            case "$nl$found_units" in
              *"$nl$name$nl"*) ;;
              *) found_units="$found_units$name$nl" ;;
            esac
          fi
        done
      done
    done
  done
  set -f
  found_units="$found_units$asked_units"
  [ -n "$found_units" ] || return 0
  has systemctl || return 0
  if [ -z "$root" ] && [ ! -d /run/systemd/system ]; then return 0; fi
  part units
  # It gives up by itself when systemd does not answer (sd-bus, 25 s).
  systemctl show --no-pager \
    --property=Id,Names,ActiveState,SubState,LoadState,UnitFileState,MainPID,NRestarts,DropInPaths \
    -- $found_units 2>&1
  status "$?"
}

engines() {
  format='{{.ID}}\t{{.Names}}\t{{.Image}}\t{{.State}}\t{{.Networks}}'
  if [ -S "$root/run/docker.sock" ] && has docker; then
    part engine docker
    within "$patience" docker ps -a --no-trunc --format "$format" 2>&1
    status "$?"
  fi
  if [ -d "$root/var/lib/containers/storage" ] && has podman; then
    part engine podman
    within "$patience" podman ps -a --no-trunc --format "$format" 2>&1
    status "$?"
  fi
}

sockets() {
  [ "$sockets" = yes ] || return 0
  has ss || return 0
  filter=
  for port in $ports; do filter="${filter:+$filter or }sport = :$port or dport = :$port"; done
  part sockets
  "$@" ss -tnopH ${filter:+"( $filter )"} 2>&1
  status "$?"
}

# Containers with a kernel namespace of their own, and the files their services read.
inside_containers() {
  own=
  [ -z "$containers" ] || own=$(readlink "$root/proc/self/ns/net")
  for line in $containers; do
    pid=${line%% *}
    base=/proc/$pid/root
    if [ ! -x "$root$base/" ]; then denied="$denied$base/$nl"; continue; fi
    want_projects
    want_rabbit
    part packages "$pid"
    packages
    net=$(readlink "$root/proc/$pid/ns/net")
    if [ -n "$net" ] && [ "$net" != "$own" ] && has nsenter; then
      lines=
      for key in $sysctls; do lines="$lines/proc/sys/$key$nl"; done
      part namespace "$net"
      within "$patience" nsenter -t "$pid" -n grep -zaHs -e '' $lines
      sockets within "$patience" nsenter -t "$pid" -n
    fi
  done
  base=
}

# A read-only command of the playbook: its standard output, then its last words and exit code. The tail
# and not the head of what it complains, because the exit code is written behind it.
command_of() {
  part command "$1"
  shift
  exec 4>&1
  words=$(
    {
      {
        within 30 "$@" 2>&3 </dev/null
        printf '\n%s status %s\n' "$token" "$?" >&3
      } | head -c 65536 >&4
    } 3>&1 | tail -c 4200
  )
  part stderr
  printf '%s\n' "$words"
}

# Only the lines that make a traceback, of at most 1 MiB; the first word is the question's number.
tracebacks() {
  tail -c 1048576 | grep -aE -e 'Traceback \(most|[ :]ERROR |[ :]CRITICAL |[ :]TRACE |^[A-Za-z_][A-Za-z0-9_.]*(:|$)|\]: [A-Za-z_][A-Za-z0-9_.]*(:|$)' |
    tail -n 4000
}

# A service's log: its file (a file below a container's root too), its journal.
log_of() {
  if [ -n "$2" ]; then
    part log "$1"
    if [ -f "$root$2" ] && [ -r "$root$2" ]; then
      tracebacks <"$root$2"
      status 0
    elif [ -e "$root$2" ]; then
      status 1
    else
      status 0
    fi
  fi
  if [ -n "$3" ] && has journalctl; then
    part log "$1"
    within "$patience" journalctl -q --no-pager -o short-iso -n 4000 -u "$3" | tracebacks
    status 0
  fi
}

# One archive at the end: exact bytes, owner, mode and time of every file, by one process.
contents() {
  listed=
  [ -z "$files$links" ] || listed=$(ls -ld $files $links)
  part links
  printf '%s\n' "$listed"
  large=$nl
  for line in $listed; do
    case $line in
      -*)
        # Mode, links, owner, group, size, month, day, time or year, and the name.
        IFS=' '
        set -- $line
        IFS=$nl
        if [ "$5" -gt 1048576 ]; then large="$large${line#*" $8 "}$nl"; fi
        ;;
    esac
  done
  if [ "$large" != "$nl" ]; then
    kept=
    for name in $files; do
      case "$large" in
        *"$nl$name$nl"*) ;;
        *) kept="$kept$name$nl" ;;
      esac
    done
    files=$kept
    part large
    printf '%s' "$large"
  fi
  owners
  part absent
  printf '%s' "$absent"
  part denied
  printf '%s' "$denied"
  part special
  printf '%s' "$special"
  part files
  printf '%s' "$files"
  [ -n "$files" ] || return 0
  part tar
  tar -chf - $files
}

# What package tools did lately, and when. Their logs are in the host's own time.
packaged() {
  [ "$history" = yes ] || return 0
  part zone
  date +%z
  if [ -r "$root/var/log/dpkg.log" ]; then
    part dpkg
    grep -shE -e '^[-0-9]+ [:0-9]+ (install|upgrade|configure|remove|purge) ' \
      "$root/var/log/dpkg.log.1" "$root/var/log/dpkg.log" | tail -n 500
    part apt
    grep -shE -e '^(Start-Date|Commandline|Requested-By|End-Date): ' "$root/var/log/apt/history.log" |
      tail -n 300
  fi
  if has rpm; then
    part rpm
    within "$patience" rpm -qa --queryformat '%{INSTALLTIME} %{NAME} %{VERSION}-%{RELEASE}\n'
  fi
}

# The packages of the files that are read.
owners() {
  [ "$history" != no ] && [ -n "$files" ] || return 0
  if [ -d "$root/var/lib/dpkg/info" ]; then
    words=
    for name in $files; do
      case $name in proc/*) ;; *) words="$words-e$nl/$name$nl" ;; esac
    done
    [ -n "$words" ] || return 0
    part owners
    set +f
    set -- "$root"/var/lib/dpkg/info/*.list
    set -f
    grep -sHxF $words -- "$@"
  elif has rpm; then
    for name in $files; do
      case $name in proc/*) continue ;; esac
      part owner "/$name"
      within "$patience" rpm -qf --queryformat '%{NAME}\n' "/$name"
      status "$?"
    done
  fi
}

gather() {
  asked
  if [ "$full" = yes ]; then
    want_sysctl
    want_projects
    want_rabbit
    want /etc/os-release
    for folder in /etc/kolla /openstack/venvs /var/lib/config-data/puppet-generated; do
      want_names "$folder"
    done
    part packages host
    packages
    inside_containers
    engines
  fi
  if [ -n "$environments" ]; then
    part packages host
    environments
  fi
  services
  sockets
  other_queues
  commands
  logs
}

finish() {
  packaged
  contents
  part end
}

main() {
  umask 077
  nl='
'
  IFS=$nl
  set -f
  unset GREP_OPTIONS GREP_COLORS TAR_OPTIONS POSIXLY_CORRECT CDPATH ENV BASH_ENV
  LC_ALL=C
  PATH=${root:+$root/bin:$root/usr/sbin:$root/usr/bin:$root/sbin:}$PATH:/usr/local/sbin:/usr/sbin:/sbin
  export LC_ALL PATH
  bounded=
  if command -v timeout >/dev/null 2>&1; then bounded=yes; fi
  base= files= absent= denied= special= links= pids= found_units= containers= erlang= brokers=
  seen=$nl
  cd "$root/" || return
  part begin
  while IFS=' 	' read -r key _ uid _; do
    if [ "$key" = Uid: ]; then break; fi
  done </proc/self/status
  hostname=
  if [ -r "$root/proc/sys/kernel/hostname" ]; then read -r hostname <"$root/proc/sys/kernel/hostname"; fi
  [ -n "$hostname" ] || hostname=$(uname -n)
  printf '%s\n%s\n' "$uid" "$hostname"
  if [ -z "$root" ] && [ ! -r /proc/1/cmdline ]; then part hidden; fi
  processes
  broker
  if [ -z "$rabbit" ] || [ "$full" != yes ] || [ "$broker_too" = no ]; then
    gather
    finish
    return
  fi
  # Each call costs a second, so they run beside everything else; nothing is written to disk.
  ctl cluster_status --formatter json | {
    exec 7<&0 </dev/null
    connections | {
      exec 8<&0 </dev/null
      queues | {
        exec 9<&0 </dev/null
        quorum | {
          exec 6<&0 </dev/null
          gather
          part rabbit cluster_status
          cat <&7
          part rabbit list_connections
          cat <&8
          part rabbit list_queues
          cat <&9
          cat <&6
          finish
        }
      }
    }
  }
}

main </dev/null 2>/dev/null
exit 0
