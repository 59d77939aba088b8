"""The first lines: what was fastest, by how much, how accurate, what may not win and why; the winners in figures."""

from collections.abc import Sequence

from gpubench.analysis.insight.best_settings import Best, Gain, best_overall, best_settings, gains, speedup
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
from gpubench.report.view.contests import batch_of, contests, largest_that_fits, name_of, rank, why_not

_CONTEST = ("workload", "mode", "device", "timing")


def _rivals(ours: CaseSummary, theirs: CaseSummary) -> bool:
    """Whether two cases are of one contest; requests of different batch sizes are not."""
    names = (*_CONTEST, "batch_size") if ours.case.timing == "latency" else _CONTEST
    return all(getattr(ours.case, name) == getattr(theirs.case, name) for name in names)


def headline(summary: RunSummary) -> tuple[Line, ...]:
    """Sentences about each workload, mode and device; for latency, about its smallest batch."""
    bests = best_settings(summary.cases)
    against = gains(bests, summary.info.suite.get("baseline") or {})
    smallest: dict[tuple[object, ...], Best] = {}
    for best in best_overall(bests):
        key = tuple(getattr(best.summary.case, name) for name in _CONTEST)
        if key not in smallest or batch_of(best.summary) < batch_of(smallest[key].summary):
            smallest[key] = best
    chosen = sorted(smallest.values(), key=lambda best: rank(best.summary.case))
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


def _about(best: Best, bests: Sequence[Best], against: Sequence[Gain], summary: RunSummary) -> list[Line]:
    entry, case = best.summary, best.summary.case
    several = len({other.case.workload for other in summary.cases}) > 1
    subject = f"{task(case)} on {place(case.device)}{f' ({case.workload})' if several else ''}"
    speed_said = _speed_text(entry)
    if not best.won:
        but = f" was fastest at {speed_said}, but: {why_not(entry)}"
        return [line(f"{subject}: no figure can be called best. ", strong(entry.label), but)]
    how = f"had the lowest latency at batch {case.batch_size}" if case.timing == "latency" else "was fastest"
    fp32, energy = _fp32_of(best, bests), energy_text(entry)
    theirs = "" if fp32 is None or fp32.summary is entry else energy_text(fp32.summary)
    beside = f" (fp32 at its best: {theirs})" if theirs else ""
    # Over the best fp32 on the same device, and over the suite's baseline where that is something else.
    ratio, gained = fp32_ratio(best, bests), ""
    if fp32 is not None and ratio is not None:
        gained = f", {ratio_text(ratio)} times as fast as fp32 at its best ({fp32.summary.label})"
    gain = next((gain for gain in against if gain.best is best and gain.baseline is not fp32), None)
    if gain is not None:
        label = gain.baseline.summary.label
        gained += f"{' and' if gained else ','} {ratio_text(gain.ratio)} times as fast as the baseline ({label})"
    first = line(
        f"{subject}: ",
        strong(entry.label),
        f" {how}, {speed_said}{gained}.",
        f" It takes {energy} per sample{beside}." if energy else "",
        _accuracy_text(entry, summary.quality),
    )
    faster = [
        other
        for other in summary.cases
        if other.status is Status.OK and (other.speed or 0.0) > (entry.speed or 0.0) and _rivals(entry, other)
    ]
    left_out = [
        line("Faster but not counted: ", strong(other.label), f", {_speed_text(other)}: {why_not(other)}")
        for other in sorted(faster, key=lambda each: -(each.speed or 0.0))[:3]
    ]
    return [first, *_others_against_fp32(subject, best, bests, summary), *left_out]


def _speed_text(entry: CaseSummary) -> str:
    name = entry.speed_metric
    unit = METRICS[name].display_unit or METRICS[name].unit
    cell = metric_cell(name, entry.metrics, spread=True)
    return f"{cell.text} {unit} {cell.spread}".rstrip()


def _fp32_of(best: Best, bests: Sequence[Best]) -> Best | None:
    rivals = (other for other in bests if other.precision == "fp32" and _rivals(best.summary, other.summary))
    return next(rivals, None)


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


def _others_against_fp32(subject: str, best: Best, bests: Sequence[Best], summary: RunSummary) -> list[Line]:
    """Every other precision of the contest that may win, each at its best, with the accuracy it trains to."""
    reference = _fp32_of(best, bests)
    if reference is None or best.summary.case.timing == "latency":
        return []
    said = []
    for other in (each for each in bests if each is not best and _rivals(best.summary, each.summary)):
        ratio = speedup(other.summary, reference.summary) if other.won and other.precision != "fp32" else None
        if ratio is not None:
            trained = _trained(other.summary, summary.quality)
            accuracy = f" ({_accuracy(trained.summary)}% accuracy)" if trained is not None else ""
            said.append(f"{other.precision} {ratio_text(ratio)} times as fast{accuracy}")
    return [line(f"{subject}, against fp32, each at its best: {joined(said)}.")] if said else []


def _trained(entry: CaseSummary, quality: Sequence[QualitySummary]) -> QualitySummary | None:
    """The accuracy run at the case's workload, device and precision, if it has an accuracy."""
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
            entry, fp32 = mine.summary, fp32_ratio(mine, bests)
            trained, held = _trained(entry, summary.quality), entry.metrics.get(memory_metric(entry))
            figures = (
                (
                    display_unit(METRICS[contest.metric]),
                    metric_cell(contest.metric, entry.metrics, spread=True).full,
                ),
                ("times fp32", "" if fp32 is None else ratio_text(fp32)),
                ("times the baseline", against.get(id(mine), "")),
                ("energy per sample", energy_text(entry)),
                ("peak memory", "" if held is None else format_bytes(held.value)),
                ("test accuracy", "" if trained is None else f"{_accuracy(trained.summary)}%"),
            )
            answer = Answer(
                subject=contest.subject,
                precision=entry.case.precision,
                setting=name_of(entry, contest).removeprefix(entry.case.precision).strip(),
                figures=tuple((name, text) for name, text in figures if text),
                case_index=entry.planned.index,
                why_not="" if mine.won else why_not(entry),
            )
            found.append(answer)
    return tuple(found)
