import pytest
from fakes.analysis_runs import RunBuilder, an_oom

from gpubench.analysis.compare.case_changes import compare_runs
from gpubench.analysis.gate.gate_rules import (
    Confirmation,
    GateRule,
    check_gates,
    confirm,
    exit_status,
    limit_rules,
    parse_gate,
    rules_of,
)
from gpubench.analysis.summary.case_summary import CaseEntry
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.errors import ExitStatus, UsageError
from gpubench.core.records import Status
from gpubench.suite.model.suite import Gate

STEADY = [100.0, 100.2, 99.9, 100.1, 99.8, 100.05]


def arms(*factors: float, noise: float = 0.0, batch_size: int = 64):
    """Two interleaved arms of one case per factor; the second arm's throughput is multiplied by it."""
    before, after = RunBuilder(), RunBuilder()
    for number, factor in enumerate(factors):
        settings = {"batch_size": batch_size * 2**number}
        before.measured(STEADY, **settings)
        after.measured([rate * factor * (1 + noise * (-1) ** r) for r, rate in enumerate(STEADY)], **settings)
    pair = summarise_run(before.run()), summarise_run(after.run())
    return compare_runs(*pair, ["throughput"], interleaved=True)


def check(text: str, changes):
    (result,) = check_gates([parse_gate(text)], changes)
    return result


def test_a_regression_wholly_beyond_the_limit_fails():
    result = check("throughput=3%", arms(1.0, 0.9))
    assert (result.outcome, result.num_cases) == ("fail", 2)
    assert [change.label for change in result.failures] == ["batch_size=128"]
    assert result.worst.label == "batch_size=128"
    assert exit_status([result]) is ExitStatus.GATE_FAILED


def test_no_change_passes():
    result = check("throughput=3%", arms(1.0, 1.001))
    assert result.outcome == "pass"
    assert exit_status([result]) is ExitStatus.OK


def test_an_improvement_passes():
    assert check("throughput=3%", arms(1.2)).outcome == "pass"


def test_a_real_regression_within_the_limit_passes():
    assert check("throughput=15%", arms(0.9)).outcome == "pass"


def test_an_interval_that_holds_the_limit_does_not_fail():
    result = check("throughput=10%", arms(0.9, noise=0.002))
    assert result.outcome == "pass"


def test_unclear_is_no_failure_beside_a_case_that_was_decided():
    changes = (*arms(0.95, noise=0.2), *arms(1.0, batch_size=128))
    result = check("throughput=3%", changes)
    assert result.outcome == "unclear"
    assert [change.label for change in result.unclear] == ["batch_size=64"]
    assert exit_status([result]) is ExitStatus.OK
    assert exit_status([result], on_unclear="fail") is ExitStatus.GATE_FAILED


def test_where_no_case_was_decided_it_is_not_green_unless_the_user_says_so():
    result = check("throughput=3%", arms(0.95, noise=0.2))
    assert exit_status([result]) is ExitStatus.USAGE
    given = ("pass", "warn", "fail")
    assert [exit_status([result], on_unclear=each) for each in given] == [ExitStatus.OK] * 2 + [ExitStatus.GATE_FAILED]


@pytest.mark.parametrize(("gate", "status"), [("status=failed", ExitStatus.OK), ("throughput=3%", 3)])
def test_a_case_that_newly_has_no_figures_is_green_only_by_a_gate_on_its_status(gate, status):
    before, after = RunBuilder(), RunBuilder()
    before.measured(STEADY, batch_size=1)
    after.record(after.plan(batch_size=1), 1, Status.OOM, failure=an_oom())
    for build in (before, after):
        build.measured(STEADY, batch_size=2)
    changes = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput"], interleaved=True)
    assert exit_status([check(gate, changes)], changes) == status


def test_a_case_that_one_side_did_not_run_is_no_data_of_a_status():
    before, after = RunBuilder(), RunBuilder()
    for build, batch_size in ((before, 1), (before, 2), (after, 2)):
        build.measured(STEADY, batch_size=batch_size)
    after.plan(batch_size=1)  # planned, and never launched
    changes = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput"])
    result = check("status=oom,failed", changes)
    assert ([change.label for change in result.covered], result.outcome) == (["batch_size=2"], "pass")
    assert [change.label for change in result.no_data] == ["batch_size=1"]


def test_stored_runs_do_not_fail_a_gate_on_speed():
    before, after = RunBuilder(), RunBuilder()
    before.measured(STEADY)
    after.measured([rate / 2 for rate in STEADY])
    changes = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput"])
    assert check("throughput=3%", changes).outcome == "unclear"


def test_a_new_oom_fails_its_gate_and_an_old_one_does_not():
    before, after = RunBuilder(), RunBuilder()
    for batch_size, was, is_now in (
        (1, Status.OK, Status.OOM),
        (2, Status.OOM, Status.OOM),
        (4, Status.OOM, Status.OK),
    ):
        for build, status in ((before, was), (after, is_now)):
            if status is Status.OK:
                build.measured([1.0, 1.0], batch_size=batch_size)
            else:
                build.record(build.plan(batch_size=batch_size), 1, status, failure=an_oom())
    changes = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput"])
    result = check("status=oom,failed", changes)
    assert (result.outcome, [change.label for change in result.failures]) == ("fail", ["batch_size=1"])
    assert check("status=failed", changes).outcome == "pass"


def test_a_rule_covers_only_the_cases_it_names():
    rule = GateRule("throughput", 0.03, where={"batch_size": 64})
    (result,) = check_gates([rule], arms(1.0, 0.5))
    assert (result.outcome, result.num_cases) == ("pass", 1)


def test_a_rule_without_cases_has_no_data():
    (result,) = check_gates([GateRule("throughput", 0.03, where={"batch_size": 3})], arms(1.0))
    assert (result.outcome, result.worst) == ("no data", None)


def test_memory_beyond_its_limit_fails():
    before, after = RunBuilder(), RunBuilder()
    before.measured([1.0], metrics={"peak_memory_allocated_bytes": 1000.0})
    after.measured([1.0], metrics={"peak_memory_allocated_bytes": 1100.0})
    pair = summarise_run(before.run()), summarise_run(after.run())
    changes = compare_runs(*pair, ["peak_memory_allocated_bytes"])
    assert check("peak_memory_allocated_bytes=3%", changes).outcome == "fail"
    assert check("peak_memory_allocated_bytes=20%", changes).outcome == "pass"


def test_of_several_rules_the_last_that_covers_a_case_decides():
    general, own = GateRule("throughput", 0.03), GateRule("throughput", 0.2, where={"batch_size": 128})
    changes = arms(1.0, 0.9)
    assert [result.outcome for result in check_gates([general, own], changes)] == ["pass", "pass"]
    assert [result.outcome for result in check_gates([own, general], changes)] == ["overruled", "fail"]


def test_a_gate_of_the_command_line_may_name_its_cases():
    rule = parse_gate(
        "throughput=8% @ batch_size<64", lambda text: lambda entry: text == f"batch_size<{entry.settings['batch_size']}"
    )
    assert (rule.max_regression, rule.cases, str(rule)) == (0.08, "batch_size<64", "throughput 8.0% @ batch_size<64")
    (result,) = check_gates([rule], arms(0.5, 0.5))
    assert [change.label for change in result.covered] == ["batch_size=64"]


def test_a_case_that_became_invalid_fails_its_gate():
    before, after = RunBuilder(), RunBuilder()
    before.measured(STEADY)
    after.measured([2 * rate for rate in STEADY], parity=False)
    changes = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput"], interleaved=True)
    assert check("status=invalid", changes).outcome == "fail"
    assert check("status=oom", changes).outcome == "pass"
    assert check("throughput=3%", changes).outcome == "unclear"


def test_a_failure_stands_only_if_fresh_rounds_break_the_limit_too():
    results = check_gates([GateRule("throughput", 0.03)], arms(1.0, 0.9))
    (stands,) = confirm(results, arms(1.0, 0.9), 6)
    assert (stands.outcome, [change.label for change in stands.failures]) == ("fail", ["batch_size=128"])
    assert stands.confirmation == Confirmation(6, ())
    (falls,) = confirm(results, arms(1.0, 1.0), 6)
    assert (falls.outcome, falls.failures) == ("pass", ())
    assert [change.label for change in falls.confirmation.kept] == ["batch_size=128"]


def test_a_failure_whose_fresh_rounds_are_too_noisy_is_unclear():
    results = check_gates([GateRule("throughput", 0.03)], arms(1.0, 0.9))
    (result,) = confirm(results, arms(1.0, 0.9, noise=0.5), 6)
    assert (result.outcome, result.failures) == ("unclear", ())
    assert [change.label for change in result.unclear] == ["batch_size=128"]
    assert (result.confirmation.kept, result.confirmation.lost) == ((), ())


def fresh_rounds(before: list[float], after: list[float], *, lost: str = "", **fields):
    """Fresh rounds of the case that fails below. The side named `lost` crashed in every launch."""
    sides = {"reference": RunBuilder(), "candidate": RunBuilder()}
    for (name, build), rates in zip(sides.items(), (before, after), strict=True):
        if name == lost:
            build.record(build.plan(batch_size=128), 1, Status.FAILED, reason="segmentation fault")
        elif rates:
            build.measured(rates, batch_size=128, **(fields if name == "candidate" else {}))
        else:
            build.plan(batch_size=128)
    return compare_runs(*(summarise_run(build.run()) for build in sides.values()), ["throughput"], interleaved=True)


@pytest.mark.parametrize(
    "fresh",
    [
        (),
        fresh_rounds(STEADY, STEADY, lost="candidate"),
        fresh_rounds(STEADY, STEADY, lost="reference"),
        fresh_rounds(STEADY, []),
        fresh_rounds(STEADY[:2], STEADY[:2]),
        fresh_rounds(STEADY, STEADY, parity=False),
    ],
    ids=["not measured", "crashed", "reference crashed", "skipped", "too few rounds left", "wrong output"],
)
def test_fresh_rounds_that_cannot_be_judged_take_no_failure_back(fresh):
    results = check_gates([GateRule("throughput", 0.03)], arms(1.0, 0.9))
    (result,) = confirm(results, fresh, 6)
    assert (result.outcome, [change.label for change in result.failures]) == ("fail", ["batch_size=128"])
    assert (result.confirmation.kept, result.confirmation.lost) == ((), result.failures)


@pytest.mark.parametrize("lost", ["candidate", "reference"])
def test_a_new_oom_is_taken_back_by_fresh_rounds_only_where_they_ran(lost):
    before, after = RunBuilder(), RunBuilder()
    before.measured(STEADY, batch_size=128)
    after.record(after.plan(batch_size=128), 1, Status.OOM, failure=an_oom())
    changes = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput"])
    results = check_gates([GateRule("status", no_new=("oom",))], changes)
    assert confirm(results, fresh_rounds(STEADY, STEADY, lost=lost), 1)[0].outcome == "fail"
    assert confirm(results, fresh_rounds(STEADY, STEADY), 1)[0].outcome == "pass"


def test_rules_that_did_not_fail_are_not_touched_by_a_confirmation():
    results = check_gates([GateRule("throughput", 0.2)], arms(1.0, 0.9))
    assert confirm(results, (), 6) == results


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step_time_s=3", "gate step_time_s: 3 is 300%"),
        ("throughput=3", "a limit of 300% can never be broken"),
        ("throughput=100%", "it cannot fall by more than 100%"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        parse_gate(text)
    assert parse_gate("step_time_s=300%").max_regression == 3.0
    assert parse_gate("allocator_retries=2").max_regression == 2.0


def test_one_crashed_launch_among_good_ones_is_status_3():
    before, after = RunBuilder(), RunBuilder()
    before.measured(STEADY)
    after.measured(STEADY)
    after.record(after.planned[0], len(STEADY) + 1, Status.FAILED, reason="segmentation fault")
    changes = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput"], interleaved=True)
    assert changes[0].candidate.status is Status.OK
    assert exit_status(check_gates([GateRule("throughput", 0.03)], changes), changes) is ExitStatus.CASE_FAILED
    unharmed = compare_runs(summarise_run(after.run()), summarise_run(before.run()), ["throughput"], interleaved=True)
    assert exit_status(check_gates([GateRule("throughput", 0.03)], unharmed), unharmed) is ExitStatus.OK


def test_a_crashed_case_is_status_3_unless_a_gate_failed():
    before, after = RunBuilder(), RunBuilder()
    before.measured([1.0])
    after.record(after.plan(), 1, Status.TIMEOUT, reason="300 s")
    changes = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput"])
    assert exit_status([], changes) is ExitStatus.CASE_FAILED
    assert exit_status([check("status=timeout", changes)], changes) is ExitStatus.GATE_FAILED


def test_limits_that_a_source_declares_become_rules_for_its_cases():
    cases = [CaseEntry(name, name, {}, {}, limits={"step_time_s": 0.1}) for name in ("a", "b")]
    cases.append(CaseEntry("c", "c", {}, {}, limits={"step_time_s": 0.2}))
    rules = limit_rules(cases)
    assert [str(rule) for rule in rules] == [
        "step_time_s 10.0% @ a and 1 more (its own limit)",
        "step_time_s 20.0% @ c (its own limit)",
    ]
    assert [[case.label for case in cases if rule.keeps(case)] for rule in rules] == [["a", "b"], ["c"]]


def test_gates_of_a_suite_become_rules():
    gates = [
        Gate(metric="throughput", max_regression="3%"),
        Gate(metric="status", no_new=["oom"], where={"mode": "train"}),
    ]
    assert [str(rule) for rule in rules_of(gates)] == ["throughput 3.0%", "no new oom mode=train"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("throughput", "not a gate"),
        ("throughput=", "not a gate"),
        ("throughput=3%@", "not a gate"),
        ("throughput=fast", "expected a fraction"),
        ("throughput=-3%", "at least 0"),
        ("sm_clock_mhz=3%", "not a metric that can get worse"),
        ("thruput=3%", "not a metric that can get worse"),
        ("status=slow", "slow is not a status that a gate can forbid"),
    ],
)
def test_a_gate_that_limits_nothing_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_gate(text)
