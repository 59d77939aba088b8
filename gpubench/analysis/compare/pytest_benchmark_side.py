"""Files of pytest-benchmark as the sides of a comparison. One file is one process of all its tests."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gpubench.analysis.compare.run_sides import Side
from gpubench.analysis.summary.comparable_case import CaseEntry
from gpubench.core.errors import UsageError
from gpubench.core.metrics import METRICS
from gpubench.store.pytest_benchmark_files import PytestFile, PytestTest

EXTRA_KEY = "gpubench"
"""Where gpubench's own fixture leaves its figures in a test's `extra_info`."""

_IQR_TO_MEDIAN_ERROR = 1.2533 / 1.349
"""Standard error of a median over IQR / sqrt n, for normal values."""

_NORMAL_95 = 1.959964


def side_of_files(files: Sequence[PytestFile], name: str) -> Side:
    """One side. Each file is a launch of its tests, numbered in the order of their time stamps. UsageError for no test
    at all.
    """
    ordered = sorted(files, key=lambda file: file.created)
    by_test: dict[str, list[tuple[int, PytestTest]]] = {}
    for number, file in enumerate(ordered, start=1):
        for test in file.tests:
            by_test.setdefault(test.fullname, []).append((number, test))
    if not by_test:
        raise UsageError(
            f"{name} holds no benchmark", hint="Did the tests use the `benchmark` or `gpu_benchmark` fixture?"
        )
    return Side(
        name,
        "pytest-benchmark",
        "",
        tuple(map(_entry, by_test.values())),
        _environment(ordered[-1]),
        _commit(ordered[-1]),
    )


def _entry(launches: Sequence[tuple[int, PytestTest]]) -> CaseEntry:
    last = launches[-1][1]
    values: dict[str, dict[int, float]] = {}
    for number, test in launches:
        for metric, value in _metrics(test).items():
            values.setdefault(metric, {})[number] = value
    only = launches[0][1] if len(launches) == 1 else None
    interval = None if only is None else _interval(only)
    return CaseEntry(
        case_id=last.fullname,
        label=last.name,
        settings={"test": last.fullname, "group": last.group, **last.params},
        values=values,
        intervals={} if interval is None else {"step_time_s": interval},
        limits=_limits(last.extra),
    )


def _metrics(test: PytestTest) -> dict[str, float]:
    """The median round as the step time, and what gpubench's fixture measured besides."""
    own = _own(test.extra).get("metrics") or {}
    found = {"step_time_s": _median(test), **{name: own[name] for name in own if name in METRICS}}
    return {
        name: float(value) for name, value in found.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def _median(test: PytestTest) -> float | None:
    if test.data:
        ordered = sorted(test.data)
        half = len(ordered) // 2
        return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    value = test.stats.get("median")
    return float(value) if isinstance(value, int | float) else None


def _interval(test: PytestTest) -> tuple[float, float] | None:
    """Of the median, from its own rounds: by their order, thinned by their autocorrelation, or from the quartiles
    alone.
    """
    if test.data:
        from gpubench.stats.autocorrelation import autocorrelation_time
        from gpubench.stats.median_interval import median_interval

        return median_interval(test.data, len(test.data) / max(1.0, autocorrelation_time(test.data)))
    median, iqr, rounds = _median(test), test.stats.get("iqr"), test.stats.get("rounds")
    if median is None or not isinstance(iqr, int | float) or not isinstance(rounds, int) or rounds < 2:
        return None
    half = _NORMAL_95 * _IQR_TO_MEDIAN_ERROR * iqr / math.sqrt(rounds)
    return (median - half, median + half) if half < median else None


def _limits(extra: Mapping[str, Any]) -> dict[str, float]:
    found = _own(extra).get("limits") or {}
    return {name: float(limit) for name, limit in found.items() if name in METRICS and isinstance(limit, int | float)}


def _own(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    own = extra.get(EXTRA_KEY)
    return own if isinstance(own, dict) else {}


def _environment(file: PytestFile) -> dict[str, Any]:
    """The comparable part of what pytest-benchmark says of the machine."""
    cpu = file.machine.get("cpu") or {}
    named = {
        "cpu.model": cpu.get("brand_raw") or cpu.get("brand"),
        "cpu.num_threads_usable": cpu.get("count"),
        "python.version": file.machine.get("python_version"),
        "python.implementation": file.machine.get("python_implementation"),
        "system.os": file.machine.get("system"),
        "system.kernel": file.machine.get("release"),
    }
    return {name: value for name, value in named.items() if value not in (None, "")}


def _commit(file: PytestFile) -> dict[str, Any]:
    commit = str(file.commit.get("id") or "")
    return {"git commit": commit[:12] + (" with changes" if file.commit.get("dirty") else "")} if commit else {}


def are_interleaved(reference: Sequence[PytestFile], candidate: Sequence[PytestFile]) -> bool:
    """Whether the files were measured in turn, on one machine: in order of time every two hold one of each side.

    That is what makes file r of both sides a round. Needs as many files on both sides, at least two.
    """
    if len(reference) != len(candidate) or len(reference) < 2:
        return False
    every = [(file.created, 0) for file in reference] + [(file.created, 1) for file in candidate]
    if len({created for created, _ in every}) < len(every) or not all(created for created, _ in every):
        return False
    sides = [side for _, side in sorted(every)]
    nodes = {file.machine.get("node") for file in (*reference, *candidate)}
    return len(nodes) == 1 and all(
        {first, second} == {0, 1} for first, second in zip(sides[::2], sides[1::2], strict=True)
    )
