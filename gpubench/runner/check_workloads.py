"""Checks that users' workloads can be used, in a separate program that imports them."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gpubench.core.errors import UsageError
from gpubench.core.secrets import mask_text
from gpubench.core.units import format_duration
from gpubench.protocol import start_module
from gpubench.suite.load import LoadedSuite
from gpubench.suite.model.case import Case
from gpubench.suite.model.workload_names import is_users, missing_extra

TIMEOUT_S = 300.0
"""Seconds; the same as for a launch."""

_PATIENCE_S = 5.0
"""Seconds until the user is told that modules are still being imported; then after twice as long, and so on."""

_LAST_LINES = 3
_SLOW = (
    'Move what takes long, such as downloads and training, below `if __name__ == "__main__":` or into a function '
    "that is not called when the model is made. -s measure.timeout=20m allows more time."
)

Say = Callable[[str], None]


def unusable_workloads(
    cases: Iterable[Case],
    search_path: Sequence[str] = (),
    *,
    shipped_too: bool = False,
    timeout_s: float = TIMEOUT_S,
    say: Say = lambda _: None,
) -> dict[str, tuple[str, str]]:
    """Unusable workloads by name: what is wrong, and what to do (may be empty).

    Checks only users' own workloads for this interpreter, and with `shipped_too` those named by a library too. Their
    program is ended after `timeout_s`; `say` is called when it takes long. Its output is shown only if it ends without
    an answer.
    """
    asked: dict[str, Case] = {}
    for case in cases:
        wanted = is_users(case.workload) or (shipped_too and ":" in case.workload)
        if wanted and case.python is None and missing_extra(case.workload) is None:  # what lacks an extra is skipped
            asked.setdefault(case.workload, case)
    if not asked:
        return {}
    with tempfile.TemporaryDirectory(prefix="gpubench-") as folder:
        request, answer, output = (Path(folder, name) for name in ("request.json", "answer.json", "output"))
        content = {"cases": [case.settings for case in asked.values()], "search_path": list(search_path)}
        request.write_text(json.dumps(content), encoding="utf-8")
        command = start_module.command("gpubench.worker.process.check_workloads", str(request), str(answer))
        status = _status_of(command, output, timeout_s, _named(asked), say)
        if not answer.exists():
            printed = output.read_text(encoding="utf-8", errors="backslashreplace").strip().splitlines()
            last = mask_text(" / ".join(printed[-_LAST_LINES:])) or "it printed nothing"
            if status is None:
                said = f"importing {_named(asked)} takes longer than {format_duration(timeout_s)}: {last}"
                return dict.fromkeys(asked, (said, _SLOW))
            said = f"importing or calling {_named(asked)} ended the process with {_ended(status)}: {last}"
            return dict.fromkeys(asked, (said, ""))
        found = json.loads(answer.read_text(encoding="utf-8"))
    return {name: (said[0], said[1]) for name, said in zip(asked, found, strict=True) if said is not None}


def check_target(loaded: LoadedSuite, say: Say = lambda _: None) -> None:
    """UsageError if the module named as a target cannot be imported, or is not a model."""
    if loaded.target is not None:
        refuse_unusable(loaded, loaded.cases, say)


def refuse_unusable(loaded: LoadedSuite, cases: Iterable[Case], say: Say) -> None:
    """UsageError if a workload of `cases`, the user's or one named by a library, cannot be used."""
    timeout_s = loaded.suite.measure.timeout
    found = unusable_workloads(cases, loaded.beside, shipped_too=True, timeout_s=timeout_s, say=say)
    for said, hint in found.values():
        raise UsageError(said, hint=hint)


def _status_of(command: Sequence[str], output: Path, timeout_s: float, named: str, say: Say) -> int | None:
    """Runs the program in a new session and returns its exit status; None if it was ended after `timeout_s`.

    It is killed on an exception too, such as Ctrl-C, which a module may catch and ignore.
    """
    begun, since = time.monotonic(), time.strftime("%H:%M:%S")
    told_s = _PATIENCE_S
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **start_module.environment()},
            start_new_session=True,
        )
    try:
        while (left_s := timeout_s - (time.monotonic() - begun)) > 0:
            try:
                return process.wait(min(left_s, max(0.0, begun + told_s - time.monotonic())))
            except subprocess.TimeoutExpired:
                if time.monotonic() - begun >= told_s:
                    say(
                        f"still importing {named}, since {since} ({format_duration(told_s)}); it is ended after "
                        f"{format_duration(timeout_s)}, or now with Ctrl-C"
                    )
                    told_s *= 2
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _named(workloads: Iterable[str]) -> str:
    return " or ".join(workloads)


def _ended(status: int) -> str:
    return str(status) if status >= 0 else signal.Signals(-status).name
