"""Whether step times on the device are right: against other clocks, and against other tools."""

import math
import statistics

import pytest

from gpubench.suite.model.suite import Measure

pytestmark = pytest.mark.gpu

AGREES = 0.01
STEADY = Measure(min_time=2, max_time=8, target_rel_ci=0.005)


class Sum:
    """A sum of large tensors that keeps the device busy for some milliseconds.

    Its memory bounds it: where a power limit moves the clock, as under large products, two tools that leave other
    pauses between steps do not measure the same thing.
    """

    def __init__(self, torch, num_bytes=2**29, repeats=4):
        self.add, self.repeats = torch.add, repeats
        self.first, self.second, self.sum = (torch.ones(num_bytes // 4, device="cuda") for _ in range(3))

    def __call__(self):
        for _ in range(self.repeats):
            self.add(self.first, self.second, out=self.sum)
        return self.sum


def _gpubench_step_s(torch, step):
    """The median step time as the measuring loop finds it."""
    from gpubench.worker.accelerator import accelerator_of
    from gpubench.worker.timing import loop
    from gpubench.worker.timing.timers import DeviceTimer

    device = torch.device("cuda", 0)
    first = loop.first_steps(step, torch.cuda.synchronize, STEADY, lambda: False)
    group = loop.group_size(statistics.median(first.times_s), STEADY)
    rule = loop.stopping_rule(STEADY, group, on_gpu=True)
    measured = loop.measure_steps(
        step,
        DeviceTimer(accelerator_of(device)),
        rule,
        first,
        group=group,
        stopped=lambda: False,
        notify=lambda _: True,
    )
    return statistics.median(measured.times_s[len(measured.times_s) // 5 :]), measured


def test_events_and_wall_clock_agree_on_the_length_of_a_block(torch_cuda):
    _, measured = _gpubench_step_s(torch_cuda, Sum(torch_cuda))
    for block in measured.blocks:
        assert block.device_s == pytest.approx(block.wall_s, rel=0.01, abs=1e-3)
        assert math.fsum(block.times_s) == pytest.approx(block.device_s, rel=1e-3)


def _sleep_s(cuda, cycles):
    start, end = (cuda.Event(enable_timing=True) for _ in range(2))
    cuda.synchronize()
    start.record()
    cuda._sleep(cycles)
    end.record()
    cuda.synchronize()
    return start.elapsed_time(end) * 1e-3


def test_a_sleep_of_the_device_takes_as_long_as_it_says(torch_cuda):
    cycles = 20_000_000
    for _ in range(100):
        torch_cuda.cuda._sleep(cycles)  # a card that stood idle raises its clock first
    expected_s = statistics.median(_sleep_s(torch_cuda.cuda, cycles) for _ in range(9))
    found_s, _ = _gpubench_step_s(torch_cuda, lambda: torch_cuda.cuda._sleep(cycles))
    assert found_s == pytest.approx(expected_s, rel=0.05)


def test_step_time_agrees_with_torch_utils_benchmark(torch_cuda):
    from torch.utils import benchmark

    step = Sum(torch_cuda)
    ours_s, _ = _gpubench_step_s(torch_cuda, step)
    theirs_s = benchmark.Timer("step()", globals={"step": step}).blocked_autorange(min_run_time=2).median
    again_s, _ = _gpubench_step_s(torch_cuda, step)
    assert (ours_s + again_s) / 2 == pytest.approx(theirs_s, rel=AGREES)


def test_step_time_agrees_with_triton_do_bench(torch_cuda):
    testing = pytest.importorskip("triton.testing")
    step = Sum(torch_cuda)  # of so much memory that a cache flushed before it does not show
    ours_s, _ = _gpubench_step_s(torch_cuda, step)
    theirs_s = testing.do_bench(step, warmup=200, rep=2000, return_mode="median") * 1e-3
    again_s, _ = _gpubench_step_s(torch_cuda, step)
    assert (ours_s + again_s) / 2 == pytest.approx(theirs_s, rel=AGREES)


def test_nothing_inside_the_loop_waits_for_the_device(torch_cuda):
    """Seen by torch's profiler: in the steps themselves there is no synchronisation and no copy back to the host."""
    from torch.profiler import ProfilerActivity, profile

    from gpubench.suite.model.case import Case
    from gpubench.worker import effective_settings
    from gpubench.worker.workloads.cnn import CNN

    case = Case(device="cuda", data="digits", precision="amp-bf16", batch_size=256)
    effective_settings.apply(case, torch_cuda)
    workload = CNN()
    step = workload.build(case, torch_cuda.device("cuda"))
    for _ in range(10):
        step()
    torch_cuda.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for _ in range(20):
            step()
    workload.close()
    names = {event.key for event in profiler.key_averages()}
    waits = {
        name
        for name in names
        if "StreamSynchronize" in name or "aten::item" in name or "aten::_local_scalar_dense" in name
    }
    assert waits == set()
    assert not any("Memcpy DtoH" in name for name in names)
