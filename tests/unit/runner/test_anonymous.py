import sys
from pathlib import Path

import pytest
from fakes.scripted_workers import script_the_workers

from gpubench.core.anonymity import anonymise
from gpubench.core.errors import UsageError
from gpubench.core.findings import finding
from gpubench.core.records import Effective, Record, Status
from gpubench.runner.run import ResumeRequest, RunRequest, resume, start
from gpubench.store.run_info import RunInfo
from gpubench.store.run_reader import load_run
from gpubench.store.run_writer import RunWriter
from gpubench.suite.load import load_suite

UUID = "12345678-9abc-def0-1234-56789abcdef0"


def test_a_stored_card_gets_the_digits_it_has_in_the_environment_and_homes_are_hidden(tmp_path):
    home = str(Path.home() / "train.py")
    record = Record(
        case_index=1,
        case_id="c",
        label="l",
        repeat=1,
        status=Status.OK,
        effective=Effective(precision="fp32", device_uuid=UUID),
        telemetry={"device": {"uuid": f"GPU-{UUID}"}, "other_processes": [{"name": home, "pid": 7}]},
        findings=(finding("GB407", f"Process 7 ({home}) was on GPU-{UUID}."),),
    )
    info = RunInfo(
        run="r",
        suite_name="s",
        suite={},
        suite_digest="d",
        created="2026-01-01T00:00:00Z",
        environment={"anonymous": True},
    )
    with RunWriter.create(tmp_path / "run", info) as writer:
        hidden = writer.append(record)
    assert load_run(tmp_path / "run").records == (hidden,)
    digits = anonymise(f"GPU-{UUID}")
    assert hidden.effective.device_uuid == hidden.telemetry["device"]["uuid"] == digits
    text = hidden.model_dump_json()
    assert UUID not in text
    assert str(Path.home()) not in text
    assert hidden.telemetry["other_processes"][0]["pid"] == 7


def test_an_anonymous_run_tells_neither_its_folder_nor_its_interpreter_and_goes_on(tmp_path, monkeypatch):
    script_the_workers(monkeypatch)
    monkeypatch.chdir(tmp_path)
    suite = tmp_path / "mine.yaml"
    suite.write_text("schema: 1\nname: mine\ndefaults: {device: cpu}\nmeasure: {repeats: 1}\n")
    request = RunRequest(load_suite(suite), out=tmp_path / "run", anonymous=True, budget_s=1e-9)
    info = start(request).info
    assert (info.suite_path, info.working_folder) == ("mine.yaml", None)
    for stored in sorted((tmp_path / "run").iterdir()):
        if stored.is_file():
            assert str(tmp_path) not in stored.read_text(), stored
    assert sys.prefix != info.interpreter
    assert resume(ResumeRequest(tmp_path / "run")).info.interpreter == info.interpreter
    monkeypatch.setattr("sys.prefix", "/another/python")
    with pytest.raises(UsageError, match="interpreter"):
        resume(ResumeRequest(tmp_path / "run"))
