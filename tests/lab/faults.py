"""The fault matrix: trueup changes hosts, something goes wrong at an exact point, and every host is looked at.

    tests/lab/run --faults [--trueup PATH] [--only PATTERN] [--from WORDS] [--keep] [--out DIR]

The cases are data (faults.yml). Each one asserts where every host stands (all old or all new, by hash, mode and owner
of every file in /etc, live kernel settings, and what the restarted processes have read), the exit code, that the
cluster is whole, and that nothing is left: no lock, timer, unit, process, temporary file. Prints the table (case,
injected at, outcome, hosts, seconds to safe), writes it to faults.txt, and exits 1 when a case fails.
"""

import concurrent.futures
import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time

import yaml

import faultactions
import faultcases
import faulthost
import labhosts
from faultcases import Case, Seen, arguments, row, table, verdict, wanted
from faulthost import Host

PAUSE = 0.2
# How long a cluster may take, in seconds, to be at rest when a fault is over.
SETTLES = 60
# How long a run may take to get to its point, to end, and the hosts to be safe after that, in seconds.
REACH, END, SAFE = 90, 150, 60


class Trial:
    """One case on the hosts it has."""

    def __init__(self, case, hosts, matrix):
        self.case, self.hosts, self.matrix = case, hosts, matrix
        self.play = matrix.document["plays"][case.play]
        self.undo = contextlib.ExitStack()
        self.seen = Seen()
        self.started = []
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
        return [command, *subject, *self.reach_words(), *([] if command == "plan" else self.going())]

    def reach_words(self):
        """Only the case's hosts: on the others another case may be at work."""
        return ["-i", "inventory.yml", "--limit", ",".join(host.name for host in self.hosts), "--format", "json"]

    def going(self):
        return ["--yes", *self.case.arguments]

    def start(self, words, name="run", clock=0):
        environment = {**os.environ, **faultactions.clock(clock)}
        with open(self.folder / f"{name}.out", "wb") as out, open(self.folder / f"{name}.err", "wb") as err:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/trueup-{labhosts.NAME}", "--", str(self.matrix.binary), *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def end(self):
        """Whatever it has started."""
        for process in self.started:
            process.kill()
            process.wait()

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
            # The program is looked for only once its own command has come.
            program, words, *when = point["inside"]
            found.append(("command", "sudo", point["command"], "before"))
            found.append(("point", program, words, *(when or ["before"])))
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
                pause(0.02)
            if number + 1 < len(traps):
                host.trap(*traps[number + 1])
                host.let_go(trap[0])
        return True

    @property
    def faulty(self):
        return next((host for host in self.hosts if host.name == self.case.where), self.hosts[0])

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
            pause(PAUSE)

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
        if not case.then:
            self.watch(lambda: self.safe_since is not None and not any(host.leftovers() for host in self.hosts), limit)
        for number, step in enumerate(case.then):
            words = [*step["trueup"].split(), *self.reach_words(), *self.going()]
            process = self.start(words, name=f"then{number}")
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
        # RabbitMQ looks every few seconds whether there is room on its disk again.
        until = time.monotonic() + SETTLES
        while (problems := faulthost.cluster_problems(self.hosts[-1])) and time.monotonic() < until:
            pause(2)
        seen.problems += problems
        if "heartbeats" in self.play:
            old, new = self.play["heartbeats"]
            for name, has in faulthost.heartbeats(self.hosts[-1], self.hosts, self.play["unit"]).items():
                should = {"old": [old], "new": [new]}.get(seen.hosts[name])
                if should and has != should:
                    seen.problems.append(f"{name}: {self.play['unit']} has heartbeats of {has} s, not {should}")
        for process in self.started:
            seen.left += faultactions.of_session(process.pid)

    def reset(self):
        """Every host as it was before the case."""
        self.undo.close()
        for host in self.hosts:
            host.untrap()
            host.forget()
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
                pause(PAUSE)


class Matrix:
    """All cases on one lab."""

    def __init__(self, binary, out):
        self.binary, self.out = binary, out
        self.document = faultcases.document()
        self.hosts = {name: Host(name) for name in labhosts.HOSTS}
        self.deltas, self.new_sysctls = {}, {}
        self.rows, self.lock = {}, threading.Lock()
        (out / "faults.json").unlink(missing_ok=True)

    def delta(self, host, play):
        return self.deltas.get((host.name, play), {})

    def sysctls(self, host, play, stands):
        return host.old_sysctls if stands == "old" else self.new_sysctls.get((host.name, play), host.old_sysctls)

    def furnish(self, host):
        """The files that the cases want on every host, and services that come back with a boot, as anywhere but here."""
        other = False
        host.run("systemctl", "--quiet", "enable", *faulthost.UNITS)
        for path, text in self.document["files"].items():
            file = host.path(path)
            file.parent.mkdir(mode=0o755, exist_ok=True)
            if not file.exists() or file.read_text() != text:
                file.write_text(text)
                other = True
        if other:
            host.run("systemctl", "restart", "cinder-scheduler")
            faultactions.wait(REACH, f"cinder-scheduler on {host.name}", lambda: host.amqp("cinder-scheduler"))

    def learn(self, play, host):
        """What a host is to become, from a run without any fault."""
        name = f"learn {play} {host.name}"
        case = Case(name, name, None, None, play, None, None, [], [], 0, arguments(self.document["with"]), "remediate", {}, [], None)
        trial = Trial(case, [host], self)
        process = trial.start(trial.words("remediate"))
        try:
            while process.poll() is None:
                pause(PAUSE)
        finally:
            trial.end()
        if process.returncode != 0:
            raise SystemExit(f"without any fault the run exits {process.returncode}: {trial.said()[-2000:]}")
        self.deltas[host.name, play] = faulthost.changes(host.old, host.image())
        self.new_sysctls[host.name, play] = host.sysctls()
        trial.delta = {host.name: self.delta(host, play)}
        trial.reset()

    def play(self, number, case, hosts):
        """One case, its row, and everything back; whether the hosts can take another case."""
        start = time.monotonic()
        trial = Trial(case, hosts, self)
        try:
            trial.perform()
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            trial.seen.problems.append(f"the case could not be played: {error}")
            trial.end()
        bad = verdict(case, trial.seen)
        done = row(case, trial.seen)
        with self.lock:
            self.rows[number] = done
            (self.out / "faults.json").write_text(json.dumps(self.rows, indent=1))
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


# The end of all cases, when the first of their threads must end.
stopping = threading.Event()


def each(hosts, work):
    """The same work on all hosts, side by side."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        try:
            for done in [pool.submit(work, host) for host in hosts]:
                done.result()
        except BaseException:
            stopping.set()
            raise


def pause(seconds):
    if stopping.wait(seconds):
        raise RuntimeError("the matrix is ended")


def say(*words):
    print("faults:", *words, file=sys.stderr, flush=True)


def run(binary, out, only="", first="", part=None):
    """Plays the chosen cases on a lab that is up, and writes their rows down; whether all were good."""
    matrix = Matrix(binary, out)
    chosen = wanted(only, first, part)
    if not os.path.exists(faultactions.FAKETIME):
        raise SystemExit("the cases about clocks need libfaketime: apt-get install libfaketime")
    for host in matrix.hosts.values():
        host.untrap()
    remains = [host for host in matrix.hosts.values() if host.remains()]
    for host in remains:
        host.forget()
    if remains or not set(faultcases.settings()) <= set((labhosts.RUN / "settings").read_text().split()):
        labhosts.lab("set", "--defaults", *faultcases.settings())
    for host in matrix.hosts.values():
        matrix.furnish(host)
        host.keep()
    say("learning what hosts become without any fault")
    named = {(case.play, name) for _, case in chosen for name in case.on or ()}
    anywhere = any(case.on is None for _, case in chosen)
    each([host for host in matrix.hosts.values() if anywhere or ("scheduler", host.name) in named], lambda host: matrix.learn("scheduler", host))
    # One broker at a time.
    for name in sorted(name for play, name in named if play == "broker"):
        matrix.learn("broker", matrix.hosts[name])
    matrix.all(chosen)
    return len(matrix.rows) == len(chosen) and all(one[-1] == "good" for one in matrix.rows.values())


def together(folders, out, seconds):
    """The table of what was played, printed and written; whether there is one and all of it is good."""
    rows = {}
    for folder in folders:
        written = folder / "faults.json"
        rows |= json.loads(written.read_text()) if written.exists() else {}
    rows = [rows[number] for number in sorted(rows, key=int)]
    good = sum(one[-1] == "good" for one in rows)
    text = f"{table(rows)}\n{good} of {len(rows)} cases good, in {seconds:.0f} s\n"
    (out / "faults.txt").write_text(text)
    print(text)
    return bool(rows) and good == len(rows)
