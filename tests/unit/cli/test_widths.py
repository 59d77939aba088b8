"""No screen breaks a word at 60, 80, 100 or 140 columns."""

import sys
from types import SimpleNamespace

import pytest
from fakes.gate_runs import two_arms
from fakes.runs import invented_run
from fakes.stored import stored
from fakes.terminal import WIDTHS, broken_lines, on_a_terminal, plain

from gpubench.cli import run_ending
from gpubench.cli.main import main
from gpubench.store.run_reader import load_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    stored(invented_run(tag="first"), folder / "reports" / "20261123-1602-cnn-7f3a")
    made = two_arms()
    for batch in (64, 256):
        made.measured(1000.0, head=900.0, batch_size=batch)
    made.write(folder / "reports", "arms")
    return folder


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "command",
    [
        "validate cnn --cases",
        "list findings",
        "list runs",
        "show first",
        "show first --all",
        "show first:3",
        "compare arms -v",
        "check arms",
        "check first --update",
        "plan --pilot arms",
        "history",
    ],
)
def test_a_screen_breaks_no_word(folder, capsys, monkeypatch, command, width):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", str(width))
    main(command.split())
    assert broken_lines(capsys.readouterr().out, width) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_message_breaks_no_word(folder, width):
    said = on_a_terminal(["show", "first:99"], width, folder)
    assert broken_lines(said, width) == []
    assert "Name a case by its number" in " ".join(said.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_figures_of_a_program_and_their_notes_break_no_word(tmp_path, width):
    said = on_a_terminal(["stat", "--", "true", *["argument"] * 20], width, tmp_path)
    assert broken_lines(said, width) == []
    assert "no CPU energy" in " ".join(said.split())


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_quoted_line_of_a_suite_is_cut_around_what_the_caret_points_at(tmp_path, width):
    (tmp_path / "long.yaml").write_text(
        f"schema: 1\nname: s\ndefaults: {{{'cudnn_enabled: true, ' * 1}learning_rate: 0.1, seed: 7, cudnn_benchmark: on, "
        "fused: false, precision: fp23, device: cpu}\n"
    )
    said = plain(on_a_terminal(["validate", "long.yaml", "-s", f"batch_siz={'1,' * 40}1"], width, tmp_path))
    lines = said.splitlines()
    assert broken_lines(said, width) == []
    quoted = {
        at: line for at, line in enumerate(lines) if line.lstrip(" 0123456789").startswith("|") and "^" not in line
    }
    pointed = []
    for at, line in quoted.items():
        below = lines[at + 1]
        assert len(line) <= width
        pointed.append("".join(char for char, caret in zip(line, below, strict=False) if caret == "^"))
    assert pointed == ["batch_siz", "fp23"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("end", ["first", "arms", "interrupted"])
def test_what_to_type_next_breaks_no_word(folder, capsys, monkeypatch, end, width):
    run = load_run(folder / "reports" / ("arms" if end == "arms" else "20261123-1602-cnn-7f3a"))
    monkeypatch.setattr(run_ending, "table_width", lambda _: width)
    run_ending._print_next(run, run.folder.name, run.folder / "report.html", (), interrupted=end == "interrupted")
    said = capsys.readouterr().out
    assert broken_lines(said, width) == []
    assert "gpubench " in said


@pytest.mark.parametrize("width", WIDTHS)
def test_an_explanation_goes_below_what_to_type_where_it_does_not_fit(capsys, monkeypatch, width):
    run = SimpleNamespace(folder="reports/20261123-1602-cnn-7f3a", info=SimpleNamespace(arms=()))
    monkeypatch.setattr(run_ending, "table_width", lambda _: width)
    run_ending._print_next(run, "20261123-1602-cnn-7f3a", None, (), interrupted=False)
    _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("Next    gpubench show 20261123-1602-cnn-7f3a")
    assert first.endswith("every effect, case and finding") == (width >= 80)
    assert second.startswith("        gpubench show" if width >= 80 else "          every effect, case")


def test_a_message_on_a_pipe_is_one_line(folder, capsys):
    assert main(["show", "first:99", "--store", str(folder / "reports")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not sys.stderr.isatty()
