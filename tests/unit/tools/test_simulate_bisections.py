"""Searches with known answers, in a small simulation. The larger one is in docs/method.md."""

import pytest

from gpubench.tools.selfcheck.simulate_bisections import MOST_JUDGEMENTS, SPREADS, run_searches


@pytest.mark.parametrize("spread", SPREADS)
def test_a_commit_that_is_two_per_cent_slower_is_found_among_128(spread):
    found = run_searches(spread, searches=40, seed=1)
    assert found.right >= 36
    assert found.wrong == 0
    assert found.judgements < MOST_JUDGEMENTS
