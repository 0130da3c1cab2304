# shellcheck shell=bash
# Ends everything the lab started and removes everything it made; safe to run at any time, any number of times.

# Pids in the cgroups of a host, deepest groups included.
pids_of() {
    local cgroups
    while read -r cgroups; do
        find "$cgroups/trueup-$NAME-$1" -name cgroup.procs -exec cat {} + 2>/dev/null
    done < <(cgroup_roots) | sort -un
}

end_host() {
    local host=$1 pids cgroups supervisor tries=0
    # Before it has reached its cgroup a supervisor is known only by its pid.
    supervisor=$(cat "$RUN/$host.pid" 2>/dev/null || true)
    if [[ -n $supervisor ]] && tr '\0' ' ' 2>/dev/null <"/proc/$supervisor/cmdline" | grep -q "host.sh $NAME $host "; then
        kill -KILL "$supervisor" 2>/dev/null || true
    fi
    while pids=$(pids_of "$host") && [[ -n $pids ]]; do
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null || true
        ((tries++ < 100)) || { say "$host: processes do not end:" $pids; break; }
        sleep 0.1
    done
    while read -r cgroups; do
        find "$cgroups/trueup-$NAME-$host" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done < <(cgroup_roots)
}

# Everything of this lab that is still there, one line each; nothing when it is down.
remains() {
    local host cgroups
    for host in "${HOSTS[@]}"; do
        while read -r cgroups; do
            [[ ! -d $cgroups/trueup-$NAME-$host ]] || echo "cgroup $cgroups/trueup-$NAME-$host"
        done < <(cgroup_roots)
        [[ ! -e /run/netns/$(netns_of "$host") ]] || echo "namespace $(netns_of "$host")"
    done
    [[ ! -e /run/netns/$NETNS ]] || echo "namespace $NETNS"
    [[ ! -e $RUN ]] || echo "directory $RUN"
    grep -lsF "/trueup-$NAME-ctl" /proc/[0-9]*/cgroup | sed 's/^/process in /' || true
    grep -lsF "$RUN/" /proc/[0-9]*/mounts | sed 's/^/mount in /' || true
}

lab_down() {
    local host
    for host in "${HOSTS[@]}"; do end_host "$host"; done
    for host in "${HOSTS[@]}"; do ip netns del "$(netns_of "$host")" 2>/dev/null || true; done
    ip netns del "$NETNS" 2>/dev/null || true
    # The machine's init reaps what the supervisors leave to it, in its own time.
    for _ in {1..100}; do
        grep -qsF "/trueup-$NAME-ctl" /proc/[0-9]*/cgroup || break
        sleep 0.1
    done
    rm -rf --one-file-system "$RUN"
    rmdir /run/trueup-lab 2>/dev/null || true
    [[ ${1:-} == quiet ]] || { [[ -z $(remains) ]] && say "down" || { say "left behind:"; remains >&2; return 1; }; }
}
