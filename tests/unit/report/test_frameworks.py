"""What a framework adds to a step, in one table."""

from fakes.runs import Invented

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report.topics.variants import frameworks_section
from gpubench.report.view.run_view import View


def cells(made, key):
    tables = frameworks_section(View(summarise_run(made.run(suite={"schema": 1, "name": "f"})))).tables
    return [row.cells[[each.key for each in table.columns].index(key)].full for table in tables for row in table.rows]


def test_each_framework_stands_against_the_loop_of_its_batch():
    made = Invented()
    for batch_size, rates in ((1, (1000.0, 500.0)), (64, (6400.0, 6400.0))):
        for framework, rate in zip(("loop", "lightning"), rates, strict=True):
            made.measured(framework, rate, mode="train", batch_size=batch_size, framework=framework, device="cpu")
    assert cells(made, "framework") == ["loop", "lightning", "loop", "lightning"]
    assert [text.split("x")[0][:3] for text in cells(made, "against")] == ["", "0.4", "", "1.0"]
    assert [bool(text) for text in cells(made, "added")] == [False, True, False, True]


def test_a_run_of_one_framework_says_nothing_of_frameworks():
    made = Invented()
    made.measured("loop", 100.0, mode="train", batch_size=1, framework="loop", device="cpu")
    assert cells(made, "framework") == []
