"""From a trace of any tool to its summary: the one place where figures of a profile are made."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gpubench.profile.figures.attribution import Steps, find_steps
from gpubench.profile.figures.device_summary import host_times, summarise_device, work_of
from gpubench.profile.figures.main_process import left_out, main_steps, process_id, steps_of_device
from gpubench.profile.figures.serial_replay import ONE_BY_ONE, without_timeline
from gpubench.profile.figures.summary_model import DeviceSummary, HostPhase, Perturbation, ProfileSummary
from gpubench.profile.figures.trace_findings import remarks
from gpubench.profile.traces.trace import Operation, Trace

TOP_KERNELS = 20


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
    steps count where several have some (TraceError if it has none). `measured_step_time_s` is the step time measured
    without a profiler, in seconds; `case` the settings of the profiled case, for warnings that depend on them.
    TraceError if `process` has no steps.
    """
    steps = find_steps(trace, step_name)
    main = main_steps(steps, trace, process)
    work = _by_device(trace)
    own = {device: steps_of_device(operations, steps, main) for device, operations in work.items()}
    devices = tuple(
        summarise_device(device, work_of(operations, own[device], trace.launches), own[device], trace, top=top)
        for device, operations in work.items()
    )
    if not trace.timeline:
        devices = tuple(map(without_timeline, devices))
    used = [each for each in (main, *own.values()) if each is not None]
    own_devices = [device for device in devices if own[device.device] is main]
    step_time_ns = _step_time_ns(main, own_devices) if trace.timeline else None
    perturbation = _perturbation(step_time_ns, measured_step_time_s)
    found = remarks(
        trace,
        devices,
        main,
        perturbation,
        expected_steps=expected_steps,
        step_name=step_name,
        case=case,
        left_out=left_out(steps, used, trace),
    )
    return ProfileSummary(
        tool=trace.tool,
        tool_version=trace.tool_version,
        source=trace.source,
        window="trace" if main is None else "steps",
        process=None if main is None else process_id(main.process),
        steps=None if main is None else len(main.ranges),
        step_time_ns=step_time_ns,
        host_phases=_host_phases(main) if trace.timeline else (),
        devices=devices,
        perturbation=perturbation,
        warnings=tuple(found),
        absent=_absent(main, perturbation, trace),
        case=None if case is None else dict(case),
    )


def _by_device(trace: Trace) -> dict[int, list[Operation]]:
    found: defaultdict[int, list[Operation]] = defaultdict(list)
    for operation in trace.operations:
        found[operation.device].append(operation)
    return dict(sorted(found.items()))


def _step_time_ns(main: Steps | None, devices: Sequence[DeviceSummary]) -> float | None:
    """Window over steps: the steps on the host, and the work they left running on these devices."""
    if main is None:
        return None
    host_ns = main.ranges[-1].end - main.ranges[0].start
    return max([host_ns, *(device.window_ns for device in devices)]) / len(main.ranges)


def _perturbation(step_time_ns: float | None, measured_s: float | None) -> Perturbation | None:
    if step_time_ns is None or not measured_s:
        return None
    profiled_s = step_time_ns / 1e9
    return Perturbation(profiled_step_time_s=profiled_s, measured_step_time_s=measured_s, ratio=profiled_s / measured_s)


def _host_phases(main: Steps | None) -> tuple[HostPhase, ...]:
    if main is None:
        return ()
    step_ns = sum(each.end - each.start for each in main.ranges) / len(main.ranges)
    return tuple(
        HostPhase(name=name, cpu_ns=cpu_ns, share=cpu_ns / step_ns if step_ns else 0.0)
        for name, cpu_ns in host_times(main).items()
    )


def _absent(main: Steps | None, perturbation: Perturbation | None, trace: Trace) -> dict[str, str]:
    if main is None:
        return dict.fromkeys(("steps", "step_time_ns", "perturbation"), "the trace marks no steps")
    if not trace.timeline:
        return dict.fromkeys(("step_time_ns", "host_phases", "perturbation"), ONE_BY_ONE)
    return {} if perturbation else {"perturbation": "no measured step time was given to compare with"}
