"""Sizes and factors of the collectives; their results are checked in tests/integration/test_ranks.py."""

import pytest

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.suite.model.workload_names import COLLECTIVES
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.operators.collectives import Collective, bus_factor
from gpubench.worker.workloads.registry import resolve

GB = 1e9


def case_of(name="all_reduce", **given):
    given = {"workload": f"collectives:{name}", "mode": "infer", "batch_size": 1, "world_size": 4, **given}
    return Case.model_validate(given)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("all_reduce", 1.75),
        ("all_gather", 0.875),
        ("reduce_scatter", 0.875),
        ("all_to_all", 0.875),
        ("broadcast", 1.0),
        ("send_recv", 1.0),
    ],
)
def test_the_bus_carries_what_nccl_tests_says_for_eight_ranks(name, factor):
    assert bus_factor(name, 8) == factor


def test_bandwidths_are_of_all_calls_of_a_step():
    found = Collective("all_reduce").bandwidths(case_of(shape="1MiB", batch_size=10), 10 * 2**20 / GB)
    assert found == {"algbw": pytest.approx(GB), "busbw": pytest.approx(1.5 * GB)}


@pytest.mark.parametrize(
    ("settings", "num_bytes"),
    [
        ({}, 64 * 2**20),
        ({"shape": "4KiB"}, 4096),
        ({"shape": "1000", "world_size": 3}, 996),
        ({"shape": "100", "precision": "bf16", "world_size": 8}, 96),
    ],
)
def test_a_message_has_as_many_whole_elements_for_every_rank_as_its_size_has_room_for(settings, num_bytes):
    assert Collective("all_gather").message_bytes(case_of(**settings)) == num_bytes


def test_a_link_that_is_no_speed_is_refused():
    with pytest.raises(UsageError, match=r"`params.link`: "):
        Collective("all_reduce").num_elements(case_of(params={"link": "fast"}))


@pytest.mark.parametrize(("shape", "said"), [("4x4", "A shape here is a size"), ("8", "4 ranks have no element each")])
def test_a_shape_that_is_no_size_is_refused(shape, said):
    with pytest.raises(UsageError) as refused:
        Collective("all_reduce").num_elements(case_of(shape=shape))
    assert said in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"world_size": 1}, "at least two ranks; set `world_size`"),
        ({"precision": "tf32"}, "TF32 is none"),
        ({"mode": "train"}, "mode: infer"),
        ({"data_path": "loader"}, "`data_path` at resident"),
    ],
)
def test_settings_that_a_collective_does_not_have_are_refused_with_the_reason(settings, said):
    with pytest.raises(Unsupported, match=said):
        resolve("collectives:all_reduce").build(case_of(**settings), "cpu")


def test_every_name_is_a_workload_and_a_wrong_one_is_answered_with_the_nearest():
    assert {resolve(f"collectives:{name}").name for name in COLLECTIVES} == set(COLLECTIVES)
    with pytest.raises(UsageError) as wrong:
        resolve("collectives:all_reduced")
    assert wrong.value.hint == "Did you mean 'collectives:all_reduce'?"
