"""One host of a lab under test: what stands in its files and runs, traps for its commands, and the way back."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import stat
import subprocess
import time

import labhosts

UNITS = ("rabbitmq-server", "cinder-api", "cinder-scheduler", "cinder-volume")
SYSCTLS = ("tcp_keepalive_time", "tcp_keepalive_intvl", "tcp_keepalive_probes", "tcp_retries2")
TRAPS = "/run/lab-traps"
TRUEUP = "/var/lib/trueup"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file of a host: what it is, whose, and what is in it (a link's target)."""

    mode: int
    owner: int
    group: int
    digest: str


def entry(path):
    """None where there is nothing."""
    try:
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            digest = "directory"
        elif stat.S_ISLNK(found.st_mode):
            digest = os.readlink(path)
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Entry(found.st_mode, found.st_uid, found.st_gid, digest)


def changes(old, new):
    """What the new image has otherwise: {path: Entry, or None where it has nothing}."""
    return {path: new.get(path) for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)}


def changed(old, delta):
    """The image after these changes."""
    return {path: found for path, found in {**old, **delta}.items() if found is not None}


def standing(now, old, delta):
    """`old`, `new`, or what is neither: the image of a host against what it was and what it was to become.

    An image without the changes' own paths is no image of either.
    """
    strange = sorted(changes(changed(old, delta), now).keys() - delta.keys())
    if strange:
        return f"neither: {', '.join(strange)}"
    is_old = {path for path in delta if now.get(path) == old.get(path)}
    is_new = {path for path in delta if now.get(path) == delta[path]}
    if is_old == delta.keys():
        return "old"
    if is_new == delta.keys():
        return "new"
    other = sorted(delta.keys() - is_old - is_new)
    if other:
        return f"neither: {', '.join(other)}"
    return f"mixed: {', '.join(sorted(is_new - is_old))} new"


class Host:
    def __init__(self, name):
        self.name = name
        self._init = None
        self.kept = {}

    # How it is reached, without SSH and without the processes that a shell would cost.

    @property
    def init(self):
        """The pid, on this machine, of its systemd; another one after a reboot."""
        if self._init is None or not pathlib.Path(f"/proc/{self._init}").exists():
            self._init = labhosts.init_of(self.name)
        return self._init

    def path(self, path):
        return pathlib.Path(f"/proc/{self.init}/root{path}")

    def run(self, *command, check=True, **options):
        """As root in the host: what it printed."""
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        done = subprocess.run(
            ["nsenter", "--target", str(self.init), *spaces, "--", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            **options,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout

    def pids(self, under=""):
        """The pids, on this machine, of the processes of the host (of a unit's cgroup)."""
        found = []
        for pid in labhosts.pids():
            with contextlib.suppress(OSError):
                groups = pathlib.Path(f"/proc/{pid}/cgroup").read_text()
                if f"/trueup-{labhosts.NAME}-{self.name}" in groups and under in groups:
                    found.append(pid)
        return found

    def command_lines(self):
        """{pid: command line} of the host's processes."""
        lines = {}
        for pid in self.pids():
            with contextlib.suppress(OSError):
                lines[pid] = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return lines

    # What stands in its files and runs.

    def image(self):
        """{path: Entry} of everything below /etc."""
        root = self.path("")
        found = {}
        for folder, folders, files in os.walk(root / "etc"):
            for name in (*folders, *files):
                path = pathlib.Path(folder, name)
                there = entry(path)
                if there:
                    found[f"/{path.relative_to(root)}"] = there
        return found

    def sysctls(self):
        text = labhosts.in_network(self.name, "sysctl", "-n", *(f"net.ipv4.{key}" for key in SYSCTLS), stdout=subprocess.PIPE)
        return tuple(text.stdout.split())

    def units(self):
        """{unit: whether it is active}."""
        words = self.run("systemctl", "is-active", *UNITS, check=False).split()
        return dict(zip(UNITS, (word == "active" for word in words), strict=False))

    def service_pids(self, unit):
        return self.pids(f"/{unit}.service")

    def amqp(self, unit):
        """The established AMQP connections of a unit."""
        return labhosts.amqp_connections(self.init, self.service_pids(unit))

    def started(self, unit):
        """When the unit's first process started, in seconds since 1970; None where it has none."""
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        starts = []
        for pid in self.service_pids(unit):
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                starts.append(boot + int(fields[19]) / TICKS)
        return min(starts, default=None)

    def holder(self):
        """The run that holds the host, if any does."""
        with contextlib.suppress(OSError):
            return os.readlink(self.path(f"{TRUEUP}/lock"))
        return None

    def leftovers(self):
        """What a run that is over must not leave: locks, units, timers, processes, temporary files."""
        found = [f"lock of {self.holder()}"] if self.holder() else []
        listed = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "trueup*", check=False)
        units = [line.split() for line in listed.splitlines() if line.strip()]
        # Of a unit whose file is gone systemd remembers, until it reads its files again, that it has ended well.
        gone = [unit for unit in units if unit[2] == "inactive" and not self.path(f"/etc/systemd/system/{unit[0]}").exists()]
        found += [f"unit {unit[0]} ({unit[2]})" for unit in units if unit not in gone]
        found += [f"process {line[:60]}" for line in self.command_lines().values() if "trueup:begin" in line or f"{TRUEUP}/" in line]
        return [f"{self.name}: {one}" for one in found]

    def standings(self):
        """{run: how it stands} as the host itself has written it down."""
        found = {}
        with contextlib.suppress(OSError):
            for run in sorted(os.listdir(self.path(TRUEUP))):
                with contextlib.suppress(OSError):
                    found[run] = self.path(f"{TRUEUP}/{run}/standing").read_text().strip()
        return found

    def remains(self):
        """What runs before this have left, finished or not."""
        return [path for path in (TRUEUP, "/etc/sysctl.d/60-trueup.conf", "/etc/rabbitmq/conf.d/50-trueup.conf") if self.path(path).exists()]

    def forget(self):
        """Ends what runs have left to act on the host."""
        self.run("systemctl", "stop", "trueup*", check=False)
        boot = "/etc/systemd/system/trueup-failsafe.service", "/etc/systemd/system/multi-user.target.wants/trueup-failsafe.service"
        self.run("rm", "-rf", TRUEUP, *boot)

    # Traps.

    def shim(self, program):
        folder = "/usr/local/bin" if program == "sudo" else "/usr/local/sbin"
        target = self.path(f"{folder}/{program}")
        target.write_bytes((labhosts.HERE / "host/shim").read_bytes())
        target.chmod(0o755)

    def trap(self, name, program, words, when, nth=1):
        """The host holds the nth command that matches until it is let go."""
        self.shim(program)
        folder = self.path(f"{TRAPS}/.{name}")
        folder.mkdir(parents=True)
        for file, text in (("program", program), ("words", words), ("when", when), ("nth", nth)):
            (folder / file).write_text(f"{text}\n")
        folder.chmod(0o777)
        # Whole at once.
        folder.rename(self.path(f"{TRAPS}/{name}"))

    def trapped(self, name):
        with contextlib.suppress(OSError, RuntimeError):
            return self.path(f"{TRAPS}/{name}/hit").exists()
        return False

    def let_go(self, name):
        with contextlib.suppress(OSError):
            self.path(f"{TRAPS}/{name}/go").touch()

    def untrap(self):
        for trap in self.path(TRAPS).glob("*") if self.path(TRAPS).exists() else ():
            self.let_go(trap.name)
        self.run("rm", "-rf", TRAPS)
        self.run("find", "/usr/local/bin", "/usr/local/sbin", "-type", "f", "-delete")

    # The way back.

    def keep(self):
        """Remembers the host as it is now: bytes, modes, owners, times, kernel settings."""
        root = self.path("")
        self.old = self.image()
        self.old_sysctls = self.sysctls()
        for path, there in self.old.items():
            file = root / path[1:]
            if stat.S_ISREG(there.mode):
                self.kept[path] = file.read_bytes(), file.stat().st_mtime_ns

    def restore(self):
        """Puts every file and kernel setting back as it was kept; says whether any file was another."""
        other = changes(self.old, self.image())
        for path, there in sorted(other.items(), reverse=True):
            file = self.path(path)
            if path not in self.old:
                file.rmdir() if stat.S_ISDIR(there.mode) else file.unlink()
        for path, there in sorted(changes(self.image(), self.old).items()):
            file = self.path(path)
            if stat.S_ISDIR(there.mode):
                file.mkdir(exist_ok=True)
            elif stat.S_ISLNK(there.mode):
                file.unlink(missing_ok=True)
                file.symlink_to(there.digest)
                continue
            else:
                file.write_bytes(self.kept[path][0])
            os.chown(file, there.owner, there.group)
            file.chmod(stat.S_IMODE(there.mode))
        for path, (_, modified) in self.kept.items():
            file = self.path(path)
            if file.stat().st_mtime_ns != modified:
                os.utime(file, ns=(modified, modified))
        pairs = [f"net.ipv4.{key}={value}" for key, value in zip(SYSCTLS, self.old_sysctls, strict=True)]
        labhosts.in_network(self.name, "sysctl", "-q", *pairs)
        return bool(other)


def cluster_problems(asked):
    """What is wrong with the RabbitMQ cluster, as one of its nodes says."""
    try:
        status = json.loads(asked.run("rabbitmqctl", "--quiet", "cluster_status", "--formatter", "json", timeout=60))
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
        return [f"the cluster does not answer: {error}"[:200]]
    problems = [f"rabbit@{host} does not run" for host in labhosts.HOSTS if f"rabbit@{host}" not in status["running_nodes"]]
    problems += [f"partitions: {status['partitions']}"] if status["partitions"] else []
    problems += [f"alarms: {status['alarms']}"] if status["alarms"] else []
    return problems


def heartbeats(asked, hosts, unit):
    """{host: the heartbeats, in seconds, that a unit's connections there have in fact}."""
    listed = asked.run("rabbitmqctl", "--quiet", "--no-table-headers", "list_connections", "peer_host", "peer_port", "timeout", timeout=60)
    rows = {(peer, int(port)): int(timeout) for peer, port, timeout in (line.split("\t") for line in listed.splitlines())}
    return {host.name: sorted({rows[key[:2]] for key in host.amqp(unit) if key[:2] in rows}) for host in hosts}
