import pytest
from fakes.analysis_runs import RunBuilder

from gpubench.analysis.summary.long_table import COLUMNS, frame
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import Status
from gpubench.suite.model.case import Case


@pytest.fixture
def table():
    build = RunBuilder()
    build.measured([100.0, 400.0], precision="fp32", env={"A": "1", "B": "2"})
    build.plan(device="cuda", skip=(Status.SKIPPED, "no CUDA device"))
    build.trained({0: 0.95})
    return frame(summarise_run(build.run()))


def test_one_row_per_case_and_metric(table):
    assert list(table.columns) == list(COLUMNS)
    rates = table[table.metric == "throughput"]
    assert len(rates) == 1
    assert rates.iloc[0][["value", "n", "unit", "validity"]].to_dict() == {
        "value": pytest.approx(200.0),
        "n": 2,
        "unit": "samples/s",
        "validity": "valid",
    }
    assert rates.iloc[0].low < 200 < rates.iloc[0].high


def test_every_setting_is_a_column(table):
    assert set(Case.model_fields) <= set(table.columns)
    assert table.iloc[0].env == "A=1,B=2"


def test_a_case_without_figures_has_one_row(table):
    (row,) = table[table.device == "cuda"].to_dict("records")
    assert (row["status"], row["reason"]) == ("skipped", "no CUDA device")
    assert table[table.device == "cuda"].value.isna().all()


def test_quality_entries_are_rows_too(table):
    assert table[table.metric == "accuracy"].value.tolist() == [0.95]
    assert set(table.kind) == {"measure", "quality"}


def test_the_table_becomes_wide(table):
    wide = table.pivot_table(index=["precision", "batch_size"], columns="metric", values="value")
    assert wide.loc[("fp32", 64), "throughput"] == pytest.approx(200.0)


def test_an_empty_run_is_an_empty_table():
    assert frame(summarise_run(RunBuilder().run())).empty
