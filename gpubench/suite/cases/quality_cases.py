"""Which trainings to a result a suite asks for."""

from collections.abc import Iterable
from typing import Any

from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.model.suite import QualitySettings, Suite

ACCURACY_FOLLOWS = tuple(name for name, spec in SPECS.items() if spec.accuracy)
"""Settings of a case that may change what it learns. Layout, cuDNN's choices, batch sizes of the measurement and the
way data takes are about speed: the first training case that has the rest equal stands for all.
"""


def quality_cases(suite: Suite, cases: Iterable[Case]) -> tuple[Case, ...]:
    """One case to train for each device and precision (and whatever else changes accuracy) among the training cases.

    It has the batch size, optimizer and data of the `quality` section and nothing that is only about speed. Empty where
    the suite has no such section, or no training case.
    """
    if suite.quality is None:
        return ()
    found: dict[tuple[Any, ...], Case] = {}
    for case in cases:
        if case.mode == "train":
            trained = _trained(case, suite.quality)
            found.setdefault(tuple(repr(getattr(trained, name)) for name in ACCURACY_FOLLOWS), trained)
    return tuple(found.values())


def _trained(case: Case, quality: QualitySettings) -> Case:
    settings = case.settings | {
        "data": quality.data or case.data,
        "batch_size": quality.batch_size,
        "optimizer": quality.optimizer,
        "learning_rate": quality.learning_rate[0],
        "accumulate": 1,
        "data_path": "resident",
        "num_workers": 0,
        "compile": "off",
        "cuda_graph": False,
        "timing": "throughput",
    }
    return Case.model_validate(settings)
