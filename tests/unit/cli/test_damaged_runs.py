"""Stored values that no measurement gives: one odd run or launch is one line, and never ends a command."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.runs import invented_run
from fakes.stored import stored

from gpubench.cli.main import main
from gpubench.core.errors import ExitStatus
from gpubench.store.run_reader import load_run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for day, tag in ((23, "odd"), (24, "sound")):
        stored(invented_run(tag=tag, created=f"2026-11-{day}T16:02:00Z"), tmp_path / f"202611{day}-1602-cnn-7f3a")
    return tmp_path


def change_first(folder: Path, *path: str | int, to: Any) -> None:
    """Another value at `path` of the first launch that is ok."""
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    place: Any = next(record for record in records if record["status"] == "ok")
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = to
    (folder / "records.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1e308, 1e-320, -1.0], ids=str)
@pytest.mark.parametrize("path", [("metrics", "step_time_s"), ("series", "median_s"), ("window", "end_s")], ids=str)
def test_a_value_no_measurement_gives_ends_no_command(
    store: Path, capsys: pytest.CaptureFixture[str], path: tuple[str, ...], value: float
) -> None:
    change_first(store / "20261123-1602-cnn-7f3a", *path, to=value)
    for command in (["show", "odd", "--all"], ["compare", "odd", "sound"], ["list", "runs"]):
        assert main([*command, "--store", str(store)]) == ExitStatus.OK
    said = capsys.readouterr()
    assert "itself failed" not in said.err


def test_a_launch_that_cannot_be_is_left_out_and_named(store: Path) -> None:
    folder = store / "20261123-1602-cnn-7f3a"
    before = load_run(folder)
    change_first(folder, "series", "n_effective", to=float("inf"))
    run = load_run(folder)
    assert len(run.records) == len(before.records) - 1
    assert "cannot be read and was left out" in run.dropped[0]


@pytest.mark.parametrize(
    "command",
    [["show", "odd"], ["compare", "odd", "sound"], ["check", "odd", "--against", "sound"]],
    ids=lambda c: c[0],
)
def test_every_command_says_which_launches_it_could_not_read(
    store: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    records = store / "20261123-1602-cnn-7f3a" / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-40])
    main([*command, "--store", str(store)])
    assert "the last line of records.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new"), [('"precision": "fp32"', '"precision": "fp3"'), ('"seed": 0', '"seed": 0, "moon": "full"')]
)
def test_a_run_with_a_setting_from_the_future_is_one_line_of_the_history(
    store: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    head = store / "20261123-1602-cnn-7f3a" / "run.json"
    assert old in head.read_text()
    head.write_text(head.read_text().replace(old, new))
    assert main(["history", "--store", str(store)]) == ExitStatus.OK
    said = capsys.readouterr().out
    assert "20261123-1602-cnn-7f3a was left out" in " ".join(said.split())
    assert main(["list", "runs", "--store", str(store)]) == ExitStatus.OK


@pytest.mark.parametrize(("name", "value"), [("sesoi", -1), ("repeats", -1e308), ("created", float("nan"))])
def test_a_damaged_head_is_a_sentence(store: Path, capsys: pytest.CaptureFixture[str], name: str, value: float) -> None:
    path = store / "20261123-1602-cnn-7f3a" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    assert main(["show", path.parent.name, "--store", str(store)]) == ExitStatus.USAGE
    assert "does not describe a run: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("cpu", "flags"), 3.5),
        (("cpu", "flags"), [[1]]),
        (("system", "memory_bytes"), [1]),
        (("cpu", "num_threads"), "x"),
    ],
)
def test_an_odd_fact_of_the_machine_is_a_line(
    store: Path, capsys: pytest.CaptureFixture[str], path: tuple[str, str], value: object
) -> None:
    head = store / "20261123-1602-cnn-7f3a" / "run.json"
    document = json.loads(head.read_text())
    document["environment"].setdefault(path[0], {})[path[1]] = value
    head.write_text(json.dumps(document))
    assert main(["show", "20261123-1602-cnn-7f3a", "--all", "--store", str(store)]) == ExitStatus.USAGE
    assert (
        f"environment: Value error, {path[1] if path[1] != 'flags' else 'cpu.flags'} is no" in capsys.readouterr().err
    )
    assert main(["history", "--store", str(store)]) == ExitStatus.OK
