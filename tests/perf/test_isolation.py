"""What a process per launch costs, from asking for it to a built workload that is ready to step."""

import sys
import time
from statistics import median

import pytest
from fakes.hosting import HostUnderTest

from gpubench.suite.model.suite import Measure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host forks on Linux only")

BRIEF = Measure(min_time=0, max_time=0.05, min_steps=5, max_steps=5)
FORK_AT_MOST_S = 0.5


def _seconds_until_ready(host):
    began = time.perf_counter()
    running = host.send("cnn", data="digits", measure=BRIEF)
    running.until("phase", name="warmup")
    seconds = time.perf_counter() - began
    running.started()
    assert running.messages()[-1].type == "result"
    running.exited()
    return seconds


def test_a_forked_child_is_ready_within_half_a_second(benchmark, tmp_path):
    (tmp_path / "fork").mkdir()
    (tmp_path / "fresh").mkdir()
    forking = HostUnderTest(tmp_path / "fork")
    fresh = HostUnderTest(tmp_path / "fresh", NVTX_INJECTION64_PATH="/nonexistent")
    forked_s, fresh_s = [], []

    def both():
        forked_s.append(_seconds_until_ready(forking))
        fresh_s.append(_seconds_until_ready(fresh))

    benchmark.pedantic(both, rounds=5, iterations=1, warmup_rounds=0)
    ratio = median(fresh_s) / median(forked_s)
    benchmark.extra_info.update(
        forked_s=round(median(forked_s), 3), fresh_s=round(median(fresh_s), 3), ratio=round(ratio, 1)
    )
    print(
        f"\nready to step: forked {median(forked_s):.3f} s, fresh interpreter {median(fresh_s):.2f} s, {ratio:.0f} times"
    )
    assert median(forked_s) < FORK_AT_MOST_S
    assert ratio > 4
    for host in (forking, fresh):
        host.close()
