"""Two machines with the same suite, as somebody who must choose sees them: speed, energy and money."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Literal

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.compare.compare_sides import Compared, Overall, overall, speed_change
from gpubench.analysis.summary.case_summary import ComparableCase
from gpubench.core.records import Estimate

ENERGY = "energy_per_sample_j"
_SECONDS_PER_HOUR = 3600

Gain = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class CaseChoice:
    """One case on both machines. Ratios are candidate over reference: of samples per second, joules per sample, money
    per sample. `per_money` and `per_joule` are samples, of reference and candidate.
    """

    change: CaseChange
    speed: Estimate | None
    energy: Estimate | None
    money: Estimate | None
    per_money: tuple[float | None, float | None]
    per_joule: tuple[float | None, float | None]


@dataclass(frozen=True)
class MachineChoice:
    """`speed`, `energy` and `money` are geometric means over cases, as in `CaseChoice`; None if not known. `prices` are
    money per hour of reference and candidate.
    """

    cases: tuple[CaseChoice, ...]
    speed: Overall | None
    energy: Overall | None
    money: Overall | None
    prices: tuple[float, float] | None


def choose_machine(compared: Compared, prices: tuple[float, float] | None = None) -> MachineChoice:
    """What the candidate's machine gains over the reference's. INVALID cases have no ratios."""
    cost = None if prices is None else prices[1] / prices[0]
    time = overall(compared.changes)
    speed = None if time is None else Overall(inverse(time.ratio), time.num_cases)
    money = None if time is None or cost is None else Overall(scaled(time.ratio, cost), time.num_cases)
    cases = tuple(_case(change, prices) for change in compared.changes if change.kind == "measured")
    return MachineChoice(cases, speed, overall(compared.changes, _energy_change), money, prices)


def gain(ratio: Estimate, *, higher: bool) -> Gain:
    """Whether a ratio is better than 1: its whole interval is on one side."""
    if ratio.low is None or ratio.high is None or ratio.low <= 1 <= ratio.high:
        return "unclear"
    return "better" if (ratio.low > 1) == higher else "worse"


def inverse(ratio: Estimate) -> Estimate:
    return _mapped(ratio, lambda value: 1 / value)


def scaled(ratio: Estimate, factor: float) -> Estimate:
    return _mapped(ratio, lambda value: factor * value)


def _energy_change(change: CaseChange) -> MetricChange | None:
    return change.changes.get(ENERGY)


def _case(change: CaseChange, prices: tuple[float, float] | None) -> CaseChoice:
    speed, energy = _ratio(speed_change(change)), _ratio(_energy_change(change))
    faster = None if speed is None else inverse(speed)
    sides = (change.reference, change.candidate)
    rates = [_typical(side, "throughput") for side in sides]
    joules = [_typical(side, ENERGY) for side in sides]
    per_money = [
        rate * _SECONDS_PER_HOUR / price if rate is not None and price else None
        for rate, price in zip(rates, prices or (0.0, 0.0), strict=True)
    ]
    money = scaled(speed, prices[1] / prices[0]) if speed is not None and prices is not None else None
    return CaseChoice(
        change,
        faster,
        energy,
        money,
        (per_money[0], per_money[1]),
        (1 / joules[0] if joules[0] else None, 1 / joules[1] if joules[1] else None),
    )


def _ratio(moved: MetricChange | None) -> Estimate | None:
    """Candidate over reference of what should be low: time or joules per sample."""
    found = None if moved is None else moved.comparison
    return None if found is None else Estimate(value=found.ratio, low=found.low, high=found.high, n=found.rounds)


def _typical(side: ComparableCase | None, metric: str) -> float | None:
    values = [] if side is None else list(side.launch_values(metric).values())
    return median(values) if values else None


def _mapped(ratio: Estimate, new: Callable[[float], float]) -> Estimate:
    ends = sorted(new(end) for end in (ratio.low, ratio.high) if end is not None)
    low, high = ends if len(ends) == 2 else (None, None)
    return Estimate(value=new(ratio.value), low=low, high=high, n=ratio.n, unit="1")
