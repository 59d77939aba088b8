"""What compression gains and loses, in one table: each kind against the plain model of the same case."""

import io

import pytest
from fakes.runs import Invented, a_quality
from rich.console import Console

from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import Effective
from gpubench.report.build import build_report
from gpubench.report.headline import headline
from gpubench.report.model.report_model import plain
from gpubench.report.render.result_screen import RESULT_SECTIONS, final_screen
from gpubench.report.render.terminal import TerminalReport
from gpubench.report.topics.variants import compression_section
from gpubench.report.view.run_view import View

KINDS = {"none": (100.0, 0.96, 4.0), "int8-weight": (90.0, 0.955, 1.0), "prune-50": (101.0, 0.93, 4.0)}


@pytest.fixture(scope="module")
def summary():
    made = Invented()
    same = {"device": "cpu", "precision": "fp32", "data": "digits"}
    for kind, (rate, _accuracy, size) in KINDS.items():
        made.measured(kind, rate, mode="infer", batch_size=64, compress=kind, **same)
        for at, record in enumerate(made.records):
            if record.case_index == len(made.planned):
                read = Effective(precision="fp32", extra={"compressed": {"share_of_weights": 0.75 * (kind != "none")}})
                metrics = {**record.metrics, "model_bytes": size * 2**20}
                made.records[at] = record.model_copy(update={"effective": read, "metrics": metrics})
    for kind, (_, accuracy, _) in KINDS.items():
        planned = made.plan(f"quality {kind}", kind="quality", mode="train", compress=kind, **same)
        made.add(planned, 1, quality=a_quality(accuracy))
    quality = {"reference": {"precision": "fp32", "compress": "none"}, "max_accuracy_drop": "1pp"}
    return summarise_run(made.run(suite={"schema": 1, "name": "c", "quality": quality}))


def column(table, key):
    at = [each.key for each in table.columns].index(key)
    return [row.cells[at].full for row in table.rows]


def test_each_kind_stands_against_the_plain_model(summary):
    (table,) = compression_section(View(summary)).tables
    assert column(table, "compress") == ["none", "int8-weight", "prune-50"]
    assert [text.split("x")[0] for text in column(table, "against")] == ["", "0.90", "1.01"]
    assert column(table, "model_bytes") == ["4.00", "1.00 (0.25x)", "4.00 (1.00x)"]
    assert column(table, "changed") == ["", "75%", "75%"]
    assert column(table, "score") == ["accuracy 96.0%", "accuracy 95.5%", "accuracy 93.0%"]
    assert column(table, "lost") == ["", "-0.5 points", "-3.0 points"]


def test_zeros_are_said_to_save_no_time(summary):
    (table,) = compression_section(View(summary)).tables
    assert any("multiply zeros like any other number" in plain(note) for note in table.notes)


def test_a_kind_that_lost_too_much_of_its_score_may_not_win(summary):
    (pruned,) = [entry for entry in summary.cases if entry.case.compress == "prune-50"]
    (found,) = [each for each in pruned.findings if each.code == "GB307"]
    assert found.message.startswith("Test accuracy -3.00 points against the plain model at fp32 on cpu")
    said = " ".join(plain(line) for line in headline(Decision(summary)))
    assert "Faster but not counted: fp32 prune-50" in said


def test_a_run_without_compressed_models_has_no_such_section():
    made = Invented()
    made.measured("plain", 100.0, mode="infer", device="cpu", precision="fp32", batch_size=64)
    assert compression_section(View(summarise_run(made.run()))).empty


def test_the_screen_after_a_run_shows_what_each_kind_gains_and_loses(summary):
    written = io.StringIO()
    model = build_report(View(summary), pages=False, only=RESULT_SECTIONS)
    final_screen(TerminalReport(Console(file=written, width=100), 100, 100), model)
    rows = written.getvalue().split("Compression\n", 1)[1].splitlines()
    assert [kind for row in rows for kind in KINDS if f" {kind} " in row and " accuracy 9" in row] == list(KINDS)
