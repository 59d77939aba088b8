from dataclasses import replace

import pytest
from fakes.runs import Invented, cpu_run, invented_run

from gpubench.analysis.compare.case_changes import MetricChange
from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.case_figures import CaseFigures
from gpubench.analysis.summary.run_summary import RunSummary, summarise_run
from gpubench.core.findings import finding
from gpubench.core.records import Estimate, Status
from gpubench.report.comparison.change_cells import change_text
from gpubench.report.model.report_model import Row, Table, plain
from gpubench.report.topics.accuracy import parity_table, quality_tables
from gpubench.report.topics.best import best_tables
from gpubench.report.topics.cases import cases_table, unmeasured_table
from gpubench.report.topics.effects import effects_table, no_advice, switches_table
from gpubench.report.topics.findings import remarks
from gpubench.report.topics.memory import found_batches, largest_batches
from gpubench.report.view.case_tables import MARKS, absent_notes
from gpubench.report.view.run_view import View


@pytest.fixture(scope="module")
def summary() -> RunSummary:
    return summarise_run(invented_run())


def texts(row: Row) -> list[str]:
    return [cell.full.replace("\u202f", " ") for cell in row.cells]


def column(table: Table, key: str) -> list[str]:
    at = [each.key for each in table.columns].index(key)
    return [texts(row)[at] for row in table.rows]


def test_every_case_is_a_row_however_it_ended(summary: RunSummary) -> None:
    table = cases_table(View(summary, list_skipped=True))
    assert column(table, "index") == [str(number) for number in range(1, 14)]
    assert column(table, "throughput")[9:] == ["OOM", "skipped", "failed", "unsupported"]


def test_what_could_not_run_is_a_line_for_each_reason(summary: RunSummary) -> None:
    view = View(summary)
    assert column(cases_table(view), "throughput")[9:] == ["OOM", "failed"]
    assert [plain(said) for said in view.skipped_lines] == [
        "1 case skipped: larger than an OOM.",
        "1 case unsupported: a CPU has no TF32; show --all lists them.",
    ]
    assert View(summary, list_skipped=True).skipped_lines == ()


def test_an_oom_shows_what_was_not_enough(summary: RunSummary) -> None:
    assert column(cases_table(View(summary)), "memory")[9] == ">80.0"


def test_marks_say_what_colour_says(summary: RunSummary) -> None:
    table = cases_table(View(summary, list_skipped=True))
    assert column(table, "mark") == ["", "", "!", "", "", "!", "", "", "-", "-", "", "-", ""]
    tones = [row.tone for row in table.rows]
    assert tones == [
        "plain",
        "plain",
        "warning",
        "plain",
        "plain",
        "warning",
        "plain",
        "plain",
        "bad",
        "bad",
        "muted",
        "bad",
        "muted",
    ]


def test_only_settings_that_differ_are_columns(summary: RunSummary) -> None:
    keys = [each.key for each in cases_table(View(summary)).columns]
    assert keys[2:6] == ["device", "precision", "batch_size", "memory_format"]
    assert "optimizer" not in keys


def test_the_narrow_form_names_cases_by_their_label(summary: RunSummary) -> None:
    narrow = cases_table(View(summary)).narrow
    assert narrow is not None
    assert column(narrow, "label")[0] == "cpu fp32 b64"
    assert column(narrow, "throughput") == column(cases_table(View(summary)), "throughput")


def test_of_very_many_cases_a_screen_lists_the_first_and_says_so(summary: RunSummary) -> None:
    whole, table = cases_table(View(summary)), cases_table(View(summary, name="@last", most_listed=3))
    assert [row.case_index for row in table.rows] == [1, 2, 3]
    assert table.columns == whole.columns
    said = f"The first 3 of {len(summary.cases) - 2} cases; gpubench show @last --all lists them all, "
    assert plain(table.notes[0]) == f"{said}gpubench show @last --csv prints their figures."
    assert cases_table(View(summary, most_listed=len(summary.cases))) == whole


def test_without_a_driver_power_is_absent_once_and_not_in_every_row() -> None:
    table = cases_table(View(summarise_run(cpu_run())))
    assert "mean_power_w" not in [each.key for each in table.columns]
    assert [plain(note) for note in table.notes][-1] == "W, J/sample: n/a (no NVIDIA driver)"


def test_reasons_that_differ_in_their_number_alone_are_one_reason() -> None:
    why = "needs an effective sample of 299, this series has"
    run = cpu_run()
    cases = [
        replace(
            entry,
            metrics=CaseFigures(
                [record.model_copy(update={"metrics": {}, "absent": {"step_time_p99_s": f"{why} {has}"}})]
            ),
        )
        for entry, record, has in zip(summarise_run(run).cases, run.records, (31, 20), strict=False)
    ]
    assert [plain(note) for note in absent_notes(cases, ["step_time_p99_s"])] == [f"p99 ms: n/a ({why} 20 to 31)"]
    assert plain(absent_notes(cases[:1], ["step_time_p99_s"])[0]) == f"p99 ms: n/a ({why} 31)"


def test_the_legend_of_the_marks_can_be_read_where_spaces_are_drawn_as_one() -> None:
    assert plain(MARKS).split("; ") == ["! weakened by a finding", "- no valid figure", "? output not verified"]


def test_the_best_of_each_precision_is_held_against_the_baseline(summary: RunSummary) -> None:
    (table,) = best_tables(Decision(summary))
    assert column(table, "mark") == ["+", "!", "", "!", "+"]
    assert column(table, "setting") == ["b256", "b64", "b1024", "b1024", "b1024"]
    assert column(table, "against_baseline")[0] == "baseline"
    assert column(table, "against_baseline")[-1] == "88.0x ±1.7"


def test_what_is_not_called_best_has_its_reason_below(summary: RunSummary) -> None:
    (table,) = best_tables(Decision(summary))
    notes = [plain(note) for note in table.notes]
    assert any(note.startswith("! cuda tf32 b1024 is not called best: Test accuracy -3.70 points") for note in notes)


def test_latency_and_throughput_are_ranked_apart() -> None:
    made = Invented()
    same = {"device": "cpu", "precision": "fp32", "mode": "infer", "data": "digits"}
    made.measured("latency", 900.0, timing="latency", batch_size=1, **same)
    made.measured("throughput", 900.0, timing="throughput", batch_size=1, **same)
    assert [table.key for table in best_tables(Decision(summarise_run(made.run())))] == [
        "best-throughput",
        "best-latency",
    ]


def test_an_effect_whose_interval_holds_one_is_unclear(summary: RunSummary) -> None:
    table = effects_table(Decision(summary))
    assert table is not None
    rows = [texts(row) for row in table.rows]
    assert [row[:4] for row in rows] == [
        ["!", "precision", "fp32 -> amp-bf16", "training CPU"],
        ["+", "precision", "fp32 -> amp-bf16", "training GPU"],
        ["!", "precision", "fp32 -> tf32", "training GPU"],
        ["+", "batch", "64 -> 256", "training CPU"],
        ["?", "batch", "256 -> 1024", "training GPU"],
    ]
    assert rows[4][4] == "1.4x (0.8 to 2.7)"


@pytest.mark.parametrize("weakened", [(), ("fp32", "bf16"), ("bf16",)])
def test_what_is_weakened_is_neither_switched_on_nor_kept(weakened: tuple[str, ...]) -> None:
    made, drift = Invented(), [finding("GB202", "Step time drifted by +2.1 % over the window.")]
    for precision, speed in (("fp32", 100.0), ("bf16", 300.0)):
        found = drift if precision in weakened else ()
        made.measured(precision, speed, precision=precision, batch_size=64, device="cuda", findings=found)
    decision = Decision(summarise_run(made.run()))
    table = switches_table(decision)
    if weakened:
        assert table is None
        assert no_advice(decision) == "no advice: every comparison is weakened, mostly by not-steady (GB202)."
    else:
        assert table is not None
        assert table.rows[0].cells[1].text.startswith("bf16: 2.99x")
        assert no_advice(decision) == ""


def test_accuracy_is_judged_against_the_reference(summary: RunSummary) -> None:
    (table,) = quality_tables(summary)
    assert table is not None
    assert column(table, "verdict") == ["reference", "reference", "within the limit", "beyond the limit"]
    assert column(table, "difference") == ["", "", "-0.4 points", "-3.7 points"]


def test_parity_tells_how_many_passed(summary: RunSummary) -> None:
    table = parity_table(summary)
    assert table is not None
    assert column(table, "passed") == ["2 of 2", "1 of 1", "2 of 2", "1 of 1", "2 of 2", "0 of 1"]
    assert table.rows[-1].tone == "bad"


def test_a_search_that_memory_did_not_end_says_what_did(summary: RunSummary) -> None:
    facts = {"batch": 9000, "headroom": 0.05, "limit_bytes": 2**30, "next_fails_with": "RuntimeError: 32 bits"}

    def told(**more: bool) -> str:
        entry = summary.cases[0]
        effective = entry.records[0].effective
        assert effective is not None
        effective = effective.model_copy(update={"extra": {"largest_batch": facts | more}})
        record = entry.records[0].model_copy(update={"effective": effective})
        (said,) = found_batches([replace(entry, records=(record,))])
        return plain(said).replace("\u202f", " ")

    assert told(ended_by_memory=False) == (
        "cpu fp32 b64: batch 9 000 is the largest that runs, though memory is not the limit. "
        "Batch 9 001: RuntimeError: 32 bits"
    )
    fits = "batch 9 000 is the largest whose whole step fits into 1.0 GiB"
    assert fits in told(ended_by_memory=True)
    assert fits in told()  # of a run stored before that was told


def test_the_largest_batch_that_fits_is_told_with_the_sizes(summary: RunSummary) -> None:
    assert [plain(said) for said in largest_batches(summary.cases)] == [
        (
            "cuda fp32 b1024: batch 1024 is the largest that fits (3.8 GiB allocated at its peak); the same "
            "ran out of memory at "
            "batch 16384 (in warmup asking for 12.0 GiB with 3.1 GiB free of 80.0 GiB)."
        )
    ]


def test_cases_without_figures_are_gathered_by_reason_the_worst_first() -> None:
    made = Invented()
    for batch in (1, 2, 3, 5):
        made.plan(f"b{batch}", skip=(Status.SKIPPED, "no CUDA device"), device="cuda", batch_size=batch)
    made.ended("broken", Status.FAILED, "RuntimeError: no", device="cpu", batch_size=64)
    table = unmeasured_table(summarise_run(made.run()).cases)
    assert table is not None
    assert [texts(row) for row in table.rows] == [
        ["-", "failed", "1", "5", "RuntimeError: no"],
        ["", "skipped", "4", "1-4", "no CUDA device"],
    ]


def test_findings_are_gathered_by_code_with_meaning_and_remedy(summary: RunSummary) -> None:
    found = remarks(summary.cases)
    assert [(remark.code, remark.num_cases) for remark in found] == [
        ("GB305", 1),
        ("GB202", 1),
        ("GB307", 1),
        ("GB204", 1),
    ]
    drift = found[1]
    assert drift.consequence == "the result is less reliable and is never reported as best"
    assert drift.examples == (("cpu amp-bf16 b64", "Step time drifted by +2.1 % [1.4, 2.8] over the window."),)
    assert drift.remedies[0].startswith("Measure longer")


def test_a_change_just_beyond_a_limit_is_not_printed_as_the_limit():
    moved = MetricChange(
        "throughput", "worse", Estimate(value=-0.0302, low=-0.0305, high=-0.03004, unit="1", n=10), "beyond"
    )
    assert change_text(moved) == "-3.0% (-3.0, -3.0)"
    assert change_text(moved, 0.03) == "-3.02% (-3.05, -3.004)"


def test_a_change_of_any_size_has_no_ends():
    moved = MetricChange("throughput", "unclear", Estimate(value=-0.3, low=-1.0, high=7e15, unit="1", n=2), "few")
    assert change_text(moved) == "-30.0% (uncertain by >100x)"
