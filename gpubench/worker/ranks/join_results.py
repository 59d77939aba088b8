"""The figures of a launch from those of its ranks."""

from collections.abc import Sequence

from gpubench.core.findings import Finding
from gpubench.core.records import Parity
from gpubench.protocol.messages import Result
from gpubench.suite.model.case import Case

_RATES = ("throughput", "sustained_throughput")
_MOST = ("peak_memory_allocated_bytes", "peak_memory_reserved_bytes", "peak_rss_bytes", "allocator_retries", "build_s")


def joined(case: Case, results: Sequence[Result]) -> Result:
    """Times are those of the rank with the longest step: ranks that wait for each other are as fast as that one.

    Rates are of the samples of all ranks in this time, sizes of memory those of the rank that needs most, settings
    those of the first. Parity is that of the rank that is furthest off.
    """
    slowest = max(results, key=_step_s)
    metrics, absent = dict(slowest.metrics), dict(slowest.absent)
    for name in _MOST:
        known = [value for each in results if (value := each.metrics.get(name)) is not None]
        if known:
            metrics[name] = max(known)
            absent.pop(name, None)
    num_samples = _samples(results) if "busbw" not in metrics else 1.0  # a collective is one call of all ranks
    for name in _RATES:
        own = metrics.get(name)
        if own is not None:
            metrics[name] = own * num_samples
    first, window = results[0], slowest.window
    effective = first.effective
    if effective is not None and effective.batch_size is not None and isinstance(case.batch_size, int):
        effective = effective.model_copy(update={"batch_size": case.batch_size})
    if window is not None:
        window = window.model_copy(update={"num_samples": round(window.num_samples * num_samples)})
    return slowest.model_copy(
        update={
            "effective": effective,
            "window": window,
            "metrics": metrics,
            "absent": absent,
            "parity": _worst([each.parity for each in results if each.parity is not None]),
            "findings": _findings(results, results.index(slowest)),
            "interrupted": any(each.interrupted for each in results),
            "files": {path: digest for each in results for path, digest in each.files.items()},
            "data_files": {path: digest for each in results for path, digest in each.data_files.items()},
            "imported": tuple(sorted({name for each in results for name in each.imported})),
            "ranks": tuple(rank for each in results for rank in each.ranks),
        }
    )


def _step_s(result: Result) -> float:
    return result.metrics.get("step_time_s") or 0.0


def _samples(results: Sequence[Result]) -> float:
    """Samples that all ranks do in a step, over those of the slowest alone."""
    done = [(each.metrics.get("throughput") or 0.0) * _step_s(each) for each in results]
    own = done[max(range(len(results)), key=lambda number: _step_s(results[number]))]
    return sum(done) / own if own > 0 else 1.0


def _worst(found: Sequence[Parity]) -> Parity | None:
    return max(found, key=lambda parity: (not parity.passed, parity.logits_rel_error), default=None)


def _findings(results: Sequence[Result], slowest: int) -> tuple[Finding, ...]:
    """Those of the slowest rank, and of every other what it alone has, with its number."""
    found = {each.code: each for each in results[slowest].findings}
    for number, result in enumerate(results):
        for each in result.findings:
            named = each.model_copy(update={"message": f"Rank {number}: {each.message}"})
            found.setdefault(each.code, named)
    return tuple(found.values())
