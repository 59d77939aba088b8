"""A fleet on this machine: agents that take turns on its CPU, one of which is slow, and agents of fake cards."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.nvml.control import OTHER_UUID, UUID

from gpubench.core.records import Status
from gpubench.store.run_reader import load_run

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(400)

SUITE = """\
schema: 1
name: waits
fleet: {retest_rounds: 3, slower_than: 50%}
defaults: {workload: "probe.py:Waits", cpu_threads: 1, batch_size: 4, device: cpu}
measure: {min_time: 50ms, max_time: 100ms, min_steps: 5, target_rel_ci: 50%, repeats: 2, timeout: 60s, parity: false}
contest: off
"""

PROBE = """\
import os, time

class Waits:
    def build(self, case, device):
        wait_s = 0.3 if os.environ["GPUBENCH_NODE"] == "1" else 0.01
        return lambda: time.sleep(wait_s)
"""


def run(folder, *options, **variables):
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "probe.py").write_text(PROBE)
    command = [sys.executable, "-m", "gpubench", "run", "suite.yaml", "--out", "run", "--json", *options]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), load_run(folder / "run")


def test_the_slow_one_of_five_agents_is_measured_again_and_named(tmp_path):
    document, stored = run(tmp_path, "--no-report", "--engine", "local", "-s", "cluster.nodes=5")
    verdicts = [card["verdict"] for card in document["fleet"]["cards"]]
    assert [place for place, verdict in enumerate(verdicts) if verdict == "slow"] == [1]
    assert {*verdicts} <= {"slow", "healthy", "not confirmed"}  # a busy machine may raise a suspicion of another
    assert "node 1" in document["headline"][0]
    again = [record for record in stored.records if record.kind == "retest"]
    assert sum(1 in {rank.rank for rank in record.ranks} for record in again) == 3
    assert all(len(record.ranks) == 2 for record in again)


def test_every_card_or_slice_of_a_machine_has_an_agent_that_sees_it_alone(tmp_path, fake_cuda):
    _, stored = run(
        tmp_path,
        "--no-report",
        "--allow-empty",
        "--engine",
        "local",
        "-s",
        "device=cuda",
        "-s",
        "measure.repeats=1",
        **fake_cuda(FAKE_GPUS=2, FAKE_MIG=1),
    )
    (record,) = stored.records
    assert record.status is Status.OK, record.reason
    found = [(rank.node, rank.device, rank.device_uuid) for rank in record.ranks]
    assert found == [(0, "cuda:0", f"GPU-{UUID}"), (0, "cuda:1", f"MIG-{OTHER_UUID}")]
    assert [rank.telemetry["power_limit_w"] for rank in record.ranks] == [700, 700]
    assert [rank.telemetry.get("throttled_power_cap", 0) > 0.5 for rank in record.ranks] == [False, True]
