"""What is allowed in a suite and probably not meant."""

from collections.abc import Iterator, Sequence
from typing import Any

from gpubench.suite.cases.expand import Expansion
from gpubench.suite.model.case import Case
from gpubench.suite.model.settings import normal
from gpubench.suite.model.suite import Suite
from gpubench.suite.read.problems import Path, Problem, in_order, path_text, warning
from gpubench.suite.read.yaml_document import YamlMapping, key_mark, value_mark
from gpubench.suite.select.patterns import compiled, fits


def oddities(
    suite: Suite, expansion: Expansion, trained: Sequence[Case], root: YamlMapping, *, narrowed: bool
) -> tuple[Problem, ...]:
    """Warnings. In a suite `narrowed` by overrides, an exclude or the baseline may well match no case."""
    found = [*_empty(suite, expansion, root), *_duplicates(suite, expansion, root)]
    if suite.quality is not None and expansion.cases and not trained:
        found.append(
            _warn(root, ("quality",), "there is no training case, so nothing is trained to a result", key=True)
        )
    if not narrowed and expansion.cases:
        found += _idle(suite, expansion, trained, root)
    return in_order(found)


def _empty(suite: Suite, expansion: Expansion, root: YamlMapping) -> Iterator[Problem]:
    if expansion.cases:
        return
    axes = [name for name, values in suite.matrix.items() if not values]
    if axes:
        yield _warn(root, ("matrix", axes[0]), "an axis without values: the suite has no cases", key=True)
    else:
        yield _warn(root, ("exclude",), "every combination is excluded: the suite has no cases", key=True)


def _duplicates(suite: Suite, expansion: Expansion, root: YamlMapping) -> Iterator[Problem]:
    for name, values in suite.matrix.items():
        seen: list[Any] = []
        for index, value in enumerate(values):
            held = normal(name, value)
            if held in seen:
                yield _warn(
                    root,
                    ("matrix", name, index),
                    f"the same as value {seen.index(held) + 1} of this axis; measured once",
                )
            seen.append(held)
    for index in expansion.repeated_includes:
        yield _warn(root, ("include", index), "the suite has this case already; measured once")


def _idle(suite: Suite, expansion: Expansion, trained: Sequence[Case], root: YamlMapping) -> Iterator[Problem]:
    for index in expansion.idle_excludes:
        yield _warn(root, ("exclude", index), "excludes nothing: no combination matches it")
    if suite.baseline and not _any_fits(expansion.cases, suite.baseline):
        yield _warn(root, ("baseline",), "no case matches it, so no speed-up is stated against it", key=True)
    if suite.quality is not None and trained and not _any_fits(trained, suite.quality.reference):
        yield _warn(
            root, ("quality", "reference"), "no case matches it, so accuracy is compared with nothing", key=True
        )
    for index, gate in enumerate(suite.gates):
        if gate.where and not _any_fits(expansion.cases, gate.where):
            yield _warn(root, ("gates", index, "where"), "no case matches it, so this gate checks nothing", key=True)


def _any_fits(cases: Sequence[Case], where: dict[str, Any]) -> bool:
    pattern = compiled(where)
    return any(fits(case.settings, pattern) for case in cases)


def _warn(root: YamlMapping, path: Path, message: str, *, key: bool = False) -> Problem:
    mark = key_mark(root, path) if key else value_mark(root, path)
    return warning(path_text(path), message, mark)
