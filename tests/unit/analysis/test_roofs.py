import pytest
from fakes.ceiling_runs import H100, UUID, Ceiled

from gpubench.analysis.insight.roofline import rooflines
from gpubench.analysis.summary.measured_ceilings import CeilingDevice, Ceilings, ceilings_of, from_facts, to_facts
from gpubench.analysis.summary.roofs import memory_roof
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.findings import Validity

CARD = CeilingDevice(UUID, H100)


def mixed():
    """Ceilings of the four mixes, and of bf16."""
    made = Ceiled()
    made.matmul(700.0)
    made.copy(3930.0)
    for operator, gb_per_s in (("read", 4500.0), ("write", 4280.0), ("triad", 4050.0)):
        made.stream(operator, gb_per_s)
    return made


def roof_at(made, read_share):
    summary = summarise_run(made.run())
    return memory_roof(ceilings_of(summary.info, summary.cases), CARD, read_share)


@pytest.mark.parametrize(
    ("read_share", "mix", "gb_per_s"),
    [
        (0.0, "write", 4280.0),
        (0.5, "copy", 3930.0),
        (2 / 3, "triad", 4050.0),
        (1.0, "read", 4500.0),
        (0.25, "write and copy", 2 / (1 / 4280 + 1 / 3930)),
        (5 / 6, "triad and read", 2 / (1 / 4050 + 1 / 4500)),
        (None, "the best: read", 4500.0),
    ],
)
def test_the_roof_of_a_mix_is_what_its_neighbours_allow_one_after_the_other(read_share, mix, gb_per_s):
    roof = roof_at(mixed(), read_share)
    assert roof.mix == mix
    assert roof.bandwidth == pytest.approx(gb_per_s * 1e9)


def test_a_mix_that_lies_outside_the_measured_ones_gets_the_best_of_them():
    made = Ceiled()
    made.copy(3930.0)
    made.stream("triad", 4050.0)
    assert roof_at(made, 0.9).mix == "the best: triad"
    assert memory_roof(Ceilings(), CARD, 0.5) is None


def test_each_case_is_held_against_its_own_mix():
    made = mixed()
    made.model(2000.0, precision="bf16", moved=1e9, read=1.0)
    made.model(2000.0, precision="bf16", moved=1e9, read=0.5, batch_size=128)
    roof = next(each for each in rooflines(summarise_run(made.run())) if each.precision == "bf16")
    reading, copying = roof.points[-2:]
    assert (reading.mix, copying.mix) == ("read", "copy")
    assert reading.of_roof.value == pytest.approx(2000 * 1e9 / 4500e9)
    assert copying.of_roof.value == pytest.approx(2000 * 1e9 / 3930e9)
    assert roof.memory.quantity == "memory_read"


def test_a_case_whose_streams_exceed_the_roof_says_that_the_ceiling_or_the_count_is_wrong():
    made = mixed()
    rates = 5000.0, 5010.0, 4990.0
    above = made.model(*rates, moved=1e9, streamed=0.93e9, read=1.0)
    made.model(*rates, moved=1e9, streamed=0.93e9, read=1.0, compile="default")
    made.model(*rates, moved=1e9, streamed=0.5e9, read=1.0, batch_size=32)
    made.model(5000.0, 5600.0, 4400.0, moved=1e9, streamed=0.93e9, read=1.0, batch_size=16)
    made.model(5000.0, moved=1e9, streamed=0.95e9, read=1.0, batch_size=8)
    summary = summarise_run(made.run())
    found = {entry.planned.index: each for entry in summary.cases for each in entry.findings if each.code == "GB217"}
    assert list(found) == [above.index]
    assert "103% of the memory bandwidth measured on this device (read)" in found[above.index].message
    assert summary.cases[above.index - 1].validity is Validity.VALID


def in_two_states():
    """700 TFLOP/s at the power limit, 760 in a burst."""
    made = Ceiled()
    made.matmul(700.0, 700.0, burst=760.0, capped=0.9)
    made.copy(4000.0, num=2)
    return made


def test_a_product_shows_both_states_with_clock_and_power():
    summary = summarise_run(in_two_states().run())
    found = ceilings_of(summary.info, summary.cases)
    sustained, burst = (found.get(CARD, name, "bf16") for name in ("flops", "flops_burst"))
    assert (sustained.sm_clock_mhz, sustained.power_w) == pytest.approx((1755.0, 699.0))
    assert sustained.at_power_limit
    assert (burst.value.value, burst.sm_clock_mhz, burst.power_w) == (pytest.approx(760e12), 1980.0, 690.0)
    for ceiling in (sustained, burst):
        assert from_facts(UUID, to_facts(ceiling)) == ceiling


def test_a_case_is_held_against_the_ceiling_of_its_own_power_state():
    made = in_two_states()
    rates = 30_000.0, 30_010.0, 29_990.0  # 729 TFLOP/s
    at_limit = made.model(*rates, precision="bf16", moved=1e6, capped=0.5)
    made.model(*rates, precision="bf16", moved=1e6, capped=0.0, batch_size=32)
    summary = summarise_run(made.run())
    roof = next(each for each in rooflines(summary) if each.precision == "bf16")
    shares = [point.of_roof.value for point in roof.points[-2:]]
    assert shares == pytest.approx([729 / 700, 729 / 760], rel=1e-3)
    above = [entry.planned.index for entry in summary.cases if any(each.code == "GB215" for each in entry.findings)]
    assert above == [at_limit.index]
