"""torch's allocator on one GPU."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

_ALLOCATED_PEAK = "allocated_bytes.all.peak"


class DeviceMemory:
    """Sizes in bytes. `torch` is the module, `cuda` its part for GPUs.

    At every replay a captured graph writes to its pool without asking the allocator, which counts as free what the
    captured call released. Here that counts as allocated.
    """

    given_back: ClassVar[dict[Any, int]] = {}
    """By graph pool: the most that the captured call held at once of what it released. For graphs captured by other
    code this is unknown, and all free memory in their pools counts.
    """

    def __init__(self, device: Any, torch: Any, cuda: Any) -> None:
        self._device, self._torch, self._cuda = device, torch, cuda
        self._replayed_at_reset = 0

    def statistics(self) -> dict[str, int]:
        """By torch's names (`allocated_bytes.all.peak`); empty if nothing was allocated or counted."""
        found: dict[str, int] = self._cuda.memory_stats(self._device)
        if _ALLOCATED_PEAK in found:
            found[_ALLOCATED_PEAK] += self._replayed_at_reset
        return found

    def free_and_total(self) -> tuple[int, int]:
        """Free and total memory of the whole device, from the driver."""
        free, total = self._cuda.mem_get_info(self._device)
        return int(free), int(total)

    def allocated(self) -> int:
        return int(self._cuda.memory_allocated(self._device)) + self._replayed()

    def peak(self) -> int:
        """Most bytes allocated at once since `reset_peak`. A graph captured since then counts by its capture."""
        return int(self.statistics().get(_ALLOCATED_PEAK, 0))

    def reset_peak(self) -> None:
        self._cuda.reset_peak_memory_stats(self._device)
        self._replayed_at_reset = self._replayed()

    @contextmanager
    def capturing(self, graph: Any) -> Iterator[None]:
        """Inside, `graph` is captured: notes how much of the released memory the call uses. Resets the peak."""
        self._cuda.reset_peak_memory_stats(self._device)
        yield
        peak, left = self._cuda.max_memory_allocated(self._device), self._cuda.memory_allocated(self._device)
        self.given_back[tuple(graph.pool())] = int(peak - left)

    def _replayed(self) -> int:
        """Memory that replays use in all graphs' pools, beyond what is allocated there. The pool (0, 0) is the
        allocator's.
        """
        free: Counter[Any] = Counter()
        for segment in self._cuda.memory_snapshot():
            if segment["device"] == (self._device.index or 0):
                free[tuple(segment["segment_pool_id"])] += segment["total_size"] - segment["allocated_size"]
        del free[0, 0]
        return sum(min(num_bytes, self.given_back.get(pool, num_bytes)) for pool, num_bytes in free.items())

    def free_workspaces(self) -> None:
        """Releases workspaces that libraries keep between calls: cuBLAS up to 32 MiB per thread that multiplied,
        counted as allocated by the first product. The next product allocates it again, also inside a captured graph.
        """
        self._torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001 - not public, but torch's compiler calls it too

    def empty_cache(self) -> None:
        self._cuda.empty_cache()

    def limit(self, num_bytes: int) -> None:
        """Makes allocations beyond `num_bytes` fail."""
        self._cuda.set_per_process_memory_fraction(num_bytes / self.free_and_total()[1], self._device.index or 0)

    def record_history(self, max_entries: int) -> None:
        """Records allocations and frees with Python stacks. torch documents this under names with an underscore."""
        self._cuda.memory._record_memory_history(stacks="python", max_entries=max_entries)  # noqa: SLF001

    def save_history(self, path: Path) -> None:
        """Writes what was recorded and stops recording."""
        self._cuda.memory._dump_snapshot(str(path))  # noqa: SLF001
        self._cuda.memory._record_memory_history(enabled=None)  # noqa: SLF001
