"""Clocks, memory, temperature, GPM and coverage of a window."""

import math

import pytest
from fakes.nvml.control import GIB, UUID, Fake
from fakes.nvml.player import IDENTITY, watch

from gpubench.core.metrics import METRICS as REGISTRY
from gpubench.telemetry.devices.base import Identity
from gpubench.telemetry.window.window_figures import METRICS, series_of


@pytest.fixture
def card(fake: Fake) -> Fake:
    fake.add_device()
    fake.abilities(gpm=True)
    fake.trace([(0.0, 400.0)])
    return fake


def test_every_metric_of_telemetry_is_in_the_registry() -> None:
    assert set(METRICS) <= set(REGISTRY)


def test_state_of_the_window_is_read(card: Fake) -> None:
    card.state(temperature=61, used=12 * GIB)
    player = watch(card)
    player.play(96.0, 108.0)
    metrics = player.summary(100.0, 106.0).metrics
    assert metrics["sm_clock_mhz"] == pytest.approx(1980.0)
    assert metrics["memory_clock_mhz"] == pytest.approx(2619.0)
    assert metrics["temperature_c"] == 61.0
    assert metrics["utilization"] == pytest.approx(0.97)
    assert metrics["device_memory_used_bytes"] == 12 * GIB


def test_gpm_means_are_those_of_the_window(card: Fake) -> None:
    card.trace([(0.0, 100.0), (100.0, 800.0), (106.0, 100.0)])
    player = watch(card)
    player.play(96.0, 108.0)
    metrics = player.summary(101.5, 105.0).metrics
    assert metrics["sm_activity"] == pytest.approx(0.8, rel=1e-6)
    assert metrics["tensor_activity"] == pytest.approx(0.4, rel=1e-6)
    assert metrics["dram_activity"] == pytest.approx(0.2, rel=1e-6)


def test_slow_gpm_calls_end_gpm_and_not_the_measurement(card: Fake) -> None:
    card.rule("nvmlGpmSampleGet", delay_s=0.03)
    player = watch(card)
    player.play(90.0, 108.0)
    assert [name for _, name in card.calls()].count("nvmlGpmSampleGet") == 3
    assert "too slow inside a window" in player.summary(100.0, 106.0).absent["sm_activity"]


def test_a_window_between_two_slow_ticks_takes_the_readings_around_it(card: Fake) -> None:
    player = watch(card)
    player.play(96.0, 104.0)
    assert player.summary(100.3, 100.5).metrics["temperature_c"] == 55.0


def test_a_clock_that_moves_is_said_to_be_free_and_to_drift(card: Fake) -> None:
    card.clock(103.0, 1980.0, 1755.0)
    player = watch(card)
    player.play(96.0, 108.0)
    summary = player.summary(100.0, 106.0)
    found = {found.code: found for found in summary.findings}
    assert found["GB405"].message == "The SM clock ran between 1755 and 1980 MHz."
    assert found["GB406"].data["drift"] == pytest.approx(1755 / 1980 - 1)
    assert summary.metrics["sm_clock_mhz"] == pytest.approx((1980 + 1755) / 2, rel=0.01)


def test_a_clock_held_by_a_setting_is_not_called_free(card: Fake) -> None:
    card.state(reasons=0x2)
    player = watch(card)
    player.play(96.0, 108.0)
    summary = player.summary(100.0, 106.0)
    assert summary.detail["clocks_held_by_setting"] is True
    assert summary.findings == []


def test_a_gap_in_the_readings_is_a_finding_with_its_length(card: Fake) -> None:
    player = watch(card)
    player.play(96.0, 101.0)
    player.play(103.0, 108.0)
    summary = player.summary(100.0, 106.0)
    (found,) = [found for found in summary.findings if found.code == "GB417"]
    assert found.data["longest_gap_s"] == pytest.approx(2.05, abs=0.06)
    assert summary.detail["coverage"] == pytest.approx(4 / 6, abs=0.02)


def test_a_half_second_call_costs_readings_and_nothing_else(card: Fake) -> None:
    card.rule("nvmlDeviceGetTemperature", delay_s=0.5, start_s=101.9, end_s=102.4)
    player = watch(card)
    player.play(96.0, 108.0)
    summary = player.summary(100.0, 106.0)
    assert summary.metrics["energy_j"] == pytest.approx(2400.0, rel=0.002)
    assert summary.detail["longest_gap_s"] == pytest.approx(0.55, abs=0.06)


def test_a_mig_slice_has_the_cards_energy_marked_and_never_valid(fake: Fake) -> None:
    fake.add_device()
    fake.add_device("aaaaaaaa-0000-4000-8000-000000000009", prefix="MIG-", parent=0, pci="", memory=10 * GIB)
    fake.trace([(0.0, 400.0)])
    player = watch(fake, identity=Identity(uuid="MIG-aaaaaaaa-0000-4000-8000-000000000009"))
    player.play(96.0, 108.0)
    summary = player.summary(100.0, 106.0)
    assert summary.metrics["energy_j"] == pytest.approx(2400.0, rel=0.002)
    assert summary.detail["energy_scope"] == "parent_shared"
    assert summary.detail["energy_valid"] is False
    assert "GB416" in {found.code for found in summary.findings}
    assert IDENTITY.uuid == UUID


def test_the_series_holds_the_window_and_one_reading_on_each_side(card: Fake) -> None:
    player = watch(card)
    player.play(96.0, 108.0)
    readings = player.monitored.readings(100.02, 101.0)
    series = series_of(readings.fast.cut(100.02, 101.0), readings.slow.cut(100.02, 101.0))
    assert series["fast_time_s"][0] < 100.02 <= series["fast_time_s"][1]
    assert series["fast_time_s"][-2] <= 101.0 < series["fast_time_s"][-1]
    assert len({len(series[name]) for name in ("fast_time_s", "power_instant_w", "counter_j", "sm_clock_mhz")}) == 1
    assert not any(math.isnan(value) for value in series["power_instant_w"])
    assert "power_usage_w" not in series
