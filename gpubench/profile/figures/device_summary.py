"""Everything a profile says about one device."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gpubench.profile.figures import idle
from gpubench.profile.figures.attribution import Place, Steps
from gpubench.profile.figures.kernel_names import TensorCore, kernel_class, uses_tensor_cores
from gpubench.profile.figures.summary_model import ClassSummary, CopySummary, DeviceSummary, KernelSummary, PhaseSummary
from gpubench.profile.figures.time_intervals import Interval, clip, gaps, intersection, total
from gpubench.profile.traces.trace import DeviceKey, Key, LaunchCall, Operation, Trace, TracedDevice
from gpubench.protocol.profile_job import PHASES

_NO_STEPS = "the trace marks no steps"
_NO_PLACE = Place(None, None)


@dataclass(frozen=True)
class DeviceWork:
    """The work of one device: `inside`: launched in the window by the process of the steps; `operations`: all work in
    the trace.
    """

    window: Interval
    operations: Sequence[Operation]
    inside: Sequence[Operation]
    places: Sequence[Place]
    num_steps: int | None

    @property
    def kernels(self) -> list[Operation]:
        return [each for each in self.inside if each.kind == "kernel"]

    def per_step(self, amount: float) -> float | None:
        return None if not self.num_steps else amount / self.num_steps


def work_of(operations: Sequence[Operation], steps: Steps | None, launches: dict[Key, LaunchCall]) -> DeviceWork:
    """Cuts the device's work to the window.

    With steps, the window runs from the start of the first to the end of the last, or to the end of their work if that
    is later: the device runs behind the host, and N steps are over when their work is. Without steps, it is the span of
    the device's work.
    """
    if steps is None:
        window = (min(each.start for each in operations), max(each.end for each in operations))
        return DeviceWork(window, operations, operations, [_NO_PLACE] * len(operations), None)
    low, high = steps.ranges[0].start, steps.ranges[-1].end
    inside, places = [], []
    for each in operations:
        if each.process != steps.process:
            continue
        launch = None if each.launch is None else launches.get(each.launch)
        if low <= (each.start if launch is None else launch.start) < high:
            inside.append(each)
            places.append(_NO_PLACE if launch is None else steps.place(launch))
    end = max([high, *(each.end for each in inside)])
    return DeviceWork((low, end), operations, inside, places, len(steps.ranges))


def summarise_device(
    device: DeviceKey, work: DeviceWork, steps: Steps | None, trace: Trace, lost: Sequence[LaunchCall], *, top: int
) -> DeviceSummary:
    """The figures of one device. `top` limits the list of kernels; classes cover all of them. `lost` are the launches
    whose work is not in the trace, by start.
    """
    kernels, copies, phases = work.kernels, _copies(work), _phases(work, steps)
    kernel_ns, all_ns = _summed_ns(kernels), _summed_ns(work.inside)
    pairs = zip(work.inside, work.places, strict=True)
    loose_ns = _summed_ns(each for each, place in pairs if place.phase is None)
    names = _kernel_table(work, kernels, kernel_ns)
    known = trace.devices.get(device, TracedDevice(device[1]))
    in_time = _times(work, steps, trace, lost, pageable=any(copy.pageable_bytes for copy in copies.values()))
    explained, unknown = in_time["idle_reasons"] is not None, trace.lengths_unknown
    streams = {each.stream for each in work.inside}
    return DeviceSummary(
        device=known.number,
        owner=known.owner,
        name=known.name,
        **in_time,
        streams=None if None in streams else len(streams),
        steps=work.num_steps,
        kernels=len(kernels),
        kernels_per_step=work.per_step(len(kernels)),
        kernel_ns=kernel_ns,
        tensor_core_share=None if unknown else _share_of(names, "yes"),
        tensor_core_unknown_share=None if unknown else _share_of(names, "unknown"),
        tensor_core_source="counters" if any(each.tensor_cores is not None for each in kernels) else "kernel names",
        copies=copies,
        memsets=sum(each.kind == "memset" for each in work.inside),
        graphs=sum(each.kind == "graph" for each in work.inside),
        phases=phases,
        unattributed_ns=loose_ns if phases else None,
        unattributed_share=loose_ns / all_ns if phases and all_ns else None,
        unlinked_share=_summed_ns(each for each in work.inside if each.launch is None) / max(1, all_ns),
        classes=_classes(names),
        top_kernels=tuple(names[:top]),
        num_kernel_names=len(names),
        absent=_absent(work, phases, kernels, all_ns, explained=explained, lengths_unknown=unknown)
        | {f"copies.{way}.bytes": "some copies lack their size" for way, copy in copies.items() if copy.bytes is None},
    )


def _times(
    work: DeviceWork, steps: Steps | None, trace: Trace, lost: Sequence[LaunchCall], *, pageable: bool
) -> dict[str, Any]:
    """How long the device was busy and idle, and what bounds it: the fields of `DeviceSummary` of these names."""
    window_ns = max(1, work.window[1] - work.window[0])
    busy = clip(idle.united(work.operations), work.window)
    busy_ns = own_ns = total(busy)
    computing_ns = total(clip(idle.united(each for each in work.operations if each.kind != "copy"), work.window))
    if steps is not None and any(each.process != steps.process for each in work.operations):
        own = idle.united(each for each in work.operations if each.process == steps.process)
        own_ns = total(clip(own, work.window))
    idle_share, free = 1 - busy_ns / window_ns, gaps(busy, work.window)
    why = None
    if any(each.launch is not None for each in work.inside):
        waiting = idle.input_time(steps, work.window, pageable=pageable)
        owners = {each.process for each in work.operations}
        own_lost = [each for each in lost if each.process in owners or None in owners]
        why = idle.reasons(free, work.operations, trace.launches, own_lost, waiting, window_ns)
    shares = idle_share, computing_ns / window_ns, (busy_ns - computing_ns) / window_ns
    bound = idle.bound_of(*shares, why)
    return {
        "window_ns": window_ns,
        "busy_ns": busy_ns,
        "others_ns": busy_ns - own_ns,
        "idle": idle_share,
        "idle_reasons": why,
        "bound": bound,
        "bound_statement": idle.statement(bound, *shares, why),
        "largest_gap_ns": max((end - start for start, end in free), default=0),
    }


def _summed_ns(operations: Iterable[Operation]) -> int:
    return sum(each.end - each.start for each in operations)


def _absent(
    work: DeviceWork,
    phases: Sequence[PhaseSummary],
    kernels: Sequence[Operation],
    all_ns: int,
    *,
    explained: bool,
    lengths_unknown: bool,
) -> dict[str, str]:
    absent: dict[str, str] = {}
    if work.num_steps is None:
        absent |= dict.fromkeys(("steps", "kernels_per_step"), _NO_STEPS)
    if not phases:
        absent |= dict.fromkeys(
            ("unattributed_ns", "unattributed_share"), "the steps hold no phases" if work.num_steps else _NO_STEPS
        )
    elif not all_ns:
        absent["unattributed_share"] = "the steps launched no work on this device"
    if lengths_unknown:
        absent |= dict.fromkeys(("tensor_core_share", "tensor_core_unknown_share"), "some kernels lack their length")
    elif not kernels:
        reason = (
            "CUDA graphs were traced as a whole"
            if any(each.kind == "graph" for each in work.inside)
            else "no kernel ran"
        )
        absent |= dict.fromkeys(("tensor_core_share", "tensor_core_unknown_share"), reason)
    if any(each.stream is None for each in work.inside):
        absent["streams"] = "some work does not tell its stream"
    if not explained:
        absent["idle_reasons"] = "no launch of this device's work is in the trace"
    return absent


def _kernel_table(work: DeviceWork, kernels: Iterable[Operation], kernel_ns: int) -> list[KernelSummary]:
    """By name, longest total first. Tensor-core use is as counted, if it was."""
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    counted: defaultdict[str, set[bool | None]] = defaultdict(set)
    for each in kernels:
        counts[each.name] += 1
        totals[each.name] += each.end - each.start
        counted[each.name].add(each.tensor_cores)
    were_counted = any(answers - {None} for answers in counted.values())

    def tensor_cores(name: str) -> TensorCore:
        if not were_counted:
            return uses_tensor_cores(name)
        return "yes" if True in counted[name] else "unknown" if None in counted[name] else "no"

    return [
        KernelSummary(
            name=name,
            **{"class": kernel_class(name)},
            tensor_core=tensor_cores(name),
            count=counts[name],
            per_step=work.per_step(counts[name]),
            total_ns=total_ns,
            share=total_ns / kernel_ns if kernel_ns else 0.0,
        )
        for name, total_ns in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    ]


def _classes(names: Iterable[KernelSummary]) -> tuple[ClassSummary, ...]:
    groups: defaultdict[str, list[KernelSummary]] = defaultdict(list)
    for each in names:
        groups[each.kernel_class].append(each)
    rows = [
        ClassSummary(
            **{"class": label},
            count=sum(each.count for each in members),
            total_ns=sum(each.total_ns for each in members),
            share=sum(each.share for each in members),
        )
        for label, members in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.total_ns, row.kernel_class)))


def _share_of(names: Sequence[KernelSummary], answer: str) -> float | None:
    kernel_ns = sum(each.total_ns for each in names)
    return sum(each.total_ns for each in names if each.tensor_core == answer) / kernel_ns if kernel_ns else None


def _copies(work: DeviceWork) -> dict[str, CopySummary]:
    """By direction; always `h2d` and `d2h`, others if there are any."""
    running = idle.united(work.kernels)
    groups: dict[str, list[Operation]] = {"h2d": [], "d2h": []}
    for each in work.inside:
        if each.kind == "copy":
            groups.setdefault(each.direction or "other", []).append(each)
    found = {}
    for direction, copies in groups.items():
        num_bytes = _sum(each.bytes for each in copies)
        summed_ns = _summed_ns(copies)
        busy = idle.united(copies)
        busy_ns = total(busy)
        pageable = [each for each in copies if each.pageable]
        sides_known = direction not in _SIDED or all(each.pageable is not None for each in copies)
        found[direction] = CopySummary(
            count=len(copies),
            bytes=num_bytes,
            bytes_per_step=None if num_bytes is None else work.per_step(num_bytes),
            busy_ns=busy_ns,
            gb_per_s=num_bytes / summed_ns if summed_ns and num_bytes is not None else None,
            overlap=total(intersection(busy, running)) / busy_ns if busy_ns else None,
            pageable_bytes=_sum(each.bytes for each in pageable) if sides_known else None,
            pageable_ns=total(idle.united(pageable)),
        )
    return found


_SIDED = ("h2d", "d2h", "h2h", "other")
"""Directions in which one side may be host memory."""


def _sum(parts: Iterable[int | None]) -> int | None:
    """None if any part is unknown."""
    known = list(parts)
    return None if None in known else sum(each for each in known if each is not None)


def _phases(work: DeviceWork, steps: Steps | None) -> tuple[PhaseSummary, ...]:
    """In the order of a step: our own phases as defined, others by their first start."""
    if steps is None or not work.num_steps:
        return ()
    host = host_times(steps)
    members: defaultdict[str, list[Operation]] = defaultdict(list)
    spans: defaultdict[str, dict[int, Interval]] = defaultdict(dict)  # per step, from a phase's first to last work
    for each, (step, phase) in zip(work.inside, work.places, strict=True):
        if phase is not None:
            members[phase].append(each)
            if step is not None:
                low, high = spans[phase].get(step, (each.start, each.end))
                spans[phase][step] = (min(low, each.start), max(high, each.end))
    all_ns = _summed_ns(work.inside)
    found = []
    for name in [*host, *(members.keys() - host.keys())]:
        summed_ns = _summed_ns(members[name])
        lengths = [high - low for low, high in spans[name].values()]
        found.append(
            PhaseSummary(
                name=name,
                cpu_ns=host.get(name, 0.0),
                gpu_busy_ns=total(idle.united(members[name])) / work.num_steps,
                gpu_span_ns=sum(lengths) / len(lengths) if lengths else None,
                gpu_share=summed_ns / all_ns if all_ns else None,
                kernels_per_step=sum(each.kind == "kernel" for each in members[name]) / work.num_steps,
            )
        )
    return tuple(found)


def host_times(steps: Steps) -> dict[str, float]:
    """Host time per step of each phase on the steps' thread, in ns, in the order of a step."""
    spans = steps.phases.get(steps.thread)
    window = (steps.ranges[0].start, steps.ranges[-1].end)
    by_name: defaultdict[str, list[Interval]] = defaultdict(list)
    for each in () if spans is None else spans.ranges:
        by_name[each.name].append((each.start, each.end))
    times = {name: total(clip(spans, window)) / len(steps.ranges) for name, spans in by_name.items()}
    if steps.ours:
        return {name: times[name] for name in PHASES if name in times}
    return times
