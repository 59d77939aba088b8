"""Energy of traces with a known integral, through the fake NVML and the real nvidia-ml-py."""

import random

import pytest
from fakes.nvml.control import AVERAGE, COUNTER, INSTANT, NAME, UUID, Fake, square
from fakes.nvml.player import Player, watch

from gpubench.telemetry.devices.base import FastReading, Identity
from gpubench.telemetry.devices.periods import Periods

IDLE_W = 80.0
PERIODS = Periods(counter_s=0.1, power_instant_s=0.1, power_average_s=0.1)


def warm(fake: Fake, watts: float = 500.0, *, since_s: float = 90.0) -> None:
    """A card that has drawn `watts` for ten seconds when the window starts at 100."""
    fake.trace([(0.0, IDLE_W), (since_s, watts), (160.0, IDLE_W)])


def measured(
    fake: Fake, start_s: float, end_s: float, *, periods: Periods | None = PERIODS, offset_s: float = 0.0
) -> Player:
    player = watch(fake, periods=periods)
    player.play(start_s - 4, end_s + 1.5, offset_s=offset_s)
    return player


def test_a_steady_load_is_measured_from_counter_ticks_and_is_valid(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    summary = measured(fake, 100.0, 104.0).summary(100.0, 104.0, num_samples=4000)
    assert summary.metrics["energy_j"] == pytest.approx(2000.0, rel=1e-3)
    assert summary.metrics["mean_power_w"] == pytest.approx(500.0, rel=1e-3)
    assert summary.metrics["peak_power_w"] == pytest.approx(500.0, rel=1e-3)
    assert summary.metrics["energy_per_sample_j"] == pytest.approx(0.5, rel=1e-3)
    assert summary.metrics["samples_per_j"] == pytest.approx(2.0, rel=1e-3)
    assert summary.detail["energy_source"] == "counter_ticks"
    assert summary.detail["energy_valid"] is True
    assert summary.detail["energy_uncertainty_pct"] == pytest.approx(100 * (0.25 * 0.1 + 2**0.5 * 0.025) / 4, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("update_s", "jitter", "load_periods_s", "probed"),
    [
        (0.02, 0.0, (0.04, 0.4), True),
        (0.1, 0.0, (0.04, 0.4), True),
        (0.1, 0.0, (0.4, 3.0), True),
        (0.1, 0.3, (0.04, 0.6), False),
        (0.23, 0.1, (0.1, 1.0), True),
    ],
)
def test_200_random_phases_stay_within_2_percent_and_inside_the_stated_uncertainty(
    fake: Fake, update_s: float, jitter: float, load_periods_s: tuple[float, float], probed: bool
) -> None:
    """Windows from the least valid length on, loads of any period that run before the window or start with it."""
    rng = random.Random(f"{update_s} {jitter} {load_periods_s}")
    errors, covered, suspected = [], 0, 0
    for phase in range(200):
        fake.reset()
        fake.add_device()
        fake.sensor(COUNTER, update_s, phase_s=rng.uniform(0, update_s), jitter=jitter)
        fake.sensor(INSTANT, 0.1, phase_s=rng.uniform(0, 0.1), window_s=0.025)
        fake.sensor(AVERAGE, 0.1, phase_s=rng.uniform(0, 0.1), window_s=1.0)
        start_s = 100 + rng.random()
        end_s = start_s + max(3.0, 30 * update_s) * rng.uniform(1.0, 1.2)
        load = square(
            start_s - (0 if phase % 2 else 3),
            end_s + 1,
            period_s=rng.uniform(*load_periods_s),
            duty=rng.uniform(0.4, 0.9),
            high_w=rng.uniform(400, 700),
            low_w=rng.uniform(150, 400),
        )
        fake.trace([(0.0, IDLE_W), *load])
        player = watch(fake, periods=Periods(counter_s=update_s) if probed else None)
        player.play(start_s - 1, end_s + 0.8, offset_s=rng.uniform(0, 0.05))
        summary = player.summary(start_s, end_s)
        assert summary.detail["energy_source"] == "counter_ticks"
        truth = fake.energy(start_s, end_s)
        energy_j, uncertainty_pct = summary.metrics["energy_j"], summary.detail["energy_uncertainty_pct"]
        assert energy_j is not None
        errors.append(abs(energy_j / truth - 1))
        suspected += "GB411" in {found.code for found in summary.findings}
        covered += abs(energy_j - truth) <= energy_j * uncertainty_pct / 100
    assert max(errors) <= 0.02
    assert covered >= 190
    assert suspected == 0


def test_a_window_below_the_minimum_keeps_its_value_and_says_why_it_is_not_valid(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    summary = measured(fake, 100.0, 102.0).summary(100.0, 102.0)
    assert summary.metrics["energy_j"] == pytest.approx(1000.0, rel=0.01)
    assert summary.detail["energy_valid"] is False
    assert summary.detail["energy_minimum_window_s"] == 3.0
    assert "shorter than 3.0 s" in summary.detail["energy_invalid_reason"]
    assert [found.code for found in summary.findings] == ["GB410"]


def test_a_probe_that_was_disturbed_does_not_make_the_least_window_longer(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    summary = measured(fake, 100.0, 103.05, periods=Periods(counter_s=0.113)).summary(100.0, 103.05)
    assert summary.detail["energy_minimum_window_s"] == 3.0
    assert summary.detail["energy_valid"] is True


def test_a_slow_counter_needs_a_longer_window(fake: Fake) -> None:
    fake.add_device()
    fake.sensor(COUNTER, 0.5)
    warm(fake)
    summary = measured(fake, 100.0, 110.0, periods=None).summary(100.0, 110.0)
    assert summary.detail["energy_minimum_window_s"] == pytest.approx(15.0, rel=0.05)
    assert summary.detail["energy_valid"] is False


def test_idle_power_is_subtracted_where_it_was_measured(fake: Fake) -> None:
    fake.add_device()
    fake.trace([(0.0, IDLE_W), (100.0, 500.0), (110.0, IDLE_W)])
    player = watch(fake, periods=PERIODS)
    player.play(90.0, 106.0)
    summary = player.monitored.summarise(101.0, 105.0, 1, idle=(92.0, 96.0))
    assert summary.detail["idle_power_w"] == pytest.approx(IDLE_W, rel=1e-3)
    assert summary.metrics["energy_above_idle_j"] == pytest.approx(4 * (500 - IDLE_W), rel=2e-3)
    without = player.monitored.summarise(101.0, 105.0, 1)
    assert without.metrics["energy_above_idle_j"] is None
    assert without.absent["energy_above_idle_j"] == "no idle power was measured with the context up"


def test_without_a_counter_a_settled_load_is_taken_from_the_one_second_average(fake: Fake) -> None:
    fake.add_device()
    fake.abilities(energy_counter=False)
    warm(fake)
    summary = measured(fake, 100.0, 112.0).summary(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_average"
    assert summary.metrics["energy_j"] == pytest.approx(fake.energy(100.0, 112.0), rel=0.01)
    assert summary.detail["energy_valid"] is True
    assert summary.detail["energy_minimum_window_s"] == 10.0


def test_without_a_counter_a_load_that_starts_with_the_window_is_not_taken_from_the_average(fake: Fake) -> None:
    """The one-second average would be 10 % low over 5 s; the instantaneous power is not, and is flagged."""
    fake.add_device()
    fake.abilities(energy_counter=False)
    fake.trace([(0.0, IDLE_W), (100.0, 500.0), (120.0, IDLE_W)])
    summary = measured(fake, 100.0, 112.0).summary(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_instant"
    assert summary.metrics["energy_j"] == pytest.approx(fake.energy(100.0, 112.0), rel=0.02)
    assert "GB414" in {found.code for found in summary.findings}
    assert summary.detail["energy_valid"] is False


def test_a_load_in_step_with_the_instant_sensor_is_flagged_and_never_valid(fake: Fake) -> None:
    """50 ms at 700 W, 50 ms at 100 W, and a sensor that looks at the last 25 of every 100 ms."""
    fake.add_device()
    fake.abilities(energy_counter=False)
    fake.trace([(0.0, IDLE_W), *square(99.9, 120.0, period_s=0.1, duty=0.5, high_w=700.0, low_w=100.0)])
    summary = measured(fake, 99.0, 112.0).summary(100.0, 112.0)
    truth = fake.energy(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_instant"
    assert summary.metrics["energy_j"] is not None
    assert abs(summary.metrics["energy_j"] / truth - 1) > 0.5
    assert {"GB411", "GB414"} <= {found.code for found in summary.findings}
    assert summary.detail["energy_valid"] is False


def test_a_card_with_nothing_but_instant_power_never_gives_a_valid_energy(fake: Fake) -> None:
    fake.add_device()
    fake.abilities(energy_counter=False)
    fake.rule("field:185", 3)
    warm(fake)
    summary = measured(fake, 100.0, 112.0).summary(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_instant"
    assert summary.detail["energy_invalid_reason"] == "power_instant sees only part of the time and may alias"
    assert [found.code for found in summary.findings] == ["GB414"]


def test_an_aliased_instant_sensor_does_not_touch_energy_from_the_counter(fake: Fake) -> None:
    fake.add_device()
    fake.trace([(0.0, IDLE_W), *square(90.0, 120.0, period_s=0.1, duty=0.5, high_w=700.0, low_w=100.0)])
    summary = measured(fake, 100.0, 106.0).summary(100.0, 106.0)
    assert summary.metrics["energy_j"] == pytest.approx(fake.energy(100.0, 106.0), rel=0.01)
    assert summary.detail["energy_valid"] is True
    assert abs(summary.detail["instant_difference_pct"]) > 50


def test_a_counter_that_sums_an_aliasing_sensor_disagrees_with_the_average_and_is_suspect(fake: Fake) -> None:
    fake.add_device()
    fake.counter(aliasing=True)
    fake.trace([(0.0, IDLE_W), *square(90.0, 120.0, period_s=0.1, duty=0.5, high_w=700.0, low_w=100.0)])
    summary = measured(fake, 100.0, 106.0).summary(100.0, 106.0)
    assert summary.detail["energy_source"] == "counter_ticks"
    assert summary.detail["energy_valid"] is False
    assert "GB411" in {found.code for found in summary.findings}
    assert abs(summary.detail["cross_check"]["difference_pct"]) > 50


def test_a_counter_5_percent_high_is_suspect(fake: Fake) -> None:
    """The average of a second card stands in for a sensor with another gain."""
    fake.add_device()
    fake.trace([(0.0, IDLE_W), (90.0, 500.0), (160.0, IDLE_W)])
    player = watch(fake, periods=PERIODS)
    original = player.monitored.device.read_fast

    def five_percent_low() -> object:
        reading = original()
        assert reading.power_average_w is not None
        return reading._replace(power_average_w=reading.power_average_w / 1.05)

    player.monitored.device.read_fast = five_percent_low  # type: ignore[method-assign]
    player.play(96.0, 108.0)
    summary = player.summary(100.0, 106.0)
    assert [found.code for found in summary.findings] == ["GB411"]
    assert summary.findings[0].data["difference_pct"] == pytest.approx(5.0, abs=0.2)


def test_a_load_that_changes_over_seconds_is_no_disagreement(fake: Fake) -> None:
    """The average shows the second before a reading: held against the window alone it would be 10 % off here."""
    fake.add_device()
    fake.trace([(0.0, IDLE_W), (98.0, 600.0), (99.7, 150.0), (101.2, 600.0), (102.9, 150.0), (110.0, IDLE_W)])
    summary = measured(fake, 100.0, 103.4).summary(100.0, 103.4)
    assert abs(summary.detail["cross_check"]["difference_pct"]) < 2.0
    assert summary.detail["energy_valid"] is True
    assert summary.findings == []


def test_readings_that_come_less_often_than_updates_need_a_longer_window(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    player = watch(fake, periods=PERIODS, fast_s=0.5)
    player.play(96.0, 107.0)
    summary = player.summary(100.0, 105.0)
    assert summary.metrics["energy_j"] == pytest.approx(2500.0, rel=1e-3)
    assert summary.detail["energy_minimum_window_s"] == 15.0
    assert summary.detail["energy_valid"] is False


def test_a_reset_before_the_window_does_not_touch_it(fake: Fake) -> None:
    fake.add_device()
    fake.counter(offset_j=1e6, reset_at_s=98.5)
    warm(fake)
    summary = measured(fake, 100.0, 104.0).summary(100.0, 104.0)
    assert summary.detail["energy_source"] == "counter_ticks"
    assert summary.metrics["energy_j"] == pytest.approx(2000.0, rel=1e-3)
    assert summary.findings == []


def test_a_counter_reset_falls_back_to_power_and_says_so(fake: Fake) -> None:
    fake.add_device()
    fake.counter(offset_j=1e6, reset_at_s=105.0)
    warm(fake)
    summary = measured(fake, 100.0, 112.0).summary(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_average"
    assert summary.metrics["energy_j"] == pytest.approx(6000.0, rel=0.01)
    assert "GB412" in {found.code for found in summary.findings}


def test_a_32_bit_wrap_inside_the_window_changes_nothing(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    fake.counter(wrap32=True, offset_j=2**32 / 1000 - fake.energy(0.0, 102.0))
    summary = measured(fake, 100.0, 105.0).summary(100.0, 105.0)
    assert summary.metrics["energy_j"] == pytest.approx(2500.0, rel=1e-3)
    assert summary.detail["num_counter_wraps"] == 1
    assert summary.findings == []


@pytest.mark.parametrize("rule", [{"zero": True}, {"code": 3}, {"code": 999}, {"code": 10}])
@pytest.mark.parametrize("call", ["field:83", "field:186", "field:185", "nvmlDeviceGetClockInfo"])
def test_zeros_and_errors_in_the_middle_of_a_window_are_gaps_and_no_values(
    fake: Fake, call: str, rule: dict[str, int]
) -> None:
    fake.add_device()
    warm(fake)
    fake.rule(call, start_s=101.5, end_s=102.0, **rule)
    summary = measured(fake, 100.0, 104.0).summary(100.0, 104.0)
    assert summary.metrics["energy_j"] == pytest.approx(2000.0, rel=0.005)
    assert summary.metrics["mean_power_w"] == pytest.approx(500.0, rel=0.005)
    assert summary.metrics["sm_clock_mhz"] == pytest.approx(1980.0)
    assert summary.detail["energy_valid"] is True


def test_a_counter_that_only_says_zero_is_no_counter(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    fake.rule("field:83", zero=True)
    fake.rule("nvmlDeviceGetTotalEnergyConsumption", zero=True)
    summary = measured(fake, 100.0, 112.0).summary(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_average"


def test_fields_that_only_say_zero_give_way_to_the_calls_of_their_own(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    for number in (83, 185, 186):
        fake.rule(f"field:{number}", zero=True)
    summary = measured(fake, 100.0, 104.0).summary(100.0, 104.0)
    assert summary.detail["energy_source"] == "counter_ticks"
    assert summary.metrics["energy_j"] == pytest.approx(2000.0, rel=1e-3)
    assert summary.detail["peak_power_source"] == "power_usage"


def test_a_counter_that_stops_counting_is_not_believed(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    player = watch(fake, periods=PERIODS)
    player.play(96.0, 105.0)
    fake.sensor(COUNTER, 1e6, phase_s=105.0)
    player.play(105.0, 114.0)
    summary = player.summary(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_average"
    assert summary.metrics["energy_j"] == pytest.approx(6000.0, rel=0.01)


def test_an_old_driver_gives_energy_from_its_own_call_and_power_from_power_usage(old_fake: Fake) -> None:
    old_fake.add_device()
    old_fake.abilities(fields=False)
    warm(old_fake)
    summary = measured(old_fake, 100.0, 104.0).summary(100.0, 104.0)
    assert summary.detail["energy_source"] == "counter_ticks"
    assert summary.metrics["energy_j"] == pytest.approx(2000.0, rel=1e-3)
    assert summary.detail["peak_power_source"] == "power_usage"
    assert summary.metrics["peak_power_w"] == pytest.approx(500.0, rel=1e-3)


def test_power_of_the_module_is_read_where_the_gpu_scope_has_none(fake: Fake) -> None:
    fake.add_device()
    fake.abilities(scope=1)
    warm(fake)
    summary = measured(fake, 100.0, 104.0).summary(100.0, 104.0)
    assert summary.detail["peak_power_source"] == "power_instant"


def test_nothing_to_read_is_absent_with_its_reason_and_never_zero(fake: Fake) -> None:
    fake.add_device()
    fake.rule("nvmlDeviceGetFieldValues", 3)
    fake.rule("nvmlDeviceGetTotalEnergyConsumption", 3)
    fake.rule("nvmlDeviceGetPowerUsage", 3)
    summary = measured(fake, 100.0, 104.0).summary(100.0, 104.0)
    for name in ("energy_j", "mean_power_w", "energy_per_sample_j", "samples_per_j"):
        assert summary.metrics[name] is None
        assert summary.absent[name] == (
            "there was neither an energy counter nor a power reading "
            "(counter: nvmlDeviceGetTotalEnergyConsumption: NOT_SUPPORTED (3); "
            "power: nvmlDeviceGetFieldValues: NOT_SUPPORTED (3))"
        )
    assert summary.metrics["peak_power_w"] is None
    assert "NOT_SUPPORTED" in summary.absent["peak_power_w"]


@pytest.mark.parametrize(("factor", "name"), [(1.6, "NVIDIA GH200 480GB"), (1.2, "NVIDIA GH200 480GB"), (1.6, NAME)])
def test_a_counter_of_the_whole_module_is_not_the_gpus_energy(fake: Fake, factor: float, name: str) -> None:
    fake.add_device(name=name)
    warm(fake)
    player = watch(fake, periods=PERIODS, identity=Identity(uuid=UUID))
    original = player.monitored.device.read_fast

    def with_the_cpus() -> FastReading:
        reading = original()
        assert reading.counter_j is not None
        return reading._replace(counter_j=reading.counter_j * factor)

    player.monitored.device.read_fast = with_the_cpus  # type: ignore[method-assign]
    player.play(96.0, 115.0)
    summary = player.summary(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_average"
    assert summary.detail["energy_scope"] == "device"
    assert summary.detail["counter_scope"] == "module"
    assert summary.detail["counter_energy_j"] == pytest.approx(6000.0 * factor, rel=0.01)
    assert summary.metrics["energy_j"] == pytest.approx(6000.0, rel=0.01)
    assert summary.metrics["mean_power_w"] <= summary.metrics["peak_power_w"]  # type: ignore[operator]
    assert summary.detail["energy_valid"] is True
    assert [found.code for found in summary.findings] == ["GB419"]


def test_a_superchip_whose_counter_agrees_with_its_power_is_read_as_any_card(fake: Fake) -> None:
    fake.add_device(name="NVIDIA GB200")
    warm(fake)
    player = watch(fake, periods=PERIODS, identity=Identity(uuid=UUID))
    player.play(96.0, 108.0)
    summary = player.summary(100.0, 106.0)
    assert (summary.detail["energy_source"], summary.detail["energy_scope"]) == ("counter_ticks", "device")
    assert summary.findings == []


def test_power_that_only_the_module_gives_is_named(fake: Fake) -> None:
    fake.add_device()
    fake.abilities(scope=1, energy_counter=False)
    warm(fake)
    summary = measured(fake, 100.0, 112.0).summary(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_average"
    assert (summary.detail["energy_scope"], summary.detail["peak_power_scope"]) == ("module", "module")


def test_a_counter_that_never_moves_says_so(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    player = watch(fake, periods=PERIODS)
    original = player.monitored.device.read_fast

    def stuck() -> FastReading:
        return original()._replace(counter_j=4711.0)

    player.monitored.device.read_fast = stuck  # type: ignore[method-assign]
    player.play(96.0, 115.0)
    summary = player.summary(100.0, 112.0)
    assert summary.detail["energy_source"] == "power_average"
    assert summary.detail["counter_unused"] == "the energy counter did not move"
    player.monitored.device.read_fast = lambda: FastReading(counter_j=4711.0)  # type: ignore[method-assign]
    player.play(120.0, 130.0)
    assert player.summary(121.0, 129.0).absent["energy_j"] == "the energy counter did not move"


def test_a_zero_is_the_drivers_answer_and_not_a_missing_reading(fake: Fake) -> None:
    fake.add_device()
    fake.abilities(fields=False, energy_counter=False)
    fake.rule("nvmlDeviceGetPowerUsage", zero=True)
    summary = measured(fake, 100.0, 104.0).summary(100.0, 104.0)
    assert summary.absent["energy_j"].startswith("there was neither")
    assert summary.metrics["peak_power_w"] is None


def test_readings_that_do_not_reach_the_edges_give_no_energy(fake: Fake) -> None:
    fake.add_device()
    warm(fake)
    player = watch(fake, periods=PERIODS)
    player.play(101.0, 103.0)
    summary = player.summary(100.0, 104.0)
    assert summary.metrics["energy_j"] is None
    assert summary.absent["energy_j"] == "readings do not cover the window"


def test_sensors_of_other_periods_are_followed(fake: Fake) -> None:
    fake.add_device()
    fake.sensor(INSTANT, 0.02, window_s=0.01)
    fake.sensor(AVERAGE, 0.25, window_s=1.0)
    fake.sensor(COUNTER, 0.033, phase_s=0.011)
    warm(fake, 350.0)
    summary = measured(fake, 100.0, 104.0, periods=None).summary(100.0, 104.0)
    assert summary.metrics["energy_j"] == pytest.approx(1400.0, rel=0.01)
    assert summary.detail["energy_valid"] is True
