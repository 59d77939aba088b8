import pytest
from fakes.hosting import Messages
from hypothesis import given
from hypothesis import strategies as st

from gpubench.core.units import MIB
from gpubench.machine.control_groups import MemoryLimit
from gpubench.protocol.messages import Job
from gpubench.suite.model.case import Case
from gpubench.worker.batch_search import largest_batch, trial
from gpubench.worker.batch_search.largest_batch import NothingFits, fit_line, resolve, search, with_batch
from gpubench.worker.batch_search.trial import Trial, with_headroom
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


def test_where_a_larger_batch_fails_for_another_reason_it_is_told_as_that_reason():
    """As from libraries that count elements in 32 bits."""
    memory = Memory(5_000)
    refused = "RuntimeError: CUDNN_STATUS_NOT_SUPPORTED"

    def attempt(batch):
        return memory(batch) if 10 * batch < 2**10 else Trial(batch, False, None, 5_000, refused)

    found = search(attempt, 5_000)
    assert (found.batch, found.reason) == (102, refused)
    assert found.facts()["ended_by_memory"] is False
    assert search(memory, 5_000).facts()["ended_by_memory"] is True


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


def test_free_memory_is_the_machines_or_what_control_groups_leave(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(trial, "memory_limit", lambda: None)
    assert trial._available(tmp_path) == 8000 * 1024
    monkeypatch.setattr(trial, "memory_limit", lambda: MemoryLimit(5000, 1234))
    assert trial._available(tmp_path) == 1234
    monkeypatch.setattr(trial, "memory_limit", lambda: MemoryLimit(2**40, 2**40))
    assert trial._available(tmp_path) == 8000 * 1024


def job_of(case):
    return Job(job=1, case=case, log="/dev/null")


@pytest.mark.parametrize("workload", ["operators:matmul", "operators:copy", "operators:launch"])
def test_where_memory_does_not_grow_with_the_batch_none_is_the_largest(workload):
    case = Case(workload=workload, batch_size="max", mode="infer")
    with pytest.raises(Unsupported, match="does not grow"):
        resolve(RunningJob(job_of(case), Messages(), Stop()), None)


def test_a_latency_names_its_batch():
    case = Case(batch_size="max", mode="infer", timing="latency")
    with pytest.raises(Unsupported, match="a latency case needs a batch size"):
        resolve(RunningJob(job_of(case), Messages(), Stop()), None)


def test_each_trial_is_told_as_progress_and_the_search_can_be_stopped(monkeypatch):
    sent, stop = Messages(), Stop()
    memory = Memory(3_000)

    def attempt(case, *_):
        stop.requested = len(memory.tried) >= 2
        return memory(case.batch)

    monkeypatch.setattr(largest_batch, "try_batch", attempt)
    with pytest.raises(largest_batch.Interrupted):
        resolve(RunningJob(job_of(Case(batch_size="max")), sent, stop), None)
    assert [message.num_steps for message in sent] == memory.tried


def test_a_case_keeps_everything_but_its_batch():
    case = Case(batch_size="max", precision="bf16", image_size=32)
    assert with_batch(case, 12) == case.model_copy(update={"batch_size": 12})
