import pytest


def said(loaded):
    return [f"{each.path}: {each.message}" for each in loaded.warnings]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("exclude: [{mode: infer}]", "exclude[0]: excludes nothing: no combination matches it"),
        ("exclude: [{mode: train}]", "exclude: every combination is excluded: the suite has no cases"),
        ("matrix: {mode: []}", "matrix.mode: an axis without values: the suite has no cases"),
        ("matrix: {batch_size: [1, 2, 1]}", "matrix.batch_size[2]: the same as value 1 of this axis; measured once"),
        (
            "matrix: {memory_format: [NHWC, channels_last]}",
            "matrix.memory_format[1]: the same as value 1 of this axis; measured once",
        ),
        ("include: [{mode: train}]", "include[0]: the suite has this case already; measured once"),
        ("baseline: {device: cuda}", "baseline: no case matches it, so no speed-up is stated against it"),
        (
            "defaults: {mode: infer}\nquality: {data: digits}",
            "quality: there is no training case, so there are no quality runs",
        ),
        (
            "quality: {data: digits, reference: {precision: bf16}}",
            "quality.reference: no case matches it, so the score is compared with nothing",
        ),
        (
            "gates: [{metric: throughput, max_regression: 1%, where: {mode: infer}}]",
            "gates[0].where: no case matches it, so this gate checks nothing",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning_with_its_place(parsed, body, expected):
    loaded = parsed(body)
    assert said(loaded) == [expected]
    assert {each.severity for each in loaded.warnings} == {"warning"}


def test_options_may_leave_an_exclude_or_the_baseline_without_a_case(parsed):
    body = "matrix: {device: [cpu, cuda]}\nexclude: [{device: cuda, precision: fp32}]\nbaseline: {device: cpu}\n"
    assert said(parsed(body)) == []
    assert said(parsed(body, "device=cpu")) == []
    assert said(parsed(body, "device=cuda", "precision=tf32")) == []


def test_options_that_leave_no_case_at_all_are_still_told(parsed):
    body = "matrix: {device: [cpu, cuda]}\nexclude: [{device: cuda, precision: fp32}]\n"
    assert said(parsed(body, "device=cuda")) == ["exclude: every combination is excluded: the suite has no cases"]
