"""The loop on a clock that the test moves."""

import itertools

import pytest
from fakes.accelerator import FakeAccelerator

from gpubench.suite.model.suite import Measure
from gpubench.worker.timing.loop import (
    FirstSteps,
    first_steps,
    following,
    group_size,
    measure_steps,
    only_first_steps,
    stopping_rule,
)
from gpubench.worker.timing.timers import CpuTimer, DeviceTimer, LatencyTimer


def never():
    return False


@pytest.fixture
def clock(monkeypatch):
    return FakeAccelerator().use_clock(monkeypatch)


@pytest.fixture
def cpu_step(clock):
    """Steps of 2 ms and then some: a seeded half per cent, so that the series has a spread."""
    from random import Random

    noise = Random(1)

    def step():
        clock.now_ns += round(2_000_000 * (1 + 0.005 * noise.random()))

    return step


def _first(clock, step, measure, stopped=never):
    return first_steps(step, clock.synchronize, measure, stopped)


def _measure(clock, step, measure, *, timer=None, group=1, stopped=never, notify=lambda _: True, on_gpu=False):
    first = _first(clock, step, measure, stopped)
    rule = stopping_rule(measure, group, on_gpu=on_gpu)
    return measure_steps(step, timer or CpuTimer(), rule, first, group=group, stopped=stopped, notify=notify)


def test_steps_shorter_than_a_millisecond_are_grouped_to_at_least_one():
    assert [group_size(step_s, Measure()) for step_s in (50e-6, 0.3e-3, 1e-3, 5.0)] == [20, 4, 1, 1]


def test_neither_the_first_step_nor_what_a_loader_prefetched_decides_the_group():
    assert FirstSteps(0, 0.0, [9.0, 50e-6, 50e-6, 50e-6], over=False).typical_s == 50e-6
    assert FirstSteps(0, 0.0, [20e-6] * 8 + [15e-3] * 9, over=False).typical_s == 15e-3


def test_groups_leave_room_for_the_first_look():
    assert group_size(1e-6, Measure(min_steps=50, max_steps=1000)) == 20


def test_steps_that_follow_each_other_are_shorter_than_steps_alone(clock):
    def step():
        clock.launch(host_ns=700_000, device_ns=800_000)

    assert following(step, clock.synchronize, 1.5e-3)[0] == pytest.approx(0.8e-3, rel=0.1)
    assert following(step, clock.synchronize, 1.5e-3)[1] == 14
    assert following(step, clock.synchronize, 3e-3) == (3e-3, 0), "no step was run"


def test_first_steps_are_at_least_five_and_a_tenth_of_a_second(clock):
    def slow():
        clock.now_ns += 90_000_000

    def quick():
        clock.now_ns += 5_000_000

    assert len(_first(clock, slow, Measure()).times_s) == 5
    assert len(_first(clock, quick, Measure()).times_s) == 21


def test_two_first_steps_have_to_do_where_a_step_is_very_slow(clock):
    def step():
        clock.now_ns += 3_000_000_000

    first = _first(clock, step, Measure(max_time=20))
    assert len(first.times_s) == 2
    assert not first.over


def test_a_step_longer_than_the_limit_still_gives_a_result(clock):
    def step():
        clock.now_ns += 30_000_000_000

    first = _first(clock, step, Measure(max_time=20))
    assert first.over
    measured = only_first_steps(CpuTimer(), first, stopped=False, max_time_s=20)
    assert measured.times_s == pytest.approx([30.0] * 2)
    assert measured.reason == "max_time"


def test_a_first_step_that_compiles_takes_nothing_from_the_time_to_measure(clock):
    from random import Random

    noise, calls = Random(3), []

    def step():
        clock.now_ns += 10_000_000 + round(3_000_000 * noise.random()) if calls else 60_000_000_000
        calls.append(1)

    measure = Measure(min_time=1, max_time=5, target_rel_ci=1e-6)
    first = _first(clock, step, measure)
    assert first.cold_s == pytest.approx(60)
    assert not first.over
    rule = stopping_rule(measure, 1, first.cold_s, on_gpu=False)
    measured = measure_steps(step, CpuTimer(), rule, first, group=1, stopped=never, notify=lambda _: True)
    assert measured.reason == "max_time"
    assert sum(measured.times_s) - first.cold_s == pytest.approx(5, abs=0.05)


def test_max_steps_holds_from_the_first_step_on(clock, cpu_step):
    first = _first(clock, cpu_step, Measure(max_steps=5, min_steps=5))
    assert first.over
    assert only_first_steps(CpuTimer(), first, stopped=False, max_time_s=20).reason == "max_steps"


def test_no_step_at_all_is_no_series():
    with pytest.raises(ValueError, match="no step"):
        only_first_steps(CpuTimer(), FirstSteps(0, 0.0, [], over=True), stopped=True, max_time_s=1)


def test_it_stops_when_the_median_is_known_well_enough(clock, cpu_step):
    measured = _measure(clock, cpu_step, Measure(min_time=0.5, max_time=100))
    assert measured.reason == "converged"
    assert measured.clock == "perf_counter"
    assert all(0.002 <= each <= 0.00202 for each in measured.times_s)


def test_the_time_limit_includes_warm_up(clock):
    from random import Random

    noise = Random(2)

    def step():
        clock.now_ns += round(10_000_000 * (1 + 3 * noise.random()))

    began = clock.seconds()
    measured = _measure(clock, step, Measure(min_time=1, max_time=5, target_rel_ci=1e-6))
    assert measured.reason == "max_time"
    assert 5 <= clock.seconds() - began < 5.05


def test_groups_sum_to_the_wall_time_of_their_blocks(clock, cpu_step):
    measured = _measure(clock, cpu_step, Measure(min_time=0.5, max_time=100), group=5)
    assert measured.num_leading == 0
    assert sum(measured.times_s) * 5 == pytest.approx(measured.wall_s)
    assert measured.num_steps == 5 * len(measured.times_s)
    assert measured.ends_s[-1] - measured.starts_s[0] == pytest.approx(measured.wall_s)


def test_single_steps_on_the_cpu_are_not_run_twice(clock, cpu_step):
    measured = _measure(clock, cpu_step, Measure(min_time=0.2, max_time=100))
    assert measured.num_leading > 5
    assert measured.num_steps == len(measured.times_s) - measured.num_leading


def test_steps_followed_by_a_wait_never_mix_with_event_times(clock):
    def step():
        clock.launch(host_ns=100_000, device_ns=2_000_000)

    measured = _measure(clock, step, Measure(min_time=0.1, max_time=5), timer=DeviceTimer(clock), on_gpu=True)
    assert measured.num_leading == 0
    assert measured.clock == "cuda_event"
    assert sum(measured.times_s) == pytest.approx(sum(block.device_s for block in measured.blocks))


def test_on_cuda_the_window_is_three_seconds_unless_the_suite_says(clock):
    assert stopping_rule(Measure(min_time=1), 1, on_gpu=True).min_time_s == 3.1
    assert stopping_rule(Measure(min_time=1, min_window=0.5), 1, on_gpu=True).min_time_s == 1.0
    assert stopping_rule(Measure(min_time=1, min_window=8), 1, on_gpu=True).min_time_s == 8.0
    assert stopping_rule(Measure(min_time=1), 1, on_gpu=False).min_time_s == 1.0


@pytest.mark.parametrize("cold_s", [0.0, 2.0, 30.0])
@pytest.mark.parametrize("device_ns", [90_000, 2_000_000, 40_000_000])
def test_first_steps_that_are_not_in_the_series_take_nothing_from_its_window(clock, cold_s, device_ns):
    """What cuDNN, autotuning or compiling costs before, and what looks cost between blocks, is no measured time."""
    from random import Random

    noise, calls = Random(4), []

    def step():
        clock.launch(host_ns=20_000, device_ns=round(device_ns * (1 + 0.002 * noise.random())))
        if not calls:
            clock.now_ns += round(cold_s * 1e9)
        calls.append(1)

    measure = Measure(min_time=1, max_time=20, target_rel_ci=0.05)
    first = _first(clock, step, measure)
    group = group_size(first.typical_s, measure)
    rule = stopping_rule(measure, group, first.cold_s, on_gpu=True)
    look = rule.look

    def slow_look(*args, **kwargs):
        clock.now_ns += 5_000_000
        looked.append(look(*args, **kwargs))
        return looked[-1]

    looked = []
    rule.look = slow_look
    measured = measure_steps(step, DeviceTimer(clock), rule, first, group=group, stopped=never, notify=lambda _: True)
    assert measured.reason == "converged"
    window_s = sum(measured.times_s[looked[-1].num_warmup :]) * group
    assert 3.1 <= window_s <= 3.25
    assert len(looked) < 30, "min_time is reached in few looks"


def test_max_steps_counts_steps_and_not_groups():
    assert stopping_rule(Measure(max_steps=1000), 10, on_gpu=False).max_steps == 100


def test_a_request_to_stop_ends_after_the_step_and_keeps_the_series(clock, cpu_step):
    calls = []

    def step():
        calls.append(1)
        cpu_step()

    measured = _measure(clock, step, Measure(min_time=50, max_time=100), stopped=lambda: len(calls) >= 70)
    assert measured.reason == "interrupted"
    assert len(measured.times_s) == len(calls) == 70


def test_news_goes_out_a_few_times_a_second(clock, cpu_step):
    sent = []

    def notify(message):
        sent.append((clock.seconds(), message))
        clock.now_ns += 400_000_000  # a slow write: it must not count as step time

    measured = _measure(clock, cpu_step, Measure(min_time=3, max_time=6, target_rel_ci=1e-5), notify=notify)
    assert max(measured.times_s) < 0.0021
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(sent)]
    assert len(sent) >= 3
    assert min(gaps) > 0.25
    assert all(message.step_time_s == pytest.approx(0.002, rel=0.02) for _, message in sent[:1])
    assert [message.num_steps for _, message in sent] == sorted(message.num_steps for _, message in sent)


def test_requests_lead_with_their_first_ones(clock):
    def request():
        clock.launch(host_ns=100_000, device_ns=1_900_000)

    measured = _measure(clock, request, Measure(min_time=0.2, max_time=5), timer=LatencyTimer(clock.synchronize))
    assert measured.timing == "latency"
    assert measured.times_s == pytest.approx([0.002] * len(measured.times_s))
