import pytest
from fakes.nvml.control import HW_THERMAL, POWER_BRAKE, POWER_CAP, SW_THERMAL, SYNC_BOOST, Fake
from fakes.nvml.player import watch

from gpubench.telemetry.window.window_figures import TelemetryWindow


def observed(fake: Fake, *holds: tuple[int, float, float], rules: tuple[tuple[str, int], ...] = ()) -> TelemetryWindow:
    fake.add_device()
    fake.trace([(0.0, 400.0)])
    for hold in holds:
        fake.hold(*hold)
    for call, code in rules:
        fake.rule(call, code)
    player = watch(fake)
    player.play(96.0, 112.0)
    return player.summary(100.0, 110.0)


COUNTERS_OFF = tuple((f"field:{number}", 3) for number in (74, 76, 269, 270, 271))


@pytest.mark.parametrize(
    ("reason", "name", "code"),
    [
        (POWER_CAP, "power_cap", "GB402"),
        (SYNC_BOOST, "sync_boost", "GB403"),
        (SW_THERMAL, "sw_thermal", "GB403"),
        (HW_THERMAL, "hw_thermal", "GB404"),
        (POWER_BRAKE, "power_brake", "GB404"),
    ],
)
def test_time_by_reason_is_that_of_the_drivers_counters(fake: Fake, reason: int, name: str, code: str) -> None:
    summary = observed(fake, (reason, 101.0, 103.5))
    assert summary.detail["throttle_share_by_reason"][name] == pytest.approx(0.25, abs=0.001)
    assert summary.metrics["throttle_share"] == pytest.approx(0.25, abs=0.005)
    assert summary.detail["throttle_source"] == "time counters"
    (found,) = [found for found in summary.findings if found.code == code]
    assert found.data == {"reason": name, "share": pytest.approx(0.25, abs=0.001)}


def test_only_the_part_inside_the_window_counts(fake: Fake) -> None:
    summary = observed(fake, (POWER_CAP, 96.0, 101.0), (POWER_CAP, 109.03, 130.0))
    assert summary.detail["throttle_share_by_reason"]["power_cap"] == pytest.approx(0.197, abs=0.001)


def test_overlapping_reasons_are_not_added_up(fake: Fake) -> None:
    summary = observed(fake, (POWER_CAP, 100.0, 106.0), (SW_THERMAL, 103.0, 106.0))
    assert summary.metrics["throttle_share"] == pytest.approx(0.6, abs=0.01)


def test_reasons_one_after_the_other_are(fake: Fake) -> None:
    summary = observed(fake, (POWER_CAP, 100.0, 103.0), (SW_THERMAL, 103.0, 106.0))
    assert summary.metrics["throttle_share"] == pytest.approx(0.6, abs=0.01)


def test_without_counters_the_sampled_reasons_stand_in(fake: Fake) -> None:
    summary = observed(fake, (POWER_CAP, 101.0, 103.5), rules=COUNTERS_OFF)
    assert summary.detail["throttle_share_by_reason"]["power_cap"] == pytest.approx(0.25, abs=0.01)
    assert summary.detail["throttle_source"] == "sampled reasons"


def test_a_counter_that_stands_still_while_its_reason_is_set_is_not_believed(fake: Fake) -> None:
    fake.add_device()
    fake.trace([(0.0, 400.0)])
    fake.state(reasons=0x4)
    player = watch(fake)
    player.play(96.0, 112.0)
    summary = player.summary(100.0, 110.0)
    assert summary.detail["throttle_share_by_reason"]["power_cap"] == pytest.approx(1.0)


def test_no_throttling_is_a_measured_zero_and_no_finding(fake: Fake) -> None:
    summary = observed(fake)
    assert summary.metrics["throttle_share"] == 0.0
    assert summary.findings == []


def test_less_than_one_percent_is_measured_and_not_mentioned(fake: Fake) -> None:
    summary = observed(fake, (POWER_CAP, 101.0, 101.06))
    assert summary.metrics["throttle_share"] == pytest.approx(0.006, abs=0.003)
    assert summary.findings == []


def test_neither_counters_nor_reasons_is_absent(fake: Fake) -> None:
    off = (("nvmlDeviceGetCurrentClocksEventReasons", 3), ("nvmlDeviceGetCurrentClocksThrottleReasons", 3))
    summary = observed(fake, rules=(*COUNTERS_OFF, *off))
    assert summary.metrics["throttle_share"] is None
    assert "NOT_SUPPORTED" in summary.absent["throttle_share"]
