"""Open stored runs and find their cases by name."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from gpubench.cli.print_errors import say
from gpubench.cli.shared_options import DEFAULT_STORE
from gpubench.core.errors import UsageError

if TYPE_CHECKING:
    from gpubench.analysis.summary.case_summary import CaseSummary
    from gpubench.analysis.summary.run_summary import RunSummary
    from gpubench.store.run_reader import Run


def open_run(reference: str, store: Path) -> "Run":
    """The run with this name: `@last`, `@last~2`, a unique prefix, a tag or a path. UsageError if none or several.

    Prints a note for each launch that could not be read.
    """
    from gpubench.store.run_names import resolve_run
    from gpubench.store.run_reader import load_run

    run = load_run(resolve_run(reference, store))
    for notice in run.dropped:
        say(f"note: {run.info.run}: {notice}")
    return run


def pick_case(summary: "RunSummary", name: str) -> "CaseSummary":
    """The case with this number, label, or beginning of an id. UsageError if none or several."""
    everything = [*summary.cases, *(quality.summary for quality in summary.quality)]
    found = [entry for entry in everything if name in (str(entry.planned.index), entry.label)]
    found = found or [entry for entry in everything if len(name) >= 4 and entry.planned.case_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    run = f"run {summary.info.run}"
    said = f"several cases of {run} begin with {name!r}" if found else f"{run} has no case {name!r}"
    measured = [entry.planned.index for entry in summary.cases]
    trained = [quality.summary.planned.index for quality in summary.quality]
    numbers = f"{min(measured, default=1)} to {max(measured, default=0)}" if measured else ""
    if trained:
        numbers += f"{', ' if numbers else ''}{min(trained)} to {max(trained)} for quality runs"
    raise UsageError(
        said,
        hint=f"Name a case by its number ({numbers}), its label in quotes, or its id; "
        f"`gpubench show {summary.info.run}` lists them.",
    )


def shown_name(folder: Path, store: Path) -> str:
    """The run as commands without --store find it: its folder's name in the usual store, else its path, quoted."""
    usual = Path(os.environ.get("GPUBENCH_STORE") or DEFAULT_STORE)
    inside = folder.resolve().parent == store.resolve() == usual.resolve()
    return folder.name if inside else shlex.quote(str(folder))
