"""Cases of several ranks, measured by real processes over gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.core.records import Status
from gpubench.store.run_reader import load_run
from gpubench.suite.model.workload_names import COLLECTIVES

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="two ranks need two CPUs, and Linux to fork"
)

SUITE = """\
schema: 1
name: ranks
defaults: {mode: infer, world_size: 2, batch_size: 1, shape: 4KiB, cpu_threads: 1}
matrix: {workload: [%s]}
include:
  - {workload: "collectives:all_reduce", precision: bf16}
  - {workload: "collectives:all_reduce", backend: nccl}
  - {workload: "collectives:all_reduce", world_size: 4000}
  - {workload: "operators:matmul", shape: 16}
measure: {min_time: 50ms, max_time: 100ms, min_steps: 10, target_rel_ci: 50%%, repeats: 1, timeout: 60s}
contest: off
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "ranks.yaml").write_text(SUITE % ", ".join(f'"collectives:{name}"' for name in COLLECTIVES))
    done = subprocess.run(
        [sys.executable, "-m", "gpubench", "run", "ranks.yaml", "--store", "runs", "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout, done.stderr
    json.loads(done.stdout)
    (stored,) = (folder / "runs").iterdir()
    return load_run(stored)


def case_of(run, **settings):
    return next(case for case in run.info.cases if all(case.settings[name] == settings[name] for name in settings))


def record_of(run, **settings):
    index = case_of(run, **settings).index
    return next(record for record in run.records if record.case_index == index)


@pytest.mark.parametrize("name", COLLECTIVES)
def test_every_element_of_every_rank_is_what_the_collective_says(run, name):
    record = record_of(run, workload=f"collectives:{name}", precision="fp32")
    assert (record.status, record.reason) == (Status.OK, None)
    assert record.parity.passed
    assert record.parity.logits_rel_error == 0
    assert [rank.rank for rank in record.ranks] == [0, 1]
    assert len({rank.pid for rank in record.ranks}) == 2


def test_times_are_those_of_the_slowest_rank_and_a_call_of_all_ranks_is_one_sample(run):
    record = record_of(run, workload="collectives:all_to_all")
    slowest_s = max(rank.step_time_s for rank in record.ranks)
    assert record.metrics["step_time_s"] == slowest_s
    assert record.metrics["throughput"] == pytest.approx(1 / slowest_s)
    assert record.metrics["algbw"] == pytest.approx(4096 / slowest_s)
    assert record.metrics["busbw"] == pytest.approx(2048 / slowest_s)


def test_bf16_is_sent_as_bf16(run):
    record = record_of(run, workload="collectives:all_reduce", precision="bf16")
    assert record.status is Status.OK, record.reason
    assert record.effective.compute_dtype == "bfloat16"
    assert record.effective.extra["message_bytes"] == 4096


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"backend": "nccl"}, "on a CPU it is gloo"), ({"world_size": 4000}, "4000 ranks need a CPU each")],
)
def test_ranks_that_this_machine_has_no_devices_for_are_skipped_with_the_reason(run, settings, said):
    case = case_of(run, **settings)
    assert case.skip_status is Status.SKIPPED
    assert said in case.skip_reason


def test_a_workload_that_cannot_be_one_of_several_says_so_once(run):
    record = record_of(run, workload="operators:matmul")
    assert record.status is Status.UNSUPPORTED
    assert record.reason == "operators:matmul cannot be one of several ranks; leave `world_size` at 1"
