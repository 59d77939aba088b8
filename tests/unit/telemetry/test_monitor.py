"""The API for other programs, in this process and as a program that only has LD_LIBRARY_PATH."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.nvml.control import GIB, NAME, OTHER_UUID, UUID, Fake

import gpubench.telemetry
from gpubench.telemetry import Monitor, Recording, ReplayBackend, Schedule
from gpubench.telemetry.devices.base import NullBackend

QUICK = Schedule(fast_s=0.02, slow_s=0.1)


def test_a_monitor_measures_a_window_of_any_program(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake.add_device()
    fake.trace([(0.0, 420.0)])
    fake.hold(0, 0.0, 1e9)
    with Monitor(device=0, schedule=QUICK) as monitor:
        assert (monitor.available, monitor.reason) == (True, "")
        assert (monitor.name, monitor.uuid) == (NAME, f"GPU-{UUID}")
        start_s = time.monotonic()
        time.sleep(0.5)
        end_s = time.monotonic()
        window = monitor.window(start_s, end_s)
    assert window.energy_uncertainty_pct is not None
    assert window.energy_uncertainty_pct < 25
    assert window.energy_j == pytest.approx(420 * (end_s - start_s), rel=window.energy_uncertainty_pct / 100)
    assert window.mean_power_w == pytest.approx(window.energy_j / window.duration_s)
    assert window.peak_power_w == pytest.approx(420.0, rel=0.1)  # of ticks that a busy machine sees late
    assert window.energy_source == "counter_ticks"
    assert window.energy_valid is False
    assert window.energy_invalid_reason is not None
    assert window.throttle_share == pytest.approx(1.0, rel=1e-3)
    assert window.throttle_shares["power_cap"] == pytest.approx(1.0, rel=1e-3)
    assert window.sm_clock_mhz == pytest.approx(1980.0)
    assert window.device_memory_used_bytes == 8 * GIB
    assert monitor.available is False


@pytest.mark.parametrize(
    ("visible", "watts"), [("1", 250.0), (f"GPU-{OTHER_UUID}", 250.0), ("1,0", 250.0), ("0", 420.0)]
)
def test_the_visible_card_is_the_one_measured(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, visible: str, watts: float
) -> None:
    monkeypatch.setattr("gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    fake.add_device(UUID)
    fake.add_device(OTHER_UUID)
    fake.trace([(0.0, 420.0)], device=0)
    fake.trace([(0.0, 250.0)], device=1)
    with Monitor(device=0, schedule=QUICK) as monitor:
        start_s = time.monotonic()
        time.sleep(0.2)
        assert monitor.window(start_s, time.monotonic()).mean_power_w == pytest.approx(watts, rel=0.25)


def test_a_monitor_without_a_driver_gives_windows_with_the_reason() -> None:
    with Monitor(backend=NullBackend("no NVIDIA driver", "Install it.")) as monitor:
        assert (monitor.available, monitor.reason, monitor.remedy) == (False, "no NVIDIA driver", "Install it.")
        window = monitor.window(1.0, 2.0)
    assert window.energy_j is None
    assert window.absent["energy_j"] == "no NVIDIA driver"
    assert window.energy_valid is False
    with pytest.raises(ValueError, match="nothing was recorded"):
        monitor.recording()


def test_a_number_that_is_no_card_is_a_reason(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake.add_device()
    with Monitor(device=3) as monitor:
        assert monitor.reason == "CUDA has no device 3: 1 visible"


def test_a_lost_card_is_a_reason(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: None)
    fake.add_device()
    fake.trace([(0.0, 420.0)])
    with Monitor(schedule=QUICK) as monitor:
        start_s = time.monotonic()
        time.sleep(0.1)
        fake.rule("*", 15)
        time.sleep(0.1)
        window = monitor.window(start_s, time.monotonic())
    assert window.absent["energy_j"].startswith("the GPU was lost")


@pytest.mark.parametrize(("start_s", "end_s"), [(2.0, 2.0), (3.0, 2.0), (float("nan"), 2.0), (1.0, float("inf"))])
def test_a_window_that_does_not_last_is_a_mistake(start_s: float, end_s: float) -> None:
    with (
        Monitor(backend=NullBackend("none")) as monitor,
        pytest.raises(ValueError, match="a window must end after it starts"),
    ):
        monitor.window(start_s, end_s)


def test_a_window_that_is_not_over_is_a_mistake() -> None:
    now_s = time.monotonic()
    with Monitor(backend=NullBackend("none")) as monitor, pytest.raises(ValueError, match="not ended"):
        monitor.window(now_s, now_s + 60)


def test_what_was_recorded_can_be_played_back(tmp_path: Path) -> None:
    """A monitor on a replay of a monitor gives the same figures."""
    times = [0.02 * i for i in range(300)]
    fast = {"time_s": times, "power_instant_w": [300.0] * 300, "counter_j": [300 * at for at in times]}
    quick = Schedule(fast_s=0.02, slow_s=0.1, probe_periods=False)
    with Monitor(backend=ReplayBackend(Recording("card", fast, {})), schedule=quick) as monitor:
        start_s = time.monotonic()
        time.sleep(0.6)
        window = monitor.window(start_s, time.monotonic())
        monitor.save(tmp_path / "recorded.json")
    recorded = gpubench.telemetry.load_recording(tmp_path / "recorded.json")
    assert window.mean_power_w == pytest.approx(300.0, rel=0.2)
    assert recorded.duration_s > 0.6
    assert set(recorded.fast["power_instant_w"]) == {300.0}


PROGRAM = """
import sys, time
import gpubench
with gpubench.telemetry.Monitor(device=0) as monitor:
    start_s = time.monotonic()
    time.sleep(0.4)
    window = monitor.window(start_s, time.monotonic())
print(monitor.reason, window.mean_power_w, window.energy_source, window.absent.get("energy_j"))
assert not {"torch", "numpy", "pandas", "scipy"} & set(sys.modules), sys.modules.keys()
"""


def run_program(library: Path, **environ: str) -> str:
    paths = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(library.parent)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**paths, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_a_program_needs_nothing_but_the_library_and_imports_neither_torch_nor_numpy(preloadable_library: Path) -> None:
    said = run_program(preloadable_library, FAKE_NVML_WATTS="300").split()
    assert float(said[-3]) == pytest.approx(300.0, rel=0.2)
    assert said[-2:] == ["counter_ticks", "None"]


def test_a_program_whose_driver_was_updated_under_it_is_told(preloadable_library: Path) -> None:
    said = run_program(preloadable_library, FAKE_NVML_FAIL_INIT="18")
    assert said.endswith("None None NVIDIA driver and library versions differ")


def test_the_public_names_are_these() -> None:
    assert gpubench.telemetry.__all__ == [
        "Monitor",
        "MonitorWindow",
        "Recording",
        "ReplayBackend",
        "Schedule",
        "load_recording",
    ]
    for name in gpubench.telemetry.__all__:
        assert getattr(gpubench.telemetry, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gpubench.telemetry.nothing


def test_emissions_follow_the_grid_that_is_named() -> None:
    with Monitor(backend=NullBackend("none")) as monitor:
        window = monitor.window(1.0, 2.0)
    assert window.grams_co2(400.0) is None
    assert replace(window, energy_j=3.6e6).grams_co2(400.0) == pytest.approx(400.0)
