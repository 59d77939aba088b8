"""From a suite to its cases: the product of the axes, less what is excluded, plus what is included."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from gpubench.core.errors import UsageError
from gpubench.suite.cases.ablation_path import path_settings
from gpubench.suite.model.case import Case
from gpubench.suite.model.settings import normal
from gpubench.suite.model.suite import MAX_CASES, Suite
from gpubench.suite.select.patterns import Pattern, compiled, fits


@dataclass(frozen=True)
class Expansion:
    """`cases` in matrix order (the last axis changes fastest), then those of `path` and of `include`, each once.

    `idle_excludes` are the numbers of entries that match no combination, `repeated_includes` of entries that are the
    same case as one before.
    """

    cases: tuple[Case, ...]
    num_combinations: int
    num_excluded: int
    idle_excludes: tuple[int, ...]
    repeated_includes: tuple[int, ...]


def count_combinations(suite: Suite) -> int:
    """Combinations of the matrix, before any is excluded; counted, not built."""
    return prod(len(values) for values in suite.matrix.values())


def expand(suite: Suite) -> Expansion:
    """The suite's cases. UsageError for more than MAX_CASES combinations, stages and included cases, before any is
    made.

    A combination is `defaults`, then the axes, then each rule of `when` that fits what stands so far, for settings that
    are not axes. An included case, and a stage of the path, is `defaults`, its own settings, and the rules for what it
    leaves open. `exclude` looks at the finished combination and never at these.
    """
    stages = path_settings(suite.path)
    asked = count_combinations(suite) + len(stages) + len(suite.include)
    if asked > MAX_CASES:
        raise UsageError(too_many(asked))
    combinations = list(_combinations(suite))
    excludes = [compiled(entry) for entry in suite.exclude]
    hits = [[fits(settings, entry) for entry in excludes] for settings in combinations]
    kept = [settings for settings, hit in zip(combinations, hits, strict=True) if not any(hit)]
    cases = {case.case_id: case for case in map(Case.model_validate, kept)}
    finished = _Finish(suite)
    for case in (Case.model_validate(finished(given)) for given in stages):
        cases.setdefault(case.case_id, case)
    repeated = []
    for index, settings in enumerate(_included(suite)):
        case = Case.model_validate(settings)
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


def too_many(number: int) -> str:
    shown = f"{number:,}" if number < 10**15 else "more than 10^15"
    return f"{shown} combinations; a suite has at most {MAX_CASES:,} (before `exclude`)"


def _combinations(suite: Suite) -> Iterator[dict[str, Any]]:
    axes = {name: _distinct(name, values) for name, values in suite.matrix.items()}
    finished = _Finish(suite)
    for values in product(*axes.values()):
        yield finished(dict(zip(axes, values, strict=True)))


def _included(suite: Suite) -> Iterator[dict[str, Any]]:
    finished = _Finish(suite)
    for entry in suite.include:
        yield finished({name: normal(name, value) for name, value in entry.items()})


def _distinct(name: str, values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in (normal(name, each) for each in values):
        if value not in found:
            found.append(value)
    return found


class _Finish:
    """Makes whole settings of those that a combination or an included case gives itself."""

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
