"""What sampling costs a program beside it: equal steps with the sampler on and off, in alternating blocks of one run."""

from typing import Any

from gpubench.machine.selftest.host_selftest import SAMPLER_BUDGET, beside_load


def test_sampling_costs_less_than_half_a_percent_of_step_time(benchmark: Any) -> None:
    """The interval of the ratio must not lie wholly above the budget."""
    facts = benchmark.pedantic(lambda: beside_load(num_pairs=24, block_s=0.25), rounds=1, iterations=1)
    ratio = facts["sampler_cost"]
    benchmark.extra_info.update(
        sampled=facts["sampled"], ratio=ratio["value"], low=ratio["low"], high=ratio["high"], spread=facts["spread"]
    )
    assert ratio["num_pairs"] == 24
    assert ratio["low"] <= 1 + SAMPLER_BUDGET
