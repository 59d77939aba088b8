import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fakes.hosting import QUICK, HostUnderTest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.core.units import MIB
from gpubench.protocol.messages import Job
from gpubench.suite.model.case import Case
from gpubench.worker.batch_search import largest_batch, trial
from gpubench.worker.batch_search.largest_batch import NothingFits, fit_line, resolve, search, with_batch
from gpubench.worker.batch_search.trial import Trial, limit_bytes, try_batch, with_headroom
from gpubench.worker.failures import is_out_of_memory
from gpubench.worker.job import RunningJob, Stop
from gpubench.worker.workloads.base import Unsupported


class Memory:
    """A device on which a batch takes `fixed + per_sample * batch` bytes, with some waste on top of larger ones."""

    def __init__(self, limit, *, fixed=1000, per_sample=10, waste=lambda _batch: 0):
        self.limit, self.fixed, self.per_sample, self.waste = limit, fixed, per_sample, waste
        self.tried = []

    def __call__(self, batch):
        self.tried.append(batch)
        needed = self.fixed + self.per_sample * batch
        fits = needed + self.waste(batch) <= self.limit
        return Trial(batch, fits, needed if fits else None, self.limit, "" if fits else f"{needed} bytes", not fits)

    def largest(self, most):
        return max(batch for batch in range(1, most + 1) if self(batch).fits)


@given(
    limit=st.integers(1010, 6_000), fixed=st.integers(0, 1000), per_sample=st.integers(1, 50), waste=st.floats(0, 0.6)
)
def test_the_search_finds_what_an_exhaustive_one_does(limit, fixed, per_sample, waste):
    memory = Memory(limit, fixed=fixed, per_sample=per_sample, waste=lambda batch: waste * per_sample * batch)
    if not memory(1).fits:
        return
    memory.tried.clear()
    found = search(memory, limit)
    assert found.batch == memory.largest(6_000)
    assert len(memory.tried) - 6_000 <= 40


def test_the_line_through_small_batches_saves_most_trials():
    memory = Memory(80 * 2**30, fixed=2**30, per_sample=90 * MIB // 2)
    found = search(memory, memory.limit)
    assert found.batch == (79 * 2**30) // (45 * MIB)
    assert len(memory.tried) <= 8


def test_the_batch_found_ran_and_the_next_one_did_not():
    memory = Memory(5_000, waste=lambda batch: 3 * batch)
    found = search(memory, memory.limit)
    outcomes = {each.batch: each.fits for each in found.trials}
    assert outcomes[found.batch]
    assert not outcomes[found.batch + 1]
    assert found.reason == f"{1000 + 10 * (found.batch + 1)} bytes"


def test_a_single_sample_may_be_all_that_fits():
    assert search(Memory(1015), 1015).batch == 1


def test_where_memory_never_ends_the_search_does():
    found = search(Memory(2**62), 2**62, most=100_000)
    assert found.batch == 100_000
    assert found.reason == "no batch above 100000 is tried"


def test_nothing_that_fits_is_an_out_of_memory_with_its_sizes():
    with pytest.raises(NothingFits, match="not even a batch of 1 fits into 5 B") as caught:
        search(Memory(5), 5)
    assert is_out_of_memory(caught.value)


def test_a_batch_that_fails_for_another_reason_is_no_matter_of_memory():
    broken = Trial(1, False, None, 100, "ValueError: Expected more than 1 value per channel")
    with pytest.raises(RuntimeError, match="a batch of 1 does not run: ValueError") as caught:
        search(lambda batch: broken._replace(batch=batch))
    assert not is_out_of_memory(caught.value)


def test_on_a_device_the_least_that_any_trial_was_allowed_is_the_limit():
    free = iter([9_000, 8_000, 7_500, *[7_000] * 50])

    def attempt(batch):
        limit = next(free)
        fits = 10 * batch <= limit
        return Trial(batch, fits, 10 * batch if fits else None, limit, "" if fits else "full", not fits)

    found = search(attempt)
    assert found.batch == 700
    assert found.limit == 7_000


def test_the_line_says_what_a_sample_costs_and_how_far_trials_lie_from_it():
    line = fit_line([(2, 1020), (16, 1160), (512, 6120)])
    assert line.per_sample_bytes == pytest.approx(10)
    assert line.fixed_bytes == pytest.approx(1000)
    assert line.deviation == pytest.approx(0, abs=1e-9)
    assert fit_line([(2, 1000), (2, 1010)]) is None
    assert fit_line([(1, 1000), (2, 1100), (3, 1500)]).deviation > 0.05


def test_metrics_and_facts_state_batch_line_headroom_and_every_trial():
    found = search(Memory(50_000), 50_000)
    assert found.metrics() == pytest.approx(
        {"largest_batch": 4900.0, "memory_per_sample_bytes": 10.0, "memory_fixed_bytes": 1000.0}
    )
    facts = found.facts()
    assert facts["headroom"] == 0.05
    assert facts["limit_bytes"] == 50_000
    assert facts["next_fails_with"] == "50010 bytes"
    assert [each["batch"] for each in facts["trials"]] == sorted(each["batch"] for each in facts["trials"])


def test_headroom_is_a_share_and_never_less_than_64_mib():
    assert with_headroom(80 * 2**30) == 80 * 2**30 - int(0.05 * 80 * 2**30)
    assert with_headroom(300 * MIB) == 236 * MIB
    assert with_headroom(MIB) == 0


def test_free_memory_is_the_machines_or_the_control_groups_if_that_is_less(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(trial, "_control_group", list)
    assert trial._available(tmp_path) == 8000 * 1024
    monkeypatch.setattr(trial, "_control_group", lambda: [1234])
    assert trial._available(tmp_path) == 1234


@pytest.mark.parametrize(("most", "used", "left"), [("5000", "2000", [3000]), ("max", "2000", [])])
def test_a_control_group_leaves_its_limit_less_what_is_used(tmp_path, most, used, left):
    (tmp_path / "memory.max").write_text(most + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    assert trial._control_group(tmp_path) == left
    assert trial._control_group(tmp_path / "none") == []


# Real trials, in real processes.

FAST = {"image_size": 32, "cpu_threads": 1}


def job_of(case, log="/dev/null", search_path=()):
    return Job(job=1, case=case, log=str(log), search_path=search_path)


def a_trial(batch, limit, workload="cnn", **given):
    case = Case.model_validate({"workload": workload, "batch_size": batch, **FAST, **given})
    return try_batch(case, job_of(case, search_path=(str(Path(__file__).parents[2] / "fakes"),)), torch, limit)


IN_A_FRESH_PROCESS = """
import functools, json, sys
import torch
from unit.worker.test_largest_batch import a_trial
from gpubench.worker.batch_search.largest_batch import search
from gpubench.worker.process.preload import preload

preload(everything=True)
limit, given = json.loads(sys.argv[1])
tried = functools.cache(lambda batch: a_trial(batch, limit, **given))
found = search(tried, limit)
fits = [batch for batch in range(1, 3 * found.batch) if tried(batch).fits]
print(json.dumps({"found": found.batch, "largest": max(fits), "deviation": found.line.deviation}))
"""
"""As a host is: trials inherit the heap of the process that forks them, and after some thousand tests it is full of
holes.
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "limit"), [({"image_size": 128}, 64 * MIB), ({"image_size": 128, "mode": "infer"}, 32 * MIB)]
)
def test_under_an_address_space_limit_the_search_finds_what_trying_every_batch_does(given, limit):
    tests = Path(__file__).parents[2]
    printed = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, json.dumps([limit, given])],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tests.parent}:{tests}", "OMP_NUM_THREADS": "1"},
        timeout=200,
    ).stdout
    seen = json.loads(printed)
    assert seen["found"] == seen["largest"]
    assert seen["found"] > 5
    assert seen["deviation"] < 0.5


def test_a_trial_leaves_this_process_as_it_was():
    before = resource.getrlimit(resource.RLIMIT_AS), torch.get_num_threads(), torch.initial_seed()
    result = a_trial(4, 200 * MIB, seed=7)
    assert result.fits
    assert result.peak_bytes < 200 * MIB
    assert (resource.getrlimit(resource.RLIMIT_AS), torch.get_num_threads(), torch.initial_seed()) == before


def test_a_trial_that_asks_for_too_much_says_what_it_asked_for():
    result = a_trial(4096, 20 * MIB)
    assert not result.fits
    assert result.out_of_memory
    assert result.reason.startswith("out of memory in its steps (asked for ")
    assert result.peak_bytes is None


def test_a_trial_that_dies_does_not_fit_and_says_how():
    result = a_trial(1, 200 * MIB, workload="workloads:ExitsHard")
    assert (result.fits, result.out_of_memory) == (False, False)
    assert result.reason == "the process ended with status 5"


def test_what_the_case_cannot_do_here_at_all_is_unsupported():
    with pytest.raises(Unsupported, match="TF32"):
        a_trial(1, 200 * MIB, precision="tf32")


def test_the_address_space_that_is_left_bounds_what_a_trial_may_take():
    used = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmSize")
    )
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 400 * MIB, hard))
    try:
        assert limit_bytes("cpu") == pytest.approx(336 * MIB, rel=0.02)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    assert limit_bytes("cpu") > 336 * MIB
    assert limit_bytes("cuda") is None


class Sent(list):
    def send(self, message):
        self.append(message)

    def offer(self, message):
        self.append(message)
        return True


@pytest.mark.parametrize("workload", ["operators:matmul", "operators:copy", "operators:launch"])
def test_where_memory_does_not_grow_with_the_batch_none_is_the_largest(workload):
    case = Case(workload=workload, batch_size="max", mode="infer")
    with pytest.raises(Unsupported, match="does not grow"):
        resolve(RunningJob(job_of(case), Sent(), Stop()), torch)


def test_a_latency_names_its_batch():
    case = Case(batch_size="max", mode="infer", timing="latency")
    with pytest.raises(Unsupported, match="a latency names its batch"):
        resolve(RunningJob(job_of(case), Sent(), Stop()), torch)


def test_each_trial_is_told_as_progress_and_the_search_can_be_stopped(monkeypatch):
    sent, stop = Sent(), Stop()
    memory = Memory(3_000)

    def attempt(case, *_):
        stop.requested = len(memory.tried) >= 2
        return memory(case.batch)

    monkeypatch.setattr(largest_batch, "try_batch", attempt)
    with pytest.raises(largest_batch.Interrupted):
        resolve(RunningJob(job_of(Case(batch_size="max")), sent, stop), torch)
    assert [message.num_steps for message in sent] == memory.tried


def test_a_case_keeps_everything_but_its_batch():
    case = Case(batch_size="max", precision="bf16", image_size=32)
    assert with_batch(case, 12) == case.model_copy(update={"batch_size": 12})


@pytest.fixture
def limited_host(tmp_path):
    """A host with 180 MiB of address space above what it has."""
    host = HostUnderTest(tmp_path)
    status = Path(f"/proc/{host.process.pid}/status").read_text()
    used = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSize"))
    resource.prlimit(host.process.pid, resource.RLIMIT_AS, (used + 180 * MIB, resource.RLIM_INFINITY))
    yield host
    host.close()


def test_a_launch_searches_measures_that_batch_and_reports_its_memory(limited_host):
    settings = {"batch_size": "max", "image_size": 64, "cpu_threads": 1, "measure": QUICK}
    messages, exited = limited_host.run("cnn", **settings)
    assert exited.exit_code == 0
    result = messages[-1]
    assert result.type == "result", result
    assert [message.name for message in messages if message.type == "phase"][:2] == ["searching", "build"]
    facts = result.effective.extra["largest_batch"]
    batch = facts["batch"]
    assert result.effective.batch_size == batch == result.metrics["largest_batch"]
    assert batch > 2
    assert result.window.num_samples == result.window.num_steps * batch
    assert result.metrics["memory_per_sample_bytes"] > 0
    assert not next(each for each in facts["trials"] if each["batch"] == batch + 1)["fits"]

    again = limited_host.run("cnn", **settings, largest_batch=3, repeat=2)[0][-1]
    assert again.effective.batch_size == 3
    assert "largest_batch" not in again.effective.extra
