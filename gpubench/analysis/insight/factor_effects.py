"""The effect of each setting, all others equal."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpubench.analysis.insight.best_settings import speed_ratio, speedup
from gpubench.analysis.insight.paired_ratios import SpeedVerdict, paired_logs, paired_twins, speed_verdict
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.contest_levels import paired_estimate
from gpubench.analysis.summary.launch_estimates import geometric_estimate
from gpubench.core.records import Estimate
from gpubench.suite.cases.labels import varying
from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.model.settings import default, is_number

# Each setting, and the value its effect is relative to; None is the smallest value measured.
FACTORS: dict[str, Any] = {
    name: None if is_number(name) else default(name) for name, spec in SPECS.items() if spec.effect
}
# Effects are computed separately for each of these: a setting's effect depends on the work and the device.
_GROUPED_BY = ("workload", "mode", "timing", "device")


@dataclass(frozen=True)
class Pair:
    """Two cases that differ in one setting alone. `ratio` above 1 means the second is faster."""

    base: CaseSummary
    other: CaseSummary
    ratio: float


@dataclass(frozen=True)
class FactorEffect:
    """How much faster `value` of `factor` is than `base`, over every pair of cases that are otherwise equal.

    `ratio` is the geometric mean of the speed ratios over the pairs; its interval is the t interval of their logs (one
    pair: that pair's own, over its launches). `context` has the workload, mode, timing and device that the pairs share.
    Pairs with a weakened case (`num_suspect`) are left out if there are others; else all are used and the verdict is
    `weakened`, so nothing is certain. `memory_ratio` is the same for peak allocated memory; None if not measured.

    `taken_in_turns`: both cases of every pair met in a contest; `ratio` averages the pairs in each round, and its
    interval is over rounds.
    """

    factor: str
    base: Any
    value: Any
    ratio: Estimate
    num_pairs: int
    num_suspect: int
    context: Mapping[str, Any]
    pairs: tuple[Pair, ...] = field(repr=False)
    memory_ratio: Estimate | None = None
    verdict: SpeedVerdict = "unclear"
    taken_in_turns: bool = False

    @property
    def case(self) -> Case:
        """One of the cases behind the effect."""
        return self.pairs[0].base.case


def factor_effects(
    summaries: Iterable[CaseSummary], factors: Mapping[str, Any] | None = None
) -> tuple[FactorEffect, ...]:
    """The effect of each setting that varies, per workload, mode, timing and device, in the order of `FACTORS`.

    Only ok cases that are not INVALID count. `factors` replaces the settings and their base values.
    """
    usable = [entry for entry in summaries if entry.usable]
    chosen = FACTORS if factors is None else factors
    # Each case as the texts of the settings that vary, for speed with thousands of cases.
    differ = sorted(varying(entry.case for entry in usable))
    texts = {name: [repr(getattr(entry.case, name)) for entry in usable] for name in differ}
    found: list[FactorEffect] = []
    for name in (name for name in chosen if name in differ):
        rests = zip(*(texts[other] for other in differ if other != name), strict=True)
        found += _effects_of(name, chosen[name], usable, list(rests) or [()] * len(usable))
    return tuple(found)


def _effects_of(
    factor: str, base: Any, usable: Sequence[CaseSummary], rests: Sequence[tuple[str, ...]]
) -> list[FactorEffect]:
    """`rests` are the other settings of each case."""
    context_names = [name for name in _GROUPED_BY if name != factor]
    otherwise_equal: dict[tuple[str, ...], list[CaseSummary]] = {}
    for entry, rest in zip(usable, rests, strict=True):
        otherwise_equal.setdefault(rest, []).append(entry)

    groups: dict[tuple[Any, ...], list[Pair]] = {}
    for block in otherwise_equal.values():
        context = tuple(str(getattr(block[0].case, name)) for name in context_names)
        for pair in _pairs_in(block, factor, base):
            values = (getattr(pair.base.case, factor), getattr(pair.other.case, factor))
            order = ((0, float(v), "") if isinstance(v, int | float) else (1, 0.0, str(v)) for v in values)
            groups.setdefault((*context, *order), []).append(pair)
    return [_effect(factor, context_names, tuple(groups[key])) for key in sorted(groups)]


def _pairs_in(block: Sequence[CaseSummary], factor: str, base: Any) -> list[Pair]:
    values = [getattr(entry.case, factor) for entry in block]
    known = [value for value in values if isinstance(value, int | float)]  # not `max`, which has no number here
    wanted = min(known, default=None) if base is None else base
    bases = [entry for entry, value in zip(block, values, strict=True) if value == wanted]
    if not bases:
        return []
    ratios = [(entry, speed_ratio(entry, bases[0])) for entry in block if entry is not bases[0]]
    return [Pair(bases[0], entry, ratio) for entry, ratio in ratios if ratio is not None]


def _effect(factor: str, context_names: Sequence[str], known: tuple[Pair, ...]) -> FactorEffect:
    sound = tuple(pair for pair in known if pair.base.comparable and pair.other.comparable)
    pairs = sound or known
    first = pairs[0]
    met = [(pair.other, pair.base) for pair in pairs]
    logs = paired_logs(met)
    own = paired_estimate(logs) if logs else speedup(first.other, first.base) if len(pairs) == 1 else None
    name = "peak_memory_allocated_bytes"
    memory = [(pair.other.metrics.get(name), pair.base.metrics.get(name)) for pair in pairs]
    grown = [math.log(b.value / a.value) for b, a in memory if a and b and min(a.value, b.value) > 0]
    ratio = own or geometric_estimate([math.log(pair.ratio) for pair in pairs])
    return FactorEffect(
        factor=factor,
        base=getattr(first.base.case, factor),
        value=getattr(first.other.case, factor),
        ratio=ratio,
        num_pairs=len(pairs),
        num_suspect=len(known) - len(sound),
        context={name: getattr(first.base.case, name) for name in context_names},
        pairs=pairs,
        memory_ratio=geometric_estimate(grown) if len(grown) == len(pairs) else None,
        verdict=speed_verdict(logs, ratio, paired_twins(met)) if sound else "weakened",
        taken_in_turns=bool(logs),
    )
