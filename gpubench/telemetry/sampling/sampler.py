"""A thread that reads one device on a fixed schedule, in the parent and never in a measured process."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gpubench.telemetry.devices.base import Activity, Device, FastReading, SlowReading
from gpubench.telemetry.devices.periods import Periods, measure_periods
from gpubench.telemetry.sampling.reading_history import History

_MOST_ERRORS = 20


@dataclass(frozen=True)
class Schedule:
    """When to read: a fast tick (20 ms to 1 s) and a slow one, in seconds of `clock`.

    `probe_periods`: spend up to 2.5 s at the start on measuring how often the card's readings change.
    """

    fast_s: float = 0.05
    slow_s: float = 1.0
    probe_periods: bool = True
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if not 0.02 <= self.fast_s <= 1.0:
            raise ValueError(f"the fast tick must lie in 20 to 1000 ms, got {self.fast_s * 1e3:g} ms")
        if self.slow_s < self.fast_s:
            raise ValueError("the slow tick must not be shorter than the fast one")


class Sampler:
    """Fast and slow ticks on schedule, against deadlines of the monotonic clock.

    Late ticks are skipped and counted in `num_skipped`. Whatever a device does, no exception leaves the thread and
    `stop` returns within its limit; a thread stuck in the driver is abandoned (`stuck`), since nothing can end it.
    `lost_after_s` is the time of the last reading before the card was lost.
    """

    def __init__(self, device: Device, schedule: Schedule = Schedule()) -> None:
        self.device, self.schedule = device, schedule
        self.fast, self.slow = History(FastReading._fields), History(SlowReading._fields)
        self.activities: list[Activity] = []
        self.periods = Periods()
        self.num_skipped = 0
        self.errors: list[str] = []
        self.stuck = False
        self.lost_after_s: float | None = None
        self.now = schedule.clock
        self._next_slow_s = -math.inf
        self._ending = threading.Event()
        self._resumed = threading.Event()
        self._resumed.set()
        self.probed = threading.Event()
        self._ticked = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> "Sampler":
        """Starts the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"telemetry {self.device.name}", daemon=True)
            self._thread.start()
        return self

    def end(self) -> None:
        """Asks the thread to end, without waiting for it."""
        self._ending.set()
        self._resumed.set()

    def stop(self, timeout_s: float = 0.9) -> bool:
        """Ends the thread. True if it ended, False if it is stuck in a call after `timeout_s` seconds."""
        self.end()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self.stuck = self._thread.is_alive()
        return not self.stuck

    def pause(self, paused: bool) -> None:
        """While paused no reading is taken: for launches that do not use the device."""
        if paused and not self._ending.is_set():
            self._resumed.clear()
        else:
            self._resumed.set()

    def wait_past(self, at_s: float, timeout_s: float) -> bool:
        """Waits for a fast reading taken after `at_s`. False after `timeout_s` seconds without one."""
        with self._ticked:
            return self._ticked.wait_for(lambda: self.fast.last_s > at_s, timeout_s)

    def _run(self) -> None:
        if self.schedule.probe_periods:
            self._guarded(self._measure_periods)
        self.probed.set()
        deadline_s = self.now()
        while not self._ending.is_set():
            if not self._resumed.is_set():
                # A paused sampler never wakes up, so it costs nothing.
                self._resumed.wait()
                deadline_s = self.now()
                continue
            self._guarded(self.tick)
            deadline_s += self.schedule.fast_s
            skipped = max(0, math.ceil((self.now() - deadline_s) / self.schedule.fast_s))
            self.num_skipped += skipped
            deadline_s += skipped * self.schedule.fast_s
            self._ending.wait(max(0.0, deadline_s - self.now()))

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - telemetry must never end a measurement; the record names what failed
            if len(self.errors) < _MOST_ERRORS:
                self.errors.append(f"{type(error).__name__}: {error}")

    def _measure_periods(self) -> None:
        self.periods = measure_periods(self.device, self.now, self._ending.wait, record=self._record)

    def _record(self, at_s: float, reading: FastReading) -> None:
        self.fast.append(at_s, self.now() - at_s, reading)

    def tick(self) -> None:
        """One fast reading, and a slow one if due. Called by the thread, and by tests with a fake clock."""
        at_s = self.now()
        last_good_s = self.fast.last_s
        reading = self.device.read_fast()
        if self.device.lost is not None:
            self.lost_after_s = last_good_s if self.lost_after_s is None else self.lost_after_s
            return
        self._record(at_s, reading)
        with self._ticked:
            self._ticked.notify_all()
        if at_s >= self._next_slow_s:
            at_s = self.now()
            self._next_slow_s = at_s + self.schedule.slow_s - 0.5 * self.schedule.fast_s
            slow = self.device.read_slow()
            self.slow.append(at_s, self.now() - at_s, slow)
            activity = self.device.activity()
            if activity is not None:
                self.activities.append(activity)

    def read_both(self) -> None:
        """One fast and one slow reading, from the caller's thread (`boundary` mode)."""
        self._next_slow_s = -math.inf
        self._guarded(self.tick)

    def forget_before(self, at_s: float) -> None:
        """Drops readings older than `at_s`."""
        self.fast.forget_before(at_s)
        self.slow.forget_before(at_s)
        self.activities = [activity for activity in self.activities if activity.end_s >= at_s]
