"""What real comparisons with known answers came to, judged anew from their stored rounds (reports/aa/rounds.csv)."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import binomtest

from gpubench.analysis.summary.contest_levels import judged

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("aa_runs", ROOT / "scripts" / "aa_runs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured(script):
    return script.read_rounds(ROOT / "reports" / "aa" / "rounds.csv")


def verdicts(measured, level, effect):
    return Counter(each.found.verdict for each in measured if (each.asked, each.effect) == (level, effect))


@pytest.mark.parametrize("level", ["block", "launch"])
def test_of_forty_equal_comparisons_at_most_one_is_called_changed(measured, level):
    found = verdicts(measured, level, 0.0)
    assert found.total() >= 40
    assert found["slower"] + found["faster"] <= 1


@pytest.mark.parametrize("effect", [0.03, 0.05, 0.10])
def test_in_blocks_a_slow_down_is_found(measured, effect):
    found = verdicts(measured, "block", effect)
    assert found.total() >= 20
    assert found["slower"] >= 0.95 * found.total()


@pytest.mark.parametrize("effect", [0.03, 0.05, 0.10])
def test_in_launches_what_is_too_noisy_is_unclear_and_not_the_same(measured, effect):
    found = verdicts(measured, "launch", effect)
    assert found.total() >= 20
    assert found["same"] <= 0.05 * found.total()
    assert found["faster"] == 0


@pytest.mark.parametrize("level", ["block", "launch"])
@pytest.mark.parametrize("effect", [0.03, 0.05, 0.10])
def test_slow_downs_are_found_as_often_as_predicted(script, measured, level, effect):
    """From how much their own rounds vary: what else ran on the machine differed from hour to hour."""
    spreads = [script.spread_of(each.logs) for each in measured if (each.asked, each.effect) == (level, effect)]
    found = verdicts(measured, level, effect)
    expected = min(max(script.predicted(spreads, effect), 0.01), 0.99)
    assert binomtest(found["slower"], found.total(), expected).pvalue > 0.001


@pytest.mark.slow
def test_the_method_page_and_the_report_show_what_these_rounds_say(script, measured):
    made = "\n".join(script.tables(measured))
    for page in ("docs/method.md", "reports/aa/README.md"):
        assert made in (ROOT / page).read_text(), f"{page}: python scripts/aa_runs.py report reports/aa/rounds.csv"


def test_a_case_is_never_called_different_from_itself_under_another_name(script):
    contests = script.read_contests(ROOT / "reports" / "aa" / "contests.csv")
    columns = [tuple(zip(*rounds, strict=True)) for rounds in contests.values()]
    names = [judged(other_name, itself).verdict for other_name, itself in columns]
    twins = [judged(itself).verdict for _, itself in columns]
    assert {*names, *twins} <= {"same", "unclear"}
    assert sum(judged(other_name).verdict in ("slower", "faster") for other_name, _ in columns) == 2
    unclear = f"{names.count('same')} `same` and {names.count('unclear')} `unclear`"
    assert f"In {len(contests)} contests" in (said := (ROOT / "docs" / "method.md").read_text())
    assert unclear in said


@pytest.mark.parametrize(("twin", "verdict"), [(0.0, "slower"), (0.045, "unclear"), (-0.05, "slower")])
def test_a_difference_that_a_case_shows_to_itself_is_unclear(twin, verdict):
    other_name = (0.048, 0.052, 0.05, 0.049, 0.051, 0.05)
    assert judged(other_name, [twin] * 6).verdict == verdict
