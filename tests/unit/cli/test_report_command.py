import errno
from pathlib import Path

import pytest
from fakes.matrix import matrix_run
from fakes.reports import draw_nothing
from fakes.stored import stored

from gpubench.cli.main import main
from gpubench.cli.open_run import shown_name
from gpubench.core.errors import ExitStatus

SMALL = {"batches": (64, 256), "modes": ("train",)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    stored(
        matrix_run(**SMALL, run="20261123-1602-cnn-0001", tag="before", created="2026-11-23T16:02:00Z"),
        folder / "20261123-1602-cnn-0001",
    )
    stored(
        matrix_run(**SMALL, run="20261124-0901-cnn-0002", tag="after", created="2026-11-24T09:01:00Z", seed=9),
        folder / "20261124-0901-cnn-0002",
    )
    return folder


@pytest.fixture(autouse=True)
def not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts as empty drawings: these tests are about files and words."""
    draw_nothing(monkeypatch)


def report(store: Path, *arguments: str) -> int:
    return main(["report", *arguments, "--store", str(store)])


def test_the_last_run_gets_both_files_in_its_folder(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store) == ExitStatus.OK
    folder = store / "20261124-0901-cnn-0002"
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    assert (folder / "report.md").is_file()
    assert (folder / "charts" / "batch-train-cuda.svg").is_file()


def test_a_file_is_written_where_it_is_asked_for(store: Path, tmp_path: Path) -> None:
    assert report(store, "before", "-o", str(tmp_path / "h100.html")) == ExitStatus.OK
    assert [path.name for path in tmp_path.iterdir()] == ["h100.html"]
    assert report(store, "before", "-o", str(tmp_path / "h100.md")) == ExitStatus.OK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h100-charts", "h100.html", "h100.md"]


def test_a_folder_that_is_not_there_is_made_and_one_that_cannot_be_is_told_before_anything_is_read(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(store, "before", "-o", str(tmp_path / "new" / "h100.html")) == ExitStatus.OK
    assert (tmp_path / "new" / "h100.html").is_file()
    assert report(store, "no-such-run", "-o", str(tmp_path / "new" / "h100.html" / "again.md")) == ExitStatus.USAGE
    assert "cannot make" in capsys.readouterr().err


def test_a_file_that_exists_is_overwritten_only_when_asked(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.html"
    path.write_text("mine")
    assert report(store, "-o", str(path)) == ExitStatus.USAGE
    assert path.read_text() == "mine"
    assert "Add --force to overwrite it." in capsys.readouterr().err
    assert report(store, "-o", str(path), "--force") == ExitStatus.OK
    assert path.read_text().startswith("<!doctype html>")


def test_a_name_that_no_file_can_have_is_an_error_and_no_bug(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for length in (250, 300):  # a file that is not whole yet has a longer name
        assert report(store, "no-such-run", "-o", str(tmp_path / f"{'x' * length}.html")) == ExitStatus.USAGE
        said = capsys.readouterr().err
        assert "file name too long" in said
        assert "a bug" not in said


def test_another_kind_of_file_is_refused_before_anything_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "no-such-run", "-o", "run.pdf"]) == ExitStatus.USAGE
    assert "run.pdf ends in neither .html nor .md" in capsys.readouterr().err


def test_markdown_goes_to_stdout_without_pictures(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, "after", "-o", "-") == ExitStatus.OK
    said = capsys.readouterr().out
    assert said.startswith("# cnn: An invented run")
    assert "](charts/" not in said


def test_two_runs_are_held_against_each_other(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, "after", "--against", "before") == ExitStatus.OK
    path = Path(capsys.readouterr().out.strip())
    assert path.name == "report-against-20261123-1602-cnn-0001.html"
    assert "<h1>after against before</h1>" in path.read_text()
    assert path.with_suffix(".md").is_file()


def test_a_run_that_is_not_there_is_said(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, "nothing") == ExitStatus.USAGE
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize("lost", [BrokenPipeError(), OSError(errno.ENOSPC, "No space left on device")])
def test_the_report_of_a_run_is_written_even_if_stdout_takes_no_more(
    store: Path, lost: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpubench.cli import run_ending
    from gpubench.cli.run_arms import AskedArms
    from gpubench.runner.run import RunOutcome
    from gpubench.store.run_reader import load_run

    def refused(*_: object) -> None:
        raise lost

    monkeypatch.setattr(run_ending, "final_screen", refused)
    monkeypatch.setattr(run_ending, "keep_ceilings", lambda summary: ())
    stored_run = load_run(store / "20261124-0901-cnn-0002")
    ending = run_ending.RunEnding(strict=False, report=True, as_json=False, wide=False, arms=AskedArms(), baseline=None)
    with pytest.raises(OSError) as raised:  # noqa: PT011 - this very one
        ending.after(RunOutcome(stored_run.folder, stored_run.info, interrupted=False), store)
    assert raised.value is lost
    assert (stored_run.folder / "report.html").exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_shows_its_result_before_its_report_is_drawn(
    store: Path, as_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpubench.cli import run_ending
    from gpubench.cli.run_arms import AskedArms
    from gpubench.runner.run import RunOutcome
    from gpubench.store.run_reader import load_run

    shown: list[str] = []
    monkeypatch.setattr(run_ending, "write_both", lambda model, folder: shown.append(capsys.readouterr().out))
    monkeypatch.setattr(run_ending, "keep_ceilings", lambda summary: ())
    stored_run = load_run(store / "20261124-0901-cnn-0002")
    ending = run_ending.RunEnding(
        strict=False, report=True, as_json=as_json, wide=False, arms=AskedArms(), baseline=None
    )
    ending.after(RunOutcome(stored_run.folder, stored_run.info, interrupted=False), store)
    assert ('"metrics"' if as_json else "was fastest") in shown[0]


def test_a_run_is_named_as_commands_without_a_store_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUBENCH_STORE", raising=False)
    assert shown_name(Path("reports/one"), Path("reports")) == "one"
    assert shown_name(Path("elsewhere/one"), Path("reports")) == "elsewhere/one"
    assert shown_name(Path("my runs/one"), Path("my runs")) == "'my runs/one'"
    monkeypatch.setenv("GPUBENCH_STORE", "my runs")
    assert shown_name(Path("my runs/one"), Path("my runs")) == "one"
    assert shown_name(Path("reports/one"), Path("reports")) == "reports/one"


def test_a_price_is_in_the_report_and_for_one_run_only(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, "-o", "-", "--price", "2.5/h") == ExitStatus.OK
    said = capsys.readouterr().out
    assert "M per money" in said
    assert "whatever currency" in said
    assert report(store, "after", "--against", "before", "--price", "2.5/h") == ExitStatus.USAGE
    assert "compare --machines --price" in capsys.readouterr().err
