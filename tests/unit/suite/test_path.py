import pytest

from gpubench.suite.cases.expand import cumulated, expand, path_settings, staged_cases
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Suite

PATH = """\
defaults: {device: cuda}
path:
  - {precision: tf32}
  - {memory_format: NHWC, batch_size: 128}
  - {precision: amp-bf16}
"""


def suite(**sections):
    return Suite.model_validate({"schema": 1, "name": "demo", **sections})


def test_each_change_stands_on_those_before_it_and_a_later_value_replaces_an_earlier_one():
    assert cumulated([{"precision": "tf32"}, {"batch_size": 128}, {"precision": "bf16"}]) == [
        {},
        {"precision": "tf32"},
        {"precision": "tf32", "batch_size": 128},
        {"precision": "bf16", "batch_size": 128},
    ]


def test_a_path_gives_its_base_its_stages_and_each_change_alone(parsed):
    cases = parsed(PATH).cases
    assert [(case.precision, case.memory_format, case.batch_size) for case in cases] == [
        ("fp32", "contiguous", 64),
        ("tf32", "contiguous", 64),
        ("tf32", "channels_last", 128),
        ("amp-bf16", "channels_last", 128),
        ("fp32", "channels_last", 128),
        ("amp-bf16", "contiguous", 64),
    ]
    assert all(case.device == "cuda" for case in cases)


def test_without_a_path_there_are_no_stages():
    assert path_settings([]) == []
    assert staged_cases(suite()) == ((), ())
    assert expand(suite()).cases == (Case(),)


def test_stages_are_found_again_in_the_stored_suite(parsed):
    loaded = parsed(PATH)
    stored = Suite.model_validate(loaded.suite.model_dump(mode="json", by_alias=True, exclude_unset=True))
    stages, alone = staged_cases(stored)
    assert stages == loaded.cases[:4]
    assert [case.precision for case in alone] == ["tf32", "fp32", "amp-bf16"]
    assert {case.case_id for case in (*stages, *alone)} <= {case.case_id for case in loaded.cases}


def test_rules_follow_the_stages_of_a_path():
    found = suite(path=[{"precision": "tf32"}], when=[{"if": {"precision": "tf32"}, "set": {"cudnn_benchmark": True}}])
    assert [case.cudnn_benchmark for case in expand(found).cases] == [False, True]


def test_an_override_takes_a_setting_from_the_path(parsed):
    cases = parsed(PATH, "batch_size=32", "precision=fp32").cases
    assert [(case.memory_format, case.batch_size) for case in cases] == [("contiguous", 32), ("channels_last", 32)]


def test_mistakes_on_a_path_are_told_like_any_other(problems):
    assert problems("path:\n  - {precision: tf23}\n  - {lay_out: NHWC}\n") == [
        "path[0].precision: unknown value 'tf23' (did you mean 'tf32'?)",
        "path[1].lay_out: unknown key",
    ]


@pytest.mark.parametrize("value", ["max", 1, 2**24])
def test_a_batch_is_a_number_or_the_largest_that_fits(value):
    assert Case(batch_size=value).batch_size == value


@pytest.mark.parametrize("value", [0, -1, 2**24 + 1, "min", 1.5])
def test_any_other_batch_is_refused_in_one_sentence(value):
    with pytest.raises(ValueError, match="a whole number from 1 to 16777216, or `max`") as caught:
        Case(batch_size=value)
    assert len(caught.value.errors()) == 1


def test_the_largest_batch_is_no_number_before_a_worker_found_it():
    case = Case(batch_size="max")
    assert case.settings["batch_size"] == "max"
    for ask in (lambda: case.batch, lambda: case.samples_per_step):
        with pytest.raises(ValueError, match="known only where the case runs"):
            ask()


def test_new_settings_leave_the_ids_of_cases_as_they_were():
    assert Case().case_id == "44136fa355"
    assert Case(batch_size=3, precision="bf16").case_id == "235af0c283"


@pytest.mark.parametrize("shape", ["4096", 4096, "64x56x64x3", "128x64x32", "256MiB", "1GiB"])
def test_a_shape_is_numbers_or_a_size(shape):
    assert Case(shape=shape).shape == str(shape)


@pytest.mark.parametrize("shape", ["", "0", "x3", "3x", "0x10", "256MB", "1.5GiB", "1x2x3x4x5x6"])
def test_any_other_shape_is_refused(shape):
    with pytest.raises(ValueError, match="pattern"):
        Case(shape=shape)
