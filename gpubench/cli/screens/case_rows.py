"""The growing table of a run: columns are laid out once, from the plan; each finished case adds a row."""

from collections.abc import Sequence
from dataclasses import replace

from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.run_summary import summarise_case
from gpubench.core.records import Record, Status
from gpubench.report.model.figure_cells import metric_cell
from gpubench.report.model.inert_text import inert
from gpubench.report.model.report_model import Cell, Row, Table, Tone
from gpubench.report.render.layout import fit, header, row_lines
from gpubench.report.view.case_tables import MEMORY, case_table
from gpubench.report.view.scores import score_text
from gpubench.store.run_info import PlannedCase, RunInfo
from gpubench.suite.cases.labels import varying

# Room for figures that are not known yet; a wider one breaks the alignment of its row, but is never cut.
_ROOM = {
    "throughput": "000 000 ±00.0%",
    "latency_s": "000.00 ±00.0%",
    "step_time_s": "000.00",
    MEMORY: "00.000",
    "energy_per_sample_j": "0.00000",
    "note": "outliers, drifts",
    "mark": "!",
}


class CaseRows:
    """Header and rows for a width in characters."""

    def __init__(self, info: RunInfo, width: int) -> None:
        planned = [entry for entry in info.cases if entry.kind == "measure" and entry.skip_status is None]
        summaries = [summarise_case(entry, ()) for entry in planned]
        self.axes = varying(entry.case for entry in summaries)
        timings = {entry.case.timing for entry in summaries}
        lead = [name for name, timing in (("throughput", "throughput"), ("latency_s", "latency")) if timing in timings]
        rest = [*(["step_time_s"] if "throughput" in timings else []), MEMORY]
        rest += ["energy_per_sample_j"] if info.environment.get("gpus") else []
        self.metrics = (*(lead or ["throughput"]), *rest)
        table = case_table("live", summaries, self.axes, self.metrics)
        assert table.narrow is not None
        bare = fit(_with_room(table), 0)
        self.narrow = sum(bare.widths) + 2 * (len(bare.widths) - 1) > width
        self.table = _with_room(table.narrow if self.narrow else table)
        self.fitted = fit(self.table, width)
        if self.fitted.columns and self.table.columns[self.fitted.columns[-1]].flexible:
            # The last column, with the reason why a case has no figures, takes the rest of the width.
            *before, last = self.fitted.widths
            spare = width - sum(before) - last - 2 * len(before)
            self.fitted = replace(self.fitted, widths=(*before, last + max(0, spare)))

    @property
    def left_out(self) -> tuple[str, ...]:
        return self.fitted.left_out

    def header(self) -> str:
        return header(self.table, self.fitted)

    def row(self, planned: PlannedCase, records: Sequence[Record]) -> tuple[list[str], Tone]:
        """The lines of a finished case, and their tone."""
        entry = summarise_case(planned, records)
        table = case_table("live", [entry], self.axes, self.metrics)
        found = (table.narrow if self.narrow and table.narrow else table).rows[0]
        return row_lines(self.table, found, self.fitted), found.tone


def _with_room(table: Table) -> Table:
    room = Row(tuple(Cell(_ROOM.get(column.key, "")) for column in table.columns))
    # The placeholder of an unfinished case must not widen its columns.
    blank = []
    for row in table.rows:
        pairs = zip(table.columns, row.cells, strict=True)
        blank.append(replace(row, cells=tuple(Cell("") if column.key in _ROOM else cell for column, cell in pairs)))
    return replace(table, rows=(room, *blank))


def launch_text(planned: PlannedCase, record: Record) -> str:
    """How one launch ended, in a few words: `2 894 samples/s`, `OOM`, `97.4% accuracy`."""
    if record.status is not Status.OK:
        word = "OOM" if record.status is Status.OOM else record.status.value
        return f"{word}: {inert(record.reason)}" if record.reason else word
    entry = summarise_case(planned, (record,))
    for name, unit in (("latency_s", "ms"), ("throughput", "samples/s")):
        if name in entry.metrics:
            return f"{metric_cell(name, entry.metrics).text} {unit}"
    trained = QualitySummary(entry, None, "unknown", 0.0)
    return "ok" if trained.score is None else f"{score_text(trained)} {trained.spec.title}"
