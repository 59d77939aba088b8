"""A program's cards under the fake driver."""

import pytest
from fakes.nvml.control import GIB, NAME, OTHER_UUID, UUID, Fake

from gpubench.cli.measured_program import ProgramTelemetry
from gpubench.core.errors import UsageError


def test_every_card_that_the_program_may_open_is_measured(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for number, (uuid, watts) in enumerate([(UUID, 420.0), (OTHER_UUID, 250.0)]):
        fake.add_device(uuid)
        fake.trace([(0.0, watts)], device=number)
    with ProgramTelemetry() as telemetry:
        run = telemetry.measure(["sleep", "0.4"])
    assert [device.name for device in run.devices.values()] == [NAME, NAME]
    assert list(run.devices) == [f"GPU-{UUID}", f"GPU-{OTHER_UUID}"]
    first, second = run.devices.values()
    assert first.metrics["mean_power_w"] == pytest.approx(420.0, rel=0.2)
    assert second.metrics["mean_power_w"] == pytest.approx(250.0, rel=0.2)
    assert first.detail["energy_valid"] is False
    assert first.metrics["device_memory_used_bytes"] == 8 * GIB
    assert telemetry.without_devices == ""


def test_a_named_card_is_the_only_one(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: None)
    fake.add_device(UUID)
    fake.add_device(OTHER_UUID)
    with ProgramTelemetry([f"GPU-{OTHER_UUID}"]) as telemetry:
        assert list(telemetry.measure(["true"]).devices) == [f"GPU-{OTHER_UUID}"]
    with pytest.raises(UsageError, match="--device: not a device: 'first'"):
        ProgramTelemetry(["first"])
