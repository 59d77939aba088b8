"""The figures of a launch from those of its ranks."""

from collections.abc import Sequence
from statistics import median

from gpubench.core.findings import Finding, finding
from gpubench.core.records import RankRecord
from gpubench.core.units import format_duration
from gpubench.protocol.messages import Result
from gpubench.suite.model.case import Case

STRAGGLER = "GB214"
STRAGGLES = 0.1
"""Share by which a rank's own time must be longer than that of the others before it is named."""

_CHECKED = (
    *(f"parity_{what}_rel_error" for what in ("logits", "loss", "gradient")),
    "ranks_loss_rel_error",
    "ranks_gradient_rel_error",
)
_RATES = ("throughput", "sustained_throughput")
_MOST = ("peak_memory_allocated_bytes", "peak_memory_reserved_bytes", "peak_rss_bytes", "allocator_retries", "build_s")


def joined(case: Case, results: Sequence[Result]) -> Result:
    """Times are those of the rank with the longest step: ranks that wait for each other are as fast as that one.

    Rates are of the samples of all ranks in this time, sizes of memory those of the rank that needs most, settings
    those of the first. Parity is that of the rank that is furthest off.
    """
    slowest = max(results, key=_step_s)
    metrics, absent = dict(slowest.metrics), dict(slowest.absent)
    for name in (*_MOST, *_CHECKED):
        known = [value for each in results if (value := each.metrics.get(name)) is not None]
        if known:
            metrics[name] = max(known)
            absent.pop(name, None)
    one_batch = case.splits_model or "busbw" in metrics  # a collective is one call of all ranks
    num_samples = 1.0 if one_batch else _samples(results)
    for name in _RATES:
        own = metrics.get(name)
        if own is not None:
            metrics[name] = own * num_samples
    ranks = tuple(rank for each in results for rank in each.ranks)
    whole = len(ranks) == case.world_size  # not those of one machine of several
    if case.splits_model and whole and (done := metrics.get("achieved_flops")) is not None:
        metrics["achieved_flops"] = done / case.world_size  # of one device, as with the others
    together, reasons = _own_times(ranks)
    metrics |= together
    absent |= reasons
    found = _worst([each for each in results if each.parity is not None])
    straggler = _straggler(ranks)
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
            "parity": None if found is None else found.parity,
            "findings": (*_findings(results, results.index(slowest)), *([] if straggler is None else [straggler])),
            "interrupted": any(each.interrupted for each in results),
            "files": {path: digest for each in results for path, digest in each.files.items()},
            "data_files": {path: digest for each in results for path, digest in each.data_files.items()},
            "imported": tuple(sorted({name for each in results for name in each.imported})),
            "ranks": ranks,
        }
    )


def _step_s(result: Result) -> float:
    return result.metrics.get("step_time_s") or 0.0


def _samples(results: Sequence[Result]) -> float:
    """Samples that all ranks do in a step, over those of the slowest alone."""
    done = [(each.metrics.get("throughput") or 0.0) * _step_s(each) for each in results]
    own = done[max(range(len(results)), key=lambda number: _step_s(results[number]))]
    return sum(done) / own if own > 0 else 1.0


def _worst(checked: Sequence[Result]) -> Result | None:
    def rank(result: Result) -> tuple[bool, float]:
        assert result.parity is not None
        return not result.parity.passed, result.parity.logits_rel_error

    return max(checked, key=rank, default=None)


def _own_times(ranks: Sequence[RankRecord]) -> tuple[dict[str, float | None], dict[str, str]]:
    """The longest own time, its excess over the others', and communication where no waiting is part of it: on the rank
    that waits least, because the others wait for it.
    """
    reasons = {name: reason for rank in ranks for name, reason in rank.absent.items()}
    if reasons:
        return dict.fromkeys(reasons), {**reasons, "rank_skew": reasons["own_time_s"]}
    own = sorted(rank.own_time_s for rank in ranks if rank.own_time_s is not None)
    if len(own) < len(ranks):
        return {}, {}
    if len(own) == 1:  # of one machine among several, whose ranks are compared later
        return {}, {}
    last = min(ranks, key=lambda rank: rank.exposed_communication_s or 0.0)
    return {
        "own_time_s": own[-1],
        "rank_skew": own[-1] / median(own[:-1]) - 1,
        "exposed_communication_s": last.exposed_communication_s,
        "communication_share": last.communication_share,
    }, {}


def _straggler(ranks: Sequence[RankRecord]) -> Finding | None:
    """GB214 for a rank whose own time is a tenth longer than that of the others, in three of four of its steps longer
    than in three of four of any other's.
    """
    timed = [rank for rank in ranks if rank.own_time_s and rank.own_time_low_s and rank.own_time_high_s]
    if len(timed) < 2 or len(timed) < len(ranks):
        return None
    slow = max(timed, key=lambda rank: rank.own_time_s or 0.0)
    others = [rank for rank in timed if rank is not slow]
    usual_s = median(rank.own_time_s or 0.0 for rank in others)
    apart = (slow.own_time_low_s or 0.0) > max(rank.own_time_high_s or 0.0 for rank in others)
    own_s = slow.own_time_s or 0.0
    if not apart or own_s < (1 + STRAGGLES) * usual_s:
        return None
    where = f" of {slow.host}" if slow.host else ""
    message = (
        f"Rank {slow.rank} ({slow.device_uuid or slow.device}{where}) takes {format_duration(own_s)} for its own part "
        f"of a step, the others {format_duration(usual_s)}."
    )
    return finding(STRAGGLER, message, rank=slow.rank, own_time_s=own_s, others_s=usual_s)


def _findings(results: Sequence[Result], slowest: int) -> tuple[Finding, ...]:
    """Those of the slowest rank, and of every other what it alone has, with its number."""
    found = {each.code: each for each in results[slowest].findings}
    for index, result in enumerate(results):
        number = result.ranks[0].rank if result.ranks else index
        for each in result.findings:
            named = each.model_copy(update={"message": f"Rank {number}: {each.message}"})
            found.setdefault(each.code, named)
    return tuple(found.values())
