import pytest
from fakes.accelerator import FakeAccelerator
from fakes.torch_module import FakeTorch, TorchCuda

from gpubench.worker.accelerator import CudaAccelerator
from gpubench.worker.timing.device_busy import device_busy


@pytest.fixture
def device(monkeypatch):
    return FakeAccelerator().use_clock(monkeypatch)


def test_busy_time_is_the_devices_own_however_slowly_the_host_launches(device):
    def step():
        for _ in range(10):
            device.launch(host_ns=200_000, device_ns=30_000)

    assert device_busy(step, 1, 0.002, device).step_s == pytest.approx(0.0003, rel=1e-3)


def test_a_group_is_shared_among_its_steps(device):
    busy = device_busy(lambda: device.launch(host_ns=10_000, device_ns=40_000), 25, 25e-5, device)
    assert busy.step_s == pytest.approx(40e-6, rel=1e-3)


def test_the_device_is_held_longer_where_the_host_was_slower_than_told(device):
    def step():
        device.launch(host_ns=40_000_000, device_ns=1_000_000)

    assert device_busy(step, 1, 0.001, device).step_s == pytest.approx(0.001, rel=1e-3)


def test_a_step_that_waits_for_the_device_cannot_be_told(device):
    def step():
        device.launch(host_ns=1000, device_ns=1_000_000)
        device.synchronize()

    busy = device_busy(step, 1, 0.001, device)
    assert busy.step_s is None
    assert "waits for the device" in busy.reason


def test_a_torch_without_the_spinning_kernel_gives_a_reason():
    torch = FakeTorch(TorchCuda())
    assert "no kernel" in device_busy(lambda: None, 1, 0.001, CudaAccelerator("cuda", torch)).reason
