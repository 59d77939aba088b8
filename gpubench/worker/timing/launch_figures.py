"""Turns timed groups into the metrics of a launch, and finds out what its steps waited for."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean, median
from typing import Literal

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Series, Window
from gpubench.core.units import format_percent, format_seconds, told_apart
from gpubench.stats.steady_steps import percentiles
from gpubench.stats.step_series import series_findings, summarise_series
from gpubench.worker.timing.cpu_time import fetches_memory, preempted
from gpubench.worker.timing.loop import Measured
from gpubench.worker.timing.timers import disagreement

HOST_IDLE_SHARE = 0.05
"""If the host had nothing left to launch for this share of the time, the device is the limit."""

INPUT_BOUND_SHARE = 0.10
"""From this share of step time on, input bounds a step whose device is not the limit."""

NO_WAITS = "a step has its input where it needs it, or the workload does not say how long it waits"

Bound = Literal["gpu", "launch", "input", "cpu"]

Waits = Sequence[float] | None
"""Seconds per step of the blocks; None if steps never wait."""


@dataclass(frozen=True)
class Figures:
    """The figures of one launch. `metrics` in SI units by registry name; None with the reason in `absent`."""

    series: Series
    window: Window
    metrics: dict[str, float | None]
    absent: dict[str, str]
    findings: tuple[Finding, ...]


def figures(
    measured: Measured,
    *,
    samples_per_step: float,
    target_rel_ci: float,
    on_gpu: bool,
    input_waits_s: Waits,
    device_waits_s: Waits = None,
    blocking_copies: bool = False,
) -> Figures:
    """`input_waits_s` and `device_waits_s` are per step after the leading ones. `blocking_copies`: a step's copy to the
    device makes the host wait (pageable memory).
    """
    series = series_of(measured, target_rel_ci)
    input_wait_s = sum(input_waits_s or ())
    timed_s = sum(measured.times_s[measured.num_leading :] or measured.times_s) * measured.group
    input_share = min(1.0, input_wait_s / timed_s)
    bound: Bound | None
    if on_gpu:
        host = HostTime.of(measured, series.num_warmup, waits_s=(input_waits_s, device_waits_s))
        bound = host.bound(input_share, blocking_copies=blocking_copies)
    else:
        host = HostTime(None, 0.0, "on the CPU a step is done when its call returns")
        bound = "input" if input_share >= INPUT_BOUND_SHARE else "cpu"
    series = series.model_copy(update={"bound": bound})
    metrics, absent = timing_metrics(measured.times_s, series, samples_per_step)
    metrics |= {"host_enqueue_s": host.enqueue_s, "cpu_time_share": None}
    if host.reason is not None:
        absent["host_enqueue_s"] = host.reason
    if measured.cpu is None:
        absent["cpu_time_share"] = "no steps beyond the first ones were timed"
    else:
        metrics["cpu_time_share"] = measured.cpu.process_s / measured.wall_s
    if input_waits_s:
        metrics |= {"input_wait_s": median(input_waits_s), "input_wait_share": input_share}
    else:
        reason = NO_WAITS if input_waits_s is None else "the workload recorded no waits in the timed steps"
        metrics |= dict.fromkeys(("input_wait_s", "input_wait_share"))
        absent |= dict.fromkeys(("input_wait_s", "input_wait_share"), reason)
    found = [*series_findings(series, measured.times_s, target_rel_ci), *clock_findings(measured, input_wait_s)]
    if bound == "launch":
        message = (
            f"The host spent {format_percent(host.launch_share)} of the time handing work over: "
            "the device waited for launches."
        )
        found.append(finding("GB209", message, enqueue_share=host.launch_share))
    elif bound == "input":
        message = f"Steps waited for their input {format_percent(input_share)} of the time."
        if blocking_copies and input_share < INPUT_BOUND_SHARE:
            message = "Copies from pageable memory make the host wait for the device, which then has nothing to do."
        found.append(finding("GB210", message, share=input_share))
    return Figures(series, window_of(measured, series, samples_per_step), metrics, absent, tuple(found))


def series_of(measured: Measured, target_rel_ci: float) -> Series:
    return summarise_series(
        measured.times_s,
        group=measured.group,
        clock=measured.clock,
        timing=measured.timing,
        target_rel_ci=target_rel_ci,
    )


def window_of(measured: Measured, series: Series, samples_per_step: float) -> Window:
    """The window of the steady steps, on `time.monotonic()`."""
    num_steps = series.num_steady * series.group
    start_s, end_s = measured.starts_s[series.num_warmup], measured.ends_s[-1]
    return Window(start_s=start_s, end_s=end_s, num_steps=num_steps, num_samples=round(num_steps * samples_per_step))


def timing_metrics(
    times_s: Sequence[float], series: Series, samples_per_step: float
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Step time or latency with its percentiles, and throughput, from the seconds per step of every timed group."""
    steady = times_s[series.num_warmup :]
    latency = series.timing == "latency"
    prefix = "latency_" if latency else "step_time_"
    values, reasons = percentiles(steady, series.n_effective)
    metrics: dict[str, float | None] = {prefix + name: value for name, value in values.items()}
    absent = {prefix + name: reason for name, reason in reasons.items()}
    if latency:
        metrics["latency_s"] = series.median_s
        for name in ("step_time_s", "throughput", "sustained_throughput"):
            metrics[name], absent[name] = None, "requests were timed one by one (`timing: latency`)"
        return metrics, absent
    metrics["step_time_s"] = series.median_s
    metrics["throughput"] = samples_per_step / series.median_s
    metrics["sustained_throughput"] = samples_per_step * len(steady) / sum(steady)
    return metrics, absent


def clock_findings(measured: Measured, input_wait_s: float = 0.0) -> list[Finding]:
    """GB201 if two clocks disagree about the blocks, GB205 if the process waited for a CPU, GB213 if steps fetch their
    memory anew.
    """
    found = []
    wrong = disagreement(measured.blocks)
    if wrong is not None:
        wall_s, device_s = wrong
        wall, device = told_apart(wall_s, device_s, format_seconds)
        message = f"The measured blocks took {wall} by the wall clock and {device} by the device's."
        found.append(finding("GB201", message, wall_s=wall_s, device_s=device_s))
    if measured.cpu is not None and measured.clock == "perf_counter":
        num_steps = sum(len(block.times_s) for block in measured.blocks) * measured.group
        told = preempted(measured.cpu, measured.wall_s, input_wait_s), fetches_memory(measured.cpu, num_steps)
        found += [each for each in told if each is not None]
    return found


@dataclass(frozen=True)
class HostTime:
    """The host's time in blocks on a GPU. `enqueue_s`: time to launch one step, without waits; None with its `reason`.
    `launch_share`: the share of the blocks' time spent launching.

    Two kinds of waiting look like launching. A step that reads a value from the device waits for it (a GradScaler
    does): the workload reports how long. And if the launch queue is full (some thousand kernels), a launch returns only
    when the device has made room. That cannot happen in the first group of a block, which starts with an idle device
    and an empty queue. So the smaller of the medians over first groups and over all groups counts.
    """

    enqueue_s: float | None
    launch_share: float
    reason: str | None = None

    @classmethod
    def of(cls, measured: Measured, num_warmup: int, *, waits_s: Sequence[Waits] = ()) -> "HostTime":
        """`waits_s`: waits reported by a workload, each in seconds per step of the blocks."""
        if measured.timing == "latency":
            return cls(None, 0.0, "a request waits for the device (`timing: latency`)")
        launching_s = [each for block in measured.blocks for each in block.enqueue_s]
        first = max(0, num_warmup - measured.num_leading)
        if not launching_s[first:]:
            return cls(None, 0.0, "no steps beyond the first ones were timed")
        for told in waits_s:
            group = measured.group
            if told and len(told) == len(launching_s) * group:  # one for every step
                waited_s = [sum(told[index * group : (index + 1) * group]) for index in range(len(launching_s))]
                launching_s = [max(0.0, each - wait) for each, wait in zip(launching_s, waited_s, strict=True)]
        starts = accumulate((len(block.enqueue_s) for block in measured.blocks[:-1]), initial=0)
        unhindered_s = median(launching_s[start] for start in starts)
        group_s = fmean(measured.times_s[measured.num_leading :]) * measured.group
        return cls(
            min(median(launching_s[first:]), unhindered_s) / measured.group,
            min(sum(launching_s) / measured.wall_s, unhindered_s / group_s),
        )

    def bound(self, input_share: float, *, blocking_copies: bool) -> Bound | None:
        """What bounds a step; with a host that has time to spare, the device never runs out of work.

        `input_share`: the share of the blocks' time spent waiting for input. `blocking_copies`: a copy in every step
        makes the host wait for the device, which is then idle.
        """
        if self.enqueue_s is None:
            return None
        if blocking_copies:
            return "input"
        if 1 - self.launch_share - input_share >= HOST_IDLE_SHARE:
            return "gpu"
        return "input" if input_share >= INPUT_BOUND_SHARE else "launch"
