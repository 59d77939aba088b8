"""Imports users' workloads and reports what is wrong with them; a program of its own, because imports run their code.

`python -m gpubench.worker.process.check_workloads REQUEST ANSWER`: both are JSON files.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from gpubench.core.errors import GpubenchError
from gpubench.suite.model.case import Case
from gpubench.worker.process_lifetime import die_with
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
    found = [why_unusable(case, tuple(asked["search_path"])) for case in cases]
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    die_with(os.getppid())
    main(*sys.argv[1:])
