"""Options and limits of a test, from the command line and its `gpubench` markers, and which limits it breaks."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

import pytest

from gpubench.core.did_you_mean import near_aside
from gpubench.core.metrics import METRICS
from gpubench.core.units import format_bytes, format_duration, parse_bytes, parse_duration, parse_fraction
from gpubench.stats.median_interval import median_interval

T = TypeVar("T", int, float)

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_BARE = re.compile(r"\s*\d+(\.\d*)?\s*")
_KNOWN = ("max_regression", "max_time", "max_memory", "device", "l2_flush")


@dataclass(frozen=True)
class Options:
    """`max_regression` by metric, as fractions; `max_time_s` per call; `max_memory_bytes` allocated on the device."""

    device: str = "auto"
    l2_flush: bool = False
    energy: bool = False
    max_regression: Mapping[str, float] = field(default_factory=dict)
    max_time_s: float | None = None
    max_memory_bytes: int | None = None


def options_of(node: pytest.Item, config: pytest.Config) -> Options:
    """The options of one test, from its closest markers (test, class, module). pytest.UsageError for a wrong one."""
    given: dict[str, Any] = {}
    for marker in node.iter_markers("gpubench"):
        if marker.args:
            raise pytest.UsageError(f"{node.nodeid}: the gpubench marker takes only keywords: {', '.join(_KNOWN)}")
        given = {**marker.kwargs, **given}
    unknown = [name for name in given if name not in _KNOWN]
    if unknown:
        meant, known = near_aside(unknown[0], _KNOWN), ", ".join(_KNOWN)
        raise pytest.UsageError(f"{node.nodeid}: the gpubench marker has no {unknown[0]!r}{meant}: it takes {known}")
    device = str(given.get("device", config.getoption("--gpubench-device")))
    if not _DEVICE.fullmatch(device):
        raise pytest.UsageError(f"{node.nodeid}: there is no device {device!r}: choose auto, cpu, cuda or cuda:N")
    return Options(
        device=device,
        l2_flush=bool(given.get("l2_flush", False)),
        energy=bool(config.getoption("--gpubench-energy")),
        max_regression=_limits(node, given.get("max_regression")),
        max_time_s=_parsed(node, "max_time", parse_duration, given.get("max_time")),
        max_memory_bytes=_parsed(node, "max_memory", parse_bytes, given.get("max_memory")),
    )


def _limits(node: pytest.Item, given: Any) -> dict[str, float]:
    """`'5%'` limits the time; a dict limits each metric it names."""
    if given is None:
        return {}
    named = given if isinstance(given, dict) else {"step_time_s": given}
    unknown = [name for name in named if name not in METRICS or METRICS[name].better is None]
    if unknown:
        meant = near_aside(unknown[0], [name for name, spec in METRICS.items() if spec.better is not None])
        raise pytest.UsageError(
            f"{node.nodeid}: max_regression: {unknown[0]!r} is not a metric that can get worse{meant}"
        )
    for name, limit in named.items():
        # A number without a unit; parsing reports text that is not a number at all.
        bare = (isinstance(limit, int | float) and not isinstance(limit, bool)) or _BARE.fullmatch(str(limit))
        if METRICS[name].scale == "ratio" and bare and float(limit) >= 1:
            raise pytest.UsageError(f"{node.nodeid}: max_regression: {limit} is {float(limit):.0%}; write '{limit}%'")
    limits = {name: _parsed(node, "max_regression", parse_fraction, limit) for name, limit in named.items()}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _parsed(node: pytest.Item, name: str, parse: Callable[[Any], T], given: Any) -> T | None:
    if given is None:
        return None
    try:
        value = parse(given)
    except ValueError as error:
        raise pytest.UsageError(f"{node.nodeid}: {name}: {error}") from error
    if value < 0:
        raise pytest.UsageError(f"{node.nodeid}: {name}: must not be below 0")
    return value


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
