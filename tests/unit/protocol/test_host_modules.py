"""Which modules a host imports for the cases of a run."""

import importlib.util
from pathlib import Path

import pytest

from gpubench.protocol.host_modules import COMPILER, EVERYTHING, TORCHVISION, host_modules
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Suite

SUITE = Suite(schema=1, name="s")
TRAINED = Suite(schema=1, name="s", quality={"data": "mnist"})


def modules(*cases, suite=SUITE, **given):
    return set(host_modules(suite, [Case(**case) for case in cases], **given))


def test_every_one_exists():
    assert [name for name in EVERYTHING if importlib.util.find_spec(name) is None] == []


@pytest.mark.parametrize(
    ("case", "groups"),
    [
        ({}, [COMPILER]),
        ({"workload": "operators:matmul", "mode": "infer"}, [COMPILER]),
        ({"workload": "torchvision:resnet18"}, [COMPILER, TORCHVISION]),
        ({"data": "digits"}, [COMPILER]),
        ({"data": "cifar10"}, [COMPILER, TORCHVISION]),
    ],
)
def test_a_case_gets_what_it_uses(case, groups):
    assert modules(case) == {name for group in groups for name in group}


def test_a_run_gets_what_any_of_its_cases_uses():
    assert modules({"workload": "torchvision:resnet18"}, {"data": "digits"}) == {*COMPILER, *TORCHVISION}


def test_training_to_an_accuracy_needs_what_reads_its_data():
    assert modules({}, suite=TRAINED) == {*COMPILER, *TORCHVISION}


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("import time\n", []),
        ("def build():\n    import torch\n", [COMPILER]),
        ("from torchvision.models import resnet18\n", [TORCHVISION]),
        ("import torch, torchvision\n", [COMPILER, TORCHVISION]),
        ("import pytorch_like\n", []),
    ],
)
def test_a_users_workload_gets_what_its_file_names(tmp_path, text, groups):
    (tmp_path / "mine.py").write_text(text)
    assert modules({"workload": "mine:Net"}, search_path=[str(tmp_path)]) == {
        name for group in groups for name in group
    }


def test_a_users_workload_of_several_files_or_of_none_that_is_found_gets_both(tmp_path):
    (tmp_path / "package").mkdir()
    Path(tmp_path / "package" / "__init__.py").write_text("")
    Path(tmp_path / "package" / "inner.py").write_text("")
    for name in ("package", "nowhere"):
        assert modules({"workload": f"{name}:Net"}, search_path=[str(tmp_path)]) == {*COMPILER, *TORCHVISION}
