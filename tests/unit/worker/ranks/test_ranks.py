"""What ranks make together: one launch's figures, the slow one's name, and the number of their steps."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gpubench.core.findings import finding
from gpubench.core.records import Parity, RankRecord, Window
from gpubench.protocol.join_results import joined
from gpubench.protocol.messages import Job, Result
from gpubench.runner.launch import check_message
from gpubench.stats.stopping_rule import StoppingRule
from gpubench.suite.model.case import Case
from gpubench.worker.checks.unsupported import refused_of_ranks
from gpubench.worker.job import RunningJob, Stop
from gpubench.worker.ranks import agent, board
from gpubench.worker.ranks.rank import case_of_rank, stack_file
from gpubench.worker.ranks.together import AgreedRule


def result(rank, step_s, own_s=0.010, *, exposed_s=0.001, spread=0.01, samples=8, **fields):
    record = RankRecord(
        rank=rank,
        device=f"cuda:{rank}",
        own_time_s=own_s,
        own_time_low_s=own_s * (1 - spread),
        own_time_high_s=own_s * (1 + spread),
        exposed_communication_s=exposed_s,
        communication_share=exposed_s / step_s,
    )
    metrics = {"step_time_s": step_s, "throughput": samples / step_s, "peak_memory_allocated_bytes": 100.0 - rank}
    window = Window(start_s=0, end_s=1, num_steps=10, num_samples=10 * samples)
    return Result(**{"metrics": metrics, "ranks": (record,), "window": window, **fields})


CASE = Case(world_size=3, batch_size=8)


def test_ranks_are_as_fast_as_the_slowest_and_do_the_samples_of_all():
    found = joined(CASE, [result(0, 0.020), result(1, 0.025), result(2, 0.020)])
    assert found.metrics["step_time_s"] == 0.025
    assert found.metrics["throughput"] == pytest.approx(24 / 0.025)
    assert found.window.num_samples == 240
    assert found.metrics["peak_memory_allocated_bytes"] == 100


def test_communication_is_that_of_the_rank_that_waits_least():
    found = joined(CASE, [result(0, 0.02, 0.010, exposed_s=0.009), result(1, 0.02, 0.018), result(2, 0.02, 0.011)])
    assert found.metrics["exposed_communication_s"] == 0.001
    assert found.metrics["own_time_s"] == 0.018
    assert found.metrics["rank_skew"] == pytest.approx(0.018 / 0.0105 - 1)


@pytest.mark.parametrize(
    ("own_s", "spread", "named"),
    [((0.010, 0.013, 0.010), 0.01, 1), ((0.010, 0.0105, 0.010), 0.001, None), ((0.010, 0.013, 0.010), 0.3, None)],
)
def test_a_straggler_is_named_if_it_is_a_tenth_slower_and_not_by_chance(own_s, spread, named):
    found = joined(CASE, [result(rank, 0.02, each, spread=spread) for rank, each in enumerate(own_s)])
    assert [each.data["rank"] for each in found.findings if each.code == "GB214"] == ([] if named is None else [named])


def test_a_finding_of_another_rank_than_the_slowest_is_told_with_its_number():
    noted = finding("GB305", "The logits differ.")
    found = joined(CASE, [result(0, 0.02), result(1, 0.02, findings=(noted,)), result(2, 0.03)])
    assert [each.message for each in found.findings] == ["Rank 1: The logits differ."]


def test_the_rank_that_is_furthest_off_decides_about_parity():
    def off(error, *, passed):
        return Parity(passed=passed, logits_rel_error=error, loss_rel_error=0, logits_limit=1e-5, loss_limit=1e-5)

    ranks = [
        result(0, 0.02, parity=off(1e-6, passed=True)),
        result(1, 0.02, parity=off(math.inf, passed=False)),
        result(2, 0.03),
    ]
    assert not joined(CASE, ranks).parity.passed


def test_a_rank_has_its_own_device_and_its_part_of_a_shared_batch():
    case = Case(device="cuda:2", world_size=4, batch_size=64, scaling="strong")
    assert [case_of_rank(case, rank).device for rank in (0, 3)] == ["cuda:2", "cuda:5"]
    assert case_of_rank(case, 1).batch_size == 16
    assert case_of_rank(case.model_copy(update={"scaling": "weak"}), 1).batch_size == 64


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mode": "infer", "timing": "latency"}, "timing: throughput"),
        ({"device": "cuda", "cuda_graph": True}, "CUDA graph"),
        ({"accumulate": 2}, "accumulate"),
        ({"batch_size": "max", "scaling": "strong"}, "give ranks a number"),
        ({"batch_size": 7, "scaling": "strong"}, "cannot share a batch of 7 evenly"),
    ],
)
def test_what_ranks_cannot_do_is_said(settings, said):
    assert said in refused_of_ranks(Case(world_size=2, **settings))
    assert refused_of_ranks(Case(world_size=2)) is None


INSIDE_TORCH = (
    f'Stack (most recent call first):\n  File "{Path(torch.__file__).parent}/autograd/graph.py", line 7 in run\n'
)


class _Others:
    """The other ranks: they take what the first one says."""

    def __init__(self, told):
        self.told = told

    def agree(self, value):
        self.told.append(value)
        return value


def test_no_block_is_longer_than_the_time_that_is_left():
    rule = AgreedRule(StoppingRule(max_time_s=2.0, min_steps=50), 0.5, _Others([]))
    assert not rule.due(3, 100.0)  # a clock alone ends no block: that of another rank shows something else
    assert rule.due(4, 0.0)


def test_what_the_first_rank_decides_is_told_with_the_number_of_groups_to_come():
    told = []
    rule = AgreedRule(StoppingRule(target_rel_ci=0.5, min_time_s=0.0, min_steps=10), 0.01, _Others(told))
    decision = rule.look([0.01] * 10, 0.1)
    assert told[-1] == (decision, 13)
    assert not rule.due(12, 0.1)
    assert rule.due(13, 0.1)


@pytest.fixture
def watched(tmp_path):
    """A watch over two ranks that are programs, and their rows of the board."""
    programs = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
    shown = board.Board(tmp_path / "board", 2)
    for rank, program in enumerate(programs):
        row = shown.row(rank)
        board.show_phase(row, "measuring")
        row[0] = program.pid
    job = Job(job=1, case=Case(world_size=2), log=os.devnull, scratch=str(tmp_path))
    launch = RunningJob(job, None, Stop())
    yield agent.RankWatch(launch, shown, tmp_path), shown, programs
    for program in programs:
        program.kill()
        program.wait()


def test_steps_that_go_on_are_no_hang_and_the_wish_to_stop_reaches_all_ranks(watched):
    watch, shown, _ = watched
    watch.look()
    assert watch.hung is None
    assert not shown.stopping
    watch.launch.stop.requested = True
    watch.look()
    assert shown.stopping


def test_the_rank_that_is_not_inside_torch_is_the_one_the_others_wait_for(watched, tmp_path, monkeypatch):
    watch, _, programs = watched
    monkeypatch.setattr(agent, "HANG_S", 0.05)
    monkeypatch.setattr(agent.one_rank, "SHOW_STACK", 0)
    stack_file(tmp_path, 0).write_text(INSIDE_TORCH)
    stack_file(tmp_path, 1).write_text('Stack (most recent call first):\n  File "/me/net.py", line 12 in forward\n')
    time.sleep(0.1)
    watch.look()
    assert watch.hung.reason.startswith("rank 1 of 2 made no step for ")
    assert watch.hung.reason.endswith("(/me/net.py:12 in forward)")
    assert watch.hung.phase == "measuring"
    assert programs[1].wait(10) != 0
    assert programs[0].poll() is None


def test_a_rank_that_does_not_answer_is_named(watched, tmp_path, monkeypatch):
    watch, _, _ = watched
    monkeypatch.setattr(agent, "HANG_S", 0.05)
    monkeypatch.setattr(agent.one_rank, "SHOW_STACK", 0)
    stack_file(tmp_path, 1).write_text(INSIDE_TORCH)
    time.sleep(0.1)
    watch.look()
    assert watch.hung.reason.startswith("rank 0 of 2 ")
    assert watch.hung.reason.endswith("(it does not answer)")


def test_a_case_whose_steps_take_long_is_given_longer(watched, monkeypatch):
    watch, shown, _ = watched
    monkeypatch.setattr(agent, "HANG_S", 0.05)
    shown.row(1)[3] = 5.0  # the rank that the other waits for
    time.sleep(0.1)
    watch.look()
    assert watch.hung is None


def test_a_rank_that_hangs_before_its_first_step_is_named_in_the_phase(watched, tmp_path, monkeypatch):
    watch, shown, programs = watched
    said = []
    watch.launch.sender = SimpleNamespace(send=said.append)
    monkeypatch.setattr(agent.one_rank, "SHOW_STACK", 0)
    stack_file(tmp_path, 0).write_text(INSIDE_TORCH)
    stack_file(tmp_path, 1).write_text('Stack (most recent call first):\n  File "/me/net.py", line 12 in __init__\n')
    for rank in (0, 1):
        board.show_phase(shown.row(rank), "build")
    watch.look()
    assert said == []
    watch._look_at_start_s = 0.0
    for _ in range(2):
        watch.look()
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert [each.name for each in said] == ["build, where the others wait for rank 1 of 2 (net.py:12 in __init__)"]
    assert check_message.problem(said[0], watch.launch.job) is None
    assert watch.hung is None
    assert [program.poll() for program in programs] == [None, None]
