"""A run that is killed, interrupted and resumed: what was finished is never lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.hosting import is_alive

from gpubench.cli.main import main
from gpubench.core.records import Status
from gpubench.runner.launch.worker_hosts import Host
from gpubench.store.run_reader import load_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host forks on Linux only")

FAKES = Path(__file__).parents[1] / "fakes" / "workloads.py"
ROOT = Path(__file__).parents[2]
SUITE = """\
schema: 1
name: steady
matrix:
  workload: ["workloads:Sleeper"]
  batch_size: [1, 2, 4]
measure: {min_time: %s, max_time: %s, target_rel_ci: 50%%, repeats: 1, timeout: 100s}
contest: off
"""


class Run:
    """A `gpubench` in the background; its stderr is read line by line."""

    def __init__(self, folder, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpubench", "run", "--store", str(folder / "runs"), "--no-report", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, text):
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError(f"it ended ({self.process.wait()}) without saying {text!r}")

    def end(self):
        """(exit status, stdout, the rest of stderr)"""
        out, err = self.process.communicate(timeout=100)
        return self.process.returncode, out, err


def _suite(folder, min_time, max_time):
    (folder / "workloads.py").write_text(FAKES.read_text())
    path = folder / "steady.yaml"
    path.write_text(SUITE % (min_time, max_time))
    return str(path)


def _gone(pid, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and is_alive(pid):
        time.sleep(0.02)
    return not is_alive(pid)


def _only_run(folder):
    (path,) = (folder / "runs").iterdir()
    return path


def test_a_killed_run_keeps_what_it_finished_and_an_interrupted_one_what_it_began(tmp_path):
    suite = _suite(tmp_path, "4s", "5s")
    killed = Run(tmp_path, suite)
    killed.wait_for("[1/3]")
    killed.process.kill()
    killed.end()
    stored = load_run(_only_run(tmp_path))
    assert [record.status for record in stored.records] == [Status.OK]
    assert _gone(stored.records[0].host_pid), "the worker host must end with its parent"

    resumed = Run(tmp_path, "--resume", "@last")
    resumed.wait_for("ready after")
    resumed.wait_for("[2/3]")
    time.sleep(1.5)  # the third launch is measuring by now; if it is not, there is nothing of it to store
    resumed.process.send_signal(signal.SIGINT)
    status, out, _ = resumed.end()
    assert status == 130
    assert "--resume" in out
    stored = load_run(_only_run(tmp_path))
    assert [record.status for record in stored.records[:2]] == [Status.OK, Status.OK]
    for record in stored.records[2:]:
        assert "GB104" in {entry.code for entry in record.findings}

    status, _, err = Run(tmp_path, "--resume", "@last").end()
    assert status == 0, err
    finished = load_run(_only_run(tmp_path))
    whole = [record for record in finished.records if "GB104" not in {entry.code for entry in record.findings}]
    assert sorted(record.case_index for record in whole) == [1, 2, 3]


def _begun(folder):
    """A run that has a folder and a head, and is not planned yet: its host is importing torch."""
    run = Run(folder, _suite(folder, "50s", "60s"))
    deadline = time.monotonic() + 60
    while not list(folder.glob("runs/*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_plan_leaves_nothing_behind(tmp_path, number):
    run = _begun(tmp_path)
    run.process.send_signal(number)
    status, _, err = run.end()
    assert (status, err.strip().splitlines()[-1:]) == (130, ["error: interrupted"])
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_killed_before_its_plan_says_that_nothing_is_missing(tmp_path):
    run = _begun(tmp_path)
    run.process.kill()
    run.end()
    status, _, err = Run(tmp_path, "--resume", "@last").end()
    assert status == 2
    assert "was stopped before it was planned" in err


def test_what_the_time_budget_leaves_out_is_named_and_measured_on_resume_with_its_own_code_from_any_folder(tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
        (folder / "workloads.py").write_text(FAKES.read_text())
    (elsewhere / "workloads.py").write_text("raise RuntimeError('the wrong code')\n")
    (home / "steady.yaml").write_text(SUITE % ("100ms", "1s"))
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *command], cwd=home, check=True)
    store = ["--store", str(home / "runs")]
    status, _, err = Run(home, "steady.yaml", "--budget", "0.1s").end()
    assert status == 3, err  # no case gave a figure
    assert "the time budget was used up: 3 launches were left out" in err
    stored = load_run(_only_run(home))
    assert {record.status for record in stored.records} == {Status.SKIPPED}
    assert {entry.code for record in stored.records for entry in record.findings} == {"GB105"}

    assert not stored.info.environment["git"]["dirty"]

    (home / "workloads.py").write_text(FAKES.read_text() + "\n\n")
    status, _, err = Run(elsewhere, "--resume", "@last", *store).end()
    assert status == 0, err
    run = load_run(_only_run(home))
    assert run.info.environment["git"]["dirty"], "it is of the code that was measured"
    assert [record.status for record in run.records].count(Status.OK) == 3
    assert [Path(file) for file in run.info.workload_files] == [home / "workloads.py"]
    assert len({record.workload_digest for record in run.records if record.status is Status.OK}) == 1

    (home / "workloads.py").write_text(FAKES.read_text() + "\n")
    status, _, err = Run(elsewhere, "--resume", "@last", *store).end()
    assert status == 2
    assert "workloads.py was changed" in err
    status, _, err = Run(elsewhere, "--resume", "@last", "--force", *store).end()
    assert status == 0
    assert "continues although it differs" in err


def test_a_second_ctrl_c_ends_the_run_at_once(tmp_path):
    run = Run(tmp_path, _suite(tmp_path, "50s", "60s"))
    run.wait_for("ready after")
    run.wait_for("Run ")
    time.sleep(2)
    began = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    run.process.send_signal(signal.SIGINT)
    status, _, err = run.end()
    assert status == 130, err
    assert time.monotonic() - began < 40, "the launch itself would have taken 50 s"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a suite or target to run, or a run to --resume"),
        (("cnn", "--resume", "@last"), "name a suite or target to run, or a run to --resume"),
        (("no-such-suite",), "no-such-suite"),
        (("--resume", "no-such-run"), "no-such-run"),
        (("cnn-smoke", "-k", "precision=fp61"), "fp61"),
        (("cnn-smoke", "-k", "batch_size=7"), "has no case that matches"),
        (("cnn-smoke", "--case", "0123456789"), "the suite has no case '0123456789'"),
        (("cnn-smoke", "--case", "0123456789", "-k", "device=cpu"), "-k and --case exclude each other"),
        (("--resume", "@last", "--case", "0123456789"), "--resume cannot be combined with -s, -k, --case"),
        (("cnn-smoke", "--budget", "soon"), "expected a duration"),
        (("cnn-smoke", "--out", "/dev/null/run"), "/dev/null/run"),
        (("cnn-smoke", "--tag", "@last"), "a tag may contain letters"),
        (("cnn-smoke", "--tag", "a:b"), "a tag may contain letters"),
        (("--resume", "@last", "--repeats", "5"), "cannot be combined with --repeats"),
    ],
)
def test_wrong_use_says_what_is_wrong_and_exits_with_2_before_any_worker_starts(
    tmp_path, monkeypatch, capsys, arguments, said
):
    def start_no_host(*_args, **_kwargs):
        raise AssertionError("a worker was started")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Host, "_start", start_no_host)
    status = main(["run", "--store", str(tmp_path / "runs"), "--no-report", *arguments])
    out, err = capsys.readouterr()
    assert status == 2
    assert said in err
    assert out == ""
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
