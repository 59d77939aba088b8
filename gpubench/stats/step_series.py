"""Turns the step times of a launch into figures and findings."""

from collections.abc import Sequence
from typing import Literal

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Series
from gpubench.core.units import format_duration, format_percent, told_apart
from gpubench.stats.steady_steps import drift, far_outliers
from gpubench.stats.stopping_rule import precision_of_median
from gpubench.stats.warmup import warmup_length

Clock = Literal["perf_counter", "cuda_event"]
Timing = Literal["throughput", "latency"]

_MAD_TO_SIGMA = 1.4826


def summarise_series(
    step_times_s: Sequence[float], *, group: int, clock: Clock, timing: Timing, target_rel_ci: float
) -> Series:
    """Figures of one launch from seconds per step of each timed group, in order, warm-up included.

    `rel_spread` is 1.4826 MAD of log step time: the typical relative deviation of a step, whatever the tail.
    `converged` follows the stopping rule's criterion. ValueError for an empty series or a time that is not positive.
    """
    import numpy as np

    t = np.asarray(step_times_s, dtype=float)
    if t.size == 0:
        raise ValueError("no steps were timed")
    num_warmup = warmup_length(t)
    steady_times = t[num_warmup:]
    found = precision_of_median(steady_times)
    logs = np.log(steady_times)
    moved = drift(steady_times)
    return Series(
        clock=clock,
        timing=timing,
        group=group,
        num_total=t.size,
        num_warmup=num_warmup,
        num_steady=steady_times.size,
        tau=found.tau,
        n_effective=found.n_effective,
        median_s=found.median,
        low_s=found.interval[0] if found.interval else None,
        high_s=found.interval[1] if found.interval else None,
        rel_spread=float(_MAD_TO_SIGMA * np.median(np.abs(logs - np.median(logs)))),
        drift=None if moved is None else moved.value,
        steady=moved is None or moved.steady,
        converged=found.reaches(target_rel_ci),
    )


def series_findings(series: Series, step_times_s: Sequence[float], target_rel_ci: float) -> tuple[Finding, ...]:
    """What weakens or explains these figures: GB202, GB203 or GB208, GB204, GB207."""
    found = []
    if not series.steady and series.drift is not None:
        message = f"Step time drifted by {format_percent(series.drift, signed=True)} over the measured window."
        found.append(finding("GB202", message, drift=series.drift, num_steady=series.num_steady))
    imprecise = _width(series, target_rel_ci)
    found += [] if imprecise is None else [imprecise]
    outliers = far_outliers(step_times_s[series.num_warmup :])
    if outliers.worth_saying:
        slow = f"{outliers.num_high} of {outliers.num_steps} steps took longer than {outliers.high_fence * 1e3:.3g} ms"
        found.append(
            finding(
                "GB204",
                f"{slow} and {format_percent(outliers.excess_share)} of the time; all are kept.",
                num_high=outliers.num_high,
                num_low=outliers.num_low,
                num_steps=outliers.num_steps,
                excess_share=outliers.excess_share,
            )
        )
    if series.group != 1:
        found.append(finding("GB207", f"Steps were timed in groups of {series.group}.", group=series.group))
    return tuple(found)


def _width(series: Series, target_rel_ci: float) -> Finding | None:
    if series.low_s is None or series.high_s is None:
        return finding(
            "GB208",
            f"The {series.num_steady} steady steps hold only {series.n_effective:.0f} independent ones; "
            "an interval of the median needs six.",
            num_steady=series.num_steady,
            n_effective=series.n_effective,
        )
    if series.converged:
        return None
    width = (series.high_s - series.low_s) / 2 / series.median_s
    if width > 1:
        factor = series.high_s / series.low_s
        message = (
            f"Measuring stopped with the median between {format_duration(series.low_s)} and "
            f"{format_duration(series.high_s)}: known to a factor of {factor:.{0 if factor >= 10 else 1}f} only."
        )
    elif width > target_rel_ci:
        found, asked = told_apart(width, target_rel_ci)
        message = f"Measuring stopped with the median at ±{found}, wider than the ±{asked} asked for."
    else:
        message = (
            f"The steps vary too slowly to trust ±{format_percent(width)}: the series is {series.n_effective:.0f} "
            "autocorrelation times long, 30 are needed."
        )
    return finding("GB203", message, rel_half_width=width, target_rel_ci=target_rel_ci, n_effective=series.n_effective)
