"""Compares two sides: differences in their environments, the change of each case, and the overall change."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gpubench.analysis.compare.case_changes import (
    STEP_METRICS,
    CaseChange,
    MetricChange,
    compare_runs,
    ratio_change,
    round_log_ratios,
)
from gpubench.analysis.compare.run_sides import Difference, Side, differences
from gpubench.analysis.summary.launch_estimates import from_location
from gpubench.analysis.verdict.judge import Level
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.analysis.verdict.many_comparisons import Logs, judge_suite, screen
from gpubench.core.errors import UsageError
from gpubench.core.metrics import METRICS, SESOI
from gpubench.core.records import Estimate
from gpubench.stats.estimators import Location, bounded_exp

SPEED = ("throughput", "latency_s")
MEMORY = ("peak_memory_allocated_bytes", "peak_rss_bytes")
SCORES = ("accuracy", "bleu", "wer", "map", "miou", "eer")
"""What judges a task: one of these."""

COMPARED = (*SPEED, *MEMORY, "energy_per_sample_j", *SCORES)
"""Metrics compared by default, if measured."""

SPEED_METRICS = (*SPEED, "step_time_s")
"""The speed of a case is the first of these that was measured."""

LEVELS: tuple[Level, ...] = ("single", "stored", "launch", "block")
"""Weakest first."""

LEAST_ROUNDS = 3
"""The fewest rounds for a trimmed mean with its error."""


@dataclass(frozen=True)
class Overall:
    """Geometric mean of candidate over reference time of `num_cases` cases; above 1 the candidate is slower."""

    ratio: Estimate
    num_cases: int


@dataclass(frozen=True)
class Compared:
    """`metrics` are the requested ones. `interleaved`: rounds were paired; `allow_unpaired`: verdicts even if not;
    `machines`: the sides are two machines, which differ on purpose.
    """

    reference: Side
    candidate: Side
    differences: tuple[Difference, ...]
    changes: tuple[CaseChange, ...]
    metrics: tuple[str, ...]
    settings: CompareSettings
    interleaved: bool
    allow_unpaired: bool = False
    machines: bool = False

    def __repr__(self) -> str:
        return f"<Compared {self.candidate.name} with {self.reference.name}: {len(self.changes)} cases>"

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
        """Counts of judgements over all metrics and cases, and of the kinds of cases without any."""
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
    machines: bool = False,
) -> Compared:
    """Compares two sides, arms by default with the smallest effect of interest of their run. `interleaved` None: True
    for arms of one run, else False. `machines`: that they were measured on different machines is what is compared, and
    no reason to refuse.
    """
    allow_unpaired = allow_unpaired or machines
    arms = reference.source == candidate.source == "arm" if interleaved is None else interleaved
    chosen = settings or CompareSettings(sesoi=candidate.sesoi or SESOI)
    if arms and reference.rounds > chosen.max_rounds:
        chosen = replace(chosen, max_rounds=reference.rounds)
    changes = compare_runs(reference, candidate, metrics, chosen, interleaved=arms, allow_unpaired=allow_unpaired)
    if arms and reference.screen_rounds is not None:
        changes = judge_screened(changes, reference.screen_rounds, chosen)
    found = differences(reference, candidate)
    if machines:
        found = tuple(replace(each, refused=each.refused and each.name == "suite") for each in found)
    return Compared(reference, candidate, found, changes, tuple(metrics), chosen, arms, allow_unpaired, machines)


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
        said = "; ".join(map(str, compared.refused))
        where = "in turn on one machine" if files else "on one machine with one suite (`gpubench run SUITE --arm ...`)"
        raise UsageError(
            f"{names} cannot be compared: {said}",
            hint=f"Measure both {where}; --force compares them as they are.",
        )


def speed_change(change: CaseChange) -> MetricChange | None:
    """How the case's speed changed; None if it was not measured."""
    return next((change.changes[name] for name in SPEED_METRICS if name in change.changes), None)


def slower_cases(compared: Compared) -> tuple[CaseChange, ...]:
    """The cases judged slower."""
    moved = ((change, speed_change(change)) for change in compared.changes)
    return tuple(change for change, speed in moved if speed is not None and speed.judgement == "worse")


def step_time_change(change: CaseChange) -> Estimate | None:
    """The change of the step time that the verdict on speed is about, as a share of the reference's."""
    moved = speed_change(change)
    found = None if moved is None else moved.comparison
    if found is None:
        return None
    low, high = (None if end is None else end - 1 for end in (found.low, found.high))
    return Estimate(value=found.ratio - 1, low=low, high=high, n=found.rounds, unit="1")


def overall(
    changes: Iterable[CaseChange], pick: Callable[[CaseChange], MetricChange | None] = speed_change
) -> Overall | None:
    """The overall change of cases whose speed (or what `pick` gives) was measured on both sides and is not INVALID;
    None without one.

    The cases are not a sample of something larger: the interval covers how well each ratio is known (their errors
    taken as independent), not how much they differ. There is none if any case has none.
    """
    moved = [found.comparison for change in changes if (found := pick(change)) is not None]
    known = [comparison for comparison in moved if comparison is not None and math.isfinite(comparison.ratio)]
    if not known:
        return None
    num = len(known)
    mean = sum(math.log(comparison.ratio) for comparison in known) / num
    parts = [comparison.location for comparison in known if comparison.location is not None]
    if len(parts) < num:
        return Overall(Estimate(value=bounded_exp(mean), n=num, unit="1"), num)
    # The mean of independent estimates; degrees of freedom by Welch and Satterthwaite.
    variances = [part.standard_error**2 for part in parts]
    total = sum(variances)
    df = total**2 / sum(v**2 / part.df for v, part in zip(variances, parts, strict=True)) if total else math.inf
    location = Location(mean, math.sqrt(total) / num, df)
    if num == 1:  # `from_location` takes n = 1 for a single launch
        low, high = (bounded_exp(end) for end in location.interval())
        return Overall(Estimate(value=bounded_exp(mean), low=low, high=high, n=1, unit="1"), 1)
    return Overall(from_location(location, num, "1", exponential=True), num)


def weakest_level(changes: Iterable[CaseChange]) -> Level | None:
    """The weakest level of all comparisons; None if nothing was compared as a ratio."""
    found = {
        moved.comparison.level
        for change in changes
        for moved in change.changes.values()
        if moved.comparison is not None and moved.comparison.level is not None
    }
    return min(found, key=LEVELS.index, default=None)


def judge_screened(
    changes: Sequence[CaseChange], screen_rounds: int, settings: CompareSettings
) -> tuple[CaseChange, ...]:
    """The same changes, with speeds judged as a suite under control of the false discovery rate.

    Suspects are judged on their rounds after `screen_rounds` alone; one without fresh rounds is `unclear`.
    """
    judged = list(changes)
    for metric in sorted({name for change in changes for name in change.changes if name in STEP_METRICS}):
        first: dict[str, Logs] = {}
        later: dict[str, Logs] = {}
        levels: dict[str, Level] = {}
        for at, change in enumerate(judged):
            moved = change.changes.get(metric)
            if moved is not None and moved.comparison is not None and change.reference and change.candidate:
                logs, levels[str(at)] = round_log_ratios(METRICS[metric], change.reference, change.candidate)
                first[str(at)] = [value for repeat, value in logs.items() if repeat <= screen_rounds]
                later[str(at)] = [value for repeat, value in logs.items() if repeat > screen_rounds]
        screened, fresh = (
            {name: logs for name, logs in rounds.items() if len(logs) >= LEAST_ROUNDS} for rounds in (first, later)
        )
        for name, found in judge_suite(screened, partial(_given, fresh), settings).items():
            at, moved = int(name), ratio_change(METRICS[metric], replace(found, level=levels[name]))
            judged[at] = replace(judged[at], changes={**judged[at].changes, metric: moved})
    return tuple(judged)


def _given(fresh: Mapping[str, Logs], _names: tuple[str, ...]) -> Mapping[str, Logs]:
    return fresh


def looks_changed(logs: Sequence[float], settings: CompareSettings) -> bool:
    """Whether a case with these log ratios in its screening rounds must be measured again."""
    return len(logs) >= LEAST_ROUNDS and bool(screen({"case": logs}, settings))
