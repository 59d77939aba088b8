"""What the tool says of a published run, word for word: no change inside may change a figure of a stored run."""

import json
import os
from pathlib import Path

import pytest

from gpubench.cli.main import main

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "published"
WRITE = os.environ.get("GPUBENCH_GOLDEN") == "write"
RUN = "20261126-0022-cnn-b208"


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_screen_of_a_published_run_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["show", RUN]) == 0
    said = capsys.readouterr().out
    path = FOLDER / "show-100.txt"
    if WRITE:
        path.write_text(said, encoding="utf-8")
    assert said == path.read_text(encoding="utf-8")


def test_every_figure_of_a_published_run_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", RUN, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    said["run"]["folder"] = "."
    path = FOLDER / "document.json"
    if WRITE:
        path.write_text(json.dumps(said, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    assert said == json.loads(path.read_text(encoding="utf-8"))
