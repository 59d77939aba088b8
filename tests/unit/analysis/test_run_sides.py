import pytest
from fakes.gate_runs import ENVIRONMENT, NO_GPU_ENVIRONMENT, STEADY, HandMade, two_arms

from gpubench.analysis.compare.compare_sides import compare_sides, refuse
from gpubench.analysis.compare.run_sides import Difference, arm_sides, arms_of, differences, side_of
from gpubench.core.errors import UsageError
from gpubench.core.records import Status
from gpubench.store.run_reader import load_run


def stored(made, tmp_path, name="one", **changes):
    return load_run(made.write(tmp_path, name, **changes))


def a_run(rate=1000.0, **fields):
    made = HandMade(**fields)
    made.measured(rate, device="cuda" if fields.get("environment") else "cpu")
    return made


def changed(environment, part, **values):
    return {**environment, part: {**(environment[part] or {}), **values}}


def test_the_first_arm_is_the_reference_unless_another_is_named(tmp_path):
    made = two_arms()
    made.measured(1000.0, head=900.0)
    run = stored(made, tmp_path)
    reference, (other,) = arm_sides(run)
    assert (arms_of(run), reference.name, other.name) == (("base", "head"), "base", "head")
    assert arm_sides(run, "head")[0].name == "head"
    assert reference.cases[0].launch_values("throughput")[1] == pytest.approx(1000.0)
    assert other.cases[0].launch_values("throughput")[10] == pytest.approx(900.0)


def test_arms_that_no_head_lists_come_in_the_order_first_met(tmp_path):
    made = two_arms()
    made.measured(1000.0, head=900.0)
    made.arms = ()
    assert arms_of(stored(made, tmp_path)) == ("base", "head")


def test_launches_of_two_arms_are_never_mixed(tmp_path):
    made = two_arms()
    made.measured(1000.0, head=900.0)
    run = stored(made, tmp_path)
    with pytest.raises(UsageError, match="has the arms base, head, so it cannot be one side of a comparison"):
        side_of(run, "one")
    with pytest.raises(UsageError, match="has no arm 'old'"):
        arm_sides(run, "old")
    with pytest.raises(UsageError, match="fewer than two arms"):
        arm_sides(stored(a_run(), tmp_path, "two"))


def test_an_arm_differs_by_what_it_was_given_and_by_what_its_workers_report(tmp_path):
    made = two_arms(given={"base": {"python": "old/python"}, "head": {"env.NVIDIA_TF32_OVERRIDE": "0"}})
    planned = made.plan()
    for arm, torch in (("base", "2.12.1"), ("head", "2.13.0")):
        made.launches(planned, 1000.0, arm=arm, versions={"torch": torch})
    reference, (other,) = arm_sides(stored(made, tmp_path))
    found = differences(reference, other)
    assert [(each.shown, each.before, each.after) for each in found] == [
        ("torch", "2.12.1", "2.13.0"),
        ("python", "old/python", None),
        ("NVIDIA_TF32_OVERRIDE", None, "0"),
    ]


def test_equal_runs_differ_in_nothing(tmp_path):
    sides = [side_of(stored(a_run(environment=ENVIRONMENT), tmp_path, name), name) for name in ("one", "two")]
    assert differences(*sides) == ()


@pytest.mark.parametrize(
    ("after", "shown", "refused"),
    [
        ({**ENVIRONMENT, "gpus": [{**ENVIRONMENT["gpus"][0], "name": "NVIDIA Other"}]}, "GPU 0 name", True),
        ({**ENVIRONMENT, "gpus": [{**ENVIRONMENT["gpus"][0], "power_limit_w": 500.0}]}, "GPU 0 power limit w", False),
        ({**ENVIRONMENT, "gpus": []}, "GPU 0 name", True),
        (changed(ENVIRONMENT, "driver", driver="600.1"), "driver", True),
        (changed(ENVIRONMENT, "cpu", flags=["avx2"]), "CPU flags", False),
        (changed(ENVIRONMENT, "cpu", model="Another CPU"), "CPU", False),
        (changed(ENVIRONMENT, "worker", torch="2.14.0"), "torch", False),
        ({**ENVIRONMENT, "git": {"commit": "ffffffffffffffff", "dirty": True}}, "git commit", False),
    ],
)
def test_on_a_gpu_another_card_is_refused_and_the_rest_is_listed(tmp_path, after, shown, refused):
    before = side_of(stored(a_run(environment=ENVIRONMENT), tmp_path, "one"), "one")
    other = side_of(stored(a_run(environment=after), tmp_path, "two"), "two")
    found = {each.shown: each.refused for each in differences(before, other)}
    assert found[shown] is refused
    assert any(found.values()) is refused


def test_on_the_cpu_another_processor_is_refused(tmp_path):
    before = side_of(stored(a_run(), tmp_path, "one"), "one")
    made = HandMade(environment=changed(NO_GPU_ENVIRONMENT, "cpu", model="Another CPU"))
    made.measured(1000.0)
    other = side_of(stored(made, tmp_path, "two"), "two")
    assert [each for each in differences(before, other) if each.refused] == [
        Difference("cpu.model", "Imaginary CPU", "Another CPU", refused=True)
    ]
    compared = compare_sides(before, other)
    with pytest.raises(UsageError, match="cannot be compared: CPU: Imaginary CPU and Another CPU"):
        refuse(compared)
    refuse(compared, force=True)


@pytest.mark.parametrize(
    ("part", "before", "after", "said"),
    [
        ("cpu", {"flags": ["avx2"]}, {"flags": ["avx2", "avx512_bf16"]}, "CPU flags: avx512_bf16 is new"),
        ("cpu", {"flags": ["avx2", "amx_bf16"]}, {"flags": ["avx2"]}, "CPU flags: amx_bf16 is gone"),
        ("cpu", {"family": "6-85"}, {"family": "6-143"}, "CPU family: 6-85 and 6-143"),
        ("system", {"cpu_quota": None}, {"cpu_quota": 2.0}, "CPU quota: none and 2.0"),
        ("cpu", {"flags": None, "family": None}, {"flags": ["avx2"], "family": "6-85"}, ""),
    ],
)
def test_a_processor_of_the_same_name_may_be_another_machine(tmp_path, part, before, after, said):
    sides = []
    for name, values in (("one", before), ("two", after)):
        made = HandMade(environment=changed(NO_GPU_ENVIRONMENT, part, **values))
        made.measured(1000.0)
        sides.append(side_of(stored(made, tmp_path, name), name))
    assert [str(each) for each in differences(*sides) if each.refused] == [said] * bool(said)


def test_a_package_that_the_worker_reports_too_is_said_once(tmp_path):
    after = changed(changed(ENVIRONMENT, "worker", torch="2.14.0"), "packages", torch="2.14.0")
    sides = [
        side_of(stored(a_run(environment=env), tmp_path, name), name)
        for name, env in (("a", ENVIRONMENT), ("b", after))
    ]
    assert [each.shown for each in differences(*sides)] == ["torch"]


def test_another_suite_is_refused(tmp_path):
    first = side_of(stored(a_run(), tmp_path, "one"), "one")
    run = stored(a_run(), tmp_path, "two")
    renamed = type(run)(run.info.model_copy(update={"suite_name": "other"}), run.records, run.folder)
    assert [each.name for each in differences(first, side_of(renamed, "two")) if each.refused] == ["suite"]


def test_settings_that_took_effect_otherwise_are_refused_and_counted(tmp_path):
    first, second = a_run(), a_run()
    for record in list(second.records):
        took = record.effective.model_copy(update={"math": {"cudnn.conv": "tf32"}, "cpu_threads": 4})
        second.records[second.records.index(record)] = record.model_copy(update={"effective": took})
    sides = [side_of(stored(made, tmp_path, name), name) for made, name in ((first, "a"), (second, "b"))]
    (found,) = differences(*sides)
    assert (found.name, found.before, found.after, found.refused) == ("math.cudnn.conv in 1 case", "ieee", "tf32", True)


def test_arms_may_differ_in_anything(tmp_path):
    made = two_arms()
    planned = made.plan()
    made.launches(planned, 1000.0, arm="base")
    made.launches(planned, 1000.0, arm="head")
    tf32 = [record for record in made.records if record.arm == "head"]
    for record in tf32:
        took = record.effective.model_copy(update={"math": {"cudnn.conv": "tf32"}})
        made.records[made.records.index(record)] = record.model_copy(update={"effective": took})
    reference, (other,) = arm_sides(stored(made, tmp_path))
    assert [each.refused for each in differences(reference, other)] == [False]
    refuse(compare_sides(reference, other))


def test_runs_without_a_common_case_are_refused_even_by_force(tmp_path):
    first, second = HandMade(), HandMade()
    first.measured(1000.0, batch_size=1)
    second.measured(1000.0, batch_size=2)
    sides = [side_of(stored(made, tmp_path, name), name) for made, name in ((first, "a"), (second, "b"))]
    with pytest.raises(UsageError, match="a and b have no case in common"):
        refuse(compare_sides(*sides), force=True)


def test_arms_are_paired_by_round_and_runs_are_not(tmp_path):
    made = two_arms()
    made.measured(1000.0, head=900.0)
    compared = compare_sides(*(lambda pair: (pair[0], pair[1][0]))(arm_sides(stored(made, tmp_path))))
    assert (compared.interleaved, compared.level) == (True, "launch")
    sides = [side_of(stored(a_run(), tmp_path, name), name) for name in ("x", "y")]
    assert (compare_sides(*sides).interleaved, compare_sides(*sides).level) == (False, "stored")


def test_counts_hold_judgements_and_other_ends(tmp_path):
    made = two_arms()
    made.measured(1000.0, head=900.0, batch_size=1)
    made.measured(1000.0, STEADY, head=1000.0, batch_size=2)
    lost = made.plan(batch_size=4)
    made.launches(lost, 1000.0, arm="base")
    made.ended(lost, Status.OOM, "out of memory", arm="head")
    reference, (other,) = arm_sides(stored(made, tmp_path))
    assert compare_sides(reference, other, ("throughput",)).counts == {"worse": 1, "same": 1, "now_oom": 1}
