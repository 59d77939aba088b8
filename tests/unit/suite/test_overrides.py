import pytest

BODY = """\
defaults: {data: digits, batch_size: 32}
matrix:
  precision: [fp32, amp-bf16]
  memory_format: [NCHW, NHWC]
when:
  - {if: {precision: amp-bf16}, set: {optimizer: adamw}}
quality: {epochs: 8}
"""


def test_several_values_replace_an_axis_in_its_place(parsed):
    loaded = parsed(BODY, "precision=fp32,bf16,fp16")
    assert list(loaded.suite.matrix) == ["precision", "memory_format"]
    assert loaded.suite.matrix["precision"] == ["fp32", "bf16", "fp16"]
    assert len(loaded.cases) == 6


def test_several_values_of_a_default_make_a_new_last_axis(parsed):
    loaded = parsed(BODY, "batch_size=64,128")
    assert list(loaded.suite.matrix) == ["precision", "memory_format", "batch_size"]
    assert [case.batch_size for case in loaded.cases[:2]] == [64, 128]


def test_one_value_is_the_only_one(parsed):
    assert {case.precision for case in parsed(BODY, "precision=bf16").cases} == {"bf16"}
    loaded = parsed(BODY, "batch_size=8")
    assert {case.batch_size for case in loaded.cases} == {8}
    assert list(loaded.suite.matrix) == ["precision", "memory_format"]


@pytest.mark.parametrize("text", ["batch_size={pow2: [2, 4]}", "batch_size=[4, 8, 16]", "batch_size=4,8,16"])
def test_an_axis_can_be_written_as_in_the_file(parsed, text):
    assert parsed("", text).suite.matrix["batch_size"] == [4, 8, 16]


def test_what_is_given_is_not_undone_by_a_rule(parsed):
    assert {case.optimizer for case in parsed(BODY).cases} == {"sgd", "adamw"}
    assert {case.optimizer for case in parsed(BODY, "optimizer=sgd").cases} == {"sgd"}
    assert {case.optimizer for case in parsed(BODY, "optimizer=sgd,adam").cases} == {"sgd", "adam"}


def test_the_last_of_two_wins(parsed):
    assert {case.precision for case in parsed(BODY, "precision=bf16", "precision=fp16").cases} == {"fp16"}


def test_keys_of_measure_and_quality(parsed):
    suite = parsed(
        BODY, "measure.repeats=2", "measure.max_time=5s", "quality.epochs=1", "quality.learning_rate=1e-3,1e-2"
    ).suite
    assert (suite.measure.repeats, suite.measure.max_time) == (2, 5.0)
    assert suite.quality is not None
    assert (suite.quality.epochs, suite.quality.learning_rate) == (1, (1e-3, 1e-2))


def test_quality_can_be_switched_off_and_its_keys_switch_it_on(parsed):
    assert parsed(BODY, "quality=off").suite.quality is None
    assert parsed("defaults: {data: digits}", "quality.epochs=2").suite.quality.epochs == 2
    assert parsed("defaults: {data: digits}\nquality: off", "quality.epochs=2").suite.quality.epochs == 2


def test_values_are_yaml(parsed):
    (case,) = parsed("", 'env={A: "1", B: x}', "workload=torchvision:resnet18", "compile=off", "image_size=null").cases
    assert (case.env, case.workload, case.compile, case.image_size) == (
        {"A": "1", "B": "x"},
        "torchvision:resnet18",
        "off",
        None,
    )
    assert [case.env for case in parsed("", "env={A: 1},{A: 2}").cases] == [{"A": "1"}, {"A": "2"}]
    assert parsed("", "data_root='/data, all'").cases[0].data_root == "/data, all"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch_size", ": expected NAME=VALUE"),
        ("batch_size=", ": expected a value"),
        ("batch=3", ": there is no setting 'batch' (did you mean 'batch_size'?)"),
        ("measur.repeats=3", ": there is no setting 'measur.repeats' (did you mean 'measure.repeats'?)"),
        ("measure.repeat=3", "measure.repeat: unknown key (did you mean 'repeats'?)"),
        ("quality=on", ": there is no setting 'quality' (did you mean 'quality=off'?)"),
        ("precision=fp32,fp61", "matrix.precision[1]: unknown value 'fp61' (did you mean 'fp16'?)"),
        ("batch_size=x", "defaults.batch_size: must be a whole number from 1 to 16777216, or `max`"),
        ("batch_size=1]", ": not YAML"),
        ("batch_size={a: 1", ": not YAML"),
        ("mode=\x1b[31m", ": character U+001B is not allowed in a suite file"),
        ("=3", ": there is no setting ''"),
    ],
)
def test_a_wrong_option_is_refused(problems, text, said):
    (found,) = problems("", text)
    assert found.startswith(said)


def test_the_caret_stands_below_the_wrong_value(parsed):
    from gpubench.core.errors import SuiteError

    with pytest.raises(SuiteError) as caught:
        parsed("", "precision=fp32,fp61")
    _, shown, carets, _ = str(caught.value).splitlines()
    assert shown[carets.index("^") :] == "fp61"


def test_a_section_of_the_wrong_kind_is_the_mistake_that_is_reported(problems):
    assert problems("measure: 3", "measure.repeats=2") == ["measure: expected settings (`name: value`), got 3"]


@pytest.mark.parametrize("written", ["3.10", "1e3", "0x10", "010", "12345678901234567890", "+5", "1.", "1_000", "off"])
def test_variables_and_shapes_keep_their_text(parsed, written):
    env = {"A": written}
    assert parsed(f"defaults: {{env: {{A: {written}}}}}").cases[0].env == env
    assert parsed(f"matrix: {{env: [{{}}, {{A: {written}}}]}}").cases[1].env == env
    assert (
        parsed(f"exclude: [{{env: {{A: {written}}}}}]\nmatrix: {{env: [{{}}, {{A: '{written}'}}]}}").cases[0].env == {}
    )
    assert parsed("", f"env={{A: {written}}}").cases[0].env == env


@pytest.mark.parametrize("written", ["0x4", "0o4", "1e3"])
def test_the_size_of_an_input_is_a_decimal_number(problems, written):
    (said,) = problems("", f"input={written}")
    assert f"not the shape of a sample: '{written}'" in said


def test_a_number_used_again_as_a_variable_keeps_its_text(parsed):
    (case,) = parsed("defaults: {batch_size: &n 064, env: {A: *n}, workload: operators:matmul, shape: 64}").cases
    assert (case.batch_size, case.env, case.shape) == (64, {"A": "064"}, "64")
