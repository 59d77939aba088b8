"""The first lines: what was fastest, by how much, how accurate, what may not win and why, and the winners' figures."""

from collections.abc import Sequence

from gpubench.analysis.insight.best_settings import Gain
from gpubench.analysis.insight.decision import Decision, Ranking
from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.metrics import METRICS
from gpubench.core.units import format_bytes, format_number
from gpubench.report.model.figure_cells import display_unit, metric_cell, ratio_text, times_text
from gpubench.report.model.report_model import Answer, Line, line, strong
from gpubench.report.model.words import joined, place, task
from gpubench.report.topics.collectives import bandwidth_sentence
from gpubench.report.view.case_tables import memory_metric
from gpubench.report.view.contests import Contest, contests, largest_that_fits, name_of, over, why_not, why_not_short
from gpubench.report.view.scores import best_trivial, direction, score_text, trained_at


def headline(decision: Decision) -> tuple[Line, ...]:
    """A sentence about each workload, mode and device (for latency, at the smallest batch), followed by details."""
    found = contests(decision)
    lines: list[Line] = []
    for contest in found:
        carried = bandwidth_sentence(contest)
        if carried is not None:
            lines.append(carried)
        elif contest.ranking.first:
            lines += [sentence(contest), *_details(contest, decision.summary.quality)]
    for gain in decision.devices:
        gpu, cpu = gain.best.summary.case, gain.baseline.summary.case
        said = over(gain.found, place(cpu.device))
        lines.append(line(f"{task(gpu)}: {place(gpu.device)} was {said}, each at its best setting."))
    for contest in found:
        fits = [text for precision in contest.precisions if (text := largest_that_fits(contest, precision))]
        lines += [line(f"{contest.subject}, memory: {joined(fits)}.")] if fits else []
    if decision.summary.cases and not decision.bests:
        lines.append(line("No case has a figure: see below for how each ended."))
    return tuple(lines)


def sentence(contest: Contest) -> Line:
    """What was fastest, if that is certain."""
    ranking = contest.ranking
    assert ranking.first is not None, "a contest with a figure"
    entry = ranking.first.summary
    name = strong(name_of(entry, contest))
    if not ranking.first.won:
        best = f" had the best, {_speed_text(entry)}, but {why_not_short(entry)}."
        return line(f"{contest.subject}: no figure can be called best; ", name, best)
    figures = _speed_and_gains(contest)
    if not ranking.rivals:
        return line(f"{contest.subject}: ", name, f" reached {figures}.")
    at = f" at batch {entry.case.batch_size}" if contest.timing == "latency" else ""
    if ranking.certain:
        how = "had the lowest latency" if contest.timing == "latency" else "was fastest"
        return line(f"{contest.subject}: ", name, f" {how}{at}, {figures}.")
    equal = all(found.verdict == "same" for _, found in ranking.level)
    (rival, _), *others = ranking.level
    who = f"{len(ranking.level)} others" if others else name_of(rival, contest)
    may = "are" if equal and others else "is" if equal else "may be"
    return line(f"{contest.subject}: ", name, f" had the best figure{at}, but ", strong(who), f" {may} as fast.")


def _speed_and_gains(contest: Contest) -> str:
    assert contest.ranking.first is not None, "a contest with a figure"
    gained = joined([over(gain.found, what) for gain, what in _gains(contest)])
    return _speed_text(contest.ranking.first.summary) + (f", {gained}" if gained else "")


def _gains(contest: Contest) -> list[tuple[Gain, str]]:
    """Gains over the best fp32 on the same device, and over the suite's baseline if that differs."""
    ranking = contest.ranking
    level = [entry for entry, _ in ranking.level]
    found = [(gain, "fp32 at its best") for gain in ranking.against_fp32 if gain.best is ranking.first]
    base = ranking.against_baseline
    if base is not None and base.baseline is not ranking.fp32:
        found.append((base, f"the baseline ({base.baseline.summary.label})"))
    return [(gain, what) for gain, what in found if not any(gain.baseline.summary is each for each in level)]


def _details(contest: Contest, quality: Sequence[QualitySummary]) -> list[Line]:
    ranking = contest.ranking
    best = ranking.first
    if best is None or not best.won:
        return []
    entry, energy = best.summary, energy_text(best.summary)
    theirs = "" if ranking.fp32 is None or ranking.fp32 is best else energy_text(ranking.fp32.summary)
    beside = f" (fp32 at its best: {theirs})" if theirs else ""
    said = [text for text in (f"{energy} per sample{beside}" if energy else "", _score_line(entry, quality)) if text]
    if ranking.level:
        rival, found = ranking.level[0]
        said.insert(0, f"{_speed_and_gains(contest)}; {times_text(found.ratio)} as fast as {name_of(rival, contest)}")
    about = line(f"{contest.subject}, ", strong(name_of(entry, contest)), f": {'; '.join(said)}.")
    others = []
    for gain in ranking.against_fp32 if contest.timing == "throughput" else ():
        if gain.best is not best:
            trained = trained_at(gain.best.summary, quality)
            accuracy = f" ({score_text(trained)} {trained.spec.title})" if trained is not None else ""
            unsure = "" if gain.found.certain else f"{gain.found.verdict} at "
            others.append(f"{gain.best.precision} {unsure}{times_text(gain.found.ratio)}{accuracy}")
    against = [line(f"{contest.subject}, against fp32, each at its best: {joined(others)}.")] if others else []
    left_out = [
        line("Faster but not counted: ", strong(name_of(other, contest)), f", {_speed_text(other)}: {why_not(other)}")
        for other in ranking.uncounted
    ]
    return [*([about] if said else []), *against, *left_out]


def _speed_text(entry: CaseSummary) -> str:
    name = entry.speed_metric
    unit = METRICS[name].display_unit or METRICS[name].unit
    cell = metric_cell(name, entry.metrics, spread=True)
    return f"{cell.text} {unit} {cell.spread}".rstrip()


def energy_text(entry: CaseSummary) -> str:
    """`1.85 mJ`, in three digits, as sensors of two cards do not agree better. Empty if not measured."""
    found = entry.metrics.get("energy_per_sample_j")
    if found is None:
        return ""
    value = found.value
    factor, unit = (1.0, "J") if value >= 0.1 else (1e3, "mJ") if value >= 1e-4 else (1e6, "µJ")
    return f"{format_number(value * factor)} {unit}"


def _score_line(entry: CaseSummary, quality: Sequence[QualitySummary]) -> str:
    """The score of training at this precision and device, next to the reference's and the best trivial answer's."""
    ours = trained_at(entry, quality)
    if ours is None:
        return ""
    beside = []
    if ours.verdict != "reference" and ours.reference is not None and ours.metric in ours.reference.metrics:
        reference = ours.reference
        where = "" if reference.case.device == ours.device else f" on {place(reference.case.device)}"
        beside.append(f"{reference.case.precision}{where}: {score_text(ours, reference.metrics[ours.metric])}")
    trivial = best_trivial(ours)
    beside += [f"trivially, {trivial}"] if trivial else []
    beside += [direction(ours.spec)] if ours.lower_is_better else []
    said = f"trained at {ours.precision} it reaches {score_text(ours)} test {ours.spec.title}"
    return f"{said} ({'; '.join(beside)})" if beside else said


def answers(decision: Decision) -> tuple[Answer, ...]:
    """One answer per contest with a figure; for latency, at the smallest batch."""
    quality = decision.summary.quality
    return tuple(_answer(contest, quality) for contest in contests(decision) if contest.has_best)


def _answer(contest: Contest, quality: Sequence[QualitySummary]) -> Answer:
    ranking = contest.ranking
    assert ranking.first is not None, "a contest with a figure"
    entry = ranking.first.summary
    trained, held = trained_at(entry, quality), entry.metrics.get(memory_metric(entry))
    fp32 = next((gain for gain in ranking.against_fp32 if gain.best is ranking.first), None)
    figures = (
        (display_unit(METRICS[contest.metric]), metric_cell(contest.metric, entry.metrics, spread=True).full),
        ("times fp32", _times(fp32)),
        ("times the baseline", _times(ranking.against_baseline)),
        ("energy per sample", energy_text(entry)),
        ("peak memory", "" if held is None else format_bytes(held.value)),
        (f"test {trained.spec.title}" if trained else "test score", "" if trained is None else score_text(trained)),
    )
    return Answer(
        subject=contest.subject,
        precision=entry.case.precision,
        setting=name_of(entry, contest).removeprefix(entry.case.precision).strip(),
        figures=tuple((name, text) for name, text in figures if text),
        case_index=entry.planned.index,
        said=sentence(contest),
        why_not="" if ranking.first.won else why_not(entry),
        level=_level(ranking, contest),
    )


def _times(gain: Gain | None) -> str:
    if gain is None:
        return ""
    return ratio_text(gain.found.ratio) + ("" if gain.found.certain else f", {gain.found.verdict}")


def _level(ranking: Ranking, contest: Contest) -> str:
    names = [name_of(entry, contest) for entry, _ in ranking.level]
    return f"not certainly faster than {joined(names[:3])}" if names and ranking.first and ranking.first.won else ""
