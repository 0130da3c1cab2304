#!/usr/bin/env python3
"""Compare `trueup config --format json` with oslo.config's own parser.

    pip install oslo.config
    tests/oslo/compare.py /etc/cinder /etc/nova           # real files
    tests/oslo/compare.py --mutate 5 /etc/cinder          # and 5 random changes of each
    tests/oslo/compare.py --fuzz 20000                    # generated documents
    tests/oslo/compare.py --record tests/oslo/cases       # write what oslo.config answers to the test cases

A file counts as equal when both give the same sections, keys and values in the same order, or both
refuse it. Exit 1 when anything differs.
"""
import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile

from oslo_config import cfg, iniparser

PIECES = [
    "[DEFAULT]", "[default]", "[ DEFAULT ]", "[oslo_messaging_rabbit]", "[Oslo_Messaging_Rabbit]", "[]", "[ ]",
    "[a]b]", "[a] # c", "[a", "heartbeat_rate = 2", "heartbeat_timeout_threshold=60", "key: value", "a:b=c",
    "a=b:c", "a =", "= b", " = b", "k = 'v'", 'k = "v"', "k = \"v'", "k = '", 'k = "', "k = ''", "k = 'a' b'",
    "  continued", "\tcontinued = x", "  # indented", "  [indented]", " ", "\t", "", "", "# comment", "; comment",
    "#k = v", "no delimiter", "k = a \\", "k = $x", "k = $$x", r"k = \$x", "k = ${a.b}", "k = 90 # s", "ключ = ä",
    "k = \u00a0v\u00a0", "k\u2003= v", "\u3000k = v", "\ufeffk = v", "k = v\x1c", "\x0bk = v", "k = \x0c", "k=\x85v",
    "transport_url = rabbit://u:p@h1:5672,u:p@h2:5672/", "k = \x00", "k.-_/ = v", "k=v=w", "k==", "k::", ":",
]
ENDINGS = ["\n"] * 12 + ["\r\n"] * 3 + ["\r", "\n\n", ""]
LETTERS = list("ak=:[]#;'\"\\$ \t\r\n\n\n\u00a0\x1f\x0b\ufeffä")


def oslo(path):
    """What oslo.config's parser makes of a file; None when it refuses it."""
    sections = {}
    parser = cfg.ConfigParser(path, sections)
    try:
        parser.parse()
    except (iniparser.ParseError, UnicodeDecodeError):
        return None
    return sections


def trueup(binary, path):
    """What trueup makes of it; None for exit 1."""
    done = subprocess.run([binary, "config", path, "--format", "json"], capture_output=True)
    if done.returncode == 1:
        return None
    if done.returncode != 0:
        raise SystemExit(f"{path}: trueup exited {done.returncode}: {done.stderr.decode()}")
    sections = json.loads(done.stdout)["sections"]
    return {s: {k: [v["value"] for v in vs] for k, vs in keys.items()} for s, keys in sections.items()}


def ordered(sections):
    return None if sections is None else [(s, list(keys.items())) for s, keys in sections.items()]


def files(paths):
    for path in paths:
        if os.path.isfile(path):
            yield path
        for folder, _, names in sorted(os.walk(path)):
            for name in sorted(names):
                full = os.path.join(folder, name)
                if os.path.isfile(full) and not os.path.islink(full):
                    yield full


def document(rng):
    """A generated file: mostly lines that mean something, sometimes plain noise."""
    if rng.random() < 0.1:
        return "".join(rng.choice(LETTERS) for _ in range(rng.randrange(60)))
    lines = [rng.choice(PIECES) for _ in range(rng.randrange(12))]
    if rng.random() < 0.9:
        lines.insert(0, "[DEFAULT]")
    return "".join(line + rng.choice(ENDINGS) for line in lines)


def mutated(rng, text):
    """A real file with a few small changes."""
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(text) + 1)
        choice = rng.random()
        if choice < 0.3:
            text = text[:at] + text[at + 1 + rng.randrange(4):]
        elif choice < 0.6:
            text = text[:at] + rng.choice(LETTERS) + text[at:]
        else:
            start = text.rfind("\n", 0, at) + 1
            line = rng.choice(PIECES) + rng.choice(ENDINGS)
            text = text[:start] + line + text[start:]
    return text


def record(folder, seed, generated=400):
    """Write NAME.json beside each NAME.conf, and generated.json: documents with their answers."""
    for path in files([folder]):
        if path.endswith(".conf"):
            with open(path[: -len("conf")] + "json", "w") as out:
                json.dump(oslo(path), out, indent=1, ensure_ascii=False)
                out.write("\n")
    rng = random.Random(seed)
    with open(os.path.join(folder, "generated.json"), "w") as out, tempfile.TemporaryDirectory() as scratch:
        case = os.path.join(scratch, "case.conf")
        lines = []
        for _ in range(generated):
            text = document(rng)
            with open(case, "w", newline="") as source:
                source.write(text)
            lines.append(json.dumps([text, oslo(case)]))
        out.write("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="files or folders")
    parser.add_argument("--trueup", default="target/debug/trueup", help="the binary to test")
    parser.add_argument("--fuzz", type=int, default=0, metavar="N", help="generated documents")
    parser.add_argument("--mutate", type=int, default=0, metavar="N", help="random changes of each file")
    parser.add_argument("--uncomment", action="store_true", help="each file also with its #key = value lines bare")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", metavar="DIR", help="write what oslo.config answers to DIR/*.conf")
    options = parser.parse_args()

    if options.record:
        record(options.record, options.seed)
        return

    counts = {}
    values = 0
    different = []

    def check(path, kind, name):
        theirs, ours = oslo(path), trueup(options.trueup, path)
        nonlocal values
        total, refused = counts.get(kind, (0, 0))
        counts[kind] = total + 1, refused + (theirs is None)
        values += sum(len(vs) for keys in (theirs or {}).values() for vs in keys.values())
        if ordered(theirs) != ordered(ours):
            different.append(name)
            print(f"DIFFERENT {name}\n  oslo.config: {theirs}\n  trueup:      {ours}", file=sys.stderr)

    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        scratch = os.path.join(folder, "case.conf")

        def check_text(text, kind, name):
            with open(scratch, "w", newline="") as out:
                out.write(text)
            before = len(different)
            check(scratch, kind, name)
            if len(different) > before:
                print(f"  document: {text!r}", file=sys.stderr)

        for path in files(options.paths):
            check(path, "real files", path)
            if not (options.mutate or options.uncomment):
                continue
            with open(path, errors="replace", newline="") as source:
                text = source.read()
            if options.uncomment:
                bare = re.sub(r"^#(?=[a-z][a-z0-9_]* =)", "", text, flags=re.MULTILINE)
                check_text(bare, "uncommented", f"{path}, uncommented")
            for number in range(options.mutate):
                check_text(mutated(rng, text), "mutated", f"{path}, change {number}")
        for number in range(options.fuzz):
            check_text(document(rng), "generated", f"document {number} of seed {options.seed}")

    for kind, (total, refused) in counts.items():
        print(f"{total} {kind}: {total - refused} read by oslo.config, {refused} refused by it")
    print(f"{values} values, {len(different)} files different")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
