"""From timed groups to the metrics of a launch."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Series, Window
from gpubench.core.units import format_duration, format_percent
from gpubench.stats.percentiles import percentiles
from gpubench.stats.step_series import series_findings, summarise_series
from gpubench.worker.timing.cpu_time import preempted
from gpubench.worker.timing.host_time import INPUT_BOUND_SHARE, Bound, HostTime
from gpubench.worker.timing.loop import Measured
from gpubench.worker.timing.timers import disagreement

NO_WAITS = "a step has its input where it needs it, or the workload does not say how long it waits"


@dataclass(frozen=True)
class Figures:
    """What a launch came to. `metrics` in SI units by the names of the registry, None where `absent` says why."""

    series: Series
    window: Window
    metrics: dict[str, float | None]
    absent: dict[str, str]
    findings: tuple[Finding, ...]


def figures(
    measured: Measured,
    *,
    samples_per_step: int,
    target_rel_ci: float,
    on_gpu: bool,
    input_waits_s: Sequence[float] | None,
    device_waits_s: Sequence[float] | None = None,
    blocking_copies: bool = False,
) -> Figures:
    """Figures of one launch. `input_waits_s` and `device_waits_s`: per step since the leading ones, None where a step
    never waits for input, or for the device.

    `blocking_copies`: a step's copy to the device makes the host wait for the device (pageable memory).
    """
    waits = _InputWaits.of(measured, input_waits_s)
    series = summarise_series(
        measured.times_s,
        group=measured.group,
        clock=measured.clock,
        timing=measured.timing,
        target_rel_ci=target_rel_ci,
    )
    host = _host_time(measured, series, on_gpu, (input_waits_s, device_waits_s))
    series = series.model_copy(
        update={"bound": _bound(host, waits.share, on_gpu=on_gpu, blocking_copies=blocking_copies)}
    )
    metrics, absent = timing_metrics(measured.times_s, series, samples_per_step)
    for part in (_enqueue(host), waits.metrics(), _cpu(measured)):
        metrics |= part[0]
        absent |= part[1]
    findings = (
        *series_findings(series, measured.times_s, target_rel_ci),
        *_clock_findings(measured, waits),
        *_bound_findings(host, series, waits, blocking_copies=blocking_copies),
    )
    return Figures(series, _window(measured, series, samples_per_step), metrics, absent, findings)


def _window(measured: Measured, series: Series, samples_per_step: int) -> Window:
    num_steps = series.num_steady * series.group
    start_s, end_s = measured.starts_s[series.num_warmup], measured.ends_s[-1]
    return Window(start_s=start_s, end_s=end_s, num_steps=num_steps, num_samples=num_steps * samples_per_step)


def timing_metrics(
    times_s: Sequence[float], series: Series, samples_per_step: int
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


def _host_time(
    measured: Measured, series: Series, on_gpu: bool, waits_s: tuple[Sequence[float] | None, ...]
) -> HostTime:
    if not on_gpu:
        return HostTime(None, 0.0, "on the CPU a step is done when its call returns")
    if measured.timing == "latency":
        return HostTime(None, 0.0, "a request waits for the device (`timing: latency`)")
    return HostTime.of(measured, series.num_warmup, waits_s=waits_s)


def _enqueue(host: HostTime) -> tuple[dict[str, float | None], dict[str, str]]:
    return {"host_enqueue_s": host.enqueue_s}, {} if host.reason is None else {"host_enqueue_s": host.reason}


def _cpu(measured: Measured) -> tuple[dict[str, float | None], dict[str, str]]:
    if measured.cpu is None:
        return {"cpu_time_share": None}, {"cpu_time_share": "no steps beyond the first ones were timed"}
    return {"cpu_time_share": measured.cpu.process_s / measured.wall_s}, {}


def _bound(host: HostTime, input_share: float, *, on_gpu: bool, blocking_copies: bool) -> Bound | None:
    if on_gpu:
        return host.bound(input_share, blocking_copies=blocking_copies)
    return "input" if input_share >= INPUT_BOUND_SHARE else "cpu"


@dataclass(frozen=True)
class _InputWaits:
    """Seconds per step, and their share of the time of the same steps."""

    median_s: float | None
    total_s: float
    share: float
    reason: str | None = None

    @classmethod
    def of(cls, measured: Measured, waits_s: Sequence[float] | None) -> "_InputWaits":
        if not waits_s:
            told = "the workload recorded no waits in the timed steps"
            return cls(None, 0.0, 0.0, NO_WAITS if waits_s is None else told)
        timed_s = sum(measured.times_s[measured.num_leading :] or measured.times_s) * measured.group
        return cls(median(waits_s), sum(waits_s), min(1.0, sum(waits_s) / timed_s))

    def metrics(self) -> tuple[dict[str, float | None], dict[str, str]]:
        names = ("input_wait_s", "input_wait_share")
        if self.reason is not None:
            return dict.fromkeys(names), dict.fromkeys(names, self.reason)
        return {"input_wait_s": self.median_s, "input_wait_share": self.share}, {}


def _clock_findings(measured: Measured, waits: _InputWaits) -> list[Finding]:
    found = []
    wrong = disagreement(measured.blocks)
    if wrong is not None:
        wall_s, device_s = wrong
        message = f"The measured blocks took {format_duration(wall_s)} by the wall clock and {format_duration(device_s)} by the device's."
        found.append(finding("GB201", message, wall_s=wall_s, device_s=device_s))
    if measured.cpu is not None and measured.clock == "perf_counter":
        busy = preempted(measured.cpu, measured.wall_s, waits.total_s)
        found += [busy] if busy is not None else []
    return found


def _bound_findings(host: HostTime, series: Series, waits: _InputWaits, *, blocking_copies: bool) -> list[Finding]:
    if series.bound == "launch":
        share = format_percent(host.launch_share)
        message = f"The host spent {share} of the time handing work over: the device waited for launches."
        return [finding("GB209", message, enqueue_share=host.launch_share)]
    if series.bound != "input":
        return []
    if blocking_copies and waits.share < INPUT_BOUND_SHARE:
        message = "Copies from pageable memory make the host wait for the device, which then has nothing to do."
    else:
        message = f"Steps waited for their input {format_percent(waits.share)} of the time."
    return [finding("GB210", message, share=waits.share)]
