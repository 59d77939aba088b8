import time

import pytest
from fakes.accelerator import FakeAccelerator

from gpubench.suite.model.workload_names import OPERATORS
from gpubench.worker.accelerator import Accelerator
from gpubench.worker.timing.burst import NUM_PARTS, PART_S, REST_S, burst, burst_figures
from gpubench.worker.workloads.registry import resolve


class Capped:
    """A step of 1 ms while the card has rested for at most 50 ms of work, after a slow first 10 ms; then of 1.2 ms."""

    def __init__(self, device):
        self.device, self.done = device, 0

    def __call__(self):
        self.done += 1
        slow = self.done <= 10 or self.done > 50
        self.device.launch(host_ns=1000, device_ns=1_200_000 if slow else 1_000_000)


@pytest.fixture
def device(monkeypatch):
    device = FakeAccelerator().use_clock(monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(device, "now_ns", device.now_ns + round(seconds * 1e9)))
    return device


def test_a_burst_is_the_fastest_part_after_a_rest(device):
    before_s = device.seconds()
    found = burst(Capped(device), 0.001, device)
    assert found.step_s == pytest.approx(0.001, rel=0.01)
    assert found.start_s - before_s >= REST_S
    assert found.end_s - found.start_s == pytest.approx(NUM_PARTS * PART_S, rel=0.2)


def test_a_step_longer_than_a_part_is_timed_alone(device):
    step = Capped(device)
    burst(step, 0.02, device)
    assert step.done == NUM_PARTS


def test_the_figure_is_flops_per_second_of_the_burst(device):
    (metrics, absent), window = burst_figures(Capped(device), 0.001, 1e9, device)
    assert metrics["burst_flops"] == pytest.approx(1e12, rel=0.01)
    assert window is not None
    assert absent == {}
    (metrics, absent), window = burst_figures(Capped(device), None, 1e9, device)
    assert (metrics, absent, window) == ({"burst_flops": None}, {"burst_flops": "there is no step time"}, None)


def test_a_cpu_has_one_state_and_says_why():
    (metrics, absent), window = burst_figures(lambda: None, 0.001, 1e9, Accelerator())
    assert (metrics, window) == ({"burst_flops": None}, None)
    assert "neither clocks nor a power limit are read" in absent["burst_flops"]


def test_only_products_and_convolutions_have_a_burst():
    shown = {name for name in OPERATORS if getattr(resolve(f"operators:{name}"), "shows_burst", False)}
    assert shown == {"matmul", "conv2d"}
