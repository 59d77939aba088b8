"""What a variant gains and loses: a compressed model against the plain one, a framework against the plain loop."""

from collections.abc import Sequence

from gpubench.analysis.insight.best_settings import SpeedRatio, compared
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import Status
from gpubench.core.units import format_percent
from gpubench.report.model.figure_cells import measured_cell, metric_cell, ratio_cell
from gpubench.report.model.report_model import Cell, Column, Line, Section, Table, line, lines
from gpubench.report.model.words import joined, place
from gpubench.report.view.case_tables import MEMORY, mark, memory_metric, metric_column, setting_column, tone
from gpubench.report.view.run_view import View
from gpubench.report.view.scores import score_text, trained_at

_STEP = "step_time_s"
_NAMED = ("workload", "device", "precision", "batch_size")


def compression_section(view: View) -> Section:
    """Empty unless some case has a compressed model."""
    entries = [entry for entry in view.summary.cases if entry.status is Status.OK]
    if all(entry.case.compress == "none" for entry in entries):
        return Section("compression", "Compression")
    shown = sorted(entries, key=lambda entry: entry.case.compress != "none")
    groups: dict[str, list[CaseSummary]] = {}
    for entry in shown:
        groups.setdefault(_key(entry), []).append(entry)
    rows = [entry for group in groups.values() if len(group) > 1 for entry in group]
    ratios = {
        id(entry): found
        for group in groups.values()
        for entry in group[1:]
        if group[0].case.compress == "none" and (found := compared(entry, group[0])) is not None
    }
    return Section("compression", "Compression", tables=(_compression_table(view, rows, ratios),) if rows else ())


def _key(entry: CaseSummary, varied: str = "compress") -> str:
    """Cases that differ in nothing but `varied`."""
    return repr({name: value for name, value in entry.case.settings.items() if name != varied})


def _against(found: SpeedRatio | None) -> Cell | None:
    if found is None:
        return None
    cell = ratio_cell(found.ratio)
    return cell._replace(spread=f"{cell.spread} {found.verdict}".strip())


def _compression_table(view: View, rows: Sequence[CaseSummary], ratios: dict[int, SpeedRatio]) -> Table:
    plain = {_key(entry): entry.metrics.get("model_bytes") for entry in rows if entry.case.compress == "none"}
    lead = rows[0].speed_metric

    def size(entry: CaseSummary) -> Cell:
        before, held = plain.get(_key(entry)), entry.metrics.get("model_bytes")
        cell = measured_cell("model_bytes", entry.metrics)
        if before is None or held is None or entry.case.compress == "none":
            return cell
        return cell._replace(spread=f"({held.value / before.value:.2f}x)")

    def changed(entry: CaseSummary) -> Cell | None:
        read = {} if entry.effective is None else entry.effective.extra.get("compressed") or {}
        share = read.get("share_of_weights")
        return None if not share else Cell(format_percent(share, decimals=0), value=share)

    def score(entry: CaseSummary) -> str | None:
        trained = trained_at(entry, view.summary.quality)
        return None if trained is None else f"{trained.spec.title} {score_text(trained)}"

    def lost(entry: CaseSummary) -> str | None:
        trained = trained_at(entry, view.summary.quality)
        found = None if trained is None else trained.difference
        return None if found is None else f"{found.value * 100 + 0.0:+.1f} points"

    told = [name for name in _NAMED if len({getattr(entry.case, name) for entry in rows}) > 1]
    columns = (
        Column("mark", "", "left", cell=mark),
        *(setting_column(name) for name in (*told, "compress")),
        metric_column(lead, 0, lambda entry: metric_cell(lead, entry.metrics, spread=True)),
        Column("against", "vs plain", priority=1, cell=lambda entry: _against(ratios.get(id(entry)))),
        Column("model_bytes", "model MiB", priority=1, unit="MiB", cell=size),
        Column("changed", "of weights", priority=4, cell=changed),
        metric_column(MEMORY, 3, lambda entry: metric_cell(memory_metric(entry), entry.metrics)),
        Column("score", "score", "left", priority=0, cell=score),
        Column("lost", "vs reference", priority=2, cell=lost),
    )
    return Table.of(
        "compression", columns, rows, notes=_notes(rows), tone=tone, case_index=lambda entry: entry.planned.index
    ).without_empty_columns()


def _notes(rows: Sequence[CaseSummary]) -> tuple[Line, ...]:
    kinds = {entry.case.compress for entry in rows}
    where = sorted({place(entry.case.device) for entry in rows})
    return (
        *lines(
            "vs plain: times as fast as the plain model, in turns where they met in a contest; model: parameters and "
            "buffers as they are held; of weights: the share that was changed, read from the model that ran.",
            "int8 is for linear layers; convolutions stay as they are."
            if kinds & {"int8-weight", "int8-dynamic"}
            else "",
            f"prune-50: ordinary kernels on {joined(where)} multiply zeros like any other number, so no time and no "
            "memory is saved; only a file that is packed gets smaller."
            if "prune-50" in kinds
            else "",
        ),
        line("The score is that of the trained model after it was compressed; a pruned one was trained further first."),
    )


def frameworks_section(view: View) -> Section:
    """Empty unless some case runs in a framework beside the plain loop."""
    entries = [entry for entry in view.summary.cases if entry.status is Status.OK]
    others = {_key(entry, "framework") for entry in entries if entry.case.framework != "loop"}
    if not others:
        return Section("frameworks", "Frameworks")
    loops = {_key(entry, "framework"): entry for entry in entries if entry.case.framework == "loop"}
    rows = [entry for entry in entries if _key(entry, "framework") in others & loops.keys()]
    rows.sort(key=lambda entry: (_key(entry, "framework"), entry.planned.index))
    return Section("frameworks", "Frameworks", tables=(_frameworks_table(rows, loops),) if rows else ())


def _frameworks_table(rows: list[CaseSummary], loops: dict[str, CaseSummary]) -> Table:
    def added(entry: CaseSummary) -> Cell | None:
        step, plain = entry.metrics.get(_STEP), loops[_key(entry, "framework")].metrics.get(_STEP)
        if step is None or plain is None or entry.case.framework == "loop":
            return None
        added_ms = (step.value - plain.value) * 1e3
        return Cell(f"{added_ms:+.2f}", value=added_ms)

    def against(entry: CaseSummary) -> Cell | None:
        plain = loops[_key(entry, "framework")]
        return None if entry is plain else _against(compared(entry, plain))

    names = ("workload", "mode", "device", "precision", "batch_size")
    told = [name for name in names if len({getattr(entry.case, name) for entry in rows}) > 1]
    columns = (
        Column("mark", "", "left", cell=mark),
        *(setting_column(name) for name in (*told, "framework")),
        metric_column(_STEP, 0, lambda entry: metric_cell(_STEP, entry.metrics, spread=True)),
        Column("added", "adds ms", priority=1, unit="ms", cell=added),
        Column("against", "vs loop", priority=1, cell=against),
    )
    notes = lines(
        "adds: to the median step of the plain loop, over launches; vs loop: times as fast, in turns where they met in "
        "a contest, which may use fewer threads."
    )
    return Table.of(
        "frameworks", columns, rows, notes=notes, tone=tone, case_index=lambda entry: entry.planned.index
    ).without_empty_columns()
