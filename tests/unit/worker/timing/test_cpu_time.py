import mmap
import threading
import time

import pytest

from gpubench.core.cpus import own_delay_s, run_delay_s
from gpubench.worker.timing.cpu_time import CpuTime, fetches_memory, preempted


def test_a_process_that_got_what_it_wanted_is_not_pre_empted():
    assert preempted(CpuTime(process_s=2.0, main_s=1.0, delayed_s=0.02), wall_s=1.0) is None


def test_waiting_for_a_cpu_more_than_five_per_cent_of_the_wanted_time_is_found():
    found = preempted(CpuTime(process_s=1.0, main_s=0.5, delayed_s=0.25), wall_s=1.0)
    assert found.code == "GB205"
    assert found.data["ratio"] == pytest.approx(1.25)
    assert found.message == "The process waited for a CPU 20.0% of the time it wanted one."


def test_a_workload_that_sleeps_is_not_pre_empted():
    assert preempted(CpuTime(process_s=0.01, main_s=0.01, delayed_s=0.002), wall_s=1.0) is None


def test_without_the_kernels_count_wall_over_cpu_time_has_to_do():
    assert preempted(CpuTime(0.9, 0.9, None), wall_s=1.0).data["source"] == "wall clock"
    assert preempted(CpuTime(0.9, 0.9, None), wall_s=1.0, input_wait_s=0.09) is None
    assert preempted(CpuTime(0.0, 0.0, None), wall_s=1.0) is None


def test_delay_is_summed_over_threads(tmp_path):
    for thread, delay_ns in (("11", 2_000_000), ("12", 3_000_000)):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(f"100 {delay_ns} 7\n")
    (tmp_path / "13").mkdir()  # ended in between
    assert run_delay_s(str(tmp_path)) == pytest.approx(0.005)
    assert run_delay_s(str(tmp_path / "none")) is None


def test_a_difference_without_both_ends_is_unknown():
    later, earlier = CpuTime(3.0, 2.0, 0.5), CpuTime(1.0, 1.0, None)
    assert later - earlier == CpuTime(2.0, 1.0, None)
    assert later.plus(earlier) == CpuTime(4.0, 3.0, None)
    assert CpuTime(3.0, 2.0, 0.5) - CpuTime(1.0, 1.0, 0.7) == CpuTime(2.0, 1.0, 0.0)


def test_cpu_time_of_all_threads_is_counted_and_sleep_is_not():
    before = CpuTime.now()
    thread = threading.Thread(target=lambda: sum(range(3_000_000)))
    thread.start()
    thread.join()
    time.sleep(0.05)
    used = CpuTime.now() - before
    assert used.process_s > used.main_s >= 0


def test_a_thread_alone_on_its_cpu_waits_for_nobody(tmp_path):
    told = tmp_path / "schedstat"
    told.write_text("1000 2500000000 7\n")
    assert own_delay_s(str(told)) == 2.5
    assert own_delay_s(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("kernel_s", "page_faults", "told"), [(0.3, 8600, True), (0.05, 8600, False), (0.3, 200, False)]
)
def test_steps_that_fetch_their_memory_anew_are_told(kernel_s, page_faults, told):
    found = fetches_memory(CpuTime(1.0, 1.0, 0.0, kernel_s, 10 * page_faults), num_steps=10)
    assert (found is not None) == told
    if found is not None:
        assert found.code == "GB213"
        assert found.message == "The kernel took 30.0% of the CPU time, with 8600 page faults a step."


def test_fetching_memory_is_counted_in_page_faults():

    before = CpuTime.now()
    with mmap.mmap(-1, 4 << 20) as fresh:
        fresh.write(b"1" * (4 << 20))
    assert (CpuTime.now() - before).page_faults >= 2  # two huge pages at least
