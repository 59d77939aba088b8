"""Peak memory of the device's allocator and of this process."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gpubench.core.process_tree import size_of
from gpubench.worker.device_memory import DeviceMemory

_KIB = 1024


class Memory(NamedTuple):
    """Metrics by name, in bytes (`allocator_retries` is a count); why some are absent; and in `source`, how the
    resident set's peak was read.
    """

    metrics: dict[str, float | None]
    absent: dict[str, str]
    source: str | None


DEVICE_METRICS = (
    "peak_memory_allocated_bytes",
    "peak_memory_reserved_bytes",
    "allocator_retries",
    "device_memory_used_bytes",
)


_PEAKS = {
    "peak_memory_allocated_bytes": "allocated_bytes.all.peak",
    "peak_memory_reserved_bytes": "reserved_bytes.all.peak",
}


class MemoryWatch:
    """Make it before the workload is built; call `start_peaks` after that, before the first step."""

    def __init__(self, device: DeviceMemory | None, proc: Path = Path("/proc/self")) -> None:
        self._device, self._proc = device, proc
        self._retries_before = 0
        self._earlier_peaks: dict[str, int] = {}
        self._peak_was_reset = _reset_peak(proc)
        self._baseline = size_of(proc, "VmRSS")
        if self._baseline is None:
            self._baseline = _max_rss_bytes()

    def start_peaks(self) -> None:
        """Device peaks from here on are those of warm-up and steady steps. They include what `build` left allocated;
        what it left in the allocator's cache is released.
        """
        if self._device is not None:
            self._forget(self._device)
            self._retries_before = self._device.statistics().get("num_alloc_retries", 0)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For work between steps: it leaves no trace in the device's peaks, the allocator's cache or a cuBLAS
        workspace.
        """
        if self._device is not None:
            self._earlier_peaks = self._peaks(self._device)
        yield
        if self._device is not None:
            self._forget(self._device)

    @staticmethod
    def _forget(device: DeviceMemory) -> None:
        device.free_workspaces()
        device.empty_cache()
        device.reset_peak()

    def read(self) -> Memory:
        """The peaks so far, without waiting; call it after the last step and before anything else uses memory."""
        metrics: dict[str, float | None] = dict.fromkeys(DEVICE_METRICS)
        absent: dict[str, str] = {}
        if self._device is not None:
            free, total = self._device.free_and_total()
            retries = self._device.statistics().get("num_alloc_retries", 0) - self._retries_before
            metrics |= self._peaks(self._device)
            metrics |= {"allocator_retries": retries, "device_memory_used_bytes": total - free}
            absent = {name: "this allocator keeps no statistics" for name in _PEAKS if metrics[name] is None}
        else:
            absent = dict.fromkeys(DEVICE_METRICS, "the case runs on the CPU, which has no device allocator")
        peak, source = self._peak_rss()
        metrics["peak_rss_bytes"] = peak
        if peak is None:
            absent["peak_rss_bytes"] = "the system does not tell a process its resident set"
        return Memory(metrics, absent, source)

    def _peaks(self, device: DeviceMemory) -> dict[str, int]:
        """Peaks by metric; empty if the allocator keeps no statistics."""
        statistics = device.statistics()
        found = {name: statistics.get(key) for name, key in _PEAKS.items()}
        return {name: max(peak, self._earlier_peaks.get(name, 0)) for name, peak in found.items() if peak is not None}

    def _peak_rss(self) -> tuple[float | None, str | None]:
        """The peak above the baseline. If it could not be reset it may be older than the workload: an upper bound."""
        peak, source = size_of(self._proc, "VmHWM"), "VmHWM"
        if peak is None or not self._peak_was_reset:
            peak, source = peak or _max_rss_bytes(), "VmHWM, not reset" if peak else "ru_maxrss"
        if peak is None or self._baseline is None:
            return None, None
        return max(0.0, float(peak - self._baseline)), source


def _reset_peak(proc: Path) -> bool:
    """Linux: writing 5 to clear_refs resets the peak resident set to the current one (proc(5))."""
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _max_rss_bytes() -> int:
    """The peak of this process since its start; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB
