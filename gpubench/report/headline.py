"""The first lines: what was fastest, by how much, how accurate, what may not win and why; the winners in figures."""

from collections.abc import Sequence

from gpubench.analysis.insight.best_settings import Best, Gain, best_overall, best_settings, gains, speed, speedup
from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate, Status
from gpubench.core.units import format_bytes, format_number
from gpubench.report.model.figure_cells import display_unit, metric_cell, ratio_text
from gpubench.report.model.report_model import Answer, Line, line, strong
from gpubench.report.model.words import joined, place, task
from gpubench.report.view.case_tables import memory_metric
from gpubench.report.view.contests import Contest, batch_of, contests, largest_that_fits, name_of, rank, why_not


def headline(summary: RunSummary) -> tuple[Line, ...]:
    """Sentences about each workload, mode and device; for latency, about its smallest batch."""
    bests = best_settings(summary.cases)
    against = gains(bests, summary.info.suite.get("baseline") or {})
    chosen = _smallest_batches(best_overall(bests))
    lines: list[Line] = []
    for best in chosen:
        lines += _about(best, bests, against, summary)
    lines += _devices_compared(chosen)
    for contest in contests(summary.cases):
        fits = [text for precision in contest.precisions if (text := largest_that_fits(contest, precision))]
        lines += [line(f"{contest.subject}, memory: {joined(fits)}.")] if fits else []
    if summary.cases and not bests:
        lines.append(line("No case has a figure: see below for how each ended."))
    return tuple(lines)


def _smallest_batches(overall: Sequence[Best]) -> list[Best]:
    """Of several latency contests of one workload, mode and device, the one of the smallest batch."""
    kept: dict[tuple[str, ...], Best] = {}
    for best in overall:
        case = best.summary.case
        key = (case.workload, case.mode, case.device, case.timing)
        if key not in kept or batch_of(best.summary) < batch_of(kept[key].summary):
            kept[key] = best
    return sorted(kept.values(), key=lambda best: rank(best.summary.case))


def _about(best: Best, bests: Sequence[Best], against: Sequence[Gain], summary: RunSummary) -> list[Line]:
    entry, case = best.summary, best.summary.case
    several = len({other.case.workload for other in summary.cases}) > 1
    subject = f"{task(case)} on {place(case.device)}{f' ({case.workload})' if several else ''}"
    speed_said = _speed_text(entry)
    if not best.won:
        but = f" was fastest at {speed_said}, but: {why_not(entry)}"
        return [line(f"{subject}: no figure can be called best. ", strong(entry.label), but)]
    how = f"had the lowest latency at batch {case.batch_size}" if case.timing == "latency" else "was fastest"
    fp32 = _fp32_of(best, bests)
    first = line(
        f"{subject}: ",
        strong(entry.label),
        f" {how}, {speed_said}{_gain_text(best, bests, against)}.",
        _energy_text(entry, None if fp32 is None else fp32.summary),
        _accuracy_text(entry, summary.quality),
    )
    left_out = [
        line("Faster but not counted: ", strong(other.label), f", {_speed_text(other)}: {why_not(other)}")
        for other in _faster_but_not_counted(entry, summary.cases)
    ]
    return [first, *_others_against_fp32(subject, best, bests, summary), *left_out]


def _speed_text(entry: CaseSummary) -> str:
    name = "latency_s" if entry.case.timing == "latency" else "throughput"
    unit = METRICS[name].display_unit or METRICS[name].unit
    cell = metric_cell(name, entry.metrics, spread=True)
    return f"{cell.text} {unit} {cell.spread}".rstrip()


def _gain_text(best: Best, bests: Sequence[Best], against: Sequence[Gain]) -> str:
    """Over the best fp32 on the same device, and over the suite's baseline where that is something else."""
    fp32 = _fp32_of(best, bests)
    ratio = fp32_ratio(best, bests)
    said = ""
    if fp32 is not None and ratio is not None:
        said = f", {ratio_text(ratio)} times as fast as fp32 at its best ({fp32.summary.label})"
    gain = next((gain for gain in against if gain.best is best and gain.baseline is not fp32), None)
    if gain is not None:
        label = gain.baseline.summary.label
        said += f"{' and' if said else ','} {ratio_text(gain.ratio)} times as fast as the baseline ({label})"
    return said


def _fp32_of(best: Best, bests: Sequence[Best]) -> Best | None:
    ours = best.summary.case
    same = ("workload", "mode", "device", "timing", *(("batch_size",) if ours.timing == "latency" else ()))
    fits = (
        other
        for other in bests
        if other.precision == "fp32" and all(getattr(other.summary.case, name) == getattr(ours, name) for name in same)
    )
    return next(fits, None)


def _energy_text(entry: CaseSummary, fp32: CaseSummary | None) -> str:
    """Energy per sample if it was measured, with that of fp32 at its best."""
    ours = energy_text(entry)
    theirs = "" if fp32 is None or fp32 is entry else energy_text(fp32)
    beside = f" (fp32 at its best: {theirs})" if theirs else ""
    return f" It takes {ours} per sample{beside}." if ours else ""


def energy_text(entry: CaseSummary) -> str:
    """`1.85 mJ`, in three digits: sensors of two cards do not agree better than that. Empty where none was measured."""
    found = entry.metrics.get("energy_per_sample_j")
    if found is None:
        return ""
    value = found.value
    factor, unit = (1.0, "J") if value >= 0.1 else (1e3, "mJ") if value >= 1e-4 else (1e6, "µJ")
    return f"{format_number(value * factor)} {unit}"


def fp32_ratio(best: Best, bests: Sequence[Best]) -> Estimate | None:
    """Speed over that of fp32 at its best in the same contest; None where it is the same case or there is none."""
    reference = _fp32_of(best, bests)
    return None if reference is None or reference is best else speedup(best.summary, reference.summary)


def accuracy_of(entry: CaseSummary, quality: Sequence[QualitySummary]) -> str | None:
    """Test accuracy in % that training at the case's precision and device reaches."""
    found = _trained(entry, quality)
    return None if found is None else _accuracy(found.summary)


def _others_against_fp32(subject: str, best: Best, bests: Sequence[Best], summary: RunSummary) -> list[Line]:
    """Every other precision of the contest that may win, each at its best, with the accuracy it trains to."""
    reference = _fp32_of(best, bests)
    if reference is None or best.summary.case.timing == "latency":
        return []
    said = []
    same, ours = ("workload", "mode", "device", "timing"), best.summary.case
    for other in bests:
        if other is best or not all(getattr(other.summary.case, name) == getattr(ours, name) for name in same):
            continue
        ratio = speedup(other.summary, reference.summary) if other.won and other.precision != "fp32" else None
        if ratio is not None:
            trained = _trained(other.summary, summary.quality)
            accuracy = f" ({_accuracy(trained.summary)}% accuracy)" if trained is not None else ""
            said.append(f"{other.precision} {ratio_text(ratio)} times as fast{accuracy}")
    return [line(f"{subject}, against fp32, each at its best: {joined(said)}.")] if said else []


def _trained(entry: CaseSummary, quality: Sequence[QualitySummary]) -> QualitySummary | None:
    """The training run to a result at the case's workload, device and precision, if it has an accuracy."""
    for other in quality if entry.case.mode == "train" else ():
        ours = other.summary.case
        if all(getattr(ours, name) == getattr(entry.case, name) for name in ("workload", "device", "precision")):
            return other if "accuracy" in other.summary.metrics else None
    return None


def _accuracy_text(entry: CaseSummary, quality: Sequence[QualitySummary]) -> str:
    """What training at this precision and device reaches, beside the reference."""
    ours = _trained(entry, quality)
    if ours is None:
        return ""
    said = f" Trained at {ours.precision} it reaches {_accuracy(ours.summary)}% test accuracy"
    if ours.verdict == "reference" or ours.reference is None or "accuracy" not in ours.reference.metrics:
        return f"{said}."
    reference = ours.reference
    where = "" if reference.case.device == ours.device else f" on {place(reference.case.device)}"
    return f"{said} ({reference.case.precision}{where}: {_accuracy(reference)}%)."


def _accuracy(entry: CaseSummary) -> str:
    return f"{entry.metrics['accuracy'].value * 100:.1f}"


def _faster_but_not_counted(winner: CaseSummary, cases: Sequence[CaseSummary]) -> list[CaseSummary]:
    """Cases of the same contest over precisions that were faster than the winner and may not win."""
    ours, limit = winner.case, speed(winner) or 0.0
    same = ("workload", "mode", "device", "timing", *(("batch_size",) if ours.timing == "latency" else ()))
    found = [
        entry
        for entry in cases
        if entry.status is Status.OK
        and (speed(entry) or 0.0) > limit
        and all(getattr(entry.case, name) == getattr(ours, name) for name in same)
    ]
    return sorted(found, key=lambda entry: -(speed(entry) or 0.0))[:3]


def _devices_compared(chosen: Sequence[Best]) -> list[Line]:
    """The GPU against the CPU, each at its best, where both won."""
    lines = []
    winners = [best for best in chosen if best.won]
    for best in winners:
        case = best.summary.case
        if case.device_type != "cuda":
            continue
        for other in winners:
            theirs = other.summary.case
            same = (theirs.workload, theirs.mode, theirs.timing) == (case.workload, case.mode, case.timing)
            ratio = speedup(best.summary, other.summary) if same and theirs.device_type == "cpu" else None
            if ratio is not None and (case.timing == "throughput" or theirs.batch_size == case.batch_size):
                subject = (
                    f"{task(case)}: {place(case.device)} was {ratio_text(ratio)} times as fast as "
                    f"{place(theirs.device)}"
                )
                lines.append(line(f"{subject}, each at its best setting."))
    return lines


def answers(summary: RunSummary) -> tuple[Answer, ...]:
    """One per contest with a figure; of latency, for its smallest batch."""
    bests = best_settings(summary.cases)
    against = {id(gain.best): ratio_text(gain.ratio) for gain in gains(bests, summary.info.suite.get("baseline") or {})}
    found = []
    for contest in contests(summary.cases):
        overall = best_overall(best_settings(contest.cases))
        if overall:
            best = min(overall, key=lambda each: batch_of(each.summary))
            mine = next((other for other in bests if other.summary is best.summary), best)
            found.append(_answer(contest, mine, bests, against.get(id(mine), ""), summary))
    return tuple(found)


def _answer(contest: Contest, best: Best, bests: Sequence[Best], against: str, summary: RunSummary) -> Answer:
    entry = best.summary
    spec = METRICS[contest.metric]
    fp32 = fp32_ratio(best, bests)
    trained = accuracy_of(entry, summary.quality)
    held = entry.metrics.get(memory_metric(entry))
    figures = (
        (display_unit(spec), metric_cell(contest.metric, entry.metrics, spread=True).full),
        ("times fp32", "" if fp32 is None else ratio_text(fp32)),
        ("times the baseline", against),
        ("energy per sample", energy_text(entry)),
        ("peak memory", "" if held is None else format_bytes(held.value)),
        ("test accuracy", "" if trained is None else f"{trained}%"),
    )
    return Answer(
        subject=contest.subject,
        precision=entry.case.precision,
        setting=name_of(entry, contest).removeprefix(entry.case.precision).strip(),
        figures=tuple((name, text) for name, text in figures if text),
        case_index=entry.planned.index,
        why_not="" if best.won else why_not(entry),
    )
