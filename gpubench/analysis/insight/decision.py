"""The answers of a run: the fastest case, the effect of each setting, what to switch on, and what is certain.

Every sentence, mark, title and table about speed comes from this one object, so that no two contradict each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from gpubench.analysis.insight.best_settings import (
    Best,
    Gain,
    SpeedRatio,
    best_overall,
    best_settings,
    compared,
    gain_over,
    gains,
)
from gpubench.analysis.insight.factor_effects import FactorEffect, factor_effects
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.contest_levels import paired_estimate
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Status
from gpubench.suite.model.case import Case

_MOST_RIVALS = 50
_MOST_UNCOUNTED = 3

Action = Literal["switch", "keep", "depends", "undecided"]


@dataclass(frozen=True)
class Ranking:
    """The fastest among the cases of one workload, mode, device and timing.

    `first` is the fastest of those that may win (for latency: at its smallest batch), else of the rest with `won`
    False; None without a figure. `rivals` are the others that may win, and `level` those not certainly slower, each
    with the ratio of `first` to it. `against_fp32` compares every other precision that may win with fp32, each at its
    best. `uncounted` were faster, but may not win.
    """

    cases: tuple[CaseSummary, ...]
    first: Best | None = None
    rivals: tuple[CaseSummary, ...] = ()
    level: tuple[tuple[CaseSummary, SpeedRatio], ...] = ()
    fp32: Best | None = None
    against_fp32: tuple[Gain, ...] = ()
    against_baseline: Gain | None = None
    uncounted: tuple[CaseSummary, ...] = ()

    @property
    def case(self) -> Case:
        return self.cases[0].case

    @property
    def certain(self) -> bool:
        """Whether there are rivals, and `first` is certainly faster than all of them."""
        return self.first is not None and self.first.won and bool(self.rivals) and not self.level

    @property
    def leaders(self) -> tuple[CaseSummary, ...]:
        """The first, and those not certainly slower; empty if no case may win."""
        if self.first is None or not self.first.won:
            return ()
        return (self.first.summary, *(entry for entry, _ in self.level))


@dataclass(frozen=True)
class Advice:
    """What to do with one setting for one workload, mode, timing and device (`context`).

    `switch`: use the value of `effect`, which is certain. `keep`: every other value is known to be slower, or the same.
    `depends`: a value is faster on average, but the fastest case has another. `undecided`: nothing is certain, or
    (`unverified`) no output with the faster value was checked. In the last three, `effect` is the largest one.
    """

    factor: str
    context: Mapping[str, Any]
    action: Action
    effect: FactorEffect
    unverified: bool = False


class Decision:
    """The answers of a run, each computed on first use."""

    def __init__(self, summary: RunSummary) -> None:
        self.summary = summary

    @cached_property
    def bests(self) -> tuple[Best, ...]:
        """The fastest of each precision: see `best_settings`."""
        return best_settings(self.summary.cases)

    @cached_property
    def gains(self) -> tuple[Gain, ...]:
        """The gains over the suite's baseline."""
        return gains(self.bests, self.summary.info.suite.get("baseline") or {})

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """GPUs before the CPU, training before inference, otherwise in the order of the plan."""
        cases: dict[tuple[str, ...], list[CaseSummary]] = {}
        for entry in self.summary.cases:
            cases.setdefault(_place(entry.case), []).append(entry)
        bests: dict[tuple[str, ...], list[Best]] = {}
        for best in self.bests:
            bests.setdefault(_place(best.summary.case), []).append(best)
        made = (self._ranking(tuple(found), bests.get(key, ())) for key, found in cases.items())
        return tuple(sorted(made, key=lambda ranking: rank(ranking.case)))

    def _ranking(self, cases: tuple[CaseSummary, ...], bests: Sequence[Best]) -> Ranking:
        first = min(best_overall(bests), key=lambda best: batch_of(best.summary), default=None)
        if first is None:
            return Ranking(cases)
        entry = first.summary
        others = [each for each in cases if each is not entry and _comparable(each, entry)]
        rivals = sorted((each for each in others if each.may_win), key=lambda each: -(each.rank_speed or 0.0))
        ratios = [(each, compared(entry, each)) for each in rivals[:_MOST_RIVALS]]
        mine = [best for best in bests if _comparable(best.summary, entry)]
        fp32 = next((best for best in mine if best.precision == "fp32"), None)
        faster = [
            each for each in others if each.status is Status.OK and not each.may_win and _speed(each) > _speed(entry)
        ]
        return Ranking(
            cases=cases,
            first=first,
            rivals=tuple(rivals),
            level=tuple((each, found) for each, found in ratios if found is not None and found.verdict != "faster"),
            fp32=fp32,
            against_fp32=tuple(
                gain
                for best in mine
                if fp32 is not None and best is not fp32 and best.won and (gain := gain_over(best, fp32)) is not None
            ),
            against_baseline=next((gain for gain in self.gains if gain.best is first), None),
            uncounted=tuple(sorted(faster, key=lambda each: -_speed(each))[:_MOST_UNCOUNTED]) if first.won else (),
        )

    @cached_property
    def devices(self) -> tuple[Gain, ...]:
        """Each GPU against the CPU at the same work, each at its best, if both may win."""
        firsts = [ranking.first for ranking in self.rankings if ranking.first is not None and ranking.first.won]
        found = []
        for best, other in ((best, other) for best in firsts for other in firsts):
            ours, theirs = best.summary.case, other.summary.case
            same = (ours.workload, ours.mode, ours.timing) == (theirs.workload, theirs.mode, theirs.timing)
            same = same and (ours.timing == "throughput" or ours.batch_size == theirs.batch_size)
            if same and (ours.device_type, theirs.device_type) == ("cuda", "cpu"):
                gain = gain_over(best, other)
                found += [gain] if gain is not None else []
        return tuple(found)

    @cached_property
    def effects(self) -> tuple[FactorEffect, ...]:
        """The effect of each setting, all others equal."""
        return factor_effects(self.summary.cases)

    @cached_property
    def advice(self) -> tuple[Advice, ...]:
        """One per setting and context, in the order of the rankings; not for the device."""
        groups: dict[tuple[str, ...], list[FactorEffect]] = {}
        for effect in self.effects:
            if effect.factor != "device":
                groups.setdefault((*_place(effect.case), effect.factor), []).append(effect)
        ordered = sorted(groups.values(), key=lambda found: rank(found[0].case))
        leaders = {_place(ranking.case): ranking.leaders for ranking in self.rankings}
        return tuple(_advice(found, leaders.get(_place(found[0].case), ())) for found in ordered)

    @property
    def certain(self) -> bool:
        """Whether anything about speed is certain: the fastest case, or the effect of a setting."""
        rankings = any(ranking.certain for ranking in self.rankings)
        return rankings or any(effect.verdict in ("faster", "slower", "same") for effect in self.effects)

    @property
    def own_error(self) -> float | None:
        """The machine's own error in contests, as a share: the farthest end of the A/A intervals; None without any."""
        found = [paired_estimate(contest.twins) for contest in self.summary.contests if contest.twins]
        ends = [end for ratio in found for end in (ratio.low, ratio.high, ratio.value) if end is not None]
        return max((abs(end - 1) for end in ends), default=None)


def _advice(effects: Sequence[FactorEffect], leaders: Sequence[CaseSummary]) -> Advice:
    def advice(action: Action, effect: FactorEffect, *, unverified: bool = False) -> Advice:
        return Advice(effect.factor, effect.context, action, effect, unverified)

    ranked = sorted(effects, key=lambda effect: -effect.ratio.value)
    faster = [effect for effect in ranked if effect.verdict == "faster"]
    checked = [effect for effect in faster if any(pair.other.may_win for pair in effect.pairs)]
    if checked:
        used = {repr(getattr(entry.case, checked[0].factor)) for entry in leaders}
        of_leaders = [effect for effect in checked if repr(effect.value) in used]
        return advice("switch" if of_leaders or not used else "depends", (of_leaders or checked)[0])
    if faster:
        return advice("undecided", faster[0], unverified=True)
    known = [effect for effect in ranked if effect.verdict in ("slower", "same")]
    return advice("keep" if len(known) == len(ranked) else "undecided", ranked[0])


def batch_of(entry: CaseSummary) -> int:
    """The batch size as a number; for `max` the one found, or 0."""
    asked = entry.case.batch_size
    if asked != "max":
        return asked
    return (entry.effective.batch_size or 0) if entry.effective is not None else 0


def rank(case: Case) -> tuple[bool, bool, bool]:
    """Sorts the most wanted answers first: GPU, training, throughput."""
    return case.device_type == "cpu", case.mode != "train", case.timing == "latency"


def _place(case: Case) -> tuple[str, ...]:
    return case.workload, case.mode, case.device, case.timing


def _comparable(ours: CaseSummary, theirs: CaseSummary) -> bool:
    """Whether two cases are in one context; requests of different batch sizes are not compared."""
    return ours.case.timing == "throughput" or ours.case.batch_size == theirs.case.batch_size


def _speed(entry: CaseSummary) -> float:
    return entry.speed or 0.0
