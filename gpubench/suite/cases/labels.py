"""Short names of cases, made of the settings that tell them apart; and the cases that a `--case` name stands for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from gpubench.core.did_you_mean import near
from gpubench.core.errors import UsageError
from gpubench.suite.model.case import SPECS, Case, CaseId
from gpubench.suite.model.settings import default

QUALITY = "quality "
"""Prefix of a quality run's name, because it may have the same settings, and so the same id, as a case."""

_SHORTEST_PREFIX = 4
_MOST_NAMED = 8
_LONGEST_WORD = 40


def label_cases(cases: Sequence[Case]) -> tuple[str, ...]:
    """A label for each case: the settings in which these cases differ, in the order of `Case`, in as few words as
    possible.

    `train cpu amp-bf16 b64 NHWC`. What is off by default (compile, a CUDA graph, environment variables) is named if it
    is on. No two labels are equal. A single case is named by workload, mode, device, precision and batch size.
    """
    names = varying(cases) or ("workload", "mode", "device", "precision", "batch_size")
    labels = []
    for case in cases:
        values = {name: getattr(case, name) for name in names}
        spoken = [name for name in names if not SPECS[name].quiet or values[name] != default(name)]
        labels.append(" ".join(short_word(name, values[name]) for name in spoken or names))
    unique = _unique(labels, [str(case.case_id) for case in cases])
    return _unique(unique, [f"#{at + 1}" for at in range(len(cases))])


def varying(cases: Iterable[Case]) -> tuple[str, ...]:
    """Settings in which these cases differ, in the order of `Case`."""
    values_of = itemgetter(*Case.model_fields)
    columns = zip(*(values_of(case.__dict__) for case in cases), strict=True)
    return tuple(name for name, values in zip(Case.model_fields, columns, strict=False) if _differ(values))


def _differ(values: Sequence[Any]) -> bool:
    # Among thousands of values most are the same few objects.
    objects = dict(zip(map(id, values), values, strict=True))
    return len(objects) > 1 and len(set(map(repr, objects.values()))) > 1


def short_word(name: str, value: Any) -> str:
    """A setting's value in a label: `b64`, `NHWC`, `bench`, `compile=default`."""
    text = SPECS[name].label(value)
    if len(text) <= _LONGEST_WORD:
        return text
    half = (_LONGEST_WORD - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def _unique(labels: Sequence[str], endings: Sequence[str]) -> tuple[str, ...]:
    """Labels that several cases share get an ending."""
    counts = Counter(labels)
    return tuple(
        label if counts[label] == 1 else f"{label} {ending}" for label, ending in zip(labels, endings, strict=True)
    )


class NamedCases(NamedTuple):
    """Ids of cases to measure, and of quality runs."""

    measured: frozenset[CaseId]
    trained: frozenset[CaseId]


def named_cases(
    names: Iterable[str], cases: Sequence[Case], trained: Sequence[Case] = (), *, overrides: Sequence[str] = ()
) -> NamedCases:
    """The `cases` of a suite, and the quality runs among `trained`, that `names` stand for.

    A prefix of an id needs four characters or more. `overrides` are those the suite was read with. UsageError for a
    name that matches no case, or several.
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
                + (
                    f"{changed} may have changed it."
                    if changed
                    else "use the -s options of the run that it comes from."
                ),
            )
    return NamedCases(frozenset(chosen[""]), frozenset(chosen[QUALITY]))
