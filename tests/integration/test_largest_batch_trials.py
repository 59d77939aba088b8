"""The search for the largest batch in real processes, under limits of the address space."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fakes.hosting import QUICK, HostUnderTest

from gpubench.core.units import MIB
from gpubench.protocol.host_modules import COMPILER
from gpubench.protocol.messages import Job
from gpubench.suite.model.case import Case
from gpubench.worker.batch_search.trial import limit_bytes, try_batch
from gpubench.worker.job import RunningJob, Stop
from gpubench.worker.measure_case import _Measurement
from gpubench.worker.workloads.base import Unsupported

FAST = {"image_size": 32, "cpu_threads": 1}


def job_of(case, log="/dev/null", search_path=()):
    return Job(job=1, case=case, log=str(log), search_path=search_path)


class NoSender:
    """A trial tells nothing but its outcome."""


def a_trial(batch, limit, workload="cnn", **given):
    case = Case.model_validate({"workload": workload, "batch_size": batch, **FAST, **given})
    job = job_of(case, search_path=(str(Path(__file__).parents[1] / "fakes"),))
    return try_batch(case, _Measurement(RunningJob(job, NoSender(), Stop()), torch).rehearse, limit)


# As a host is: trials inherit the heap of the process that forks them, and after some thousand tests it is full of holes.
IN_A_FRESH_PROCESS = """
import functools, json, sys
import torch
from integration.test_largest_batch_trials import a_trial
from gpubench.worker.batch_search.largest_batch import search
from gpubench.protocol.host_modules import ALWAYS, COMPILER
from gpubench.worker.process.host import preload

preload((*ALWAYS, *COMPILER))
for limit, given in json.loads(sys.argv[1]):
    tried = functools.cache(lambda batch: a_trial(batch, limit, **given))
    found = search(tried, limit)
    astray = [batch for batch in range(1, 2 * found.batch + 1) if tried(batch).fits != (batch <= found.batch)]
    print(json.dumps({"found": found.batch, "astray": astray, "deviation": found.line.deviation}))
"""
SEARCHES = {"train": (64 * MIB, {"image_size": 128}), "infer": (48 * MIB, {"image_size": 128, "mode": "infer"})}


@pytest.fixture(scope="module")
def searched():
    """By mode, what the search found, and which batches up to twice that are on the wrong side of it when each is tried."""
    tests = Path(__file__).parents[1]
    printed = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, json.dumps(list(SEARCHES.values()))],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tests.parent}:{tests}", "OMP_NUM_THREADS": "1"},
        timeout=200,
    ).stdout
    return dict(zip(SEARCHES, map(json.loads, printed.splitlines()), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("mode", SEARCHES)
def test_under_an_address_space_limit_the_search_finds_what_trying_every_batch_does(searched, mode):
    seen = searched[mode]
    assert seen["found"] > 3
    assert len(seen["astray"]) <= 2, seen  # near the limit a trial fits or not by chance: as its heap happens to lie
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


@pytest.fixture
def limited_host(tmp_path):
    """A host with 180 MiB of address space above what it has."""
    host = HostUnderTest(tmp_path, COMPILER)
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
