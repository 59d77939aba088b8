"""Limits that a test sets for itself."""

from collections.abc import Mapping, Sequence
from statistics import median

from gpubench.core.units import format_bytes, format_duration
from gpubench.pytest_support.plugin_options import Options
from gpubench.stats.median_interval import median_interval


def broken_limits(options: Options, times_s: Sequence[float], metrics: Mapping[str, float]) -> list[str]:
    """A sentence per broken limit; times are seconds per call, one per round.

    The time limit is broken if the whole interval of the median is above it, so that a single slow round fails nothing.
    With too few rounds for an interval, the smallest time counts.
    """
    found = []
    if options.max_time_s is not None and times_s:
        interval = median_interval(times_s) if len(times_s) > 1 else None
        low = min(times_s) if interval is None else interval[0]
        if low > options.max_time_s:
            found.append(
                f"a call takes {format_duration(median(times_s))} (with 95 % confidence more than "
                f"{format_duration(low)}), limit {format_duration(options.max_time_s)}"
            )
    peak = metrics.get("peak_memory_allocated_bytes")
    if options.max_memory_bytes is not None and peak is not None and peak > options.max_memory_bytes:
        found.append(f"peak memory {format_bytes(peak)}, limit {format_bytes(options.max_memory_bytes)}")
    return found
