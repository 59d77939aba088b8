"""Is it right: scores of training runs, time and energy to the target, parity of outputs."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.launch_estimates import geometric_estimate
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.core.records import Parity, Status
from gpubench.core.units import format_duration
from gpubench.report.model.figure_cells import display_unit, measured_cell, metric_cell, ratio_cell
from gpubench.report.model.report_model import Cell, Column, Line, Section, Table, Tone, line, lines
from gpubench.report.model.words import count, joined
from gpubench.report.view.case_tables import setting_column
from gpubench.report.view.run_view import QUIET, View
from gpubench.report.view.score_charts import accuracy_charts
from gpubench.report.view.scores import by_task, capital, direction, spec_of, task_key, unit_title, value_text
from gpubench.suite.cases.expand import ACCURACY_FOLLOWS
from gpubench.suite.cases.labels import varying

_VERDICTS: dict[str, tuple[str, str, Tone]] = {
    "reference": ("", "reference", "plain"),
    "ok": ("", "within the limit", "plain"),
    "drop": ("!", "beyond the limit", "warning"),
    "unknown": ("?", "not comparable", "muted"),
}
_BESIDE = ("precision_macro", "recall_macro")
_NAMED = ("device", "precision")


def section(view: View) -> Section:
    summary = view.summary
    parity = parity_table(summary)
    tables = (*quality_tables(summary, skipped=view.list_skipped), *to_target_tables(summary))
    named = {each.spec.title for each in summary.quality if each.runs}
    word = capital(next(iter(named)) if len(named) == 1 else "scores" if named else "accuracy")
    return Section(
        "accuracy",
        f"{word} and parity",
        short=word,
        tables=(*tables, parity) if parity is not None else tables,
        charts=accuracy_charts(summary) if view.charts else (),
    )


def _ended(each: QualitySummary) -> bool:
    return each.summary.status is Status.OK and bool(each.runs)


def _of_completed(get: Callable[[QualitySummary], Cell | str | int | None]) -> Callable[[QualitySummary], Any]:
    """Only a completed training run has figures."""
    return lambda each: get(each) if _ended(each) else None


def quality_tables(summary: RunSummary, *, skipped: bool = False) -> tuple[Table, ...]:
    """The score on the test split per device and precision, a table per task; none without a quality stage. `skipped`:
    those that this machine could not run are rows as well.
    """
    shown = [each for each in summary.quality if skipped or each.summary.status not in QUIET]
    tasks = by_task(shown)
    return tuple(_quality_table(workload, task, len(tasks) > 1) for workload, task in tasks.items())


def _quality_table(workload: str, shown: Sequence[QualitySummary], several: bool) -> Table:
    spec = spec_of(shown)

    def trivial(each: QualitySummary) -> Cell | None:
        best = next(iter(each.trivial.values()), None)
        factor = spec.display_factor
        return None if best is None else Cell(f"{best * factor:.1f}", value=best * factor)

    columns = (
        Column("mark", "", "left", cell=_of_completed(lambda each: _VERDICTS[each.verdict][0])),
        *_identity(shown),
        Column(spec.name, unit_title(spec), unit=display_unit(spec), cell=_score),
        Column("difference", "vs reference", priority=1, cell=_of_completed(_difference)),
        Column("trivial", "trivial", priority=1, unit=display_unit(spec), cell=_of_completed(trivial)),
        *_beside(shown, spec),
        Column("loss", "loss first to last", priority=5, cell=_of_completed(_loss)),
        Column("to_accuracy", "to target", priority=2, cell=_of_completed(_to_target)),
        Column("steps", "steps", priority=7, cell=_of_completed(lambda each: _plain("steps_to_accuracy", each))),
        Column("training", "training", priority=8, unit="s", cell=_of_completed(_training)),
        Column("runs", "runs", priority=9, cell=_of_completed(lambda each: len(each.runs))),
        Column("verdict", "verdict", "left", flexible=True, cell=_verdict),
    )
    return Table.of(
        task_key("quality", workload, several=several),
        columns,
        shown,
        title=f"Quality runs{f' of {workload}' if several else ''}: {spec.title}, {direction(spec)}",
        notes=_quality_notes(shown, spec),
        tone=lambda each: _VERDICTS[each.verdict][2] if _ended(each) else "muted",
        case_index=lambda each: each.summary.planned.index if _ended(each) else None,
    ).without_empty_columns()


def _score(each: QualitySummary) -> Cell:
    known = _ended(each)
    return metric_cell(each.metric, each.summary.metrics, spread=True) if known else Cell(each.summary.status.value)


def _verdict(each: QualitySummary) -> str:
    if not _ended(each):
        return each.summary.reason or ""
    beaten = f"; no better than {each.beaten_by}" if each.beaten_by else ""
    return _VERDICTS[each.verdict][1] + beaten


def _loss(each: QualitySummary) -> str:
    first, losses = each.runs[0], each.runs[0].loss_per_epoch
    return f"{losses[0]:.3g} to {losses[-1]:.3g}" if losses else f"{first.final_loss:.3g}"


def _to_target(each: QualitySummary) -> Cell | str:
    found = each.summary.metrics.get("time_to_accuracy_s")
    if found is not None:
        return Cell(format_duration(found.value), value=found.value)
    if any(run.time_to_accuracy_s is not None for run in each.runs):
        return "not timed"  # GB218
    return "not reached" if any(run.target_accuracy is not None for run in each.runs) else ""


def _training(each: QualitySummary) -> str:
    return format_duration(sum(run.training_time_s for run in each.runs) / len(each.runs))


def _identity(shown: Sequence[QualitySummary]) -> list[Column]:
    """Device, precision, and what else tells the runs of a task apart."""
    differ = varying(each.summary.case for each in shown)
    others = [name for name in differ if name in ACCURACY_FOLLOWS and name not in _NAMED]
    return [setting_column(name, lambda each: each.summary) for name in (*_NAMED, *others)]


def _beside(shown: Sequence[QualitySummary], spec: MetricSpec) -> list[Column]:
    """The other scores of the task."""
    runs = [run for each in shown for run in each.runs]
    named = [name for name in _BESIDE if any(getattr(run, name) is not None for run in runs)]
    named += dict.fromkeys(name for run in runs for name in run.scores if name != spec.name)

    def of(name: str) -> Callable[[QualitySummary], Any]:
        return _of_completed(lambda each: metric_cell(name, each.summary.metrics))

    known = {name: METRICS[name] for name in named if name in METRICS}
    rank = {"precision_macro": 4}
    return [
        Column(name, unit_title(each), priority=rank.get(name, 3), unit=display_unit(each), cell=of(name))
        for name, each in known.items()
    ]


def _plain(name: str, each: QualitySummary) -> Cell:
    return measured_cell(name, each.summary.metrics)


def _difference(quality: QualitySummary) -> Cell | None:
    if quality.difference is None:
        return None
    points = quality.difference.value * 100
    ends = "at most" if quality.lower_is_better else "at least"
    bound = "" if quality.lower_bound is None else f"({ends} {quality.lower_bound * 100:+.1f})"
    # Adding 0 turns -0.0 into 0.0.
    return Cell(f"{round(points, 1) + 0.0:+.1f} points", bound, points)


def _quality_notes(shown: Sequence[QualitySummary], spec: MetricSpec) -> tuple[Line, ...]:
    runs = [run for each in shown for run in each.runs]
    if not runs:
        return ()
    first, limit = runs[0], f"{shown[0].max_drop * 100:g}"
    trained = next(each for each in shown if each.runs)
    trivial = [f"{name} {value_text(value, spec)}" for name, value in trained.trivial.items()]
    chosen = joined(sorted({f"{run.learning_rate:g}" for run in runs if len(run.learning_rates_tried) > 1}))
    averages = " Precision and recall are macro averages over classes." if first.precision_macro is not None else ""
    digest = f", digest {first.data_digest}" if first.data_digest else ""
    worse = "above" if spec.better == "lower" else "below"
    return lines(
        f"{trained.summary.case.data}{digest}: {first.num_train} samples to train on, {first.num_validation} to "
        f"choose the learning rate on, {first.num_test} to test on; {count(first.epochs, 'epoch')}.{averages}",
        f"Trivial answers on the same test: {joined(trivial)}." if trivial else "",
        f"to target: training time until {_targets(runs, spec)} was first reached." if _targets(runs, spec) else "",
        f"Limit: {limit} percentage {'point' if limit == '1' else 'points'} {worse} the reference; a precision beyond "
        "it is never called best for training.",
        f"Learning rate chosen on the validation split: {chosen}." if chosen else "",
    )


def _targets(runs: Iterable[Any], spec: MetricSpec) -> str:
    return joined([value_text(each, spec) for each in sorted({run.target_accuracy for run in runs} - {None})])


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


def to_target_tables(summary: RunSummary) -> tuple[Table, ...]:
    """Per task, a row per quality run with a target; none without any."""
    tasks = by_task(each for each in summary.quality if any(run.target_accuracy is not None for run in each.runs))
    return tuple(_to_target_table(workload, task, len(tasks) > 1) for workload, task in tasks.items())


def _to_target_table(workload: str, shown: Sequence[QualitySummary], several: bool) -> Table:
    targeted = {id(each): [run for run in each.runs if run.target_accuracy is not None] for each in shown}
    spec = spec_of(shown)

    def reached(each: QualitySummary) -> tuple[int, int]:
        runs = targeted[id(each)]
        return sum(run.time_to_accuracy_s is not None for run in runs), len(runs)

    def short(each: QualitySummary) -> bool:
        return reached(each)[0] < reached(each)[1]

    def figure(name: str, *, spread: bool = False) -> Callable[[QualitySummary], Cell]:
        return lambda each: measured_cell(name, each.summary.metrics, spread=spread)

    columns = (
        Column("mark", "", "left", cell=lambda each: "!" if short(each) else ""),
        *_identity(shown),
        Column("reached", "reached", cell=lambda each: Cell("{} of {}".format(*reached(each)), value=reached(each)[0])),
        Column("time_to_accuracy_s", "to target s", unit="s", cell=figure("time_to_accuracy_s", spread=True)),
        Column("speed", "vs reference", priority=1, cell=_times_sooner),
        Column("steps_to_accuracy", "steps", priority=3, cell=figure("steps_to_accuracy")),
        Column(
            "energy_to_accuracy_j",
            "to target J",
            priority=1,
            unit="J",
            cell=figure("energy_to_accuracy_j", spread=True),
        ),
        Column("mean_power_w", "W", priority=4, unit="W", cell=figure("mean_power_w")),
        Column(
            spec.name,
            f"test {unit_title(spec)}",
            priority=2,
            unit=display_unit(spec),
            cell=figure(spec.name, spread=True),
        ),
    )
    runs = [run for each in shown for run in targeted[id(each)]]
    notes = lines(
        f"Target: {spec.title} of {_targets(runs, spec)} on the validation split, checked after every epoch. Time is "
        "that of training alone; joules are of the device from the first step to the end of the epoch that reached "
        "it, validation included. Intervals over seeds.",
        "Training runs too short for a valid energy figure were repeated: joules are the mean of one."
        if any(run.trainings_in_window > 1 for run in runs)
        else "",
        "! some seeds did not reach it: time, steps and joules are of those that did."
        if any(map(short, shown))
        else "",
    )
    return Table.of(
        task_key("to-accuracy", workload, several=several),
        columns,
        shown,
        title=f"Time and energy to the target{f' of {workload}' if several else ''}",
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
    return ratio_cell(geometric_estimate(logs)) if logs else None
