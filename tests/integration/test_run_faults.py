"""One run in which nearly everything goes wrong that can, and every case is a row all the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.core.records import Status
from gpubench.store.run_reader import load_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host forks on Linux only")

FAKES = Path(__file__).parents[1] / "fakes" / "workloads.py"
ROOT = Path(__file__).parents[2]

SUITE = """\
schema: 1
name: faults
matrix:
  workload: [%s]
include:
  - {workload: "workloads:ReadsItsEnvironment", env: {GPUBENCH_TEST_FLAVOUR: vanilla}}
  - {workload: "workloads:Sleeper", python: /no/such/python}
  - {workload: "workloads:Counts", device: cuda}
measure: {min_time: 0.1s, max_time: 0.5s, min_steps: 10, target_rel_ci: 50%%, repeats: 1, timeout: 10s}
contest: off
"""
NAMES = (
    "Sleeper",
    "Raises",
    "RaisesInBuild",
    "Cannot",
    "Exits",
    "ExitsHard",
    "Prints",
    "TakesTheOutputAway",
    "RaisesWithoutOutput",
    "ClosesTheOutput",
    "GrowsInPython",
    "Segfaults",
    "Hangs",
    "HangsAtItsEnd",
    "KillsItself",
    "KillsItsHost",
    "TalksNonsense",
    "TearsItsMessage",
    "LeavesProcess",
    "NoSuchClass",
)


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    (folder / "workloads.py").write_text(FAKES.read_text())
    suite = folder / "faults.yaml"
    suite.write_text(SUITE % ", ".join(f'"workloads:{name}"' for name in NAMES))
    done = subprocess.run(
        [sys.executable, "-m", "gpubench", "run", str(suite), "--store", str(folder / "runs"), "--seed", "1", "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    (run,) = (folder / "runs").iterdir()
    return done, load_run(run)


def record(faults, name, **settings):
    _, run = faults
    wanted = {"workload": f"workloads:{name}", **settings}
    (case,) = [case for case in run.info.cases if all(case.settings[key] == value for key, value in wanted.items())]
    return next(record for record in run.records if record.case_index == case.index)


def test_the_run_goes_on_to_its_end_and_exits_with_3(faults):
    done, run = faults
    assert done.returncode == 3, done.stderr
    planned = {case.index for case in run.info.cases if case.skip_status is None}
    assert {record.case_index for record in run.records} == planned
    assert run.dropped == ()


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("Sleeper", Status.OK, None),
        ("Raises", Status.FAILED, "ZeroDivisionError: the third layer has no inputs"),
        ("RaisesInBuild", Status.FAILED, "ValueError: no such model"),
        ("Cannot", Status.UNSUPPORTED, "this workload needs a device with wheels"),
        ("Exits", Status.FAILED, "sys.exit(3)"),
        ("ExitsHard", Status.FAILED, "without a result (exit status 5)"),
        ("Prints", Status.OK, None),
        ("TakesTheOutputAway", Status.OK, None),
        ("RaisesWithoutOutput", Status.FAILED, "ValueError: no stream is left"),
        ("ClosesTheOutput", Status.FAILED, "ValueError: every stream is closed"),
        ("GrowsInPython", Status.OOM, "out of memory in"),
        ("Segfaults", Status.FAILED, "SIGSEGV"),
        ("Hangs", Status.TIMEOUT, "no result within 10.0 s"),
        ("HangsAtItsEnd", Status.OK, None),
        ("KillsItself", Status.FAILED, "SIGKILL"),
        ("KillsItsHost", Status.FAILED, "worker host"),
        ("TalksNonsense", Status.FAILED, "what cannot be a message"),
        ("TearsItsMessage", Status.FAILED, "its last message is torn"),
        ("LeavesProcess", Status.OK, None),
        ("NoSuchClass", Status.FAILED, "NoSuchClass"),
    ],
)
def test_every_end_of_a_case_is_a_row_that_says_why(faults, name, status, said):
    settings = {"python": None} if name == "Sleeper" else {}
    found = record(faults, name, **settings)
    assert found.status is status, found.reason
    assert said is None or said in found.reason
    if status is Status.OK:
        assert found.metrics["step_time_s"] > 0
        assert found.samples


def test_a_traceback_is_kept_in_the_folder_of_its_case(faults):
    _, run = faults
    found = record(faults, "Raises")
    text = (run.folder / found.failure.log).read_text()
    assert "ZeroDivisionError: the third layer has no inputs" in text
    assert "Traceback" in text


def test_trouble_after_the_figures_leaves_them_standing(faults):
    assert "GB102" in {entry.code for entry in record(faults, "HangsAtItsEnd").findings}


def test_an_environment_variable_of_a_case_reaches_its_worker(faults):
    assert record(faults, "ReadsItsEnvironment").status is Status.OK


def test_an_interpreter_that_is_not_there_is_a_failed_row(faults):
    _, run = faults
    (case,) = [case for case in run.info.cases if case.settings["python"]]
    assert case.skip_status is Status.FAILED
    assert "/no/such/python" in case.skip_reason


def test_a_device_that_is_not_there_is_skipped_with_the_reason(faults):
    _, run = faults
    (case,) = [case for case in run.info.cases if case.settings["device"] == "cuda"]
    if case.skip_status is not None:
        assert case.skip_reason.startswith("no CUDA device: ")


def test_a_host_that_died_was_replaced_and_said_so(faults):
    done, run = faults
    assert "the launch is done again" in done.stderr
    assert len({record.host_pid for record in run.records}) >= 3


def test_stdout_holds_one_json_document_and_nothing_a_workload_printed(faults):
    import jsonschema

    done, run = faults
    document = json.loads(done.stdout)
    schema = json.loads((ROOT / "schemas" / "run-document-1.json").read_text())
    jsonschema.validate(document, schema)
    assert document["run"]["name"] == run.info.run
    assert {case["status"] for case in document["cases"]} >= {"ok", "oom", "failed", "timeout", "unsupported"}


def test_the_report_was_written_all_the_same(faults):
    _, run = faults
    text = (run.folder / "report.md").read_text()
    assert "ZeroDivisionError" in text
