"""Is it right: accuracy of training runs, parity of outputs."""

from collections.abc import Sequence

from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS
from gpubench.core.records import Parity, Quality, Status
from gpubench.core.units import format_duration
from gpubench.report.model.figure_cells import metric_cell, number
from gpubench.report.model.report_model import EMPTY, Cell, Column, Line, Row, Table, Tone, line
from gpubench.report.model.words import joined

_VERDICTS: dict[str, tuple[str, str, Tone]] = {
    "reference": ("", "reference", "plain"),
    "ok": ("", "within the limit", "plain"),
    "drop": ("!", "below the limit", "warning"),
    "unknown": ("?", "not comparable", "muted"),
}
_QUALITY = (
    Column("mark", "", "left"),
    Column("device", "device", "left"),
    Column("precision", "precision", "left"),
    Column("accuracy", "accuracy %", unit="%"),
    Column("difference", "vs reference", priority=1),
    Column("precision_macro", "precision %", priority=4, unit="%"),
    Column("recall_macro", "recall %", priority=3, unit="%"),
    Column("loss", "loss first to last", priority=5),
    Column("to_accuracy", "to target", priority=2),
    Column("steps", "steps", priority=7),
    Column("training", "training", priority=8, unit="s"),
    Column("runs", "runs", priority=9),
    Column("verdict", "verdict", "left", flexible=True),
)
_PARITY = (
    Column("mark", "", "left"),
    Column("device", "device", "left"),
    Column("precision", "precision", "left"),
    Column("passed", "passed", "right"),
    Column("logits", "logits error"),
    Column("limit", "limit"),
    Column("loss", "loss error", priority=1),
    Column("gradient", "gradient error", priority=2),
)


def quality_table(summary: RunSummary) -> Table | None:
    """Accuracy on the test split per device and precision; None without a quality stage."""
    rows = tuple(_quality_row(quality) for quality in summary.quality)
    return (
        Table("quality", _QUALITY, rows, "Training to a result", _quality_notes(summary)).without_empty_columns()
        if rows
        else None
    )


def _quality_row(quality: QualitySummary) -> Row:
    entry = quality.summary
    runs = [record.quality for record in entry.ok_records if record.quality is not None]
    head = (Cell(quality.device), Cell(quality.precision))
    if entry.status is not Status.OK or not runs:
        rest = [EMPTY] * (len(_QUALITY) - 5)
        return Row((EMPTY, *head, Cell(entry.status.value), *rest, Cell(entry.reason or "")), "muted")
    mark, verdict, tone = _VERDICTS[quality.verdict]
    cells = (
        Cell(mark),
        *head,
        metric_cell("accuracy", entry.metrics, spread=True),
        _difference(quality),
        metric_cell("precision_macro", entry.metrics),
        metric_cell("recall_macro", entry.metrics),
        Cell(_loss(runs[0])),
        _time_to_accuracy(entry, runs),
        _steps(entry),
        Cell(format_duration(sum(run.training_time_s for run in runs) / len(runs))),
        Cell(str(len(runs)), value=len(runs)),
        Cell(verdict),
    )
    return Row(cells, tone, entry.planned.index)


def _difference(quality: QualitySummary) -> Cell:
    if quality.difference is None:
        return EMPTY
    points = quality.difference.value * 100
    bound = "" if quality.lower_bound is None else f"(at least {quality.lower_bound * 100:+.1f})"
    # Adding 0 makes of -0.0 a plain one.
    return Cell(f"{round(points, 1) + 0.0:+.1f} points", bound, points)


def _loss(run: Quality) -> str:
    losses = run.loss_per_epoch
    return f"{losses[0]:.3g} to {losses[-1]:.3g}" if losses else f"{run.final_loss:.3g}"


def _time_to_accuracy(entry: CaseSummary, runs: Sequence[Quality]) -> Cell:
    found = entry.metrics.get("time_to_accuracy_s")
    if found is not None:
        return Cell(format_duration(found.value), value=found.value)
    return Cell("not reached") if any(run.target_accuracy is not None for run in runs) else Cell("no target")


def _steps(entry: CaseSummary) -> Cell:
    found = entry.metrics.get("steps_to_accuracy")
    return EMPTY if found is None else Cell(number(found.value, None, METRICS["steps_to_accuracy"]), value=found.value)


def _quality_notes(summary: RunSummary) -> tuple[Line, ...]:
    runs = [record.quality for entry in summary.quality for record in entry.summary.ok_records if record.quality]
    if not runs:
        return ()
    first = runs[0]
    data = summary.quality[0].summary.case.data
    said = (
        f"{data}: {first.num_train} images to train on, {first.num_validation} to choose the learning rate on, "
        f"{first.num_test} to judge on; {first.epochs} epochs. Precision and recall are macro averages over classes."
    )
    notes = [line(said)]
    targets = {run.target_accuracy for run in runs if run.target_accuracy is not None}
    if targets:
        notes.append(
            line(
                f"to target: training time until {joined([f'{target:.1%}' for target in sorted(targets)])} was first reached."
            )
        )
    limit = f"{summary.quality[0].max_drop * 100:g}"
    notes.append(
        line(
            f"Limit: {limit} percentage {'point' if limit == '1' else 'points'} below the reference; a precision below it wins "
            "no headline for training."
        )
    )
    chosen = sorted({f"{run.learning_rate:g}" for run in runs if len(run.learning_rates_tried) > 1})
    return (*notes, *([line(f"Learning rate chosen on the validation split: {joined(chosen)}.")] if chosen else []))


def parity_table(summary: RunSummary) -> Table | None:
    """Outputs on a fixed batch against fp64, per device and precision; None where nothing was checked."""
    groups: dict[tuple[str, str], list[tuple[CaseSummary, Parity]]] = {}
    for entry in summary.cases:
        for parity in (record.parity for record in entry.ok_records if record.parity is not None):
            groups.setdefault((entry.case.device, entry.case.precision), []).append((entry, parity))
    rows = tuple(_parity_row(device, precision, found) for (device, precision), found in groups.items())
    notes = (line("Largest relative L2 error over the cases, on one fixed batch against fp64 on the CPU."),)
    return Table("parity", _PARITY, rows, "Parity of outputs", notes) if rows else None


def _parity_row(device: str, precision: str, found: Sequence[tuple[CaseSummary, Parity]]) -> Row:
    checks = [parity for _, parity in found]
    passed = sum(parity.passed for parity in checks)
    gradients = [parity.gradient_rel_error for parity in checks if parity.gradient_rel_error is not None]
    failed = passed < len(checks)
    cells = (
        Cell("-" if failed else ""),
        Cell(device),
        Cell(precision),
        Cell(f"{passed} of {len(checks)}"),
        _error(max(parity.logits_rel_error for parity in checks)),
        _error(max(parity.logits_limit for parity in checks)),
        _error(max(parity.loss_rel_error for parity in checks)),
        _error(max(gradients)) if gradients else Cell("n/a"),
    )
    return Row(cells, "bad" if failed else "plain")


def _error(value: float) -> Cell:
    return Cell(f"{value:.1e}", value=value)
