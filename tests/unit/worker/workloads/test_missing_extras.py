"""What a family needs and is not here: its cases are skipped, and the reason is the one command that helps."""

import importlib.util
import sys

import pytest
import torch

from gpubench.core.records import Status
from gpubench.protocol.messages import Hello
from gpubench.runner.plan import cannot_run
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Suite
from gpubench.worker.failures import as_failed
from gpubench.worker.workloads.base import Missing
from gpubench.worker.workloads.cnn import CNN
from gpubench.worker.workloads.speech import features, recognition, utterances
from gpubench.worker.workloads.text import catalogues, translation
from gpubench.worker.workloads.text.vocabulary import Vocabulary
from gpubench.worker.workloads.vision.scores import mean_precision

PLANNED = [
    ({"workload": "hf:bert@sequence-classification"}, "transformers", "text"),
    ({"workload": "timm:convnext_tiny"}, "timm", "vision"),
    ({"workload": "cnn", "mode": "infer", "compress": "int8-weight"}, "torchao", "compression"),
    ({"workload": "cnn", "mode": "infer", "compress": "int8-dynamic"}, "torchao", "compression"),
]
BUILT = [
    (lambda: translation.bleu_and_chrf(["a"], ["a"]), "sacrebleu", "text"),
    (lambda: Vocabulary(["a"]), "tokenizers", "text"),
    (lambda: mean_precision([], []), "torchmetrics", "vision"),
    (lambda: mean_precision([], []), "faster_coco_eval", "vision"),
    (lambda: recognition.word_error_rate(["a"], ["a"]), "jiwer", "speech"),
    (features._filters.__wrapped__, "torchaudio", "speech"),
    (lambda: CNN().build(Case(workload="cnn", framework="lightning"), "cpu"), "lightning", "lightning"),
]
THERE = importlib.util.find_spec


@pytest.fixture
def without(monkeypatch):
    def leave_out(package):
        def found(name, *rest):
            return None if name == package else THERE(name, *rest) or object()

        for module in ("worker.workloads.base", "suite.model.workload_names"):
            monkeypatch.setattr(f"gpubench.{module}.find_spec", found)
        monkeypatch.setitem(sys.modules, package, None)

    return leave_out


@pytest.mark.parametrize(("settings", "package", "extra"), PLANNED)
def test_a_case_without_its_library_is_skipped_before_anything_starts(without, settings, package, extra):
    without(package)
    hello = Hello.model_construct(nodes=(), devices=())
    suite = Suite.model_validate({"schema": 1, "name": "missing"})
    said = f"{package} is not installed: pip install 'gpubench[{extra}]'"
    assert cannot_run(Case(**settings), suite, hello) == (Status.SKIPPED, said)


@pytest.mark.parametrize(("use", "package", "extra"), BUILT, ids=[package for _, package, _ in BUILT])
def test_a_task_without_its_package_is_skipped_with_the_command(without, use, package, extra):
    without(package)
    with pytest.raises(Missing) as missing:
        use()
    ended = as_failed(missing.value, "build")
    assert ended.status == "skipped"
    assert package in ended.reason
    assert ended.reason.endswith(f"pip install 'gpubench[{extra}]'")


def test_speech_without_its_program_is_skipped_with_the_command(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(Missing, match=r"apt-get install espeak-ng$"):
        utterances.load.__wrapped__("commands")


def test_text_without_enough_catalogues_is_skipped_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogues, "catalogue_files", lambda _root: [])
    with pytest.raises(Missing, match=r"0 pairs .* apt-get install "):
        catalogues.load.__wrapped__(str(tmp_path))


def test_what_needs_no_extra_is_never_skipped_for_one(without):
    without("torchao")
    step = CNN().build(Case(workload="cnn", mode="infer", batch_size=2, compress="prune-50"), "cpu")
    assert isinstance(step(), torch.Tensor)
