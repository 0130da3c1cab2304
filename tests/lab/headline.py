#!/usr/bin/python3
"""The headline: a detach is lost, trueup says why, remedies it while clients keep calling, and it is not lost.

    headline.py PATH_OF_TRUEUP [TIMES]        on a lab that is up
"""

import json
import pathlib
import re
import subprocess
import sys
import threading
import time

import labhosts


class Caller(threading.Thread):
    """Keeps calling every API, as a client behind a load balancer that knows nothing would."""

    PATHS = {"database": "/volumes", "rpc": "/scheduler-stats/get_pools"}

    def __init__(self, host, kind):
        super().__init__(daemon=True)
        self.host, self.kind = host, kind
        self.stopping = threading.Event()
        self.calls = []

    def run(self):
        # The network namespace belongs to the thread.
        labhosts.enter_lab_network()
        while not self.stopping.wait(0.5):
            start = time.time()
            code, answer = labhosts.cinder(self.host, "GET", self.PATHS[self.kind], timeout=70)
            call = {"host": self.host, "kind": self.kind, "at": start, "took": time.time() - start, "code": code}
            self.calls.append({**call, "reason": answer} if code == 0 else call)


def detach():
    child = subprocess.run([labhosts.HERE / "incident.py", "--watch", "0"], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(child.stdout)


def deciders(report):
    """The settings that the detection-window findings name."""
    return sorted({window["decided_by"] for host in report["hosts"].values() for window in host["windows"]})


def left(report):
    """What a report still finds, once each."""
    findings = [found for host in report["hosts"].values() for found in host["findings"]] if report else []
    return "".join(sorted({f"; {found['task']} ({found['level']}): {found['actual']}" for found in findings}))


def calls_during(work):
    """(what the work returned, the calls made meanwhile, until all are answered)."""
    callers = [Caller(host, kind) for host in labhosts.HOSTS for kind in Caller.PATHS]
    for caller in callers:
        caller.start()
    try:
        answer = work()
        time.sleep(3)
    finally:
        for caller in callers:
            caller.stopping.set()
    for caller in callers:
        caller.join(timeout=80)
    return answer, sorted((call for caller in callers for call in caller.calls), key=lambda call: call["at"])


def stops(since):
    """When systemd began to stop an RPC server that the calls go to, as seconds since the epoch."""
    found = []
    for host in labhosts.HOSTS:
        journal = labhosts.inside(host, "journalctl", "-q", "-o", "short-unix", "-u", "cinder-scheduler", "--since", f"@{since:.0f}")
        found += [float(line.split()[0]) for line in journal.splitlines() if ": Stopping " in line]
    return found


def why_failed(call, stopping):
    """`api`: the API called was itself restarting. `server`: the call was delivered to a scheduler in the second it
    stopped, where oslo.messaging drops it. `lost`: the cluster lost it."""
    if call["code"] == 0 and "timed out" not in call["reason"]:
        return "api"
    if call["kind"] == "rpc" and any(-1 < call["at"] - stop < 2 for stop in stopping):
        return "server"
    return "lost"


def answered(events):
    """The RPC servers that trueup has called after their restart and that answered every call: `HOST UNIT`."""
    notes = [json.loads(line) for line in events.read_text().splitlines()]
    texts = [(note["host"], note["text"]) for note in notes if note.get("event") == "note"]
    return {f"{host} {text.split()[0]}" for host, text in texts if re.search(r" answered (\d+) of \1 calls on ", text)}


def once(binary, events):
    """One replay: {name of the step: (good, what was seen)}; what happened goes to this file."""
    steps = {}
    labhosts.lab("set", "--defaults", "RPC_PING=on")
    lost = detach()
    steps["detach before"] = lost["http"] == 500 and 59 < lost["took"] < 62, f"{lost['http']} at {lost['took']} s, volume {lost['volume']}"
    code, report = labhosts.trueup(binary, "audit")
    named = [found for host in report["hosts"].values() for found in host["findings"] if found["task"] == "detection-window"]
    steps["audit before"] = code == 2 and bool(named), f"exit {code}, decided by {', '.join(deciders(report))}"
    start = time.time()
    (code, report), calls = calls_during(lambda: labhosts.trueup(binary, "remediate", "--yes", "--report", f"jsonl={events}"))
    took = time.time() - start
    stopping = stops(start)
    failed = [{**call, "why": why_failed(call, stopping)} for call in calls if call["code"] != 200]
    count = {why: sum(call["why"] == why for call in failed) for why in ("api", "server", "lost")}
    steps["remediate"] = (
        code == 0 and count["lost"] == 0,
        f"exit {code} after {took:.0f} s; of {len(calls)} calls meanwhile {count['api']} met an API that was restarting, "
        f"{count['server']} a scheduler in the second it stopped, and {count['lost']} were lost{left(report)}",
    )
    due = {f"{host} {unit}.service" for host in labhosts.HOSTS for unit in ("cinder-scheduler", "cinder-volume")}
    steps["calls answered"] = answered(events) == due, f"{len(answered(events))} of {len(due)} RPC servers answered after their restart"
    kept = detach()
    steps["detach after"] = kept["http"] == 202 and kept["volume"] == "available", f"{kept['http']} at {kept['took']} s, volume {kept['volume']}"
    code, report = labhosts.trueup(binary, "audit")
    steps["audit after"] = code == 0, f"exit {code}{left(report)}"
    return steps, failed


def replay(binary, out, times=1):
    good, record = True, []
    for number in range(1, times + 1):
        steps, failed = once(binary, out / "events.jsonl")
        for name, (fine, seen) in steps.items():
            print(f"headline {number}: {'ok  ' if fine else 'FAIL'} {name}: {seen}", flush=True)
            good &= fine
        record.append({"steps": steps, "failed_calls": failed})
        (out / "headline.json").write_text(json.dumps(record, indent=1))
    return good


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    directory = labhosts.HERE.parent.parent / "target/lab"
    directory.mkdir(parents=True, exist_ok=True)
    passed = replay(pathlib.Path(sys.argv[1]).resolve(), directory, int(sys.argv[2]) if len(sys.argv) == 3 else 1)
    sys.exit(0 if passed else 1)
