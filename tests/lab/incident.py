#!/usr/bin/python3
"""Cuts the AMQP connections of one client while its call runs, and records what happens, as JSON.

    incident.py [--call detach|rpc] [--client ctl1] [--server ctl2] [--seconds 5] [--fault kill|drop] ...

All times are seconds from the cut unless they say otherwise.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import threading
import time

import labhosts
from labhosts import AMQP, ESTABLISHED, HOSTS, cinder, inside

TABLE = "lab_fault"
TICK = 0.2


class Detach:
    """`os-detach` over REST on the client's controller, of a volume on the server's controller."""

    logs = ("var/log/cinder/cinder-api.log", "var/log/cinder/cinder-wsgi.log")

    def __init__(self, client, server, seconds):
        self.client, self.server, self.seconds = client, server, seconds
        self.pids = labhosts.unit_pids(client, "cinder-api.service")

    def prepare(self):
        """A volume in use; its attachment was an RPC call too, so the client's reply queue exists."""
        code, answer = cinder(
            self.client,
            "POST",
            "/volumes",
            {"volume": {"size": 1, "availability_zone": self.server, "metadata": {"detach_seconds": str(self.seconds)}}},
        )
        require(code == 202, f"the volume was not created: {code}")
        self.volume = answer["volume"]["id"]
        self._wait_for("available")
        code, _ = self._act({"os-attach": {"host_name": "lab", "mountpoint": "/dev/vdb"}})
        require(code == 202, f"the volume was not attached: {code}")
        self.attachment = self._wait_for("in-use")["attachments"][0]["attachment_id"]

    def run(self):
        code, _ = self._act({"os-detach": {"attachment_id": self.attachment}})
        return {"outcome": "ok" if code == 202 else "failed", "http": code}

    def after(self):
        """What became of the volume, asked until it rests, then the volume is removed."""
        deadline = time.monotonic() + 20
        status = "unknown"
        while time.monotonic() < deadline:
            code, answer = cinder(self.client, "GET", f"/volumes/{self.volume}", timeout=10)
            status = answer["volume"]["status"] if code == 200 else f"HTTP {code}"
            if status != "detaching":
                break
            time.sleep(1)
        cinder(self.client, "DELETE", f"/volumes/{self.volume}", timeout=10)
        return {"volume": status}

    def end(self):
        pass

    def _act(self, body):
        return cinder(self.client, "POST", f"/volumes/{self.volume}/action", body)

    def _wait_for(self, status):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            _, answer = cinder(self.client, "GET", f"/volumes/{self.volume}")
            if answer and answer["volume"]["status"] == status:
                return answer["volume"]
            time.sleep(0.3)
        raise SystemExit(f"the volume did not become {status}: {answer}")


class Rpc:
    """A plain oslo.messaging call with the options of the client host's cinder.conf."""

    logs = ()

    def __init__(self, client, server, seconds):
        self.client, self.server, self.seconds = client, server, seconds
        self.log = open(f"{labhosts.RUN}/rpc-client.log", "w+")
        self.started = []

    def prepare(self):
        script = "/usr/local/lib/trueup-lab/rpc.py"
        self._start(self.server, [script, "serve"], subprocess.DEVNULL)
        self.calling = self._start(self.client, [script, "call", self.server], self.log)
        init = labhosts.init_of(self.client)
        namespace = pathlib.Path(f"/proc/{init}/ns/pid").readlink()
        self.pids = [
            pid for pid in labhosts.pids() if _is(pid, b"rpc.py\0call\0") and pathlib.Path(f"/proc/{pid}/ns/pid").readlink() == namespace
        ]

    def _start(self, host, command, log):
        process = subprocess.Popen(
            [labhosts.HERE / "lab", "inside", host, "runuser", "-u", "cinder", "--", "python3", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self.started.append(process)
        require(json.loads(process.stdout.readline() or "{}").get("ready"), f"{command} on {host} did not start")
        return process

    def run(self):
        self.calling.stdin.write(f"{self.seconds}\n")
        self.calling.stdin.flush()
        answer = json.loads(self.calling.stdout.readline())
        return {"outcome": "ok" if answer["outcome"] == "ok" else "failed"}

    def after(self):
        return {}

    def end(self):
        for process in self.started:
            process.stdin.close()
        for process in self.started:
            process.wait(timeout=30)


def _is(pid, text):
    try:
        return text in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def require(condition, message):
    if not condition:
        raise SystemExit(message)


def host_at(address):
    return next(host for host, its in HOSTS.items() if its == address)


def reply_ports(client):
    """The client ports that carry a consumer of a reply queue, as the brokers know them."""
    consumers = labhosts.rabbitmqctl(client, "list_consumers", "queue_name", "channel_pid")
    replies = {channel for queue, channel in consumers if queue.startswith("reply_")}
    # A channel's name is `ADDRESS:PORT -> ADDRESS:PORT (NUMBER)`, client first.
    names = [name for channel, name in labhosts.rabbitmqctl(client, "list_channels", "pid", "name") if channel in replies]
    return {int(name.split()[0].rsplit(":", 1)[1]) for name in names if name.startswith(f"{HOSTS[client]}:")}


def cut(client, connections, kill):
    """Drops every packet of these connections, both ways; with `kill` the client learns of it at once."""
    rules = {"output": [], "input": []}
    for local, port, remote, _ in sorted(connections):
        rules["output"].append(f"ip saddr {local} tcp sport {port} ip daddr {remote} tcp dport {AMQP} drop")
        rules["input"].append(f"ip saddr {remote} tcp sport {AMQP} ip daddr {local} tcp dport {port} drop")
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {'; '.join(lines)}; }}\n" for hook, lines in rules.items()
    )
    labhosts.in_network(client, "nft", "-f", "-", input=f"table inet {TABLE} {{\n{chains}}}\n")
    at = time.monotonic()
    if kill:
        # The RST of a killed socket meets the drop rule: its broker hears nothing.
        only = " or ".join(f"( src {local} and sport = :{port} and dport = :{AMQP} )" for local, port, *_ in connections)
        labhosts.in_network(client, "ss", "-K", "-tnH", only, stdout=subprocess.DEVNULL)
    return at


def silence(connections):
    """How long the broker had heard nothing on each connection: (no data, no segment at all), in seconds."""
    found = {}
    for local, port, remote, amqp in connections:
        only = f"( sport = :{AMQP} and dst [::ffff:{local}] and dport = :{port} )"
        text = labhosts.in_network(host_at(remote), "ss", "-tinOH", only, stdout=subprocess.PIPE).stdout
        heard = {name: int(value) / 1000 for name, value in re.findall(r"last(rcv|ack):(\d+)", text)}
        found[(local, port, remote, amqp)] = heard.get("rcv", 0.0), min(heard.get("rcv", 0.0), heard.get("ack", 0.0))
    return found


def mend(client):
    subprocess.run(
        ["nsenter", f"--net=/run/netns/trueup-{labhosts.NAME}-{client}", "nft", "delete", "table", "inet", TABLE],
        stderr=subprocess.DEVNULL,
        check=False,
    )


def watch(call, client, dead, at, calling, watch_for):
    """Polls the sockets until the call is over and every broker has closed, or `watch_for` seconds have passed."""
    inits = {host: labhosts.init_of(host) for host in HOSTS}
    gone, reconnected = {}, None
    while True:
        now = time.monotonic() - at
        for local, port, remote, _ in dead - gone.keys():
            state, _ = labhosts.sockets(inits[host_at(remote)]).get((remote, AMQP, local, port), ("", 0))
            if state != ESTABLISHED:
                gone[(local, port, remote, AMQP)] = round(now, 2)
        if reconnected is None and labhosts.amqp_connections(inits[client], call.pids) - dead:
            reconnected = round(now, 2)
        if not calling.is_alive() and (len(gone) == len(dead) or now > watch_for):
            return gone, reconnected
        time.sleep(TICK)


def log_sizes(logs):
    return {path: path.stat().st_size if path.exists() else 0 for path in logs}


def new_lines(sizes):
    for path, size in sizes.items():
        if path.exists():
            with path.open(errors="replace") as log:
                log.seek(size)
                yield from log


def reason_of(lines, port):
    """RabbitMQ's own words for closing the connection from this port."""
    for number, line in enumerate(lines):
        if "closing AMQP connection" in line and f":{port} ->" in line:
            return " ".join(text.split("> ", 1)[-1].strip() for text in lines[number + 1 : number + 2]) or line.strip()
    return None


def incident(options):
    labhosts.enter_lab_network()
    kind = {"detach": Detach, "rpc": Rpc}[options.call]
    call = kind(options.client, options.server, options.seconds)
    mend(options.client)
    result = {}
    try:
        call.prepare()
        replies = reply_ports(options.client)
        brokers = {host: log_sizes([labhosts.root_of(host) / f"var/log/rabbitmq/rabbit@{host}.log"]) for host in HOSTS}
        logs = log_sizes([labhosts.root_of(options.client) / log for log in call.logs])
        started = time.monotonic()

        def run():
            result.update(call.run())
            result["took"] = round(time.monotonic() - started, 2)

        calling = threading.Thread(target=run)
        calling.start()
        time.sleep(options.cut_after)
        dead = labhosts.amqp_connections(labhosts.init_of(options.client), call.pids)
        require(dead, "the client has no AMQP connection")
        at = cut(options.client, dead, options.fault == "kill")
        silent = silence(dead)
        elapsed = time.monotonic() - at
        gone, reconnected = watch(call, options.client, dead, at, calling, options.watch)
        calling.join()
        late = [line for line in new_lines(logs) if "No calling threads waiting" in line]
        result.update(call.after())
    finally:
        mend(options.client)
        call.end()
    if isinstance(call, Rpc):
        call.log.seek(0)
        late += [line for line in call.log if "No calling threads waiting" in line]
    words = {host: list(new_lines(sizes)) for host, sizes in brokers.items()}
    return {
        "call": options.call,
        "client": options.client,
        "server": options.server,
        "seconds": options.seconds,
        "fault": options.fault,
        "cut_after": round(at - started, 2),
        **result,
        "client_reconnected": reconnected,
        "late_replies": len(late),
        "connections": [
            {
                "broker": host_at(connection[2]),
                "port": connection[1],
                "carries": "replies" if connection[1] in replies else "requests",
                "no_data_before": round(silent[connection][0] - elapsed, 2),
                "no_segment_before": round(silent[connection][1] - elapsed, 2),
                "gone": gone.get(connection),
                "reason": reason_of(words[host_at(connection[2])], connection[1]) if connection in gone else None,
            }
            for connection in sorted(dead)
        ],
    }


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--call", choices=["detach", "rpc"], default="detach")
    parser.add_argument("--client", choices=HOSTS, default="ctl1")
    parser.add_argument("--server", choices=HOSTS, default="ctl2")
    parser.add_argument("--seconds", type=float, default=5, help="how long the server works before it replies")
    parser.add_argument("--fault", choices=["kill", "drop"], default="kill", help="drop: the client notices nothing")
    parser.add_argument("--cut-after", type=float, default=1, help="seconds after the start of the call")
    parser.add_argument("--watch", type=float, default=90, help="how long to wait for the brokers to notice")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    json.dump(incident(parse(sys.argv[1:])), sys.stdout, indent=2)
    print()
