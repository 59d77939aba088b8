"""Files of pytest-benchmark as sides of a comparison. A file is one process that ran all of its tests."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, TypeGuard

from gpubench.analysis.compare.run_sides import Side
from gpubench.analysis.summary.case_summary import CaseEntry
from gpubench.core.errors import UsageError
from gpubench.core.metrics import METRICS
from gpubench.machine.host_facts import RELEVANT_FLAGS
from gpubench.store.pytest_benchmark_files import PytestFile, PytestTest

EXTRA_KEY = "gpubench"
"""Key of the gpubench fixture's figures in a test's `extra_info`."""

_IQR_TO_MEDIAN_ERROR = 1.2533 / 1.349
"""Standard error of a median divided by IQR / sqrt n, for normal values."""

_NORMAL_95 = 1.959964


def side_of_files(files: Sequence[PytestFile], name: str) -> Side:
    """One side. Each file is a launch of its tests, numbered by time stamp. UsageError if there is no test at all."""
    ordered = sorted(files, key=lambda file: file.created)
    by_test: dict[str, list[tuple[int, PytestTest]]] = {}
    for number, file in enumerate(ordered, start=1):
        for test in file.tests:
            by_test.setdefault(test.fullname, []).append((number, test))
    if not by_test:
        hint = "Did the tests use the `benchmark` or `gpu_benchmark` fixture?"
        raise UsageError(f"{name} contains no benchmark", hint=hint)
    entries = []
    for launches in by_test.values():
        last = launches[-1][1]
        values: dict[str, dict[int, float]] = {}
        for number, test in launches:
            for metric, value in _metrics(test).items():
                values.setdefault(metric, {})[number] = value
        interval = _interval(last) if len(launches) == 1 and "step_time_s" in values else None
        entry = CaseEntry(
            case_id=last.fullname,
            label=last.name,
            settings={"test": last.fullname, "group": last.group, **last.params},
            values=values,
            intervals={} if interval is None else {"step_time_s": interval},
            limits=_limits(last, name),
        )
        entries.append(entry)
    newest = ordered[-1]
    commit = str(newest.commit.get("id") or "")[:12]
    facts = {"git commit": f"{commit}{' with changes' if newest.commit.get('dirty') else ''}"} if commit else {}
    return Side(name, "pytest-benchmark", "", tuple(entries), _environment(newest), facts)


def _limits(test: PytestTest, side: str) -> dict[str, float]:
    """What gpubench's fixture declares. UsageError for a limit that is none."""
    given = {name: most for name, most in _object(_own(test.extra).get("limits")).items() if name in METRICS}
    for name, most in given.items():
        if not _is_number(most) or not 0 <= most < math.inf:
            raise UsageError(
                f"{side}: {test.fullname} has a limit of {most!r} on {name}",
                hint="A limit is the largest allowed regression as a share, such as 0.03.",
            )
    return {name: float(most) for name, most in given.items()}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _metrics(test: PytestTest) -> dict[str, float]:
    """The median round as the step time, and what gpubench's fixture measured.

    UsageError for a negative figure.
    """
    own = _object(_own(test.extra).get("metrics"))
    found = {"step_time_s": _median(test), **{name: own[name] for name in own if name in METRICS}}
    known = {name: float(value) for name, value in found.items() if _is_number(value)}
    for name, value in known.items():
        if value < 0 and name != "step_time_s":  # a time is refused where it is judged
            raise UsageError(f"{test.fullname} has {value:g} as {name}", hint="Measure it again.")
    return {name: value for name, value in known.items() if math.isfinite(value)}


def _median(test: PytestTest) -> float | None:
    value = median(test.data) if test.data else test.stats.get("median")
    return float(value) if _is_number(value) else None


def _interval(test: PytestTest) -> tuple[float, float] | None:
    """Interval of the median: from the ranks of the rounds, allowing for autocorrelation, or else from the
    quartiles.
    """
    if test.data:
        from gpubench.stats.autocorrelation import autocorrelation_time
        from gpubench.stats.median_interval import median_interval

        return median_interval(test.data, len(test.data) / max(1.0, autocorrelation_time(test.data)))
    middle, iqr, rounds = _median(test), test.stats.get("iqr"), test.stats.get("rounds")
    if middle is None or not isinstance(iqr, int | float) or not isinstance(rounds, int) or rounds < 2:
        return None
    half = _NORMAL_95 * _IQR_TO_MEDIAN_ERROR * iqr / math.sqrt(rounds)
    return (middle - half, middle + half) if half < middle else None


def _own(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    return _object(extra.get(EXTRA_KEY))


def _object(value: Any) -> Mapping[str, Any]:
    """Empty unless it is an object, as any plugin may write these fields."""
    return value if isinstance(value, dict) else {}


def _environment(file: PytestFile) -> dict[str, Any]:
    """The comparable part of pytest-benchmark's machine information."""
    cpu = _object(file.machine.get("cpu"))
    flags = cpu.get("flags")
    named = {
        "cpu.model": cpu.get("brand_raw") or cpu.get("brand"),
        "cpu.family": "-".join(str(cpu[name]) for name in ("family", "model") if name in cpu),
        "cpu.flags": [flag for flag in RELEVANT_FLAGS if isinstance(flags, list) and flag in flags],
        "cpu.num_threads_usable": cpu.get("count"),
        "python.version": file.machine.get("python_version"),
        "python.implementation": file.machine.get("python_implementation"),
        "system.os": file.machine.get("system"),
        "system.kernel": file.machine.get("release"),
    }
    return {name: value for name, value in named.items() if value not in (None, "", [])}


def are_interleaved(reference: Sequence[PytestFile], candidate: Sequence[PytestFile]) -> bool:
    """Whether the files alternate in time on one machine: each consecutive pair has one of each side.

    Then file r of both sides is a round. Needs the same number of files on both sides, at least two.
    """
    if len(reference) != len(candidate) or len(reference) < 2:
        return False
    every = [(file.created, 0) for file in reference] + [(file.created, 1) for file in candidate]
    if len({created for created, _ in every}) < len(every) or not all(created for created, _ in every):
        return False
    sides = [side for _, side in sorted(every)]
    nodes = {str(file.machine.get("node")) for file in (*reference, *candidate)}
    return len(nodes) == 1 and all(one != other for one, other in zip(sides[::2], sides[1::2], strict=True))
