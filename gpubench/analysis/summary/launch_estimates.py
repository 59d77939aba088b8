"""Estimates one figure from several launches."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from gpubench.core.metrics import MetricSpec
from gpubench.core.records import Estimate
from gpubench.stats import launch_looks
from gpubench.stats.estimators import Location, bounded_exp, mean_location, welch_difference
from gpubench.stats.median_interval import median_interval

CONFIDENCE = 0.95


def estimate(values: Sequence[float], spec: MetricSpec, *, by_data: bool = False) -> Estimate:
    """The figure of a metric over launches, by the metric's own rule, with a 95 % interval if one is possible.

    Times and rates: geometric mean with a t interval on logs, since launches differ by factors (Georges, Buytaert,
    Eeckhout 2007: the launch is the unit of replication, not the step). Accuracies and shares: arithmetic mean with its
    t interval. Maxima: the largest, without an interval. Medians (cold-start times): an order-statistic interval from
    six launches. One launch has no interval. `by_data`: the data decided the number of launches, which makes t
    intervals wider (`stats.launch_looks`). ValueError without values or with one that is not finite.
    """
    if not values:
        raise ValueError(f"no launch has a value of {spec.name}")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"a value of {spec.name} is not finite")
    confidence = launch_looks.CONFIDENCE if by_data else CONFIDENCE
    if spec.summarise == "max":
        return Estimate(value=max(values), n=len(values), unit=spec.unit)
    if spec.summarise == "median":
        low, high = median_interval(values) or (None, None)
        return Estimate(value=median(values), low=low, high=high, n=len(values), unit=spec.unit)
    if spec.summarise == "geometric" and min(values) > 0 and len(values) > 1:
        logs = (launch_looks.located if by_data else _location)([math.log(value) for value in values])
        return from_location(logs, len(values), spec.unit, exponential=True, confidence=confidence)
    return from_location(_location(values), len(values), spec.unit, confidence=confidence)


def geometric_estimate(logs: Sequence[float]) -> Estimate:
    """The geometric mean of ratios from their logs, with the exponential of their t interval."""
    return from_location(_location(logs), len(logs), "1", exponential=True)


def from_location(
    location: Location, n: int, unit: str = "", *, exponential: bool = False, confidence: float = CONFIDENCE
) -> Estimate:
    """An `Estimate` of n values; without an interval for n = 1, whose standard error is unknown."""
    back = bounded_exp if exponential else float
    if n < 2 or not math.isfinite(location.standard_error):
        return Estimate(value=back(location.mean), n=n, unit=unit)
    low, high = location.interval(confidence)
    return Estimate(value=back(location.mean), low=back(low), high=back(high), n=n, unit=unit)


def _location(values: Sequence[float]) -> Location:
    return mean_location(values) if len(values) > 1 else Location(float(values[0]), math.nan, 0)


def mean_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> tuple[Location, int]:
    """Mean of `ours` minus mean of `theirs`, and the n of an `Estimate` of it.

    Paired if both have the same keys (repeats of the same rounds, seeds), else by Welch. Without a standard error if a
    side has a single value.
    """
    if ours.keys() == theirs.keys():
        return _location([ours[key] - theirs[key] for key in ours]), len(ours)
    first, second = list(theirs.values()), list(ours.values())
    n = min(len(first), len(second))
    if n < 2:
        return Location(sum(second) / len(second) - sum(first) / len(first), math.nan, 0), n
    return welch_difference(first, second), n
