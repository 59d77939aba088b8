import importlib
import sys
import sysconfig
from pathlib import Path

import pytest

import gpubench
from gpubench.core.errors import UsageError
from gpubench.worker.workloads.base import Workload
from gpubench.worker.workloads.cnn import CNN
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.torchvision_cnn import TorchvisionCNN


@pytest.fixture
def beside_suite(tmp_path, monkeypatch):
    """Writes a module into a folder that stands for the suite's; what was imported is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    written, before = [], dict(sys.modules)

    def write(name: str, text: str) -> tuple[str, ...]:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        return (str(tmp_path),)

    yield write
    for name in written:
        sys.modules.pop(name, None)
        sys.modules.pop(f"_beside_the_suite_{name}", None)
        if name in before:
            sys.modules[name] = before[name]


GOOD = "class Mine:\n    def build(self, case, device):\n        return lambda: None\n"


def test_cnn_is_the_reference_cnn():
    assert type(resolve("cnn")) is CNN


def test_a_torchvision_model_is_found_by_its_name():
    workload = resolve("torchvision:resnet18")
    assert isinstance(workload, TorchvisionCNN)
    assert workload.name == "resnet18"


def test_an_unknown_torchvision_model_is_answered_with_near_names():
    with pytest.raises(UsageError, match="no classification model named 'resnet51'") as caught:
        resolve("torchvision:resnet51")
    assert "'resnet50'" in caught.value.hint


def test_a_detection_model_is_not_a_classification_model():
    with pytest.raises(UsageError, match="no classification model"):
        resolve("torchvision:fasterrcnn_resnet50_fpn")


def test_a_bare_torchvision_name_is_answered_with_its_full_name():
    with pytest.raises(UsageError, match="no workload 'resnet50'") as caught:
        resolve("resnet50")
    assert "'torchvision:resnet50'" in caught.value.hint


def test_a_misspelt_cnn_is_answered_with_cnn():
    with pytest.raises(UsageError) as caught:
        resolve("cn")
    assert caught.value.hint == "Did you mean 'cnn'?"


def test_a_class_beside_the_suite_file_is_found(beside_suite):
    workload = resolve("mine_beside:Mine", beside_suite("mine_beside", GOOD))
    assert isinstance(workload, Workload)
    assert type(workload).__module__ == "mine_beside"


def test_workloads_of_the_first_release_find_their_base_classes(beside_suite):
    text = (
        "from gpubench.worker.workloads.base import Health, ParityProbe, Unsupported, Workload\n"
        "from gpubench.worker.workloads.classifier import Classifier\n"
        "class Mine(Classifier):\n    pass\n"
    )
    assert isinstance(resolve("mine_old:Mine", beside_suite("mine_old", text)), gpubench.Classifier)


def test_a_missing_module_is_answered_with_where_was_looked_and_a_near_name(beside_suite, tmp_path):
    search = beside_suite("mine_near", GOOD)
    with pytest.raises(UsageError, match="'mine_nearr' was not found") as caught:
        resolve("mine_nearr:Mine", search)
    assert str(tmp_path) in str(caught.value)
    assert "'mine_near'" in caught.value.hint


def test_a_missing_class_is_answered_with_a_near_name(beside_suite):
    search = beside_suite("mine_class", GOOD)
    with pytest.raises(UsageError, match="no 'Minee'") as caught:
        resolve("mine_class:Minee", search)
    assert caught.value.hint == "Did you mean 'Mine'?"


def test_a_class_without_build_is_refused(beside_suite):
    search = beside_suite("mine_empty", "class Mine:\n    pass\n")
    with pytest.raises(UsageError, match="without `build") as caught:
        resolve("mine_empty:Mine", search)
    assert "an nn.Module class" in caught.value.hint


def test_a_class_that_needs_arguments_is_refused(beside_suite):
    search = beside_suite(
        "mine_args", "class Mine:\n    def __init__(self, size): ...\n    def build(self, case, device): ...\n"
    )
    with pytest.raises(UsageError, match="missing a required argument: 'size'"):
        resolve("mine_args:Mine", search)


def test_an_import_that_fails_inside_the_module_is_not_mistaken_for_a_missing_module(beside_suite):
    search = beside_suite("mine_broken", "import no_such_module_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        resolve("mine_broken:Mine", search)


def test_an_error_in_the_module_itself_reaches_the_person(beside_suite):
    search = beside_suite("mine_raising", "raise RuntimeError('on import')\n")
    with pytest.raises(RuntimeError, match="on import"):
        resolve("mine_raising:Mine", search)


def test_the_search_path_comes_before_the_python_path(beside_suite, tmp_path):
    search = beside_suite("mine_first", GOOD)
    resolve("mine_first:Mine", search)
    assert Path(sys.modules["mine_first"].__file__).parent == tmp_path


def test_phases_and_download_are_handed_over():
    def phases(_name):
        raise AssertionError

    workload = resolve("cnn", phases=phases, download=True)
    assert isinstance(workload, CNN)
    assert workload.phases is phases
    assert workload.download is True


@pytest.mark.parametrize("name", ["profile", "statistics", "random"])
def test_a_module_beside_the_suite_may_have_a_standard_name(beside_suite, name):
    found = sys.modules.get(name)
    search = beside_suite(name, GOOD)
    assert type(resolve(f"{name}:Mine", search)).__name__ == "Mine"
    assert type(resolve(f"{name}:Mine", search)).__name__ == "Mine"
    assert sys.modules.get(name) is found
    assert importlib.import_module(name).__file__.startswith(sysconfig.get_path("stdlib"))


def test_a_module_beside_the_suite_comes_before_a_loaded_one(beside_suite, tmp_path):
    search = beside_suite("numpy", GOOD)
    assert type(resolve("numpy:Mine", search)).__name__ == "Mine"
    assert not Path(sys.modules["numpy"].__file__).is_relative_to(tmp_path)


def test_the_working_folder_hides_nothing_that_is_installed_or_beside_the_suite(beside_suite, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in ("mine_twice", "tomllib", "mine_here"):
        (here / f"{name}.py").write_text("Mine = None\n" if name != "mine_here" else GOOD)
    search = beside_suite("mine_twice", GOOD + "import tomllib\nassert tomllib.loads\n")
    assert resolve("mine_twice:Mine", search) is not None
    assert resolve("mine_here:Mine", search) is not None
