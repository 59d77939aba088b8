"""Is it right: accuracy of training runs, time and energy to the target, parity of outputs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.launch_estimates import geometric_estimate
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Parity, Quality, Status
from gpubench.core.units import format_duration, format_percent
from gpubench.report.model.figure_cells import measured_cell, metric_cell, ratio_cell
from gpubench.report.model.report_model import Cell, Chart, Column, Datum, Line, Section, Table, Tone, line, lines
from gpubench.report.model.words import joined, place
from gpubench.report.view.launch_dots import DOTS, LAUNCH, launch_dots
from gpubench.report.view.run_view import QUIET, View

_VERDICTS: dict[str, tuple[str, str, Tone]] = {
    "reference": ("", "reference", "plain"),
    "ok": ("", "within the limit", "plain"),
    "drop": ("!", "below the limit", "warning"),
    "unknown": ("?", "not comparable", "muted"),
}


def section(view: View) -> Section:
    tables = (
        quality_table(view.summary, skipped=view.list_skipped),
        to_accuracy_table(view.summary),
        parity_table(view.summary),
    )
    return Section(
        "accuracy",
        "Accuracy and parity",
        short="Accuracy",
        tables=tuple(table for table in tables if table is not None),
        charts=accuracy_charts(view.summary) if view.charts else (),
    )


def _runs(quality: QualitySummary) -> list[Quality]:
    return [record.quality for record in quality.summary.ok_records if record.quality is not None]


def quality_table(summary: RunSummary, *, skipped: bool = False) -> Table | None:
    """Accuracy on the test split per device and precision; None without a quality stage. `skipped`: those that this
    machine could not run are rows as well.
    """
    shown = [each for each in summary.quality if skipped or each.summary.status not in QUIET]
    if not shown:
        return None
    ended = {id(each): each.summary.status is Status.OK and bool(_runs(each)) for each in summary.quality}

    def figure(get: Callable[[QualitySummary], Cell | str | int | None]) -> Callable[[QualitySummary], Any]:
        """Only a completed training run has figures."""
        return lambda each: get(each) if ended[id(each)] else None

    def accuracy(each: QualitySummary) -> Cell:
        known = ended[id(each)]
        return metric_cell("accuracy", each.summary.metrics, spread=True) if known else Cell(each.summary.status.value)

    def verdict(each: QualitySummary) -> str:
        return _VERDICTS[each.verdict][1] if ended[id(each)] else each.summary.reason or ""

    def loss(each: QualitySummary) -> str:
        first, losses = _runs(each)[0], _runs(each)[0].loss_per_epoch
        return f"{losses[0]:.3g} to {losses[-1]:.3g}" if losses else f"{first.final_loss:.3g}"

    def to_target(each: QualitySummary) -> Cell | str:
        found = each.summary.metrics.get("time_to_accuracy_s")
        if found is not None:
            return Cell(format_duration(found.value), value=found.value)
        return "not reached" if any(run.target_accuracy is not None for run in _runs(each)) else "no target"

    def steps(each: QualitySummary) -> Cell:
        return measured_cell("steps_to_accuracy", each.summary.metrics)

    def training(each: QualitySummary) -> str:
        return format_duration(sum(run.training_time_s for run in _runs(each)) / len(_runs(each)))

    def of(name: str) -> Callable[[QualitySummary], Any]:
        return figure(lambda each: metric_cell(name, each.summary.metrics))

    columns = (
        Column("mark", "", "left", cell=figure(lambda each: _VERDICTS[each.verdict][0])),
        Column("device", "device", "left", cell=lambda each: each.device),
        Column("precision", "precision", "left", cell=lambda each: each.precision),
        Column("accuracy", "accuracy %", unit="%", cell=accuracy),
        Column("difference", "vs reference", priority=1, cell=figure(_difference)),
        Column("precision_macro", "precision %", priority=4, unit="%", cell=of("precision_macro")),
        Column("recall_macro", "recall %", priority=3, unit="%", cell=of("recall_macro")),
        Column("loss", "loss first to last", priority=5, cell=figure(loss)),
        Column("to_accuracy", "to target", priority=2, cell=figure(to_target)),
        Column("steps", "steps", priority=7, cell=figure(steps)),
        Column("training", "training", priority=8, unit="s", cell=figure(training)),
        Column("runs", "runs", priority=9, cell=figure(lambda each: len(_runs(each)))),
        Column("verdict", "verdict", "left", flexible=True, cell=verdict),
    )
    return Table.of(
        "quality",
        columns,
        shown,
        title="Accuracy runs",
        notes=_quality_notes(summary),
        tone=lambda each: _VERDICTS[each.verdict][2] if ended[id(each)] else "muted",
        case_index=lambda each: each.summary.planned.index if ended[id(each)] else None,
    ).without_empty_columns()


def _difference(quality: QualitySummary) -> Cell | None:
    if quality.difference is None:
        return None
    points = quality.difference.value * 100
    bound = "" if quality.lower_bound is None else f"(at least {quality.lower_bound * 100:+.1f})"
    # Adding 0 turns -0.0 into 0.0.
    return Cell(f"{round(points, 1) + 0.0:+.1f} points", bound, points)


def _quality_notes(summary: RunSummary) -> tuple[Line, ...]:
    runs = [run for quality in summary.quality for run in _runs(quality)]
    if not runs:
        return ()
    first, limit = runs[0], f"{summary.quality[0].max_drop * 100:g}"
    targets = joined(
        [f"{target:.1%}" for target in sorted({run.target_accuracy for run in runs if run.target_accuracy})]
    )
    chosen = joined(sorted({f"{run.learning_rate:g}" for run in runs if len(run.learning_rates_tried) > 1}))
    return lines(
        f"{summary.quality[0].summary.case.data}: {first.num_train} images to train on, {first.num_validation} to "
        f"choose the learning rate on, {first.num_test} to test on; {first.epochs} epochs. Precision and recall are "
        "macro averages over classes.",
        f"to target: training time until {targets} was first reached." if targets else "",
        f"Limit: {limit} percentage {'point' if limit == '1' else 'points'} below the reference; a precision below it "
        "is never called best for training.",
        f"Learning rate chosen on the validation split: {chosen}." if chosen else "",
    )


def parity_table(summary: RunSummary) -> Table | None:
    """Outputs on a fixed batch against fp64, per device and precision; None if nothing was checked."""
    groups: dict[tuple[str, str], list[Parity]] = {}
    for entry in summary.cases:
        for parity in (record.parity for record in entry.ok_records if record.parity is not None):
            groups.setdefault((entry.case.device, entry.case.precision), []).append(parity)
    if not groups:
        return None

    def largest(name: str) -> Callable[[Any], Cell]:
        def cell(item: tuple[tuple[str, str], list[Parity]]) -> Cell:
            known = [value for parity in item[1] if (value := getattr(parity, name)) is not None]
            return Cell(f"{max(known):.1e}", value=max(known)) if known else Cell("n/a")

        return cell

    columns = (
        Column("mark", "", "left", cell=lambda item: "" if all(each.passed for each in item[1]) else "-"),
        Column("device", "device", "left", cell=lambda item: item[0][0]),
        Column("precision", "precision", "left", cell=lambda item: item[0][1]),
        Column("passed", "passed", cell=lambda item: f"{sum(each.passed for each in item[1])} of {len(item[1])}"),
        Column("logits", "logits error", cell=largest("logits_rel_error")),
        Column("limit", "limit", cell=largest("logits_limit")),
        Column("loss", "loss error", priority=1, cell=largest("loss_rel_error")),
        Column("gradient", "gradient error", priority=2, cell=largest("gradient_rel_error")),
    )
    return Table.of(
        "parity",
        columns,
        groups.items(),
        title="Parity of outputs",
        notes=(line("Largest relative L2 error over the cases, on one fixed batch against fp64 on the CPU."),),
        tone=lambda item: "plain" if all(each.passed for each in item[1]) else "bad",
    )


def to_accuracy_table(summary: RunSummary) -> Table | None:
    """A row per accuracy run with a target; None without any."""
    targeted = {id(each): [run for run in _runs(each) if run.target_accuracy is not None] for each in summary.quality}
    shown = [each for each in summary.quality if targeted[id(each)]]
    if not shown:
        return None

    def reached(each: QualitySummary) -> tuple[int, int]:
        runs = targeted[id(each)]
        return sum(run.time_to_accuracy_s is not None for run in runs), len(runs)

    def short(each: QualitySummary) -> bool:
        return reached(each)[0] < reached(each)[1]

    def figure(name: str, *, spread: bool = False) -> Callable[[QualitySummary], Cell]:
        return lambda each: measured_cell(name, each.summary.metrics, spread=spread)

    columns = (
        Column("mark", "", "left", cell=lambda each: "!" if short(each) else ""),
        Column("device", "device", "left", cell=lambda each: each.device),
        Column("precision", "precision", "left", cell=lambda each: each.precision),
        Column("reached", "reached", cell=lambda each: Cell("{} of {}".format(*reached(each)), value=reached(each)[0])),
        Column("time_to_accuracy_s", "to accuracy s", unit="s", cell=figure("time_to_accuracy_s", spread=True)),
        Column("speed", "vs reference", priority=1, cell=_times_sooner),
        Column("steps_to_accuracy", "steps", priority=3, cell=figure("steps_to_accuracy")),
        Column(
            "energy_to_accuracy_j",
            "to accuracy J",
            priority=1,
            unit="J",
            cell=figure("energy_to_accuracy_j", spread=True),
        ),
        Column("mean_power_w", "W", priority=4, unit="W", cell=figure("mean_power_w")),
        Column("accuracy", "then on test %", priority=2, unit="%", cell=figure("accuracy", spread=True)),
    )
    target = targeted[id(shown[0])][0].target_accuracy
    assert target is not None, "runs without a target have no row"
    notes = lines(
        f"Target: {format_percent(target, decimals=0)} of the validation split, checked after every epoch. Time is "
        "that of training alone; joules are of the device from the first step to the end of the epoch that reached "
        "it, validation included. Intervals over seeds.",
        "Trainings that were too short for a valid energy figure were repeated: joules are the mean of one."
        if any(run.trainings_in_window > 1 for runs in targeted.values() for run in runs)
        else "",
        "! some seeds did not reach it: time, steps and joules are of those that did."
        if any(map(short, shown))
        else "",
    )
    return Table.of(
        "to-accuracy",
        columns,
        shown,
        title="Time and energy to the target",
        notes=notes,
        tone=lambda each: "warning" if short(each) else "plain",
        case_index=lambda each: each.summary.planned.index,
    ).without_empty_columns()


def _times_sooner(quality: QualitySummary) -> Cell | None:
    """The reference's time to the target over this one's, for seeds that reached it on both sides."""
    if quality.reference is None or quality.reference is quality.summary:
        return None
    ours, theirs = (each.launch_values("time_to_accuracy_s") for each in (quality.summary, quality.reference))
    logs = [math.log(theirs[seed] / ours[seed]) for seed in ours if seed in theirs]
    return ratio_cell(geometric_estimate(logs, "1")) if logs else None


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
        name, dots = _name(entry, several), launch_dots(entry.summary, "accuracy", 100)
        rows.append((name, *values, entry.precision, standing, entry.verdict))
        rows += [(name, value, None, None, entry.precision, LAUNCH, launch) for launch, value in dots]
    limits = {
        round((entry.reference.metrics["accuracy"].value - entry.max_drop) * 100, 3)
        for entry in known
        if entry.reference is not None and "accuracy" in entry.reference.metrics
    }
    limit = limits.pop() if len(limits) == 1 else None
    beyond = "" if limit is None else " Left of the rule is worse than the suite allows; a mark there is hollow."
    return Chart(
        key="accuracy",
        form="dots",
        title=finding,
        reading=(
            "Each mark is the test accuracy reached at one precision, with its 95 % interval over seeds where there "
            f"are several. {DOTS}{beyond}"
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
    runs = _series(known, lambda run: run.loss_per_epoch)
    if not runs:
        return None
    name, losses = min(runs, key=lambda each: each[1][-1])
    finding = f"Training loss ends at {losses[-1]:.2g}" + (
        f" at its lowest, with {name}" if len(runs) > 1 else f", {name}"
    )
    positive = all(loss > 0 for _, losses in runs for loss in losses)
    return _curve("loss", finding, "loss", "mean training loss", runs, {"y_scale": "log" if positive else "linear"})


def _learning(known: Sequence[QualitySummary]) -> Chart | None:
    runs = _series(known, lambda run: tuple(share * 100 for share in run.validation_score_per_epoch))
    if not runs:
        return None
    first = {
        name: next(epoch for epoch, value in enumerate(found, 1) if value >= max(found) - 1) for name, found in runs
    }
    epoch = min(first.values())
    early = [name for name, reached in first.items() if reached == epoch]
    are = "is first within a point of its" if len(early) == 1 else "are first within a point of their"
    every = len(early) == len(first) > 1
    leads = "Every precision is within a point of its" if every else f"{joined(early)} {are}"
    finding = f"{leads} best validation accuracy, in epoch {epoch}"
    return _curve(
        "learning", finding, "validation accuracy %", "accuracy on the validation split", runs, {"zero": False}
    )


def _series(
    known: Sequence[QualitySummary], series: Callable[[Quality], Sequence[float]]
) -> list[tuple[str, Sequence[float]]]:
    """(name, values per epoch) of the first run of each entry that has two epochs or more."""
    several = len({entry.device for entry in known}) > 1
    found = [(_name(entry, several), runs[0]) for entry in known if (runs := _runs(entry))]
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
        reading=(
            f"Each line is the {what} after each epoch, trained at one precision; lines that lie together learn alike."
        ),
        alt=f"Line chart of the {what} by epoch and precision. {finding}.",
        columns=("precision", "epoch", title, "low", "high", "line", "standing", "other settings"),
        rows=tuple(rows),
        options={"x_scale": "linear", **options},
    )
