"""The table of faults as cases, and what is good about their ends: nothing here touches a host."""

import dataclasses
import re
import signal

import yaml

import labhosts

# When it comes from nothing, a lab each: the second plays the cases of certain hosts, one after the other, and as many
# of those of any one host as make both take about as long.
PARTS = ("one", "two")
# Within how many seconds hosts must be safe where a case says nothing; on a busy machine services take their time.
WITHIN = 150
KEYS = {"fault", "do", "at", "given", "clock", "with", "play", "hosts", "where", "expect", "then", "heal", "but", "command"}


def document():
    return yaml.safe_load((labhosts.HERE / "faults.yml").read_text())


def settings():
    """What the lab must be up with."""
    return [f"{key}={value}" for key, value in document()["settings"].items()]


@dataclasses.dataclass
class Case:
    name: str
    fault: str
    point: str | None
    when: str | None
    play: str
    on: list | None
    where: str | None
    given: list
    do: list
    clock: int
    arguments: list
    command: str
    expect: dict
    then: list
    heal: str | None


def expand(table):
    """One case for every pair of a fault and a point."""
    found = []
    for group in table["cases"]:
        unknown = group.keys() - KEYS
        if unknown:
            raise SystemExit(f"faults.yml: `{group['fault']}` has {', '.join(sorted(unknown))}; there are: {', '.join(sorted(KEYS))}")
        for at in group.get("at", [None]):
            one = {**group, **group.get("but", {}).get(at, {})}
            point, when = at.split() if at else (None, None)
            if at and (point not in table["points"] or when not in ("before", "during", "after")):
                raise SystemExit(f"faults.yml: no point `{at}`")
            found.append(
                Case(
                    name=f"{one['fault']}{f' {when} {point}' if at else ''}",
                    fault=one["fault"],
                    point=point,
                    when=when,
                    play=one.get("play", "scheduler"),
                    on=one.get("hosts"),
                    where=one.get("where"),
                    given=one.get("given", []),
                    do=one.get("do", []),
                    clock=one.get("clock", 0),
                    arguments=arguments({**table["with"], **one.get("with", {})}),
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
        if stands != expected and not (expected == "either" and stands in ("old", "new")):
            found.append(f"expected {host} {expected}: {stands}")
    found += [f"does not say `{words}`" for words in case.expect.get("says", []) if not re.search(words, seen.text)]
    for step, code in zip(case.then, seen.then, strict=False):
        if code != step["exit"]:
            found.append(f"`trueup {step['trueup']}` exits {code}, expected {step['exit']}")
    if seen.safe is None:
        found.append("never safe")
    elif seen.safe > case.expect.get("within", WITHIN):
        found.append(f"safe after {seen.safe:.0f} s, allowed {case.expect.get('within', WITHIN)}")
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


def wanted(only, first, part=None):
    """The cases to play, with their numbers."""
    cases = list(enumerate(expand(document())))
    begin = next((number for number, case in cases if first in case.name), len(cases))
    return [(number, case) for number, case in cases[begin:] if re.search(only, case.name) and part in (None, part_of(number, case))]


def part_of(number, case):
    return "one" if case.on is None and number % 3 else "two"


def parts(only, first):
    """The parts that these cases are of."""
    return [part for part in PARTS if wanted(only, first, part)]
