"""What goes wrong in a case: each action does it to the trial's hosts and leaves behind how it is undone."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import faulthost
import labhosts

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def clock(hours):
    """The environment of an operator whose clock is this many hours off; intervals stay what they are."""
    if not hours:
        return {}
    return {"LD_PRELOAD": FAKETIME, "FAKETIME": f"{hours:+d}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def of_session(leader):
    """Processes that a run has left on the operator's machine: those of its session."""
    found = []
    for pid in labhosts.pids():
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(f"operator: process {pathlib.Path(f'/proc/{pid}/comm').read_text().strip()}")
    return found


def send(trial, name):
    """A signal to trueup, and to nothing that it started."""
    before = trial.said()
    trial.process.send_signal(signal.Signals[f"SIG{name}"])
    # It answers a first one; the next would otherwise come before it listens for it.
    until = time.monotonic() + 3
    while name != "KILL" and trial.said() == before and trial.process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    if name == "KILL":
        trial.process.wait()


def cut(trial, _what):
    """Every SSH session of the operator on the host ends; new ones are welcome."""
    for pid, line in trial.faulty.command_lines().items():
        if line.startswith("sshd: ops"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def table(host, name, rules):
    """Packet filter rules for both directions; what takes them away."""
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {'; '.join(lines)}; }}\n" for hook, lines in rules.items()
    )
    labhosts.in_network(host.name, "nft", "-f", "-", input=f"table inet {name} {{\n{chains}}}\n")

    def away():
        where = f"--net=/run/netns/trueup-{labhosts.NAME}-{host.name}"
        subprocess.run(["nsenter", where, "nft", "delete", "table", "inet", name], stderr=subprocess.DEVNULL, check=False)

    return away


def drop(trial, seconds):
    """No packet of SSH gets through, for so many seconds or (`for good`) until the end of the case."""
    away = table(trial.faulty, "lab_ssh", {"input": ["tcp dport 22 drop"], "output": ["tcp sport 22 drop"]})
    trial.undo.callback(away)
    if seconds != "for good":
        timer = threading.Timer(seconds, away)
        timer.daemon = True
        timer.start()


def reboot(trial, how):
    """The host boots again while the run is under way: `hard` stops nothing first."""
    labhosts.lab("reboot", trial.faulty.name, *(["--hard"] if how == "hard" else []), stderr=subprocess.DEVNULL)


def readonly(trial, path):
    """A part of the host's root can only be read, as after an error of its disk."""
    host = trial.faulty
    host.run("mount", "--bind", path, path)
    host.run("mount", "-o", "remount,bind,ro", path)
    trial.undo.callback(lambda: host.run("umount", "--lazy", path, check=False))


def full(trial, path):
    """No byte is left: of a small file system of its own below `path`, or of the host's disk (`disk`)."""
    host = trial.faulty
    if path == "disk":
        supervisor = (labhosts.RUN / f"{host.name}.pid").read_text().strip()
        disk = str(labhosts.RUN / host.name)

        def limit(size):
            words = ["nsenter", "--target", supervisor, "--mount", "mount", "-o", f"remount,size={size}", disk]
            subprocess.run(words, check=True, stderr=subprocess.PIPE)

        # Half of `lab up`'s limit is not used: what can be taken away at once is.
        fields = os.statvfs(f"/proc/{supervisor}/root{disk}")
        limit((fields.f_blocks - fields.f_bfree) * fields.f_frsize)
        trial.undo.callback(lambda: limit("4g"))
        return
    # The folder is a part of a file system that something else has filled.
    small = "/run/lab-full"
    host.run("sh", "-c", f"mkdir -p {path} {small} && mount -t tmpfs -o size=64k tmpfs {small} && cp -a {path} {small}/folder")
    host.run("sh", "-c", f"cat /dev/zero >{small}/filler", check=False)
    host.run("mount", "--bind", f"{small}/folder", path)
    before = contents(host, path)

    def empty():
        # What is in it goes with it, so it is looked at now. What trueup keeps of itself is another matter.
        if not path.startswith("/var/") and contents(host, path) != before:
            trial.seen.left.append(f"{host.name}: {path} is another when its disk was full")
        host.run("umount", "--lazy", path, small, check=False)

    trial.undo.callback(empty)


def contents(host, folder):
    return {path.name: faulthost.entry(path) for path in host.path(folder).iterdir()}


def sudo(trial, _what):
    """The operator's user may not become root any more."""
    host = trial.faulty
    host.run("mv", "/etc/sudoers.d/ops", "/run/lab-sudoers")
    trial.undo.callback(lambda: host.run("mv", "/run/lab-sudoers", "/etc/sudoers.d/ops"))


FILE = "/etc/cinder/cinder-scheduler.conf.d/rpc.conf"
PING = "/run/lab-ping"
SCHEDULER = f"""exec /usr/bin/python3 {PING}/cinder-scheduler %s --config-file=/etc/cinder/cinder.conf --config-file={PING}/ping.conf \\
  --config-dir={os.path.dirname(FILE)} --log-file=/var/log/cinder/cinder-scheduler.log"""
SERVICE = {
    "exits": ("exit 1", "Restart=no"),
    "exits with 0 after a while": ("timeout 8 /etc/init.d/cinder-scheduler systemd-start; exit 0", ""),
    "hangs": ("exec sleep infinity", ""),
    "answers": (SCHEDULER % "well", ""),
    "answers no call": (SCHEDULER % "deaf", ""),
    "crash-loops": ("exit 1", "Restart=always\nRestartSec=200ms\n[Unit]\nStartLimitIntervalSec=0"),
}


def service(trial, how):
    """cinder-scheduler does not bear the new value; or, where it can be called, it bears it."""
    broken, more = SERVICE[how]
    start = f"if grep -q \"^heartbeat_timeout_threshold = 15\" {FILE}; then {broken}; fi"
    for host in trial.hosts:
        ping = host.path(PING)
        ping.mkdir(exist_ok=True)
        (ping / "ping.conf").write_text("[DEFAULT]\nrpc_ping_enabled = true\n")
        (ping / "cinder-scheduler").write_bytes((labhosts.HERE / "host/cinder-scheduler").read_bytes())
        folder = host.path("/etc/systemd/system/cinder-scheduler.service.d")
        folder.mkdir()
        text = f"[Service]\nExecStart=\nExecStart=/bin/sh -c '{start}; exec /etc/init.d/cinder-scheduler systemd-start'\n{more}\n"
        (folder / "lab.conf").write_text(text)
        host.run("systemctl", "daemon-reload")


def whole_again(trial):
    until = time.monotonic() + 120
    while problems := faulthost.cluster_problems(trial.faulty):
        if time.monotonic() > until:
            raise RuntimeError(f"the cluster does not heal: {problems}")
        time.sleep(1)


def partition(trial, name):
    """A host's broker and the others do not reach each other any more, and know it."""
    host = trial.matrix.hosts[name]
    others = [address for name, address in labhosts.HOSTS.items() if name != host.name]
    ports, there = "{ 4369, 25672 }", f"{{ {', '.join(others)} }}"
    rules = {
        "input": [f"ip saddr {there} tcp dport {ports} drop", f"ip saddr {there} tcp sport {ports} drop"],
        "output": [f"ip daddr {there} tcp dport {ports} drop", f"ip daddr {there} tcp sport {ports} drop"],
    }
    away = table(host, "lab_partition", rules)
    # Pushed last, so that it is waited for after the rules are gone.
    trial.undo.callback(whole_again, trial)
    trial.undo.callback(away)
    mine = labhosts.HOSTS[host.name]
    for name in labhosts.HOSTS:
        only = "( sport = :25672 or dport = :25672 )" + ("" if name == host.name else f" and dst {mine}")
        labhosts.in_network(name, "ss", "-K", "-tnH", only, stdout=subprocess.DEVNULL)
    asked = next(other for other in trial.matrix.hosts.values() if other.name != host.name)
    wait(30, "the partition", lambda: f"rabbit@{host.name} does not run" in faulthost.cluster_problems(asked))


def alarm(trial, name):
    """The memory of a host's broker is said to be short: every publisher is blocked."""
    host = trial.matrix.hosts[name]
    host.run("rabbitmqctl", "--quiet", "set_vm_memory_high_watermark", "0.00001")
    trial.undo.callback(whole_again, trial)
    trial.undo.callback(lambda: host.run("rabbitmqctl", "--quiet", "set_vm_memory_high_watermark", "0.4"))
    wait(30, "the alarm", lambda: faulthost.cluster_problems(host))


def wait(seconds, what, done):
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(0.2)


def edit(trial, where):
    """Somebody changes a file of a host by hand: `HOST:PATH`, or `PATH` on the first."""
    name, _, path = where.rpartition(":")
    host = trial.matrix.hosts[name] if name else trial.faulty
    file = host.path(path)
    modified = file.stat().st_mtime_ns
    with file.open("a") as text:
        text.write("# by hand\n")
    # Nobody owes a restart for a remark.
    os.utime(file, ns=(modified, modified))
    # What it is then is what must stay.
    trial.old[host.name][path] = faulthost.entry(file)


def race(trial, wanted):
    """A second run for the same hosts, while the first is held; one that `waits` for it ends after that."""
    second = trial.start(trial.words("remediate"), name="second", clock=wanted.get("clock", 0))

    def judge():
        try:
            code = second.wait(timeout=120)
        except subprocess.TimeoutExpired:
            second.kill()
            code = second.wait()
        text = trial.said("second")
        if code != wanted["exit"]:
            trial.seen.problems.append(f"the second run exits {code}, expected {wanted['exit']}")
        trial.seen.problems += [f"the second run does not say `{words}`" for words in wanted.get("says", []) if not re.search(words, text)]

    if wanted.get("waits"):
        trial.undo.callback(judge)
    else:
        judge()


def date(trial, hours):
    """What the host's own scripts take for the time is this many hours off; the kernel's clock is everybody's."""
    for folder in ("/usr/local/bin", "/usr/local/sbin"):
        file = trial.faulty.path(f"{folder}/date")
        file.write_text(f'#!/bin/sh\nexec /usr/bin/date -d "{hours:+d} hours" "$@"\n')
        file.chmod(0o755)


ACTIONS = {
    "signal": send,
    "cut": cut,
    "drop": drop,
    "reboot": reboot,
    "readonly": readonly,
    "full": full,
    "sudo": sudo,
    "service": service,
    "partition": partition,
    "alarm": alarm,
    "edit": edit,
    "race": race,
    "date": date,
}
