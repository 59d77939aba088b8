"""Plays back recorded readings as if a device gave them now: for tests, examples and stored runs.

A recording is plain JSON: `{"schema": 1, "name": ..., "fast": {"time_s": [...], "power_instant_w": [...]}, "slow":
{...}}` with the fields of `FastReading` and `SlowReading`; null where a reading is missing.
"""

import json
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpubench.telemetry.devices.base import Backend, Device, FastReading, Identity, SlowReading, Survey

RECORDING_SCHEMA = 1

Column = Sequence[float | None]


@dataclass(frozen=True)
class Recording:
    """Columns by name, with an increasing `time_s`. ValueError if they are empty or differ in length."""

    name: str
    fast: Mapping[str, Column]
    slow: Mapping[str, Column]

    def __post_init__(self) -> None:
        for kind, table, fields in (("fast", self.fast, FastReading._fields), ("slow", self.slow, SlowReading._fields)):
            unknown = set(table) - {"time_s", "took_s", *fields}
            if unknown:
                raise ValueError(f"recording: unknown {kind} columns {sorted(unknown)}")
            if len({len(column) for column in table.values()}) > 1 or (table and "time_s" not in table):
                raise ValueError(f"recording: {kind} columns must have one length and a time_s among them")
        if not self.fast.get("time_s"):
            raise ValueError("recording: no fast readings")

    @property
    def start_s(self) -> float:
        """Time of the first reading, in seconds."""
        return _times(self.fast)[0]

    @property
    def duration_s(self) -> float:
        """From the first to the last fast reading, in seconds."""
        return _times(self.fast)[-1] - self.start_s

    def save(self, path: Path) -> None:
        """Writes the recording as JSON."""
        content = {"schema": RECORDING_SCHEMA, "name": self.name, "fast": _plain(self.fast), "slow": _plain(self.slow)}
        path.write_text(json.dumps(content), encoding="utf-8")


def load_recording(path: Path) -> Recording:
    """A recording from its file. ValueError if it is not one, OSError if it cannot be read."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("schema") != RECORDING_SCHEMA:
        raise ValueError(f"{path}: not a telemetry recording of schema {RECORDING_SCHEMA}")
    return Recording(str(content.get("name", path.stem)), content.get("fast", {}), content.get("slow", {}))


def _plain(table: Mapping[str, Column]) -> dict[str, list[float | None]]:
    return {
        name: [None if value is None or math.isnan(value) else value for value in column]
        for name, column in table.items()
    }


def _times(table: Mapping[str, Column]) -> list[float]:
    return [float(at_s) for at_s in table.get("time_s", ()) if at_s is not None]


class ReplayDevice(Device):
    """Gives the reading recorded at the same time since the start; nothing after the end."""

    kind = "replay"
    counter_wrap_j = 2**32 / 1000  # NVML's: recordings are of cards

    def __init__(self, recording: Recording, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.key, self.name = f"replay:{recording.name}", recording.name
        self._recording, self._clock = recording, clock
        self._offset_s = recording.start_s - clock()
        self._fast_times_s = _times(recording.fast)
        self._slow_times_s = _times(recording.slow)

    def _row(self, table: Mapping[str, Column], times_s: list[float], fields: Sequence[str]) -> dict[str, Any]:
        now_s = self._clock() + self._offset_s
        position = bisect_right(times_s, now_s) - 1
        if position < 0 or now_s > self._fast_times_s[-1]:
            self.missing = dict.fromkeys(FastReading._fields + SlowReading._fields, "the recording is over")
            return {}
        row = {name: table[name][position] for name in fields if name in table}
        return {name: None if value is None or math.isnan(value) else value for name, value in row.items()}

    def read_power(self) -> FastReading:
        """The fast reading of this moment. Units: see `FastReading`."""
        return FastReading(**self._row(self._recording.fast, self._fast_times_s, FastReading._fields))

    def read_slow(self) -> SlowReading:
        """The slow reading of this moment. Units: see `SlowReading`."""
        return SlowReading(**self._row(self._recording.slow, self._slow_times_s, SlowReading._fields))

    def state(self) -> dict[str, Any]:
        """Nothing is known of the recorded card's limits. Units: none."""
        return {"absent": {"state": "a recording holds no state"}}

    def survey(self) -> Survey:
        """Nothing is known of other processes. Units: none."""
        return Survey(None, None, "a recording holds no process list")


class ReplayBackend(Backend):
    """A backend on which every device is the recording."""

    kind = "replay"

    def __init__(self, recording: Recording, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._recording, self._clock = recording, clock

    def open(self, identity: Identity) -> ReplayDevice:  # noqa: ARG002 - as the base class has it
        """Starts the recording from its beginning."""
        return ReplayDevice(self._recording, clock=self._clock)
