"""Tables with a row per case: its identity, metrics, and notes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal

from gpubench.analysis.summary.case_figures import recorded_metrics
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.findings import FINDINGS, Effect, Validity
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status
from gpubench.core.units import GIB, format_number
from gpubench.report.model.figure_cells import NOT_AVAILABLE, display_unit, metric_cell
from gpubench.report.model.report_model import EMPTY, Cell, Chart, Column, Line, Section, Table, Tone, line
from gpubench.report.model.words import title, word
from gpubench.report.view.run_view import QUIET, View
from gpubench.suite.model.settings import is_number

MEMORY = "memory"
"""Not a metric of the registry: peak allocated memory of the device, or on a CPU the peak resident set above its
baseline.
"""

MARKS = line("! weakened by a finding; - no valid figure; ? output not verified")


def metrics_present(summaries: Iterable[CaseSummary], names: Sequence[str]) -> tuple[str, ...]:
    """The metrics of `names` for which some case has a figure."""
    everything = list(summaries)
    recorded = recorded_metrics(record for entry in everything for record in entry.records) | {MEMORY}
    return tuple(name for name in names if name in recorded and any(_has(entry, name) for entry in everything))


def absent_notes(summaries: Iterable[CaseSummary], names: Sequence[str]) -> tuple[Line, ...]:
    """Why no case has a figure of these metrics, once per reason: `W, J/sample: n/a (no NVIDIA driver)`."""
    everything = [entry for entry in summaries if entry.status is Status.OK]
    launches = [record for entry in everything for record in entry.records]
    mentioned = recorded_metrics(launches).union(*(record.absent for record in launches))
    present = metrics_present(everything, names)
    by_reason: dict[str, list[str]] = {}
    for name in names:
        if name not in mentioned or name in present:
            continue
        reasons = dict.fromkeys(why for entry in everything if (why := entry.metrics.why_absent(name)) is not None)
        if reasons:
            by_reason.setdefault("; ".join(_merged(reasons)), []).append(METRICS[name].title)
    return tuple(line(f"{', '.join(titles)}: {NOT_AVAILABLE} ({reason})") for reason, titles in by_reason.items())


def price_notes(summary: RunSummary) -> tuple[Line, ...]:
    """What money means, where a price was given."""
    if summary.price_per_hour is None:
        return ()
    price = format_number(summary.price_per_hour)
    what = f"Money: the price of the machine's time, {price} an hour, while it runs the case, and nothing else"
    return (line(f"{what}; M: million samples."),)


def _merged(reasons: Iterable[str]) -> list[str]:
    """Joins reasons that differ only in their last number: `needs 59, this series has 20 to 45`."""
    numbers: dict[str, list[int]] = {}
    for reason in reasons:
        text = reason.rstrip("0123456789")
        numbers.setdefault(text, []).extend(map(int, filter(None, [reason[len(text) :]])))
    ends = {text: sorted({min(found), max(found)}) if found else [] for text, found in numbers.items()}
    return [text + " to ".join(map(str, found)) for text, found in ends.items()]


def case_table(
    key: str,
    summaries: Sequence[CaseSummary],
    axes: Sequence[str],
    metrics: Sequence[str],
    *,
    note: bool = True,
    notes: tuple[Line, ...] = (),
) -> Table:
    """One row per case. If there is no room, metrics are dropped from the right.

    The first metric has its interval, or the status of a case without figures. `note` adds a last column on what spoils
    or explains the row. Its `narrow` form names cases by label.
    """
    figures = [
        metric_column(name, rank, partial(_figure, name=name, first=rank == 0)) for rank, name in enumerate(metrics)
    ]
    if note:
        figures.append(Column("note", "note", "left", flexible=True, cell=note_text))
    columns = (
        Column("mark", "", "left", cell=mark),
        Column("index", "#", cell=lambda entry: entry.planned.index),
        *(replace(setting_column(name), form="wide") for name in axes),
        Column("label", "case", "left", form="narrow", cell=lambda entry: Cell(entry.label, value=entry.label)),
        *figures,
    )
    return Table.of(key, columns, summaries, notes=notes, tone=tone, case_index=lambda entry: entry.planned.index)


def metric_column(name: str, priority: int, cell: Callable[[Any], Cell] | None = None) -> Column:
    if name == MEMORY:
        return Column(MEMORY, "mem GiB", priority=priority, unit="GiB", cell=cell)
    spec = METRICS[name]
    return Column(name, spec.title, priority=priority, unit=display_unit(spec), cell=cell)


def setting_column(name: str, summary_of: Callable[[Any], CaseSummary] = lambda entry: entry) -> Column:
    """A column with a setting of the row's case."""
    align: Literal["left", "right"] = "right" if is_number(name) else "left"
    return Column(name, title(name), align, cell=lambda item: setting_cell(summary_of(item), name))


def setting_cell(entry: CaseSummary, name: str) -> Cell:
    value = getattr(entry.case, name)
    if name == "batch_size" and value == "max" and entry.effective is not None and entry.effective.batch_size:
        return Cell(f"max {entry.effective.batch_size}", value=entry.effective.batch_size)
    if isinstance(value, bool | int | float | str):
        return _word_cell(name, value)
    return Cell(word(name, value), value=str(value))


@lru_cache(maxsize=4096, typed=True)
def _word_cell(name: str, value: float | str) -> Cell:
    """Shared by all cases with this value, in every table."""
    return Cell(word(name, value), value=value)


def _figure(entry: CaseSummary, name: str, *, first: bool) -> Cell:
    if entry.status is not Status.OK:
        if name == MEMORY and not first and entry.status is Status.OOM:
            # `>79.2`: the device's memory, which was not enough, or else what was held and requested.
            failures = (record.failure for record in entry.records if record.failure is not None)
            sizes = (each.total_bytes or (each.allocated_bytes or 0) + (each.requested_bytes or 0) for each in failures)
            return next((Cell(f">{format_number(size / GIB)}") for size in sizes if size), EMPTY)
        return Cell(status_word(entry)) if first else EMPTY
    if name == MEMORY:
        return metric_cell(memory_metric(entry), entry.metrics)
    return metric_cell(name, entry.metrics, spread=first)


def memory_metric(entry: CaseSummary) -> str:
    return "peak_rss_bytes" if entry.case.device_type == "cpu" else "peak_memory_allocated_bytes"


def _has(entry: CaseSummary, name: str) -> bool:
    return (memory_metric(entry) if name == MEMORY else name) in entry.metrics


def status_word(entry: CaseSummary) -> str:
    return "OOM" if entry.status is Status.OOM else entry.status.value


def mark(entry: CaseSummary) -> str:
    """`-` no valid figure, `!` weakened, `?` not verified, empty if all is well."""
    if entry.status is not Status.OK or entry.validity is Validity.INVALID:
        return "" if entry.status in QUIET else "-"
    if entry.validity is Validity.SUSPECT:
        return "!"
    return "?" if entry.correctness == "unverified" else ""


def tone(entry: CaseSummary) -> Tone:
    if entry.status in QUIET:
        return "muted"
    if entry.status is not Status.OK or entry.validity is Validity.INVALID:
        return "bad"
    return "warning" if entry.validity is Validity.SUSPECT else "plain"


def note_text(entry: CaseSummary) -> str:
    """Why there is no figure, or the marks of the findings, those that affect validity first."""
    if entry.status is not Status.OK:
        return entry.reason or ""
    ranked = sorted(entry.findings, key=lambda found: _RANK[found.effect])
    marks = list(dict.fromkeys(FINDINGS[found.code].mark if found.code in FINDINGS else found.code for found in ranked))
    ended = [entry.reason] if entry.reason else []
    return ", ".join([*ended, *marks])


_RANK = {Effect.INVALIDATES: 0, Effect.WEAKENS: 1, Effect.NONE: 2}


def metrics_section(
    view: View,
    key: str,
    heading: str,
    names: Sequence[str],
    *,
    short: str = "",
    said: Line = (),
    charts: tuple[Chart, ...] = (),
) -> Section:
    """A table of the measured metrics of `names`, for cases that have any; else why there are none."""
    ended = [entry for entry in view.few if entry.status is Status.OK]
    shown = metrics_present(ended, names)
    entries = [entry for entry in ended if any(name in entry.metrics for name in shown)]
    absent = absent_notes(view.summary.cases, names)
    if not shown:
        return Section(key, heading, short=short, lines=absent, charts=charts)
    table = case_table(key, entries, view.axes, shown, note=False, notes=(*view.few_note, *absent))
    return Section(key, heading, short=short, lines=(said,) if said else (), tables=(table,), charts=charts)
