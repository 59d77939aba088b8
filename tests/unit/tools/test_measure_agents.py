"""The measurement of agents, with a few of them. Its table is in docs/scaling.md."""

from gpubench.tools.selfcheck.measure_agents import COST_HEADER, cost_row, measure_agents


def test_every_agent_is_counted_and_none_stays():
    cost = measure_agents(5)
    assert cost.messages == 16
    assert cost.received_bytes > 10_000
    assert cost.record_bytes > 100
    assert cost_row(cost).count("|") == COST_HEADER.splitlines()[0].count("|")
