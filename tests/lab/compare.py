"""A scenario's prediction beside its measurement."""

import dataclasses

# How far a poll of the sockets and a clock on a busy machine may be off, in seconds.
SLACK = 1.5
CLIENT = "cinder-api"


@dataclasses.dataclass
class Connection:
    """One cut connection: what the model said and what the broker did, both from the last byte before the cut."""

    broker: str
    carries: str
    best: float | None
    worst: float | None
    decided_by: str | None
    measured: float | None
    watched: float
    predicted: bool

    def inside(self):
        """Whether the measurement lies in the window; None without a prediction."""
        if not self.predicted:
            return None
        if self.measured is None:
            return self.worst is None or self.worst + SLACK >= self.watched
        late = self.worst is not None and self.measured > self.worst + SLACK
        return not late and self.measured >= (self.best or 0) - SLACK

    def __str__(self):
        took = f">{self.watched:.0f}" if self.measured is None else f"{self.measured:.1f}"
        if not self.predicted:
            return took
        worst = "never" if self.worst is None else f"{self.worst:.1f}"
        verdict = "inside" if self.inside() else "OUTSIDE"
        return f"{took} in {self.best or 0:.1f}..{worst} ({self.decided_by}) {verdict}"


@dataclasses.dataclass
class Row:
    name: str
    expected: str
    outcome: str
    took: float
    http: int | None
    connections: list
    client: tuple | None
    survivable_age: float | None
    cut_after: float
    missing: str | None

    def survival_holds(self):
        """A call the model promises to survive was answered; None where it promises nothing."""
        if self.survivable_age is None or self.survivable_age < self.cut_after:
            return None
        return self.outcome == "ok"

    def verdict(self):
        found = []
        if self.outcome != self.expected:
            found.append(f"expected {self.expected}")
        found += [f"outside the window: {one}" for one in self.connections if one.inside() is False]
        if self.client and self.client[0] is not None and self.client[1] is not None and self.client[0] > self.client[1] + SLACK:
            found.append(f"the client needed {self.client[0]} s, predicted {self.client[1]}")
        if self.survival_holds() is False:
            found.append(f"survivable age {self.survivable_age} s, and the call was lost")
        if self.missing:
            found.append(self.missing)
        return found

    def good(self):
        return not self.verdict()

    def summary(self):
        answer = f"{self.outcome}{f' ({self.http})' if self.http else ''} at {self.took:.1f} s"
        return "; ".join([answer, *map(str, self.connections), *self.verdict()])


def window_of(report, client, broker):
    """The predicted window of the client's connections to a broker."""
    rows = (report or {}).get("hosts", {}).get(client, {}).get("windows", [])
    return next((row for row in rows if row["service"] == CLIENT and row["broker"] == broker), None)


def row(scenario, result):
    seen, report = result["incident"], result["report"]
    connections, windows = [], []
    for cut in seen["connections"]:
        window = window_of(report, seen["client"], cut["broker"])
        windows.append(window or {})
        # Heartbeats count from the last data, keepalive from the last segment.
        before = cut["no_data_before"] if (window or {}).get("heartbeat") else cut["no_segment_before"]
        connections.append(
            Connection(
                cut["broker"],
                cut["carries"],
                (window or {}).get("broker_best"),
                (window or {}).get("broker_worst"),
                (window or {}).get("decided_by"),
                None if cut["gone"] is None else cut["gone"] + before,
                scenario["watch"] + before,
                window is not None,
            )
        )
    clients = [window["client_worst"] for window in windows if window.get("client_worst") is not None]
    ages = [window.get("survivable_age") for window in windows]
    return Row(
        scenario["name"],
        scenario["expect"],
        seen["outcome"],
        seen["took"],
        seen.get("http"),
        connections,
        (seen["client_reconnected"], max(clients)) if clients else None,
        None if not ages or None in ages else min(ages),
        seen["cut_after"],
        missing_finding(scenario, report),
    )


def missing_finding(scenario, report):
    if report is None:
        return None
    findings = [found for host in report["hosts"].values() for found in host["findings"]]
    if "remedy" in scenario and findings:
        return f"after the remedy the audit still finds {findings[0]['task']} at level {findings[0]['level']}"
    level = scenario.get("finding")
    if level and not any(found["level"] == level for found in findings):
        return f"no finding at level {level}"
    if scenario["expect"] == "failed" and not findings:
        return "the audit found nothing"
    if report["hosts"] and not any(host["windows"] for host in report["hosts"].values()):
        return "the audit has no window"
    return None


def table(rows):
    head = ["scenario", "answer", "expected", "survivable", "replies: noticed by the broker", "requests", "client back", "verdict"]
    lines = [head]
    for one in rows:
        by = {carries: next((str(c) for c in one.connections if c.carries == carries), "-") for carries in ("replies", "requests")}
        client = "-" if not one.client else f"{one.client[0]} of {one.client[1]:.1f}"
        age = "-" if one.survivable_age is None else f"{one.survivable_age:.1f}"
        answer = f"{one.http or one.outcome} at {one.took:.1f} s"
        lines.append([one.name, answer, one.expected, age, by["replies"], by["requests"], client, "; ".join(one.verdict()) or "good"])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(text) + "\n"
