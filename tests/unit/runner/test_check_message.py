import math

import pytest
from fakes.scripted_host import DONE, SERIES

from gpubench.core.findings import finding
from gpubench.core.records import RankRecord, Window
from gpubench.protocol.messages import Failed, Job, JobArm, Phase, Progress, Result, decode, encode
from gpubench.runner.launch.check_message import problem
from gpubench.suite.model.case import Case

JOB = Job(job=1, case=Case(), log="log")
BLOCKS = JOB.model_copy(
    update={"kind": "blocks", "arms": (JobArm(name="a", case=Case()), JobArm(name="b", case=Case()))}
)
WINDOW = Window(start_s=1.0, end_s=2.0, num_steps=10, num_samples=10)
NAN = math.nan


def result(**fields):
    return DONE.model_copy(update=fields)


def series(**fields):
    return result(series=SERIES.model_copy(update=fields))


@pytest.mark.parametrize(
    "message",
    [
        DONE,
        result(window=WINDOW, step_times_s=(0.01, 0.02), marks={"idle_s": (0.0, 1.0), "phase_build_s": (0.0, 1.0)}),
        series(low_s=0.009, high_s=0.011),
        result(metrics={"mine": NAN}),
        Result(interrupted=True),
        Phase(name="measuring", at_s=1.0),
        Progress(num_steps=3),
        Failed(status="failed", reason="RuntimeError: no"),
    ],
)
def test_honest_messages_are_believed(message):
    assert problem(message, JOB) is None


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (Result(), "without figures"),
        (result(window=WINDOW.model_copy(update={"end_s": 0.0})), "a window from 1.0 to 0.0"),
        (series(low_s=0.009), "0.009 to None"),
        (series(low_s=0.02, high_s=0.01), "0.02 to 0.01"),
        (result(step_times_s=(0.01, NAN)), "step times"),
        (result(step_times_s=(-0.01,)), "step times"),
        (result(block_log_ratio=NAN), "ratio of nan"),
        (result(marks={"x" * 70_000: (1.0,)}), "proper names"),
        (result(marks={"../x": (1.0,)}), "proper names"),
        (result(marks={"idle_s": (1.0,)}), "no times"),
        (result(marks={"burst_s": (1.0, 2.0, 3.0)}), "no times"),
        (result(metrics={"a\x1b[31m": 1.0}), "proper names"),
        (result(findings=(finding("GB103", "x" * (2 << 20)),)), "bytes beside its series"),
        (Failed(status="failed", reason="x" * (2 << 20)), "bytes beside its series"),
        (Phase(name="\x1b]0;owned\x07", at_s=1.0), "phase"),
        (Progress(num_steps=3, step_time_s=NAN), "progress"),
        (result(arms=(DONE,)), "figures of 1 arms, where 0 were asked for"),
    ],
)
def test_what_cannot_be_true_is_named(message, said):
    assert said in problem(message, JOB)


def test_a_fleet_of_ten_thousand_cards_is_no_overlong_message():
    cards = tuple(RankRecord(rank=number, host=f"host{number}", step_time_s=0.01) for number in range(10_000))
    assert problem(result(ranks=cards), JOB.model_copy(update={"seats": ()})) is None
    assert "bytes beside its series" in problem(result(ranks=cards), JOB)


def test_blocks_need_the_figures_of_every_arm():
    assert problem(Result(arms=(DONE, DONE)), BLOCKS) is None
    assert "figures of 1 arms" in problem(Result(arms=(DONE,)), BLOCKS)
    assert problem(Result(arms=(DONE, Result())), BLOCKS) == "an arm without figures"
    assert "0.02 to 0.01" in problem(Result(arms=(DONE, series(low_s=0.02, high_s=0.01))), BLOCKS)
    assert problem(DONE, BLOCKS) == "a result without figures"


@pytest.mark.parametrize(
    "message",
    [
        result(window=WINDOW.model_copy(update={"end_s": math.inf})),
        result(window=WINDOW.model_copy(update={"num_samples": -1})),
        series(median_s=0.0),
        series(median_s=1e31),
        series(low_s=-1.0, high_s=1.0),
        series(num_steady=-1),
        series(group=-1),
        Result(arms=(DONE, series(median_s=0.0))),
    ],
)
def test_figures_out_of_their_bounds_are_no_message(message):
    with pytest.raises(ValueError, match="validation error"):
        decode(encode(message))
