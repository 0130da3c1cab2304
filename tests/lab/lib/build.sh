# shellcheck shell=bash
# The base root: a Debian with everything a controller needs, shared read-only by all hosts.

BASE_RECIPE=("$LAB/base" "$LAB/lib/build.sh")
base_root() { echo "$CACHE/base-$(find "${BASE_RECIPE[@]}" -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-16)"; }

# Says everything that is missing, then fails; silent where the lab can run.
check_machine() {
    local missing=() pair
    ((EUID == 0)) || missing+=("it needs root: namespaces, mounts and cgroups")
    [[ -e /etc/debian_version ]] || missing+=("it needs Debian: the hosts are built with its debootstrap and apt settings")
    for pair in debootstrap:debootstrap systemd-nspawn:systemd-container nft:nftables ssh:openssh-client \
        ssh-keygen:openssh-client ip:iproute2 ss:iproute2 unshare:util-linux nsenter:util-linux \
        pgrep:procps curl:curl python3:python3 wget:wget; do
        command -v "${pair%:*}" >/dev/null || missing+=("no \`${pair%:*}\`: apt-get install ${pair#*:}")
    done
    /usr/bin/python3 -c 'import yaml' 2>/dev/null || missing+=("no yaml for /usr/bin/python3: apt-get install python3-yaml")
    [[ -n $(cgroup_roots) ]] || missing+=("no cgroup v2 or name=systemd hierarchy is mounted")
    grep -qw overlay /proc/filesystems || modprobe -q overlay 2>/dev/null || missing+=("the kernel has no overlayfs")
    ((${#missing[@]} == 0)) && return
    say "cannot run here:"
    printf '  - %s\n' "${missing[@]}" >&2
    return 1
}

# The machine's own Debian sources, one `deb` line each: no mirror is named in this project.
debian_sources() {
    apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
        awk -F'|' '$1 == "Debian" { print "deb " $2 " " $3 " " $4 }' | sort -u
}

build_base() {
    local root work
    root=$(base_root)
    [[ -d $root ]] && return
    mkdir -p "$CACHE"
    exec 8>"$CACHE/lock"
    flock 8
    [[ -d $root ]] && return
    work=$root.partial
    rm -rf --one-file-system "$work"
    say "building the base root (some minutes, once): $root"
    # In namespaces of its own, so that mounts and stray daemons end with the build however it ends.
    nice -n 10 unshare --mount --pid --fork --kill-child --mount-proc \
        bash -c 'set -euo pipefail; source "$1/lib/common.sh"; source "$1/lib/build.sh"; bootstrap "$2"' \
        bash "$LAB" "$work" >"$CACHE/build.log" 2>&1 8>&- || {
        tail -n 20 "$CACHE/build.log" >&2
        die "the base root could not be built: $CACHE/build.log"
    }
    mv "$work" "$root"
    forget_old_bases "$root"
}

bootstrap() {
    local root=$1 codename mirror proxy
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk -v c="$codename" '$1 == "Debian" && $2 == c { print $3; exit }')
    [[ -n $mirror ]] || { echo "apt knows no Debian $codename source here: run apt-get update"; return 1; }
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    [[ -z ${proxy:-} || $proxy == DIRECT ]] || export http_proxy=$proxy

    mkdir -p "$CACHE/debs"
    debootstrap --variant=minbase --include=ca-certificates --cache-dir="$CACHE/debs" "$codename" "$root" "$mirror"

    debian_sources >"$root/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(http|https|Retries|ForceIPv)' >"$root/etc/apt/apt.conf.d/00lab" || true
    cp -a /etc/apt/trusted.gpg.d/. "$root/etc/apt/trusted.gpg.d/"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    mkdir -p "$root/usr/local/share/ca-certificates"
    cp -a /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
    cp "$LAB/base/packages" "$LAB/base/provision" "$root/tmp/"
    mount --bind /proc "$root/proc"
    chroot "$root" /bin/sh /tmp/provision
    rm -f "$root/tmp/packages" "$root/tmp/provision" "$root/etc/resolv.conf"
    umount "$root/proc"
}

# A base that no lab has mounted and no recipe names any more is disk space.
forget_old_bases() {
    local old
    for old in "$CACHE"/base-*; do
        [[ $old == "$1" ]] && continue
        grep -qsF "$old" /proc/[0-9]*/mounts || rm -rf --one-file-system "$old"
    done
}
