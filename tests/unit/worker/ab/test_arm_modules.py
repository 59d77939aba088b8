import json
import sys
import types

import pytest

from gpubench.worker.checks.originals import INSTALLED, not_of_the_revision


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An arm's environment of the package `toy_armed`, and a way to load a module from somewhere."""
    prefix, root = tmp_path / "env", tmp_path / "repository"
    prefix.mkdir()
    (prefix / INSTALLED).write_text(json.dumps({"commit": "a" * 40, "modules": ["toy_armed"], "root": str(root)}))

    def load(name, path):
        module = types.ModuleType(name)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, module)

    return prefix, root, load


def test_modules_of_the_revision_are_accepted(environment):
    prefix, _, load = environment
    load("toy_armed", prefix / "lib" / "toy_armed" / "__init__.py")
    assert not_of_the_revision(prefix=str(prefix)) is None


def test_a_module_that_only_says_it_is_a_file_is_no_file(environment, monkeypatch):
    prefix, root, load = environment
    root.mkdir()
    monkeypatch.chdir(root)
    load("toy_classes", "_classes.py")
    assert not_of_the_revision(prefix=str(prefix)) is None


def test_a_module_of_the_revision_from_elsewhere_is_named(environment, tmp_path):
    prefix, _, load = environment
    load("toy_armed.core", tmp_path / "user-site" / "toy_armed" / "core.py")
    said = not_of_the_revision(prefix=str(prefix))
    assert said.startswith("toy_armed.core was loaded from")
    assert said.endswith("not from the revision aaaaaaaaaaaa")


def test_a_module_that_only_the_working_tree_has_is_named(environment):
    prefix, root, load = environment
    load("toy_new", root / "src" / "toy_new.py")
    assert "toy_new was loaded from" in not_of_the_revision(prefix=str(prefix))


def test_workloads_beside_the_suite_may_lie_in_the_repository(environment):
    prefix, root, load = environment
    load("toy_bench", root / "bench" / "toy_bench.py")
    assert not_of_the_revision((str(root / "bench"),), str(prefix)) is None


def test_an_interpreter_that_is_no_arm_is_not_checked(tmp_path):
    assert not_of_the_revision(prefix=str(tmp_path)) is None
