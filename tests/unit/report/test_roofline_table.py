import pytest
from fakes.ceiling_runs import GPU_ENVIRONMENT, H100, UUID, Ceiled

from gpubench.analysis.summary.measured_ceilings import measured_ceilings, to_facts
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.findings import finding
from gpubench.machine import machine_cache
from gpubench.report.build import build_report
from gpubench.report.model.report_model import plain
from gpubench.report.topics.ceilings import ceilings_table, roofline_charts, roofline_table, section
from gpubench.report.view.run_view import View
from gpubench.report.write import keep_ceilings


def ceiled(**fields):
    made = Ceiled()
    made.matmul(700.0, 702.0, 698.0, **fields)
    made.copy(2800.0, num=3)
    made.launches(250_000.0, num=3)
    return made


def texts(table, key):
    at = [column.key for column in table.columns].index(key)
    return [row.cells[at].full for row in table.rows]


def notes(table):
    return " ".join(plain(note) for note in table.notes)


def test_measured_peaks_come_first_and_the_datasheet_stands_beside_them():
    table = ceilings_table(summarise_run(ceiled().run()))
    assert texts(table, "what") == [
        "arithmetic, bf16",
        "its memory, copy",
        "operators launched by the host",
    ]
    assert texts(table, "flops") == ["700 ±0.7%", "", ""]
    assert texts(table, "bandwidth") == ["", "2\u202f800.0", ""]
    assert texts(table, "launches") == ["", "", "250\u202f000"]
    assert texts(table, "datasheet") == ["989", "3\u202f350", ""]
    assert texts(table, "share") == ["70.7%", "83.6%", ""]
    assert "NVIDIA H100 Tensor Core GPU Architecture" in notes(table)
    assert "(2023-03), dense, at boost clock" in notes(table)


def test_a_product_without_a_datasheet_says_so():
    made = ceiled()
    made.records = [
        record.model_copy(update={"effective": record.effective.model_copy(update={"device_name": "NVIDIA H100"})})
        for record in made.records
    ]
    table = ceilings_table(summarise_run(made.run()))
    assert "datasheet" not in [column.key for column in table.columns]
    assert "No datasheet is known for a product named exactly 'NVIDIA H100'." in notes(table)


def test_a_weakened_ceiling_is_marked():
    table = ceilings_table(summarise_run(ceiled(findings=[finding("GB202", "It drifted.")]).run()))
    assert texts(table, "mark") == ["!", "", ""]
    assert "measure it again on a quiet machine" in notes(table)


def test_every_case_says_how_far_it_is_from_each_ceiling():
    made = ceiled()
    made.model(2800.0, 2810.0, 2790.0, precision="bf16", batch_size=256)
    table = roofline_table(summarise_run(made.run()))
    assert texts(table, "label") == ["torchvision:resnet50 train cuda bf16 b256"]
    assert texts(table, "intensity") == ["60.8"]
    assert texts(table, "limit") == ["memory (the best: copy)"]
    assert [text.split()[0] for text in texts(table, "mfu")] == ["9.72"]
    assert [text.split()[0] for text in texts(table, "of_roof")] == ["40.0"]
    assert texts(table, "of_launch") == ["1.75"]
    assert texts(table, "bound") == ["gpu"]
    assert "bf16 on NVIDIA H100 80GB HBM3: 250 FLOP/byte" in notes(table)


def test_without_a_ceiling_there_is_nothing_to_hold_a_case_against():
    made = Ceiled()
    made.model(2800.0, precision="bf16")
    summary = summarise_run(made.run())
    assert ceilings_table(summary) is None
    assert roofline_table(summary) is None
    assert section(View(summary)).empty


def test_ceilings_of_an_earlier_driver_are_told_apart():
    known = summarise_run(ceiled().run())
    facts = [to_facts(each) for each in measured_ceilings(known.info, known.cases)]
    old = [{**each, "conditions": {**each["conditions"], "driver": "550.00"}} for each in facts]
    made = Ceiled()
    made.model(2800.0, precision="bf16")
    table = ceilings_table(summarise_run(made.run(environment={**GPU_ENVIRONMENT, "ceilings": {UUID: old}})))
    assert len(table.rows) == 3
    assert "measured under another driver: run the suite roofline again" in notes(table)


def test_the_report_has_the_ceilings_and_the_mfu():
    made = ceiled()
    made.model(2800.0, 2800.0, precision="bf16")
    model = build_report(View(summarise_run(made.run())))
    assert [table.key for table in model.section("ceilings").tables] == ["ceilings", "roofline"]
    assert "mfu" in {column.key for column in model.section("efficiency").tables[0].columns}


def test_the_chart_has_a_roof_with_its_ridge_and_a_mark_per_case():
    made = ceiled()
    made.model(2800.0, precision="bf16")
    (chart,) = roofline_charts(summarise_run(made.run()))
    roof = [row[:3] for row in chart.rows if row[4] == "roof"]
    assert roof[1][0] == "bf16"
    assert roof[1][1:] == pytest.approx((250.0, 700.0), rel=0.01)
    assert roof[0][2] == pytest.approx(roof[0][1] * 2.8)
    assert roof[2][2] == pytest.approx(700.0, rel=0.01)
    assert [row[3] for row in chart.rows if row[4] == "case"][-1] == "torchvision:resnet50 train cuda bf16 b64"
    assert "comes closest to its roof, 40% of what memory allows" in chart.title


def test_a_run_of_operators_is_kept_for_later_runs(tmp_path):
    summary = summarise_run(ceiled().run())
    (path,) = keep_ceilings(summary, tmp_path)
    assert path.parent == tmp_path
    stored = machine_cache.known_ceilings([UUID], tmp_path)[UUID]
    made = Ceiled()
    made.model(2800.0, precision="bf16")
    later = summarise_run(made.run(environment={**GPU_ENVIRONMENT, "ceilings": {UUID: stored}}))
    assert later.cases[0].metrics["mfu"].value == pytest.approx(2800 * 24.3e9 / 700e12, rel=1e-3)


def test_a_run_without_operators_keeps_nothing(tmp_path):
    made = Ceiled()
    made.model(2800.0, precision="bf16")
    assert keep_ceilings(summarise_run(made.run()), tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_ceiling_names_its_card_and_a_cpu_its_threads():
    made = Ceiled()
    made.matmul(0.06, precision="fp32", device="cpu", threads=2)
    table = ceilings_table(summarise_run(made.run()))
    assert texts(table, "device") == ["Imaginary CPU, 2 threads"]
    assert texts(ceilings_table(summarise_run(ceiled().run())), "device")[0] == H100


def test_both_states_of_arithmetic_are_listed_with_clock_and_power():
    made = Ceiled()
    made.matmul(700.0, burst=760.0, capped=0.9)
    made.matmul(50.0, precision="fp32", burst=57.0, capped=0.0)
    table = ceilings_table(summarise_run(made.run()))
    assert texts(table, "what") == [
        "arithmetic, fp32, below the power limit",
        "arithmetic, fp32, burst",
        "arithmetic, bf16, at the power limit",
        "arithmetic, bf16, burst",
    ]
    assert texts(table, "sm_clock_mhz") == ["1755", "1980"] * 2
    assert texts(table, "power_w") == ["699", "690"] * 2
    assert "burst: the fastest 10 ms after a rest" in notes(table)


def test_a_cpu_says_why_it_has_one_state():
    made = Ceiled()
    made.matmul(0.06, precision="fp32", device="cpu", threads=2)
    table = ceilings_table(summarise_run(made.run()))
    assert "A CPU has one arithmetic state" in notes(table)
    assert "sm_clock_mhz" not in [column.key for column in table.columns]
