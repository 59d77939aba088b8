"""Test accuracy by precision, and the loss on the way there."""

from collections.abc import Callable, Sequence
from typing import Any

from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Quality, Status
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.words import joined, place


def accuracy_charts(summary: RunSummary) -> tuple[Chart, ...]:
    """Accuracy per device and precision with the limit, then loss per epoch of each; none without a quality stage."""
    known = [entry for entry in summary.quality if "accuracy" in entry.summary.metrics]
    if not known:
        return ()
    curves = (_loss(known), _learning(known))
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


def _loss(known: Sequence[QualitySummary]) -> Chart | None:
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
