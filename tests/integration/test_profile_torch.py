"""The torch route from the plan to the summary, on the CPU."""

import json
import os
from pathlib import Path

import pytest

from gpubench.cli.main import main
from gpubench.profile.capture import capture_case
from gpubench.profile.capture.run_tool import SessionError
from gpubench.protocol.profile_job import ProfileJob
from gpubench.suite.model.case import Case

SECRET = "hunter2-planted"


def job(folder: Path, **case) -> ProfileJob:
    settings = {"workload": "cnn", "batch_size": 8, "cpu_threads": 1, **case}
    return ProfileJob(
        tool="torch",
        case=Case(**settings),
        suite="s",
        label="train cpu",
        steps=3,
        warmup_steps=2,
        warmup_s=0,
        folder=folder,
    )


def test_a_case_on_the_cpu_is_profiled_with_torch(tmp_path: Path):
    environ = {**os.environ, "MY_API_TOKEN": SECRET}
    made = capture_case.plan(job(tmp_path / "out"), "auto", environ=environ)
    assert made.tool is None
    assert "MY_API_TOKEN" in made.withheld
    captured = capture_case.run(made, timeout_s=240)
    summary = captured.summary
    assert (summary.tool, summary.steps, summary.devices) == ("torch", 3, ())
    assert [each.name for each in summary.host_phases] == ["data", "h2d", "forward", "loss", "backward", "optimizer"]
    assert sum(each.share for each in summary.host_phases) > 0.5  # a busy machine stops between phases too
    assert captured.result.effective.precision == "fp32"
    assert summary.perturbation.measured_step_time_s == captured.result.step_time_before_s
    assert captured.trace.name == "trace.json.gz"
    for path in (tmp_path / "out").iterdir():
        assert SECRET.encode() not in path.read_bytes(), path
    capture_case.tidy(made, captured, keep_trace=False)
    assert not captured.trace.exists()


def test_a_case_that_cannot_run_says_why(tmp_path: Path):
    made = capture_case.plan(job(tmp_path, workload="torchvision:no_such_model"), "torch")
    with pytest.raises(SessionError, match=r"The case could not be profiled \(failed\).*no_such_model"):
        capture_case.run(made, timeout_s=240)


def test_a_worker_that_dies_is_told_by_its_log(tmp_path: Path):
    (tmp_path / "crashing.py").write_text(
        "import os\nclass Crash:\n    def build(self, case, device):\n"
        "        print('going down', flush=True)\n        os._exit(7)\n"
    )
    dying = job(tmp_path / "out", workload="crashing:Crash").model_copy(update={"search_path": (str(tmp_path),)})
    with pytest.raises(SessionError, match=r"without a result \(exit status 7\)[\s\S]*going down"):
        capture_case.run(capture_case.plan(dying, "torch"), timeout_s=240)


def test_a_worker_that_hangs_is_ended(tmp_path: Path):
    (tmp_path / "hanging.py").write_text(
        "import time\nclass Hang:\n    def build(self, case, device):\n"
        "        print('waiting', flush=True)\n        time.sleep(600)\n"
    )
    hanging = job(tmp_path / "out", workload="hanging:Hang").model_copy(update={"search_path": (str(tmp_path),)})
    with pytest.raises(SessionError, match="took longer than 6 s and was ended"):
        capture_case.run(capture_case.plan(hanging, "torch"), timeout_s=6)


WORKLOAD = """
import torch

class Mine:
    phases = None

    def build(self, case, device):
        layer = torch.nn.Linear(16, 16).to(device)
        images = torch.randn(case.batch_size, 16, device=device)
        def step():
            with self.phases("forward"):
                loss = layer(images).square().mean()
            with self.phases("backward"):
                loss.backward()
        return step
"""
SUITE = """
schema: 1
name: mine
defaults: {workload: "beside:Mine", device: cpu, cpu_threads: 1}
matrix: {batch_size: [2, 4]}
"""


def test_a_workload_next_to_the_suite_is_profiled_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "beside.py").write_text(WORKLOAD)
    (tmp_path / "suite.yaml").write_text(SUITE)
    store = tmp_path / "store"
    arguments = [
        str(tmp_path / "suite.yaml"),
        "-s",
        "batch_size=8",
        "--steps",
        "3",
        "--memory",
        "--store",
        str(store),
        "--json",
    ]
    assert main(["profile", *arguments, "--no-keep-trace"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    (folder,) = store.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["profile.json", "profile.log"]
    assert json.loads((folder / "profile.json").read_text()) == document
    assert (document["steps"], document["case"]["batch_size"]) == (3, 8)
    assert [each["name"] for each in document["host_phases"]] == ["forward", "backward"]
    assert "No snapshot of allocations: torch records those of CUDA devices, and this case ran on cpu." in printed.err
