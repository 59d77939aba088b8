import mmap
import sys

import pytest
from fakes.accelerator import FakeMemory

from gpubench.worker.timing.memory import MemoryWatch

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_counts_what_was_taken_and_given_back():
    watch = MemoryWatch(None)
    with mmap.mmap(-1, 96 * MIB) as block:  # unlike malloc, never memory that is resident already
        for at in range(0, len(block), mmap.PAGESIZE):
            block[at] = 1
    memory = watch.read()
    assert memory.source == "VmHWM"
    assert 90 * MIB <= memory.metrics["peak_rss_bytes"] < 400 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_older_peak_is_not_charged_to_the_workload():
    block = bytearray(b"\1") * (96 * MIB)
    del block
    assert MemoryWatch(None).read().metrics["peak_rss_bytes"] < 48 * MIB


def test_a_peak_that_could_not_be_reset_is_named_so(tmp_path):
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t   5000 kB\nVmRSS:\t   3000 kB\n")
    (tmp_path / "clear_refs").mkdir()  # writing to it fails
    memory = MemoryWatch(None, proc=tmp_path).read()
    assert memory.metrics["peak_rss_bytes"] == 2000 * 1024
    assert memory.source == "VmHWM, not reset"


def test_without_proc_the_system_s_own_peak_has_to_do(tmp_path):
    memory = MemoryWatch(None, proc=tmp_path / "none").read()
    assert memory.source == "ru_maxrss"
    assert memory.metrics["peak_rss_bytes"] >= 0


def test_a_cpu_case_has_no_device_figures_and_says_why():
    memory = MemoryWatch(None).read()
    assert memory.metrics["peak_memory_allocated_bytes"] is None
    assert set(memory.absent) == {
        "peak_memory_allocated_bytes",
        "peak_memory_reserved_bytes",
        "allocator_retries",
        "device_memory_used_bytes",
    }


def test_device_peaks_count_from_the_first_step():
    allocator = FakeMemory()
    watch = MemoryWatch(allocator)
    watch.start_peaks()
    allocator.counted["allocated_bytes.all.peak"] = 350
    allocator.counted["num_alloc_retries"] = 5
    memory = watch.read()
    assert {name: memory.metrics[name] for name in memory.metrics if name != "peak_rss_bytes"} == {
        "peak_memory_allocated_bytes": 350,
        "peak_memory_reserved_bytes": 400,
        "allocator_retries": 3,
        "device_memory_used_bytes": 40,
    }
    assert memory.absent == {}


def test_what_is_done_aside_leaves_no_mark():
    allocator = FakeMemory()
    watch = MemoryWatch(allocator)
    watch.start_peaks()
    allocator.counted["allocated_bytes.all.peak"] = 600
    with watch.aside():
        allocator.counted["allocated_bytes.all.peak"] = 5000
        allocator.counted["reserved_bytes.all.peak"] = 6000
    allocator.counted["allocated_bytes.all.peak"] = 500
    metrics = watch.read().metrics
    assert (metrics["peak_memory_allocated_bytes"], metrics["peak_memory_reserved_bytes"]) == (600, 400)
    assert allocator.num_emptied == 2


def test_a_product_aside_leaves_no_workspace_of_cublas_in_the_peaks():
    allocator = FakeMemory()
    watch = MemoryWatch(allocator)
    watch.start_peaks()
    with watch.aside():
        allocator.workspace = 32 * MIB
    assert watch.read().metrics["peak_memory_allocated_bytes"] == 300


def test_an_allocator_without_statistics_gives_its_reason():
    allocator = FakeMemory()
    allocator.counted = {}
    watch = MemoryWatch(allocator)
    memory = watch.read()
    assert memory.metrics["peak_memory_reserved_bytes"] is None
    assert "no statistics" in memory.absent["peak_memory_reserved_bytes"]
