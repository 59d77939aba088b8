"""One odd value in a file from elsewhere: a line and status 2, or the figure is absent; never a failure of gpubench."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes import traces
from fakes.gate_runs import HandMade
from fakes.pytest_json import write_pytest_json

from gpubench.cli.main import main
from gpubench.core.errors import ExitStatus
from gpubench.store.parse_json import parse_json

HUGE = 10**400


def put(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document).replace('"1e400"', "1e400").replace('"1e999999999"', "1e999999999"))


@pytest.mark.parametrize(
    "text",
    [
        f"[{HUGE}]",
        '{"a": {"b": 1e400}}',
        "[NaN]",
        "-1e999",
        "[1, -Infinity]",
        "[12345678901e299]",
        f"[{'1' * 230}e99]",
        "[1.5E+0400]",
    ],
)
def test_a_number_that_no_figure_can_be_is_refused_where_it_is_read(text: str):
    with pytest.raises(ValueError, match=r"number|value"):
        parse_json(text.encode())


@pytest.mark.parametrize("text", ['"1e400 NaN"', "[1e308, 1e-400, 5e300]", f'["{HUGE}"]'])
def test_what_only_looks_like_such_a_number_is_read(text: str):
    assert parse_json(text.encode()) == json.loads(text)


def test_the_digests_of_cases_are_not_taken_for_numbers(monkeypatch: pytest.MonkeyPatch):
    """Else every document of thousands of cases would be searched, value by value."""
    monkeypatch.setattr("gpubench.store.parse_json._check", lambda *_, **__: pytest.fail("searched"))
    digests = ["4e305c1a2b", "e999d", "1e400", "77e31299aa"]
    assert parse_json(json.dumps({"ids": digests, "least": 1e-300, "n": 2**60}).encode())["ids"] == digests


@pytest.mark.parametrize(
    "change",
    [
        lambda doc: doc["benchmarks"][0]["stats"]["data"].append(HUGE),
        lambda doc: doc["benchmarks"][0].update(extra_info=[1]),
        lambda doc: doc["benchmarks"][0].update(params="x"),
        lambda doc: doc.update(machine_info=3),
        lambda doc: doc.update(commit_info="x"),
    ],
)
def test_an_odd_file_of_pytest_benchmark_is_a_line(change, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for side in ("base", "head"):
        (tmp_path / side).mkdir()
        write_pytest_json(tmp_path / side / "1.json", {"t.py::test_a": [0.1, 0.2, 0.3]})
    put(tmp_path / "head" / "1.json", change)
    arguments = [str(tmp_path / "head"), "--against", str(tmp_path / "base"), "--format", "pytest-benchmark"]
    assert main(["check", *arguments]) == 2
    assert "head/1.json is not a JSON file of pytest-benchmark: " in capsys.readouterr().err


def test_odd_facts_of_a_machine_leave_the_rest_comparable(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for side in ("base", "head"):
        (tmp_path / side).mkdir()
        write_pytest_json(tmp_path / side / "1.json", {"t.py::test_a": [0.1, 0.2, 0.3]})
    put(tmp_path / "head" / "1.json", lambda doc: doc["machine_info"].update(cpu=[1], node={}))
    arguments = [str(tmp_path / "head"), "--against", str(tmp_path / "base"), "--format", "pytest-benchmark"]
    assert main(["check", *arguments, "--on-unclear", "pass", "--allow-unpaired"]) in (0, 2)
    assert "itself failed" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda doc: doc["cases"][0]["settings"].update(batch_size=-1e308),
        lambda doc: doc["cases"][0]["effective"].update(memory_format={}),
        lambda doc: doc["cases"][0]["metrics"].update(throughput=["1e400"]),
        lambda doc: doc["environment"].update(x=HUGE),
    ],
)
def test_an_odd_baseline_is_a_line(change, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    made = HandMade()
    made.measured(1000.0, batch_size=8)
    run = str(made.write(tmp_path / "store", "a"))
    options = ["--baselines", str(tmp_path / "base")]
    assert main(["check", run, "--update", *options]) == 0
    (path,) = (tmp_path / "base").rglob("*.json")
    put(path, change)
    assert main(["check", run, *options]) == 2
    said = capsys.readouterr().err
    assert "itself failed" not in said
    assert "baseline" in said


@pytest.mark.parametrize("value", [HUGE, "1e999999999", {}])
@pytest.mark.parametrize("name", ["ph", "ts", "pid", "bytes", "correlation"])
def test_an_odd_event_of_a_trace_is_left_out(name, value, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = traces.write_kineto(traces.two_steps(), tmp_path / "t.json")

    def change(document: Any) -> None:
        event = next(each for each in document["traceEvents"] if "bytes" in each.get("args", {}))
        place = event["args"] if name in ("bytes", "correlation") else event
        place[name] = value

    put(path, change)
    assert main(["profile", "read", str(path)]) == 0
    assert "itself failed" not in capsys.readouterr().err


@pytest.mark.parametrize("value", [b"\xff", 1e308, -(2**62)])
@pytest.mark.parametrize("column", ["start", "bytes", "deviceId", "globalPid"])
def test_an_odd_row_of_an_export_is_left_out(column, value, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite")
    with closing(sqlite3.connect(path)) as connection, connection:
        table = "CUPTI_ACTIVITY_KIND_MEMCPY"
        connection.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = 1', (value,))
    assert main(["profile", "read", str(path)]) == 0
    assert "itself failed" not in capsys.readouterr().err


@pytest.mark.parametrize("value", ["1e400", str(HUGE), ".inf", "[1]"])
def test_an_odd_duration_of_a_suite_is_a_mistake_with_its_place(
    value, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "s.yaml"
    path.write_text(f"schema: 1\nname: s\nmatrix: {{batch_size: [1]}}\nmeasure: {{max_time: {value}}}\n")
    assert main(["validate", str(path)]) == 2
    assert f"{path}:4:21 error measure.max_time: expected a" in capsys.readouterr().err


@pytest.mark.parametrize("current", [False, True], ids=["store", "current"])
def test_a_folder_whose_name_is_not_utf8_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, current: bool
):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder if current else tmp_path)
    store = tmp_path / "runs" if current else folder
    assert main(["run", "cnn-smoke", "--store", str(store)]) == ExitStatus.USAGE
    assert "is not UTF-8 text" in capsys.readouterr().err
    assert list(folder.iterdir()) == []
