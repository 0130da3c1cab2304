"""The fault matrix: trueup changes hosts, something goes wrong at an exact point, and every host is looked at.

    tests/lab/run --faults [--trueup PATH] [--only WORDS] [--from WORDS] [--keep] [--out DIR]

The cases are data (faults.yml). Each one asserts where every host stands (all old or all new, by hash, mode and owner
of every file in /etc, live kernel settings, and what the restarted processes have read), the exit code, that the
cluster is whole, and that nothing is left: no lock, timer, unit, process, temporary file. Prints the table (case,
injected at, outcome, hosts, seconds to safe), writes it to faults.txt, and exits 1 when a case fails.
"""

import concurrent.futures
import contextlib
import dataclasses
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

import yaml

import faultactions
import faulthost
import labhosts
from faulthost import Host

PAUSE = 0.2
# How long a run may take to get to its point, to end, and the hosts to be safe after that, in seconds.
REACH, END, SAFE = 90, 150, 60
KEYS = {"fault", "do", "at", "given", "clock", "with", "play", "on", "expect", "then", "heal", "but", "command"}


@dataclasses.dataclass
class Case:
    name: str
    fault: str
    point: str | None
    when: str | None
    play: str
    on: list | None
    given: list
    do: list
    clock: int
    arguments: list
    command: str
    expect: dict
    then: list
    heal: str | None


def expand(document):
    """One case for every pair of a fault and a point."""
    found = []
    for row in document["cases"]:
        unknown = row.keys() - KEYS
        if unknown:
            raise SystemExit(f"faults.yml: `{row['fault']}` has {', '.join(sorted(unknown))}; there are: {', '.join(sorted(KEYS))}")
        for at in row.get("at", [None]):
            one = {**row, **row.get("but", {}).get(at, {})}
            point, when = at.split() if at else (None, None)
            if at and (point not in document["points"] or when not in ("before", "during", "after")):
                raise SystemExit(f"faults.yml: no point `{at}`")
            found.append(
                Case(
                    name=f"{one['fault']}{f' {when} {point}' if at else ''}",
                    fault=one["fault"],
                    point=point,
                    when=when,
                    play=one.get("play", "scheduler"),
                    on=one.get("on"),
                    given=one.get("given", []),
                    do=one.get("do", []),
                    clock=one.get("clock", 0),
                    arguments=arguments({**document["with"], **one.get("with", {})}),
                    command=one.get("command", "remediate"),
                    expect=one["expect"],
                    then=one.get("then", []),
                    heal=one.get("heal"),
                )
            )
    return found


def arguments(options):
    """The words of {option: value}; one whose value is true has none, and null leaves it out."""
    words = []
    for name, value in options.items():
        words += [] if value is None else [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


@dataclasses.dataclass
class Seen:
    """What became of a case."""

    reached: bool = True
    injected: float | None = None
    exit: int | None = None
    hosts: dict = dataclasses.field(default_factory=dict)
    safe: float | None = None
    text: str = ""
    left: list = dataclasses.field(default_factory=list)
    problems: list = dataclasses.field(default_factory=list)
    standings: dict = dataclasses.field(default_factory=dict)
    then: list = dataclasses.field(default_factory=list)


def wanted_exit(expect):
    return -signal.SIGKILL if expect["exit"] == "killed" else expect["exit"]


def verdict(case, seen):
    """What is wrong with the end of a case; nothing, when it passed."""
    found = []
    if not seen.reached:
        return [f"the run never got to `{case.when} {case.point}` (exit {seen.exit})"]
    if seen.exit != wanted_exit(case.expect):
        found.append(f"expected exit {case.expect['exit']}")
    wanted = case.expect["hosts"]
    for host, stands in seen.hosts.items():
        expected = wanted if isinstance(wanted, str) else wanted[host]
        if stands != expected:
            found.append(f"expected {host} {expected}: {stands}")
    found += [f"does not say `{words}`" for words in case.expect.get("says", []) if not re.search(words, seen.text)]
    for step, code in zip(case.then, seen.then, strict=False):
        if code != step["exit"]:
            found.append(f"`trueup {step['trueup']}` exits {code}, expected {step['exit']}")
    if seen.safe is None:
        found.append("never safe")
    elif seen.safe > case.expect.get("within", REACH):
        found.append(f"safe after {seen.safe:.0f} s, allowed {case.expect.get('within', REACH)}")
    return found + seen.left + seen.problems


def outcome(seen):
    how = "killed" if seen.exit == -signal.SIGKILL else f"exit {seen.exit}"
    return "; ".join([how, *(f"{host} {stands}" for host, stands in sorted(seen.standings.items()))])


def row(case, seen):
    bad = verdict(case, seen)
    hosts = ", ".join(f"{host} {stands}" for host, stands in sorted(seen.hosts.items()))
    at = "before the run" if case.point is None else f"{case.when} {case.point}"
    at = at if seen.injected is None else f"{at}, {seen.injected:.1f} s"
    return [case.fault, at, outcome(seen), hosts, "-" if seen.safe is None else f"{seen.safe:.1f}", "; ".join(bad) or "good"]


def table(rows):
    lines = [["case", "injected at", "outcome", "hosts", "s to safe", "verdict"], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(text) + "\n"


class Trial:
    """One case on the hosts it has."""

    def __init__(self, case, hosts, matrix):
        self.case, self.hosts, self.matrix = case, hosts, matrix
        self.play = matrix.document["plays"][case.play]
        self.undo = contextlib.ExitStack()
        self.seen = Seen()
        self.old, self.delta = {}, {}
        slug = re.sub(r"[^a-z0-9]+", "-", case.name.lower()).strip("-")
        self.folder = matrix.out / "faults" / slug
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("*"):
            if file.is_file():
                file.unlink()
        # Its own record of runs beside it, so that `last` is this case's.
        (self.folder / "inventory.yml").write_text((labhosts.RUN / "inventory.yml").read_text())
        (self.folder / "play.yml").write_text(yaml.safe_dump(self.play["playbook"], sort_keys=False))

    # A run.

    def words(self, command):
        """What the run is told; `apply` takes the plan that was made when the case began."""
        subject = ["plan.json", "--playbook", "play.yml"] if command == "apply" else ["play.yml"]
        reach = ["-i", "inventory.yml", "--limit", ",".join(host.name for host in self.hosts), "--format", "json"]
        return [command, *subject, *reach, *([] if command == "plan" else ["--yes", *self.case.arguments])]

    def start(self, words, name="run", clock=0):
        environment = {**os.environ, **faultactions.clock(clock)}
        with open(self.folder / f"{name}.out", "wb") as out, open(self.folder / f"{name}.err", "wb") as err:
            return subprocess.Popen(
                ["nsenter", f"--net=/run/netns/trueup-{labhosts.NAME}", "--", str(self.matrix.binary), *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )

    def said(self, name="run"):
        return "".join((self.folder / f"{name}.{end}").read_text(errors="replace") for end in ("err", "out"))

    # The point.

    def traps(self):
        """(name, program, words, when) of what holds the run, in the order in which they are met."""
        points = self.matrix.document["points"]
        point = points[self.case.point]
        found = []
        if "once" in point:
            found.append(("once", "sudo", points[point["once"]]["command"], "after"))
        if self.case.when == "during":
            program, words = point["inside"]
            found.append(("point", program, words, point.get("inside_when", "before")))
        else:
            found.append(("point", "sudo", point["command"], self.case.when))
        return found

    def reach(self):
        """Waits until the run is held at its point; its start came before. False: it ended without."""
        host = self.faulty
        traps = self.traps()
        for number, trap in enumerate(traps):
            until = time.monotonic() + REACH
            while not host.trapped(trap[0]):
                if self.process.poll() is not None or time.monotonic() > until:
                    return False
                time.sleep(0.02)
            if number + 1 < len(traps):
                host.trap(*traps[number + 1])
                host.let_go(trap[0])
        return True

    @property
    def faulty(self):
        return self.hosts[0]

    # How it stands.

    def quick(self):
        """Whether every host is all old or all new with its services up: what can be seen ten times a second."""
        for host in self.hosts:
            try:
                delta = self.delta[host.name]
                now = {path: faulthost.entry(host.path(path)) for path in delta}
                old = {path: self.old[host.name].get(path) for path in delta}
                stands = "old" if now == old else "new" if now == delta else "mixed"
                if stands == "mixed" or host.sysctls() != self.matrix.sysctls(host, self.case.play, stands):
                    return False
                if not all(host.units().get(unit) for unit in faulthost.UNITS) or self.owed(host):
                    return False
            except (OSError, RuntimeError, subprocess.CalledProcessError, ValueError):
                return False
        return True

    def owed(self, host):
        """What the play's service still has to do to run with what stands in its files."""
        unit = self.play["unit"]
        started = host.started(unit)
        if started is None:
            return [f"{host.name}: {unit} does not run"]
        for path in self.delta[host.name]:
            file = host.path(path)
            if unit.split("-")[0] in path and file.is_file() and file.stat().st_mtime > started:
                return [f"{host.name}: {unit} is older than {path}"]
        return [] if unit == "rabbitmq-server" or host.amqp(unit) else [f"{host.name}: {unit} has no AMQP connection"]

    def watch(self, done, limit):
        """Samples until `done` says so; keeps since when everything has been safe."""
        until = time.monotonic() + limit
        while True:
            now = time.monotonic()
            if not self.quick():
                self.safe_since = None
            elif self.safe_since is None:
                self.safe_since = now
            if done() or now > until:
                return
            time.sleep(PAUSE)

    # The case.

    def perform(self):
        case, seen = self.case, self.seen
        for host in self.hosts:
            host.run("mkdir", "-p", faulthost.TRAPS)
            host.run("chmod", "1777", faulthost.TRAPS)
        for action in case.given:
            self.act(action)
        for host in self.hosts:
            self.old[host.name] = host.image()
            self.delta[host.name] = self.matrix.delta(host, case.play)
        self.safe_since = None
        if case.command == "apply":
            self.start([*self.words("plan"), "-o", "plan.json"], name="plan").wait()
        if case.point is None:
            for action in case.do:
                self.act(action)
        else:
            self.faulty.trap(*self.traps()[0])
        start = at = time.monotonic()
        self.process = self.start(self.words(case.command), clock=case.clock)
        if case.point is not None:
            seen.reached = self.reach()
            at = time.monotonic()
            if seen.reached:
                seen.injected = at - start
                for action in case.do:
                    self.act(action)
            self.faulty.let_go("point")
        self.watch(lambda: self.process.poll() is not None, END)
        if self.process.poll() is None:
            seen.problems.append(f"the run did not end within {END} s")
            self.process.kill()
        seen.exit = self.process.wait()
        seen.text = self.said()
        if case.heal == "ended":
            self.undo.close()
        # The failsafe has its own time; what it leaves is looked at once it is done.
        limit = case.expect.get("within", SAFE)
        self.watch(lambda: self.safe_since is not None and not any(host.leftovers() for host in self.hosts), limit)
        for number, step in enumerate(case.then):
            process = self.start([*step["trueup"].split(), "--format", "json", "--yes", "-i", "inventory.yml"], name=f"then{number}")
            self.watch(lambda: process.poll() is not None, END)  # noqa: B023
            seen.then.append(process.poll())
            self.watch(lambda: self.safe_since is not None, SAFE)
        seen.safe = None if self.safe_since is None else max(0.0, self.safe_since - at)
        self.undo.close()
        self.conclude()

    def act(self, action):
        [(name, argument)] = action.items()
        faultactions.ACTIONS[name](self, argument)

    def conclude(self):
        """Everything that is asserted, once it is over."""
        seen = self.seen
        for host in self.hosts:
            stands = faulthost.standing(host.image(), self.old[host.name], self.delta[host.name])
            if stands in ("old", "new") and host.sysctls() != self.matrix.sysctls(host, self.case.play, stands):
                stands = f"mixed: {stands} files, kernel settings {'/'.join(host.sysctls())}"
            seen.hosts[host.name] = stands
            seen.left += host.leftovers()
            seen.problems += self.owed(host)
            seen.problems += [f"{host.name}: {unit} is not active" for unit, active in host.units().items() if not active]
            for run, how in host.standings().items():
                seen.standings[host.name] = how
                if how == "open":
                    seen.left.append(f"{host.name}: the run {run} is open")
        seen.problems += faulthost.cluster_problems(self.hosts[-1])
        if "heartbeats" in self.play:
            old, new = self.play["heartbeats"]
            for name, has in faulthost.heartbeats(self.hosts[-1], self.hosts, self.play["unit"]).items():
                should = {"old": [old], "new": [new]}.get(seen.hosts[name])
                if should and has != should:
                    seen.problems.append(f"{name}: {self.play['unit']} has heartbeats of {has} s, not {should}")
        seen.left += faultactions.of_session(self.process.pid)

    def reset(self):
        """Every host as it was before the case."""
        self.undo.close()
        for host in self.hosts:
            host.untrap()
            with contextlib.suppress(RuntimeError):
                host.run("systemctl", "stop", "trueup*")
            host.run("rm", "-rf", faulthost.TRUEUP)
            wrong = host.restore()
            unit = self.play["unit"]
            if wrong or self.owed(host) or not all(host.units().values()) or self.seen.hosts.get(host.name) != "old" or self.seen.problems:
                host.run("systemctl", "daemon-reload")
                host.run("systemctl", "restart", unit, *(u for u, active in host.units().items() if not active))
        if self.play["unit"] == "rabbitmq-server":
            faultactions.whole_again(self)
        until = time.monotonic() + REACH
        for host in self.hosts:
            while self.owed(host) or not all(host.units().values()):
                if time.monotonic() > until:
                    raise RuntimeError(f"{host.name} does not come to rest after `{self.case.name}`")
                time.sleep(PAUSE)


class Matrix:
    """All cases on one lab."""

    def __init__(self, binary, out):
        self.binary, self.out = binary, out
        self.document = yaml.safe_load((labhosts.HERE / "faults.yml").read_text())
        self.hosts = {name: Host(name) for name in labhosts.HOSTS}
        self.deltas, self.new_sysctls = {}, {}
        self.rows, self.lock = {}, threading.Lock()

    def delta(self, host, play):
        return self.deltas.get((host.name, play), {})

    def sysctls(self, host, play, stands):
        return host.old_sysctls if stands == "old" else self.new_sysctls.get((host.name, play), host.old_sysctls)

    def furnish(self, host):
        """The files that the cases want on every host."""
        other = False
        for path, text in self.document["files"].items():
            file = host.path(path)
            file.parent.mkdir(mode=0o755, exist_ok=True)
            if not file.exists() or file.read_text() != text:
                file.write_text(text)
                other = True
        if other:
            host.run("systemctl", "restart", "cinder-scheduler")
            faultactions.wait(REACH, f"cinder-scheduler on {host.name}", lambda: host.amqp("cinder-scheduler"))

    def learn(self, play, hosts):
        """What a host is to become, from a run without any fault."""
        name = f"learn {play} {hosts[0].name}"
        case = Case(name, name, None, None, play, None, [], [], 0, arguments(self.document["with"]), "remediate", {}, [], None)
        trial = Trial(case, hosts, self)
        process = trial.start(trial.words("remediate"))
        if process.wait() != 0:
            raise SystemExit(f"without any fault the run exits {process.returncode}: {trial.said()[-2000:]}")
        for host in hosts:
            self.deltas[host.name, play] = faulthost.changes(host.old, host.image())
            self.new_sysctls[host.name, play] = host.sysctls()
        trial.delta = {host.name: self.delta(host, play) for host in hosts}
        trial.reset()

    def play(self, number, case, hosts):
        """One case, its row, and everything back; whether the hosts can take another case."""
        start = time.monotonic()
        trial = Trial(case, hosts, self)
        try:
            trial.perform()
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            trial.seen.problems.append(f"the case could not be played: {error}")
        bad = verdict(case, trial.seen)
        done = row(case, trial.seen)
        with self.lock:
            self.rows[number] = done
            (self.out / "faults.txt").write_text(table([self.rows[n] for n in sorted(self.rows)]))
            say(f"{'ok  ' if not bad else 'FAIL'} {' | '.join(done[:5])}  ({time.monotonic() - start:.0f} s){''.join(f'; {one}' for one in bad)}")
        try:
            trial.reset()
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            say(f"{', '.join(host.name for host in hosts)}: no more cases here: {error}")
            return False
        return True

    def all(self, chosen):
        """Cases of any one host go side by side on three hosts; then those that need certain hosts, alone."""
        waiting = queue.Queue()
        for number, case in chosen:
            if case.on is None:
                waiting.put((number, case))

        def lane(host):
            while True:
                try:
                    number, case = waiting.get_nowait()
                except queue.Empty:
                    return
                if not self.play(number, case, [host]):
                    return

        each(self.hosts.values(), lane)
        for number, case in chosen:
            if case.on is not None and not self.play(number, case, [self.hosts[name] for name in case.on]):
                return


def settings():
    """What the lab must be up with."""
    document = yaml.safe_load((labhosts.HERE / "faults.yml").read_text())
    return [f"{key}={value}" for key, value in document["settings"].items()]


def each(hosts, work):
    """The same work on all hosts, side by side."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for done in [pool.submit(work, host) for host in hosts]:
            done.result()


def say(*words):
    print("faults:", *words, file=sys.stderr, flush=True)


def run(binary, out, only="", first=""):
    """Plays the chosen cases on a lab that is up; whether all passed."""
    matrix = Matrix(binary, out)
    cases = list(enumerate(expand(matrix.document)))
    begin = next((number for number, case in cases if first in case.name), len(cases))
    chosen = [(number, case) for number, case in cases[begin:] if only in case.name]
    if not chosen:
        raise SystemExit("no such case")
    start = time.monotonic()
    if not set(settings()) <= set((labhosts.RUN / "settings").read_text().split()):
        labhosts.lab("set", "--defaults", *settings())
    for host in matrix.hosts.values():
        matrix.furnish(host)
        host.keep()
    plays = {case.play for _, case in chosen}
    if "scheduler" in plays:
        say("learning what `scheduler` makes of each host")
        each(matrix.hosts.values(), lambda host: matrix.learn("scheduler", [host]))
    if "broker" in plays:
        say("learning what `broker` makes of the hosts")
        matrix.learn("broker", list(matrix.hosts.values()))
    matrix.all(chosen)
    rows = [matrix.rows[number] for number in sorted(matrix.rows)]
    good = sum(one[-1] == "good" for one in rows)
    print(table(rows))
    print(f"{good} of {len(chosen)} cases good, in {time.monotonic() - start:.0f} s")
    return good == len(chosen)
