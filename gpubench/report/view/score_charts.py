"""Charts of quality runs: the score of each precision with its limit, the loss and the score after every epoch."""

from collections.abc import Callable, Sequence
from typing import Any

from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import MetricSpec
from gpubench.core.records import Quality
from gpubench.report.model.figure_cells import display_unit
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.words import joined, place
from gpubench.report.view.contests import DOTS, LAUNCH, launch_dots
from gpubench.report.view.scores import best_trivial, by_task, capital, direction, spec_of, task_key, unit_title
from gpubench.suite.cases.expand import ACCURACY_FOLLOWS
from gpubench.suite.cases.labels import short_word, varying


def accuracy_charts(summary: RunSummary) -> tuple[Chart, ...]:
    """Per task: its score with the limit, then loss and score per epoch; none without a quality stage."""
    tasks = by_task(entry for entry in summary.quality if entry.score is not None)
    made = (_Task(workload, known, len(tasks) > 1).charts() for workload, known in tasks.items())
    return tuple(chart for charts in made for chart in charts)


class _Task:
    def __init__(self, workload: str, known: Sequence[QualitySummary], several: bool) -> None:
        self._workload, self._known, self._several = workload, known, several
        self._spec: MetricSpec = spec_of(known)
        self._factor, self._unit = self._spec.display_factor, display_unit(self._spec)
        differ = varying(entry.summary.case for entry in known)
        self._told = [name for name in differ if name in ACCURACY_FOLLOWS and name not in ("precision", "device")]
        self._devices = len({entry.device for entry in known}) > 1

    def charts(self) -> tuple[Chart, ...]:
        curves = (self._loss(), self._learning())
        return (self._scores(), *(chart for chart in curves if chart is not None))

    def _name(self, entry: QualitySummary) -> str:
        words = [short_word(name, getattr(entry.summary.case, name)) for name in self._told]
        named = " ".join([entry.precision, *words])
        return f"{named} on {place(entry.device)}" if self._devices else named

    def _value(self, entry: QualitySummary) -> float:
        assert entry.score is not None, "only runs with a score are charted"
        return entry.score.value * self._factor

    def _in(self, key: str) -> str:
        return task_key(key, self._workload, several=self._several)

    def _titled(self, finding: str) -> str:
        return f"{self._workload}: {finding}" if self._several else finding

    def _scores(self) -> Chart:
        spec, finding = self._spec, self._titled(self._finding())
        rows: list[tuple[Datum, ...]] = []
        for entry in self._known:
            found = entry.score
            assert found is not None, "only runs with a score are charted"
            values = [None if value is None else value * self._factor for value in (found.value, found.low, found.high)]
            standing = "suspect" if entry.verdict == "drop" else "valid"
            name, dots = self._name(entry), launch_dots(entry.summary, entry.metric, self._factor)
            rows.append((name, *values, entry.precision, standing, entry.verdict))
            rows += [(name, value, None, None, entry.precision, LAUNCH, launch) for launch, value in dots]
        limit, side = self._limit(), "Right" if spec.better == "lower" else "Left"
        beyond = "" if limit is None else f" {side} of the rule is worse than the suite allows; a mark there is hollow."
        trivial = best_trivial(self._known[0])
        beside = f" The best trivial answer: {trivial}." if trivial else ""
        return Chart(
            key=self._in("accuracy"),
            form="dots",
            title=finding,
            reading=(
                f"Each mark is the test {spec.title} reached at one precision ({direction(spec)}), with its 95 % "
                f"interval over seeds where there are several. {DOTS}{beyond}{beside}"
            ),
            alt=f"Dot chart of test {spec.title} by precision. {finding}.",
            columns=("trained at", unit_title(spec), "low", "high", "precision", "standing", "verdict"),
            rows=tuple(rows),
            options={
                "x_title": f"test {spec.title}{f', {self._unit}' if self._unit else ''}",
                "limit": limit,
                "limit_label": "most allowed" if spec.better == "lower" else "least allowed",
            },
        )

    def _limit(self) -> float | None:
        """The worst score that the suite allows, if it is the same for all."""
        sign = -1 if self._spec.better == "lower" else 1
        references = (
            (entry.reference.metrics[entry.metric].value, entry.max_drop)
            for entry in self._known
            if entry.reference is not None and entry.metric in entry.reference.metrics
        )
        limits = {round((value - sign * drop) * self._factor, 3) for value, drop in references}
        return limits.pop() if len(limits) == 1 else None

    def _finding(self) -> str:
        spec, unit = self._spec, f" {self._unit}".rstrip()
        dropped = [entry for entry in self._known if entry.verdict == "drop"]
        if dropped:
            names = joined([f"{self._name(entry)} ({self._value(entry):.1f}{unit})" for entry in dropped])
            moves = "rises above" if spec.better == "lower" else "falls below"
            return f"{capital(spec.title)} {moves} what the suite allows with {names}"
        values = [self._value(entry) for entry in self._known]
        if len(values) == 1:
            return f"{self._name(self._known[0])} reaches {values[0]:.1f}{unit} test {spec.title}"
        low, high = (f"{value:.1f}" for value in (min(values), max(values)))
        what = "at every precision" if not self._told else "in every run"
        if low == high:
            return f"Test {spec.title} is {low}{unit} {what}"
        within = f"{max(values) - min(values):.1f} points"
        return f"Test {spec.title} lies within {within} {what}, from {low} to {high}{unit}"

    def _loss(self) -> Chart | None:
        runs = self._series(lambda run: run.loss_per_epoch)
        if not runs:
            return None
        name, losses = min(runs, key=lambda each: each[1][-1])
        finding = f"Training loss ends at {losses[-1]:.2g}" + (
            f" at its lowest, with {name}" if len(runs) > 1 else f", {name}"
        )
        positive = all(loss > 0 for _, losses in runs for loss in losses)
        return self._curve(
            "loss", finding, "loss", "mean training loss", runs, {"y_scale": "log" if positive else "linear"}
        )

    def _learning(self) -> Chart | None:
        runs = self._series(lambda run: tuple(share * self._factor for share in run.validation_score_per_epoch))
        if not runs:
            return None
        sign = -1 if self._spec.better == "lower" else 1
        first = {}
        for name, found in runs:
            signed = [sign * value for value in found]
            first[name] = next(at for at, value in enumerate(signed, 1) if value >= max(signed) - 1)
        epoch = min(first.values())
        early = [name for name, reached in first.items() if reached == epoch]
        are = "is first within a point of its" if len(early) == 1 else "are first within a point of their"
        every = len(early) == len(first) > 1
        leads = "Every precision is within a point of its" if every else f"{joined(early)} {are}"
        title = self._spec.title
        return self._curve(
            "learning",
            f"{leads} best validation {title}, in epoch {epoch}",
            f"validation {unit_title(self._spec)}",
            f"{title} on the validation split",
            runs,
            {"zero": False},
        )

    def _series(self, series: Callable[[Quality], Sequence[float]]) -> list[tuple[str, Sequence[float]]]:
        """(name, values per epoch) of the first run of each entry that has two epochs or more."""
        found = [(self._name(entry), entry.runs[0]) for entry in self._known if entry.runs]
        return [(name, series(run)) for name, run in found if len(series(run)) > 1]

    def _curve(
        self,
        key: str,
        finding: str,
        title: str,
        what: str,
        runs: Sequence[tuple[str, Sequence[float]]],
        options: dict[str, Any],
    ) -> Chart:
        precisions = {self._name(entry): entry.precision for entry in self._known}
        rows: list[tuple[Datum, ...]] = []
        for name, values in runs:
            where = name.removeprefix(precisions[name]).strip().removeprefix("on ")
            rows += [
                (precisions[name], epoch, value, None, None, where, "valid", "")
                for epoch, value in enumerate(values, start=1)
            ]
        said = self._titled(finding)
        return Chart(
            key=self._in(key),
            form="lines",
            title=said,
            reading=(
                f"Each line is the {what} after each epoch, trained at one precision; lines that lie together learn "
                "alike."
            ),
            alt=f"Line chart of the {what} by epoch and precision. {said}.",
            columns=("precision", "epoch", title, "low", "high", "line", "standing", "other settings"),
            rows=tuple(rows),
            options={"x_scale": "linear", **options},
        )
