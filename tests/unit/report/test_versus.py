import re
from dataclasses import replace

import pytest
from fakes.matrix import matrix_run
from fakes.runs import ENVIRONMENT, FakeRun

from gpubench.analysis.compare.compare_sides import compare_sides
from gpubench.analysis.compare.run_sides import arm_sides
from gpubench.core.errors import UsageError
from gpubench.core.metrics import SESOI
from gpubench.report.comparison.versus import arms_report, runs_report
from gpubench.report.drawing.draw import draw
from gpubench.report.model.report_model import ReportModel, plain
from gpubench.report.render.markdown import render_markdown
from gpubench.store.run_info import ArmInfo

SMALL = {"batches": (64, 256), "modes": ("train",)}
NEW_TORCH = {
    **ENVIRONMENT,
    "packages": {**ENVIRONMENT["packages"], "torch": "2.14.0"},
    "worker": {**ENVIRONMENT["worker"], "torch": "2.14.0"},
}


def a_run(tag: str, **changes: object) -> FakeRun:
    return matrix_run(**{**SMALL, "run": f"20261123-1602-cnn-{tag}", "tag": tag, **changes})  # type: ignore[arg-type]


BEFORE = a_run("before")
AFTER = a_run("after", speed={"amp-bf16": 0.9}, seed=9, environment=NEW_TORCH)


@pytest.fixture(scope="module")
def model() -> ReportModel:
    return runs_report(AFTER, [BEFORE], allow_unpaired=True)


def titles(model: ReportModel) -> dict[str, str]:
    return {chart.key: chart.title for chart in model.charts}


def test_what_differs_is_said_before_any_number(model: ReportModel) -> None:
    assert model.title == "after against before"
    assert plain(model.subtitle).endswith("Differs: torch 2.13.0 -> 2.14.0.")
    assert [section.key for section in model.sections][:3] == ["differs", "charts", "changed"]


def test_the_verdicts_come_first(model: ReportModel) -> None:
    assert plain(model.headline[0]).startswith("Speed: 8 slower")


def test_every_row_with_its_reason_is_there_at_the_end(model: ReportModel) -> None:
    section = model.section("all")
    assert section is not None
    keys = [column.key for column in section.tables[0].columns]
    assert "why" in keys
    assert len(section.tables[0].rows) > 40


def test_both_runs_are_in_each_chart(model: ReportModel) -> None:
    charts = {chart.key: chart for chart in model.charts}
    assert {"moved", "batch-train-cuda", "memory-train-cuda", "energy-train-cuda", "accuracy"} <= set(charts)
    assert {row[5] for row in charts["batch-train-cuda"].rows} == {"after", "before"}
    assert {row[5] for row in charts["energy-train-cuda"].rows} == {"valid", "reference"}
    assert {row[6] for row in charts["accuracy"].rows} == {"after", "before"}


def test_the_case_that_moved_most_is_named_with_its_change(model: ReportModel) -> None:
    chart = next(chart for chart in model.charts if chart.key == "moved")
    assert chart.title.startswith("Speed: 8 slower")
    assert "amp-bf16" in str(chart.rows[0][0])
    assert float(chart.rows[0][1]) == pytest.approx(0.9, abs=0.02)  # type: ignore[arg-type]
    assert chart.rows[0][5] == "slower"


def test_the_finding_of_a_place_is_the_mean_and_the_most(model: ReportModel) -> None:
    assert titles(model)["batch-train-cuda"].startswith("Training on the GPU: speed -")
    assert "on average of 32 cases" in titles(model)["batch-train-cuda"]
    assert titles(model)["memory-train-cuda"] == "Training on the GPU: memory is the same"


def test_stored_runs_are_not_called_slower_unasked() -> None:
    model = runs_report(AFTER, [BEFORE])
    chart = next(chart for chart in model.charts if chart.key == "moved")
    assert {row[5] for row in chart.rows} <= {"unclear", "same"}


def test_several_references_stand_apart() -> None:
    model = runs_report(AFTER, [BEFORE, a_run("older", seed=3)], allow_unpaired=True)
    assert model.title == "after against before and older"
    keys = [section.key for section in model.sections]
    assert len(set(keys)) == len(keys)
    assert {"charts", "charts-2"} <= set(keys)
    assert len({chart.key for chart in model.charts}) == len(model.charts)
    assert any(section.heading == "Changed: after against older" for section in model.sections)
    assert all(plain(said).startswith(("after against before: ", "after against older: ")) for said in model.headline)


def test_the_set_up_of_each_run_is_there_once(model: ReportModel) -> None:
    assert [section.heading for section in model.sections if section.key.startswith("environment")] == [
        "Set-up of before",
        "Set-up of after",
    ]


def test_runs_of_different_cards_are_refused_unless_forced() -> None:
    gpus = [{**ENVIRONMENT["gpus"][0], "name": "another card"}]
    other = a_run("other", environment={**ENVIRONMENT, "gpus": gpus})
    with pytest.raises(UsageError, match="cannot be compared"):
        runs_report(other, [BEFORE])
    assert "another card" in render_markdown(runs_report(other, [BEFORE], force=True))


def with_arms(sesoi: float | None = None) -> FakeRun:
    arms = ((BEFORE, "base"), (AFTER, "head"))
    records = [record.model_copy(update={"arm": name}) for run, name in arms for record in run.records]
    named = tuple(ArmInfo(name=name) for _, name in arms)
    info = BEFORE.info.model_copy(update={"arms": named, "repeats": 3, "sesoi": sesoi})
    return replace(BEFORE, info=info, records=tuple(records))


@pytest.mark.parametrize(("sesoi", "judged_by"), [(None, SESOI), (0.25, 0.25)])
def test_arms_are_judged_by_the_smallest_effect_of_their_run(sesoi: float | None, judged_by: float) -> None:
    first, (other,) = arm_sides(with_arms(sesoi))
    assert compare_sides(first, other).settings.sesoi == judged_by


def test_the_arms_of_one_run_are_held_against_its_first() -> None:
    model = arms_report(with_arms())
    assert model.title == "head against base"
    assert {row[5] for chart in model.charts if chart.key == "batch-train-cuda" for row in chart.rows} == {
        "base",
        "head",
    }
    assert [section.heading for section in model.sections if section.key.startswith("environment")] == [
        f"Set-up of {BEFORE.info.run}"
    ]


def test_markdown_without_charts_has_no_empty_section(model: ReportModel) -> None:
    assert "## Before and after" not in render_markdown(model)
    assert "## Before and after" in render_markdown(model, charts="charts")


@pytest.mark.parametrize("names", [("a", "b"), ("20261123-1602-cnn-before", "20261123-1602-cnn-after-some-changes")])
def test_the_legend_of_the_runs_lies_below_and_widens_nothing(names: tuple[str, str]) -> None:
    runs = [
        replace(run, info=run.info.model_copy(update={"tag": name}))
        for run, name in zip((BEFORE, AFTER), names, strict=True)
    ]
    both = next(chart for chart in runs_report(runs[1], runs[:1], allow_unpaired=True).charts if chart.form == "lines")
    one = replace(both, rows=tuple((*row[:5], "", *row[6:]) for row in both.rows))
    widths, heights = zip(
        *(map(float, re.findall(r'(?:width|height)="([\d.]+)"', draw(each))[:2]) for each in (both, one)), strict=True
    )
    assert widths[0] <= widths[1] + 30
    assert heights[0] > heights[1]
