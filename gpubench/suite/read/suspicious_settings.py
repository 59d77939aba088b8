"""What a suite may say but probably does not mean."""

from collections.abc import Sequence
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
    """Warnings. In a suite `narrowed` by overrides, `exclude` or the baseline may well match no case."""
    found: list[Problem] = []

    def warn(path: Path, message: str, *, key: bool = False) -> None:
        mark = key_mark(root, path) if key else value_mark(root, path)
        found.append(warning(path_text(path), message, mark))

    empty_axes = [name for name, values in suite.matrix.items() if not values]
    if not expansion.cases and empty_axes:
        warn(("matrix", empty_axes[0]), "an axis without values: the suite has no cases", key=True)
    elif not expansion.cases:
        warn(("exclude",), "every combination is excluded: the suite has no cases", key=True)
    for name, values in suite.matrix.items():
        seen: list[Any] = []
        for index, value in enumerate(values):
            held = normal(name, value)
            if held in seen:
                said = f"the same as value {seen.index(held) + 1} of this axis; measured once"
                warn(("matrix", name, index), said)
            seen.append(held)
    for index in expansion.repeated_includes:
        warn(("include", index), "the suite has this case already; measured once")
    if suite.quality is not None and expansion.cases and not trained:
        warn(("quality",), "there is no training case, so there are no quality runs", key=True)
    if narrowed or not expansion.cases:
        return in_order(found)
    for index in expansion.idle_excludes:
        warn(("exclude", index), "excludes nothing: no combination matches it")
    if suite.baseline and not _any_fits(expansion.cases, suite.baseline):
        warn(("baseline",), "no case matches it, so no speed-up is stated against it", key=True)
    if suite.quality is not None and trained and not _any_fits(trained, suite.quality.reference):
        warn(("quality", "reference"), "no case matches it, so the score is compared with nothing", key=True)
    for index, gate in enumerate(suite.gates):
        if gate.where and not _any_fits(expansion.cases, gate.where):
            warn(("gates", index, "where"), "no case matches it, so this gate checks nothing", key=True)
    return in_order(found)


def _any_fits(cases: Sequence[Case], where: dict[str, Any]) -> bool:
    pattern = compiled(where)
    return any(fits(case.settings, pattern) for case in cases)
