"""Profiles of a run's cases, next to the figures measured without a profiler."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.units import format_bytes, format_number, format_percent, group_digits
from gpubench.profile.figures.summary_model import DeviceSummary, ProfileSummary
from gpubench.report.model.figure_cells import metric_cell
from gpubench.report.model.inert_text import shorten
from gpubench.report.model.report_model import EMPTY, Cell, Column, Fact, Section, Table, code, line
from gpubench.report.view.run_view import View

_NAME_WIDTH = 44
_LEAD = (
    "Step times are measured without a profiler; `profiled` says how many times as long a step took under one. All "
    "other figures are of the profiled steps: they explain, and enter no verdict."
)


def section(view: View) -> Section | None:
    """A row per profiled case, and the warnings of each profile."""
    entries = [entry for entry in view.summary.cases if entry.planned.index in view.profiles]
    if not entries:
        return None
    facts = tuple(
        Fact(f"{entry.planned.index} {found.code}", line(f"{found.message} {found.hint}".strip()))
        for entry in entries
        for found in view.profiles[entry.planned.index].warnings
    )
    command = code(f"gpubench show {view.name or view.summary.info.run}:{entries[0].planned.index}")
    return Section(
        "profiles",
        "Profiles: where a step goes",
        short="Profiles",
        lines=(line(_LEAD), line("One in full: ", command)),
        tables=(_table(view, entries),),
        facts=facts,
    )


def _table(view: View, entries: Sequence[CaseSummary]) -> Table:
    def profiled(get: Callable[[ProfileSummary], Cell | str | int | None]) -> Callable[[CaseSummary], Any]:
        return lambda entry: get(view.profiles[entry.planned.index])

    def on_device(get: Callable[[DeviceSummary], Cell | str | int | None]) -> Callable[[CaseSummary], Any]:
        """The first device; empty for a profile of the host alone."""
        return profiled(lambda profile: get(profile.devices[0]) if profile.devices else None)

    def slowed(profile: ProfileSummary) -> Cell | None:
        found = profile.perturbation
        return None if found is None else Cell(f"x{found.ratio:.2f}", value=found.ratio)

    def longest_phase(profile: ProfileSummary) -> str:
        """The phase with most GPU time, or else most host time."""
        spent = [(each.share, each.name) for each in profile.host_phases]
        if profile.devices:
            spent = [(each.gpu_share or 0.0, each.name) for each in profile.devices[0].phases]
        share, name = max(spent, default=(0.0, ""))
        return f"{name} {format_percent(share)}" if spent else ""

    def pageable(device: DeviceSummary) -> Cell | None:
        sizes = [copy.pageable_bytes for copy in device.copies.values()]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return Cell("unknown")
        return Cell(format_bytes(sum(known)), value=sum(known)) if any(known) else None

    def top_kernel(device: DeviceSummary) -> Cell | None:
        for top in device.top_kernels[:1]:
            return Cell(f"{format_percent(top.share)} {shorten(short_name(top.name), _NAME_WIDTH)}", value=top.name)
        return None

    columns = (
        Column("index", "#", cell=lambda entry: entry.planned.index),
        Column("case", "case", "left", cell=lambda entry: entry.label),
        Column("step", "step ms", cell=lambda entry: metric_cell("step_time_s", entry.metrics, spread=True)),
        Column("profiled", "profiled", priority=3, cell=profiled(slowed)),
        Column("idle", "GPU idle", cell=on_device(lambda device: share_cell(device.idle))),
        Column("bound", "bound by", "left", priority=1, cell=on_device(lambda device: device.bound)),
        Column(
            "kernels", "kernels a step", priority=2, cell=on_device(lambda device: amount_cell(device.kernels_per_step))
        ),
        Column(
            "tensor_cores",
            "tensor cores",
            priority=2,
            cell=on_device(lambda device: share_cell(device.tensor_core_share)),
        ),
        Column("pageable", "pageable", priority=4, cell=on_device(pageable)),
        Column("phase", "longest phase", "left", priority=1, cell=profiled(longest_phase)),
        Column("kernel", "top kernel", "left", priority=5, cell=on_device(top_kernel)),
    )
    return Table.of("profiles", columns, entries, case_index=lambda entry: entry.planned.index).without_empty_columns()


def share_cell(share: float | None) -> Cell:
    return EMPTY if share is None else Cell(format_percent(share), value=share)


def amount_cell(amount: float | None) -> Cell:
    """A count, or a mean of counts."""
    if amount is None:
        return EMPTY
    text = group_digits(str(round(amount))) if amount == round(amount) else format_number(amount, most=1)
    return Cell(text, value=amount)


_NOISE = re.compile(r"^void |at::native::|\(anonymous namespace\)::|c10::|\(CUtensorMap[^)]*\)|std::")


def short_name(name: str) -> str:
    """A kernel's name without return type, namespaces and parameter types; template arguments stay."""
    short = _NOISE.sub("", name)
    depth = 0
    for index, character in enumerate(short):
        depth += (character == "<") - (character == ">")
        if character == "(" and depth == 0 and index:
            return short[:index].rstrip()
    return short
