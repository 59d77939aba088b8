"""From the blocks of one arm to its figures."""

from collections.abc import Sequence
from itertools import accumulate

from gpubench.protocol.messages import Result
from gpubench.stats.step_series import series_findings
from gpubench.worker.ab.replicas import Replica
from gpubench.worker.ab.turns import Turn, log_ratio, ratios
from gpubench.worker.timing.launch_figures import clock_findings, series_of, timing_metrics, window_of
from gpubench.worker.timing.loop import Measured

SHARED = "the arms shared one process"
"""Why there is no figure of one of them: memory of the process, its start, its energy."""

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
"""Findings about how well a single time is known. Here the ratio counts, and its rounds tell how well that is known."""


def arm_result(replica: Replica, turns: Sequence[Turn], reference: str | None, *, interrupted: bool) -> Result:
    """Of the blocks of `turns`; the replica may have run a part of another turn after them.

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
    """What counts of every block: its groups without those right after the switch."""
    blocks = replica.blocks[:num_blocks]
    measured = Measured(
        replica.group, [], [], [], "converged", replica.timer.clock, replica.timer.timing, blocks=blocks
    )
    for block in blocks:
        edges = list(accumulate(block.times_s, initial=block.started_s))
        measured.times_s += [each / replica.group for each in block.times_s[replica.dropped :]]
        measured.starts_s += edges[replica.dropped : -1]
        measured.ends_s += edges[replica.dropped + 1 :]
    return measured
