"""The tables of a profile: phases, kernels and copies of one device, phases of the host."""

from collections.abc import Callable

from gpubench.core.units import format_bytes, format_number
from gpubench.profile.figures.summary_model import CopySummary, DeviceSummary, PhaseSummary, ProfileSummary
from gpubench.report.model.inert_text import shorten
from gpubench.report.model.report_model import Cell, Column, Table, line
from gpubench.report.topics.profiles import amount_cell, share_cell, short_name

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
    """The kernels with most time, longest first; names in at most `name_width` characters."""
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
        return Cell(format_bytes(size), value=size)

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
