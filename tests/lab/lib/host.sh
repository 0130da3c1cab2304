#!/bin/bash
# One host from its first boot to its end: host.sh NAME HOST BASE, in a mount namespace of its own, so that its
# mounts end with its last process. Ends when the host powers off; a reboot boots it again.
set -euo pipefail
TRUEUP_LAB=$1 host=$2 base=$3
LAB=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/lab/lib/common.sh
source "$LAB/lib/common.sh"
# shellcheck source=tests/lab/lib/config.sh
source "$LAB/lib/config.sh"

while read -r cgroups; do
    mkdir -p "$cgroups/trueup-$NAME-$host"
    echo $$ >"$cgroups/trueup-$NAME-$host/cgroup.procs"
done < <(cgroup_roots)

dir=$RUN/$host
mount -t tmpfs -o mode=755,size=4g tmpfs "$dir"
mkdir "$dir"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
load_settings
write_identity "$dir/root" "$host"
write_config "$dir/root" "$host"

while :; do
    # A real boot starts from the kernel's defaults; the namespace would keep what it had.
    nsenter --net="/run/netns/$(netns_of "$host")" sysctl -q net.ipv4.tcp_keepalive_time=7200 \
        net.ipv4.tcp_keepalive_intvl=75 net.ipv4.tcp_keepalive_probes=9 net.ipv4.tcp_retries2=15
    code=0
    SYSTEMD_NSPAWN_API_VFS_WRITABLE=network SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --boot \
        -D "$dir/root" -M "$NAME-$host" --hostname="$host" --network-namespace-path="/run/netns/$(netns_of "$host")" \
        --register=no --keep-unit --capability=CAP_NET_ADMIN --resolv-conf=off --timezone=off --link-journal=no \
        --console=pipe || code=$?
    ((code == 133)) || exit "$code"
done
