"""Two agents on this machine: `cluster: {engine: local}`, real workers, gloo between the nodes."""

import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from fakes.hosting import NEEDS_TWO_RANKS

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import Status
from gpubench.store.run_reader import load_run

ROOT = Path(__file__).parents[2]
HOST = socket.gethostname()

pytestmark = [
    NEEDS_TWO_RANKS,
    pytest.mark.timeout(660),  # of one run that all tests look at, on a machine with other work
]

SUITE = """\
schema: 1
name: nodes
cluster: {engine: local, nodes: 2, ranks_per_node: 1, wait: 2m}
defaults: {mode: train, workload: cnn, image_size: 8, batch_size: 8, cpu_threads: 1, world_size: 2}
matrix: {world_size: [1, 2, 4]}
include:
  - {workload: "collectives:all_reduce", mode: infer, shape: 4KiB, batch_size: 1}
  - {workload: "killed.py:Net", input: "8", params: {does: rank}, world_size: 2}
  - {workload: "killed.py:Net", input: "8", params: {does: nothing}, world_size: 2}
  - {workload: "killed.py:Net", input: "8", params: {does: agent}, world_size: 2}
  - {workload: "killed.py:Net", input: "8", params: {does: nothing}, world_size: 2, batch_size: 4}
  - {workload: "killed.py:Net", input: "8", params: {does: nothing}, world_size: 1}
measure: {min_time: 50ms, max_time: 100ms, min_steps: 10, target_rel_ci: 50%, repeats: 1, timeout: 60s}
contest: off
"""

NET = """\
import os, signal
import torch

def parent_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])

class Net(torch.nn.Module):
    def __init__(self, does="nothing"):
        super().__init__()
        self.layer, self.does, self.steps = torch.nn.Linear(8, 4), does, 0

    def forward(self, values):
        self.steps += self.training
        if os.environ.get("RANK") == "1" and self.steps > 8:
            pid = os.getpid()
            if self.does == "agent":  # rank, elastic's agent, worker host, gpubench node
                for _ in range(3):
                    pid = parent_of(pid)
            if self.does != "nothing":
                os.kill(pid, signal.SIGKILL)
        return self.layer(values.flatten(1))
"""


def marked(mark):
    """Processes whose environment has the mark of a test."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(folder.name)
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "killed.py").write_text(NET)
    mark = f"mark-{uuid.uuid4()}"
    command = [sys.executable, "-m", "gpubench", "run", "suite.yaml", "--at-once", "1", "--out", "run", "--no-report"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "GPUBENCH_TEST_MARK": mark}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 3, done.stdout + done.stderr  # some cases fail, as they must
    return load_run(folder / "run"), mark, folder / "run"


def record(measured, **settings):
    cases = [
        case
        for case in measured[0].info.cases
        if all(getattr(case.case, name) == value for name, value in settings.items())
    ]
    return next((each for each in measured[0].records if each.case_index == cases[0].index), cases[0])


def test_two_nodes_train_together_and_each_rank_says_where_it_is(measured):
    found = record(measured, workload="cnn", world_size=2)
    assert found.status is Status.OK, found.reason
    assert [(rank.rank, rank.node, rank.host) for rank in found.ranks] == [(0, 0, HOST), (1, 1, HOST)]
    assert found.metrics["ranks_gradient_rel_error"] < 1e-3
    assert found.metrics["own_time_s"] > 0


def test_efficiency_is_against_one_process_on_a_node(measured):
    summary = summarise_run(measured[0])
    alone, both = (
        next(each.metrics for each in summary.cases if each.case.workload == "cnn" and each.case.world_size == size)
        for size in (1, 2)
    )
    expected = both["throughput"].value / alone["throughput"].value / 2
    assert both["scaling_efficiency"].value == pytest.approx(expected, rel=1e-6)


def test_a_collective_crosses_the_nodes_and_is_checked(measured):
    found = record(measured, workload="collectives:all_reduce")
    assert found.status is Status.OK, found.reason
    assert found.metrics["busbw"] > 0


def test_more_ranks_than_nodes_are_skipped(measured):
    found = record(measured, world_size=4)
    assert found.skip_reason == "4 ranks need 4 nodes with room for 1 rank each: there are 2"


def test_a_killed_rank_is_named_with_its_node_and_the_next_case_goes_on(measured):
    found = record(measured, params={"does": "rank"})
    assert found.reason.startswith(f"node 1 ({HOST}): rank 1 of 2 was ended by SIGKILL in ")
    assert found.wall_s < 30
    after = record(measured, params={"does": "nothing"}, world_size=2, batch_size=8)
    assert after.status is Status.OK, after.reason


def test_a_killed_agent_is_named_and_one_node_goes_on(measured):
    found = record(measured, params={"does": "agent"})
    assert found.reason == f"node 1 ({HOST}): its agent ended"
    assert found.wall_s < 30
    assert record(measured, params={"does": "nothing"}, batch_size=4).reason == f"node 1 ({HOST}): its agent ended"
    alone = record(measured, params={"does": "nothing"}, world_size=1)
    assert alone.status is Status.OK, alone.reason


def test_nothing_stays_behind(measured):
    assert marked(measured[1]) == []


def test_the_key_is_in_no_file_of_the_run(measured):
    environ = {path.name: path.read_text(errors="replace") for path in measured[2].rglob("*") if path.suffix == ".log"}
    assert not [name for name, text in environ.items() if "GPUBENCH_NODE_KEY" in text]
