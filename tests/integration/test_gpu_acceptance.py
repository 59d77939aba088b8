"""The acceptance script: with the real gpubench on this machine, and with a stand-in for it on one that has everything."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the script is for Linux")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "gpu_acceptance.sh"
STAND_IN = ROOT / "tests" / "fakes" / "acceptance_python.py"
SUITES = ("cnn", "roofline", "ablation", "inference", "resnet50", "cnn-limit", "cnn-accuracy")
GPU = "NVIDIA H100 80GB HBM3"

TINY = """\
schema: 1
name: cnn
defaults: {workload: "nap.py:Net", input: "8"}
matrix: {mode: [train], device: [cpu, cuda], precision: [fp32, amp-bf16], batch_size: [64]}
measure: {min_time: %s, max_time: 20s, target_rel_ci: 50%%, repeats: 1, parity: false}
"""


NET = """\
import time
import torch

class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(8, 4))

    def forward(self, values):
        time.sleep(0.02)  # others may have the processor
        return super().forward(values)
"""


class Script:
    """The script with a results folder of its own; what it left in it."""

    def __init__(self, folder, python, **environ):
        self.folder, self.out, self._python = folder, folder / "out", python
        self._environ = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache"), **environ}
        (folder / "suites").mkdir()

    def start(self, *arguments):
        return subprocess.Popen(
            [
                "bash",
                str(SCRIPT),
                "--out",
                str(self.out),
                "--suites",
                str(self.folder / "suites"),
                "--python",
                str(self._python),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self._environ,
        )

    def run(self, *arguments):
        """(exit status, what was printed)"""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=500)
        return process.returncode, said

    @property
    def rows(self):
        """Outcome, seconds and note of every part."""
        lines = (self.out / "table.txt").read_text().splitlines()[1:]
        return {line[:24].strip(): (line[25:36].strip(), int(line[45:51]), line[53:]) for line in lines}

    @property
    def outcomes(self):
        return {name: outcome for name, (outcome, _, _) in self.rows.items()}

    def unpacked(self):
        with tarfile.open(self.out / "gpu-acceptance.tar.gz") as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 has filters
            archive.extractall(self.folder / "unpacked")
        return self.folder / "unpacked"


class Staged(Script):
    """The script with the stand-in: a GPU, `tools`, and how long parts take and how they end."""

    def __init__(self, folder):
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{STAND_IN}" "$@"\n')
        python.chmod(0o755)
        super().__init__(folder, python, FAKE_CALLS=str(folder / "calls"))
        self.plan(gpu=GPU)

    def plan(self, *, gpu=GPU, tools=(), seconds=None, status=None):
        plan = {"gpu": gpu, "tools": tools, "seconds": seconds or {}, "status": status or {}}
        self._environ["FAKE_PLAN"] = json.dumps(plan)

    def calls(self):
        """Commands since the last look, without those that only ask."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines()
        path.unlink()
        return [line for line in lines if line.startswith("-m") and "--version" not in line]


@pytest.fixture
def staged(tmp_path):
    return Staged(tmp_path)


@pytest.fixture
def real(tmp_path):
    """With one suite that works, for the sake of time."""
    script = Script(tmp_path, sys.executable)
    for name in SUITES:
        (tmp_path / "suites" / f"{name}.yaml").write_text("schema: 1\n")
    return script


def _write_cnn(script, min_time):
    (script.folder / "suites" / "nap.py").write_text(NET)
    (script.folder / "suites" / "cnn.yaml").write_text(TINY % min_time)


def _pretend_that_the_doctor_was_seen(script):
    """Its self-test loads all cores for ten seconds."""
    (script.out / "parts").mkdir(parents=True)
    (script.out / "parts" / "doctor").write_text("done\n1\nok\n\n")


def test_on_a_gpu_every_part_is_done_once_and_its_row_stays_in_the_table(staged):
    staged.plan(tools=["ncu"])
    status, said = staged.run("--budget", "30")
    assert (status, f"GPU: {GPU}" in said) == (0, True), said
    outcomes = staged.outcomes
    assert outcomes.pop("profile-bf16-nsys") == "skipped"
    assert staged.rows["profile-bf16-nsys"][2] == "nsys was not found"
    assert set(outcomes.values()) == {"ok"}
    assert {*SUITES, "tests", "doctor", "profile-bf16-ncu"} <= outcomes.keys()
    assert staged.rows["cnn"][2] == "2 of 2 cases complete"
    assert staged.rows["tests"][2] == "4 passed"
    assert (staged.unpacked() / "doctor.json").read_text() == "doctor did what it does\n"
    calls = staged.calls()
    assert any(
        "profile" in call and "--tool ncu" in call and "device=cuda and precision=amp-bf16" in call for call in calls
    )
    rows = staged.rows
    status, _ = staged.run("--budget", "30")
    assert (status, staged.calls(), staged.rows) == (0, [], rows)


def test_without_a_gpu_its_parts_are_skipped_with_what_torch_says(staged):
    staged.plan(gpu=None, tools=["nsys", "ncu"])
    status, said = staged.run()
    assert status == 0, said
    for part in ("tests", "ablation", "resnet50", "cnn-limit", "profile-bf16-nsys", "profile-bf16-ncu"):
        assert staged.rows[part][::2] == ("skipped", "no CUDA device: Found no NVIDIA driver on your system")
    assert staged.outcomes["cnn"] == staged.outcomes["doctor"] == "ok"
    assert any("roofline.yaml" in call and "device=cpu" in call for call in staged.calls())


def test_a_part_that_fails_loses_no_other_and_shows_in_the_exit_status(staged):
    staged.plan(status={"cnn": 2, "tests": 1, "doctor": 1, "roofline": 3})
    status, _ = staged.run()
    assert status == 1
    outcomes = staged.outcomes
    assert (outcomes["cnn"], outcomes["tests"], outcomes["doctor"], outcomes["roofline"]) == (
        "failed 2",
        "failed 1",
        "failed 1",
        "ok, rows",
    )
    assert {outcomes[name] for name in ("ablation", "profile-bf16-torch", "cnn-accuracy")} == {"ok"}
    staged.calls()
    staged.plan()
    status, _ = staged.run()
    assert status == 1, "the tests that failed are a result"
    assert [call.split()[2].rpartition("/")[2] for call in staged.calls()] == ["doctor", "doctor", "run"]
    assert (staged.outcomes["cnn"], staged.outcomes["tests"]) == ("ok", "failed 1")
    assert staged.rows["tests"][2] == "1 failed, 3 passed"


@pytest.mark.slow
def test_a_run_gets_its_share_and_at_last_what_others_left_over(staged):
    staged.plan(seconds={"cnn": 14.0})
    status, said = staged.run("--budget", "1.2")
    assert status == 0
    assert said.index("partly") < said.index("cnn-accuracy"), "first its share of 10 s"
    assert staged.outcomes["cnn"] == "ok"
    assert 14 <= staged.rows["cnn"][1] <= 20
    runs = [call for call in staged.calls() if "runs/cnn " in call]
    assert len(runs) == 2
    assert "--resume" in runs[1]


@pytest.mark.slow
def test_a_call_that_must_be_short_leaves_the_rest_to_the_next_one(staged):
    """A part that cannot go on is not begun where the call would cut it; a run and tests are, and go on."""
    staged.plan(seconds={"tests": 32.0, "roofline": 9.0})
    began = time.monotonic()
    status, _ = staged.run("--budget", "30", "--call", "0.4")
    assert status == 0
    assert time.monotonic() - began < 32, "the tests alone would have taken that long"
    assert staged.outcomes["tests"] == "partly"
    assert staged.rows["tests"][2] == "2 passed"
    assert staged.rows["doctor"][::2] == ("left out", "for the next call")
    assert len(staged.calls()) == 1
    status, _ = staged.run("--budget", "30", "--call", "10")
    assert status == 0
    assert set(staged.outcomes.values()) == {"ok", "skipped"}
    assert staged.rows["tests"][2] == "4 passed"
    assert "--deselect=tests/gpu/test_x.py::b" in staged.calls()[0]


def test_the_plan_names_every_part_with_its_time_and_its_call_and_starts_nothing(staged):
    status, said = staged.run("--plan", "--budget", "26", "--call", "9")
    assert status == 0, said
    rows = [line.split() for line in said.splitlines()[1:-1]]
    assert [row[0] for row in rows[:4]] == ["tests", "doctor", "roofline", "cnn"], "the most valuable come first"
    assert {*SUITES, "tests", "doctor"} <= {row[0] for row in rows}
    planned_s = [int(row[3]) for row in rows]
    assert 26 * 60 * 0.9 < sum(planned_s) <= 26 * 60
    assert max(planned_s) < 9 * 60 - 40, "each fits into a call"
    calls = [int(row[6].rstrip(",")) for row in rows]
    assert calls == sorted(calls)
    assert set(calls) == {1, 2, 3}
    assert not (staged.folder / "calls").exists()
    assert not staged.out.exists()


def test_carried_wheels_are_installed_for_the_script_alone(staged):
    (staged.folder / "wheels").mkdir()
    (staged.folder / "wheels" / "x-1-py3-none-any.whl").touch()
    status, said = staged.run("--wheels", str(staged.folder / "wheels"))
    assert status == 0, said
    (installed,) = [call for call in staged.calls() if "pip install" in call]
    assert f"--target {staged.out}/site" in installed
    staged.plan(status={"pip": 1})
    status, said = staged.run("--wheels", str(staged.folder / "wheels"))
    assert status == 2
    assert "cannot be installed" in said


def test_what_was_running_when_everything_was_killed_counts_what_it_took(staged):
    (staged.out / "parts").mkdir(parents=True)
    (staged.out / "logs").mkdir()
    state, log = staged.out / "parts" / "doctor", staged.out / "logs" / "doctor.log"
    state.write_text("running\n10\nrunning\n\n")
    log.write_text("looking\n")
    os.utime(state, (time.time() - 200, time.time() - 200))
    os.utime(log, (time.time() - 100, time.time() - 100))
    status, said = staged.run("--budget", "30")
    assert "110 s of them spent" in said
    assert status == 0, "less than its share was left of it, and it is not done again"
    assert staged.rows["doctor"] == ("cut off", 110, "it was killed")
    assert staged.outcomes["tests"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_running_part_at_once_and_the_archive_can_be_gone_on_with(staged, number):
    staged.plan(seconds={"roofline": 6.0})
    process = staged.start("--budget", "60")
    until = time.monotonic() + 30
    while not (staged.out / "runs" / "roofline").exists() and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "interrupted: run the same command again to go on" in said
    assert staged.outcomes["roofline"] == "interrupted"
    assert staged.outcomes["cnn"] == "left out"
    staged.calls()
    staged.out = staged.unpacked()
    status, _ = staged.run("--budget", "60")
    assert status == 0
    assert "--resume" in staged.calls()[0]
    assert staged.outcomes["roofline"] == "ok"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_gpubench_does_its_parts_and_the_archive_holds_runs_that_can_be_read(real):
    _write_cnn(real, "0.1s")
    _pretend_that_the_doctor_was_seen(real)
    status, said = real.run("--budget", "40")
    assert status == 1, said
    outcomes = real.outcomes
    assert outcomes["cnn"] == "ok", real.rows
    assert outcomes["profile-bf16-torch"] == "ok", real.rows
    assert outcomes["inference"] == "failed 2"
    assert real.rows["cnn"][2] == "1 of 1 cases complete"
    unpacked = real.unpacked()
    for command in (["show"], ["report", "-o", "-"]):
        shown = subprocess.run(
            [sys.executable, "-m", "gpubench", command[0], str(unpacked / "runs" / "cnn"), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            timeout=60,
        )
        assert shown.returncode == 0, shown.stderr
        assert "samples/s" in shown.stdout


@pytest.mark.slow
def test_an_interrupt_reaches_the_real_gpubench_which_keeps_what_it_has_measured(real):
    _write_cnn(real, "3s")
    _pretend_that_the_doctor_was_seen(real)
    records = real.out / "runs" / "cnn" / "records.jsonl"
    process = real.start("--budget", "60")
    until = time.monotonic() + 120
    while not (records.is_file() and records.stat().st_size) and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(1)  # into the next launch
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert real.outcomes["cnn"] == "interrupted", real.rows
    assert (real.unpacked() / "runs" / "cnn" / "records.jsonl").stat().st_size


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--budget", "soon"), "--budget takes minutes"),
        (("--call", "1.2.3"), "--call takes minutes"),
        (("--fast",), "unknown option --fast"),
        (("--python", "/nowhere/python"), "cannot run gpubench"),
    ],
)
def test_wrong_use_exits_with_2(tmp_path, arguments, said):
    done = subprocess.run(
        ["bash", str(SCRIPT), *arguments], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=30
    )
    assert done.returncode == 2
    assert said in done.stderr
