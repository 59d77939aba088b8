"""Efficiency of several ranks against one process, from rounds in which both were measured."""

import pytest
from fakes.runs import Invented

from gpubench.analysis.summary.run_summary import summarise_run


def summary_of(*cases):
    """Of cases as (settings, samples/s by round)."""
    made = Invented()
    for settings, rates in cases:
        planned = made.plan("a case", **{"device": "cuda", **settings})
        for repeat, rate in enumerate(rates, start=1):
            if rate is not None:
                made.add(planned, repeat, metrics={"throughput": rate})
    return summarise_run(made.run()).cases


def test_a_machine_that_slows_down_between_rounds_leaves_the_efficiency_as_it_is():
    one, two = summary_of(({}, [100, 50, 80]), ({"world_size": 2}, [180, 90, 144]))
    found = two.metrics["scaling_efficiency"]
    assert (found.value, found.low, found.high) == (pytest.approx(0.9), pytest.approx(0.9), pytest.approx(0.9))
    assert found.n == 3
    assert "scaling_efficiency" not in one.metrics


def test_its_interval_is_that_of_the_rounds():
    _, four = summary_of(({}, [100, 100, 100]), ({"world_size": 4}, [400, 300, 350]))
    found = four.metrics["scaling_efficiency"]
    assert found.low < 0.75 < found.value < 1.0 < found.high


def test_one_process_is_the_same_for_weak_and_strong_scaling_and_every_strategy():
    cases = summary_of(
        ({}, [100]), ({"world_size": 2, "scaling": "strong"}, [150]), ({"world_size": 2, "backend": "gloo"}, [120])
    )
    assert [round(entry.metrics["scaling_efficiency"].value, 3) for entry in cases[1:]] == [0.75, 0.6]


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ([({"batch_size": 8}, [100]), ({"world_size": 2}, [150])], "no case of one process with the same settings"),
        ([({}, [100, None]), ({"world_size": 2}, [None, 150])], "no round has both"),
        ([({"device": "cpu"}, [100]), ({"device": "cpu", "world_size": 2}, [150])], "the threads of all ranks"),
    ],
)
def test_without_a_process_alone_to_compare_with_it_is_absent_with_the_reason(cases, said):
    metrics = summary_of(*cases)[-1].metrics
    assert "scaling_efficiency" not in metrics
    assert said in metrics.absent["scaling_efficiency"]


def test_collectives_have_no_efficiency_and_need_no_reason():
    settings = {"workload": "collectives:all_reduce", "mode": "infer", "world_size": 2}
    (only,) = summary_of((settings, [100]))
    assert "scaling_efficiency" not in only.metrics.absent
