#!/usr/bin/python3
"""The fault matrix's own data and judgement: the table expands, and no verdict lets a bad end pass."""

import unittest

import faultactions
import faultcases
import faulthost

DOCUMENT = faultcases.document()
CASES = faultcases.expand(DOCUMENT)
FILE = faulthost.Entry(0o100644, 0, 0, "a")
OLD = {"/etc/a": FILE, "/etc/b": FILE, "/etc/c": FILE}
DELTA = {"/etc/a": faulthost.Entry(0o100644, 0, 0, "z"), "/etc/n": FILE, "/etc/c": None}
NEW = faulthost.changed(OLD, DELTA)


class Data(unittest.TestCase):
    def test_every_case_can_be_played(self):
        names = [case.name for case in CASES]
        self.assertEqual(len(names), len(set(names)))
        for case in CASES:
            self.assertIn(case.play, DOCUMENT["plays"], case.name)
            for action in (*case.given, *case.do):
                self.assertEqual([name in faultactions.ACTIONS for name in action], [True], case.name)
            self.assertLessEqual({"hosts", "exit"}, case.expect.keys(), case.name)
            self.assertLessEqual(case.expect.keys(), {"hosts", "exit", "says", "within"}, case.name)
            if case.when == "during":
                self.assertIn("inside", DOCUMENT["points"][case.point], case.name)
            wanted = case.expect["hosts"]
            if isinstance(wanted, dict):
                self.assertEqual(wanted.keys(), set(case.on), case.name)
            else:
                self.assertIn(wanted, ("old", "new", "either"), case.name)
            if case.where:
                self.assertIn(case.where, case.on, case.name)

    def test_mistakes_in_the_table_are_refused(self):
        for row in ({"fault": "x", "expekt": {}}, {"fault": "x", "at": ["nowhere before"]}, {"fault": "x", "at": ["edit late"]}):
            with self.assertRaises(SystemExit):
                faultcases.expand({**DOCUMENT, "cases": [{"expect": {}, **row}]})

    def test_a_point_may_have_values_of_its_own(self):
        row = {"fault": "x", "at": ["edit before", "edit after"], "expect": {"exit": 3}, "but": {"edit after": {"expect": {"exit": 0}}}}
        self.assertEqual([case.expect["exit"] for case in faultcases.expand({**DOCUMENT, "cases": [row]})], [3, 0])

    def test_options_become_words(self):
        self.assertEqual(faultcases.arguments({"settle": 1, "no-failsafe": True, "failsafe": None}), ["--settle", "1", "--no-failsafe"])


class Standing(unittest.TestCase):
    def test_old_new_and_neither(self):
        other = faulthost.Entry(0o100600, 0, 0, "a")
        for now, expected in (
            (OLD, "old"),
            (NEW, "new"),
            ({**OLD, "/etc/a": DELTA["/etc/a"]}, "mixed: /etc/a new"),
            ({**NEW, "/etc/a": FILE}, "mixed: /etc/c, /etc/n new"),
            # The mode counts, and a file that nobody planned.
            ({**OLD, "/etc/a": other}, "neither: /etc/a"),
            ({**OLD, "/etc/b": other}, "neither: /etc/b"),
            ({**NEW, "/etc/.trueup.x": FILE}, "neither: /etc/.trueup.x"),
        ):
            self.assertEqual(faulthost.standing(now, OLD, DELTA), expected)


class Verdicts(unittest.TestCase):
    def check(self, expected, expect=None, steps=(), **seen):
        case = faultcases.expand({**DOCUMENT, "cases": [{"fault": "x", "hosts": ["ctl1", "ctl2"], "expect": {"hosts": "old", "exit": 3, **(expect or {})}}]})[0]
        case.then = list(steps)
        found = faultcases.verdict(case, faultcases.Seen(**{"exit": 3, "hosts": {"ctl1": "old", "ctl2": "old"}, "safe": 1.0, **seen}))
        self.assertEqual(found if expected is None else [expected in one for one in found], [] if expected is None else [True], found)

    def test_verdicts(self):
        self.check(None)
        self.check("expected exit 3", exit=0)
        self.check(None, expect={"exit": "killed"}, exit=-9)
        self.check("expected exit killed", expect={"exit": "killed"}, exit=0)
        self.check("expected ctl2 old: mixed: /etc/a new", hosts={"ctl1": "old", "ctl2": "mixed: /etc/a new"})
        self.check(None, expect={"hosts": {"ctl1": "new", "ctl2": "old"}}, hosts={"ctl1": "new", "ctl2": "old"})
        self.check("expected ctl1 new", expect={"hosts": {"ctl1": "new", "ctl2": "old"}})
        self.check(None, expect={"hosts": "either"}, hosts={"ctl1": "new", "ctl2": "old"})
        self.check("mixed", expect={"hosts": "either"}, hosts={"ctl1": "new", "ctl2": "mixed: /etc/a new"})
        self.check("does not say `owed`", expect={"says": ["owed"]})
        self.check(None, expect={"says": ["ow.d"]}, text="restarts are owed")
        self.check("never safe", safe=None)
        self.check("allowed 5", expect={"within": 5}, safe=9.0)
        self.check("lock of x", left=["ctl1: lock of x"])
        self.check("no AMQP", problems=["ctl1: cinder-scheduler has no AMQP connection"])
        self.check("never got to", reached=False)
        self.check("exits 1, expected 0", steps=[{"trueup": "rollback last", "exit": 0}], then=[1])


if __name__ == "__main__":
    unittest.main()
