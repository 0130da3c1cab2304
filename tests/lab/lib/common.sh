# shellcheck shell=bash
# What every command of the lab shares: where things are, how a host is reached, how to refuse.

HOSTS=(ctl1 ctl2 ctl3)
NAME=${TRUEUP_LAB:-lab}
[[ $NAME =~ ^[a-z][a-z0-9]{0,7}$ ]] || { echo "lab: TRUEUP_LAB must be 1 to 8 of a-z and 0-9" >&2; exit 1; }
CACHE=${XDG_CACHE_HOME:-/var/cache}/trueup-lab
RUN=/run/trueup-lab/$NAME
NETNS=trueup-$NAME            # holds the bridge; trueup and every client run in it
SUBNET=10.77.0                # exists only inside the lab's namespaces
PROJECT=1ab00000000000000000000000000001   # Cinder takes hexadecimal ids only

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# phase TEXT COMMAND...: runs it and says how long it took.
phase() {
    local text=$1 start=$EPOCHREALTIME
    shift
    "$@"
    printf 'lab: %-46s %5.1f s\n' "$text" "$(seconds_between "$EPOCHREALTIME" "$start")" >&2
}
seconds_between() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a - b }'; }

netns_of() { echo "trueup-$NAME-$1"; }
address_of() { echo "$SUBNET.1${1#ctl}"; }
index_of() { echo "${1#ctl}"; }

# The cgroup of each host is the one record of what the lab has started: `down` ends what is in it.
cgroup_roots() {
    awk '$3 == "cgroup2" || ($3 == "cgroup" && $4 ~ /name=systemd/) { print $2 }' /proc/mounts
}

# The host's systemd, as a pid of this machine: the supervisor's grandchild that is pid 1 of its namespace.
init_of() {
    local supervisor nspawn child
    supervisor=$(cat "$RUN/$1.pid" 2>/dev/null) || return 1
    for nspawn in $(pgrep -P "$supervisor" systemd-nspawn); do
        for child in $(pgrep -P "$nspawn"); do
            [[ $(awk '/^NSpid:/ { print $NF }' "/proc/$child/status") == 1 ]] && { echo "$child"; return; }
        done
    done
    return 1
}

# inside HOST COMMAND...: as root in the host, without SSH.
inside() {
    local init
    init=$(init_of "$1") || { say "$1 is not up"; return 1; }
    shift
    nsenter --target "$init" --mount --uts --ipc --net --pid --root --wd -- "$@"
}

# everywhere COMMAND...: `inside` on all hosts at once; fails if one fails.
everywhere() {
    local host pids=() pid failed=0
    for host in "${HOSTS[@]}"; do
        inside "$host" "$@" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    return $failed
}

# until_ok SECONDS WHAT COMMAND...: polls until the command succeeds.
until_ok() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { say "gave up waiting for $what"; return 1; }
        sleep 0.3
    done
}

is_up() { [[ -d $RUN ]] && init_of "${HOSTS[0]}" >/dev/null; }
