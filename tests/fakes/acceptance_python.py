"""Stands in for `python` in `scripts/gpu_acceptance.sh`: does in a moment what gpubench, pytest and torch would do for
minutes.

Reads its part from `$FAKE_PLAN` (JSON): `gpu` (a name, null for none), `tools` that are found, and by name of a suite
or command `seconds` that it takes and `status` it ends with. Writes every command it is given to `$FAKE_CALLS`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

PLAN = json.loads(os.environ["FAKE_PLAN"])


class StoppedError(Exception):
    """By a SIGINT."""


def interrupt(number, frame):
    raise StoppedError


def option(arguments, name):
    return arguments[arguments.index(name) + 1] if name in arguments else None


def code(arguments):
    """`python -c`: what the script asks of torch and of gpubench's search for tools."""
    if "find_tool" in arguments[1]:
        return 0 if arguments[2] in PLAN["tools"] else 1
    if PLAN["gpu"] is None:
        sys.stderr.write("RuntimeError: Found no NVIDIA driver on your system. Please check.\n")
        return 1
    print(PLAN["gpu"])
    return 0


def suite(arguments):
    """`gpubench run`: sleeps what is left of its seconds, or its budget, and remembers how far it came."""
    resumed = option(arguments, "--resume")
    folder = Path(resumed or option(arguments, "--out"))
    if resumed is None and folder.exists():
        print(f"error: {folder} is there already", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "records.jsonl"
    before_s = float(log.read_text().split()[-1]) if log.exists() else 0.0
    left_s = PLAN["seconds"].get(folder.name, 0.0) - before_s
    budget_s = float(option(arguments, "--budget").removesuffix("s"))
    began = time.monotonic()
    status = PLAN["status"].get(folder.name, 0)
    try:
        time.sleep(max(0.0, min(left_s, budget_s)))
    except StoppedError:
        status = 130
    log.write_text(f"{before_s + time.monotonic() - began}\n")
    if left_s > budget_s:
        print("note: the time budget was used up: 3 launches were left out")
    print("Result\n  2 cases: 2 ok. NVIDIA\n\nNext    gpubench show")
    return status


def tests(arguments):
    """pytest: four tests that share the seconds; those that are deselected are left out."""
    names = [f"tests/gpu/test_x.py::{name}" for name in ("a", "b", "c", "d")]
    left = [name for name in names if f"--deselect={name}" not in arguments]
    status = PLAN["status"].get("tests", 0)
    for name in left:
        time.sleep(PLAN["seconds"].get("tests", 0.0) / len(names))
        print(f"{name} {'FAILED' if status and name == left[-1] else 'PASSED'}", flush=True)
    return status if left else 5


def main(arguments):
    signal.signal(signal.SIGINT, interrupt)
    with Path(os.environ["FAKE_CALLS"]).open("a") as calls:
        calls.write(" ".join(arguments) + "\n")
    if arguments[0] == "-c":
        return code(arguments)
    if arguments[1] == "gpubench" and arguments[2] == "run":
        return suite(arguments)
    if arguments[0].endswith("complete_cases.py"):
        print("2 of 2 cases complete")
        return 0
    if arguments[1] == "pip":
        Path(option(arguments, "--target")).mkdir(parents=True, exist_ok=True)
        return PLAN["status"].get("pip", 0)
    if arguments[1] == "pytest":
        return tests(arguments)
    name = arguments[2]
    time.sleep(PLAN["seconds"].get(name, 0.0))
    print(f"{name} did what it does")
    return PLAN["status"].get(name, 0)


sys.exit(main(sys.argv[1:]))
