"""Compare two sides: what differs around them, how their cases moved, and the overall change."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpubench.analysis.compare.case_changes import CaseChange, compare_runs
from gpubench.analysis.compare.overall_change import Overall, overall, weakest_level
from gpubench.analysis.compare.run_sides import Side
from gpubench.analysis.compare.screened_cases import judge_screened
from gpubench.analysis.compare.side_differences import Difference, differences
from gpubench.analysis.verdict.judge import Level
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.core.errors import UsageError

SPEED = ("throughput", "latency_s")
MEMORY = ("peak_memory_allocated_bytes", "peak_rss_bytes")
COMPARED = (*SPEED, *MEMORY, "energy_per_sample_j", "accuracy")
"""Metrics compared by default, as far as they were measured."""


@dataclass(frozen=True)
class Compared:
    """`metrics` are those asked for. `interleaved`: rounds were paired; `allow_unpaired`: verdicts even if not."""

    reference: Side
    candidate: Side
    differences: tuple[Difference, ...]
    changes: tuple[CaseChange, ...]
    metrics: tuple[str, ...]
    settings: CompareSettings
    interleaved: bool
    allow_unpaired: bool = False

    @property
    def refused(self) -> tuple[Difference, ...]:
        """Differences that make the numbers incomparable."""
        return tuple(each for each in self.differences if each.refused)

    @property
    def num_in_common(self) -> int:
        return sum(change.reference is not None and change.candidate is not None for change in self.changes)

    @property
    def overall(self) -> Overall | None:
        return overall(self.changes)

    @property
    def level(self) -> Level | None:
        return weakest_level(self.changes)

    @property
    def counts(self) -> dict[str, int]:
        """Judgements of all metrics of all cases, and cases without any by their kind."""
        judged: list[str] = [moved.judgement for change in self.changes for moved in change.changes.values()]
        ends: list[str] = [change.kind for change in self.changes if change.kind != "measured"]
        return dict(Counter([*judged, *ends]))


def compare_sides(
    reference: Side,
    candidate: Side,
    metrics: Sequence[str] = COMPARED,
    settings: CompareSettings | None = None,
    *,
    allow_unpaired: bool = False,
    interleaved: bool | None = None,
) -> Compared:
    """Everything about two sides. `interleaved` None: arms of one run are, anything else is not."""
    arms = reference.source == candidate.source == "arm" if interleaved is None else interleaved
    chosen = settings or CompareSettings()
    if arms and reference.rounds > chosen.max_rounds:
        chosen = replace(chosen, max_rounds=reference.rounds)
    changes = compare_runs(reference, candidate, metrics, chosen, interleaved=arms, allow_unpaired=allow_unpaired)
    if arms and reference.screen_rounds is not None:
        changes = judge_screened(changes, reference.screen_rounds, chosen)
    return Compared(
        reference, candidate, differences(reference, candidate), changes, tuple(metrics), chosen, arms, allow_unpaired
    )


def refuse(compared: Compared, *, force: bool = False) -> None:
    """UsageError if the sides have no case in common or, unless `force`, if their numbers are not comparable."""
    names = f"{compared.reference.name} and {compared.candidate.name}"
    files = compared.candidate.source == "pytest-benchmark"
    if not compared.num_in_common:
        if files:
            what = "tests with the same name"
            hint = "Tests are matched by full name, including the file's path: run both from the same folder."
        else:
            what = "cases with the same settings"
            hint = "Cases are matched by all of their settings. `gpubench show RUN` lists those of a run."
        raise UsageError(f"{names} have no case in common: no two {what}", hint=hint)
    if compared.refused and not force:
        said = "; ".join(
            f"{each.shown}: {'none' if each.before is None else each.before}"
            f" and {'none' if each.after is None else each.after}"
            for each in compared.refused
        )
        where = "in turn on one machine" if files else "on one machine with one suite (`gpubench run SUITE --arm ...`)"
        raise UsageError(
            f"{names} cannot be compared, their numbers mean nothing together: {said}",
            hint=f"Measure both {where}; --force compares them as they are.",
        )
