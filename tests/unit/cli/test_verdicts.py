import io
import math
import random

import click
import pytest
from fakes.gate_runs import two_arms
from fakes.runs import ENVIRONMENT, effective

from gpubench.analysis.compare.compare_sides import compare_sides
from gpubench.analysis.compare.run_sides import arm_sides, differences
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.cli.console import make_console
from gpubench.cli.run_arms import AskedArms
from gpubench.cli.screens.run_progress import LiveProgress, LogProgress
from gpubench.cli.standing_verdicts import Verdicts
from gpubench.core.findings import finding
from gpubench.core.records import Status
from gpubench.report.comparison.comparison_report import build_comparison
from gpubench.report.model.report_model import plain
from gpubench.runner.events import CaseFinished, LaunchFinished, LaunchStarted, RoundFinished, RunStarted
from gpubench.store.run_info import ArmInfo, RunInfo
from gpubench.store.run_reader import load_run
from gpubench.suite.model.case import Case

DRIFTS = finding("GB202", "Step time drifted.")


def noise(number, mean=0.0, spread=0.005, seed=0):
    draw = random.Random(seed)
    return [draw.gauss(mean, spread) for _ in range(number)]


class Measured:
    """Rounds of one case, given as log ratios of step time."""

    def __init__(self, logs, **fields):
        self.made = two_arms()
        self.case = self.made.plan(batch_size=64)
        self.made.launches(self.case, 1000.0, [1.0] * len(logs), arm="base")
        self.made.launches(self.case, 1000.0, [math.exp(-log) for log in logs], arm="head", **fields)

    def records(self, rounds=None):
        return tuple(record for record in self.made.records if rounds is None or record.repeat <= rounds)


def verdicts(**settings):
    return Verdicts(["base", "head"], 24, CompareSettings(), **settings)


def rounds_used(measured, judge, most=24):
    """After how many rounds the case left the schedule; None if it never did."""
    return next((number for number in range(1, most + 1) if judge(measured.case, measured.records(number))), None)


def test_a_plain_change_is_settled_at_the_first_look():
    judge, measured = verdicts(), Measured(noise(24, 0.05))
    assert rounds_used(measured, judge) == 5
    (standing,) = judge.of(measured.case)
    assert standing.verdict == "slower"
    assert str(standing).startswith("head vs base throughput -")
    assert str(standing).endswith("slower, round 5")
    assert standing.tone == "bad"


@pytest.mark.parametrize(("logs", "weak"), [(noise(6, 0.05), ()), (noise(6, -0.05), ()), (noise(6, 0.05), (DRIFTS,))])
def test_one_case_has_the_same_change_while_measured_in_words_and_in_the_table(logs, weak, tmp_path):
    measured = Measured(logs, findings=list(weak))
    judge, run = verdicts(), load_run(measured.made.write(tmp_path, "run"))
    judge(measured.case, measured.records())
    (standing,) = judge.of(measured.case)
    reference, others = arm_sides(run)
    model = build_comparison(compare_sides(reference, others[0]))
    (row,) = model.section("changed").tables[0].rows[:1]
    change = row.cells[6].text
    assert change.count(",") == 1
    assert f"throughput {change}" in str(standing)
    assert f"Throughput {change}." in [plain(said) for said in model.headline]
    word = "slower" if logs[0] > 0 else "faster"
    assert (row.cells[0].text, row.cells[8].text.partition(", output")[0]) == (
        ("!", f"{word}, weakened") if weak else ("-" if word == "slower" else "+", word)
    )


def test_an_arm_that_sets_nothing_is_said_with_the_suites_value(tmp_path):
    made = two_arms(given={"head": {"set.batch_size": "32"}})
    case = made.plan(batch_size=64)
    for arm, batch in (("base", 64), ("head", 32)):
        made.launches(case, 1000.0, [1.0] * 6, arm=arm)
        took = effective(Case(batch_size=batch))
        made.records[-6:] = [record.model_copy(update={"effective": took}) for record in made.records[-6:]]
    reference, (head,) = arm_sides(load_run(made.write(tmp_path, "run")))
    told = [f"{each.shown} {each.before} -> {each.after}" for each in differences(reference, head)]
    assert told == ["batch_size 64 -> 32"]


def test_a_change_the_other_way_is_faster_and_none_is_the_same():
    for mean, word in ((-0.05, "faster"), (0.0, "same")):
        judge, measured = verdicts(), Measured(noise(24, mean))
        assert rounds_used(measured, judge) == 5
        assert judge.of(measured.case)[0].verdict == word


def test_between_looks_nothing_is_settled_however_plain_it_is():
    judge, measured = verdicts(), Measured(noise(24, 0.05))
    for number in range(1, 5):
        assert not judge(measured.case, measured.records(number))
    (standing,) = judge.of(measured.case)
    assert standing.verdict is None
    assert str(standing).endswith("undecided, round 4 (looked at after 5)")


def test_rounds_that_end_between_two_looks_are_looked_at_once_more():
    judge, measured = Verdicts(["base", "head"], 8, CompareSettings()), Measured(noise(8, 0.05, 0.02, seed=6))
    assert rounds_used(measured, judge, 8) == 8
    (standing,) = judge.of(measured.case)
    assert str(standing).endswith("slower, round 8")


def test_noise_ends_unclear_after_all_rounds_with_what_it_would_take():
    judge, measured = verdicts(), Measured(noise(24, 0.01, 0.1))
    assert rounds_used(measured, judge) == 24
    assert str(judge.of(measured.case)[0]).endswith("would tell)")


def test_a_case_whose_output_is_wrong_is_not_measured_on():
    judge, measured = verdicts(), Measured(noise(2), parity=False)
    assert rounds_used(measured, judge) == 1
    assert "INVALID" in judge.of(measured.case)[0].why


def test_an_arm_that_always_fails_is_given_up_after_three_rounds():
    judge, measured = verdicts(), Measured([])
    records = []
    for number in range(1, 4):
        for arm, status in (("base", Status.OK), ("head", Status.FAILED)):
            measured.made._add(measured.case, number, arm, status, metrics={"throughput": 1.0} if arm == "base" else {})
        records.append(judge(measured.case, measured.records(number)))
    assert records == [False, False, True]


def test_alternating_blocks_are_judged_by_their_own_ratios():
    measured = Measured(noise(24, 0.0, 0.3))
    measured.made.records = [
        record.model_copy(update={"block_log_ratio": log}) if record.arm == "head" else record
        for record, log in zip(measured.made.records, noise(24) + noise(24, 0.05), strict=True)
    ]
    judge = verdicts()
    assert rounds_used(measured, judge) == 5
    assert judge.of(measured.case)[0].verdict == "slower"


def test_of_a_screened_run_only_what_looks_changed_goes_on():
    quiet, moved = Measured(noise(20)), Measured(noise(20, 0.05))
    judge = verdicts(screen_rounds=10)
    assert rounds_used(quiet, judge, 20) == 10
    assert judge.of(quiet.case)[0].verdict == "same"
    judge = verdicts(screen_rounds=10)
    assert rounds_used(moved, judge, 20) is None
    assert "looks changed: judged on its fresh rounds" in str(judge.of(moved.case)[0])


def test_a_run_that_goes_on_is_judged_as_it_was_begun():
    assert AskedArms().verdicts(["a", "b"], 24, None, 0.1)._settings.sesoi == 0.1
    assert AskedArms(sesoi=0.05).verdicts(["a", "b"], 24, None, 0.1)._settings.sesoi == 0.05
    assert AskedArms().verdicts(["a", "b"], 24, None)._settings.sesoi == 0.03


def test_many_cases_are_screened_and_few_are_not():
    assert AskedArms(("a", "b"))._rounds(16) == (24, None)
    assert AskedArms(("a", "b"))._rounds(17) == (20, 10)
    assert AskedArms(("a", "b"), rounds=40)._rounds(50) == (40, 10)
    with pytest.raises(click.BadParameter, match="3 cases need at least 5 rounds"):
        AskedArms(("a", "b"), rounds=4)._rounds(3)
    with pytest.raises(click.BadParameter, match="need at least 16 rounds: 10 to screen them"):
        AskedArms(("a", "b"), rounds=12)._rounds(30)


def events(measured, judge, most=5):
    info = RunInfo(
        run="r",
        suite_name="fake",
        suite={"schema": 1, "name": "fake"},
        suite_digest="0",
        created="2026-11-23T16:02:00Z",
        repeats=24,
        cases=(measured.case,),
        environment=ENVIRONMENT,
        interleave="launch",
        arms=(ArmInfo(name="base"), ArmInfo(name="head", given={"git": "main", "commit": "0" * 40})),
    )
    yield RunStarted(info, None, 48)
    for number in range(1, most + 1):
        for record in measured.records(number)[-1:]:
            yield LaunchStarted(measured.case, number, 24, record.arm)
            yield LaunchFinished(measured.case, record, 2 * number, 48)
        judge(measured.case, measured.records(number))
        yield RoundFinished(measured.case, measured.records(number), number)
    yield CaseFinished(measured.case, measured.records(most), 1, 1, 1.0, None)


def test_a_log_says_after_each_round_how_the_arms_stand():
    measured, judge, file = Measured(noise(24, 0.05)), verdicts(), io.StringIO()
    with LogProgress(make_console(file), verdicts=judge) as progress:
        for event in events(measured, judge):
            progress(event)
    said = file.getvalue()
    assert "base (as the suite says), head (git=main)" in said
    assert "launches in turn" in said
    assert "at most 24 rounds of 2 arms" in said
    assert "[head]  launch 1" in said
    assert "64: head vs base throughput -" in said
    assert "undecided, round 4 (looked at after 5)" in said
    assert said.rstrip().splitlines()[-1].endswith("slower, round 5")


def test_a_terminal_draws_the_forming_verdict_and_keeps_the_settled_one():
    measured, judge, file = Measured(noise(24, 0.05)), verdicts(), io.StringIO()
    progress = LiveProgress(make_console(file, width=110), verdicts=judge)
    drawn = []
    with progress:
        for event in events(measured, judge):
            if isinstance(event, RunStarted):
                super(LiveProgress, progress)._start(event)
                continue
            progress(event)
            drawn.append(progress.drawn().plain)
    assert any("undecided, round 2" in text for text in drawn)
    assert all(text.count("head vs base") <= 1 for text in drawn)
    assert "head vs base" not in drawn[-1]
    assert "slower, round 5" in file.getvalue()


def test_a_finding_that_weakens_changes_no_verdict():
    judge, measured = verdicts(), Measured(noise(24, 0.05), findings=[finding("GB205", "waited")])
    assert rounds_used(measured, judge) == 5
