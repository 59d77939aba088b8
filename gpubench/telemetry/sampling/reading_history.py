"""Readings of one device over time, as columns of doubles that one thread appends to and others copy."""

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NAN = math.nan


@dataclass(frozen=True)
class Cut:
    """A copy of consecutive readings. `time_s` (before each call) and `took_s` in seconds; NaN for missing values."""

    time_s: list[float]
    took_s: list[float]
    columns: dict[str, list[float]]

    def points(self, name: str) -> Iterator[tuple[float, float, float]]:
        """(time_s, took_s, value) of readings with a value for `name`."""
        for at_s, took_s, value in zip(self.time_s, self.took_s, self.columns[name], strict=True):
            if not math.isnan(value):
                yield at_s, took_s, value

    def values(self, name: str, start_s: float = -math.inf, end_s: float = math.inf) -> list[float]:
        """Values of `name` read in [start_s, end_s], without missing ones."""
        return [value for at_s, _, value in self.points(name) if start_s <= at_s <= end_s]

    def cut(self, start_s: float, end_s: float) -> "Cut":
        """The readings inside [start_s, end_s], with one before and one after it if there are any."""
        low = max(0, bisect_left(self.time_s, start_s) - 1)
        high = bisect_right(self.time_s, end_s) + 1
        columns = {name: column[low:high] for name, column in self.columns.items()}
        return Cut(self.time_s[low:high], self.took_s[low:high], columns)


class History:
    """Grows by one row per tick. Six hours at 20 Hz are about 45 MB; older rows are dropped beyond `most_rows`."""

    def __init__(self, names: Iterable[str], *, most_rows: int = 432_000) -> None:
        self._lock = threading.Lock()
        self._time_s = array("d")
        self._took_s = array("d")
        self._columns = {name: array("d") for name in names}
        self._most_rows = most_rows

    def append(self, at_s: float, took_s: float, values: Iterable[float | None]) -> None:
        """One row, in the order of the names; None is stored as missing."""
        with self._lock:
            self._time_s.append(at_s)
            self._took_s.append(took_s)
            for column, value in zip(self._columns.values(), values, strict=True):
                column.append(NAN if value is None else value)
            if len(self._time_s) > self._most_rows:
                self._drop(self._most_rows // 10)

    def __len__(self) -> int:
        return len(self._time_s)

    @property
    def last_s(self) -> float:
        """Time of the last row in seconds, minus infinity without one."""
        with self._lock:
            return self._time_s[-1] if self._time_s else -math.inf

    def last(self) -> dict[str, float | None]:
        """The last row by name, with None for missing values; empty before the first."""
        with self._lock:
            if not self._time_s:
                return {}
            row = {name: column[-1] for name, column in self._columns.items()}
        return {name: None if math.isnan(value) else value for name, value in row.items()}

    def cut(self, start_s: float, end_s: float) -> Cut:
        """A copy of the rows inside [start_s, end_s], with one before and one after it if there are any."""
        with self._lock:
            low = max(0, bisect_left(self._time_s, start_s) - 1)
            high = bisect_right(self._time_s, end_s) + 1
            columns = {name: column[low:high].tolist() for name, column in self._columns.items()}
            return Cut(self._time_s[low:high].tolist(), self._took_s[low:high].tolist(), columns)

    def forget_before(self, at_s: float) -> None:
        """Drops rows older than `at_s`, except the last of them."""
        with self._lock:
            self._drop(max(0, bisect_left(self._time_s, at_s) - 1))

    def _drop(self, count: int) -> None:
        for column in (self._time_s, self._took_s, *self._columns.values()):
            del column[:count]
