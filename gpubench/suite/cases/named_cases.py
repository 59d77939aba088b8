"""The cases of a suite by id, beginning of an id, or label, as `--case` takes them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpubench.core.did_you_mean import near
from gpubench.core.errors import UsageError
from gpubench.suite.cases.labels import label_cases
from gpubench.suite.model.case import Case, CaseId

QUALITY = "quality "
"""Before the name of a training to a result, which may have the same settings, and so the same id, as a case."""

_SHORTEST_PREFIX = 4
_MOST_NAMED = 8


class NamedCases(NamedTuple):
    """Ids of cases to measure, and of those to train to a result."""

    measured: frozenset[CaseId]
    trained: frozenset[CaseId]


def named_cases(
    names: Iterable[str], cases: Sequence[Case], trained: Sequence[Case] = (), *, overrides: Sequence[str] = ()
) -> NamedCases:
    """What `names` stand for among the `cases` of a suite and those that are `trained` to a result.

    A prefix of an id needs four characters or more. `overrides` are those that the suite was read with. UsageError for
    a name that is no case's, or several cases'.
    """
    chosen: dict[str, set[CaseId]] = {"": set(), QUALITY: set()}
    labelled = {"": list(zip(cases, label_cases(cases), strict=True))}
    labelled[QUALITY] = list(zip(trained, label_cases(trained), strict=True))
    for name in names:
        bare = name.removeprefix(QUALITY)
        for kind in (QUALITY,) if bare != name else ("", QUALITY):
            found = {case.case_id: label for case, label in labelled[kind] if bare in (case.case_id, label)}
            if not found and len(bare) >= _SHORTEST_PREFIX:
                found = {case.case_id: label for case, label in labelled[kind] if case.case_id.startswith(bare)}
            if len(found) > 1:
                named = "\n".join(f"  {case_id}  {label}" for case_id, label in list(found.items())[:_MOST_NAMED])
                raise UsageError(
                    f"{len(found)} cases have an id that begins with {bare!r}:\n{named}", hint="Give one more digit."
                )
            if found:
                chosen[kind] |= found.keys()
                break
        else:
            known = [
                kind + word for kind, each in labelled.items() for case, label in each for word in (case.case_id, label)
            ]
            meant = near(name, known)
            changed = ", ".join(f"-s {each}" for each in overrides)
            raise UsageError(
                f"the suite has no case {name!r}{f': {meant}' if meant else ''}",
                hint="`gpubench validate SUITE --cases` lists labels and ids. An id depends on the case's settings: "
                + (f"{changed} may have changed it." if changed else "give the -s options of the run that it is from."),
            )
    return NamedCases(frozenset(chosen[""]), frozenset(chosen[QUALITY]))
