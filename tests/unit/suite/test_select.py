import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.suite.select.expression import parse_selection
from gpubench.suite.select.patterns import matches

CASES = [
    Case(mode=mode, device=device, precision=precision, batch_size=batch, cudnn_benchmark=bench)
    for mode in ("train", "infer")
    for device in ("cpu", "cuda", "cuda:1")
    for precision in ("fp32", "amp-bf16")
    for batch in (1, 64, 256)
    for bench in (False, True)
]


@pytest.mark.parametrize(
    ("where", "case", "fits"),
    [
        ({}, {}, True),
        ({"precision": "fp32", "mode": "train"}, {}, True),
        ({"precision": "fp32", "mode": "infer"}, {}, False),
        ({"precision": ["tf32", "fp32"]}, {}, True),
        ({"memory_format": "NHWC"}, {"memory_format": "channels_last"}, True),
        ({"compile": False}, {}, True),
        ({"batch_size": "64"}, {}, True),
        ({"batch_size": "max"}, {"batch_size": "max"}, True),
        ({"batch_size": 64}, {"batch_size": "max"}, False),
        ({"device": "cuda"}, {"device": "cuda"}, True),
        ({"device": "cuda"}, {"device": "cuda:1"}, True),
        ({"device": "cuda:1"}, {"device": "cuda:1"}, True),
        ({"device": "cuda:1"}, {"device": "cuda"}, False),
        ({"device": "cuda"}, {"device": "cpu"}, False),
        ({"image_size": None}, {}, True),
        ({"image_size": None}, {"image_size": 28}, False),
        ({"env": {"A": 1}}, {"env": {"A": "1", "B": "2"}}, True),
        ({"env": {"A": 1}}, {"env": {"A": "2"}}, False),
        ({"env": {}}, {"env": {}}, True),
        ({"env": {}}, {"env": {"A": "1"}}, False),
        ({"no_such": 1}, {}, False),
        ({"precision": "no such"}, {}, False),
    ],
)
def test_a_pattern_fits_where_every_setting_it_names_has_such_a_value(where, case, fits):
    assert matches(Case(**case).settings, where) is fits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("precision=amp-bf16 and batch_size>=64", lambda case: case.precision == "amp-bf16" and case.batch_size >= 64),
        ("precision==fp32", lambda case: case.precision == "fp32"),
        ("batch_size!=64", lambda case: case.batch_size != 64),
        ("batch_size<64 or batch_size>64", lambda case: case.batch_size != 64),
        ("batch_size=1,256", lambda case: case.batch_size in (1, 256)),
        ("batch_size!=1,256", lambda case: case.batch_size == 64),
        ("batch_size in (1, 256)", lambda case: case.batch_size in (1, 256)),
        ("batch_size not in (1, 256)", lambda case: case.batch_size == 64),
        ("mode=train or mode=infer and precision=fp32", lambda case: case.mode == "train" or case.precision == "fp32"),
        ("(mode=train or mode=infer) and precision=fp32", lambda case: case.precision == "fp32"),
        ("not mode=train and not precision=fp32", lambda case: case.mode == "infer" and case.precision != "fp32"),
        ("not not cudnn_benchmark", lambda case: case.cudnn_benchmark),
        ("cudnn_benchmark=off", lambda case: not case.cudnn_benchmark),
        ("device=cuda", lambda case: case.device != "cpu"),
        ("device='cuda:1'", lambda case: case.device == "cuda:1"),
        ("device=cuda:1", lambda case: case.device == "cuda:1"),
        ("precision~bf", lambda case: case.precision == "amp-bf16"),
        ("precision!~BF", lambda case: case.precision == "fp32"),
        ("memory_format=NCHW", lambda _: True),
        ("image_size=null", lambda _: True),
        ("image_size>1", lambda _: False),
        ("learning_rate<=1e-3", lambda _: True),
        ("mode=train AND precision=fp32", lambda case: case.mode == "train" and case.precision == "fp32"),
    ],
)
def test_an_expression_keeps_the_cases_it_is_true_for(text, expected):
    selection = parse_selection(text)
    assert selection.text == text
    assert [case for case in CASES if selection.matches(case)] == [case for case in CASES if expected(case)]


def test_a_batch_that_is_not_known_yet_has_no_order():
    largest = Case(batch_size="max")
    assert parse_selection("batch_size=max").matches(largest)
    assert not parse_selection("batch_size>1").matches(largest)


def test_environment_variables_are_settings():
    case = Case(env={"NVIDIA_TF32_OVERRIDE": "0", "X": "a b"})
    assert parse_selection("env.NVIDIA_TF32_OVERRIDE=0 and env.X='a b'").matches(case)
    assert not parse_selection("env.NVIDIA_TF32_OVERRIDE=1").matches(case)
    assert not parse_selection("env.OTHER=0").matches(case)
    assert parse_selection("env.X~'a b'").matches(case)


@pytest.mark.parametrize(
    ("text", "said", "below"),
    [
        ("precisin=fp32", "there is no setting 'precisin'", "^^^^^^^^ did you mean 'precision'?"),
        ("batch=64", "there is no setting 'batch'", "^^^^^ did you mean 'batch_size'?"),
        ("precision=amp-bf61", "unknown value 'amp-bf61'", "          ^^^^^^^^ did you mean 'amp-bf16'?"),
        ("device=gpu", "unknown value 'gpu'", "       ^^^ did you mean 'cuda'?"),
        ("precision", "expected `=` and a value", "         ^"),
        ("precision>fp32", "precision has no order", "         ^ use = or !="),
        ("batch_size>", "expected a value", "           ^"),
        ("batch_size>max", "expected a number", "           ^^^"),
        ("batch_size=and", "expected a value", "           ^^^"),
        ("mode=train precision=fp32", "expected `and`, `or` or the end", "           ^^^^^^^^^"),
        ("mode=train and", "expected the name of a setting", "              ^"),
        ("(mode=train", "expected `)`", "           ^"),
        ("mode=train)", "expected `and`, `or` or the end", "          ^"),
        ("mode in train", "expected `(`", "        ^^^^^"),
        ("mode not train", "expected `in`", "         ^^^^^"),
        ("'mode'=train", "expected the name of a setting", "^^^^^^"),
        ("mode='train", "this cannot be read", "     ^"),
        ("env=1", "`env` holds several variables", "^^^ name one: env.NAME=value"),
        ("", "expected the name of a setting", "^"),
        ("__import__('os').system('ls')", "there is no setting '__import__'", "^^^^^^^^^^"),
    ],
)
def test_what_cannot_be_read_has_a_caret_below_it(text, said, below):
    with pytest.raises(UsageError) as caught:
        parse_selection(text)
    first, shown, carets = str(caught.value).split("\n")
    assert said in first
    assert shown == f"  {text}"
    assert carets == f"  {below}"
    assert "-k" in caught.value.hint


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["(" * 3000, "not " * 900, "mode=train and " * 1000, "x" * 5000])
def test_an_expression_without_end_is_refused(text):
    with pytest.raises(UsageError):
        parse_selection(text)


comparisons = st.sampled_from(
    [
        ("mode=train", lambda case: case.mode == "train"),
        ("batch_size>1", lambda case: case.batch_size > 1),
        ("precision=fp32", lambda case: case.precision == "fp32"),
        ("cudnn_benchmark", lambda case: case.cudnn_benchmark),
        ("device in (cpu, cuda:1)", lambda case: case.device in ("cpu", "cuda:1")),
    ]
)
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        inner.map(lambda each: (f"not ({each[0]})", lambda case: not each[1](case))),
        st.tuples(inner, inner).map(
            lambda two: (f"({two[0][0]}) and ({two[1][0]})", lambda case: two[0][1](case) and two[1][1](case))
        ),
        st.tuples(inner, inner).map(
            lambda two: (f"({two[0][0]}) or ({two[1][0]})", lambda case: two[0][1](case) or two[1][1](case))
        ),
    ),
    max_leaves=6,
)


@given(expressions)
def test_any_expression_means_what_logic_says(expression):
    text, expected = expression
    selection = parse_selection(text)
    assert [selection.matches(case) for case in CASES] == [bool(expected(case)) for case in CASES]


@given(st.text(alphabet="abmode=tri ><!~()',\"andornt 64", max_size=40))
def test_any_other_text_is_either_read_or_refused(text):
    try:
        selection = parse_selection(text)
    except UsageError:
        return
    assert selection.matches(CASES[0]) in (True, False)
