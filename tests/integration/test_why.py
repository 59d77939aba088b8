"""`--why` from a stored A/B to its answer, on real workloads."""

from pathlib import Path

import pytest

from gpubench.profile.capture.capture_arms import explain_arms
from gpubench.profile.capture.run_tool import SessionError
from gpubench.protocol.messages import JobArm
from gpubench.protocol.profile_job import ProfileJob
from gpubench.suite.model.case import Case

WORKLOAD = """
import time
import torch

class Mine:
    def __init__(self, slow=0.0):
        self.slow = slow

    def build(self, case, device):
        values = torch.randn(384, 384)
        def step():
            with self.phases("forward"):
                torch.mm(values, values)
                if self.slow:
                    torch.sort(torch.rand(int(self.slow)))
            with self.phases("optimizer"):
                values.clone()
        return step

    phases = None

def mine(slow=0.0):
    return Mine(slow)
"""


def job(folder: Path) -> ProfileJob:
    (folder / "mine.py").write_text(WORKLOAD)
    return ProfileJob(tool="torch", case=case(), steps=10, folder=folder, search_path=(str(folder),))


def case(**params) -> Case:
    return Case(workload="mine:mine", cpu_threads=1, params=params)


ARMS = [JobArm(name="base", case=case()), JobArm(name="head", case=case(slow=60_000))]


def test_one_more_operator_shows_in_its_phase_and_nowhere_else(tmp_path: Path, monkeypatch):
    """What is certain is up to the machine: scripts/why_seeds.py asks for that."""
    monkeypatch.setattr("gpubench.profile.capture.capture_arms.TURNS", 6)
    found = explain_arms(job(tmp_path), ARMS, one_process=True, timeout_s=240)
    assert (found.reference, found.candidate, found.turns, found.one_process) == ("base", "head", 6, True)
    assert {part.phase for part in found.parts} <= {"forward"}
    assert {part.after for part in found.parts} <= {"aten::sort", "forward"}
    assert found.phases["forward"].value > max(0, found.phases["optimizer"].value)
    assert found.seen.value > 0


def test_arms_that_need_a_process_each_are_compared_by_turn(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("gpubench.profile.capture.capture_arms.PROCESS_TURNS", 2)
    monkeypatch.setattr("gpubench.profile.figures.explain_change.LEAST_TURNS", 2)
    found = explain_arms(job(tmp_path), ARMS, one_process=False, timeout_s=240)
    assert (found.reference, found.candidate, found.turns, found.one_process) == ("base", "head", 2, False)
    assert {"forward", "optimizer"} <= set(found.phases)
    assert found.phases["forward"].value > max(0, found.phases["optimizer"].value)
    assert found.seen.value > 0


def test_an_arm_that_cannot_run_says_why(tmp_path: Path):
    arms = [JobArm(name="base", case=case()), JobArm(name="head", case=case(unknown=1))]
    with pytest.raises(SessionError, match="could not be profiled"):
        explain_arms(job(tmp_path), arms, one_process=True, timeout_s=240)
