"""Expands a suite into its cases (the product of the axes, minus `exclude`, plus `include`) and its quality runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.model.settings import normal
from gpubench.suite.model.suite import MAX_CASES, Suite
from gpubench.suite.select.patterns import Pattern, compiled, fits

ACCURACY_FOLLOWS = tuple(name for name, spec in SPECS.items() if spec.accuracy)
"""Settings that may change what a case learns. The others (layout, cuDNN's choices, measured batch sizes, data path)
are about speed: of training cases that differ only in those, the first stands for all.
"""


@dataclass(frozen=True)
class Expansion:
    """`cases` in matrix order (the last axis changes fastest), then those of `path` and of `include`, each once.

    `idle_excludes`: indices of `exclude` entries that match no combination. `repeated_includes`: those of `include`
    entries that repeat a case.
    """

    cases: tuple[Case, ...]
    num_combinations: int
    num_excluded: int
    idle_excludes: tuple[int, ...]
    repeated_includes: tuple[int, ...]


def count_combinations(suite: Suite) -> int:
    """The number of combinations of the matrix, before `exclude`; none is built."""
    return prod(len(values) for values in suite.matrix.values())


def expand(suite: Suite) -> Expansion:
    """The suite's cases. UsageError, before any is built, if there are more than MAX_CASES combinations, stages and
    includes.

    A combination is `defaults`, then the axes, then each rule of `when` that fits the settings so far; a rule changes
    no axis. An included case, or a stage of the path, is `defaults`, its own settings, and the rules for what it does
    not set. `exclude` applies to finished combinations only, never to these.
    """
    stages = path_settings(suite.path)
    asked = count_combinations(suite) + len(stages) + len(suite.include)
    if asked > MAX_CASES:
        raise UsageError(too_many(asked))
    finished = _Finish(suite)
    axes: dict[str, list[Any]] = {name: [] for name in suite.matrix}
    for name, values in suite.matrix.items():
        for value in (normal(name, each) for each in values):
            if value not in axes[name]:
                axes[name].append(value)
    combinations = [finished(dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
    excludes = [compiled(entry) for entry in suite.exclude]
    hits = [[fits(settings, entry) for entry in excludes] for settings in combinations]
    kept = [settings for settings, hit in zip(combinations, hits, strict=True) if not any(hit)]
    cases = {case.case_id: case for case in map(Case.model_validate, kept)}
    for case in (Case.model_validate(finished(given)) for given in stages):
        cases.setdefault(case.case_id, case)
    repeated = []
    for index, entry in enumerate(suite.include):
        case = Case.model_validate(finished({name: normal(name, value) for name, value in entry.items()}))
        if cases.setdefault(case.case_id, case) is not case:
            repeated.append(index)
    return Expansion(
        cases=tuple(cases.values()),
        num_combinations=len(combinations),
        num_excluded=len(combinations) - len(kept),
        idle_excludes=tuple(at for at in range(len(excludes)) if not any(hit[at] for hit in hits)),
        repeated_includes=tuple(repeated),
    )


def staged_cases(suite: Suite) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The cases of the suite's path: its base and the changes one on top of another; and each change alone."""
    finished = _Finish(suite)
    cases = tuple(Case.model_validate(finished(given)) for given in path_settings(suite.path))
    num_stages = len(suite.path) + 1
    return cases[:num_stages], cases[num_stages:]


def quality_cases(suite: Suite, cases: Iterable[Case]) -> tuple[Case, ...]:
    """The quality runs: one case per device, precision and other setting that changes accuracy, from the training
    cases. Where models are compressed, from the inference cases too: each is trained first, plain.

    Each has the batch size, optimizer and data of the `quality` section, and nothing that is only about speed. Empty if
    the suite has no such section, or no training case.
    """
    if suite.quality is None:
        return ()
    training = {
        "batch_size": suite.quality.batch_size,
        "optimizer": suite.quality.optimizer,
        "learning_rate": suite.quality.learning_rate[0],
        "accumulate": 1,
        "world_size": 1,
        "strategy": "ddp",
        "scaling": "weak",
        "micro_batches": None,
        "backend": "auto",
        "data_path": "resident",
        "num_workers": 0,
        "compile": "off",
        "cuda_graph": False,
        "timing": "throughput",
    }
    found: dict[tuple[Any, ...], Case] = {}
    compressing = any(case.compress != "none" for case in cases)
    for case in cases:
        if case.mode == "train" or compressing:
            own = {"mode": "train", "data": suite.quality.data or case.data}
            trained = Case.model_validate(case.settings | training | own)
            found.setdefault(tuple(repr(getattr(trained, name)) for name in ACCURACY_FOLLOWS), trained)
    return tuple(found.values())


def too_many(number: int) -> str:
    shown = f"{number:,}" if number < 10**15 else "more than 10^15"
    return f"{shown} combinations; a suite has at most {MAX_CASES:,} (before `exclude`)"


def path_settings(path: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each case of a path sets on top of the suite's defaults: nothing (the base), the first change, the first two
    and so on, then each change alone. Cases may repeat. Empty for an empty path.
    """
    if not path:
        return []
    changes = [{name: normal(name, value) for name, value in change.items()} for change in path]
    return [*cumulated(changes), *changes]


def cumulated(changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Nothing, then one change on top of another; a later value of a setting replaces an earlier one."""
    given: list[dict[str, Any]] = [{}]
    for change in changes:
        given.append({**given[-1], **change})
    return given


class _Finish:
    """Completes the settings that a combination or an included case gives."""

    def __init__(self, suite: Suite) -> None:
        self._base = Case.model_validate(suite.defaults).settings
        self._rules: list[tuple[Pattern, Mapping[str, Any]]] = [
            (compiled(rule.condition), {name: normal(name, value) for name, value in rule.settings.items()})
            for rule in suite.when
        ]

    def __call__(self, given: Mapping[str, Any]) -> dict[str, Any]:
        settings = {**self._base, **given}
        for condition, changes in self._rules:
            if fits(settings, condition):
                settings |= {name: value for name, value in changes.items() if name not in given}
        return settings
