from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.core.errors import UsageError
from gpubench.suite.cases.expand import count_combinations, expand
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import MAX_CASES, Suite

AXES = {
    "mode": ["train", "infer"],
    "device": ["cpu", "cuda", "cuda:1"],
    "precision": ["fp32", "amp-bf16", "bf16"],
    "batch_size": [1, 64, 256],
    "cudnn_benchmark": [False, True],
}


def suite(**sections):
    return Suite.model_validate({"schema": 1, "name": "demo", **sections})


def test_the_last_axis_changes_fastest():
    cases = expand(suite(matrix={"mode": ["train", "infer"], "batch_size": [1, 2]})).cases
    assert [(case.mode, case.batch_size) for case in cases] == [("train", 1), ("train", 2), ("infer", 1), ("infer", 2)]


def test_without_a_matrix_there_is_the_case_of_the_defaults():
    assert expand(suite(defaults={"precision": "bf16"})).cases == (Case(precision="bf16"),)


def test_an_exclude_drops_what_matches_every_setting_and_a_list_means_any():
    found = expand(
        suite(
            matrix={"device": ["cpu", "cuda"], "precision": ["fp32", "tf32", "fp16"]},
            exclude=[{"device": "cpu", "precision": ["tf32", "fp16"]}, {"device": "cpu", "mode": "infer"}],
        )
    )
    assert [(case.device, case.precision) for case in found.cases] == [
        ("cpu", "fp32"),
        ("cuda", "fp32"),
        ("cuda", "tf32"),
        ("cuda", "fp16"),
    ]
    assert (found.num_combinations, found.num_excluded, found.idle_excludes) == (6, 2, (1,))


def test_rules_follow_what_stands_so_far_and_are_seen_by_exclude():
    cases = expand(
        suite(
            matrix={"device": ["cpu", "cuda"], "batch_size": [1, 64]},
            when=[
                {"if": {"device": "cuda"}, "set": {"memory_format": "NHWC"}},
                {"if": {"memory_format": "channels_last"}, "set": {"cudnn_benchmark": True}},
            ],
            exclude=[{"cudnn_benchmark": True, "batch_size": 1}],
        )
    ).cases
    assert [(case.device, case.batch_size, case.layout, case.cudnn_benchmark) for case in cases] == [
        ("cpu", 1, "NCHW", False),
        ("cpu", 64, "NCHW", False),
        ("cuda", 64, "NHWC", True),
    ]


def test_included_cases_are_whole_and_never_excluded():
    found = expand(
        suite(
            defaults={"data": "digits"},
            matrix={"precision": ["fp32"]},
            include=[{"precision": "bf16", "memory_format": "NCHW", "device": "cuda"}, {"device": "cuda"}],
            when=[{"if": {"device": "cuda"}, "set": {"memory_format": "NHWC"}}],
            exclude=[{"precision": "bf16"}],
        )
    )
    assert [(case.precision, case.layout, case.data) for case in found.cases] == [
        ("fp32", "NCHW", "digits"),
        ("bf16", "NCHW", "digits"),
        ("fp32", "NHWC", "digits"),
    ]


def test_a_case_is_there_once():
    found = expand(
        suite(
            matrix={"batch_size": [1, 2, 1], "memory_format": ["NHWC", "channels_last"]},
            include=[{"batch_size": 2}, {"batch_size": 2}],
        )
    )
    assert [(case.batch_size, case.layout) for case in found.cases] == [(1, "NHWC"), (2, "NHWC"), (2, "NCHW")]
    assert found.repeated_includes == (1,)


def test_environments_and_interpreters_are_axes():
    cases = expand(suite(matrix={"env": [{}, {"A": 1}], "python": [None, "/x/python"]})).cases
    assert [(case.env, case.python) for case in cases] == [
        ({}, None),
        ({}, "/x/python"),
        ({"A": "1"}, None),
        ({"A": "1"}, "/x/python"),
    ]


@pytest.mark.timeout(20)
def test_too_many_are_refused_before_any_is_made():
    numbers = list(range(1, 1001))
    huge = suite(matrix=dict.fromkeys(("batch_size", "seed", "accumulate", "cpu_threads"), numbers))
    assert count_combinations(huge) == 10**12
    with pytest.raises(UsageError, match="1,000,000,000,000 combinations; a suite has at most 10,000"):
        expand(huge)


def test_the_limit_itself_is_allowed():
    most = suite(matrix={"batch_size": list(range(1, 101)), "seed": list(range(100))})
    assert len(expand(most).cases) == MAX_CASES
    with pytest.raises(UsageError, match="10,001 combinations"):
        expand(most.model_copy(update={"include": [{"mode": "infer"}]}))


@st.composite
def patterns(draw):
    names = draw(st.sets(st.sampled_from(sorted(AXES)), min_size=1, max_size=3))
    values = {
        name: draw(st.lists(st.sampled_from(AXES[name]), min_size=1, max_size=2, unique=True)) for name in sorted(names)
    }
    return {name: each[0] if len(each) == 1 else each for name, each in values.items()}


def fits(settings, pattern):
    """`exclude`, said in other words."""
    for name, wanted in pattern.items():
        options = wanted if isinstance(wanted, list) else [wanted]
        actual = settings[name]
        if actual not in options and not (name == "device" and actual != "cpu" and "cuda" in options):
            return False
    return True


@given(
    matrix=st.dictionaries(st.sampled_from(sorted(AXES)), st.none(), min_size=1).map(
        lambda names: {name: AXES[name] for name in names}
    ),
    excludes=st.lists(patterns(), max_size=4),
)
def test_cases_are_the_product_less_what_is_excluded(matrix, excludes):
    found = expand(suite(matrix=matrix, exclude=excludes))
    every = [Case(**dict(zip(matrix, values, strict=True))) for values in product(*matrix.values())]
    kept = [case for case in every if not any(fits(case.settings, each) for each in excludes)]
    assert list(found.cases) == kept
    assert found.num_excluded == len(every) - len(kept)
    assert found.idle_excludes == tuple(
        at for at, each in enumerate(excludes) if not any(fits(case.settings, each) for case in every)
    )
