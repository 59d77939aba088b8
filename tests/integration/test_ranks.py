"""Cases of several ranks, measured by real processes over gloo."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.hosting import NEEDS_TWO_RANKS

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import Status
from gpubench.store.run_reader import load_run
from gpubench.suite.model.workload_names import COLLECTIVES

ROOT = Path(__file__).parents[2]

pytestmark = [
    NEEDS_TWO_RANKS,
    pytest.mark.timeout(660),  # of one run that all tests look at, on a machine with other work
]

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
  - {workload: cnn, mode: train, image_size: 8, batch_size: 8, world_size: 1}
  - {workload: cnn, mode: train, image_size: 8, batch_size: 8}
  - {workload: cnn, mode: train, image_size: 8, batch_size: 8, scaling: strong}
  - {workload: cnn, mode: train, image_size: 8, batch_size: 7, scaling: strong}
  - {workload: cnn, image_size: 8, batch_size: 8}
%s
measure: {min_time: 50ms, max_time: 100ms, min_steps: 10, target_rel_ci: 50%%, repeats: 1, timeout: 60s}
contest: off
"""

NET = """\
import os, signal, time
import torch

class Net(torch.nn.Module):
    def __init__(self, does="nothing"):
        super().__init__()
        self.layer, self.does, self.steps = torch.nn.Linear(8, 4), does, 0

    def forward(self, values):
        rank = int(os.environ["RANK"])
        self.steps += self.training
        if rank == 1 and self.does == "waits" and self.training:
            time.sleep(0.1)
        if rank == 1 and self.steps > 8:
            if self.does == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.does == "raises":
                raise ArithmeticError("no more numbers")
            if self.does == "hangs":
                time.sleep(1000)
        return self.layer(values) * (1 + rank if self.does == "differs" else 1)
"""
DOES = ("is killed", "raises", "hangs", "waits", "differs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "net.py").write_text(NET)
    users = (f'{{workload: "net:Net", mode: train, input: "8", params: {{does: {does}}}}}' for does in DOES)
    included = "\n".join(f"  - {each}" for each in users)
    names = ", ".join(f'"collectives:{name}"' for name in COLLECTIVES)
    (folder / "ranks.yaml").write_text(SUITE % (names, included))
    done = subprocess.run(
        [sys.executable, "-m", "gpubench", "run", "ranks.yaml", "--store", "runs", "--json", "--no-report"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    (stored,) = (folder / "runs").iterdir()
    return folder, load_run(stored)


@pytest.fixture(scope="module")
def run(finished):
    return finished[1]


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


def of_net(run, does):
    return record_of(run, workload="net:Net", params={"does": does})


@pytest.mark.parametrize("scaling", ["weak", "strong"])
def test_ranks_together_learn_what_one_process_learns_from_the_same_batch(run, scaling):
    record = record_of(run, workload="cnn", mode="train", world_size=2, scaling=scaling, batch_size=8)
    assert (record.status, record.reason) == (Status.OK, None)
    assert record.metrics["ranks_loss_rel_error"] < 1e-5
    assert record.metrics["ranks_gradient_rel_error"] < 1e-5
    assert record.parity.passed


@pytest.mark.parametrize(("scaling", "samples"), [("weak", 16), ("strong", 8)])
def test_throughput_counts_the_samples_of_all_ranks(run, scaling, samples):
    record = record_of(run, workload="cnn", mode="train", world_size=2, scaling=scaling, batch_size=8)
    assert record.metrics["throughput"] == pytest.approx(samples / record.metrics["step_time_s"])
    assert record.effective.batch_size == 8


def test_each_rank_has_its_own_time_and_waits_for_the_sum(run):
    record = record_of(run, workload="cnn", mode="train", world_size=2, scaling="weak")
    assert all(0 < rank.own_time_low_s <= rank.own_time_s <= rank.own_time_high_s for rank in record.ranks)
    assert all(0 < rank.communication_share <= 1 for rank in record.ranks)
    assert record.metrics["own_time_s"] == max(rank.own_time_s for rank in record.ranks)


def test_in_inference_ranks_exchange_nothing_and_say_so(run):
    record = record_of(run, workload="cnn", mode="infer", world_size=2)
    assert record.status is Status.OK, record.reason
    assert record.metrics["communication_share"] is None
    assert record.absent["communication_share"] == "ranks exchange nothing in inference"


def test_efficiency_is_of_the_same_round_and_one_process(run):
    summary = summarise_run(run)
    found = {entry.planned.index: entry for entry in summary.cases}
    of_two = found[case_of(run, workload="cnn", mode="train", world_size=2, scaling="weak").index]
    of_one = found[case_of(run, workload="cnn", mode="train", world_size=1).index]
    expected = of_two.metrics["throughput"].value / (2 * of_one.metrics["throughput"].value)
    assert of_two.metrics["scaling_efficiency"].value == pytest.approx(expected)
    assert "scaling_efficiency" not in of_one.metrics


def test_a_batch_that_ranks_cannot_share_evenly_is_unsupported(run):
    record = record_of(run, batch_size=7)
    assert (record.status, record.reason) == (Status.UNSUPPORTED, "2 ranks cannot share a batch of 7 evenly")


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("is killed", r"rank 1 of 2 was ended by SIGKILL in \w+"),
        ("raises", r"rank 1 of 2: ArithmeticError: no more numbers"),
        ("hangs", r"rank 1 of 2 made no step for \d[\d.]+ s \(.*net\.py:\d+ in forward\)"),
    ],
)
def test_a_rank_that_fails_is_named_and_not_those_that_it_takes_with_it(run, does, said):
    record = of_net(run, does)
    assert record.status is Status.FAILED
    assert re.fullmatch(said, record.reason)
    assert record.wall_s < 55  # by itself, not by the timeout of a minute


def test_after_a_failed_rank_every_other_case_is_measured(run):
    planned = {case.index for case in run.info.cases if case.skip_status is None}
    assert {record.case_index for record in run.records} == planned


def test_no_rank_is_left_behind(finished):
    folder, _ = finished
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if (process / "cwd").resolve() == folder.resolve():
                left.append((process / "cmdline").read_bytes())
    assert left == []


def test_a_slow_rank_is_named_by_its_own_time_though_all_steps_take_equally_long(run):
    record = of_net(run, "waits")
    assert min(rank.step_time_s for rank in record.ranks) > 0.1
    (found,) = [found for found in record.findings if found.code == "GB214"]
    assert found.data["rank"] == 1
    assert found.data["own_time_s"] > 0.1


def test_ranks_that_compute_something_else_than_one_process_are_invalid(run):
    record = of_net(run, "differs")
    (found,) = [found for found in record.findings if found.code == "GB313"]
    assert found.effect == "invalidates"
    assert record.metrics["ranks_gradient_rel_error"] > 0.1
