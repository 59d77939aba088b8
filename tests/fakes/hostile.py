"""Strings that try to be something else than text, in every place of a run where text from outside can stand."""

import re
from typing import Any

from fakes.runs import FakeRun, Invented

from gpubench.core.findings import finding
from gpubench.core.records import Failure, Status

SCRIPT = "<script>alert(1)</script>"
CLOSING = "</script></style></textarea></title>--><img src=x onerror=alert(2)>"
MARKDOWN = "| [x](http://evil.example) ![i](y) `rm -rf` @team #12 **b** <b>"
TERMINAL = "\x1b[31mred\x1b]0;title\x07\x9b2J\r\n"
BIDI = "\u202egnp.exe\u2066\u200b\ufeff"
FORMULA = '=HYPERLINK("http://evil.example")'
COMMANDS = " ::error file=x::y ##[add-mask]z ##vso[task.setvariable]w"
EXPRESSION = "{{ 7*7 }}{% raw %}${7*7}"

HOSTILE = f"{SCRIPT} {CLOSING} {MARKDOWN} {TERMINAL} {BIDI} {EXPRESSION}{COMMANDS}"
STEERS_CI = re.compile(r"^\s*::\w|##\w*\[", re.MULTILINE)
"""What GitHub or Azure would take from a log as a command."""
MOVES_A_TERMINAL = ("\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2066", "\u200b", "\ufeff")


def hostile_run(**changes: Any) -> FakeRun:
    """Labels, reasons, messages, tag, suite, paths, arguments and environment are hostile."""
    made = Invented()
    same = {"mode": "train", "data": "digits", "device": "cuda", "env": {"EVIL": HOSTILE}}
    for batch in (64, 256):
        for precision, rate in (("fp32", 900.0), ("amp-bf16", 1900.0)):
            made.measured(
                f"{FORMULA} {HOSTILE} {precision} {batch}",
                rate * batch,
                precision=precision,
                batch_size=batch,
                findings=[finding("GB204", HOSTILE, hint=HOSTILE)],
                **same,
            )
    failure = Failure(phase=HOSTILE, error=HOSTILE, message=HOSTILE, signal=HOSTILE, log=f"cases/{HOSTILE}/1.log")
    made.ended(HOSTILE, Status.FAILED, HOSTILE, failure=failure, batch_size=8, **same)
    made.plan(HOSTILE, skip=(Status.SKIPPED, HOSTILE), batch_size=16, **same)
    made.trained(HOSTILE, 0.9, device="cuda", precision="fp32")
    records = [
        record.model_copy(update={"absent": {"mean_power_w": HOSTILE, "mfu": HOSTILE}, "telemetry": TELEMETRY})
        for record in made.records
    ]
    made.records[:] = records
    environment = {
        "hostname": HOSTILE,
        "system": {"distribution": HOSTILE, "kernel": HOSTILE},
        "cpu": {"model": HOSTILE, "flags": [HOSTILE]},
        "python": {"version": HOSTILE},
        "packages": {"torch": HOSTILE},
        "worker": {"torch": HOSTILE},
        "variables": {HOSTILE: HOSTILE},
        "git": {"commit": HOSTILE, "branch": HOSTILE},
        "driver": {"driver": HOSTILE},
        "gpus": [{"name": HOSTILE, "power_limit_w": 700.0}],
    }
    fields = {
        "tag": HOSTILE,
        "suite_name": HOSTILE,
        "suite_path": HOSTILE,
        "argv": ("gpubench", "run", HOSTILE),
        "environment": environment,
        "suite": {"description": HOSTILE, "baseline": {"device": "cuda", "precision": "fp32"}},
    }
    return made.run(**{**fields, **changes})


TELEMETRY = {
    "energy_source": HOSTILE,
    "energy_valid": False,
    "energy_invalid_reason": HOSTILE,
    "other_processes_absent": HOSTILE,
    "throttle_share_by_reason": {HOSTILE: 0.5},
}
