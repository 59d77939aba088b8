import sys
from types import SimpleNamespace

import pytest

from gpubench.worker.timing.memory import MemoryWatch

CPU = SimpleNamespace(type="cpu")
MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_counts_what_was_taken_and_given_back():
    watch = MemoryWatch(None, CPU)
    block = bytearray(b"\1") * (96 * MIB)
    del block
    memory = watch.read()
    assert memory.source == "VmHWM"
    assert 90 * MIB <= memory.metrics["peak_rss_bytes"] < 400 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_older_peak_is_not_charged_to_the_workload():
    block = bytearray(b"\1") * (96 * MIB)
    del block
    assert MemoryWatch(None, CPU).read().metrics["peak_rss_bytes"] < 48 * MIB


def test_a_peak_that_could_not_be_reset_is_named_so(tmp_path):
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t   5000 kB\nVmRSS:\t   3000 kB\n")
    (tmp_path / "clear_refs").mkdir()  # writing to it fails
    memory = MemoryWatch(None, CPU, proc=tmp_path).read()
    assert memory.metrics["peak_rss_bytes"] == 2000 * 1024
    assert memory.source == "VmHWM, not reset"


def test_without_proc_the_system_s_own_peak_has_to_do(tmp_path):
    memory = MemoryWatch(None, CPU, proc=tmp_path / "none").read()
    assert memory.source == "ru_maxrss"
    assert memory.metrics["peak_rss_bytes"] >= 0


def test_a_cpu_case_has_no_device_figures_and_says_why():
    memory = MemoryWatch(None, CPU).read()
    assert memory.metrics["peak_memory_allocated_bytes"] is None
    assert set(memory.absent) == {
        "peak_memory_allocated_bytes",
        "peak_memory_reserved_bytes",
        "allocator_retries",
        "device_memory_used_bytes",
    }


class FakeAllocator:
    """`torch` stands for the module: cuBLAS's workspace is a part of what is allocated until it is given back."""

    def __init__(self):
        self.workspace = 0
        self.torch = SimpleNamespace(cuda=self, _C=SimpleNamespace(_cuda_clearCublasWorkspaces=self._clear))
        self.statistics = {
            "allocated_bytes.all.peak": 900,
            "reserved_bytes.all.peak": 1000,
            "num_alloc_retries": 2,
        }

    def _clear(self):
        self.workspace = 0

    def empty_cache(self):
        self.num_emptied = getattr(self, "num_emptied", 0) + 1

    def reset_peak_memory_stats(self, device):
        self.statistics["allocated_bytes.all.peak"] = 300 + self.workspace
        self.statistics["reserved_bytes.all.peak"] = 400

    def memory_stats(self, device):
        return dict(self.statistics)

    def mem_get_info(self, device):
        return 60, 100


def test_device_peaks_count_from_the_first_step():
    allocator = FakeAllocator()
    watch = MemoryWatch(allocator.torch, SimpleNamespace(type="cuda"))
    watch.start_peaks()
    allocator.statistics["allocated_bytes.all.peak"] = 350
    allocator.statistics["num_alloc_retries"] = 5
    memory = watch.read()
    assert {name: memory.metrics[name] for name in memory.metrics if name != "peak_rss_bytes"} == {
        "peak_memory_allocated_bytes": 350,
        "peak_memory_reserved_bytes": 400,
        "allocator_retries": 3,
        "device_memory_used_bytes": 40,
    }
    assert memory.absent == {}


def test_what_is_done_aside_leaves_no_mark():
    allocator = FakeAllocator()
    watch = MemoryWatch(allocator.torch, SimpleNamespace(type="cuda"))
    watch.start_peaks()
    allocator.statistics["allocated_bytes.all.peak"] = 600
    with watch.aside():
        allocator.statistics["allocated_bytes.all.peak"] = 5000
        allocator.statistics["reserved_bytes.all.peak"] = 6000
    allocator.statistics["allocated_bytes.all.peak"] = 500
    metrics = watch.read().metrics
    assert (metrics["peak_memory_allocated_bytes"], metrics["peak_memory_reserved_bytes"]) == (600, 400)
    assert allocator.num_emptied == 2


def test_a_product_aside_leaves_no_workspace_of_cublas_in_the_peaks():
    allocator = FakeAllocator()
    watch = MemoryWatch(allocator.torch, SimpleNamespace(type="cuda"))
    watch.start_peaks()
    with watch.aside():
        allocator.workspace = 32 * MIB
    assert watch.read().metrics["peak_memory_allocated_bytes"] == 300


def test_an_allocator_without_statistics_gives_its_reason():
    allocator = FakeAllocator()
    allocator.statistics = {}
    watch = MemoryWatch(allocator.torch, SimpleNamespace(type="cuda"))
    memory = watch.read()
    assert memory.metrics["peak_memory_reserved_bytes"] is None
    assert "no statistics" in memory.absent["peak_memory_reserved_bytes"]
