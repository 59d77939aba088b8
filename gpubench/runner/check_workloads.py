"""Checks that users' workloads can be used, in a separate program that imports them."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from gpubench.core.errors import UsageError
from gpubench.core.secrets import mask_text
from gpubench.protocol import start_module
from gpubench.suite.load import LoadedSuite
from gpubench.suite.model.case import Case
from gpubench.suite.model.workload_names import is_users, missing_extra

TIMEOUT_S = 300.0
"""Seconds; the same as for a launch."""

_LAST_LINES = 3
_SLOW = (
    'Move what takes long, such as downloads and training, below `if __name__ == "__main__":` or into a function '
    "that is not called when the model is made."
)


def unusable_workloads(
    cases: Iterable[Case], search_path: Sequence[str] = (), *, shipped_too: bool = False
) -> dict[str, tuple[str, str]]:
    """Unusable workloads by name: what is wrong, and what to do (may be empty).

    Checks only users' own workloads for this interpreter, and with `shipped_too` those named by a library too. The
    output of modules is shown only if the program ends without an answer.
    """
    asked: dict[str, Case] = {}
    for case in cases:
        wanted = is_users(case.workload) or (shipped_too and ":" in case.workload)
        if wanted and case.python is None and missing_extra(case.workload) is None:  # what lacks an extra is skipped
            asked.setdefault(case.workload, case)
    if not asked:
        return {}
    with tempfile.TemporaryDirectory(prefix="gpubench-") as folder:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        content = {"cases": [case.settings for case in asked.values()], "search_path": list(search_path)}
        request.write_text(json.dumps(content), encoding="utf-8")
        command = start_module.command("gpubench.worker.process.check_workloads", str(request), str(answer))
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="backslashreplace",
                timeout=TIMEOUT_S,
                env={**os.environ, **start_module.environment()},
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"importing {_named(asked)} takes longer than {TIMEOUT_S:.0f} s"
            return dict.fromkeys(asked, (said, _SLOW))
        if not answer.exists():
            last = mask_text(" / ".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-_LAST_LINES:]))
            said = f"importing or calling {_named(asked)} ended the process with {_ended(done.returncode)}: "
            return dict.fromkeys(asked, (f"{said}{last or 'it printed nothing'}", ""))
        found = json.loads(answer.read_text(encoding="utf-8"))
    return {name: (said[0], said[1]) for name, said in zip(asked, found, strict=True) if said is not None}


def check_target(loaded: LoadedSuite) -> None:
    """UsageError if the module named as a target cannot be imported, or is not a model."""
    found = unusable_workloads(loaded.cases, shipped_too=True) if loaded.target is not None else {}
    for said, hint in found.values():
        raise UsageError(said, hint=hint)


def _named(workloads: Iterable[str]) -> str:
    return " or ".join(workloads)


def _ended(status: int) -> str:
    return str(status) if status >= 0 else signal.Signals(-status).name
