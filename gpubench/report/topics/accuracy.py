"""Is it right: accuracy of training runs, parity of outputs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.launch_estimates import geometric_estimate
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate, Parity, Quality, Status
from gpubench.core.units import format_duration, format_percent
from gpubench.report.model.figure_cells import metric_cell, number, ratio_cell
from gpubench.report.model.report_model import EMPTY, Cell, Chart, Column, Datum, Line, Row, Section, Table, Tone, line
from gpubench.report.model.words import joined, place
from gpubench.report.view.run_view import View

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


_TIME, _STEPS, _ENERGY = "time_to_accuracy_s", "steps_to_accuracy", "energy_to_accuracy_j"
_TO_ACCURACY = (
    Column("mark", "", "left"),
    Column("device", "device", "left"),
    Column("precision", "precision", "left"),
    Column("reached", "reached"),
    Column(_TIME, "to accuracy s", unit="s"),
    Column("speed", "vs reference", priority=1),
    Column(_STEPS, "steps", priority=3),
    Column(_ENERGY, "to accuracy J", priority=1, unit="J"),
    Column("mean_power_w", "W", priority=4, unit="W"),
    Column("accuracy", "then on test %", priority=2, unit="%"),
)


def to_accuracy_table(summary: RunSummary) -> Table | None:
    """A row per training to a result that had a target; None without any."""
    known = [(entry, runs) for entry in summary.quality if (runs := _targeted(entry.summary))]
    if not known:
        return None
    rows = tuple(_to_accuracy_row(entry, runs) for entry, runs in known)
    return Table(
        "to-accuracy", _TO_ACCURACY, rows, "Time and energy to the target", _to_accuracy_notes(known[0][1], rows)
    ).without_empty_columns()


def _targeted(entry: CaseSummary) -> list[Quality]:
    runs = [record.quality for record in entry.ok_records if record.quality is not None]
    return [run for run in runs if run.target_accuracy is not None]


def _to_accuracy_row(quality: QualitySummary, runs: Sequence[Quality]) -> Row:
    entry = quality.summary
    reached = sum(run.time_to_accuracy_s is not None for run in runs)
    cells = (
        Cell("" if reached == len(runs) else "!"),
        Cell(quality.device),
        Cell(quality.precision),
        Cell(f"{reached} of {len(runs)}", value=reached),
        _figure(_TIME, entry, spread=True),
        ratio_cell(_times_sooner(quality)),
        *(_figure(name, entry, spread=name == _ENERGY) for name in (_STEPS, _ENERGY, "mean_power_w")),
        _figure("accuracy", entry, spread=True),
    )
    return Row(cells, "plain" if reached == len(runs) else "warning", entry.planned.index)


def _figure(name: str, entry: CaseSummary, *, spread: bool) -> Cell:
    return metric_cell(name, entry.metrics, spread=spread) if name in entry.metrics else EMPTY


def _times_sooner(quality: QualitySummary) -> Estimate | None:
    """How many times sooner than the reference, over the seeds that reached the target on both sides."""
    if quality.reference is None or quality.reference is quality.summary:
        return None
    ours, theirs = (each.launch_values(_TIME) for each in (quality.summary, quality.reference))
    logs = [math.log(theirs[seed] / ours[seed]) for seed in ours if seed in theirs]
    return geometric_estimate(logs, "1") if logs else None


def _to_accuracy_notes(runs: Sequence[Quality], rows: Sequence[Row]) -> tuple[Line, ...]:
    target = runs[0].target_accuracy
    assert target is not None, "runs without a target have no row"
    told = (
        f"Target: {format_percent(target, decimals=0)} of the validation split, looked at after every epoch. Time is that of training "
        "alone; joules are of the device from the first step to the end of the epoch that reached it, validation included. "
        "Intervals over seeds."
    )
    short = any(row.cells[0].text for row in rows)
    note = line("! some seeds did not reach it: time, steps and joules are of those that did.")
    return (line(told), note) if short else (line(told),)


def accuracy_charts(summary: RunSummary) -> tuple[Chart, ...]:
    """Accuracy per device and precision with the limit, then loss per epoch of each; none without a quality stage."""
    known = [entry for entry in summary.quality if "accuracy" in entry.summary.metrics]
    if not known:
        return ()
    curves = (_loss_chart(known), _learning(known))
    return (_accuracy(known), *(chart for chart in curves if chart is not None))


def _name(entry: QualitySummary, several: bool) -> str:
    return f"{entry.precision} on {place(entry.device)}" if several else entry.precision


def _accuracy(known: Sequence[QualitySummary]) -> Chart:
    several = len({entry.device for entry in known}) > 1
    finding = _finding(known, several=several)
    rows: list[tuple[Datum, ...]] = []
    for entry in known:
        found = entry.summary.metrics["accuracy"]
        values = [None if value is None else value * 100 for value in (found.value, found.low, found.high)]
        standing = "suspect" if entry.verdict == "drop" else "valid"
        rows.append((_name(entry, several), *values, entry.precision, standing, entry.verdict))
    limits = {
        round((entry.reference.metrics["accuracy"].value - entry.max_drop) * 100, 3)
        for entry in known
        if entry.reference is not None and "accuracy" in entry.reference.metrics
    }
    limit = limits.pop() if len(limits) == 1 else None
    return Chart(
        key="accuracy",
        form="dots",
        title=finding,
        reading=(
            "Each mark is the test accuracy reached at one precision, with its 95 % interval over seeds where there are several."
            f"{' Left of the rule is worse than the suite allows; a mark there is hollow.' if limit is not None else ''}"
        ),
        alt=f"Dot chart of test accuracy by precision. {finding}.",
        columns=("trained at", "accuracy %", "low", "high", "precision", "standing", "verdict"),
        rows=tuple(rows),
        options={"x_title": "test accuracy, %", "limit": limit, "limit_label": "least allowed"},
    )


def _finding(known: Sequence[QualitySummary], *, several: bool) -> str:
    dropped = [entry for entry in known if entry.verdict == "drop"]
    values = [entry.summary.metrics["accuracy"].value * 100 for entry in known]
    if dropped:
        names = joined(
            [f"{_name(entry, several)} ({entry.summary.metrics['accuracy'].value * 100:.1f} %)" for entry in dropped]
        )
        return f"Accuracy falls below what the suite allows with {names}"
    if len(known) == 1:
        return f"{_name(known[0], several)} reaches {values[0]:.1f} % test accuracy"
    low, high = (f"{value:.1f}" for value in (min(values), max(values)))
    if low == high:
        return f"Test accuracy is {low} % at every precision"
    return (
        f"Test accuracy lies within {max(values) - min(values):.1f} points at every precision, from {low} to {high} %"
    )


def _loss_chart(known: Sequence[QualitySummary]) -> Chart | None:
    runs = _runs(known, lambda run: run.loss_per_epoch)
    if not runs:
        return None
    name, losses = min(runs, key=lambda each: each[1][-1])
    finding = f"Training loss ends at {losses[-1]:.2g}" + (
        f" at its lowest, with {name}" if len(runs) > 1 else f", {name}"
    )
    positive = all(loss > 0 for _, losses in runs for loss in losses)
    return _curve("loss", finding, "loss", "mean training loss", runs, {"y_scale": "log" if positive else "linear"})


def _learning(known: Sequence[QualitySummary]) -> Chart | None:
    runs = _runs(known, lambda run: tuple(share * 100 for share in run.validation_accuracy_per_epoch))
    if not runs:
        return None
    first = {
        name: next(epoch for epoch, value in enumerate(found, 1) if value >= max(found) - 1) for name, found in runs
    }
    epoch = min(first.values())
    early = [name for name, reached in first.items() if reached == epoch]
    finding = f"{_who(early, len(first))} best validation accuracy, in epoch {epoch}"
    return _curve(
        "learning", finding, "validation accuracy %", "accuracy on the validation split", runs, {"zero": False}
    )


def _who(early: Sequence[str], num_all: int) -> str:
    """Who was first, of so many."""
    if len(early) == num_all > 1:
        return "Every precision is within a point of its"
    return f"{joined(early)} {'is first within a point of its' if len(early) == 1 else 'are first within a point of their'}"


def _runs(
    known: Sequence[QualitySummary], series: Callable[[Quality], Sequence[float]]
) -> list[tuple[str, Sequence[float]]]:
    """(name, values per epoch) of the first run of each entry that has two epochs or more."""
    several = len({entry.device for entry in known}) > 1
    found = [(_name(entry, several), run) for entry in known if (run := _first(entry)) is not None]
    return [(name, series(run)) for name, run in found if len(series(run)) > 1]


def _curve(
    key: str, finding: str, title: str, what: str, runs: Sequence[tuple[str, Sequence[float]]], options: dict[str, Any]
) -> Chart:
    rows: list[tuple[Datum, ...]] = []
    for name, values in runs:
        precision, _, where = name.partition(" on ")
        rows += [
            (precision, epoch, value, None, None, where, "valid", "") for epoch, value in enumerate(values, start=1)
        ]
    return Chart(
        key=key,
        form="lines",
        title=finding,
        reading=f"Each line is the {what} after each epoch, trained at one precision; lines that lie together learn alike.",
        alt=f"Line chart of the {what} by epoch and precision. {finding}.",
        columns=("precision", "epoch", title, "low", "high", "line", "standing", "other settings"),
        rows=tuple(rows),
        options={"x_scale": "linear", **options},
    )


def _first(entry: QualitySummary) -> Quality | None:
    found = (record.quality for record in entry.summary.records if record.status is Status.OK and record.quality)
    return next(found, None)


def section(view: View) -> Section:
    tables = (quality_table(view.summary), to_accuracy_table(view.summary), parity_table(view.summary))
    return Section(
        "accuracy",
        "Accuracy and parity",
        short="Accuracy",
        tables=tuple(table for table in tables if table is not None),
        charts=accuracy_charts(view.summary) if view.charts else (),
    )
