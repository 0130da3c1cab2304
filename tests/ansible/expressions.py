#!/usr/bin/env python3
"""Records what ansible-core gives for templates, for the test of our own templates.

    pip install ansible-core==2.19.* && tests/ansible/expressions.py

reads expressions.txt beside it and writes src/playbook/template/ansible.json. A line of the text is
a template, or a condition after `when `, both in YAML's quotes or none; variables come from lines that
begin with `vars `, as JSON, and hold until the next such line. A line that begins with `#` is a comment:
below `# DIFFERENT` stand the expressions whose answer differs here, each with the reason; they are not
recorded (`--different` prints what Ansible gives for all).
"""

import json
import pathlib
import sys

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

HERE = pathlib.Path(__file__).parent


def trust(value):
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [trust(item) for item in value]
    if isinstance(value, dict):
        return {key: trust(item) for key, item in value.items()}
    return value


def plain(value):
    return json.loads(json.dumps(value, default=str))


def record(lines, everything):
    cases, variables = [], {}
    for line in lines:
        if line.startswith("# DIFFERENT") and not everything:
            break
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("vars "):
            variables = json.loads(line[5:])
            cases.append({"vars": variables})
            continue
        kind, text = ("when", line[5:]) if line.startswith("when ") else ("template", line)
        text = json.loads(text) if text.startswith('"') else text
        case = {kind: text}
        templar = Templar(loader=DataLoader(), variables=trust(variables))
        try:
            if kind == "when":
                case["value"] = templar.evaluate_conditional(trust(text))
            else:
                case["value"] = plain(templar.template(trust(text)))
        except Exception as error:  # every failure counts as the same answer: an error
            case["error"] = type(error).__name__
        cases.append(case)
    return cases


if __name__ == "__main__":
    everything = "--different" in sys.argv
    cases = record((HERE / "expressions.txt").read_text().splitlines(), everything)
    text = "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n"
    if everything:
        print(text)
    else:
        (HERE.parent.parent / "src/playbook/template/ansible.json").write_text(text)
        print(sum("vars" not in case for case in cases), "expressions,", sum("error" in case for case in cases), "of them errors")
