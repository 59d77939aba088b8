"""Turns the arguments of `gpubench profile` into a finished capture."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.cli.open_run import open_run, pick_case
from gpubench.cli.print_errors import say, say_warning
from gpubench.core.errors import UsageError
from gpubench.profile.capture import capture_case
from gpubench.profile.capture.capture_case import CapturePlan
from gpubench.profile.figures.summary_model import SUMMARY_FILE, profile_folder
from gpubench.protocol.profile_job import ProfileJob
from gpubench.store.atomic_files import inside, write_atomically
from gpubench.store.run_names import split_case
from gpubench.suite.cases.labels import label_cases, named_cases
from gpubench.suite.load import load_suite
from gpubench.suite.select.expression import parse_selection

_MOST_NAMED = 8


@dataclass(frozen=True)
class Chosen:
    """The case to profile. If it is from a stored run: its step time without a profiler in seconds, and the run's
    folder if the profile goes into it.
    """

    job: ProfileJob
    measured_step_time_s: float | None = None
    run: Path | None = None


def choose(
    target: str,
    selection: str | None,
    named: str | None,
    overrides: tuple[str, ...],
    *,
    steps: int,
    out: Path | None,
    memory: bool,
    store: Path,
    download: bool = False,
    force: bool = False,
    trust: bool = False,
) -> Chosen:
    """The one case selected by `target` and `selection`, or `named`; else UsageError with the candidates."""
    wanted = {"tool": "torch", "steps": steps, "memory": memory, "download": download}
    if target.startswith("@") or (":" in target and not Path(target).exists()):
        if selection or named or overrides:
            raise UsageError(
                f"{target} is a case of a stored run, which cannot be combined with -s, -k or --case.",
                hint="Profile a case of its suite instead: gpubench profile SUITE --case ID.",
            )
        return _of_run(target, wanted, out, store, force=force, trust=trust)
    return _of_suite(target, selection, named, overrides, wanted, out, store)


def _of_suite(
    target: str,
    selection: str | None,
    named: str | None,
    overrides: tuple[str, ...],
    wanted: dict[str, Any],
    out: Path | None,
    store: Path,
) -> Chosen:

    if selection and named:
        raise UsageError("-k and --case exclude each other.")
    loaded = load_suite(target, overrides)
    for warning in loaded.warnings:
        say_warning(warning)
    keeps = parse_selection(selection) if selection else None
    labelled = zip(loaded.cases, label_cases(loaded.cases), strict=True)
    ids = None if named is None else named_cases([named], loaded.cases, overrides=overrides).measured
    left = [
        (case, label)
        for case, label in labelled
        if (keeps is None or keeps.matches(case)) and (ids is None or case.case_id in ids)
    ]
    if len(left) != 1:
        if not left:
            raise UsageError(
                f"No case of the suite matches {selection!r}.", hint="`gpubench validate SUITE --cases` lists them."
            )
        listed = "\n".join(f"  {label}" for _, label in left[:_MOST_NAMED])
        more = f"\n  ... and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
        raise UsageError(
            f"Only one case can be profiled, and {len(left)} match:\n{listed}{more}",
            hint="Name it (--case ID), or narrow them down: -k 'precision=amp-bf16 and batch_size=64'",
        )
    ((case, label),) = left
    if case.batch_size == "max":
        raise UsageError("The largest batch is not known until it is measured.", hint="Name one: -s batch_size=256")
    folder = out or store / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-profile-{loaded.suite.name}-{case.case_id}"
    job = ProfileJob(
        **wanted,
        case=case,
        suite=loaded.suite.name,
        label=label or str(case.case_id),
        folder=folder.resolve(),
        search_path=loaded.beside,
    )
    return Chosen(job)


def _of_run(target: str, wanted: dict[str, Any], out: Path | None, store: Path, *, force: bool, trust: bool) -> Chosen:
    """A case of a stored run; the profile goes into the run's folder unless `out` is given."""
    from gpubench.runner.arms.interpreters import find_python
    from gpubench.runner.stored_run import check_files, check_own, place_of

    reference, name = split_case(target)
    if name is None:
        raise UsageError(f"{target} is a run, and only one case can be profiled.", hint=f"Name it: {target}:1")
    run = open_run(reference, store)
    entry = pick_case(summarise_run(run), name)
    info, case = run.info, entry.case
    check_own(info, trust=trust)
    place = place_of(info)
    check_files(info, force=force)
    if case.python is not None:
        case = case.model_copy(update={"python": find_python(case.python, place.folder)})
    if case.batch_size == "max":
        found = entry.effective.batch_size if entry.effective is not None else None
        if found is None:
            raise UsageError(f"{entry.label} found no batch that fits, so there is none to profile.")
        case = case.model_copy(update={"batch_size": found})
    folder = out or inside(run.folder, profile_folder(run.folder, entry.planned.index).relative_to(run.folder))
    job = ProfileJob(
        **wanted,
        case=case,
        suite=info.suite_name,
        label=entry.label,
        folder=folder.resolve(),
        search_path=place.search_path,
        working_folder=place.folder,
    )
    measured = entry.metrics.get("step_time_s")
    return Chosen(job, None if measured is None else measured.value, run.folder if out is None else None)


def command_line(plan: CapturePlan) -> str:
    """The command for a shell; differences in the environment come first, as comments."""
    lines = [f"# without {', '.join(plan.withheld)} in the environment"] if plan.withheld else []
    if plan.passed:
        lines.append(f"# with {', '.join(plan.passed)} in the environment, as asked")
    return "\n".join([*lines, shlex.join(plan.command)])


def capture(
    plan: CapturePlan, chosen: Chosen, *, timeout_s: float, keep_trace: bool, force: bool = False
) -> capture_case.Captured:
    """Runs the capture and writes `profile.json` into its folder. Progress goes to stderr."""
    job = plan.job
    say(f"Profiling {job.label} with {job.tool}: {job.steps} steady steps after warm-up")
    if plan.withheld:
        say(
            f"Withheld from the program as possible secrets: {', '.join(plan.withheld)} (--pass-env NAME passes one on)"
        )
    if plan.passed:
        in_report = "; the report contains the value" if plan.tool else ""
        say(f"Passed to the program as asked: {', '.join(plan.passed)}{in_report}")
    captured = capture_case.run(
        plan, timeout_s=timeout_s, measured_step_time_s=chosen.measured_step_time_s, force=force
    )
    if captured.note:
        say(captured.note)
    path = plan.folder / SUMMARY_FILE
    write_atomically(path, captured.summary.model_dump_json(by_alias=True, indent=2).encode() + b"\n")
    say(f"Summary in {path}")
    if chosen.run is not None:
        say(f"`gpubench report {shlex.quote(str(chosen.run))}` writes the run's report again, with this profile")
    if captured.result.memory:
        say(f"Allocations in {captured.result.memory}: open it at https://docs.pytorch.org/memory_viz")
    elif job.memory:
        say(f"No snapshot of allocations: torch records those of CUDA devices, and this case ran on {job.case.device}.")
    capture_case.tidy(plan, captured, keep_trace=keep_trace)
    return captured
