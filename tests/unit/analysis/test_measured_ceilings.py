import pytest
from fakes.ceiling_runs import GPU_ENVIRONMENT, H100, UUID, Ceiled

from gpubench.analysis.summary.case_figures import NO_PEAK
from gpubench.analysis.summary.datasheet import lookup
from gpubench.analysis.summary.measured_ceilings import (
    CPU,
    CeilingDevice,
    Ceilings,
    ceilings_of,
    from_facts,
    measured_ceilings,
    to_facts,
)
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.findings import Validity, finding

CARD = CeilingDevice(UUID, H100)


def ceilings(made, **changes):
    summary = summarise_run(made.run(**changes))
    return summary, ceilings_of(summary.info, summary.cases)


def test_the_highest_product_or_convolution_of_a_precision_is_its_arithmetic_ceiling():
    made = Ceiled()
    made.matmul(600.0, 610.0, shape="2048")
    made.matmul(700.0, 710.0, shape="4096")
    made.matmul(50.0, precision="fp32")
    _, found = ceilings(made)
    assert found.get(CARD, "flops", "bf16").value.value == pytest.approx((700e12 * 710e12) ** 0.5)
    assert found.get(CARD, "flops", "bf16").value.low is not None
    assert found.get(CARD, "flops", "fp32").value.value == pytest.approx(50e12)
    assert found.get(CARD, "flops", "tf32") is None


def test_copies_and_launches_are_ceilings_of_their_own():
    made = Ceiled()
    made.copy(2800.0)
    made.copy(50.0, "pinned")
    made.copy(10.0, "pageable")
    made.launches(250_000.0)
    made.launches(900_000.0, cuda_graph=True)
    _, found = ceilings(made)
    measured = {each.quantity: each.value.value for each in found}
    assert measured == pytest.approx(
        {"memory": 2800e9, "h2d_pinned": 50e9, "h2d_pageable": 10e9, "launch": 250e3, "graph_launch": 900e3}
    )


def test_mfu_is_the_share_of_the_measured_peak_and_amp_is_held_against_the_type_it_casts_to():
    made = Ceiled()
    made.matmul(700.0, 700.0)
    model = made.model(2800.0, 2800.0, precision="amp-bf16")
    summary, _ = ceilings(made)
    entry = next(each for each in summary.cases if each.planned.index == model.index)
    assert entry.metrics["mfu"].value == pytest.approx(2800 * 24.3e9 / 700e12)


def test_mfu_is_absent_where_no_peak_was_measured_whatever_the_datasheet_says():
    assert lookup(H100) is not None
    made = Ceiled()
    made.model(2800.0, precision="amp-bf16")
    summary, found = ceilings(made)
    assert "mfu" not in summary.cases[0].metrics
    assert summary.cases[0].absent["mfu"] == NO_PEAK
    assert not list(found)


@pytest.mark.parametrize("other", [{"precision": "fp32"}, {"uuid": "GPU-another"}, {"device": "cpu"}])
def test_the_peak_of_another_precision_or_device_is_none(other):
    made = Ceiled()
    made.matmul(700.0)
    made.model(100.0, **{"precision": "amp-bf16", **other})
    summary, _ = ceilings(made)
    assert "mfu" not in summary.cases[1].metrics


def test_a_cpu_is_held_against_its_peak_at_the_same_number_of_threads():
    made = Ceiled()
    for threads in (1, 2):
        made.matmul(0.03 * threads, precision="fp32", device="cpu", threads=threads)
    made.model(1.0, precision="fp32", device="cpu", threads=2)
    made.model(1.0, precision="fp32", device="cpu", threads=4)
    summary, _ = ceilings(made)
    assert summary.cases[2].metrics["mfu"].value == pytest.approx(24.3e9 / 0.06e12)
    assert summary.cases[3].absent["mfu"] == NO_PEAK


def test_operators_are_the_ceiling_and_have_no_share_of_it():
    made = Ceiled()
    made.matmul(700.0)
    summary, _ = ceilings(made)
    assert "mfu" not in summary.cases[0].metrics


def test_a_figure_that_is_wrong_is_no_ceiling_and_a_weakened_one_says_so():
    made = Ceiled()
    made.matmul(9000.0, passed=False)
    made.matmul(600.0, shape="2048", findings=[finding("GB202", "It drifted.")])
    summary, found = ceilings(made)
    (only,) = list(found)
    assert only.value.value == pytest.approx(600e12)
    assert only.suspect
    assert len(measured_ceilings(summary.info, summary.cases)) == 1


def known(tflops, measured="2026-01-01T00:00:00Z", **conditions):
    """A ceiling as a run's environment holds it."""
    made = Ceiled()
    made.matmul(tflops)
    summary = summarise_run(made.run(created=measured))
    facts = to_facts(measured_ceilings(summary.info, summary.cases)[0])
    return {**facts, "conditions": {**facts["conditions"], **conditions}}


def run_knowing(*facts):
    made = Ceiled()
    made.model(1000.0, precision="amp-bf16")
    environment = {**GPU_ENVIRONMENT, "ceilings": {UUID: list(facts)}}
    return ceilings(made, environment=environment)


def test_a_ceiling_survives_being_stored():
    made = Ceiled()
    made.matmul(700.0, 690.0, findings=[finding("GB202", "It drifted.")])
    summary = summarise_run(made.run())
    (before,) = measured_ceilings(summary.info, summary.cases)
    assert from_facts(UUID, to_facts(before)) == before
    assert before.conditions == {
        "torch": "2.13.0",
        "cudnn": "91500",
        "driver": "580.95.05",
        "power_limit_w": 700.0,
    }


def test_what_was_known_when_the_run_began_gives_its_cases_an_mfu():
    summary, _ = run_knowing(known(700.0))
    assert summary.cases[0].metrics["mfu"].value == pytest.approx(1000 * 24.3e9 / 700e12)


def test_of_ceilings_under_the_runs_own_conditions_the_highest_counts():
    summary, found = run_knowing(known(700.0), known(750.0), known(990.0, driver="570.00"))
    assert found.get(CARD, "flops", "bf16").value.value == pytest.approx(750e12)
    assert summary.cases[0].metrics["mfu"].value == pytest.approx(1000 * 24.3e9 / 750e12)


def test_of_other_conditions_the_newest_stands_in_and_is_told_apart():
    old = known(990.0, measured="2025-01-01T00:00:00Z", driver="550.00", power_limit_w=500.0)
    new = known(700.0, measured="2026-01-01T00:00:00Z", driver="570.00")
    _, found = run_knowing(old, new)
    chosen = found.get(CARD, "flops", "bf16")
    assert chosen.value.value == pytest.approx(700e12)
    assert found.elsewhere(chosen) == ("driver",)


@pytest.mark.parametrize("broken", [{}, {"quantity": "flops"}, {**known(1.0), "value": "fast"}])
def test_what_is_no_ceiling_is_left_out(broken):
    assert from_facts(UUID, broken) is None
    _, found = run_knowing(broken)
    assert not list(found)


def test_without_a_device_there_is_none():
    assert Ceilings().get(None, "flops", "bf16") is None
    assert Ceilings().get(CeilingDevice(CPU, "x", 2), "memory") is None


def test_a_case_above_the_arithmetic_ceiling_says_that_the_ceiling_or_the_count_is_wrong():
    made = Ceiled()
    made.matmul(700.0, 701.0, 699.0)
    above = made.model(30_000, 30_100, 29_900, precision="amp-bf16")
    below = made.model(20_000, 20_100, 19_900, precision="bf16")
    unsure = made.model(28_800, 29_500, 28_100, precision="bf16", batch_size=8)
    summary = summarise_run(made.run())
    found = {entry.planned.index: [each for each in entry.findings if each.code == "GB215"] for entry in summary.cases}
    assert [index for index, findings in found.items() if findings] == [above.index]
    assert below.index != unsure.index
    assert "104% of the ceiling measured for bf16" in found[above.index][0].message
    assert summary.cases[above.index - 1].validity is Validity.VALID


def test_no_case_of_a_plain_run_is_above_a_ceiling():
    made = Ceiled()
    made.model(30_000, 30_100, 29_900, precision="amp-bf16")
    assert all(each.code != "GB215" for entry in summarise_run(made.run()).cases for each in entry.findings)
