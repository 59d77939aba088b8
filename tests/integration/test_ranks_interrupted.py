"""A run of several ranks that is interrupted or killed: it ends at once, keeps what it has, and leaves no process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.hosting import NEEDS_TWO_RANKS, is_alive

from gpubench.core.records import Status
from gpubench.store.run_reader import load_run

ROOT = Path(__file__).parents[2]

pytestmark = [
    NEEDS_TWO_RANKS,
    pytest.mark.timeout(300),
]

SUITE = """\
schema: 1
name: long
defaults: {workload: "net:Net", mode: train, input: "8", world_size: 2, batch_size: 8, cpu_threads: 1}
matrix: {strategy: [%s]}
measure: {min_time: 100s, max_time: 200s, target_rel_ci: 0.001%%, repeats: 1, timeout: 250s}
contest: off
"""
NET = """\
import os
import torch

class Net(torch.nn.Module):
    # Each rank says its process and the one that started it once it has done some steps.
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
        self.steps = 0

    def forward(self, values):
        self.steps += 1
        if self.steps == 40:
            with open(f"{os.getpid()}.part", "w") as file:
                file.write(f"{os.environ['RANK']} {os.getppid()}")
            os.rename(f"{os.getpid()}.part", f"{os.getpid()}.steps")
        return self.layers(values)
"""


class Running:
    """A run whose ranks do step after step."""

    def __init__(self, folder, strategies="ddp"):
        (folder / "net.py").write_text(NET)
        (folder / "long.yaml").write_text(SUITE % strategies)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpubench", "run", "long.yaml", "--store", "runs", "--no-report"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 120
        while len(found := list(folder.glob("*.steps"))) < 2:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.pids = {int(file.read_text().split()[0]): int(file.stem) for file in found}
        self.agent = int(found[0].read_text().split()[1])

    def end(self, seconds=60):
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def stored(self):
        (path,) = (self.folder / "runs").iterdir()
        return load_run(path)

    def left(self, seconds=20):
        """Processes of the run that are still there after some seconds."""
        deadline = time.monotonic() + seconds
        pids = [*self.pids.values(), self.agent]
        while time.monotonic() < deadline and any(map(is_alive, pids)):
            time.sleep(0.05)
        return [pid for pid in pids if is_alive(pid)]


@pytest.mark.parametrize(("number", "strategy"), [(signal.SIGINT, "ddp"), (signal.SIGTERM, "fsdp2")])
def test_a_signal_ends_all_ranks_after_the_same_step_and_keeps_what_they_measured(tmp_path, number, strategy):
    run = Running(tmp_path, strategy)
    run.process.send_signal(number)
    ended, out, err = run.end()
    assert ended == 130, err
    assert "--resume" in out
    assert run.left() == []
    (record,) = run.stored().records
    assert "GB104" in {entry.code for entry in record.findings}
    assert record.metrics["step_time_s"] > 0
    assert [rank.rank for rank in record.ranks] == [0, 1]


def test_a_killed_run_leaves_no_rank(tmp_path):
    run = Running(tmp_path)
    run.process.kill()
    run.end()
    assert run.left() == []


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_killed_from_outside_is_named_and_its_companion_ended(tmp_path, rank):
    run = Running(tmp_path, "tp")
    os.kill(run.pids[rank], signal.SIGKILL)
    status, _, err = run.end()
    assert status == 3, err
    (record,) = run.stored().records
    assert record.status is Status.FAILED
    assert f"rank {rank} of 2" in record.reason
    assert "was ended by SIGKILL in measuring" in record.reason
    assert run.left() == []


def test_a_rank_that_stops_answering_is_named_while_the_other_waits_for_it(tmp_path):
    run = Running(tmp_path, "fsdp2")
    os.kill(run.pids[1], signal.SIGSTOP)
    status, _, err = run.end()
    assert status == 3, err
    (record,) = run.stored().records
    assert record.status is Status.FAILED
    assert "rank 1 of 2" in record.reason
    assert "made no step for" in record.reason
    assert "it does not answer" in record.reason
    assert run.left() == []


def test_ranks_whose_agent_is_killed_end_with_it(tmp_path):
    run = Running(tmp_path, "tp")
    os.kill(run.agent, signal.SIGKILL)
    status, _, err = run.end()
    assert status == 3, err
    (record,) = run.stored().records
    assert record.status is Status.FAILED
    assert run.left() == []
