import random

import pytest

from gpubench.worker.timing.cpu_time import CpuTime
from gpubench.worker.timing.launch_figures import figures
from gpubench.worker.timing.loop import Measured
from gpubench.worker.timing.timers import Block

QUIET = CpuTime(process_s=1.0, main_s=1.0, delayed_s=0.0)


def _measured(
    step_s=0.002, *, num=400, group=1, clock="cuda_event", timing="throughput", enqueue=0.5, skew=1.0, cpu=QUIET
):
    noise = random.Random(3)
    times = [step_s * group * (1 + 0.01 * noise.random()) for _ in range(num)]
    wall = sum(times)
    on_cuda = clock == "cuda_event"
    block = Block(
        100.0,
        times,
        wall,
        cpu,
        device_s=wall * skew if on_cuda else None,
        enqueue_s=[each * enqueue for each in times] if on_cuda else [],
    )
    edges = [100.0]
    for each in times:
        edges.append(edges[-1] + each)
    steps = [each / group for each in times]
    return Measured(group, steps, edges[:-1], edges[1:], "converged", clock, timing, [block])


def _figures(measured, on_gpu=True, waits=None, device_waits=None, **options):
    return figures(
        measured,
        samples_per_step=32,
        target_rel_ci=0.01,
        on_gpu=on_gpu,
        input_waits_s=waits,
        device_waits_s=device_waits,
        **options,
    )


def _codes(found):
    return {finding.code for finding in found.findings}


def test_throughput_is_samples_over_median_and_sustained_over_the_sum():
    measured = _measured()
    found = _figures(measured)
    steady = measured.times_s[found.series.num_warmup :]
    assert found.metrics["throughput"] == pytest.approx(32 / found.series.median_s)
    assert found.metrics["sustained_throughput"] == pytest.approx(32 * len(steady) / sum(steady))
    assert found.window.num_samples == 32 * len(steady)
    assert found.window.duration_s == pytest.approx(sum(steady))


def test_groups_count_their_steps():
    found = _figures(_measured(50e-6, group=20))
    assert found.metrics["step_time_s"] == pytest.approx(50e-6, rel=0.02)
    assert found.window.num_steps == 20 * found.series.num_steady
    assert "GB207" in _codes(found)


def test_a_host_with_time_to_spare_means_that_the_gpu_bounds():
    found = _figures(_measured(enqueue=0.4))
    assert found.series.bound == "gpu"
    assert found.metrics["host_enqueue_s"] == pytest.approx(0.0008, rel=0.02)
    assert not {"GB209", "GB210"} & _codes(found)


def test_a_host_that_launches_all_the_time_means_launch_bound():
    found = _figures(_measured(enqueue=0.99))
    assert found.series.bound == "launch"
    assert "GB209" in _codes(found)


def test_a_host_that_waits_for_input_means_input_bound():
    measured = _measured(enqueue=0.99)
    found = _figures(measured, waits=[0.001] * 400)
    assert found.series.bound == "input"
    assert found.metrics["input_wait_s"] == 0.001
    assert found.metrics["host_enqueue_s"] == pytest.approx(0.001, rel=0.03), "waiting for input is no handing over"
    assert found.metrics["input_wait_share"] == pytest.approx(0.5, rel=0.02)
    assert "GB210" in _codes(found)


def test_waiting_for_input_while_the_gpu_works_costs_nothing():
    found = _figures(_measured(enqueue=0.6), waits=[0.001] * 400)
    assert found.series.bound == "gpu"


def test_a_step_that_waits_for_the_device_itself_is_not_launch_bound():
    """A GradScaler reads a flag of the device in every step: the host spends its spare time inside the step."""
    found = _figures(_measured(enqueue=0.99), device_waits=[0.0012] * 400)
    assert found.series.bound == "gpu"
    assert found.metrics["host_enqueue_s"] == pytest.approx(0.0008, rel=0.03)
    assert _figures(_measured(enqueue=0.99), device_waits=[0.00001] * 400).series.bound == "launch"


def test_a_full_launch_queue_is_not_taken_for_launching():
    """Where launches wait for room in the queue, the first group of a block shows what handing over really takes."""
    measured = _measured(enqueue=0.99)
    measured.blocks[0].enqueue_s[0] = 0.0005
    found = _figures(measured)
    assert found.series.bound == "gpu"
    assert found.metrics["host_enqueue_s"] == 0.0005


def test_pageable_copies_are_named_where_they_hold_the_host():
    found = _figures(_measured(enqueue=0.99), blocking_copies=True)
    assert found.series.bound == "input"
    assert "pageable" in next(each.message for each in found.findings if each.code == "GB210")


def test_on_the_cpu_it_is_the_cpu_or_the_input():
    assert _figures(_measured(clock="perf_counter"), on_gpu=False).series.bound == "cpu"
    assert _figures(_measured(clock="perf_counter"), on_gpu=False, waits=[0.0015] * 400).series.bound == "input"


def test_a_workload_that_tells_no_waits_has_none_and_a_reason():
    for waits in (None, []):
        found = _figures(_measured(), waits=waits)
        assert found.metrics["input_wait_s"] is None
        assert found.absent["input_wait_s"]


def test_clocks_that_disagree_invalidate():
    found = _figures(_measured(skew=1.03))
    assert "GB201" in _codes(found)
    assert next(each for each in found.findings if each.code == "GB201").effect == "invalidates"


def test_latency_has_names_of_its_own():
    found = _figures(_measured(clock="perf_counter", timing="latency"), on_gpu=False)
    assert found.metrics["latency_s"] == found.series.median_s
    assert found.metrics["latency_p50_s"] == pytest.approx(found.series.median_s)
    for name in ("step_time_s", "throughput", "sustained_throughput"):
        assert found.metrics[name] is None
        assert "one by one" in found.absent[name]
    assert "step_time_p50_s" not in found.metrics


def test_percentiles_need_their_sample():
    found = _figures(_measured(num=60))
    assert found.metrics["step_time_p99_s"] is None
    assert "299" in found.absent["step_time_p99_s"]


def test_being_pre_empted_weakens_a_cpu_figure():
    starved = CpuTime(process_s=0.6, main_s=0.6, delayed_s=0.2)
    assert "GB205" in _codes(_figures(_measured(clock="perf_counter", cpu=starved), on_gpu=False))
    assert "GB205" not in _codes(_figures(_measured(cpu=starved)))


def test_one_step_is_a_result_that_says_how_little_it_is():
    measured = Measured(1, [25.0], [10.0], [35.0], "max_time", "perf_counter", "throughput", num_leading=1)
    found = _figures(measured, on_gpu=False)
    assert found.metrics["throughput"] == pytest.approx(32 / 25)
    assert "GB208" in _codes(found)
    assert found.metrics["cpu_time_share"] is None
    assert (found.window.num_steps, found.window.duration_s) == (1, 25.0)
