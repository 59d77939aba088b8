import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.runs import ENVIRONMENT, FakeRun, cpu_run, invented_run

import gpubench
from gpubench import api
from gpubench.core.errors import StoreError, UsageError
from gpubench.store.run_info import ArmInfo
from gpubench.store.run_writer import RunWriter

HEAVY = ("torch", "torchvision", "pandas", "numpy", "scipy", "altair", "pydantic", "click", "rich")


def heavy_after(program: str) -> list[str]:
    """Which heavy packages a fresh interpreter has loaded after `program`."""
    program += f"\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def store(folder: Path, made: FakeRun) -> Path:
    with RunWriter.create(folder, made.info) as writer:
        for record in made.records:
            writer.append(record)
    return folder


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Two runs: one of a GPU machine, then one without."""
    store(tmp_path / "reports" / "first", invented_run(run="first", created="2026-11-23T16:02:00Z", tag="base"))
    store(tmp_path / "reports" / "second", cpu_run(3, run="second", created="2026-11-24T16:02:00Z"))
    return tmp_path / "reports"


def test_the_public_names_are_these() -> None:
    assert gpubench.__all__ == [
        "Classifier",
        "CompareSettings",
        "Contents",
        "DataSplits",
        "Examples",
        "Health",
        "ParityProbe",
        "Score",
        "SequentialComparison",
        "Supervised",
        "Unsupported",
        "Workload",
        "__version__",
        "compare",
        "compare_rounds",
        "load_run",
        "load_suite",
        "run_suite",
        "telemetry",
    ]


def test_every_public_name_is_there_and_shown_by_dir() -> None:
    assert dir(gpubench) == sorted(gpubench.__all__)
    for name in gpubench.__all__:
        assert getattr(gpubench, name) is not None


def test_the_names_are_those_of_the_api_module() -> None:
    functions = {name for name in api.__all__ if name != "StoredRun"}
    assert functions == {name for name in gpubench.__all__ if gpubench._HOMES.get(name) == "gpubench.api"}
    assert all(getattr(gpubench, name) is getattr(api, name) for name in functions)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gpubench' has no attribute 'lod_run'"):
        _ = gpubench.lod_run  # type: ignore[attr-defined]


def test_importing_gpubench_imports_nothing_heavy() -> None:
    assert heavy_after("import gpubench; gpubench.__version__; dir(gpubench)") == []


def test_the_protocol_of_a_workload_needs_no_torch() -> None:
    assert heavy_after("from gpubench import Workload, load_run, compare") == ["pydantic"]


def test_the_monitor_is_reached_from_the_package_without_torch() -> None:
    assert "torch" not in heavy_after("import gpubench; gpubench.telemetry.Monitor")


def test_a_class_that_builds_a_step_is_a_workload() -> None:
    class Mine:
        def build(self, case: object, device: object) -> object:
            return lambda: (case, device)

    assert isinstance(Mine(), gpubench.Workload)
    assert not isinstance(object(), gpubench.Workload)


def test_every_function_says_what_it_does() -> None:
    for name in api.__all__:
        assert len(inspect.getdoc(getattr(api, name)) or "") > 40


@pytest.mark.parametrize("module", ["extend", "telemetry"])
def test_dir_shows_only_the_public_names(module: str) -> None:
    public = importlib.import_module(f"gpubench.{module}")
    assert dir(public) == sorted(public.__all__)


def test_what_a_person_prints_is_shown_in_a_line(reports: Path) -> None:
    run = gpubench.load_run("first", store=reports)
    assert repr(run) == f"<StoredRun first: suite {run.info.suite_name}, {len(run.records)} launches, {run.folder}>"
    for shown in (run.summary(), gpubench.compare(run, run), gpubench.load_suite("cnn")):
        assert len(repr(shown)) < 120


@pytest.mark.parametrize("reference", ["@last~1", "first", "fir", "base"])
def test_a_run_is_loaded_by_any_of_its_names(reports: Path, reference: str) -> None:
    run = gpubench.load_run(reference, store=reports)
    assert (run.info.run, run.folder) == ("first", reports / "first")
    assert run.records == invented_run().records
    assert run.dropped == ()


def test_a_run_is_loaded_by_its_path_and_the_last_one_without_a_name(
    reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpubench.load_run(reports / "first").info.run == "first"
    monkeypatch.chdir(reports.parent)
    assert gpubench.load_run().info.run == "second"


def test_the_frame_is_the_long_table_of_the_run(reports: Path) -> None:
    table = gpubench.load_run("second", store=reports).frame()
    assert {"case", "precision", "batch_size", "metric", "value", "low", "high", "n", "unit"} <= set(table.columns)
    rate = table[(table["metric"] == "throughput") & (table["precision"] == "fp32")].iloc[0]
    assert rate["low"] < rate["value"] < rate["high"]
    assert (rate["n"], rate["unit"]) == (3, "samples/s")
    assert set(table["status"]) == {"ok", "skipped"}


def test_the_wide_frame_has_a_row_per_case_and_a_column_per_metric(reports: Path) -> None:
    run = gpubench.load_run("second", store=reports)
    wide, long = run.frame(pivot=True), run.frame()
    assert len(wide) == long["index"].nunique() == 6
    assert wide.index.is_unique
    assert set(wide.index.names) <= set(long.columns)
    assert wide["status"].value_counts().to_dict() == {"ok": 2, "skipped": 4}
    rates = long[long["metric"] == "throughput"]["value"]
    assert sorted(wide["throughput"].dropna()) == sorted(rates)


def test_a_notebook_shows_the_screen_that_ends_a_run(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)  # where rich would display each line at once
    shown = gpubench.load_run("first", store=reports)._repr_html_()
    assert shown.startswith("<pre")
    assert "best setting" in shown.replace("</span>", "").replace('<span style="font-weight: bold">', "")


def test_charts_of_a_section_are_shown_and_saved(reports: Path) -> None:
    run = gpubench.load_run("first", store=reports)
    charts = run.plot("effects")
    assert repr(charts) == f"<Charts {', '.join(chart.key for chart in charts.charts)}>"
    assert charts._repr_html_().count("<svg") == len(charts.charts)
    saved = charts.save(reports / "charts")
    assert [path.read_text()[:4] for path in saved] == ["<svg"] * len(charts.charts)


def test_a_section_without_charts_is_answered_with_those_that_have_some(reports: Path) -> None:
    with pytest.raises(UsageError, match="has no chart for 'batches'") as caught:
        gpubench.load_run("first", store=reports).plot("batches")
    assert "effects" in caught.value.hint


def test_the_summary_counts_how_cases_ended(reports: Path) -> None:
    summary = gpubench.load_run("second", store=reports).summary()
    assert {status.value: count for status, count in summary.counts.items()} == {"ok": 2, "skipped": 4}


def test_a_run_that_is_not_there_is_a_usage_error(reports: Path) -> None:
    with pytest.raises(UsageError, match="is called 'third'"):
        gpubench.load_run("third", store=reports)


def test_a_run_that_cannot_be_read_is_a_store_error(reports: Path) -> None:
    (reports / "second" / "run.json").write_bytes(b"")
    with pytest.raises(StoreError, match="it is empty"):
        gpubench.load_run("second", store=reports)


def test_a_run_against_itself_has_not_changed(reports: Path) -> None:
    metrics = ["throughput", "peak_memory_allocated_bytes"]
    compared = gpubench.compare("first", gpubench.load_run("first", store=reports), metrics=metrics, store=reports)
    measured = [change for change in compared.changes if change.kind == "measured"]
    assert compared.num_in_common == len(invented_run().info.cases)
    assert compared.differences == ()
    judged = {entry.judgement for change in measured for entry in change.changes.values() if entry.change is not None}
    assert judged == {"same"}
    assert {name for change in measured for name in change.changes} == set(metrics)


def test_speed_memory_and_energy_are_compared_where_nothing_is_asked_for(reports: Path) -> None:
    compared = gpubench.compare("first", "first", store=reports)
    assert {"throughput", "peak_memory_allocated_bytes", "peak_rss_bytes", "energy_per_sample_j", "accuracy"} == {
        name for change in compared.changes for name in change.changes
    }


def test_runs_of_two_gpus_are_not_compared_unless_forced(reports: Path) -> None:
    other = {**ENVIRONMENT, "gpus": [{**ENVIRONMENT["gpus"][0], "name": "NVIDIA Fictional 40GB"}]}
    store(reports / "other", invented_run(run="other", environment=other))
    with pytest.raises(UsageError, match="cannot be compared") as caught:
        gpubench.compare("first", "other", store=reports)
    assert "--force" in caught.value.hint
    assert gpubench.compare("first", "other", force=True, store=reports).refused


def slowed(made: FakeRun, factor: float, *, arm: str | None = None) -> FakeRun:
    """The same run with its rate lower by `factor`."""
    records = tuple(
        record.model_copy(
            update={
                "arm": arm,
                "metrics": record.metrics | {"throughput": (record.metrics["throughput"] or 0) / factor},
            }
        )
        for record in made.records
    )
    return FakeRun(made.info, records)


def test_a_slower_run_is_called_slower_only_where_sessions_may_be_compared(tmp_path: Path) -> None:
    before = gpubench.load_run(store(tmp_path / "before", cpu_run(5)))
    after = gpubench.load_run(store(tmp_path / "after", slowed(cpu_run(5), 1.3)))
    careful = gpubench.compare(before, after).changes[0].changes["throughput"]
    assert (careful.judgement, careful.reason.partition(":")[0]) == ("unclear", "not interleaved")
    judged = gpubench.compare(before, after, allow_unpaired=True).changes[0].changes["throughput"]
    assert judged.judgement == "worse"


def two_arms(*names: str) -> FakeRun:
    made = cpu_run(8)
    records = [record for n, arm in enumerate(names) for record in slowed(made, 1 + 0.3 * n, arm=arm).records]
    info = made.info.model_copy(update={"arms": tuple(ArmInfo(name=name) for name in names)})
    return FakeRun(info, tuple(records))


def test_the_arms_of_one_run_are_compared_round_by_round(tmp_path: Path) -> None:
    run = gpubench.load_run(store(tmp_path / "run", two_arms("base", "head")))
    compared = gpubench.compare(run)
    assert compared.interleaved
    assert compared.changes[0].changes["throughput"].judgement == "worse"


@pytest.mark.parametrize(
    ("names", "what"), [((), "fewer than two arms"), (("a", "b", "c"), "more than two arms: a, b, c")]
)
def test_a_run_alone_needs_two_arms_to_be_compared(tmp_path: Path, names: tuple[str, ...], what: str) -> None:
    folder = store(tmp_path / "run", two_arms(*names) if names else cpu_run())
    with pytest.raises(UsageError, match=what):
        gpubench.compare(folder)


SUITE = """
schema: 1
name: tiny
matrix: {precision: [fp32, amp-bf16], batch_size: [16, 32]}
measure: {repeats: 1}
"""


def test_a_suite_is_loaded_with_its_overrides(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    assert len(gpubench.load_suite(tmp_path / "tiny.yaml").cases) == 4
    assert [case.batch_size for case in gpubench.load_suite(tmp_path / "tiny.yaml", ["batch_size=8"]).cases] == [8, 8]


def test_running_a_suite_hands_everything_to_the_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpubench.runner import run as runner
    from gpubench.store.run_reader import load_run

    asked: list[runner.RunRequest] = []
    heard: list[object] = []

    def started(request: runner.RunRequest, listener: object, decisions: runner.Decisions) -> runner.RunOutcome:
        asked.append(request)
        heard.append(listener)
        assert decisions.still_wanted is not None
        assert decisions.suspects is not None
        info = load_run(store(tmp_path / "run", cpu_run())).info
        return runner.RunOutcome(tmp_path / "run", info, interrupted=False)

    monkeypatch.setattr(runner, "start", started)
    (tmp_path / "tiny.yaml").write_text(SUITE)
    run = gpubench.run_suite(
        tmp_path / "tiny.yaml",
        overrides=["batch_size=8"],
        selection="precision=fp32",
        store=str(tmp_path / "s"),
        listener=print,
        tag="base",
        seed=7,
    )
    (request,) = asked
    assert [case.batch_size for case in request.loaded.cases] == [8, 8]
    assert (request.selection, request.store, request.tag, request.seed) == (
        "precision=fp32",
        tmp_path / "s",
        "base",
        7,
    )
    assert heard == [print]
    assert isinstance(run, api.StoredRun)
    assert run.records == cpu_run().records
