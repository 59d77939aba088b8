import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.core.findings import finding
from gpubench.core.records import Record, Status
from gpubench.runner.launch.recorder import PlannedLaunch
from gpubench.runner.schedule import LaunchSchedule, counts
from gpubench.store.run_info import PlannedCase
from gpubench.suite.model.case import Case


def plan(*batches, kind="measure", **settings):
    cases = [Case(batch_size=batch, **settings) for batch in batches]
    return [
        PlannedCase(index=at, kind=kind, case_id=case.case_id, label=f"b{case.batch_size}", settings=case.settings)
        for at, case in enumerate(cases, start=1)
    ]


def ended(case, repeat=1, status=Status.OK, arm=None, **fields):
    return Record(
        case_index=case.index, case_id=case.case_id, label=case.label, repeat=repeat, status=status, arm=arm, **fields
    )


def everything(schedule):
    return [launch for number in schedule.rounds for launch in schedule.round(number)]


@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 2**31))
def test_every_case_is_launched_once_in_every_round(num_cases, repeats, seed):
    cases = plan(*range(1, num_cases + 1))
    schedule = LaunchSchedule(cases, repeats=repeats, seed=seed)
    for number in schedule.rounds:
        assert sorted(launch.case.index for launch in schedule.round(number)) == list(range(1, num_cases + 1))
    assert schedule.num_launches == num_cases * repeats == len(everything(schedule))


def test_the_order_is_drawn_anew_each_round_and_repeats_with_its_seed():
    cases = plan(*range(1, 31))
    first, second = (LaunchSchedule(cases, repeats=2, seed=7) for _ in range(2))
    orders = [[launch.case.index for launch in first.round(number)] for number in (1, 2)]
    assert orders[0] != orders[1]
    assert orders == [[launch.case.index for launch in second.round(number)] for number in (1, 2)]
    assert orders[0] != [launch.case.index for launch in LaunchSchedule(cases, repeats=2, seed=8).round(1)]


def test_cases_taken_a_few_at_once_are_measured_to_their_end_first():
    cases = [*plan(1, 2, 3), plan(64, kind="quality")[0].model_copy(update={"index": 4})]
    schedule = LaunchSchedule(cases, repeats=2, at_once=2)
    groups = [
        [(launch.case.index, launch.repeat) for number in schedule.rounds for launch in schedule.round(number, group)]
        for group in schedule.groups
    ]
    assert [sorted(group) for group in groups] == [[(1, 1), (1, 2), (2, 1), (2, 2)], [(3, 1), (3, 2)], [(4, 1)]]
    assert [repeat for _, repeat in groups[0]] == [1, 1, 2, 2]


def test_training_to_a_result_comes_after_all_measuring():
    cases = [*plan(64), plan(64, kind="quality")[0].model_copy(update={"index": 2})]
    schedule = LaunchSchedule(cases, repeats=3, quality_seeds=2)
    assert [(launch.case.kind, launch.repeat) for launch in everything(schedule)] == [
        ("measure", 1),
        ("measure", 2),
        ("measure", 3),
        ("quality", 1),
        ("quality", 2),
    ]


def test_a_case_that_the_machine_cannot_run_is_not_scheduled():
    (case,) = plan(64)
    skipped = case.model_copy(update={"skip_status": Status.SKIPPED, "skip_reason": "no CUDA device"})
    assert everything(LaunchSchedule([skipped], repeats=3)) == []


@pytest.mark.parametrize("status", [Status.OOM, Status.UNSUPPORTED, Status.TIMEOUT])
def test_an_end_that_would_only_repeat_ends_the_case(status):
    (case,) = plan(64)
    schedule = LaunchSchedule([case], repeats=3)
    schedule.note(ended(case, status=status))
    assert schedule.over(case)
    assert (schedule.num_done, schedule.num_left) == (3, 0)


def test_a_failed_launch_is_tried_in_the_next_round_again():
    (case,) = plan(64)
    schedule = LaunchSchedule([case], repeats=3)
    schedule.note(ended(case, status=Status.FAILED))
    assert [launch.repeat for launch in everything(schedule)] == [2, 3]


def test_larger_batches_of_an_equal_case_are_skipped_after_an_oom():
    cases = plan(64, 128, 256)
    schedule = LaunchSchedule(cases, repeats=2)
    schedule.note(ended(cases[1], status=Status.OOM))
    assert schedule.why_skip(PlannedLaunch(cases[2], 1)) == "larger than an OOM (batch 128)"
    assert schedule.why_skip(PlannedLaunch(cases[0], 1)) is None
    assert schedule.why_skip(PlannedLaunch(cases[1], 1)) is None


def test_an_oom_says_nothing_about_a_case_with_other_settings():
    small, large = plan(64)[0], plan(128, precision="amp-bf16")[0].model_copy(update={"index": 2})
    schedule = LaunchSchedule([small, large], repeats=1)
    schedule.note(ended(small, status=Status.OOM))
    assert schedule.why_skip(PlannedLaunch(large, 1)) is None


def test_the_largest_batch_that_fits_is_looked_for_whatever_ran_out_of_memory():
    cases = plan(64, "max")
    schedule = LaunchSchedule(cases, repeats=1)
    schedule.note(ended(cases[0], status=Status.OOM))
    assert schedule.why_skip(PlannedLaunch(cases[1], 1)) is None
    reverse = LaunchSchedule(cases, repeats=1)
    reverse.note(ended(cases[1], status=Status.OOM))
    assert reverse.why_skip(PlannedLaunch(cases[0], 1)) is None


def test_no_oom_skip_measures_larger_batches_all_the_same():
    cases = plan(64, 128)
    schedule = LaunchSchedule(cases, repeats=1, skip_after_oom=False)
    schedule.note(ended(cases[0], status=Status.OOM))
    assert schedule.why_skip(PlannedLaunch(cases[1], 1)) is None


def test_what_was_cut_short_or_left_out_is_measured_when_a_run_is_resumed():
    (case,) = plan(64)
    short = finding("GB104", "The measurement was ended early.")
    records = [
        ended(case, 1),
        ended(case, 2, findings=(short,)),
        ended(case, 3, Status.SKIPPED, reason="the time budget was used up"),
    ]
    schedule = LaunchSchedule([case], repeats=4, records=records)
    assert [launch.repeat for launch in everything(schedule)] == [2, 3, 4]
    assert schedule.num_done == 1
    assert counts(ended(case, 4, Status.SKIPPED, reason="larger than an OOM (batch 8)"))


def test_arms_stand_side_by_side_in_random_order():
    cases = plan(*range(1, 41))
    schedule = LaunchSchedule(cases, repeats=1, arms=["base", "head"], seed=3)
    launches = schedule.round(1)
    pairs = [(launches[at], launches[at + 1]) for at in range(0, len(launches), 2)]
    assert all(a.case == b.case and {a.arm, b.arm} == {"base", "head"} for a, b in pairs)
    assert {first.arm for first, _ in pairs} == {"base", "head"}


@given(st.integers(0, 2**31), st.sampled_from([["base", "head"], ["a", "b", "c"]]))
def test_of_two_rounds_the_second_turns_the_order_of_the_arms_around(seed, arms):
    cases = plan(64, 128)
    schedule = LaunchSchedule(cases, repeats=6, arms=arms, seed=seed)
    for case in cases:
        orders = [
            [launch.arm for launch in schedule.round(number) if launch.case == case] for number in schedule.rounds
        ]
        assert [order[::-1] for order in orders[::2]] == orders[1::2]


def test_the_order_of_the_arms_is_drawn_anew_for_every_two_rounds():
    cases = plan(64)
    schedule = LaunchSchedule(cases, repeats=40, arms=["base", "head"], seed=3)
    assert {schedule.round(number)[0].arm for number in range(1, 41, 2)} == {"base", "head"}


def test_a_round_of_which_one_arm_is_missing_is_measured_anew():
    (case,) = plan(64)
    records = [ended(case, 1, arm="base"), ended(case, 1, arm="head"), ended(case, 2, arm="head")]
    schedule = LaunchSchedule([case], repeats=3, arms=["base", "head"], records=records)
    assert [len(schedule.round(number)) for number in schedule.rounds] == [0, 2, 2]


def test_an_arm_that_has_ended_for_good_makes_no_round_anew():
    (case,) = plan(64)
    records = [ended(case, 1, arm="base"), ended(case, 1, Status.OOM, arm="head")]
    schedule = LaunchSchedule([case], repeats=3, arms=["base", "head"], records=records)
    assert [[launch.arm for launch in schedule.round(number)] for number in schedule.rounds] == [[], ["base"], ["base"]]


def test_a_settled_case_leaves_the_schedule():
    cases = plan(64, 128)
    schedule = LaunchSchedule(cases, repeats=10, arms=["base", "head"])
    schedule.settle(cases[0])
    assert {launch.case.index for launch in everything(schedule)} == {2}
    assert schedule.over(cases[0])


def test_the_last_record_of_a_launch_counts():
    (case,) = plan(64)
    schedule = LaunchSchedule([case], repeats=2)
    schedule.note(ended(case, 1, Status.FAILED))
    schedule.note(ended(case, 1))
    assert [record.status for record in schedule.records_of(case)] == [Status.OK]


def test_a_launch_that_was_cut_short_is_left_to_do_and_has_a_figure_all_the_same():
    (case,) = plan(64)
    cut = ended(case, 1, findings=(finding("GB104", "cut short"),))
    schedule = LaunchSchedule([case], repeats=2, records=[cut])
    assert schedule.missing() == [PlannedLaunch(case, 1, None)]
    assert schedule.has_figure(PlannedLaunch(case, 1))
    assert not schedule.has_figure(PlannedLaunch(case, 2))


def test_missing_names_the_first_launch_of_each_case():
    cases = plan(64, 128)
    schedule = LaunchSchedule(cases, repeats=3)
    schedule.note(ended(cases[0], 1))
    assert [(launch.case.index, launch.repeat) for launch in schedule.missing()] == [(1, 2), (2, 1)]


def test_an_arm_that_ended_for_good_leaves_the_others_nothing_to_be_held_against():
    cases = plan(64, 128)
    schedule = LaunchSchedule(cases, repeats=10, arms=["base", "head"])
    schedule.note(ended(cases[0], status=Status.OOM, arm="head"))
    schedule.note(ended(cases[1], status=Status.FAILED, arm="head"))
    assert schedule.one_sided(cases[0])
    assert not schedule.one_sided(cases[1])
    alone = LaunchSchedule(cases, repeats=10)
    alone.note(ended(cases[0], status=Status.OOM))
    assert not alone.one_sided(cases[0])
