from pathlib import Path

import pytest
from fakes.runs import Invented
from fakes.stored import stored

from gpubench.cli.main import main
from gpubench.core.errors import ExitStatus
from gpubench.core.records import Status

NAME = "20261123-1602-cnn-0001"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A run whose first launch was left out and then measured by `--resume`."""
    made = Invented(repeats=1)
    planned = made.measured("fp32 b64", 900.0, device="cpu")
    record = made.records.pop()
    made.add(planned, 1, Status.SKIPPED, reason="the time budget was used up")
    made.records.append(record)
    stored(made.run(run=NAME, tag="before"), tmp_path / NAME)
    return tmp_path


def test_a_launch_that_was_measured_later_is_counted_once(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "runs", "--store", str(store)]) == ExitStatus.OK
    (row,) = [line for line in capsys.readouterr().out.splitlines() if NAME in line]
    assert row.split()[-4:] == ["1", "0", "1", "ok"]


def test_a_run_is_found_by_its_tag(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "runs", "before", "--store", str(store)]) == ExitStatus.OK
    assert NAME in capsys.readouterr().out
    assert main(["list", "runs", "after", "--store", str(store)]) == ExitStatus.USAGE


@pytest.mark.parametrize("name", ["GB204", "gb204", "outliers"])
def test_a_finding_is_found_by_code_and_by_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "findings", name]) == ExitStatus.OK
    assert "GB204" in capsys.readouterr().out


def test_the_beginning_of_codes_names_those_that_begin_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "findings", "gb20"]) == 2
    said = capsys.readouterr().err
    assert "there is no finding named 'gb20'; GB201, GB202, " in said
    assert "did you mean" not in said
