import pytest

from gpubench.core.errors import UsageError
from gpubench.core.records import Status
from gpubench.runner.arms.arm import Arm, check_cases, level_of_run, levels_of, why_not_blocks
from gpubench.store.run_info import PlannedCase
from gpubench.suite.model.case import Case

BASE = Arm("base")


def planned(*cases):
    return [
        PlannedCase(index=at, case_id=case.case_id, label=f"case {at}", settings=case.settings)
        for at, case in enumerate(cases, start=1)
    ]


def head(**settings):
    return Arm("head", settings=settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"precision": "amp-bf16"},
        {"memory_format": "channels_last"},
        {"batch_size": 128},
        {"compile": "default"},
        {"fused": True},
        {"cudnn_deterministic": True},
    ],
)
def test_what_a_model_brings_with_it_or_a_switch_sets_shares_a_process(settings):
    assert levels_of([BASE, head(**settings)], planned(Case())) == {1: "block"}


@pytest.mark.parametrize(
    ("arm", "reason"),
    [
        (head(cpu_threads=2), "cpu_threads belongs to a process as a whole"),
        (head(device="cuda"), "device belongs"),
        (Arm("head", env={"A": "1"}), "the environment belongs"),
        (Arm("head", python="/other/python"), "the interpreter belongs"),
        (head(data_path="loader"), "a loader's workers go on fetching"),
        (head(batch_size="max"), "the largest batch is searched for"),
    ],
)
def test_anything_else_takes_turns_in_launches_and_cannot_be_forced_into_blocks(arm, reason):
    assert levels_of([BASE, arm], planned(Case())) == {1: "launch"}
    with pytest.raises(UsageError, match=reason):
        levels_of([BASE, arm], planned(Case()), "block")


def test_the_autotuner_is_switched_on_a_cpu_but_kept_by_torch_for_the_whole_process_on_a_gpu():
    arms = [BASE, head(cudnn_benchmark=True)]
    assert levels_of(arms, planned(Case(device="cpu"), Case(device="cuda"))) == {1: "block", 2: "launch"}
    same = [BASE, head(precision="tf32")]
    assert levels_of(same, planned(Case(device="cuda", cudnn_benchmark=True))) == {1: "block"}


def test_what_the_suite_itself_sets_for_both_arms_is_no_obstacle():
    assert (
        why_not_blocks({"a": Case(env={"A": "1"}, cpu_threads=2), "b": Case(env={"A": "1"}, cpu_threads=2, fused=True)})
        is None
    )


def test_launches_can_be_asked_for_and_skipped_or_trained_cases_have_no_level():
    first, second, third = planned(Case(), Case(batch_size=8), Case(batch_size=16))
    second = second.model_copy(update={"skip_status": Status.SKIPPED, "skip_reason": "no"})
    third = third.model_copy(update={"kind": "quality"})
    assert levels_of([BASE, head(fused=True)], [first, second, third], "launch") == {1: "launch"}


def test_a_run_is_called_by_the_stronger_level_that_it_has():
    assert level_of_run({1: "launch", 2: "block"}) == "block"
    assert level_of_run({1: "launch"}) == "launch"


def test_an_arm_may_not_set_what_tells_cases_of_the_suite_apart():
    cases = planned(Case(precision="fp32"), Case(precision="amp-bf16"))
    with pytest.raises(UsageError, match="arm head sets precision, which is an axis of the suite") as caught:
        check_cases([BASE, head(precision="fp16")], cases)
    assert caught.value.hint == "Keep one of its values: -s precision=VALUE."
    check_cases([BASE, head(fused=True)], cases)
    check_cases([BASE, head(precision="amp-bf16")], cases[:1])
