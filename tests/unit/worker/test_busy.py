import pytest
from fakes.cuda import FakeCuda

from gpubench.worker.timing.device_busy import device_busy


@pytest.fixture
def cuda(monkeypatch):
    return FakeCuda().use_clock(monkeypatch)


def test_busy_time_is_the_devices_own_however_slowly_the_host_launches(cuda):
    def step():
        for _ in range(10):
            cuda.launch(host_ns=200_000, device_ns=30_000)

    assert device_busy(step, 1, 0.002, cuda, None).step_s == pytest.approx(0.0003, rel=1e-3)


def test_a_group_is_shared_among_its_steps(cuda):
    busy = device_busy(lambda: cuda.launch(host_ns=10_000, device_ns=40_000), 25, 25e-5, cuda, None)
    assert busy.step_s == pytest.approx(40e-6, rel=1e-3)


def test_the_device_is_held_longer_where_the_host_was_slower_than_told(cuda):
    def step():
        cuda.launch(host_ns=40_000_000, device_ns=1_000_000)

    assert device_busy(step, 1, 0.001, cuda, None).step_s == pytest.approx(0.001, rel=1e-3)


def test_a_step_that_waits_for_the_device_cannot_be_told(cuda):
    def step():
        cuda.launch(host_ns=1000, device_ns=1_000_000)
        cuda.synchronize()

    busy = device_busy(step, 1, 0.001, cuda, None)
    assert busy.step_s is None
    assert "waits for the device" in busy.reason


def test_a_torch_without_the_spinning_kernel_gives_a_reason():
    assert device_busy(lambda: None, 1, 0.001, object(), None).step_s is None
