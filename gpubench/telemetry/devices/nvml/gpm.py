"""GPM (Hopper and newer): two samples of the hardware's counters give the mean activity between them. nvml.h, "GPM"."""

import math
import time
from collections.abc import Callable
from typing import Any

from gpubench.telemetry.devices.base import Activity
from gpubench.telemetry.devices.nvml.library import Kind, Library, NvmlError
from gpubench.telemetry.devices.nvml.readers import Notes

_SM, _TENSOR, _DRAM = 2, 5, 10
_LEAST_GAP_S = 0.1
_SLOW_S = 0.01
_MOST_SLOW_CALLS = 3


class Gpm:
    """Mean activity between consecutive calls of `read`.

    Samples must lie at least 100 ms apart. If calls take more than 10 ms three times in a row, it stops: nothing slow
    may run inside a window.
    """

    def __init__(
        self, library: Library, handle: Any, notes: Notes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._library, self._handle, self._notes, self._clock = library, handle, notes, clock
        self._samples: list[Any] = []
        self._last_s: float | None = None
        self._num_slow = 0
        self._settled = self.off = False

    def read(self) -> Activity | None:
        """Activity since the last call; None on the first call, after a fault, and if GPM is off. Never raises
        `NvmlError`. Units: see `Activity`.
        """
        if self.off or self._notes.lost is not None:
            return None
        start_s = self._clock()
        if self._last_s is not None and start_s - self._last_s < _LEAST_GAP_S:
            return None
        try:
            return self._step(start_s)
        except NvmlError as fault:
            kind = self._notes.add("activity", fault)
            self._last_s = None
            # Before the first success this is a probe; NO_PERMISSION is the usual answer to a plain user.
            self.off = kind is Kind.OFF and not self._settled
            return None
        finally:
            took_s = self._clock() - start_s
            self._num_slow = self._num_slow + 1 if took_s > _SLOW_S else 0
            if self._num_slow >= _MOST_SLOW_CALLS:
                self.off = True
                self._notes.missing["activity"] = f"GPM calls take {took_s * 1e3:.0f} ms here: too slow inside a window"

    def _step(self, at_s: float) -> Activity | None:
        if not self._samples:
            if not self._library.call("nvmlGpmQueryDeviceSupport", self._handle).isSupportedDevice:
                self._notes.missing["activity"] = "the card has no GPM counters (Hopper and newer have)"
                self.off = True
                return None
            self._samples = [self._library.call("nvmlGpmSampleAlloc") for _ in range(2)]
        previous_s, self._last_s = self._last_s, None
        self._library.call("nvmlGpmSampleGet", self._handle, self._samples[1])
        self._last_s = at_s
        self._samples.reverse()
        if previous_s is None:
            return None
        sm, tensor, dram = self._shares(self._samples[1], self._samples[0])
        self._settled = True
        self._notes.missing.pop("activity", None)
        return Activity(previous_s, at_s, sm, tensor, dram)

    def _shares(self, older: Any, newer: Any) -> list[float | None]:
        pynvml = self._library.pynvml
        request = pynvml.c_nvmlGpmMetricsGet_t()
        request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = 3
        request.sample1, request.sample2 = older, newer
        for position, metric in enumerate((_SM, _TENSOR, _DRAM)):
            request.metrics[position].metricId = metric
        answer = self._library.call("nvmlGpmMetricsGet", request)
        shares = [answer.metrics[position] for position in range(3)]
        return [None if share.nvmlReturn or not math.isfinite(share.value) else share.value / 100 for share in shares]

    def close(self) -> None:
        """Frees the samples."""
        samples, self._samples, self.off = self._samples, [], True
        for sample in samples:
            try:
                self._library.call("nvmlGpmSampleFree", sample)
            except NvmlError as fault:
                self._notes.add("activity", fault)
