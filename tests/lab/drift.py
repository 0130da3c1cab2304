#!/usr/bin/python3
"""Drift on a schedule: a timer on one host tells once that somebody changed another by hand, and once that it is undone.

    drift.py PATH_OF_TRUEUP        on a lab that is up

The first host is the operator's machine: it gets the binary, an inventory and the key, remedies all three, and its own
systemd runs the timer. Everything is asserted from what the command of --notify was given, from the files that the runs
keep, from `trueup schedule status` and from systemd.
"""

import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

import labhosts

OPERATOR, CHANGED = "ctl1", "ctl2"
HOME = "/root/trueup"
TRUEUP = f"{HOME}/trueup"
INVENTORY = f"{HOME}/inventory.yml"
UNIT = "trueup-drift"
KEPT = f"/var/lib/{UNIT}"
TOLD = f"{KEPT}/told"
# Every run is over well before the next one.
CALENDAR = "*:*:00/30"
# One line a notification: the verdict, then the report.
NOTIFY = '{ printf "%s " "$TRUEUP_VERDICT"; tr -d "\\n"; echo; } >>"$STATE_DIRECTORY/told"'
# So many runs later it must not have been told again.
QUIET_RUNS = 3
PATIENCE = 240
# As a person does it: the file with an editor that keeps a copy, the kernel with sysctl.
CONF, DROPIN = "/etc/cinder/cinder.conf", "/etc/sysctl.d/60-trueup.conf"
KEY = "net.ipv4.tcp_keepalive_time"
CHANGE = (
    f"sed -i.orig 's/^{KEY} *=.*/{KEY} = 60/' {DROPIN} && sysctl -q -w {KEY}=60 && "
    f"sed -i.orig 's/^heartbeat_timeout_threshold *=.*/heartbeat_timeout_threshold = 60/' {CONF}"
)
REVERT = f"mv {CONF}.orig {CONF} && mv {DROPIN}.orig {DROPIN} && sysctl -q -p {DROPIN}"


def operator(*command, check=True):
    """A command on the operator's machine: (exit code, what it printed)."""
    done = subprocess.run(
        [labhosts.HERE / "lab", "inside", OPERATOR, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)} exits {done.returncode}: {done.stdout}")
    return done.returncode, done.stdout


def settle(binary):
    """Makes the operator's machine one: binary, key, known hosts, inventory."""
    folder = pathlib.Path(f"{labhosts.root_of(OPERATOR)}{HOME}")
    folder.mkdir(mode=0o700, exist_ok=True)
    shutil.copy2(binary, folder / "trueup")
    for name in ("key", "known_hosts"):
        shutil.copy2(labhosts.RUN / name, folder / name)
    text = (labhosts.RUN / "inventory.yml").read_text()
    (folder / "inventory.yml").write_text(text.replace(str(labhosts.RUN), HOME))


def verdict():
    """What the last run kept; {} where none has been."""
    code, text = operator("cat", f"{KEPT}/verdict.json", check=False)
    return json.loads(text) if code == 0 else {}


def told():
    """Every notification so far: (verdict, report)."""
    code, text = operator("cat", TOLD, check=False)
    lines = [line.split(" ", 1) for line in text.splitlines()] if code == 0 else []
    return [(word, json.loads(report)) for word, report in lines]


def runs(number):
    """Waits until so many more runs have begun and ended; the verdicts of those that were seen."""
    seen = {}
    before = verdict().get("started_at")
    deadline = time.monotonic() + PATIENCE
    while len(seen) < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(seen)} of {number} runs in {PATIENCE} s; {operator('journalctl', '-q', '-n', '20', '-u', UNIT)[1]}")
        now = verdict()
        if now.get("ended_at") and now["started_at"] != before:
            seen[now["started_at"]] = now
        time.sleep(0.5)
    return list(seen.values())


def until_told(number):
    """Waits for notification `number` (from 1): the seconds that took."""
    start = time.monotonic()
    while len(told()) < number and time.monotonic() - start < PATIENCE:
        time.sleep(0.5)
    return time.monotonic() - start


def differences(report):
    """{host: {(kind, subject): cause}} of a report, where there are any."""
    of = lambda host: {(one["kind"], one["subject"]): one["cause"] for one in host.get("drift", [])}
    return {name: of(host) for name, host in report["hosts"].items() if host.get("drift")}


def in_words(notifications):
    """What was told, for one who asks why it was told at all."""
    texts = []
    for word, report in notifications:
        parts = [f"{name}: {host['error']['message']}" for name, host in report["hosts"].items() if host["error"]]
        for name, host in report["hosts"].items():
            parts += [f"{name}: {one['cause']}: {one['subject']}: {one['now']}" for one in host.get("drift", [])]
        texts.append(f"{word} ({'; '.join(parts)})")
    return " | ".join(texts)


def status():
    """(exit code, {label: text}) of `trueup schedule status`."""
    code, text = operator(TRUEUP, "schedule", "status", check=False)
    return code, {line[:13].strip(): line[13:].strip() for line in text.splitlines()}


def remains():
    """What is left of the schedule: units, links, stamps, what its runs kept, processes."""
    _, files = operator("find", "/etc/systemd", "/var/lib/systemd", "/run/systemd/system", KEPT, "-name", f"*{UNIT}*", check=False)
    _, units = operator("systemctl", "--all", "--plain", "--no-legend", "list-units", f"{UNIT}*")
    _, processes = operator("pgrep", "-af", f"{TRUEUP} |ssh -M", check=False)
    return [line for line in (files + units + processes).splitlines() if "No such file" not in line]


def play(binary):
    """Every step: (name, good, what was seen)."""
    settle(binary)
    code, said = operator(TRUEUP, "remediate", "--yes", "-i", INVENTORY, "--format", "summary", check=False)
    _, kept = operator("ls", f"{HOME}/.trueup/baseline")
    good = code == 0 and kept.split() == [f"{host}.json" for host in labhosts.HOSTS]
    yield "verified", good, f"exit {code}, baselines {' '.join(kept.split())}{'' if good else said}"
    if not good:
        return

    install = [TRUEUP, "schedule", "install", "-i", INVENTORY, "--calendar", CALENDAR, "--random-delay", "0", "--notify", NOTIFY]
    code, said = operator(*install, check=False)
    _, active = operator("systemctl", "is-active", f"{UNIT}.timer", check=False)
    yield "schedule install", code == 0 and active.strip() == "active", f"exit {code}, {said.strip()}"
    first = runs(2)
    code, shown = status()
    good = {one["verdict"] for one in first} == {"clean"} and code == 0 and told() == [] and "clean since" in shown.get("verdict", "")
    yield "runs without drift", good, f"{len(first)} runs, {len(told())} notifications, status exits {code}: {shown.get('verdict')}"

    runs(1)
    labhosts.inside(CHANGED, "sh", "-c", CHANGE)
    took = until_told(1)
    first = told()
    found = differences(first[0][1]) if first else {}
    wanted = {("sysctl", KEY), ("file", DROPIN), ("file", CONF)}
    good = len(first) == 1 and first[0][0] == "drift" and list(found) == [CHANGED] and wanted <= found[CHANGED].keys()
    yield "told of the change", good, f"{len(first)} after {took:.0f} s: {first[0][0] if first else 'nothing'} on {', '.join(found)}: {sorted(found.get(CHANGED, {}))}"
    causes = set(found.get(CHANGED, {}).values())
    broken = sorted({task for host in first[0][1]["hosts"].values() for one in host.get("drift", []) for task in one["breaks"]}) if first else []
    good = causes == {"host"} and {"heartbeat", "tcp-keepalive"} <= set(broken)
    yield "whose doing", good, f"cause {', '.join(sorted(causes))}; breaks {', '.join(broken)}"
    later = runs(QUIET_RUNS)
    code, shown = status()
    good = len(told()) == 1 and {one["verdict"] for one in later} == {"drift"} and code == 2 and "drift since" in shown.get("verdict", "")
    yield "not told again", good, f"{len(later)} more runs, {len(told())} notification, status exits {code}: {shown.get('verdict')}"

    runs(1)
    labhosts.inside(CHANGED, "sh", "-c", REVERT)
    took = until_told(2)
    second = told()[1:]
    found = differences(second[0][1]) if second else {}
    good = len(second) == 1 and second[0][0] == "clean" and found == {}
    yield "told of the recovery", good, f"{len(second)} after {took:.0f} s: {second[0][0] if second else 'nothing'} {found or ''}"
    later = runs(QUIET_RUNS)
    code, shown = status()
    good = len(told()) == 2 and {one["verdict"] for one in later} == {"clean"} and code == 0
    yield "quiet again", good, f"{len(later)} more runs, {len(told())} notifications in all, status exits {code}: {shown.get('verdict')}"

    code, said = operator(TRUEUP, "schedule", "remove", "--purge", check=False)
    left = remains()
    yield "schedule remove", code == 0 and left == [], f"exit {code}, left: {left or 'nothing'}"


def replay(binary, out):
    """Plays it on the lab that is up and prints each step; whether all went well."""
    good, record = True, {}
    start = time.monotonic()
    for name, fine, seen in play(binary):
        print(f"drift: {'ok  ' if fine else 'FAIL'} {name}: {seen}", flush=True)
        if not fine:
            seen += f"; told: {in_words(told())}"
            print(f"drift:      told: {in_words(told())}", flush=True)
        good &= fine
        record[name] = [fine, seen]
        (out / "drift.json").write_text(json.dumps(record, indent=1))
    print(f"drift: {len(record)} steps in {time.monotonic() - start:.0f} s", flush=True)
    return good


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = labhosts.HERE.parent.parent / "target/lab"
    directory.mkdir(parents=True, exist_ok=True)
    sys.exit(0 if replay(pathlib.Path(sys.argv[1]).resolve(), directory) else 1)
