"""Two sides against each other: what differs around them, how their cases moved, and what it comes to."""

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
"""What is compared where nothing else is asked for, as far as it was measured."""


@dataclass(frozen=True)
class Compared:
    """`changes` by case; `metrics` are those that were asked for. `interleaved` says that rounds were paired,
    `allow_unpaired` that verdicts were asked for all the same.
    """

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
        """Differences with which the numbers mean nothing together."""
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


_ONE_RUN = "on one machine with one suite (`gpubench run SUITE --arm ...`)"


def refuse(compared: Compared, *, force: bool = False) -> None:
    """UsageError where the sides have no case in common, or, unless `force`, where their numbers mean nothing together."""
    names = f"{compared.reference.name} and {compared.candidate.name}"
    files = compared.candidate.source == "pytest-benchmark"
    if not compared.num_in_common:
        raise UsageError(
            f"{names} have no case in common: no two {'tests of theirs have the same name' if files else 'cases of theirs have the same settings'}",
            hint="Tests are matched by their full names, with the path of their file as pytest says it: measure both from the same folder."
            if files
            else "Cases are matched by all of their settings. `gpubench show RUN` lists those of a run.",
        )
    if compared.refused and not force:
        said = "; ".join(f"{each.shown}: {_said(each.before)} and {_said(each.after)}" for each in compared.refused)
        raise UsageError(
            f"{names} cannot be compared, their numbers mean nothing together: {said}",
            hint=f"Measure both {'in turn on one machine' if files else _ONE_RUN}; --force compares them as they are.",
        )


def _said(value: object) -> str:
    return "none" if value is None else str(value)
