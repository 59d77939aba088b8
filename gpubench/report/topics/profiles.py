"""Profiles attached to a run, beside the figures that were measured without a profiler."""

import re

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.units import format_bytes, format_number, format_percent, group_digits
from gpubench.profile.figures.summary_model import DeviceSummary, Summary
from gpubench.report.model.figure_cells import metric_cell
from gpubench.report.model.inert_text import shorten
from gpubench.report.model.report_model import EMPTY, Cell, Column, Fact, Row, Section, Table, code, line
from gpubench.report.view.run_view import View

_NAME_WIDTH = 44
_COLUMNS = (
    Column("index", "#"),
    Column("case", "case", "left"),
    Column("step", "step ms"),
    Column("profiled", "profiled", priority=3),
    Column("idle", "GPU idle"),
    Column("bound", "bound by", "left", priority=1),
    Column("kernels", "kernels a step", priority=2),
    Column("tensor_cores", "tensor cores", priority=2),
    Column("pageable", "pageable", priority=4),
    Column("phase", "longest phase", "left", priority=1),
    Column("kernel", "top kernel", "left", priority=5),
)
_LEAD = (
    "Step times are measured without a profiler; `profiled` says how many times as long a step took under one. All other "
    "figures are of the profiled steps: they explain, and enter no verdict."
)


def section(view: View) -> Section | None:
    """A row per profiled case, and what each profile warns of."""
    entries = [entry for entry in view.summary.cases if entry.planned.index in view.profiles]
    if not entries:
        return None
    facts = tuple(
        Fact(f"{entry.planned.index} {found.code}", line(f"{found.message} {found.hint}".strip()))
        for entry in entries
        for found in view.profiles[entry.planned.index].warnings
    )
    command = code(f"gpubench show {view.name or view.summary.info.run}:{entries[0].planned.index}")
    rows = tuple(_row(entry, view.profiles[entry.planned.index]) for entry in entries)
    return Section(
        "profiles",
        "Profiles: where a step goes",
        short="Profiles",
        lines=(line(_LEAD), line("One in full: ", command)),
        tables=(Table("profiles", _COLUMNS, rows).without_empty_columns(),),
        facts=facts,
    )


def _row(entry: CaseSummary, profile: Summary) -> Row:
    device = profile.devices[0] if profile.devices else None
    found = profile.perturbation
    cells = (
        Cell(str(entry.planned.index), value=entry.planned.index),
        Cell(entry.label),
        metric_cell("step_time_s", entry.metrics, spread=True),
        EMPTY if found is None else Cell(f"x{found.ratio:.2f}", value=found.ratio),
        *(_NO_DEVICE if device is None else _device(device)),
        Cell(_longest_phase(profile, device)),
        EMPTY if device is None or not device.top_kernels else _kernel(device),
    )
    return Row(cells, case_index=entry.planned.index)


_NO_DEVICE = (EMPTY,) * 5


def _device(device: DeviceSummary) -> tuple[Cell, ...]:
    share, per_step = device.tensor_core_share, device.kernels_per_step
    known = [copy.pageable_bytes for copy in device.copies.values() if copy.pageable_bytes]
    return (
        EMPTY if device.idle is None else Cell(format_percent(device.idle), value=device.idle),
        Cell(device.bound or ""),
        EMPTY if per_step is None else amount_cell(per_step),
        EMPTY if share is None else Cell(format_percent(share), value=share),
        Cell(format_bytes(sum(known)), value=sum(known)) if known else EMPTY,
    )


def _longest_phase(profile: Summary, device: DeviceSummary | None) -> str:
    """Of GPU time where there is a GPU, else of the host."""
    if device is not None:
        spent = [(each.gpu_share or 0.0, each.name) for each in device.phases]
    else:
        spent = [(each.share, each.name) for each in profile.host_phases]
    if not spent:
        return ""
    share, name = max(spent)
    return f"{name} {format_percent(share)}"


def _kernel(device: DeviceSummary) -> Cell:
    top = device.top_kernels[0]
    return Cell(f"{format_percent(top.share)} {shorten(short_name(top.name), _NAME_WIDTH)}", value=top.name)


def amount_cell(amount: float) -> Cell:
    """A count, or a mean of counts."""
    text = group_digits(str(round(amount))) if amount == round(amount) else format_number(amount, most=1)
    return Cell(text, value=amount)


_NOISE = re.compile(r"^void |at::native::|\(anonymous namespace\)::|c10::|\(CUtensorMap[^)]*\)|std::")


def short_name(name: str) -> str:
    """A kernel's name without return type, namespaces and the list of its parameters' types; template arguments stay."""
    short = _NOISE.sub("", name)
    depth = 0
    for index, character in enumerate(short):
        depth += (character == "<") - (character == ">")
        if character == "(" and depth == 0 and index:
            return short[:index].rstrip()
    return short
