"""The hosts of a running lab as the machine below them sees them: processes, sockets, files, REST calls."""

import http.client
import json
import os
import pathlib
import re
import subprocess
import urllib.error
import urllib.request

NAME = os.environ.get("TRUEUP_LAB", "lab")
RUN = pathlib.Path("/run/trueup-lab") / NAME
HERE = pathlib.Path(__file__).parent
HOSTS = {f"ctl{n}": f"10.77.0.1{n}" for n in (1, 2, 3)}
PROJECT = "1ab00000000000000000000000000001"
AMQP = 5672
ESTABLISHED = "01"


def lab(*arguments, **options):
    """Runs `tests/lab/lab` and gives what it printed."""
    command = [HERE / "lab", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def inside(host, *command, **options):
    return lab("inside", host, *command, **options)


def rabbitmqctl(host, *arguments):
    """The rows of a listing, as lists of strings. Its JSON would number pids anew in every run of the command."""
    printed = inside(host, "rabbitmqctl", "--quiet", "--no-table-headers", *arguments)
    return [line.split("\t") for line in printed.splitlines()]


def in_network(host, *command, **options):
    """Runs a command of this machine in the network namespace of a host."""
    where = f"/run/netns/trueup-{NAME}-{host}"
    return subprocess.run(["nsenter", f"--net={where}", *command], check=True, text=True, **options)


def enter_lab_network():
    """Moves this thread's process beside the hosts, so that it reaches their addresses."""
    with open(f"/run/netns/trueup-{NAME}") as namespace:
        os.setns(namespace.fileno(), os.CLONE_NEWNET) if hasattr(os, "setns") else _setns(namespace.fileno())


def _setns(descriptor):
    # os.setns is new in Python 3.12.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _parent_and_namespaced_pid(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^PPid:\s+(\d+)", text, re.M)[1]), int(re.search(r"^NSpid:.*?(\d+)$", text, re.M)[1])


def pids():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def init_of(host):
    """The pid, on this machine, of the host's systemd."""
    supervisor = int((RUN / f"{host}.pid").read_text())
    parents = {}
    for pid in pids():
        try:
            parents[pid] = _parent_and_namespaced_pid(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    for pid, (parent, namespaced) in parents.items():
        if namespaced == 1 and parents.get(parent, (0, 0))[0] == supervisor:
            return pid
    raise RuntimeError(f"{host} is not up")


def root_of(host):
    return pathlib.Path(f"/proc/{init_of(host)}/root")


def unit_pids(host, unit):
    """The processes of a systemd unit of a host, as pids of this machine."""
    listed = inside(host, "systemctl", "show", "-p", "ControlGroup", "--value", unit).strip()
    found = []
    for pid in pids():
        try:
            groups = pathlib.Path(f"/proc/{pid}/cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"trueup-{NAME}-{host}" in groups and listed and f"{listed}\n" in groups:
            found.append(pid)
    return found


def _address(text):
    """`0B004D0A:1628` of /proc/net/tcp, and the IPv4-mapped form of tcp6."""
    address, port = text.split(":")
    octets = bytes.fromhex(address[-8:])[::-1]
    return ".".join(map(str, octets)), int(port, 16)


def sockets(init):
    """{(local address, local port, remote address, remote port): (state, inode)} of a network namespace."""
    table = {}
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{init}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            table[(*_address(fields[1]), *_address(fields[2]))] = (fields[3], int(fields[9]))
    return table


def inodes(process_ids):
    """The sockets that these processes hold."""
    held = set()
    for pid in process_ids:
        try:
            for entry in os.scandir(f"/proc/{pid}/fd"):
                match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry.path))
                if match:
                    held.add(int(match[1]))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return held


def amqp_connections(init, process_ids):
    """The established connections of these processes to any broker."""
    held = inodes(process_ids)
    return {
        key for key, (state, inode) in sockets(init).items() if key[3] == AMQP and state == ESTABLISHED and inode in held
    }


def cinder(host, method, path, body=None, timeout=150):
    """One call of Cinder's API on a host: (HTTP code, JSON answer or None), or (0, reason) without an answer."""
    request = urllib.request.Request(
        f"http://{HOSTS[host]}:8776/v3/{PROJECT}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Auth-Token": f"admin:{PROJECT}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, None
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__


def is_up():
    return subprocess.run([HERE / "lab", "status"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def trueup(binary, command, *arguments):
    """A run of trueup beside the hosts: (exit code, JSON report or None)."""
    done = subprocess.run(
        [HERE / "lab", "exec", binary, command, "-i", RUN / "inventory.yml", "--format", "json", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None
