import pytest
from fakes.ceiling_runs import Ceiled

from gpubench.analysis.insight.roofline import rooflines
from gpubench.analysis.summary.run_summary import summarise_run


def rooflines_of(made):
    return rooflines(summarise_run(made.run()))


def ceiled():
    """700 TFLOP/s, 2.8 TB/s: the roof bends at 250 FLOP/byte."""
    made = Ceiled()
    made.matmul(700.0)
    made.copy(2800.0)
    made.launches(250_000.0)
    return made


def test_left_of_the_ridge_memory_sets_the_roof_and_right_of_it_arithmetic():
    made = ceiled()
    made.model(2000.0, precision="bf16", moved=0.4e9)
    made.model(2000.0, precision="bf16", moved=0.05e9, batch_size=128)
    (roof,) = rooflines_of(made)
    assert roof.ridge == pytest.approx(250.0)
    slanted, level = roof.points[-2:]
    assert slanted.intensity == pytest.approx(60.75)
    assert (slanted.limit, level.limit) == ("memory", "arithmetic")
    assert slanted.of_roof.value == pytest.approx(2000 * 24.3e9 / (2.8e12 * 60.75))
    assert level.of_roof.value == level.of_peak.value == pytest.approx(2000 * 24.3e9 / 700e12)


def test_a_case_that_saves_traffic_stands_above_its_roof():
    made = ceiled()
    made.model(9000.0, precision="bf16", compile="default")
    (roof,) = rooflines_of(made)
    assert roof.points[-1].of_roof.value > 1
    assert roof.points[-1].of_peak.value < 1


def test_the_launch_floor_is_what_launching_takes_over_what_the_step_takes():
    made = ceiled()
    made.model(32_000.0, precision="bf16", operators=400.0, batch_size=64)
    (roof,) = rooflines_of(made)
    assert roof.points[-1].of_launch == pytest.approx((400 / 250e3) / (64 / 32_000))


def test_what_is_not_known_is_none():
    made = Ceiled()
    made.model(2000.0, precision="bf16")
    (roof,) = rooflines_of(made)
    assert roof.ridge is None
    (point,) = roof.points
    assert (point.of_peak, point.of_roof, point.limit, point.of_launch) == (None, None, None, None)


def test_each_precision_and_device_has_its_own_roof():
    made = ceiled()
    made.matmul(50.0, precision="fp32")
    made.model(100.0, precision="fp32")
    made.model(1.0, precision="fp32", device="cpu")
    assert [(roof.device.name, roof.precision, roof.peak is None) for roof in rooflines_of(made)] == [
        ("NVIDIA H100 80GB HBM3", "bf16", False),
        ("NVIDIA H100 80GB HBM3", "fp32", False),
        ("Imaginary CPU", "fp32", True),
    ]


def test_a_case_without_counts_or_with_a_wrong_output_has_no_point():
    made = ceiled()
    made.case(1000.0, workload="mine:Own", device="cuda", precision="bf16")
    made.model(1000.0, precision="bf16", passed=False)
    (roof,) = rooflines_of(made)
    assert [point.summary.case.workload for point in roof.points] == ["operators:matmul"]
