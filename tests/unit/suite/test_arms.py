import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.core.errors import UsageError
from gpubench.suite.read.arm_text import arm_from_items, parse_arm, parse_arms


def said(text):
    with pytest.raises(UsageError) as caught:
        parse_arm(text)
    return str(caught.value)


@pytest.mark.parametrize("text", ["base", "base=", "base= "])
def test_an_arm_without_items_is_the_suite_as_it_is(text):
    arm = parse_arm(text)
    assert (arm.name, dict(arm.given)) == ("base", {})


def test_items_are_apart_by_commas_or_blanks():
    arm = parse_arm(
        "head=git=main, env.OMP_NUM_THREADS=2 set.precision=amp-bf16,set.batch_size=128 python=.venv/bin/python"
    )
    assert (arm.git, arm.python, dict(arm.env)) == ("main", ".venv/bin/python", {"OMP_NUM_THREADS": "2"})
    assert dict(arm.settings) == {"precision": "amp-bf16", "batch_size": 128}
    assert list(arm.given) == ["git", "env.OMP_NUM_THREADS", "set.precision", "set.batch_size", "python"]


def test_values_have_the_form_that_a_case_holds():
    assert dict(parse_arm("x=set.memory_format=NHWC set.cudnn_benchmark=false set.image_size=none").settings) == {
        "memory_format": "channels_last",
        "cudnn_benchmark": False,
        "image_size": None,
    }


def test_a_value_with_blanks_or_commas_stands_in_quotes():
    arm = parse_arm("""x=env.A='a, b' env.B="it's" python="/my folder/python" env.C=k=v""")
    assert dict(arm.env) == {"A": "a, b", "B": "it's", "C": "k=v"}
    assert arm.python == "/my folder/python"


@pytest.mark.parametrize(
    ("text", "message", "suggestion"),
    [
        ("head=precision=bf16", "an arm has no 'precision'", "did you mean 'set.precision'?"),
        ("head=OMP_NUM_THREADS=1", "an arm has no 'OMP_NUM_THREADS'", "did you mean 'env.OMP_NUM_THREADS'?"),
        ("head=set.params.width=[1, 2]", "expected a number, a word, true or false", ""),
        ("head=set.params.width=null", "expected a number, a word, true or false", ""),
        ("head=set.precison=bf16", "there is no setting 'precison'", "did you mean 'precision'?"),
        ("head=set.precision=bf61", "unknown value 'bf61'", "did you mean 'bf16'?"),
        ("head=pyton=x", "an arm has no 'pyton'", "did you mean 'python'?"),
        ("head=set.env=1", "set.env is not how an arm gets one", "write env.NAME=VALUE"),
        ("head=env.9=1", "'9' is not a name of an environment variable", ""),
        ("head=env.A", "expected `=` and a value", ""),
        ("head=git=", "expected a value", ""),
        ("head=env.A='x", "a quote is not closed", ""),
        ("head='x'", "expected a key", ""),
        ("head=git=a git=b", "git is given twice", ""),
        ("-head=git=a", "its name must be", ""),
        ("=git=a", "its name must be", ""),
    ],
)
def test_a_mistake_is_shown_in_its_place_with_what_was_meant(text, message, suggestion):
    told = said(text)
    first, shown, carets = told.splitlines()
    assert message in first
    assert shown == f"  {text}"
    assert "^" in carets
    assert suggestion in carets


def test_the_caret_stands_below_what_is_wrong():
    _, shown, carets = said("head=env.A=1 set.precision=bf61").splitlines()
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "bf61"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["base"], "a comparison takes 2 to 8 arms, and there is one"),
        ([], "and there are 0"),
        ([f"a{n}" for n in range(9)], "and there are 9"),
        (["base", "head", "base"], "two arms are called 'base'"),
    ],
)
def test_a_comparison_takes_two_to_eight_arms_of_different_names(texts, message):
    with pytest.raises(UsageError, match=message):
        parse_arms(texts)


def test_the_first_arm_is_the_reference():
    assert [arm.name for arm in parse_arms(["old=git=v1", "new"])] == ["old", "new"]


texts = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20)


@given(st.dictionaries(st.from_regex(r"env\.[A-Z][A-Z0-9_]{0,8}", fullmatch=True), texts, max_size=4))
def test_an_arm_can_be_read_again_from_its_items(items):
    assert dict(arm_from_items("head", items).given) == items


def test_an_arm_sets_free_settings_as_a_suite_does():
    arm = parse_arm("head=set.params.width=64, set.params.norm=batch, set.params.bias=false, set.params.rate=1e-3")
    assert arm.settings == {"params.width": 64, "params.norm": "batch", "params.bias": False, "params.rate": 1e-3}
