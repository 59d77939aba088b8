"""From the blocks of one arm to its figures."""

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Effective, Series, Window
from gpubench.core.units import format_duration
from gpubench.protocol.messages import Result
from gpubench.stats.step_series import series_findings, summarise_series
from gpubench.worker.ab.replicas import Replica
from gpubench.worker.ab.turns import Turn, log_ratio, ratios
from gpubench.worker.timing.cpu_time import CpuTime, preempted
from gpubench.worker.timing.launch_figures import timing_metrics
from gpubench.worker.timing.timers import Block, disagreement

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
"""Findings about how well a time is known on its own. What counts here is the ratio, and its rounds tell how well that
is.
"""


def arm_result(replica: Replica, turns: Sequence[Turn], reference: str | None, *, interrupted: bool) -> Result:
    """Of the blocks of `turns`, the last one of which may have been followed by a part of another.

    `reference` is the arm that its ratio is taken against, None for the reference itself. Closed replicas only.
    """
    blocks = replica.blocks[: len(turns)]
    times_s, starts_s, ends_s = _kept(blocks, replica)
    timer = replica.timer
    series = summarise_series(
        times_s,
        group=replica.group,
        clock=timer.clock,
        timing=timer.timing,
        target_rel_ci=replica.launch.job.measure.target_rel_ci,
    )
    metrics, absent = timing_metrics(times_s, series, replica.samples_per_step)
    metrics, absent = metrics | dict.fromkeys(_SHARED), absent | dict.fromkeys(_SHARED, SHARED)
    metrics["cpu_time_share"] = _cpu(blocks).process_s / _wall_s(blocks)
    if replica.peak_bytes is not None:
        metrics["peak_memory_allocated_bytes"] = replica.peak_bytes
    parity = None if interrupted else replica.check_output(metrics["throughput"])
    metrics, absent = metrics | replica.told[0], absent | replica.told[1]
    found = ratios(turns, reference, replica.name) if reference is not None else []
    return Result(
        effective=_with_blocks(replica, len(turns)),
        window=_window(replica, series, starts_s, ends_s),
        series=series,
        metrics=metrics,
        absent={name: reason for name, reason in absent.items() if metrics.get(name) is None},
        parity=parity,
        findings=(*_findings(series, times_s, blocks, replica), *replica.launch.findings),
        step_times_s=tuple(times_s),
        marks={
            "block_starts_s": tuple(block.started_s for block in blocks),
            **({"block_ratios": tuple(found)} if found else {}),
        },
        interrupted=interrupted,
        block_log_ratio=log_ratio(found) if found else None,
    )


def _kept(blocks: Sequence[Block], replica: Replica) -> tuple[list[float], list[float], list[float]]:
    """What counts of every block: seconds per step of its groups, and the groups' edges on `time.monotonic()`."""
    times_s: list[float] = []
    starts_s: list[float] = []
    ends_s: list[float] = []
    for block in blocks:
        edges = list(accumulate(block.times_s, initial=block.started_s))
        times_s += [each / replica.group for each in block.times_s[replica.dropped :]]
        starts_s += edges[replica.dropped : -1]
        ends_s += edges[replica.dropped + 1 :]
    return times_s, starts_s, ends_s


def _window(replica: Replica, series: Series, starts_s: Sequence[float], ends_s: Sequence[float]) -> Window:
    num_steps = series.num_steady * series.group
    return Window(
        start_s=starts_s[series.num_warmup],
        end_s=ends_s[-1],
        num_steps=num_steps,
        num_samples=num_steps * replica.samples_per_step,
    )


def _with_blocks(replica: Replica, num_turns: int) -> Effective:
    effective = replica.launch.effective
    assert effective is not None, "it was read back before the first block"
    facts = {
        "turns": num_turns,
        "groups": replica.kept,
        "dropped_groups": replica.dropped,
        "waits_left_out": replica.leaves_waits_out,
    }
    return effective.model_copy(update={"extra": {**effective.extra, "blocks": facts}})


def _findings(series: Series, times_s: Sequence[float], blocks: Sequence[Block], replica: Replica) -> list[Finding]:
    found = [
        each
        for each in series_findings(series, times_s, replica.launch.job.measure.target_rel_ci)
        if each.code not in _OF_A_RATIO
    ]
    wrong = disagreement(list(blocks))
    if wrong is not None:
        wall_s, device_s = wrong
        message = f"The measured blocks took {format_duration(wall_s)} by the wall clock and {format_duration(device_s)} by the device's."
        found.append(finding("GB201", message, wall_s=wall_s, device_s=device_s))
    if series.clock == "perf_counter":
        busy = preempted(_cpu(blocks), _wall_s(blocks))
        found += [busy] if busy is not None else []
    return found


def _cpu(blocks: Sequence[Block]) -> CpuTime:
    return reduce(CpuTime.plus, (block.cpu for block in blocks))


def _wall_s(blocks: Sequence[Block]) -> float:
    return sum(block.wall_s for block in blocks)
