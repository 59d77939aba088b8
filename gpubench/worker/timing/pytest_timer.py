"""CUDA events around the rounds of pytest-benchmark's loop."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from gpubench.worker.accelerator import gpu

Runner = Callable[..., Any]
"""Given a range: seconds for that many calls. Given None or an empty range: seconds for one call, and its result."""

MIN_GROUP_S = 1e-3
"""Shortest group of calls: its first launch, on an idle device, is then at most about 1 % of it."""

_MS = 1e-3
_L2_TIMES = 2
_L2_UNKNOWN_BYTES = 128 * 2**20


class CudaRounds:
    """Times rounds on `device`. `torch` is the module, already imported by the caller.

    A round begins with the device idle. With `l2_flush` each call follows a write to twice the size of the L2 cache,
    and is timed by two events; without it the calls of a round follow each other, and are timed together.
    """

    def __init__(self, torch: Any, device: Any, *, l2_flush: bool = False) -> None:
        self._accelerator = gpu(device, torch)
        self._flushed: Any = None
        if l2_flush:
            size = _L2_TIMES * (self._accelerator.last_cache_bytes() or _L2_UNKNOWN_BYTES)
            self._flushed = torch.empty(size, dtype=torch.uint8, device=device)
        self.num_calls = 0

    def clock(self) -> float:
        """`time.perf_counter` after the device has finished all work."""
        self._accelerator.synchronize()
        return time.perf_counter()

    def runner(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Runner:
        """A runner like pytest-benchmark's own, whose second parameter, a timer, is not needed."""

        def call() -> Any:
            return function(*args, **kwargs)

        def run(loops: range | None, timer: object = None) -> Any:  # noqa: ARG001 - pytest-benchmark's signature
            with self._accelerator.current():
                if loops:
                    return self._timed(call, len(loops))[0]
                return self._timed(call, 1)

        return run

    def _timed(self, call: Callable[[], Any], times: int) -> tuple[float, Any]:
        """Seconds of all calls together, and the last result."""
        self.num_calls += times
        self._accelerator.synchronize()
        if self._flushed is None:
            groups = [self._around(call, times)]
        else:
            groups = []
            for _ in range(times):
                self._flushed.zero_()
                groups.append(self._around(call, 1))
        self._accelerator.synchronize()
        return sum(begin.elapsed_time(end) for begin, end, _ in groups) * _MS, groups[-1][2]

    def _around(self, call: Callable[[], Any], times: int) -> tuple[Any, Any, Any]:
        begin, end = (self._accelerator.event() for _ in range(2))
        result = None
        begin.record()
        for _ in range(times):
            result = call()
        end.record()
        return begin, end, result

    def start_peaks(self) -> None:
        """Starts measuring peak memory."""
        self._accelerator.synchronize()
        self._accelerator.memory.reset_peak()

    def peaks(self) -> dict[str, float]:
        """Peak memory in bytes since `start_peaks`, by metric, including what was allocated before."""
        statistics = self._accelerator.memory.statistics()
        held = 0 if self._flushed is None else self._flushed.numel()
        return {
            "peak_memory_allocated_bytes": float(statistics.get("allocated_bytes.all.peak", 0) - held),
            "peak_memory_reserved_bytes": float(statistics.get("reserved_bytes.all.peak", 0) - held),
        }

    @property
    def device_name(self) -> str:
        return self._accelerator.name
