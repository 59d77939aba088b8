import pytest

from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate
from gpubench.report.model.figure_cells import how_well_known, interval_text, metric_cell, ratio_cell, ratio_text


def an_estimate(value: float, half: float | None = None) -> Estimate:
    return Estimate(value=value) if half is None else Estimate(value=value, low=value - half, high=value + half, n=3)


def test_digits_follow_the_interval() -> None:
    assert metric_cell("throughput", {"throughput": an_estimate(2894.31, 11.6)}, spread=True).full == "2\u202f894 ±0.4%"
    assert metric_cell("step_time_s", {"step_time_s": an_estimate(0.0912345, 0.00004)}).text == "91.23"


def test_a_figure_that_is_hardly_known_keeps_a_digit() -> None:
    """Launches may differ by orders of magnitude: a step of 0.1 ms is no step of 0 ms."""
    found = Estimate(value=1e-4, low=1e-6, high=1e-2, n=2)
    assert metric_cell("step_time_s", {"step_time_s": found}).text == "0.1"


def test_a_single_launch_has_no_plus_minus() -> None:
    assert metric_cell("throughput", {"throughput": an_estimate(2894.31)}, spread=True).full == "2\u202f894"


def test_what_was_not_measured_is_never_zero() -> None:
    cell = metric_cell("energy_per_sample_j", {}, spread=True)
    assert (cell.text, cell.value) == ("n/a", None)


def test_values_are_in_the_unit_of_the_column() -> None:
    cell = metric_cell("peak_memory_allocated_bytes", {"peak_memory_allocated_bytes": an_estimate(11.6 * 2**30)})
    assert cell.text == "11.6"
    assert cell.value == pytest.approx(11.6)


def test_launches_that_agree_exactly_do_not_ask_for_endless_digits() -> None:
    assert metric_cell("mean_power_w", {"mean_power_w": an_estimate(612.0, 1e-12)}, spread=True).full == "612.0"


def test_counts_have_no_decimals() -> None:
    assert metric_cell("warmup_steps", {"warmup_steps": an_estimate(1204.0)}).text == "1\u202f204"


def test_an_accuracy_has_its_half_width_in_points() -> None:
    assert metric_cell("accuracy", {"accuracy": an_estimate(0.9741, 0.004)}, spread=True).full == "97.4 ±0.4"


def test_an_interval_is_written_in_the_digits_of_its_width() -> None:
    assert interval_text(an_estimate(2894.31, 11.6), METRICS["throughput"]) == "2\u202f883 to 2\u202f906"
    assert interval_text(an_estimate(2894.31), METRICS["throughput"]) == ""


def test_an_interval_that_is_far_from_even_on_both_sides_is_written_out() -> None:
    wide = {"throughput": Estimate(value=8314.0, low=3858.0, high=17917.0, n=3)}
    assert metric_cell("throughput", wide, spread=True).full == "8\u202f314 (3\u202f858 to 17\u202f917)"
    hopeless = {"throughput": Estimate(value=8314.0, low=1.0, high=2e9, n=2)}
    assert "±" not in metric_cell("throughput", hopeless, spread=True).full


def test_a_ratio_that_is_not_known_well_shows_its_interval() -> None:
    assert ratio_text(an_estimate(4.981, 0.021)) == "4.98 ±0.02"
    assert ratio_text(Estimate(value=3.26, low=1.73, high=6.14, n=2)) == "3.3 (1.7 to 6.1)"
    assert ratio_text(an_estimate(4.981)) == "4.98"
    assert ratio_cell(an_estimate(4.981, 0.021)).full == "4.98x ±0.02"
    assert ratio_cell(None).full == ""


def test_an_interval_of_all_magnitudes_is_not_written_out() -> None:
    """Two launches of 100 and 7 500 samples/s have one of 16 digits."""
    found = Estimate(value=866.0, low=1e-10, high=7e15, n=2)
    assert metric_cell("throughput", {"throughput": found}, spread=True).full == "866 (uncertain by >100x)"
    assert ratio_text(Estimate(value=1.53, low=1e-10, high=2e10, n=2)) == "1.5 (uncertain by >100x)"
    assert how_well_known("figures", [0.2, 4e12, 4e12]) == "half of the figures are known no better than to ±100%"
    assert how_well_known("figures", [0.2, 0.004, 0.001]) == "half of the figures are known to ±0.4% or better"
