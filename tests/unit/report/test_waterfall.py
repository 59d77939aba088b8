import pytest
from fakes.ceiling_runs import Ceiled

from gpubench.analysis.insight.ablation import waterfall
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import Status
from gpubench.report.build import build_report
from gpubench.report.model.report_model import plain
from gpubench.report.topics.waterfall import in_words, section, waterfall_chart, waterfall_table
from gpubench.report.view.run_view import View

BASE = {"workload": "torchvision:resnet50", "device": "cuda"}
PATH = [
    {"precision": "tf32"},
    {"precision": "amp-bf16"},
    {"memory_format": "NHWC"},
    {"data_path": "loader", "num_workers": 8},
]
AMP = {"precision": "amp-bf16"}
NHWC = {**AMP, "memory_format": "NHWC"}


def run(*, ratios=(1.5, 3.0, 6.0, 3.0), extra_alone=True):
    made = Ceiled()
    made.matmul(700.0)
    stages = ({}, {"precision": "tf32"}, AMP, NHWC, {**NHWC, "data_path": "loader", "num_workers": 8})
    for ratio, settings in zip((1.0, *ratios), stages, strict=True):
        made.model(*(100.0 * ratio * wobble for wobble in (0.99, 1.0, 1.01)), **settings)
    if extra_alone:
        made.model(99.0, 100.0, 101.0, memory_format="NHWC")
    return made


def summary_of(made):
    return summarise_run(made.path_run(PATH, BASE))


def table_of(made):
    return waterfall_table(waterfall(summary_of(made)))


def texts(table, key):
    at = [column.key for column in table.columns].index(key)
    return [row.cells[at].full for row in table.rows]


def notes(table):
    return " ".join(plain(note) for note in table.notes)


def test_the_table_goes_from_one_to_many_times_step_by_step():
    table = table_of(run())
    assert texts(table, "step") == [
        "base",
        "precision fp32 → tf32",
        "precision tf32 → amp-bf16",
        "layout NCHW → NHWC",
        "input resident → loader, workers 0 → 8",
    ]
    assert [text.split("x")[0] for text in texts(table, "total")] == ["1", "1.500", "3.000", "6.000", "3.000"]
    assert [text.split("x")[0] for text in texts(table, "ratio")] == ["", "1.500", "2.000", "2.000", "0.500"]
    assert [text.split("x")[0] for text in texts(table, "alone")] == ["", "1.500", "3.000", "1.000", ""]
    assert texts(table, "mfu")[0] == ""
    assert texts(table, "mfu")[2].startswith("1.04")


def test_the_note_says_that_the_steps_multiply_to_the_whole():
    assert "The steps multiply to 3; the last case over the base is 3.000 ±0.000." in notes(table_of(run()))


def test_a_stage_left_out_is_named_with_its_reason():
    made = run()
    tf32 = next(case for case in made.planned if case.settings["precision"] == "tf32")
    made.drop(tf32, Status.UNSUPPORTED, "a CPU has none")
    table = table_of(made)
    assert texts(table, "step")[1] == "precision fp32 → amp-bf16"
    assert "left out: precision fp32 → tf32 (unsupported: a CPU has none)" in notes(table)


def test_the_sentence_names_the_fastest_stage_and_what_bought_most_up_to_it():
    said = plain(in_words(waterfall(summary_of(run()))))
    assert said.startswith("torchvision:resnet50 train cuda amp-bf16 b64")
    assert " is 6.000x ±0.000 as fast as " in said
    assert said.endswith(
        "most came from precision tf32 → amp-bf16 (2.0x), layout NCHW → NHWC (2.0x) and precision fp32 → tf32 (1.50x)."
    )
    assert "loader" not in said


def test_where_nothing_helps_the_sentence_says_so():
    said = plain(in_words(waterfall(summary_of(run(ratios=(0.9, 0.8, 0.7, 0.6))))))
    assert said.startswith("No step made ")


def test_the_report_tells_the_steps_before_the_single_effects():
    model = build_report(View(summary_of(run())))
    keys = [section.key for section in model.sections]
    assert keys.index("waterfall") < keys.index("effects")
    assert section(View(summarise_run(run().run()))) is None


def test_the_chart_begins_each_bar_where_the_last_one_ended():
    chart = waterfall_chart(waterfall(summary_of(run())))
    ends = [row[2] for row in chart.rows]
    assert [row[1] for row in chart.rows] == [1.0, *ends[:-1]]
    assert ends == pytest.approx([1.5, 3.0, 6.0, 3.0])
    assert [row[6] for row in chart.rows] == ["faster", "faster", "faster", "slower"]
