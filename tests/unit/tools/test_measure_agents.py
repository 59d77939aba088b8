"""The measurement of agents, with a few of them. Its table is in docs/scaling.md."""

import subprocess
import sys

from gpubench.tools.selfcheck.measure_agents import COST_HEADER, cost_row, measure_agents


def test_every_agent_is_counted_and_none_stays():
    cost = measure_agents(5)
    assert cost.messages == 16
    assert cost.received_bytes > 10_000
    assert cost.record_bytes > 100
    assert cost_row(cost).count("|") == COST_HEADER.splitlines()[0].count("|")


LIMITED = """
import resource
from pathlib import Path

from gpubench.tools.selfcheck.measure_agents import measure_agents

few = len(list(Path("/proc/self/fd").iterdir())) + 20
resource.setrlimit(resource.RLIMIT_NOFILE, (few, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
assert measure_agents(40).files >= 1
"""


def test_a_soft_limit_on_open_files_is_no_limit_on_agents():
    """In a new process: this one may have more files open than a run has besides its agents."""
    subprocess.run([sys.executable, "-c", LIMITED], check=True, timeout=120)
