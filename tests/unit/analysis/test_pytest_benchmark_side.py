import json

import pytest
from fakes.pytest_json import steady, write_pytest_json

from gpubench.analysis.compare.compare_sides import compare_sides, refuse
from gpubench.analysis.compare.pytest_benchmark_side import are_interleaved, side_of_files
from gpubench.analysis.gate.gate_outcome import DEFAULT_FILE_RULES, check
from gpubench.analysis.gate.gate_rules import GateRule, check_gates
from gpubench.core.errors import ExitStatus, StoreError, UsageError
from gpubench.store.pytest_benchmark_files import read_pytest_file

TEST = "tests/test_a.py::test_sort"
OTHER = "tests/test_a.py::test_other"


def files(folder, name, times, *, minute=0, step=2, **options):
    """One file per time; `minute` and `step` say when each was measured."""
    return [
        read_pytest_file(
            write_pytest_json(
                folder / f"{name}-{number}.json",
                {TEST: steady(level)},
                created=f"2026-11-24T10:{minute + step * number:02d}:00+00:00",
                **options,
            )
        )
        for number, level in enumerate(times)
    ]


def compared(before, after, **options):
    sides = side_of_files(before, "base"), side_of_files(after, "head")
    return compare_sides(*sides, ("step_time_s",), interleaved=are_interleaved(before, after), **options)


def the_change(found):
    return found.changes[0].changes["step_time_s"]


def test_files_that_alternate_in_time_are_rounds(tmp_path):
    before = files(tmp_path, "base", [0.010] * 6)
    after = files(tmp_path, "head", [0.011] * 6, minute=1)
    found = compared(before, after)
    assert (found.interleaved, found.level) == (True, "launch")
    assert the_change(found).judgement == "worse"


def test_files_of_one_side_after_the_other_are_not(tmp_path):
    before = files(tmp_path, "base", [0.010] * 6, step=1)
    after = files(tmp_path, "head", [0.011] * 6, minute=10, step=1)
    found = compared(before, after)
    assert (found.interleaved, found.level) == (False, "stored")
    assert the_change(found).judgement == "unclear"
    assert the_change(compared(before, after, allow_unpaired=True)).judgement == "worse"


@pytest.mark.parametrize("other", [{"node": "ci-2"}, {"step": 0}])
def test_files_of_two_machines_or_of_one_moment_are_no_rounds(tmp_path, other):
    before = files(tmp_path, "base", [0.010] * 6)
    assert not are_interleaved(before, files(tmp_path, "head", [0.011] * 6, minute=1, **other))
    assert not are_interleaved(before, files(tmp_path, "few", [0.011] * 5, minute=1))


def test_one_file_a_side_is_judged_only_when_asked(tmp_path):
    before, after = files(tmp_path, "base", [0.010]), files(tmp_path, "head", [0.011], minute=1)
    assert the_change(compared(before, after)).judgement == "unclear"
    found = compared(before, after, allow_unpaired=True)
    assert (found.level, the_change(found).judgement) == ("single", "worse")
    assert the_change(found).change.value == pytest.approx(0.1)
    same = files(tmp_path, "same", [0.010], minute=2)
    assert the_change(compared(before, same, allow_unpaired=True)).judgement == "same"


def test_statistics_alone_do_where_the_rounds_were_not_kept(tmp_path):
    before = files(tmp_path, "base", [0.010], data=False)
    after = files(tmp_path, "head", [0.011], minute=1, data=False)
    found = the_change(compared(before, after, allow_unpaired=True))
    assert found.judgement == "worse"
    assert found.change.low < 0.1 < found.change.high


def test_the_median_of_an_even_number_of_rounds_is_between_the_middle_two(tmp_path):
    path = write_pytest_json(tmp_path / "a.json", {TEST: [1.0, 2.0, 4.0, 8.0]})
    (case,) = side_of_files([read_pytest_file(path)], "a").cases
    assert case.launch_values("step_time_s") == {1: 3.0}


def test_what_the_fixture_measured_besides_is_read_too(tmp_path):
    extra = {
        TEST: {
            "gpubench": {
                "metrics": {"peak_memory_allocated_bytes": 1024, "no_such": 1},
                "limits": {"step_time_s": 0.1},
            },
            "mine": 1,
        }
    }
    path = write_pytest_json(tmp_path / "a.json", {TEST: [1.0]}, extra=extra)
    (case,) = side_of_files([read_pytest_file(path)], "a").cases
    assert case.launch_values("peak_memory_allocated_bytes") == {1: 1024.0}
    assert case.launch_values("no_such") == {}
    assert case.limits == {"step_time_s": 0.1}


def test_another_processor_is_refused(tmp_path):
    before, after = files(tmp_path, "base", [0.010]), files(tmp_path, "head", [0.011], minute=1, cpu="Another CPU")
    with pytest.raises(UsageError, match="CPU: Imaginary CPU and Another CPU"):
        refuse(compared(before, after))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"benchmarks": 3}', '{"benchmarks": [3]}', '{"benchmarks": [{"name": "a"}]}']
)
def test_what_pytest_benchmark_did_not_write_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(StoreError, match="is not a JSON file of pytest-benchmark"):
        read_pytest_file(path)


def test_a_missing_file_and_one_without_tests_are_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        read_pytest_file(tmp_path / "none.json")
    with pytest.raises(UsageError, match="contains no benchmark"):
        side_of_files([read_pytest_file(write_pytest_json(tmp_path / "a.json", {}))], "a")


def rounds_of(tmp_path, base: list[float], head: list[float]):
    """Ten files a side, made in turn, of one test; a number per file."""
    sides = []
    for number, (name, times) in enumerate((("base", base), ("head", head))):
        files = [
            write_pytest_json(
                tmp_path / f"{name}{r}.json", {TEST: [t] * 5}, created=f"2026-11-24T10:{r:02d}:{number}0+00:00"
            )
            for r, t in enumerate(times)
        ]
        sides.append(side_of_files([read_pytest_file(path) for path in files], name))
    return compare_sides(*sides, ["step_time_s"], interleaved=True)


def steady_times(seconds: float) -> list[float]:
    return [seconds * (1 + 0.001 * (-1) ** r) for r in range(10)]


@pytest.mark.parametrize("odd", [0.0, -1e-3])
def test_a_time_that_is_not_above_0_is_left_out_and_the_rest_stays_a_ratio(tmp_path, odd):
    base = [*steady_times(1e-6)[:-1], odd]
    found = the_change(rounds_of(tmp_path, base, steady_times(5e-6)))
    assert (found.judgement, found.change.unit) == ("worse", "1")
    assert found.change.value == pytest.approx(4.0, rel=0.01)
    assert "1 of 20 launches left out" in found.reason


@pytest.mark.parametrize("seconds", [1e-2, 1.0])
@pytest.mark.parametrize("turned", [False, True])
def test_a_clock_that_never_ticked_gives_no_figure_to_judge(tmp_path, seconds, turned):
    sides = [[0.0] * 10, steady_times(seconds)]
    compared = rounds_of(tmp_path, *(reversed(sides) if turned else sides))
    (result,) = check_gates([GateRule("step_time_s", 0.03)], compared.changes)
    assert (result.outcome, the_change(compared).change) == ("no data", None)
    assert the_change(rounds_of(tmp_path, [0.0] * 10, [0.0] * 10)).judgement == "unclear"


@pytest.mark.parametrize("turned", [False, True])
def test_a_test_that_one_side_alone_could_time_is_not_passed(tmp_path, turned):
    def side(name, other, number):
        files = [
            write_pytest_json(
                tmp_path / f"{name}{r}.json",
                {TEST: [1.0] * 5, OTHER: [other] * 5},
                created=f"2026-11-24T10:{r:02d}:{number}0",
            )
            for r in range(10)
        ]
        return side_of_files([read_pytest_file(path) for path in files], name)

    sides = (side("base", 0.0, 0), side("head", 1.0, 1))
    compared = compare_sides(*(reversed(sides) if turned else sides), ["step_time_s"], interleaved=True)
    checked = check(compared, DEFAULT_FILE_RULES, declared=False)
    assert checked.verdict is ExitStatus.USAGE
    assert [change.label for change in checked.unmeasured] == ["test_other"]


def test_a_test_that_failed_has_no_figures_and_spoils_no_other(tmp_path):
    path = write_pytest_json(tmp_path / "a.json", {TEST: [1.0], "tests/test_a.py::test_bad": [1.0]})
    document = json.loads(path.read_text())
    document["benchmarks"][1]["stats"] = None
    path.write_text(json.dumps(document))
    good, bad = side_of_files([read_pytest_file(path)], "a").cases
    assert (good.launch_values("step_time_s"), bad.launch_values("step_time_s")) == ({1: 1.0}, {})


def test_time_stamps_are_ordered_in_time_whatever_their_offset(tmp_path):
    def stamped(name, hour, offset, minute=0):
        return [
            read_pytest_file(write_pytest_json(tmp_path / f"{name}{number}.json", {TEST: [1.0]}, created=created))
            for number in range(5)
            for created in [f"2026-11-24T{hour}:{10 * number + minute:02d}:00{offset}"]
        ]

    base = stamped("base", 12, "+00:00")
    assert are_interleaved(base, stamped("in-turn", 17, "+05:00", minute=5))
    assert not are_interleaved(base, stamped("later", 12, "-01:00", minute=5))
    assert not are_interleaved(base, stamped("unknown", "noon", ""))
