#!/usr/bin/python3
"""The comparison of prediction and measurement, on reports as `trueup audit --format json` writes them."""

import unittest

import compare

WINDOW = {
    "service": "cinder-api",
    "broker": "ctl2",
    "heartbeat": 15.0,
    "broker_best": 30.0,
    "broker_worst": 45.0,
    "decided_by": "heartbeat_timeout_threshold",
    "client_worst": 33.0,
    "rpc_response_timeout": 60.0,
    "survivable_age": 15.0,
}
FINDING = {"task": "heartbeat", "title": "", "severity": "critical", "level": "running", "status": "fail", "expected": "15", "actual": "0"}
SCENARIO = {"name": "a scenario", "expect": "ok", "watch": 50}
CUT = {"broker": "ctl2", "port": 4, "carries": "replies", "no_data_before": 3.0, "no_segment_before": 1.0, "gone": 40.0, "reason": None}
INCIDENT = {"client": "ctl1", "outcome": "ok", "took": 41.0, "http": 202, "cut_after": 1.0, "client_reconnected": 1.0}


def judged(scenario=None, window=None, cut=None, seen=None, findings=(), reported=True):
    """The verdict on one scenario, each part overridden as the case wants."""
    windows = [{**WINDOW, **(window or {})}]
    report = {"hosts": {"ctl1": {"status": "findings", "findings": list(findings), "windows": windows}}} if reported else None
    measured = {**INCIDENT, **(seen or {}), "connections": [{**CUT, **(cut or {})}]}
    return compare.row({**SCENARIO, **(scenario or {})}, {"incident": measured, "report": report}).verdict()


class Verdicts(unittest.TestCase):
    def check(self, expected, **parts):
        verdict = judged(**parts)
        if expected is None:
            self.assertEqual(verdict, [], parts)
        else:
            self.assertEqual([expected in one for one in verdict], [True], (parts, verdict))

    def test_verdicts(self):
        never = {"broker_worst": None, "survivable_age": None}
        lost = {"outcome": "failed", "http": 500}
        self.check(None)
        self.check(None, reported=False)
        # 40 s after the cut is 43 s after the last byte: inside with 44 s, outside with 40 s.
        self.check("OUTSIDE", window={"broker_worst": 41.0})
        self.check("OUTSIDE", cut={"gone": 20.0})
        self.check("OUTSIDE", cut={"gone": None})
        self.check(None, cut={"gone": None}, window=never)
        # Without heartbeats keepalive rules, which any segment puts off: 41 s after the last.
        self.check(None, window={"heartbeat": 0.0, "broker_worst": 40.0})
        self.check("expected ok", seen=lost, window={"survivable_age": -5.0})
        self.check("expected failed", scenario={"expect": "failed"}, findings=[FINDING])
        self.check("client needed", seen={"client_reconnected": 40.0})
        self.check("survivable age 15", scenario={"expect": "failed"}, seen=lost, findings=[FINDING])
        self.check(None, scenario={"expect": "failed"}, seen=lost, window={"survivable_age": -1.0}, findings=[FINDING])
        self.check("audit found nothing", scenario={"expect": "failed"}, seen=lost, window={"survivable_age": -1.0})
        self.check("no finding at level connection", scenario={"finding": "connection"}, findings=[FINDING])
        self.check(None, scenario={"finding": "running"}, findings=[FINDING])
        self.check("still finds heartbeat", scenario={"remedy": {"strategy": "heartbeat"}}, findings=[FINDING])

    def test_table_shows_every_row(self):
        rows = [compare.row({**SCENARIO, "name": name}, {"incident": {**INCIDENT, "connections": [CUT]}, "report": None}) for name in ("a", "b")]
        self.assertEqual([line.split(" | ")[0].strip() for line in compare.table(rows).splitlines()[2:]], ["a", "b"])


if __name__ == "__main__":
    unittest.main()
