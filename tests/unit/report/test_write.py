import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.hostile import HOSTILE, MOVES_A_TERMINAL, hostile_run
from fakes.matrix import matrix_run, samples_of
from fakes.profiles import write_profile
from fakes.reports import draw_nothing
from fakes.runs import FakeRun, cpu_run
from fakes.stored import stored

from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.errors import StoreError, UsageError
from gpubench.report import write
from gpubench.report.drawing.draw import draw_apart
from gpubench.report.render.csv_text import chart_csv
from gpubench.report.render.markdown import render_markdown
from gpubench.report.view.samples import LaunchSamples, load_samples, wanted
from gpubench.report.write import report_of, write_both, write_html, write_markdown
from gpubench.store.run_reader import Run, load_run

PUBLISHED = Path(__file__).parents[3] / "reports" / "20261126-0022-cnn-b208"


def write_report(run: Run, name: str = "") -> Path:
    return write_both(report_of(run, name), run.folder)


def small_run(folder: Path, **changes: object) -> Run:
    """Two batch sizes of training, with stored samples of the cases that are drawn."""
    run: FakeRun = matrix_run(batches=(64, 256), modes=("train",), **changes)  # type: ignore[arg-type]
    chosen = [entry.planned.index for entry in wanted(Decision(summarise_run(run)))]
    return stored(run, folder, samples_of(run, chosen, num_steps=60))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("store") / "run")


@pytest.fixture(scope="module")
def page(run: Run) -> Path:
    return write_report(run, "run")


@pytest.fixture
def not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts as empty drawings, where a test is not about them."""
    draw_nothing(monkeypatch)


@pytest.mark.slow
def test_a_run_gets_its_page_its_markdown_and_its_charts(run: Run, page: Path) -> None:
    assert page == run.folder / "report.html"
    charts = sorted(path.name for path in (run.folder / "charts").iterdir())
    assert {
        "batch-train-cuda.svg",
        "batch-train-cuda.csv",
        "steps-train-cuda.svg",
        "timeline-train-cuda.svg",
        "loss.svg",
    } <= set(charts)
    assert {Path(name).suffix for name in charts if name != write.CHARTS_LIST} == {".svg", ".csv"}


def test_the_published_report_is_what_its_records_say() -> None:
    run = load_run(PUBLISHED)
    model = report_of(run, PUBLISHED.name)
    assert render_markdown(model, charts="charts") == (PUBLISHED / "report.md").read_text(encoding="utf-8")
    drawn = {f"{chart.key}.csv": chart_csv(chart) for chart in model.charts}
    assert drawn == {path.name: path.read_text(encoding="utf-8") for path in (PUBLISHED / "charts").glob("*.csv")}


def test_a_place_that_cannot_be_written_is_an_error_with_its_cause(
    run: Run, not_drawn: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    model = report_of(run, "run")
    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=r"cannot write .*a\.html: Read-only file system"):
        write_html(model, tmp_path / "a.html")


@pytest.mark.slow
def test_every_picture_of_the_markdown_is_there(run: Run, page: Path) -> None:
    text = page.with_suffix(".md").read_text()
    named = re.findall(r"\]\((charts/[^)]+)\)", text)
    assert len(named) > 20
    assert all((run.folder / name).is_file() for name in named)
    assert all(
        re.fullmatch(r"!\[.{30,}\]\(charts/[\w-]+\.svg\)", line) for line in text.splitlines() if line.startswith("![")
    )


@pytest.mark.slow
def test_nothing_but_the_report_is_left(run: Run, page: Path) -> None:
    assert sorted(
        path.name for path in run.folder.iterdir() if path.name not in ("run.json", "records.jsonl", "samples")
    ) == [
        "charts",
        "report.html",
        "report.md",
    ]
    assert page.is_file()


def test_only_charts_that_a_report_wrote_go(tmp_path: Path, not_drawn: None) -> None:
    model = report_of(small_run(tmp_path / "run"))
    folder = tmp_path / "bench-charts"
    folder.mkdir()
    for name in ("architecture.svg", "my-data.csv", "notes.txt"):
        (folder / name).write_text("mine")
    write_markdown(model, tmp_path / "bench.md")
    assert (folder / "batch-train-cuda.svg").is_file()
    write_markdown(replace(model, sections=()), tmp_path / "bench.md")
    left = {path.name: path.read_text() for path in folder.iterdir()}
    assert left == {"architecture.svg": "mine", "my-data.csv": "mine", "notes.txt": "mine", write.CHARTS_LIST: ""}


def test_a_list_of_charts_names_nothing_outside_its_folder(tmp_path: Path, not_drawn: None) -> None:
    model = report_of(small_run(tmp_path / "run"))
    (tmp_path / "mine.svg").write_text("mine")
    (tmp_path / "bench-charts").mkdir()
    listed = tmp_path / "bench-charts" / write.CHARTS_LIST
    listed.write_text(f"../mine.svg\n{tmp_path}/mine.svg\nrun.json\n")
    (tmp_path / "bench-charts" / "run.json").write_text("{}")
    write_markdown(model, tmp_path / "bench.md")
    assert (tmp_path / "mine.svg").read_text() == "mine"
    assert (tmp_path / "bench-charts" / "run.json").read_text() == "{}"


def test_a_chart_that_a_person_made_is_overwritten_only_with_force(tmp_path: Path, not_drawn: None) -> None:
    model = report_of(small_run(tmp_path / "run"))
    mine = tmp_path / "bench-charts" / "batch-train-cuda.svg"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UsageError, match=r"batch-train-cuda\.svg exists and was not written by a report"):
        write_markdown(model, tmp_path / "bench.md")
    assert [path.name for path in mine.parent.iterdir()] == [mine.name]
    assert mine.read_text() == "mine"
    write_markdown(model, tmp_path / "bench.md", force=True)
    assert mine.read_text() != "mine"


def test_a_report_follows_no_link(tmp_path: Path, not_drawn: None) -> None:
    run = small_run(tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("old.svg", "page", "partial"):
        (elsewhere / name).write_text("mine")
    charts = run.folder / "charts"
    charts.symlink_to(elsewhere)
    with pytest.raises(StoreError, match=r"charts is a link"):
        write_report(run)
    charts.unlink()
    (run.folder / "report.html").symlink_to(elsewhere / "page")
    (run.folder / f".report.html.{os.getpid()}").symlink_to(elsewhere / "partial")
    assert not write_report(run).is_symlink()
    assert {path.read_text() for path in elsewhere.iterdir()} == {"mine"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ("resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))", "ended by SIG"),
        ("import sys; sys.executable = '/nowhere/python'", "could not be started: No such file or directory"),
    ],
)
def test_charts_that_cannot_be_drawn_are_sentences(run: Run, tmp_path: Path, limits: str, why: str) -> None:
    code = (
        f"import resource, pathlib; {limits}\n"
        "from gpubench.store.run_reader import load_run; from gpubench.report.write import report_of, write_both\n"
        f"print(write_both(report_of(load_run(pathlib.Path({str(run.folder)!r}))), pathlib.Path({str(tmp_path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'report.html'}\n"
    told = (tmp_path / "report.md").read_text()
    assert why in told
    assert told.count("Not drawn: ") == len(report_of(run).charts)
    assert "charts/" not in told
    assert "Not drawn: " in (tmp_path / "report.html").read_text()
    assert not list(tmp_path.glob("core*"))


@pytest.mark.slow
def test_one_chart_that_fails_does_not_cost_the_others(run: Run) -> None:
    charts = report_of(run).charts[:3]
    drawings, reasons = draw_apart([charts[0], replace(charts[1], rows=((),)), charts[2]])
    assert set(drawings) == {charts[0].key, charts[2].key}
    assert list(reasons) == [charts[1].key]


def test_a_report_of_another_name_has_charts_of_its_own(run: Run, tmp_path: Path, not_drawn: None) -> None:
    path = write_markdown(report_of(run), tmp_path / "h100.md")
    assert (tmp_path / "h100-charts" / "batch-train-cuda.svg").is_file()
    assert "(h100-charts/batch-train-cuda.svg)" in path.read_text()


def test_a_folder_that_cannot_be_written_is_said(run: Run, tmp_path: Path, not_drawn: None) -> None:
    with pytest.raises(StoreError, match=r"cannot write .*missing/run\.html"):
        write_html(report_of(run), tmp_path / "missing" / "run.html")


def test_samples_are_steady_steps_and_readings_since_the_window_began(run: Run) -> None:
    samples, notices = load_samples(run, Decision(summarise_run(run)))
    assert notices == []
    launches = next(iter(samples.values()))
    assert [launch.repeat for launch in launches] == [1, 2, 3]
    assert all(len(launch.step_times_s) == 60 for launch in launches), "warm-up is left out"
    gpu = next(launch for found in samples.values() for launch in found if launch.telemetry)
    assert gpu.telemetry["fast_time_s"][1] == pytest.approx(0.0)
    assert gpu.duration_s == pytest.approx(3.5)


def test_samples_that_are_gone_are_a_notice_and_not_the_end(tmp_path: Path, not_drawn: None) -> None:
    run = small_run(tmp_path / "run")
    for path in (run.folder / "samples").iterdir():
        path.unlink()
    write_report(run)
    assert "is missing. The records can be read without it" in (run.folder / "report.md").read_text()


def test_a_cpu_run_without_samples_has_a_report(tmp_path: Path, not_drawn: None) -> None:
    run = stored(cpu_run(), tmp_path / "run", {1: [LaunchSamples(1, [0.02] * 30)]})
    text = write_report(run).with_suffix(".md").read_text()
    assert "## Steadiness and step times" in text
    assert "![Histograms of step time" in text


@pytest.mark.slow
def test_hostile_text_is_inert_in_every_file(tmp_path: Path) -> None:
    run = stored(hostile_run(run="20261123-1602-x-0000"), tmp_path / "run")
    write_report(run, HOSTILE)
    for path in [run.folder / "report.md", run.folder / "report.html", *(run.folder / "charts").iterdir()]:
        text = path.read_text()
        assert not any(sign in text for sign in MOVES_A_TERMINAL), path.name
    text = (run.folder / "report.md").read_text()
    outside_code = re.sub(r"(`+)[^\n]*?\1(?!`)", "", text)
    assert not re.search(r"(?<!\\)<(script|img|/)", outside_code)
    assert "http://" not in outside_code
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", outside_code)
    assert all(link.startswith("charts/") for link in links)


def test_a_profile_of_a_case_stands_in_the_report(tmp_path: Path, not_drawn: None) -> None:
    run = small_run(tmp_path / "run")
    write_profile(run.folder / "cases" / "3" / "profile" / "profile.json", idle=0.25)
    text = write_report(run, "run").with_suffix(".md").read_text()
    assert "## Profiles: where a step goes" in text
    assert text.index("## Profiles") < text.index("## All cases")
    assert "25.0%" in text


def test_the_report_needs_no_torch_and_loads_altair_only_to_draw() -> None:
    code = (
        "import sys, gpubench.report.write; print(sorted({'torch', 'altair', 'vl_convert', 'pandas'} & "
        "set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_a_written_report_needed_no_torch(run: Run, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from gpubench.store.run_reader import load_run; from gpubench.report.write "
        "import report_of, write_html\n"
        f"write_html(report_of(load_run(pathlib.Path({str(run.folder)!r}))), "
        f"pathlib.Path({str(tmp_path / 'a.html')!r}))\n"
        "print(sorted({'torch', 'torchvision', 'nvtx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
