"""Energy of a window: its source, its uncertainty, and whether it is valid."""

from dataclasses import dataclass, field
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_duration
from gpubench.telemetry.devices.periods import Periods, mean_period_s
from gpubench.telemetry.sampling.reading_history import Cut
from gpubench.telemetry.window import power_integral
from gpubench.telemetry.window.counter_ticks import Curve, Tick, energy_between, find_ticks, unwrap

ASSUMED_PERIOD_S = 0.1
"""Update period of a counter if it could not be measured."""

DISAGREEMENT = 0.03
CARD_GAIN_PCT = 5.0
"""Gain error between cards ("Part-time Power Measurements"): ratios on one card do not have it, absolute joules do."""

MOST_UNCERTAINTY_PCT = 5.0
_RESOLVED_INTERVALS = 1.5
_EDGE_PERIODS, _EDGE_INTERVALS = 0.25, 0.7
"""Uncertainty of both edges of a window together, in update periods and reading intervals at mean power."""

_TRAPEZOID_S = 10.0


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
    """One way of getting the energy. Units: J, s."""

    source: str
    energy_j: float
    uncertainty_j: float
    minimum_s: float


def minimum_window_s(source: str, update_period_s: float) -> float:
    """Shortest window with a valid figure, in seconds: an edge's error is about 1 % of it."""
    if source == "counter_ticks":
        return max(3.0, 30 * update_period_s)
    return max(5.0, 50 * update_period_s) if source == "counter_delta" else _TRAPEZOID_S


class EnergyOf:
    """The energy of one window from its readings. `cut` must reach beyond both edges by at least an update period."""

    def __init__(self, cut: Cut, start_s: float, end_s: float, *, interval_s: float, periods: Periods) -> None:
        self._start_s, self._end_s, self._interval_s, self._periods = start_s, end_s, interval_s, periods
        self._counter = unwrap(cut.points("counter_j"), start_s)
        self._ticks: list[Tick] = find_ticks(self._counter.points, periods.counter_s)
        # From all updates around the window if readings resolve them: that is finer than the probe at the start.
        seen_s = mean_period_s([tick.at_s for tick in self._ticks])
        resolved = seen_s is not None and seen_s > _RESOLVED_INTERVALS * interval_s
        period_s = (seen_s if resolved else periods.counter_s or seen_s) or ASSUMED_PERIOD_S
        # A period is measured to no better than 10 ms, and 3.005 s would be an odd least window.
        self._update_period_s = round(period_s, 2) if period_s >= 0.05 else period_s
        powers = ("power_average_w", "power_instant_w", "power_usage_w")
        self._average, self._instant, self._usage = (power_integral.readings(cut.points(name)) for name in powers)
        self._findings: list[Finding] = []
        self._detail: dict[str, Any] = {}

    def result(self) -> Energy:
        """The best source that covers the window, judged."""
        reset_s = self._counter.reset_at_s
        if reset_s is not None and reset_s <= self._end_s + self._update_period_s:
            self._findings.append(finding("GB412", "The energy counter went backwards during the window."))
        chosen = self._from_ticks() or self._from_delta() or self._from_average() or self._from_instant()
        if chosen is None:
            some = self._counter.points or self._average or self._instant or self._usage
            nothing = "the card gave neither an energy counter nor a power reading"
            why = "readings do not cover the window" if some else nothing
            return Energy(None, None, False, why, findings=tuple(self._findings))
        disagreement = self._cross_check(chosen)
        integral = power_integral.trapezoid(self._instant, self._start_s, self._end_s)
        if integral is not None and chosen.source != "power_instant":
            self._detail["instant_difference_pct"] = 100 * (integral / chosen.energy_j - 1)
        if chosen.source in {"power_instant", "power_usage"}:
            message = f"Energy is the integral of {chosen.source}: a load in step with its sensor is misread."
            self._findings.append(finding("GB414", message))
        reason = self._why_invalid(chosen)
        edge_pct = 100 * chosen.uncertainty_j / chosen.energy_j
        uncertainty_pct = edge_pct if disagreement is None else (edge_pct**2 + (100 * disagreement) ** 2) ** 0.5
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

    def _from_ticks(self) -> Candidate | None:
        """From updates of the counter around both edges."""
        swing_w = power_integral.swing(self._instant or self._usage, self._start_s, self._end_s)
        between = energy_between(self._ticks, self._start_s, self._end_s, self._update_period_s, swing_w)
        if between is None or between.energy_j <= 0 or self._stands_still():
            return None
        mean_w = between.energy_j / (self._end_s - self._start_s)
        edges_j = (_EDGE_PERIODS * self._update_period_s + _EDGE_INTERVALS * self._interval_s) * mean_w
        # If readings come less often than updates, they are what blurs the edges.
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

    def _cross_check(self, chosen: Candidate) -> float | None:
        """Share by which the chosen source and the one-second average differ; None if they cannot be compared.

        Each reading of the average is compared with the chosen source's figure for the same second, so that neither the
        average's lag nor a load that changes over seconds looks like a disagreement. Adds the finding.
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
        allowed = max(DISAGREEMENT, found.uncertainty)
        self._detail["cross_check"] = {
            "with": "power_average",
            "over_s": self._end_s - start_s,
            "difference_pct": 100 * found.difference,
            "allowed_pct": 100 * allowed,
        }
        if abs(found.difference) > allowed:
            direction = "above" if found.difference > 0 else "below"
            message = f"Energy from {chosen.source} is {abs(found.difference):.1%} {direction} that from the"
            message += " one-second average power."
            self._findings.append(finding("GB411", message, difference_pct=100 * found.difference))
        return found.difference

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
