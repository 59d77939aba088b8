"""The tables of a profile: phases, kernels and copies of one device, phases of the host."""

from gpubench.core.units import format_bytes, format_number, format_percent
from gpubench.profile.figures.summary_model import CopySummary, DeviceSummary, ProfileSummary
from gpubench.report.model.inert_text import shorten
from gpubench.report.model.report_model import Cell, Column, Row, Table, line
from gpubench.report.topics.profiles import amount_cell, short_name

MOST_PHASES = 12
_LONG_STEP_NS = 5e6
_FIGURES = 3
_NONE = Cell("-")
_WAYS = {"h2d": "host to device", "d2h": "device to host", "d2d": "on the device", "p2p": "between devices"}


class Scale:
    """One unit for all times of a profile: microseconds where a step is short, else milliseconds."""

    def __init__(self, summary: ProfileSummary) -> None:
        times = [summary.step_time_ns or 0.0, *(device.window_ns / (device.steps or 1) for device in summary.devices)]
        self.unit, self._factor = ("ms", 1e6) if max(times) > _LONG_STEP_NS else ("us", 1e3)

    def text(self, nanoseconds: float) -> str:
        return "0" if nanoseconds == 0 else format_number(nanoseconds / self._factor, most=_FIGURES)

    def cell(self, nanoseconds: float | None) -> Cell:
        return _NONE if nanoseconds is None else Cell(self.text(nanoseconds), value=nanoseconds / self._factor)


def device_phases(device: DeviceSummary, scale: Scale) -> Table:
    """Where a step goes. Of more phases than `MOST_PHASES` (another program's ranges) the longest."""
    columns = (
        Column("phase", "phase", "left"),
        Column("cpu", f"CPU {scale.unit}"),
        Column("busy", f"GPU busy {scale.unit}"),
        Column("span", f"GPU span {scale.unit}", priority=2),
        Column("share", "GPU time", priority=1),
        Column("kernels", "kernels", priority=3),
    )
    longest = sorted(device.phases, key=lambda each: (each.cpu_ns or 0.0) + each.gpu_busy_ns, reverse=True)[
        :MOST_PHASES
    ]
    rows = [
        Row(
            (
                Cell(each.name),
                scale.cell(each.cpu_ns),
                scale.cell(each.gpu_busy_ns),
                scale.cell(each.gpu_span_ns),
                _share(each.gpu_share),
                amount_cell(each.kernels_per_step),
            )
        )
        for each in device.phases
        if each in longest
    ]
    if device.unattributed_ns and device.steps:
        loose = scale.cell(device.unattributed_ns / device.steps)
        rows.append(Row((Cell("(no phase)"), _NONE, loose, _NONE, _share(device.unattributed_share), _NONE)))
    left_out = len(device.phases) - len(longest)
    notes = (line(f"and {left_out} shorter ones"),) if left_out else ()
    return Table("phases", columns, tuple(rows), "Where a step goes", notes)


def host_phases(summary: ProfileSummary, scale: Scale) -> Table:
    columns = (Column("phase", "phase", "left"), Column("cpu", f"CPU {scale.unit}"), Column("share", "of the step"))
    longest = sorted(summary.host_phases, key=lambda each: each.cpu_ns, reverse=True)[:MOST_PHASES]
    rows = tuple(
        Row((Cell(each.name), scale.cell(each.cpu_ns), _share(each.share)))
        for each in summary.host_phases
        if each in longest
    )
    return Table("host_phases", columns, rows, "Where a step goes")


def kernels(device: DeviceSummary, scale: Scale, top: int, name_width: int) -> Table:
    """The kernels with most time, longest first; names in at most `name_width` characters."""
    per = "" if device.steps is None else " a step"
    columns = (
        Column("share", "share"),
        Column("time", f"{scale.unit}{per}", priority=1),
        Column("calls", f"calls{per}", priority=3),
        Column("class", "class", "left", priority=2),
        Column("tensor_cores", "tensor cores", "left", priority=4),
        Column("kernel", "kernel", "left"),
    )
    rows = tuple(
        Row(
            (
                _share(each.share),
                scale.cell(each.total_ns / (device.steps or 1)),
                amount_cell(each.count if each.per_step is None else each.per_step),
                Cell(each.kernel_class),
                Cell(each.tensor_core),
                Cell(shorten(short_name(each.name), name_width), value=each.name),
            )
        )
        for each in device.top_kernels[:top]
    )
    left_out = device.num_kernel_names - len(rows)
    notes = (line(f"and {left_out} more names"),) if left_out > 0 else ()
    return Table("kernels", columns, rows, "Top kernels", notes)


def copies(device: DeviceSummary, scale: Scale) -> Table:
    per = "" if device.steps is None else " a step"
    columns = (
        Column("copies", "copies", "left"),
        Column("bytes", f"bytes{per}"),
        Column("time", f"{scale.unit}{per}", priority=2),
        Column("rate", "GB/s", priority=1),
        Column("overlap", "under kernels", priority=3),
        Column("pageable", "pageable, in all"),
    )
    rows = tuple(
        Row((Cell(_WAYS.get(direction, direction)), *_copy(copy, scale, device.steps or 1)))
        for direction, copy in device.copies.items()
        if copy.count
    )
    return Table("copies", columns, rows, "Copies")


def _copy(copy: CopySummary, scale: Scale, steps: int) -> tuple[Cell, ...]:
    size = copy.bytes if copy.bytes_per_step is None else copy.bytes_per_step
    return (
        Cell(format_bytes(size), value=size),
        scale.cell(copy.busy_ns / steps),
        _NONE if copy.gb_per_s is None else Cell(format_number(copy.gb_per_s), value=copy.gb_per_s),
        _share(copy.overlap),
        Cell("unknown")
        if copy.pageable_bytes is None
        else Cell(format_bytes(copy.pageable_bytes), value=copy.pageable_bytes),
    )


def _share(share: float | None) -> Cell:
    return _NONE if share is None else Cell(format_percent(share), value=share)
