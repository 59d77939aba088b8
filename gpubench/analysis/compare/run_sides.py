"""The sides of a comparison, and how a run or one of its arms becomes one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gpubench.analysis.summary.comparable_case import ComparableCase
from gpubench.analysis.summary.run_summary import RecordedRun, RunSummary, summarise_run
from gpubench.core.errors import UsageError
from gpubench.machine.environment import comparable

Source = Literal["run", "arm", "baseline", "pytest-benchmark"]


@dataclass(frozen=True)
class Side:
    """One side. `environment` is its comparable part, flat; `facts` are other differences (commit, an arm's settings).

    `source` and `suite` decide which sides may be compared. `name` is the one shown. For an arm, `rounds` is the most
    that a case of its run gets, and `screen_rounds` what a screened run gives every case.
    """

    name: str
    source: Source
    suite: str
    cases: tuple[ComparableCase, ...]
    environment: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0
    screen_rounds: int | None = None


def arms_of(run: RecordedRun) -> tuple[str, ...]:
    """Names of the run's arms, the reference first; empty if it has none."""
    if run.info.arms:
        return tuple(arm.name for arm in run.info.arms)
    return tuple(dict.fromkeys(record.arm for record in run.records if record.arm is not None))


def side_of(run: RecordedRun, name: str, *, arm: str | None = None, summary: RunSummary | None = None) -> Side:
    """A run, or one arm of it; `summary` is that of its launches, if there is one already.

    UsageError for a run of several arms if none is named: they must not be mixed.
    """
    arms = arms_of(run)
    if arm is None and arms:
        raise UsageError(
            f"run {run.info.run} has the arms {', '.join(arms)}: its launches belong to either",
            hint=f"Compare them with each other: name {run.info.run} alone.",
        )
    summary = summary or summarise_run(run, arm=arm, metrics=())
    cases = (*summary.cases, *(entry.summary for entry in summary.quality))
    environment = comparable(run.info.environment)
    suite = run.info.suite_name
    if arm is None:
        return Side(name, "run", suite, cases, environment, facts_of(run))
    given = next((each.given for each in run.info.arms if each.name == arm), {})
    # An arm may use another interpreter than the run's first: its own workers say which versions it has.
    versions = next((case.effective.versions for case in cases if case.effective and case.effective.versions), {})
    environment |= {f"worker.{key}": value for key, value in versions.items() if value is not None}
    return Side(name, "arm", suite, cases, environment, given, run.info.repeats, run.info.screen_rounds)


def arm_sides(
    run: RecordedRun, reference: str | None = None, summaries: Mapping[str, RunSummary] | None = None
) -> tuple[Side, tuple[Side, ...]]:
    """The reference arm of a run (its first, or the one named) and the others. UsageError without two arms.

    `summaries` by arm, if there are some already.
    """
    arms = arms_of(run)
    if reference is not None and reference not in arms:
        raise UsageError(f"run {run.info.run} has no arm {reference!r}", hint=f"Its arms: {', '.join(arms) or 'none'}.")
    if len(arms) < 2:
        raise UsageError(
            f"run {run.info.run} has no two arms to compare",
            hint="Name a second run, or measure two arms in one run: gpubench run SUITE --arm base=... --arm head=...",
        )
    first = reference or arms[0]
    sides = {arm: side_of(run, arm, arm=arm, summary=(summaries or {}).get(arm)) for arm in arms}
    return sides[first], tuple(side for arm, side in sides.items() if arm != first)


def commit_of(run: RecordedRun) -> str | None:
    """The short commit of the run, followed by `with changes` if its files had some; None if unknown."""
    git = run.info.environment.get("git") or {}
    if not git.get("commit"):
        return None
    return f"{str(git['commit'])[:12]}{' with changes' if git.get('dirty') else ''}"


def facts_of(run: RecordedRun) -> dict[str, Any]:
    commit = commit_of(run)
    return {} if commit is None else {"git commit": commit}
