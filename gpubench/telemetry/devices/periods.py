"""Measures how often a card's energy counter and power readings really change, which is not documented."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from gpubench.telemetry.devices.base import Device, FastReading

_POLL_S = 0.004
_LEAST_S = 0.6
_MOST_S = 2.5
_ENOUGH_CHANGES = 5
_QUANTITIES = ("counter_j", "power_instant_w", "power_average_w", "power_usage_w")


@dataclass(frozen=True)
class Periods:
    """Time between changes of each reading, in seconds; None if fewer than three changes were seen (a reading that
    stays constant on an idle card shows no period).
    """

    counter_s: float | None = None
    power_instant_s: float | None = None
    power_average_s: float | None = None
    power_usage_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure_periods(
    device: Device,
    clock: Callable[[], float],
    wait: Callable[[float], object],
    *,
    record: Callable[[float, FastReading], None] = lambda _at_s, _reading: None,
    poll_s: float = _POLL_S,
    least_s: float = _LEAST_S,
) -> Periods:
    """Polls the device for 0.6 to 2.5 s, until the counter changed five times.

    `wait(seconds)` sleeps and returns something true when polling should end. Polls slower than `poll_s` (a driver that
    takes milliseconds a call) widen the answer by as much. `record` receives every reading.
    """
    changes: dict[str, list[float]] = {name: [] for name in _QUANTITIES}
    last: dict[str, float] = {}
    start_s = clock()
    while True:
        at_s = clock()
        reading = device.read_power()
        record(at_s, reading)
        for name in _QUANTITIES:
            value = getattr(reading, name)
            if value is not None and value != last.get(name):
                if name in last:
                    changes[name].append(at_s)
                last[name] = value
        waited_for = "counter_j" if "counter_j" in last else next(iter(last), None)
        enough = waited_for is None or len(changes[waited_for]) >= _ENOUGH_CHANGES
        elapsed_s = at_s - start_s
        if elapsed_s >= _MOST_S or (enough and elapsed_s >= least_s) or wait(poll_s):
            break
    return Periods(*(mean_period_s(changes[name]) for name in _QUANTITIES))


def mean_period_s(times_s: Sequence[float]) -> float | None:
    """Mean time between updates in seconds, when only some of them were seen; None below three.

    A gap of several typical lengths holds that many updates: some left the value unchanged or fell between readings.
    """
    gaps_s = [after - before for before, after in pairwise(times_s)]
    if len(gaps_s) < 2:
        return None
    typical_s = median(gaps_s)
    return (times_s[-1] - times_s[0]) / sum(max(1, round(gap_s / typical_s)) for gap_s in gaps_s)
