"""Sign, unit, sum, a no-op's floor, a known sleep; and CUDA's logic on a device whose clock the test moves."""

import gc
import time

import pytest
from fakes.accelerator import FakeAccelerator

from gpubench.worker.timing.timers import MAX_AHEAD, Block, CpuTimer, DeviceTimer, LatencyTimer, Verdict, disagreement


def _after(num_groups):
    """Ends the block after so many groups."""
    seen = []

    def watch(now_ns):
        seen.append(now_ns)
        return Verdict.END if len(seen) == num_groups else Verdict.GO_ON

    return watch


@pytest.fixture
def device(monkeypatch):
    return FakeAccelerator().use_clock(monkeypatch)


def test_a_known_sleep_has_the_right_sign_unit_and_size():
    block = CpuTimer().run(lambda: time.sleep(0.005), 1, _after(10))
    assert len(block.times_s) == 10
    assert all(0.005 <= each < 0.5 for each in block.times_s)


def test_times_of_groups_sum_to_the_block():
    block = CpuTimer().run(lambda: sum(range(500)), 4, _after(50))
    assert sum(block.times_s) == pytest.approx(block.wall_s, rel=1e-9)


def test_a_no_op_takes_more_than_nothing():
    block = CpuTimer().run(lambda: None, 1, _after(200))
    assert all(each > 0 for each in block.times_s)
    assert sorted(block.times_s)[100] < 1e-4


def test_a_group_runs_exactly_its_steps():
    calls = []
    CpuTimer().run(lambda: calls.append(1), 7, _after(3))
    assert len(calls) == 21


def test_what_a_pause_takes_belongs_to_no_group(device):
    verdicts = iter([Verdict.GO_ON, Verdict.PAUSED, Verdict.GO_ON, Verdict.END])

    def watch(_now_ns):
        verdict = next(verdicts)
        if verdict is Verdict.PAUSED:
            device.now_ns += 50_000_000
        return verdict

    def step():
        device.now_ns += 2_000_000

    block = CpuTimer().run(step, 1, watch)
    assert block.times_s == pytest.approx([0.002] * 4)
    assert block.wall_s == pytest.approx(0.058)


def test_the_garbage_collector_is_off_inside_a_block_only():
    seen = []
    assert gc.isenabled()
    CpuTimer().run(lambda: seen.append(gc.isenabled()), 1, _after(3))
    assert seen == [False, False, False]
    assert gc.isenabled()


def test_the_garbage_collector_comes_back_after_a_step_that_raises():
    with pytest.raises(ZeroDivisionError):
        CpuTimer().run(lambda: 1 / 0, 1, _after(3))
    assert gc.isenabled()


def test_a_request_ends_when_the_device_has_answered(device):
    timer = LatencyTimer(device.synchronize)
    block = timer.run(lambda: device.launch(host_ns=100_000, device_ns=3_000_000), 1, _after(5))
    assert block.times_s == pytest.approx([0.0031] * 5)
    assert timer.timing == "latency"


def test_an_empty_request_gives_the_floor(device):
    def wait():
        device.now_ns += 20_000

    assert LatencyTimer(wait).floor_s() == pytest.approx(20e-6)


def test_a_device_bound_step_takes_its_device_time_and_the_queue_stays_short(device):
    block = DeviceTimer(device).run(lambda: device.launch(host_ns=200_000, device_ns=2_000_000), 1, _after(40))
    assert block.times_s[1:] == pytest.approx([0.002] * 39)
    assert sum(block.times_s) == pytest.approx(block.device_s)
    assert sum(block.enqueue_s) == pytest.approx(40 * 200e-6)
    assert device.max_ahead == MAX_AHEAD + 1
    assert disagreement([block]) is None


def test_a_launch_bound_step_takes_its_host_time_idle_gaps_included(device):
    block = DeviceTimer(device).run(lambda: device.launch(host_ns=2_000_000, device_ns=500_000), 1, _after(40))
    assert block.times_s[1:] == pytest.approx([0.002] * 39)
    assert block.enqueue_s == pytest.approx([0.002] * 40)


def test_the_device_is_waited_for_twice_a_block_and_never_inside(device):
    DeviceTimer(device).run(lambda: device.launch(host_ns=1000, device_ns=1_000_000), 1, _after(100))
    assert device.num_synchronised == 2


def test_events_are_used_again_in_the_next_block(device):
    timer = DeviceTimer(device)

    def step():
        device.launch(host_ns=1000, device_ns=1_000_000)

    timer.run(step, 1, _after(30))
    made = len(timer._free)
    second = timer.run(step, 1, _after(30))
    assert len(timer._free) == made == 31
    assert second.times_s == pytest.approx([0.001] * 30, rel=2e-3)


def test_groups_of_steps_are_timed_as_one(device):
    block = DeviceTimer(device).run(lambda: device.launch(host_ns=1000, device_ns=50_000), 20, _after(10))
    assert block.times_s[1:] == pytest.approx([0.001] * 9)


def test_a_step_that_launches_nothing_takes_at_least_the_events_resolution(device):
    block = DeviceTimer(device).run(lambda: None, 1, _after(3))
    assert block.times_s == [5e-7] * 3


def test_a_device_clock_that_runs_wrong_is_told_from_the_wall_clock(monkeypatch):
    device = FakeAccelerator(skew=1.05).use_clock(monkeypatch)
    block = DeviceTimer(device).run(lambda: device.launch(host_ns=1000, device_ns=5_000_000), 1, _after(50))
    wall_s, device_s = disagreement([block])
    assert device_s == pytest.approx(1.05 * wall_s, rel=1e-3)


def test_work_on_another_stream_shows_as_a_disagreement(device):
    def step():
        device.launch(host_ns=1000, device_ns=1_000_000)

    block = DeviceTimer(device).run(step, 1, _after(50))
    block.wall_s += 0.02  # the synchronisation at the end had to wait for more than the timed stream
    assert disagreement([block]) is not None


def test_a_late_wake_up_of_the_host_is_no_disagreement():
    blocks = [Block(0.0, [1.0], 1.0008, None, device_s=1.0), Block(0.0, [0.01], 0.0108, None, device_s=0.01)]
    assert disagreement(blocks) is None
    assert disagreement([Block(0.0, [0.01], 0.0108, None)]) is None
