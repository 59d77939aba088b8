"""Energy of a window: its source, its uncertainty, and whether it is valid."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_duration
from gpubench.telemetry.devices.periods import Periods, mean_period_s
from gpubench.telemetry.sampling.reading_history import Cut
from gpubench.telemetry.window import power_integral
from gpubench.telemetry.window.counter_ticks import Curve, Tick, energy_between, find_ticks, unwrap

ASSUMED_PERIOD_S = 0.1
"""Update period assumed of a counter that could not be measured."""

DISAGREEMENT = 0.03
CARD_GAIN_PCT = 5.0
"""Gain error between cards ("Part-time Power Measurements"): affects absolute joules, but not ratios on one card."""

MOST_UNCERTAINTY_PCT = 5.0
_RESOLVED_INTERVALS = 1.5
_EDGE_PERIODS, _EDGE_INTERVALS = 0.25, 0.7
"""Uncertainty of both edges of a window together, in update periods and reading intervals at mean power."""

_TRAPEZOID_S = 10.0
_NOT_COVERED = "readings do not cover the window"


@dataclass(frozen=True)
class Energy:
    """`energy_j` of a window. `uncertainty_pct` is without the card's gain. `minimum_s`: the shortest valid window.

    Units: J, %, s. `reason` says why there is no value, or why it is not `valid`.
    """

    energy_j: float | None
    source: str | None
    valid: bool
    reason: str | None
    uncertainty_pct: float | None = None
    minimum_s: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """The energy from one source. Units: J, s."""

    source: str
    energy_j: float
    uncertainty_j: float
    minimum_s: float


def minimum_window_s(source: str, update_period_s: float) -> float:
    """Shortest window with a valid figure, in seconds: one at which an edge's error is about 1 %."""
    if source == "counter_ticks":
        return max(3.0, 30 * update_period_s)
    return max(5.0, 50 * update_period_s) if source == "counter_delta" else _TRAPEZOID_S


class EnergyOf:
    """The energy of one window from its readings. `cut` must reach beyond both edges by at least an update period.

    `wrap_j` is the energy at which the counter wraps. `on_module`: the counter may cover a whole module. `missing`: why
    readings have no value.
    """

    def __init__(
        self,
        cut: Cut,
        start_s: float,
        end_s: float,
        *,
        interval_s: float,
        periods: Periods,
        wrap_j: float | None = None,
        on_module: bool = False,
        missing: Mapping[str, str] | None = None,
    ) -> None:
        self._start_s, self._end_s, self._interval_s, self._periods = start_s, end_s, interval_s, periods
        self._on_module, self._missing = on_module, missing or {}
        counter = cut.points("counter_j")
        self._counter = unwrap(counter, start_s, wrap_j=wrap_j, update_period_s=periods.counter_s)
        self._ticks: list[Tick] = find_ticks(self._counter.points, periods.counter_s)
        # From all updates around the window, if readings resolve them: more precise than the probe at the start.
        seen_s = mean_period_s([tick.at_s for tick in self._ticks])
        resolved = seen_s is not None and seen_s > _RESOLVED_INTERVALS * interval_s
        period_s = (seen_s if resolved else periods.counter_s or seen_s) or ASSUMED_PERIOD_S
        # Rounded: a period is known to about 10 ms, and 3.005 s would be an odd least window.
        self._update_period_s = round(period_s, 2) if period_s >= 0.05 else period_s
        powers = ("power_average_w", "power_instant_w", "power_usage_w")
        self._average, self._instant, self._usage = (power_integral.readings(cut.points(name)) for name in powers)
        self._findings: list[Finding] = []
        self._detail: dict[str, Any] = {}

    def result(self) -> Energy:
        """The energy from the best source that covers the window, and whether it is valid."""
        if self._was_reset():
            self._findings.append(finding("GB412", "The energy counter went backwards during the window."))
        counted = self._from_ticks() or self._from_delta()
        chosen = counted or self._from_power()
        if chosen is None:
            return Energy(None, None, False, self._why_nothing(), findings=tuple(self._findings))
        if counted is None and self._counter.points:
            self._detail["counter_unused"] = self._why_no_counter()
        disagreement, explained = self._cross_check(chosen), False
        if counted is not None:
            chosen = self._of_the_gpu(counted, disagreement)
            explained = chosen is not counted
        if disagreement is not None and abs(disagreement.difference) > disagreement.uncertainty and not explained:
            direction = "above" if disagreement.difference > 0 else "below"
            message = f"Energy from {chosen.source} is {abs(disagreement.difference):.1%} {direction} that from the"
            message += " one-second average power."
            self._findings.append(finding("GB411", message, difference_pct=100 * disagreement.difference))
        integral = power_integral.trapezoid(self._instant, self._start_s, self._end_s)
        if integral is not None and chosen.source != "power_instant":
            self._detail["instant_difference_pct"] = 100 * (integral / chosen.energy_j - 1)
        if chosen.source in {"power_instant", "power_usage"}:
            message = f"Energy is the integral of {chosen.source}: a load in step with its sensor is misread."
            self._findings.append(finding("GB414", message))
        reason = self._why_invalid(chosen)
        edge_pct = 100 * chosen.uncertainty_j / chosen.energy_j
        unexplained_pct = 0.0 if disagreement is None or explained else 100 * disagreement.difference
        uncertainty_pct = (edge_pct**2 + unexplained_pct**2) ** 0.5
        return Energy(
            chosen.energy_j,
            chosen.source,
            reason is None,
            reason,
            uncertainty_pct,
            chosen.minimum_s,
            {**self._detail, "update_period_s": self._update_period_s, "num_counter_wraps": self._counter.num_wraps},
            tuple(self._findings),
        )

    def _was_reset(self) -> bool:
        """Whether the counter fell before the last reading that the window needs."""
        last_s = self._counter.points[-1][0] if self._counter.points else -math.inf
        return self._counter.reset_at_s is not None and last_s <= self._end_s + self._update_period_s

    def _why_no_counter(self) -> str:
        """Why a counter that was read gives no energy."""
        if self._was_reset():
            return "the energy counter went backwards during the window"
        if len(self._counter.points) > 1 and not self._ticks:
            return "the energy counter did not move"
        if self._stands_still():
            return "the energy counter stopped during the window"
        return self._missing.get("counter_j", _NOT_COVERED)

    def _why_nothing(self) -> str:
        if self._counter.points:
            return self._why_no_counter()
        if self._average or self._instant or self._usage:
            return _NOT_COVERED
        names = {"counter_j": "counter", "power_instant_w": "power"}
        why = [f"{names[name]}: {self._missing[name]}" for name in names if name in self._missing]
        nothing = "there was neither an energy counter nor a power reading"
        return f"{nothing} ({'; '.join(why)})" if why else nothing

    def _of_the_gpu(self, counted: Candidate, disagreement: power_integral.AverageDeviation | None) -> Candidate:
        """`counted`, or, if that is the energy of more than the GPU, the energy from its power sensor.

        The counter covers more if it lies above the one-second average, and either the card shares a module with a CPU,
        or no reading in the window comes near the counter's mean power.
        """
        mean_w = counted.energy_j / (self._end_s - self._start_s)
        series = (self._instant, self._average, self._usage)
        inside = [watts for each in series for at_s, watts in each if self._start_s <= at_s <= self._end_s]
        if disagreement is None:
            module = self._on_module  # nothing to compare it with
        else:
            above = disagreement.difference > disagreement.uncertainty
            module = above and (self._on_module or mean_w > (1 + DISAGREEMENT) * max(inside, default=math.inf))
        if not module:
            return counted
        self._detail |= {"counter_scope": "module", "counter_energy_j": counted.energy_j}
        of_gpu = self._from_power()
        known = "is the module's" if disagreement is not None else "may be the module's"
        used = "that of the GPU, from its power" if of_gpu else "the counter's"
        message = f"The energy counter {known} ({mean_w:.0f} W on average); the energy shown is {used}."
        self._findings.append(finding("GB419", message, counter_w=mean_w))
        if of_gpu is None:
            self._detail["energy_scope"] = "module"
        return of_gpu or counted

    def _from_ticks(self) -> Candidate | None:
        """From updates of the counter around both edges."""
        swing_w = power_integral.swing(self._instant or self._usage, self._start_s, self._end_s)
        between = energy_between(self._ticks, self._start_s, self._end_s, self._update_period_s, swing_w)
        if between is None or between.energy_j <= 0 or self._stands_still():
            return None
        mean_w = between.energy_j / (self._end_s - self._start_s)
        edges_j = (_EDGE_PERIODS * self._update_period_s + _EDGE_INTERVALS * self._interval_s) * mean_w
        # If readings are rarer than updates, readings limit the precision of the edges.
        minimum_s = minimum_window_s("counter_ticks", max(self._update_period_s, self._interval_s))
        return Candidate("counter_ticks", between.energy_j, max(between.uncertainty_j, edges_j), minimum_s)

    def _stands_still(self) -> bool:
        """The counter was updating and then stopped, while readings went on."""
        if len(self._ticks) < 3:
            return False
        return self._counter.points[-1][0] - self._ticks[-1].at_s > max(1.0, 3 * self._update_period_s)

    def _from_delta(self) -> Candidate | None:
        """From two reads that enclose the window (`boundary` mode): scaled to its length."""
        before = [point for point in self._counter.points if point[0] <= self._start_s]
        after = [point for point in self._counter.points if point[0] >= self._end_s]
        if not before or not after or self._counter.reset_at_s is not None or self._stands_still():
            return None
        if after[0][2] <= before[-1][2]:
            return None
        span_s, window_s = after[0][0] - before[-1][0], self._end_s - self._start_s
        energy_j = (after[0][2] - before[-1][2]) * window_s / span_s
        uncertainty_j = energy_j / window_s * (self._update_period_s + span_s - window_s)
        minimum_s = minimum_window_s("counter_delta", self._update_period_s)
        return Candidate("counter_delta", energy_j, uncertainty_j, minimum_s)

    def _from_power(self) -> Candidate | None:
        return self._from_average() or self._from_instant()

    def _from_average(self) -> Candidate | None:
        if not power_integral.settled(self._average, self._start_s):
            return None
        integral = power_integral.average_energy(
            self._average, self._start_s, self._end_s, self._interval_s, self._periods.power_average_s
        )
        return integral and Candidate("power_average", *integral, _TRAPEZOID_S)

    def _from_instant(self) -> Candidate | None:
        for source, series, period_s in (
            ("power_instant", self._instant, self._periods.power_instant_s),
            ("power_usage", self._usage, self._periods.power_usage_s),
            ("power_average_unsettled", self._average, self._periods.power_average_s),
        ):
            integral = power_integral.instant_energy(series, self._start_s, self._end_s, self._interval_s, period_s)
            if integral is not None:
                return Candidate(source, *integral, _TRAPEZOID_S)
        return None

    def _cross_check(self, chosen: Candidate) -> power_integral.AverageDeviation | None:
        """How far the chosen source lies above the one-second average, and how much of that is allowed; None if they
        cannot be compared.

        Each reading of the average is compared with the chosen source's figure for the same second, so that neither the
        average's lag nor a slowly changing load looks like a disagreement.
        """
        settled = power_integral.settled(self._average, self._start_s)
        start_s = self._start_s if settled else self._start_s + power_integral.AVERAGE_SPAN_S + 0.25
        points = [(tick.at_s, tick.energy_j) for tick in self._ticks]
        if chosen.source != "counter_ticks":
            series = {"power_instant": self._instant, "power_usage": self._usage}.get(chosen.source, [])
            points = power_integral.running_energy(series)
        found = power_integral.compare_with_average(
            self._average, Curve(points), start_s, self._end_s, self._periods.power_average_s
        )
        if found is None:
            return None
        found = found._replace(uncertainty=max(DISAGREEMENT, found.uncertainty))
        self._detail["cross_check"] = {
            "with": "power_average",
            "over_s": self._end_s - start_s,
            "difference_pct": 100 * found.difference,
            "allowed_pct": 100 * found.uncertainty,
        }
        return found

    def _why_invalid(self, chosen: Candidate) -> str | None:
        window_s = self._end_s - self._start_s
        if window_s < chosen.minimum_s:
            length, least = format_duration(window_s), format_duration(chosen.minimum_s)
            reason = f"the window of {length} is shorter than {least}, the least for {chosen.source}"
            self._findings.append(finding("GB410", f"Energy is not valid: {reason}."))
            return reason
        codes = {found.code for found in self._findings}
        if "GB411" in codes:
            return "two sources of the same energy disagree by more than 3 %"
        if "GB414" in codes:
            return f"{chosen.source} sees only part of the time and may alias"
        if 100 * chosen.uncertainty_j > MOST_UNCERTAINTY_PCT * chosen.energy_j:
            return f"readings around its edges leave more than {MOST_UNCERTAINTY_PCT:g} % of uncertainty"
        if chosen.source == "power_average_unsettled":
            return "the one-second average still held the load from before the window"
        return None
