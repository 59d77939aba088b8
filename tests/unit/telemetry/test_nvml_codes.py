"""All return codes on every call that observing a card makes: data, never an exception."""

import math
from types import SimpleNamespace
from typing import Any, cast

import pynvml
import pytest
from fakes.nvml.control import NAME, RETURN_CODES, UUID, Fake
from fakes.nvml.player import watch

from gpubench.telemetry.devices.nvml import NvmlBackend, open_backend, readers
from gpubench.telemetry.devices.nvml.library import FUNCTION_NOT_FOUND, NAMES, Library, NvmlError
from gpubench.telemetry.run_telemetry import TelemetrySession, open_session
from gpubench.telemetry.sampling.sampler import Schedule
from gpubench.telemetry.window.window_figures import METRICS

SAMPLED_CALLS = (
    "nvmlDeviceGetFieldValues",
    "field:186",
    "field:185",
    "field:83",
    "field:74",
    "field:269",
    "field:82",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetPerformanceState",
    "nvmlGpmSampleGet",
    "nvmlGpmMetricsGet",
)

FIRST_CALLS = ("nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc")

OTHER_CALLS = (
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceIsMigDeviceHandle",
    "nvmlDeviceGetName",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlSystemGetProcessName",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetPowerManagementDefaultLimit",
    "nvmlDeviceGetPowerManagementLimitConstraints",
    "nvmlDeviceGetMaxClockInfo",
    "nvmlDeviceGetClock",
    "nvmlDeviceGetEccMode",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetPersistenceMode",
    "nvmlDeviceGetCurrPcieLinkWidth",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlShutdown",
)

LOST = {15, 16, 28}
DEVICE = {"uuid": UUID, "name": NAME, "total_bytes": 79 * 2**30}


def test_the_table_of_codes_is_the_bindings() -> None:
    names = {
        value: name.removeprefix("NVML_ERROR_")
        for name, value in vars(pynvml).items()
        if name.startswith("NVML_ERROR_") and isinstance(value, int)
    }
    assert names.items() <= NAMES.items()
    assert set(RETURN_CODES) <= set(NAMES)


class OldBinding:
    """An nvidia-ml-py of before 12.560: fewer exceptions, and fewer members in the union of a field's value."""

    class NVMLError(Exception):
        value = 999

    @staticmethod
    def nvmlDeviceGetName(handle: object) -> str:  # noqa: N802 - the binding's name
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


def test_what_an_older_binding_lacks_becomes_data_too() -> None:
    library = Library(cast("Any", OldBinding))
    with pytest.raises(NvmlError, match="nvmlDeviceGetName: UnicodeDecodeError") as raised:
        library.call("nvmlDeviceGetName", None)
    assert raised.value.code is None
    with pytest.raises(NvmlError, match="not in this nvidia-ml-py"):
        library.call("nvmlDeviceGetTemperatureV", None, 0)
    answer = SimpleNamespace(valueType=6, value=SimpleNamespace(dVal=1.0))
    assert readers._decode(answer) is None


def test_a_call_that_the_library_has_only_in_an_older_version_is_one_that_is_missing(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(handle: object) -> None:
        raise pynvml.NVMLLibraryMismatchError("use a versioned function")

    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lacking)
    backend = open_backend()
    assert isinstance(backend, NvmlBackend)
    with pytest.raises(NvmlError) as raised:
        backend.library.call("nvmlDeviceGetComputeRunningProcesses", None)
    assert raised.value.code == FUNCTION_NOT_FOUND


@pytest.mark.slow
@pytest.mark.parametrize("call", SAMPLED_CALLS)
def test_each_code_in_the_middle_of_a_window_leaves_a_window_that_says_what_is_missing(fake: Fake, call: str) -> None:
    for code in RETURN_CODES:
        fake.reset()
        fake.add_device()
        fake.abilities(gpm=True)
        fake.trace([(0.0, 400.0)])
        player = watch(fake)
        player.play(98.5, 101.0)
        fake.rule(call, code)
        player.play(101.0, 103.5)
        assert player.monitored.sampler.errors == []
        summary = player.summary(100.0, 103.0)
        gone = player.monitored.lost_in(103.0)
        assert (gone is not None) == (code in LOST and player.monitored.device.lost is not None)
        for name, value in summary.metrics.items():
            assert (value is None) == (name in summary.absent), (call, code, name)
            assert value is None or math.isfinite(value)
        if code in LOST:
            assert gone is not None, (call, code)
        else:
            assert player.monitored.device.faults() != {}


@pytest.mark.slow
@pytest.mark.parametrize("call", SAMPLED_CALLS + FIRST_CALLS)
def test_each_code_from_the_start_leaves_a_window_with_reasons(fake: Fake, call: str) -> None:
    for code in RETURN_CODES:
        fake.reset()
        fake.add_device()
        fake.abilities(gpm=True)
        fake.trace([(0.0, 400.0)])
        player = watch(fake)
        fake.rule(call, code)
        player.play(98.5, 102.5)
        summary = player.summary(100.0, 102.0)
        assert player.monitored.sampler.errors == []
        assert all((value is None) == (name in summary.absent) for name, value in summary.metrics.items())
        assert all(reason for reason in summary.absent.values())


@pytest.mark.slow
@pytest.mark.parametrize("call", OTHER_CALLS)
def test_each_code_outside_windows_leaves_a_session_that_works(fake: Fake, call: str) -> None:
    for code in RETURN_CODES:
        fake.reset()
        fake.add_device()
        if "Process" in call:
            fake.processes(4242)
        fake.trace([(0.0, 400.0)])
        fake.rule(call, code)
        with _session(fake) as session:
            session.before_launch()
            session.track(DEVICE)
            session.phase("measuring")
            window = session.window(fake.now() - 0.2, fake.now() - 0.1, 10)
            session.after_launch()
            assert set(METRICS) == set(window.metrics), (call, code)
            assert all((value is None) == (name in window.absent) for name, value in window.metrics.items())


def _session(fake: Fake) -> TelemetrySession:
    schedule = Schedule(probe_periods=False)
    return open_session("boundary", backend=open_backend(clock=fake.now), schedule=schedule)


@pytest.mark.parametrize("code", RETURN_CODES)
def test_each_code_of_the_initialisation_is_a_reason_and_a_remedy(fake: Fake, code: int) -> None:
    fake.rule("nvmlInitWithFlags", code)
    with open_session("sampled") as session:
        assert not session.available
        assert session.reason
        assert session.remedy
        session.before_launch()
        session.track(None)
        window = session.window(1.0, 2.0, 10)
        assert window.absent["energy_j"] == session.reason
        assert window.findings == []


def test_a_code_from_the_future_is_shown_as_its_number(fake: Fake) -> None:
    fake.rule("nvmlInitWithFlags", 4711)
    assert open_backend().reason == "NVML could not start: code (4711)"


def test_no_driver_is_four_words_and_no_finding_on_cpu_cases() -> None:
    backend = open_backend()
    if backend.available:
        pytest.skip("this machine has a driver")
    assert backend.reason == "no NVIDIA driver"


def test_a_symbol_missing_in_an_old_driver_falls_back(old_fake: Fake) -> None:
    """Event reasons to throttle reasons, the second memory call to the first."""
    old_fake.add_device()
    old_fake.trace([(0.0, 400.0)])
    old_fake.hold(0, 101.0, 103.0)
    player = watch(old_fake)
    player.play(96.0, 106.0)
    summary = player.summary(100.0, 105.0)
    called = {name for _, name in old_fake.calls()}
    assert "nvmlDeviceGetCurrentClocksThrottleReasons" in called
    assert "nvmlDeviceGetMemoryInfo" in called
    assert summary.metrics["device_memory_used_bytes"] is not None
    assert summary.metrics["throttle_share"] == pytest.approx(0.4, abs=0.02)
    assert summary.absent["sm_activity"].startswith("nvmlGpmQueryDeviceSupport: FUNCTION_NOT_FOUND")


def test_a_field_off_at_the_probe_is_not_asked_for_again(fake: Fake) -> None:
    fake.add_device()
    fake.trace([(0.0, 400.0)])
    fake.rule("nvmlDeviceGetUtilizationRates", 3)
    player = watch(fake)
    player.play(96.0, 106.0)
    assert [name for _, name in fake.calls()].count("nvmlDeviceGetUtilizationRates") == 1
    assert player.monitored.device.missing["utilization"] == "nvmlDeviceGetUtilizationRates: NOT_SUPPORTED (3)"


def test_a_field_that_fails_later_is_asked_for_again_and_recovers(fake: Fake) -> None:
    fake.add_device()
    fake.trace([(0.0, 400.0)])
    player = watch(fake)
    player.play(96.0, 98.0)
    fake.rule("nvmlDeviceGetUtilizationRates", 3, end_s=102.0)
    player.play(98.0, 101.5)
    assert "utilization" in player.monitored.device.missing
    player.play(101.5, 106.0)
    assert "utilization" not in player.monitored.device.missing
    assert player.summary(100.0, 105.0).metrics["utilization"] == pytest.approx(0.97)
