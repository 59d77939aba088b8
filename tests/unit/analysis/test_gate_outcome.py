import pytest
from fakes.gate_runs import HandMade, two_arms

from gpubench.analysis.compare.compare_sides import compare_sides
from gpubench.analysis.compare.run_sides import arm_sides, side_of
from gpubench.analysis.gate.gate_outcome import DEFAULT_RULES, check, metrics_of, settings_for
from gpubench.analysis.gate.gate_rules import GateRule
from gpubench.core.errors import ExitStatus, UsageError
from gpubench.store.run_reader import load_run

SPEED = (GateRule("throughput", 0.03),)


def compared(tmp_path, head: float, name: str = "one"):
    made = two_arms()
    made.measured(1000.0, head=head, batch_size=1)
    made.measured(1000.0, head=1000.0, batch_size=2)
    reference, (other,) = arm_sides(load_run(made.write(tmp_path, name)))
    return compare_sides(reference, other, metrics_of(DEFAULT_RULES))


def test_a_broken_limit_is_status_1_and_a_kept_one_0(tmp_path):
    assert check(compared(tmp_path, 900.0), SPEED, declared=True).status is ExitStatus.GATE_FAILED
    assert check(compared(tmp_path, 1000.0, "two"), SPEED, declared=True).status is ExitStatus.OK


def test_only_cases_that_broke_a_limit_are_measured_again(tmp_path):
    asked = []

    def again(changes, rounds):
        asked.append(([change.label for change in changes], rounds))
        return compared(tmp_path, 1000.0, "fresh")

    checked = check(compared(tmp_path, 900.0), SPEED, declared=True, rounds=8, remeasure=again)
    assert asked == [(["1"], 8)]
    assert checked.status is ExitStatus.OK
    assert checked.fresh is not None
    assert checked.results[0].confirmation.rounds == 8


def test_a_confirmed_failure_stays_one(tmp_path):
    checked = check(
        compared(tmp_path, 900.0),
        SPEED,
        declared=True,
        rounds=8,
        remeasure=lambda *_: compared(tmp_path, 900.0, "fresh"),
    )
    assert checked.status is ExitStatus.GATE_FAILED


def test_a_case_that_broke_two_limits_is_measured_again_once(tmp_path):
    asked = []

    def again(changes, rounds):
        asked.append([change.label for change in changes])
        return compared(tmp_path, 900.0, "fresh")

    rules = (*SPEED, GateRule("throughput", 0.02, where={"batch_size": 1}), GateRule("peak_rss_bytes", 0.5))
    check(compared(tmp_path, 900.0), rules, declared=True, rounds=8, remeasure=again)
    assert asked == [["1"]]


def test_nothing_is_measured_again_where_nothing_failed(tmp_path):
    def never(*_):
        raise AssertionError

    assert check(compared(tmp_path, 1000.0), SPEED, declared=True, rounds=8, remeasure=never).fresh is None


@pytest.mark.parametrize("rounds", [1, 3, 4])
def test_so_few_fresh_rounds_that_every_failure_would_be_taken_back_are_wrong_use(tmp_path, rounds):
    def never(*_):
        raise AssertionError

    with pytest.raises(UsageError, match="cannot confirm a failure of throughput: judging it takes at least 5"):
        check(compared(tmp_path, 900.0), SPEED, declared=True, rounds=rounds, remeasure=never)


def test_what_needs_no_rounds_to_be_judged_is_confirmed_by_one(tmp_path):
    memory = (GateRule("peak_rss_bytes", 0.03), GateRule("status", no_new=("oom",)))
    assert check(compared(tmp_path, 900.0), memory, declared=True, rounds=1).status is ExitStatus.OK


def test_fresh_launches_of_stored_runs_are_as_many_as_their_test_needs(tmp_path):
    sides = []
    for name in ("a", "b"):
        made = HandMade()
        made.measured(1000.0)
        sides.append(side_of(load_run(made.write(tmp_path, name)), name))
    assert check(compare_sides(*sides, ("throughput",)), SPEED, declared=True, rounds=1).status is ExitStatus.OK
    unpaired = compare_sides(*sides, ("throughput",), allow_unpaired=True)
    with pytest.raises(UsageError, match="at least 3"):
        check(unpaired, SPEED, declared=True, rounds=2)
    assert check(unpaired, SPEED, declared=True, rounds=3).status is ExitStatus.OK


def test_a_limit_finer_than_half_the_smallest_effect_is_judged_as_finely(tmp_path):
    fine = (GateRule("throughput", 0.01), GateRule("peak_rss_bytes", 0.001), GateRule("throughput", 0.0))
    assert settings_for(fine, 0.03).sesoi == 0.02
    assert settings_for((GateRule("throughput", 0.02),), 0.03).sesoi == 0.03
    assert settings_for((GateRule("status", no_new=("oom",)), GateRule("accuracy", 0.001)), 0.03).sesoi == 0.03
    made = two_arms()
    made.measured(1000.0, head=986.0)
    reference, (other,) = arm_sides(load_run(made.write(tmp_path, "slightly")))
    found = compare_sides(reference, other, ("throughput",), settings_for(fine, 0.03))
    assert check(found, fine[:1], declared=True).status is ExitStatus.GATE_FAILED
    assert check(found, (GateRule("throughput", 0.02),), declared=True).status is ExitStatus.OK


def test_a_gate_that_checks_nothing_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="nothing was checked: no case of head has energy_per_sample_j on both sides"):
        check(compared(tmp_path, 1000.0), (GateRule("energy_per_sample_j", 0.05),), declared=True)


def test_usual_gates_without_data_are_not_shown_and_declared_ones_are(tmp_path):
    found = compared(tmp_path, 1000.0)
    assert [result.rule.metric for result in check(found, DEFAULT_RULES, declared=False).results] == [
        "throughput",
        "status",
    ]
    declared = check(found, (*SPEED, GateRule("energy_j", 0.05)), declared=True)
    assert [result.outcome for result in declared.results] == ["pass", "no data"]


def test_what_was_accepted_is_no_failure_but_a_crash_is(tmp_path):
    from dataclasses import replace

    checked = replace(check(compared(tmp_path, 900.0), SPEED, declared=True), accepted="wanted")
    assert (checked.verdict, checked.status) == (ExitStatus.GATE_FAILED, ExitStatus.OK)


def test_stored_runs_never_fail_a_gate_on_speed_unless_asked_to(tmp_path):
    sides = []
    for name, rate in (("a", 1000.0), ("b", 500.0)):
        made = HandMade()
        made.measured(rate)
        sides.append(side_of(load_run(made.write(tmp_path, name)), name))
    capped = check(compare_sides(*sides, ("throughput",)), SPEED, declared=True)
    assert (capped.status, capped.results[0].outcome) == (ExitStatus.USAGE, "unclear")
    lifted = check(compare_sides(*sides, ("throughput",), allow_unpaired=True), SPEED, declared=True)
    assert lifted.status is ExitStatus.GATE_FAILED
