"""Arithmetic of alternating blocks: the order of each turn, comparisons of two arms, and the figures of an arm.

A turn has one block of every arm, in random order, so that drift (clocks, heat, other programs) affects all of them
alike, and no arm always runs after the same other one.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from gpubench.protocol.messages import Result, SelfCheck
from gpubench.stats.autocorrelation import autocorrelation_time
from gpubench.stats.estimators import column_levels
from gpubench.stats.median_interval import median_interval
from gpubench.stats.step_series import series_findings
from gpubench.stats.warmup import pelt_truncation
from gpubench.worker.ab.replicas import Replica
from gpubench.worker.timing.launch_figures import clock_findings, series_of, timing_metrics, window_of
from gpubench.worker.timing.loop import Measured

CONFIDENCE = 0.994
"""Confidence of the self-check's interval. A false alarm would cost a comparison its strongest level."""

_LEAST_TURNS = 6

SHARED = "the arms shared one process"
"""Why one arm has no figure of its own for the process's memory, start or energy."""

_SHARED = (
    "peak_memory_allocated_bytes",
    "peak_memory_reserved_bytes",
    "peak_rss_bytes",
    "device_memory_used_bytes",
    "allocator_retries",
    "build_s",
    "first_step_s",
    "time_to_steady_s",
    "warmup_steps",
    "host_enqueue_s",
    "device_idle_share",
)
_OF_A_RATIO = ("GB202", "GB203", "GB208")
"""Findings about the precision of a single time, which do not matter here: the ratio counts, and its rounds show its
precision.
"""


@dataclass(frozen=True)
class Turn:
    """Seconds per step of one turn by arm, and the arm that each ran after (None for the first block)."""

    times_s: dict[str, float]
    after: dict[str, str | None]


def orders(names: Sequence[str], seed: int) -> Iterator[list[str]]:
    """An endless series of random orders of the arms, one per turn, from the run's seed."""
    order = random.Random(seed)
    while True:
        turn = list(names)
        order.shuffle(turn)
        yield turn


def ratios(turns: Sequence[Turn], reference: str, candidate: str) -> list[float]:
    """The candidate's step time over the reference's, per turn."""
    return [turn.times_s[candidate] / turn.times_s[reference] for turn in turns]


def levels(turns: Sequence[Turn]) -> dict[str, float]:
    """Log seconds per step of each arm, without what affected all blocks of a turn.

    The first tenth of the turns is always left out, whatever their ratios. ValueError without turns.
    """
    names = sorted(turns[0].times_s)
    steady = turns[min(len(turns) - 1, max(1, len(turns) // 10)) :]
    found = column_levels([[math.log(turn.times_s[name]) for name in names] for turn in steady])
    return dict(zip(names, found, strict=True))


def log_ratio(found: Sequence[float]) -> float:
    """The launch's value: the log of the median over its steady turns. ValueError if there are none."""
    return median(math.log(each) for each in found[num_unsteady(found) :])


def num_unsteady(found: Sequence[float]) -> int:
    """Turns before the ratio is steady: the first, and those before its last level (PELT), at most half of them.

    The arms were warm when the turns began, and further warming affects all of them alike.
    """
    shifted = pelt_truncation([math.log(each) for each in found])
    return min(max(1, shifted), len(found) // 2)


def self_check(turns: Sequence[Turn], reference: str, twin: str) -> SelfCheck | None:
    """The reference against itself; None for too few turns."""
    if len(turns) < _LEAST_TURNS:
        return None
    found = ratios(turns, reference, twin)
    first = num_unsteady(found)
    steady, logs = turns[first:], [math.log(each) for each in found[first:]]
    interval = median_interval(logs, len(logs) / autocorrelation_time(logs), CONFIDENCE) if len(logs) > 1 else None
    low, high = interval or (None, None)
    effect, p_value = _after_other(steady, logs, reference, twin)
    return SelfCheck(twin=median(logs), low=low, high=high, after_other=effect, p_value=p_value)


def _after_other(
    turns: Sequence[Turn], logs: Sequence[float], reference: str, twin: str
) -> tuple[float | None, float | None]:
    """Turns in which the twin alone ran after another arm, against turns in which the reference alone did.

    Both replicas are the same arm, so half the difference is the effect of the predecessor. The test is Mann and
    Whitney's, which needs only the random order.
    """
    own = (reference, twin)
    others = [(turn.after[reference] not in own, turn.after[twin] not in own) for turn in turns]
    twin_alone = [log for log, other in zip(logs, others, strict=True) if other == (False, True)]
    reference_alone = [log for log, other in zip(logs, others, strict=True) if other == (True, False)]
    if min(len(twin_alone), len(reference_alone)) < _LEAST_TURNS:
        return None, None
    effect = (median(twin_alone) - median(reference_alone)) / 2
    return effect, rank_sum_p(twin_alone, reference_alone)


def rank_sum_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Mann and Whitney's two-sided p-value by the normal limit with continuity correction, that of
    `scipy.stats.mannwhitneyu`: importing scipy would take a tenth of a host's start.
    """
    num_pairs = len(first) * len(second)
    above = sum((a > b) + (a == b) / 2 for a in first for b in second)
    sd = math.sqrt(num_pairs * (len(first) + len(second) + 1) / 12)
    return min(1.0, math.erfc((abs(above - num_pairs / 2) - 0.5) / sd / math.sqrt(2)))  # twice the normal tail


def arm_result(replica: Replica, turns: Sequence[Turn], reference: str | None, *, interrupted: bool) -> Result:
    """The result of an arm from the blocks of `turns`; the replica may have run part of another turn after them.

    `reference` is the arm that its ratio is taken against, None for the reference itself. Closed replicas only.
    """
    measured = _measured(replica, len(turns))
    target_rel_ci = replica.launch.job.measure.target_rel_ci
    series = series_of(measured, target_rel_ci)
    metrics, absent = timing_metrics(measured.times_s, series, replica.samples_per_step)
    metrics, absent = metrics | dict.fromkeys(_SHARED), absent | dict.fromkeys(_SHARED, SHARED)
    assert measured.cpu is not None, "an arm has at least one block"
    metrics["cpu_time_share"] = measured.cpu.process_s / measured.wall_s
    if replica.peak_bytes is not None:
        metrics["peak_memory_allocated_bytes"] = replica.peak_bytes
    parity = None if interrupted else replica.check_output(metrics["throughput"])
    metrics, absent = metrics | replica.told[0], absent | replica.told[1]
    found = [each for each in series_findings(series, measured.times_s, target_rel_ci) if each.code not in _OF_A_RATIO]
    turn_ratios = ratios(turns, reference, replica.name) if reference is not None else []
    effective = replica.launch.effective
    assert effective is not None, "it was read back before the first block"
    blocks = {
        "turns": len(turns),
        "groups": replica.kept,
        "dropped_groups": replica.dropped,
        "waits_left_out": replica.leaves_waits_out,
    }
    marks = {"block_starts_s": tuple(block.started_s for block in measured.blocks)}
    return Result(
        effective=effective.model_copy(update={"extra": {**effective.extra, "blocks": blocks}}),
        window=window_of(measured, series, replica.samples_per_step),
        series=series,
        metrics=metrics,
        absent={name: reason for name, reason in absent.items() if metrics.get(name) is None},
        parity=parity,
        findings=(*found, *clock_findings(measured), *replica.launch.findings),
        step_times_s=tuple(measured.times_s),
        marks=marks | ({"block_ratios": tuple(turn_ratios)} if turn_ratios else {}),
        interrupted=interrupted,
        block_log_ratio=log_ratio(turn_ratios) if turn_ratios else None,
    )


def _measured(replica: Replica, num_blocks: int) -> Measured:
    """The counted groups of every block: those not right after the switch."""
    blocks = replica.blocks[:num_blocks]
    measured = Measured(
        replica.group, [], [], [], "converged", replica.timer.clock, replica.timer.timing, blocks=blocks
    )
    for block in blocks:
        dropped_s = sum(block.times_s[: replica.dropped])
        measured.add(block.times_s[replica.dropped :], block.started_s + dropped_s)
    return measured
