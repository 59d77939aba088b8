"""One profile in full: where a step goes, why the GPU waits, which kernels, which copies, and what to do about it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpubench.core.findings import Severity
from gpubench.core.units import format_bytes, format_number, format_percent
from gpubench.profile.figures.summary_model import CopySummary, DeviceSummary, PhaseSummary, ProfileSummary
from gpubench.report.model.inert_text import shorten
from gpubench.report.model.report_model import Cell, Column, Fact, Line, Section, Table, code, line, lines
from gpubench.report.topics.profiles import amount_cell, share_cell, short_name

NAME_WIDTH = 60
_TOP = 10
_TOOLS = {"nsys": "Nsight Systems", "ncu": "Nsight Compute", "torch": "torch.profiler"}
MOST_PHASES = 12
_LONG_STEP_NS = 5e6
_FIGURES = 3
_NONE = Cell("-")
_WAYS = {"h2d": "host to device", "d2h": "device to host", "d2d": "on the device", "p2p": "between devices"}


class Scale:
    """One unit for all times of a profile: microseconds for short steps, else milliseconds."""

    def __init__(self, summary: ProfileSummary) -> None:
        times = [summary.step_time_ns or 0.0, *(device.window_ns / (device.steps or 1) for device in summary.devices)]
        self.unit, self._factor = ("ms", 1e6) if max(times) > _LONG_STEP_NS else ("us", 1e3)

    def text(self, nanoseconds: float) -> str:
        return "0" if nanoseconds == 0 else format_number(nanoseconds / self._factor, most=_FIGURES)

    def cell(self, nanoseconds: float | None) -> Cell:
        return _NONE if nanoseconds is None else Cell(self.text(nanoseconds), value=nanoseconds / self._factor)


def profile_page(
    summary: ProfileSummary,
    *,
    label: str = "",
    trace: Path | None = None,
    top: int = _TOP,
    name_width: int = NAME_WIDTH,
) -> tuple[Section, ...]:
    """All sections of a profile. `label` names the case, `trace` is the kept trace (None: not kept)."""
    scale = Scale(summary)
    devices = [_device(device, scale, top, name_width) for device in summary.devices]
    if len({section.key for section in devices}) < len(devices):  # several ranks or machines number GPUs from 0
        devices = [replace(section, key=f"{section.key}_{number}") for number, section in enumerate(devices)]
    table = host_phases(summary, scale)
    none = lines("" if table.rows else "And no steps with phases.")
    host = Section("host", "No GPU in this trace", lines=none, tables=(table,) if table.rows else ())
    # `!` marks what spoils, `?` what only explains; each says what to do.
    findings = (
        Fact(
            f"{'?' if found.severity is Severity.INFO else '!'} {found.code}",
            line(f"{found.message} {found.hint}".strip()),
        )
        for found in summary.warnings
    )
    opened = (
        () if trace is None else (Fact("File", line(code(str(trace)))), Fact("Open it", opener(summary.tool, trace)))
    )
    sections = (
        Section("profile", "Profile", facts=_head(summary, label, scale)),
        *(devices or [host]),
        Section("profile_findings", "What it says", facts=tuple(findings)),
        Section("trace", "Trace", facts=opened),
    )
    return tuple(section for section in sections if not section.empty)


def _head(summary: ProfileSummary, label: str, scale: Scale) -> tuple[Fact, ...]:
    tool = " ".join(part for part in (_TOOLS[summary.tool], summary.tool_version) if part)
    facts = [Fact("Made by", line(tool)), Fact("Read from", line(code(summary.source)))]
    if label:
        facts.append(Fact("Case", line(label)))
    steps, found = f"{summary.steps}, kernel by kernel", summary.perturbation
    if summary.steps is None:
        steps = "none marked; the figures cover the whole trace"
    elif summary.step_time_ns is not None:
        steps = f"{summary.steps}, {scale.text(summary.step_time_ns)} {scale.unit} each while profiled"
        measured = 0.0 if found is None else found.measured_step_time_s * 1e3
        steps += "" if found is None else f", {found.ratio:.2f} times the measured {format_number(measured)} ms"
    return (*facts, Fact("Steps", line(steps)))


def _device(device: DeviceSummary, scale: Scale, top: int, name_width: int) -> Section:
    name = device.label + (f"  {device.name}" if device.name else "")
    said = (
        f"{device.bound_statement[:1].upper()}{device.bound_statement[1:]}",
        _idle(device, scale),
        tensor_core_line(device),
    )
    tables = (device_phases(device, scale), kernels(device, scale, top, name_width), copies(device, scale))
    return Section(
        f"gpu_{device.device}",
        name,
        lines=lines(*said),
        tables=tuple(table.without_empty_columns() for table in tables if table.rows),
    )


def _idle(device: DeviceSummary, scale: Scale) -> str:
    if device.idle is None or device.largest_gap_ns is None:
        return ""
    why = device.idle_reasons
    shares = (
        ()
        if why is None
        else (
            (why.launch, "host late to launch"),
            (why.input, "fetching input"),
            (why.dependency, "waiting for other work"),
            (why.unknown, "unknown"),
        )
    )
    parts = [f"{format_percent(share)} {what}" for share, what in shares if share > 0]
    reasons = f", by reason: {', '.join(parts)}" if parts else ""
    return f"Idle {format_percent(device.idle)}{reasons}. Largest gap {scale.text(device.largest_gap_ns)} {scale.unit}."


def tensor_core_line(device: DeviceSummary) -> str:
    """The share of kernel time that used tensor cores, and how it was detected."""
    if device.tensor_core_share is None:
        return f"Tensor cores: unknown, {device.absent.get('tensor_core_share', 'no kernel ran')}."
    unknown = device.tensor_core_unknown_share
    silent = "counters" if device.tensor_core_source == "counters" else "names"
    rest = f"; {format_percent(unknown)} in kernels whose {silent} do not tell" if unknown else ""
    return (
        f"Tensor cores: {'at least ' * bool(unknown)}{format_percent(device.tensor_core_share)} of the kernel time, "
        f"detected by {device.tensor_core_source}{rest}."
    )


def opener(tool: str, trace: Path) -> Line:
    """How to view the trace."""
    if trace.suffix == ".sqlite":
        return line("any SQLite browser; nsys-ui opens the .nsys-rep that it was exported from")
    if tool in ("nsys", "ncu"):
        return line(code(f"{tool}-ui {trace}"))
    return line("https://ui.perfetto.dev (the file stays in the browser), or chrome://tracing")


def device_phases(device: DeviceSummary, scale: Scale) -> Table:
    """Where the time of a step goes: the longest `MOST_PHASES` phases (other programs may mark many)."""
    longest = sorted(device.phases, key=lambda each: (each.cpu_ns or 0.0) + each.gpu_busy_ns, reverse=True)[
        :MOST_PHASES
    ]
    items: list[PhaseSummary | None] = [each for each in device.phases if each in longest]
    loose = None
    if device.unattributed_ns and device.steps:
        loose = device.unattributed_ns / device.steps
        items.append(None)

    def phase(get: Callable[[PhaseSummary], Cell | str], outside: Cell | str = _NONE) -> Callable[..., Cell | str]:
        """`outside` is for the time in no phase."""
        return lambda each: outside if each is None else get(each)

    columns = (
        Column("phase", "phase", "left", cell=phase(lambda each: each.name, "(no phase)")),
        Column("cpu", f"CPU {scale.unit}", cell=phase(lambda each: scale.cell(each.cpu_ns))),
        Column(
            "busy", f"GPU busy {scale.unit}", cell=phase(lambda each: scale.cell(each.gpu_busy_ns), scale.cell(loose))
        ),
        Column("span", f"GPU span {scale.unit}", priority=2, cell=phase(lambda each: scale.cell(each.gpu_span_ns))),
        Column(
            "share",
            "GPU time",
            priority=1,
            cell=phase(lambda each: _share(each.gpu_share), _share(device.unattributed_share)),
        ),
        Column("kernels", "kernels", priority=3, cell=phase(lambda each: amount_cell(each.kernels_per_step))),
    )
    left_out = len(device.phases) - len(longest)
    notes = (line(f"and {left_out} shorter ones"),) if left_out else ()
    return Table.of("phases", columns, items, title="Where a step goes", notes=notes)


def host_phases(summary: ProfileSummary, scale: Scale) -> Table:
    longest = sorted(summary.host_phases, key=lambda each: each.cpu_ns, reverse=True)[:MOST_PHASES]
    columns = (
        Column("phase", "phase", "left", cell=lambda each: each.name),
        Column("cpu", f"CPU {scale.unit}", cell=lambda each: scale.cell(each.cpu_ns)),
        Column("share", "of the step", cell=lambda each: _share(each.share)),
    )
    shown = [each for each in summary.host_phases if each in longest]
    return Table.of("host_phases", columns, shown, title="Where a step goes")


def kernels(device: DeviceSummary, scale: Scale, top: int, name_width: int) -> Table:
    """The kernels with most time, longest first; names have at most `name_width` characters."""
    per, steps, shown = "" if device.steps is None else " a step", device.steps or 1, device.top_kernels[:top]
    columns = (
        Column("share", "share", cell=lambda each: _share(each.share)),
        Column("time", f"{scale.unit}{per}", priority=1, cell=lambda each: scale.cell(each.total_ns / steps)),
        Column(
            "calls",
            f"calls{per}",
            priority=3,
            cell=lambda each: amount_cell(each.count if each.per_step is None else each.per_step),
        ),
        Column("class", "class", "left", priority=2, cell=lambda each: each.kernel_class),
        Column("tensor_cores", "tensor cores", "left", priority=4, cell=lambda each: each.tensor_core),
        Column(
            "kernel",
            "kernel",
            "left",
            cell=lambda each: Cell(shorten(short_name(each.name), name_width), value=each.name),
        ),
    )
    left_out = device.num_kernel_names - len(shown)
    notes = (line(f"and {left_out} more names"),) if left_out > 0 else ()
    return Table.of("kernels", columns, shown, title="Top kernels", notes=notes)


def copies(device: DeviceSummary, scale: Scale) -> Table:
    per, steps = "" if device.steps is None else " a step", device.steps or 1

    def copy(get: Callable[[CopySummary], Cell | str]) -> Callable[[tuple[str, CopySummary]], Cell | str]:
        return lambda item: get(item[1])

    def size(found: CopySummary) -> Cell:
        size = found.bytes if found.bytes_per_step is None else found.bytes_per_step
        return Cell("unknown") if size is None else Cell(format_bytes(size), value=size)

    def rate(found: CopySummary) -> Cell:
        return _NONE if found.gb_per_s is None else Cell(format_number(found.gb_per_s), value=found.gb_per_s)

    def pageable(found: CopySummary) -> Cell | str:
        size = found.pageable_bytes
        return "unknown" if size is None else Cell(format_bytes(size), value=size)

    columns = (
        Column("copies", "copies", "left", cell=lambda item: _WAYS.get(item[0], item[0])),
        Column("bytes", f"bytes{per}", cell=copy(size)),
        Column("time", f"{scale.unit}{per}", priority=2, cell=copy(lambda each: scale.cell(each.busy_ns / steps))),
        Column("rate", "GB/s", priority=1, cell=copy(rate)),
        Column("overlap", "under kernels", priority=3, cell=copy(lambda each: _share(each.overlap))),
        Column("pageable", "pageable, in all", cell=copy(pageable)),
    )
    return Table.of("copies", columns, [item for item in device.copies.items() if item[1].count], title="Copies")


def _share(share: float | None) -> Cell:
    return _NONE if share is None else share_cell(share)
