"""Turns a trace of any tool into its summary: all figures of a profile are made here."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gpubench.profile.figures.attribution import Steps, find_steps, left_out, main_steps, process_id, steps_of_device
from gpubench.profile.figures.device_summary import host_times, summarise_device, work_of
from gpubench.profile.figures.summary_model import DeviceSummary, HostPhase, Perturbation, ProfileSummary
from gpubench.profile.figures.trace_findings import remarks
from gpubench.profile.traces.integrity import lost_launches
from gpubench.profile.traces.trace import DeviceKey, Operation, Trace

TOP_KERNELS = 20
_ONE_BY_ONE = "kernels ran one by one, so nothing is known of time on the host, overlap and idle time"
_UNSEEN = "ncu sees kernels only"


def summarize(
    trace: Trace,
    *,
    step_name: str | None = None,
    process: int | None = None,
    measured_step_time_s: float | None = None,
    expected_steps: int | None = None,
    case: Mapping[str, Any] | None = None,
    top: int = TOP_KERNELS,
) -> ProfileSummary:
    """Every figure of `gpubench profile`.

    `step_name` names the range that is a step in a trace of another program, `process` the id of the process whose
    steps count if several have steps (TraceError if it has none). `measured_step_time_s` is the step time measured
    without a profiler, in seconds; `case` the settings of the profiled case, for warnings that depend on them.
    """
    lost = lost_launches(trace)
    found_steps = find_steps(trace, step_name, lost)
    steps = found_steps.by_process
    main = main_steps(steps, trace, process)
    by_device: defaultdict[DeviceKey, list[Operation]] = defaultdict(list)
    for operation in trace.operations:
        by_device[operation.device].append(operation)
    work = dict(sorted(by_device.items()))
    own = {device: steps_of_device(operations, steps, main) for device, operations in work.items()}
    devices = tuple(
        summarise_device(device, work_of(operations, own[device], trace.launches), own[device], trace, lost, top=top)
        for device, operations in work.items()
    )
    if not trace.timeline:
        devices = tuple(map(_without_timeline, devices))
    used = [each for each in (main, *own.values()) if each is not None]
    windows_ns = [device.window_ns for key, device in zip(work, devices, strict=True) if own[key] is main]
    step_time_ns, host_phases = (None, ()) if main is None or not trace.timeline else _times_of_a_step(main, windows_ns)
    perturbation = _perturbation(step_time_ns, measured_step_time_s)
    warnings = remarks(
        trace,
        devices,
        main,
        perturbation,
        expected_steps=expected_steps,
        step_name=step_name,
        case=case,
        found_steps=found_steps,
        lost=lost,
        left_out=left_out(steps, used, trace),
    )
    return ProfileSummary(
        tool=trace.tool,
        tool_version=trace.tool_version,
        source=trace.source,
        window="trace" if main is None else "steps",
        process=None if main is None else process_id(main.process, trace),
        steps=None if main is None else len(main.ranges),
        step_time_ns=step_time_ns,
        host_phases=host_phases,
        devices=devices,
        perturbation=perturbation,
        warnings=tuple(warnings),
        unread=dict(trace.unread),
        absent=_absent(main, trace, perturbation),
        case=None if case is None else dict(case),
    )


def _absent(main: Steps | None, trace: Trace, perturbation: Perturbation | None) -> dict[str, str]:
    """Why figures of steps are missing, by their names."""
    if main is None:
        return dict.fromkeys(("steps", "step_time_ns", "perturbation"), "the trace marks no steps")
    if not trace.timeline:
        return dict.fromkeys(("step_time_ns", "host_phases", "perturbation"), _ONE_BY_ONE)
    return {} if perturbation else {"perturbation": "no measured step time was given to compare with"}


def _perturbation(step_time_ns: float | None, measured_s: float | None) -> Perturbation | None:
    if step_time_ns is None or not measured_s:
        return None
    profiled_s = step_time_ns / 1e9
    return Perturbation(profiled_step_time_s=profiled_s, measured_step_time_s=measured_s, ratio=profiled_s / measured_s)


def _times_of_a_step(main: Steps, windows_ns: Sequence[int]) -> tuple[float, tuple[HostPhase, ...]]:
    """A step's time in ns, and its phases on the host. `windows_ns` are the windows of the steps' devices: a step is
    over when the work it left running is.
    """
    host_ns = main.ranges[-1].end - main.ranges[0].start
    step_ns = sum(each.end - each.start for each in main.ranges) / len(main.ranges)
    phases = (
        HostPhase(name=name, cpu_ns=cpu_ns, share=cpu_ns / step_ns if step_ns else 0.0)
        for name, cpu_ns in host_times(main).items()
    )
    return max([host_ns, *windows_ns]) / len(main.ranges), tuple(phases)


def _without_timeline(device: DeviceSummary) -> DeviceSummary:
    """The device's figures without those that depend on when work ran."""
    lost = ("idle", "idle_reasons", "largest_gap_ns", "cpu_ns", "gpu_span_ns")
    return device.model_copy(
        update={
            "window_ns": device.busy_ns,
            "idle": None,
            "idle_reasons": None,
            "bound": None,
            "bound_statement": f"{_ONE_BY_ONE}.",
            "largest_gap_ns": None,
            "copies": {},
            "phases": tuple(each.model_copy(update={"cpu_ns": None, "gpu_span_ns": None}) for each in device.phases),
            "absent": {**device.absent, **dict.fromkeys(lost, _ONE_BY_ONE), "copies": _UNSEEN, "memsets": _UNSEEN},
        }
    )
