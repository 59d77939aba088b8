"""Warnings about a trace: findings GB5xx, made from the finished figures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_bytes, format_percent
from gpubench.profile.figures.attribution import FoundSteps, Steps
from gpubench.profile.figures.summary_model import DeviceSummary, Perturbation
from gpubench.profile.traces.trace import LAUNCHES, LaunchCall, Trace, listed
from gpubench.suite.model.precisions import PRECISIONS

MOST_PERTURBATION = 1.15
MOST_UNATTRIBUTED = 0.01
MOST_LAYOUT = 0.05
MOST_LOST = 0.01
LEAST_PAGEABLE_BYTES = 64 << 10
"""Up to this size CUDA copies from pageable memory without making the host wait."""
LEAST_PAGEABLE_SHARE = 0.01
_MESSAGES_SHOWN = 3
_PRODUCTS_MATTER = 0.25
_FEW_TENSOR_CORES = 0.05
_REDUCED = frozenset(name for name, spec in PRECISIONS.items() if spec.reduced)


def remarks(
    trace: Trace,
    devices: Sequence[DeviceSummary],
    steps: Steps | None,
    perturbation: Perturbation | None,
    *,
    found_steps: FoundSteps,
    expected_steps: int | None = None,
    step_name: str | None = None,
    case: Mapping[str, Any] | None = None,
    lost: Sequence[LaunchCall] = (),
    left_out: Sequence[str] = (),
) -> Iterator[Finding]:
    """In order of severity: first what makes the trace useless, last what only explains it. `lost` are launches whose
    work is not in the trace.
    """
    settings = case or {}
    if trace.empty:
        yield finding("GB519", "The capture is empty: no range, no CUDA call and no GPU work was recorded.")
    yield from _about_completeness(trace, lost, found_steps)
    if trace.empty:
        return
    if not devices and (trace.cuda_seen or str(settings.get("device", "")).startswith("cuda")):
        yield finding("GB501", "The program called CUDA, but the trace holds no kernel and no copy of any GPU.")
    yield from _about_steps(steps, expected_steps, step_name, found_steps.cut_off)
    if left_out:
        yield finding(
            "GB513",
            f"{len(left_out)} more processes have steps, in no figure here: {', '.join(left_out)}."
            if len(left_out) > 1
            else f"Another process has steps, in no figure here: {left_out[0]}.",
            processes=len(left_out),
        )
    if perturbation is not None and perturbation.ratio > MOST_PERTURBATION:
        yield finding(
            "GB502",
            f"A step took {perturbation.profiled_step_time_s * 1e3:.3g} ms under {trace.tool}, "
            f"{perturbation.ratio:.2f} times the measured {perturbation.measured_step_time_s * 1e3:.3g} ms.",
            hint=_LESS_DISTURBING if trace.tool == "torch" else None,
            ratio=perturbation.ratio,
        )
    for device in devices:
        yield from _about_work(device, settings, timeline=trace.timeline)
        yield from _about_idleness(device, settings)


_LESS_DISTURBING = (
    "Trust counts and shares of GPU time; do not trust times and gaps of the host. nsys disturbs less than "
    "torch.profiler: `--tool nsys`."
)


def _about_completeness(trace: Trace, lost: Sequence[LaunchCall], found_steps: FoundSteps) -> Iterator[Finding]:
    if trace.unread:
        count = trace.unread.total()
        yield finding("GB514", f"Left out: {listed(trace.unread)}.", rows=count)
    messages = [
        *(
            f"The steps of process {each} overlap, as those of several would: none of them counts."
            for each in found_steps.overlapping
        ),
        *trace.messages,
    ]
    if found_steps.elsewhere:
        messages.append(f"Steps on other threads than most are not counted: {found_steps.elsewhere}.")
    if messages:
        shown = " ".join(each if each.endswith((".", "!", "?")) else f"{each}." for each in messages[:_MESSAGES_SHOWN])
        more = len(messages) - _MESSAGES_SHOWN
        yield finding("GB516", f"{shown} And {more} more." if more > 0 else shown, messages=len(messages))
    calls = sum(each.kind in LAUNCHES for each in trace.launches.values())
    num_lost = sum(each.kind in LAUNCHES for each in lost)
    if num_lost > MOST_LOST * calls:
        yield finding(
            "GB515",
            f"{num_lost} of {calls} launches have no GPU work in the trace; idle time is not to be trusted.",
            lost=num_lost,
            launches=calls,
        )


def _about_steps(steps: Steps | None, expected: int | None, step_name: str | None, cut_off: int) -> Iterator[Finding]:
    if cut_off:
        what = "1 step was" if cut_off == 1 else f"{cut_off} steps were"
        yield finding("GB517", f"{what} cut off by the end of the capture and left out.", steps=cut_off)
    if steps is None:
        sought = f"named {step_name!r} " if step_name else ""
        yield finding("GB507", f"No range {sought}marks a step; the figures cover the whole trace.")
    elif expected is not None and len(steps.ranges) != expected:
        yield finding(
            "GB511",
            f"{expected} steps were asked for, the trace holds {len(steps.ranges)}.",
            found=len(steps.ranges),
            asked=expected,
        )


def _about_work(device: DeviceSummary, settings: Mapping[str, Any], *, timeline: bool) -> Iterator[Finding]:
    where = f"{device.label}: "
    if device.graphs:
        yield finding(
            "GB508", f"{where}{device.graphs} CUDA graph launches were traced as a whole.", graphs=device.graphs
        )
    if device.others_ns > MOST_LOST * device.busy_ns:
        share = device.others_ns / device.busy_ns
        yield finding(
            "GB520",
            f"{where}{format_percent(share)} of its busy time is work of other processes; the figures of steps, phases "
            "and kernels leave it out.",
            share=share,
        )
    for direction, copy in device.copies.items():
        size = copy.pageable_bytes or 0
        if (
            size / (device.steps or 1) > LEAST_PAGEABLE_BYTES
            and copy.pageable_ns > LEAST_PAGEABLE_SHARE * device.busy_ns
            and copy.bytes is not None
        ):
            yield finding(
                "GB504",
                f"{where}{format_bytes(size)} of {format_bytes(copy.bytes)} went {_WAYS.get(direction, direction)} "
                "through pageable memory" + (f" at {copy.gb_per_s:.1f} GB/s." if copy.gb_per_s else "."),
                direction=direction,
                pageable_bytes=size,
            )
    shares = {each.kernel_class: each.share for each in device.classes}
    yield from _about_tensor_cores(device, shares, settings)
    if shares.get("layout", 0.0) > MOST_LAYOUT:
        yield finding(
            "GB510",
            f"{where}layout conversions are {format_percent(shares['layout'])} of the kernel time.",
            share=shares["layout"],
        )
    if device.unattributed_share is not None and device.unattributed_share > MOST_UNATTRIBUTED:
        yield finding(
            "GB503",
            f"{where}{format_percent(device.unattributed_share)} of the GPU time belongs to no phase.",
            share=device.unattributed_share,
        )
    if device.idle_reasons is None and timeline:
        yield finding(
            "GB512",
            f"{where}no launch of this device's work is in the trace, so it has no phases and idle time no reason.",
        )
    elif timeline and device.unlinked_share > MOST_LOST:
        yield finding(
            "GB512",
            f"{where}the launches of {format_percent(device.unlinked_share)} of the GPU time are not in the trace.",
            share=device.unlinked_share,
        )


_WAYS = {"h2d": "to the device", "d2h": "to the host"}


def _about_tensor_cores(
    device: DeviceSummary, shares: Mapping[str, float], settings: Mapping[str, Any]
) -> Iterator[Finding]:
    """Nothing for strict fp32, which uses none, nor if Triton kernels leave it open."""
    products = shares.get("gemm", 0.0) + shares.get("conv", 0.0)
    share, unknown = device.tensor_core_share, device.tensor_core_unknown_share
    precision = settings.get("precision")
    if share is None or products < _PRODUCTS_MATTER or (unknown or 0.0) > _FEW_TENSOR_CORES:
        return
    if share < _FEW_TENSOR_CORES * products and (precision is None or precision in _REDUCED):
        asked = f" at precision {precision}" if precision else ""
        yield finding(
            "GB509",
            f"{device.label}: products and convolutions are {format_percent(products)} of the kernel time{asked}, "
            f"kernels that use tensor cores {format_percent(share)} (detected by {device.tensor_core_source}).",
            products=products,
            tensor_core_share=share,
        )


def _about_idleness(device: DeviceSummary, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """The remedy leaves out what the case already does."""
    why = device.idle_reasons
    if device.bound == "copy":
        yield finding("GB518", f"{device.label}: {device.bound_statement.removeprefix('copy-bound: ')}")
    if why is None or device.bound not in ("launch", "input"):
        return
    data = {"idle": device.idle, **why.model_dump()}
    if device.bound == "input":
        message = f"{device.label} waited for input {format_percent(why.input)} of the time."
        yield finding("GB506", message, hint=_input_remedy(settings), **data)
    else:
        message = f"{device.label} waited for the host to launch work {format_percent(why.launch)} of the time."
        yield finding("GB505", message, hint=_launch_remedy(settings), **data)


def _launch_remedy(settings: Mapping[str, Any]) -> str | None:
    if not settings:
        return None
    left = [
        name
        for name, used in (
            ("CUDA graphs (`cuda_graph`)", settings.get("cuda_graph")),
            ("`compile`", settings.get("compile", "off") != "off"),
            ("a fused optimizer (`fused`)", settings.get("fused") or settings.get("mode") == "infer"),
        )
        if not used
    ]
    return f"Launch less often or more cheaply: {', '.join([*left, 'a larger batch'])}."


def _input_remedy(settings: Mapping[str, Any]) -> str | None:
    path = settings.get("data_path")
    remedies = {
        "loader": f"Give the loader more workers than {settings.get('num_workers', 0)}, or keep the data on the device "
        "(`data_path: resident`).",
        "pageable": "Pin the host memory (`data_path: pinned`), or keep the data on the device "
        "(`data_path: resident`).",
        "pinned": "Keep the data on the device (`data_path: resident`).",
    }
    return remedies.get(str(path)) if path else None
