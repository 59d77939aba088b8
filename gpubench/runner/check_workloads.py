"""Checks that users' workloads can be used, in a separate program that imports them."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

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
    program is ended after `timeout_s`, and what comes after is then not checked; `say` is called when it takes long.
    Its output is shown only if it ends without an answer.
    """
    asked: dict[str, Case] = {}
    for case in cases:
        wanted = is_users(case.workload) or (shipped_too and ":" in case.workload)
        if wanted and case.python is None and missing_extra(case.workload) is None:  # what lacks an extra is skipped
            asked.setdefault(case.workload, case)
    found: dict[str, tuple[str, str]] = {}
    left = list(asked)
    while left:
        answers, end = _ask([asked[name] for name in left], search_path, timeout_s, say)
        found |= {name: said for name, said in answers.items() if said is not None}
        if end is None:
            break
        culprit, *left = (name for name in left if name not in answers)
        doing = "importing" if end.slow else "importing or calling"
        found[culprit] = (f"{doing} {culprit} {end.said}", _SLOW if end.slow else "")
        if end.slow:
            break  # each of the rest might take as long
    return found


Answers = dict[str, tuple[str, str] | None]


class _End(NamedTuple):
    """How the program ended without an answer for a workload. `slow`: it took too long."""

    said: str
    slow: bool


def _ask(cases: Sequence[Case], search_path: Sequence[str], timeout_s: float, say: Say) -> tuple[Answers, _End | None]:
    """The answers by workload, and how the program ended if there is not one for each."""
    with tempfile.TemporaryDirectory(prefix="gpubench-") as folder:
        request, answer, output = (Path(folder, name) for name in ("request.json", "answers.jsonl", "output"))
        content = {"cases": [case.settings for case in cases], "search_path": list(search_path)}
        request.write_text(json.dumps(content), encoding="utf-8")

        def answers() -> Answers:
            lines = answer.read_text(encoding="utf-8").splitlines(keepends=True) if answer.exists() else []
            found = dict(json.loads(line) for line in lines if line.endswith("\n"))
            return {name: None if said is None else (said[0], said[1]) for name, said in found.items()}

        def now() -> str:
            told = answers()
            return next((case.workload for case in cases if case.workload not in told), cases[-1].workload)

        command = start_module.command("gpubench.worker.process.check_workloads", str(request), str(answer))
        status = _status_of(command, output, timeout_s, now, say)
        told = answers()
        if len(told) == len(cases):
            return told, None
        printed = output.read_text(encoding="utf-8", errors="backslashreplace").strip().splitlines()
        last = mask_text(" / ".join(printed[-_LAST_LINES:])) or "it printed nothing"
        if status is None:
            return told, _End(f"takes longer than {format_duration(timeout_s)}: {last}", slow=True)
        return told, _End(f"ended the process with {_ended(status)}: {last}", slow=False)


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


def _status_of(command: Sequence[str], output: Path, timeout_s: float, now: Callable[[], str], say: Say) -> int | None:
    """Runs the program in a new session and returns its exit status; None if it was ended after `timeout_s`. `now`: the
    workload that it is at.

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
                        f"still importing {now()}, since {since} ({format_duration(told_s)}); it is ended after "
                        f"{format_duration(timeout_s)}, or now with Ctrl-C"
                    )
                    told_s *= 2
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _ended(status: int) -> str:
    return str(status) if status >= 0 else signal.Signals(-status).name
