import os
import sys

import pytest

from gpubench.core.errors import UsageError
from gpubench.runner.arms.arm import Arm, check_cases, make_arm, restored
from gpubench.runner.arms.interpreters import ask, find_python
from gpubench.store.run_info import ArmInfo, PlannedCase
from gpubench.suite.model.case import Case
from gpubench.suite.read.arm_text import parse_arm


def test_an_arm_changes_what_it_sets_and_nothing_else():
    case = Case(batch_size=8, env={"A": "1", "B": "2"})
    arm = Arm("head", "/p", {"B": "3"}, {"precision": "amp-bf16"})
    changed = arm.case(case)
    assert (changed.precision, changed.python, changed.env, changed.batch_size) == (
        "amp-bf16",
        "/p",
        {"A": "1", "B": "3"},
        8,
    )
    assert Arm("base").case(case) == case


def test_an_arm_changes_a_free_setting_and_leaves_the_others():
    arm = make_arm(parse_arm("head=set.params.width=64"))
    case = Case(workload="mine:net", params={"width": 32, "depth": 2})
    assert arm.case(case).params == {"width": 64, "depth": 2}
    cases = [Case(workload="mine:net", params={"width": width, "depth": 2}) for width in (16, 32)]
    both = [
        PlannedCase(index=index, case_id=case.case_id, label=f"case {index}", settings=case.settings)
        for index, case in enumerate(cases, 1)
    ]
    with pytest.raises(UsageError, match=r"arm head sets params\.width, which is an axis"):
        check_cases([arm], both)


def test_an_arm_is_made_again_from_what_its_run_keeps():
    text = f"head=python='{sys.executable}', env.A='x, y', set.batch_size=16, set.image_size=null"
    arm = make_arm(parse_arm(text))
    assert restored(arm.info) == arm
    assert arm.case(Case(image_size=12)).image_size is None


def test_an_arm_of_its_own_interpreter_does_not_see_the_current_folder():
    assert make_arm(parse_arm(f"x=python='{sys.executable}'")).env == {"PYTHONSAFEPATH": "1"}
    assert make_arm(parse_arm("x=env.A=1")).env == {"A": "1"}


def test_an_interpreter_is_a_path_the_folder_of_an_environment_or_a_name(tmp_path, monkeypatch):
    (tmp_path / "env" / "bin").mkdir(parents=True)
    program = tmp_path / "env" / "bin" / "python"
    program.symlink_to(sys.executable)
    assert find_python(str(tmp_path / "env")) == str(program)
    monkeypatch.chdir(tmp_path)
    assert find_python("env/bin/python") == str(program)
    monkeypatch.setenv("PATH", str(program.parent) + os.pathsep + os.environ["PATH"])
    assert find_python("python") == str(program)


def test_an_interpreter_that_is_not_there_names_the_arm(tmp_path):
    with pytest.raises(UsageError, match="arm old: there is no interpreter /no/such/python"):
        make_arm(parse_arm("old=python=/no/such/python"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no bin/python in the folder"):
        find_python(str(tmp_path / "empty"))


def test_an_interpreter_says_where_its_packages_are(tmp_path):
    found = ask()
    assert found.version.count(".") == 2
    assert any("site-packages" in folder for folder in found.folders)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no\n")
    broken.chmod(0o755)
    with pytest.raises(UsageError, match="does not run as a Python interpreter"):
        ask(str(broken))


def test_what_a_run_keeps_of_an_arm_and_nobody_can_read_is_named():
    with pytest.raises(UsageError, match="an arm has no 'colour'"):
        restored(ArmInfo(name="head", given={"colour": "red"}))
