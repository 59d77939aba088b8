"""Classifiers of the kinds that model collections have: whatever they return and however they are made."""

import threading
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gpubench import Classifier
from gpubench.suite.model.case import Case
from gpubench.worker import effective_settings
from gpubench.worker.checks import parity
from gpubench.worker.workloads import optional_facts

SIZE = 8
WIDTH = 3 * SIZE**2


@dataclass
class Scores:
    main: torch.Tensor
    aux: torch.Tensor | None = None


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.body, self.wrap = nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, 10)), wrap

    def forward(self, images):
        return self.wrap(self.body(images))


class Kind(Classifier):
    default_image_size, default_num_classes = SIZE, 10

    def __init__(self, make, logits=lambda output: output):
        super().__init__()
        self.make_model, self.logits = (lambda _case: make()), logits


def measured(workload, case):
    """Built, stepped, watched and compared, as a launch does it."""
    effective_settings.apply(case, torch)
    step = workload.build(case, "cpu")
    step()
    effective = effective_settings.read_back(case, optional_facts.probe(workload, case, step), "cpu")
    assert effective_settings.mismatches(case, effective, None) == ()
    optional_facts.reset_health(workload)
    step()
    return effective, workload.health(), parity.check(workload, case, "cpu")


@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize(
    ("wrap", "logits"),
    [
        (lambda y: {"main": y, "none": None}, lambda output: output["main"]),
        (Scores, lambda output: output.main),
        (lambda y: (None, y), lambda output: output[1]),
        (lambda y: SimpleNamespace(main=y, name="head"), lambda output: output.main),
    ],
    ids=["dict", "dataclass", "tuple", "object"],
)
def test_the_logits_of_any_output_are_found_by_the_classifier(mode, wrap, logits):
    case = Case(mode=mode, batch_size=4)
    effective, health, found = measured(Kind(lambda: Wrapped(wrap), logits), case)
    assert effective.output_dtype == "float32"
    assert health.finite
    assert found.passed


@pytest.mark.parametrize("wrap", [lambda y: {"main": y / 0}, lambda y: Scores(y, y / 0)], ids=["dict", "dataclass"])
def test_an_output_that_is_not_finite_is_found_inside_a_container(wrap):
    workload = Kind(lambda: Wrapped(wrap), lambda output: output["main"] if isinstance(output, dict) else output.main)
    workload.build(Case(mode="infer", batch_size=2), "cpu")()
    assert not workload.health().finite


def _linear(*layers):
    return nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, 10), *layers)


def _locked():
    model = _linear()
    model.lock = threading.Lock()
    return model


def _expanded():
    model = _linear()
    model.register_parameter("scale", nn.Parameter(torch.ones(1).expand(16)))
    return model


def _half_frozen():
    model = nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, 16), nn.Linear(16, 10))
    model[1].requires_grad_(False).eval()
    return model


def _scripted():
    return torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 10)))


def _leaves_another_default_dtype():
    torch.set_default_dtype(torch.float64)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 10))


@pytest.fixture
def _defaults():
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_defaults")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize(
    "make",
    [
        _locked,
        _expanded,
        _half_frozen,
        _scripted,
        _leaves_another_default_dtype,
        lambda: nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(WIDTH, 10))),
        lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10)),
    ],
    ids=["locked", "expanded", "frozen", "scripted", "dtype", "weight_norm", "lazy"],
)
def test_a_model_of_any_kind_is_measured_and_compared(make, mode):
    _, health, found = measured(Kind(make), Case(mode=mode, batch_size=4))
    assert health.finite
    assert health.parameters_moved is (True if mode == "train" else None)
    assert found.passed


class FunctionalDropout(nn.Module):
    """Random in every forward, and no module shows it."""

    def __init__(self, chance=0.5):
        super().__init__()
        self.body, self.head, self.chance = nn.Linear(WIDTH, 64), nn.Linear(64, 10), chance

    def forward(self, images):
        return self.head(nn.functional.dropout(self.body(images.flatten(1)), self.chance, self.training))


@pytest.mark.parametrize("chance", [0.5, 0.01])
def test_a_model_that_draws_at_random_is_unverified_and_not_wrong(chance):
    found = parity.check(Kind(lambda: FunctionalDropout(chance)), Case(batch_size=8), "cpu")
    assert "draws at random" in found


def test_the_same_model_is_compared_where_it_draws_nothing():
    assert parity.check(Kind(FunctionalDropout), Case(mode="infer", batch_size=8), "cpu").passed
