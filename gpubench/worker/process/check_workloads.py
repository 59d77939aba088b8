"""Imports users' workloads and reports what is wrong with them; a program of its own, because imports run their code.

`python -m gpubench.worker.process.check_workloads REQUEST ANSWER`: a JSON file, and one with a line of JSON for each
workload.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from gpubench.core.errors import GpubenchError
from gpubench.suite.model.case import Case
from gpubench.worker.process_lifetime import CAN_FORK, die_with, flush_output
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.supervised.supervised import Supervised
from gpubench.worker.workloads.users_errors import raised, remedy

_NO_EXIT = "Raise an exception instead: gpubench then says which line it was."


def why_unusable(case: Case, search_path: tuple[str, ...]) -> tuple[str, str] | None:
    """What is wrong with the case's workload, and what to do; None if it can be used. Nothing is measured."""
    try:
        workload: Any = resolve(case.workload, search_path, params=case.params)
        if isinstance(workload, Supervised):
            workload.check(case)
    except GpubenchError as error:
        return str(error), error.hint
    except Unsupported as error:
        return str(error), ""
    except SystemExit as ended:
        return f"{case.workload} ended the process when it was called: sys.exit({ended.code!r}).", _NO_EXIT
    except Exception as error:  # noqa: BLE001 - any exception of the user's code is the answer
        return f"{case.workload} cannot be used: {raised(error)}", remedy(error)
    return None


def main(request: str, answer: str) -> None:
    asked = json.loads(Path(request).read_text(encoding="utf-8"))
    cases = [Case.model_validate(settings) for settings in asked["cases"]]
    told, wanted = Path(answer), 0
    for _, of_module in groupby(cases, lambda case: case.workload.partition(":")[0]):
        same = tuple(of_module)
        _apart(partial(_answer, same, tuple(asked["search_path"]), told))
        wanted += len(same)
        if not told.exists() or told.read_bytes().count(b"\n") < wanted:
            return  # the module ended the child as if all were well


def _answer(cases: tuple[Case, ...], search_path: tuple[str, ...], answer: Path) -> None:
    for case in cases:
        # A line each at once: the next workload may end the process, or never return.
        said = json.dumps([case.workload, why_unusable(case, search_path)])
        with answer.open("a", encoding="utf-8") as file:
            file.write(f"{said}\n")


def _apart(work: Callable[[], None]) -> None:
    """Does it in a child of this process, so that a module cannot change what the next one meets. Ends this process as
    the child ended, if that was not well.
    """
    if not CAN_FORK:
        work()
        return
    parent, child = os.getpid(), os.fork()
    if child == 0:
        die_with(parent)
        work()
        flush_output()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(parent, -status)
    if status:
        os._exit(status)


if __name__ == "__main__":
    die_with(os.getppid())
    main(*sys.argv[1:])
