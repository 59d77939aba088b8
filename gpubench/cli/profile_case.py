"""From what a person typed after `gpubench profile` to a finished capture."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.core.errors import UsageError
from gpubench.profile.capture import capture_case as capturing
from gpubench.profile.stored_profiles import SUMMARY_FILE, profile_folder
from gpubench.protocol.profile_job import ProfileJob

if TYPE_CHECKING:
    from gpubench.analysis.summary.case_summary import CaseSummary
    from gpubench.suite.model.case import Case

_MOST_NAMED = 8


@dataclass(frozen=True)
class Chosen:
    """The case to profile. For one of a stored run its step time measured without a profiler, in seconds, and
    the run's folder, if the profile goes into it.
    """

    job: ProfileJob
    measured_step_time_s: float | None = None
    run: Path | None = None


def choose(
    target: str,
    selection: str | None,
    overrides: tuple[str, ...],
    *,
    steps: int,
    out: Path | None,
    memory: bool,
    store: Path,
    download: bool = False,
) -> Chosen:
    """The one case that `target` and `selection` leave. UsageError names the candidates if it is not one."""
    wanted = {"tool": "torch", "steps": steps, "memory": memory, "download": download}
    if _names_a_run(target):
        if selection or overrides:
            raise UsageError(
                f"{target} is a case of a stored run: -s and -k do not go with it.",
                hint="Profile a case of its suite instead: gpubench profile SUITE -k EXPR.",
            )
        return _of_run(target, wanted, out, store)
    return _of_suite(target, selection, overrides, wanted, out, store)


def _names_a_run(target: str) -> bool:
    return target.startswith("@") or (":" in target and not Path(target).exists())


def _of_suite(
    target: str,
    selection: str | None,
    overrides: tuple[str, ...],
    wanted: dict[str, Any],
    out: Path | None,
    store: Path,
) -> Chosen:
    from gpubench.suite.cases.labels import label_cases
    from gpubench.suite.load import load_suite
    from gpubench.suite.select.expression import parse_selection

    loaded = load_suite(target, overrides)
    for warning in loaded.warnings:
        click.echo(str(warning), err=True)
    keeps = parse_selection(selection) if selection else None
    labelled = zip(loaded.cases, label_cases(loaded.cases), strict=True)
    left = [(case, label) for case, label in labelled if keeps is None or keeps.matches(case)]
    if len(left) != 1:
        raise _not_one([label for _, label in left], selection)
    ((case, label),) = left
    if case.batch_size == "max":
        raise UsageError("The largest batch is not known before it is measured.", hint="Name one: -s batch_size=256")
    folder = out or store / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-profile-{loaded.suite.name}-{case.case_id}"
    job = ProfileJob(
        **wanted,
        case=case,
        suite=loaded.suite.name,
        label=label or str(case.case_id),
        folder=folder.resolve(),
        search_path=_beside(loaded.path),
    )
    return Chosen(job)


def _not_one(labels: list[str], selection: str | None) -> UsageError:
    if not labels:
        return UsageError(
            f"No case of the suite matches {selection!r}.", hint="`gpubench validate SUITE --cases` lists them."
        )
    named = "\n".join(f"  {label}" for label in labels[:_MOST_NAMED])
    more = f"\n  ... and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return UsageError(
        f"A profile is of one case, and {len(labels)} are left:\n{named}{more}",
        hint="Narrow it down with -k, for example: -k 'precision=amp-bf16 and batch_size=64'",
    )


def _with_its_batch(entry: "CaseSummary") -> "Case":
    """The case; of `batch_size: max` with the batch that was found."""
    found = entry.effective.batch_size if entry.effective is not None else None
    if entry.case.batch_size != "max":
        return entry.case
    if found is None:
        raise UsageError(f"{entry.label} found no batch that fits, so there is none to profile.")
    return entry.case.model_copy(update={"batch_size": found})


def _of_run(target: str, wanted: dict[str, Any], out: Path | None, store: Path) -> Chosen:
    """A case of a stored run; the profile goes into the run's folder unless `out` is given."""
    from gpubench.analysis.summary.run_summary import summarise_run
    from gpubench.cli.open_run import open_run, pick_case
    from gpubench.store.run_names import split_case

    reference, name = split_case(target)
    if name is None:
        raise UsageError(f"{target} is a run; a profile is of one case.", hint=f"Name it: {target}:1")
    run = open_run(reference, store)
    entry = pick_case(summarise_run(run), name)
    info, planned = run.info, entry.planned
    folder = out or profile_folder(run.folder, planned.index)
    job = ProfileJob(
        **wanted,
        case=_with_its_batch(entry),
        suite=info.suite_name,
        label=entry.label,
        folder=folder.resolve(),
        search_path=_beside(None if info.suite_path is None else Path(info.suite_path)),
    )
    measured = entry.metrics.get("step_time_s")
    return Chosen(job, None if measured is None else measured.value, run.folder if out is None else None)


def _beside(suite: Path | None) -> tuple[str, ...]:
    """Workloads of one's own lie beside the suite."""
    return () if suite is None else (str(suite.resolve().parent),)


def plan(chosen: Chosen, tool: Any, *, nsys: str | None, ncu: str | None) -> capturing.Plan:
    return capturing.plan(chosen.job, tool, nsys=nsys, ncu=ncu)


def command_line(made: capturing.Plan) -> str:
    """For a shell. What was left out of the environment comes first, as a comment."""
    lines = [f"# without {', '.join(made.removed)} in the environment"] if made.removed else []
    return "\n".join([*lines, shlex.join(made.command)])


def capture(made: capturing.Plan, chosen: Chosen, *, timeout_s: float, keep_trace: bool) -> capturing.Captured:
    """Runs it and leaves `profile.json` in the folder. Progress goes to stderr."""
    _say(f"Profiling {made.job.label} with {made.job.tool}: {made.job.steps} steady steps after warm-up")
    if made.removed:
        _say(f"Left out of its environment, as reports keep it whole: {', '.join(made.removed)}")
    captured = capturing.run(made, timeout_s=timeout_s, measured_step_time_s=chosen.measured_step_time_s)
    for note in captured.notes:
        _say(note)
    path = made.folder / SUMMARY_FILE
    path.write_text(captured.summary.model_dump_json(by_alias=True, indent=2) + "\n")
    _say(f"Summary in {path}")
    if chosen.run is not None:
        _say(f"`gpubench report {chosen.run}` writes the run's report anew, with it")
    if captured.result.memory:
        _say(f"Allocations in {captured.result.memory}: open it at https://docs.pytorch.org/memory_viz")
    elif made.job.memory:
        _say(
            f"No snapshot of allocations: torch records those of CUDA devices, and this case ran on {made.job.case.device}."
        )
    capturing.tidy(made, captured, keep_trace=keep_trace)
    return captured


def _say(text: str) -> None:
    click.echo(text, err=True)
