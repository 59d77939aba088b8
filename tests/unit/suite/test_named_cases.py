import pytest

from gpubench.core.errors import UsageError
from gpubench.suite.cases.labels import label_cases, named_cases
from gpubench.suite.model.case import Case

CASES = [Case(batch_size=size, precision=precision) for size in (64, 128) for precision in ("fp32", "bf16")]
TRAINED = [Case(optimizer="adam", precision=precision) for precision in ("fp32", "bf16")]


def test_a_case_is_named_by_id_unique_beginning_or_label():
    wanted = CASES[2]
    for name in (wanted.case_id, wanted.case_id[:5], label_cases(CASES)[2]):
        assert named_cases([name], CASES) == ({wanted.case_id}, set())


def test_several_names_are_several_cases():
    assert named_cases([CASES[0].case_id, CASES[3].case_id], CASES) == ({CASES[0].case_id, CASES[3].case_id}, set())


def test_a_training_to_a_result_is_named_by_id_or_label():
    wanted = TRAINED[1]
    for name in (f"quality {label_cases(TRAINED)[1]}", f"quality {wanted.case_id[:5]}", wanted.case_id):
        assert named_cases([name], CASES, TRAINED) == (set(), {wanted.case_id})


def test_of_a_case_and_a_training_with_one_id_the_case_is_meant():
    same = CASES[0].case_id
    assert named_cases([same], CASES, CASES[:1]) == ({same}, set())
    assert named_cases([f"quality {same}"], CASES, CASES[:1]) == (set(), {same})


def test_an_id_does_not_depend_on_the_rest_of_the_suite():
    """Nor on the machine: it is made of the settings that differ from their defaults."""
    assert Case(batch_size=128, precision="bf16").case_id == "85067b9b28"


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"no case 'bf16 b65': did you mean 'bf16 b64'\?"):
        named_cases(["bf16 b65"], CASES)


def test_an_unknown_id_says_what_changes_ids():
    with pytest.raises(UsageError) as plain:
        named_cases(["0123456789"], CASES)
    assert "use the -s options of the run that it comes from" in plain.value.hint
    with pytest.raises(UsageError) as changed:
        named_cases(["0123456789"], CASES, overrides=["device=cpu"])
    assert "-s device=cpu may have changed it" in changed.value.hint


def test_an_ambiguous_prefix_names_the_cases(monkeypatch):
    monkeypatch.setattr("gpubench.suite.cases.labels._SHORTEST_PREFIX", 0)
    with pytest.raises(UsageError) as caught:
        named_cases([""], CASES)
    assert "4 cases have an id that begins with ''" in str(caught.value)
    assert all(case.case_id in str(caught.value) for case in CASES)


@pytest.mark.parametrize("length", [1, 3])
def test_a_very_short_prefix_is_no_name(length):
    with pytest.raises(UsageError, match="the suite has no case"):
        named_cases([CASES[0].case_id[:length]], CASES)
