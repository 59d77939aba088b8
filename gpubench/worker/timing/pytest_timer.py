"""CUDA events around the rounds of a loop that belongs to somebody else: pytest-benchmark's."""

import time
from collections.abc import Callable, Sequence
from typing import Any

Runner = Callable[..., Any]
"""Given a range: seconds for as many calls. Given None or an empty range: seconds for one call, and what it returned.
"""

MIN_GROUP_S = 1e-3
"""Shortest group of calls: its first launch, on an idle device, is then at most about 1 % of it."""

_MS = 1e-3
_L2_TIMES = 2
_L2_UNKNOWN_BYTES = 128 * 2**20


class CudaRounds:
    """Times rounds on `device`. `torch` is the module, which the caller has imported anyway.

    A round begins with the device idle. With `l2_flush` each call follows a write to twice the size of the L2 cache,
    and is timed by events of its own; without it the calls of a round follow each other, and are timed together.
    """

    def __init__(self, torch: Any, device: Any, *, l2_flush: bool = False) -> None:
        self._torch, self._cuda, self._device = torch, torch.cuda, device
        self._flushed = self._flush_buffer() if l2_flush else None
        self.num_calls = 0

    def clock(self) -> float:
        """`time.perf_counter` once the device has done everything."""
        self._cuda.synchronize(self._device)
        return time.perf_counter()

    def runner(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Runner:
        """As pytest-benchmark's own runner: its second parameter, a timer, is not needed."""

        def call() -> Any:
            return function(*args, **kwargs)

        def run(loops: range | None, timer: object = None) -> Any:  # noqa: ARG001 - pytest-benchmark's signature
            with self._cuda.device(self._device):
                if loops:
                    return self._timed(call, len(loops))[0]
                return self._timed(call, 1)

        return run

    def _timed(self, call: Callable[[], Any], times: int) -> tuple[float, Any]:
        """Seconds of all calls together, and what the last one returned."""
        self.num_calls += times
        self._cuda.synchronize(self._device)
        if self._flushed is None:
            groups = [self._around(call, times)]
        else:
            groups = []
            for _ in range(times):
                self._flushed.zero_()
                groups.append(self._around(call, 1))
        self._cuda.synchronize(self._device)
        return sum(begin.elapsed_time(end) for begin, end, _ in groups) * _MS, groups[-1][2]

    def _around(self, call: Callable[[], Any], times: int) -> tuple[Any, Any, Any]:
        begin, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
        result = None
        begin.record()
        for _ in range(times):
            result = call()
        end.record()
        return begin, end, result

    def _flush_buffer(self) -> Any:
        properties = self._cuda.get_device_properties(self._device)
        size = getattr(properties, "L2_cache_size", 0) or _L2_UNKNOWN_BYTES
        return self._torch.empty(_L2_TIMES * size, dtype=self._torch.uint8, device=self._device)

    def start_peaks(self) -> None:
        """Peaks of memory from here on."""
        self._cuda.synchronize(self._device)
        self._cuda.reset_peak_memory_stats(self._device)

    def peaks(self) -> dict[str, float]:
        """Peak memory in bytes since `start_peaks`, what was allocated before included, by metric."""
        statistics = self._cuda.memory_stats(self._device)
        held = 0 if self._flushed is None else self._flushed.numel()
        return {
            "peak_memory_allocated_bytes": float(statistics.get("allocated_bytes.all.peak", 0) - held),
            "peak_memory_reserved_bytes": float(statistics.get("reserved_bytes.all.peak", 0) - held),
        }

    @property
    def device_name(self) -> str:
        return str(self._cuda.get_device_name(self._device))
