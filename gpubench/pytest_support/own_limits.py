"""Limits that a test sets for itself."""

from collections.abc import Mapping, Sequence

from gpubench.core.units import format_bytes, format_duration
from gpubench.pytest_support.plugin_options import Options


def broken_limits(options: Options, times_s: Sequence[float], metrics: Mapping[str, float]) -> list[str]:
    """A sentence per limit that is broken; times are seconds per call, one per round.

    The time limit is broken where the whole interval of the median lies above it, so that one slow round fails nothing.
    """
    found = []
    if options.max_time_s is not None and times_s:
        low, median = _low_and_median(times_s)
        if low > options.max_time_s:
            found.append(
                f"a call takes {format_duration(median)} (with 95 % confidence more than {format_duration(low)}), "
                f"limit {format_duration(options.max_time_s)}"
            )
    peak = metrics.get("peak_memory_allocated_bytes")
    if options.max_memory_bytes is not None and peak is not None and peak > options.max_memory_bytes:
        found.append(f"peak memory {format_bytes(peak)}, limit {format_bytes(options.max_memory_bytes)}")
    return found


def unchecked_limit(options: Options, why_not: str) -> str:
    """The sentence for a memory limit that nothing was held against, and why; empty without such a limit."""
    if options.max_memory_bytes is None:
        return ""
    return f"max_memory={format_bytes(options.max_memory_bytes)} was not checked: {why_not}"


def _low_and_median(times_s: Sequence[float]) -> tuple[float, float]:
    """Lower end of the median's interval; the smallest time where there are too few for one."""
    from statistics import median

    from gpubench.stats.median_interval import median_interval

    interval = median_interval(times_s) if len(times_s) > 1 else None
    return (min(times_s) if interval is None else interval[0]), median(times_s)
