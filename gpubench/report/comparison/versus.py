"""The report that compares runs: differences, verdicts with intervals, both runs in each chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpubench.analysis.compare.compare_sides import Compared, compare_sides, refuse
from gpubench.analysis.compare.run_sides import arm_sides, arms_of, side_of
from gpubench.analysis.summary.run_summary import RecordedRun, RunSummary, summarise_run
from gpubench.profile.figures.kept_explanations import kept_explanations
from gpubench.report.comparison.comparison_questions import comparison_questions
from gpubench.report.comparison.comparison_report import build_comparison
from gpubench.report.comparison.versus_charts import versus_charts
from gpubench.report.comparison.why_slower import kept_sections
from gpubench.report.glossary import with_glossary
from gpubench.report.model.report_model import Fact, Line, ReportModel, Section, code, line, plain
from gpubench.report.model.words import joined, sentence
from gpubench.report.topics.method import command_line
from gpubench.report.topics.set_up import environment_facts, machine_line

_MOST_SAID = 6
_MOST_OPEN = 12


@dataclass(frozen=True)
class Versus:
    """One comparison with the summaries of its sides, for charts, and the sections that explain it."""

    compared: Compared
    reference: RunSummary
    candidate: RunSummary
    why: tuple[Section, ...] = ()


def runs_report(
    candidate: RecordedRun,
    references: Sequence[RecordedRun],
    *,
    allow_unpaired: bool = False,
    force: bool = False,
) -> ReportModel:
    """A run against one or more others. UsageError if they cannot be compared, unless `force`."""
    after, names = summarise_run(candidate), _names([*references, candidate])
    side = side_of(candidate, names[-1])
    found = []
    for run, name in zip(references, names, strict=False):
        compared = compare_sides(side_of(run, name), side, allow_unpaired=allow_unpaired)
        refuse(compared, force=force)
        found.append(Versus(compared, summarise_run(run), after))
    return build_versus(found)


def arms_report(
    run: RecordedRun,
    summaries: Mapping[str, RunSummary] | None = None,
    folder: Path | None = None,
) -> ReportModel:
    """The arms of one run against the first; `summaries` by arm, if already made. `folder` is the
    run's, which may keep what makes an arm slower.
    """
    of = summaries or {arm: summarise_run(run, arm=arm) for arm in arms_of(run)}
    first, others = arm_sides(run, summaries=of)
    found = []
    for side in others:
        compared = compare_sides(first, side)
        kept = {} if folder is None else kept_explanations(folder, first.name, side.name)
        found.append(Versus(compared, of[first.name], of[side.name], kept_sections(compared, kept)))
    return build_versus(found)


def build_versus(found: Sequence[Versus]) -> ReportModel:
    """One report of comparisons that share their candidate or their reference. With several, keys are distinct and each
    heading names its comparison.
    """
    models: list[ReportModel] = []
    sections: list[Section] = []
    headline: list[Line] = []
    for number, each in enumerate(found):
        # The output of `compare`, with charts after the differences, and every row with its reason at the end.
        model = build_comparison(each.compared, extra=each.why)
        rows = build_comparison(each.compared, verbose=True).section("all")
        suffix = f"-{number + 1}" if number else ""
        charts = Section(
            "charts", "Before and after", charts=versus_charts(each.compared, each.reference, each.candidate, suffix)
        )
        at = 1 if model.sections and model.sections[0].key == "differs" else 0
        shown = [*model.sections[:at], charts, *model.sections[at:], *([rows] if rows else [])]
        shown = [replace(section, folded=_is_detail(section)) for section in shown]
        names = f"{each.compared.candidate.name} against {each.compared.reference.name}"
        for section in (section for section in shown if not section.empty):
            named = replace(section, key=f"{section.key}{suffix}", heading=f"{section.heading}: {names}")
            sections.append(named if len(found) > 1 else section)
        several = [(*line(f"{names}: "), *said) for said in model.headline[:2]]
        headline += several if len(found) > 1 else model.headline
        models.append(model)
    first = found[0].compared
    references, candidates = (
        [getattr(each.compared, side).name for each in found] for side in ("reference", "candidate")
    )
    arms = first.candidate.source == "arm"
    model = ReportModel(
        title=f"{joined(candidates)} against {first.reference.name}"
        if arms
        else f"{first.candidate.name} against {joined(references)}",
        subtitle=_subtitle(found, models),
        run=", ".join(dict.fromkeys(name for pair in zip(references, candidates, strict=True) for name in pair)),
        headline=tuple(headline),
        sections=(*sections, *_setups(found)),
    )
    return with_glossary(model if len(found) > 1 else _with_questions(model, found[0]))


def _with_questions(model: ReportModel, each: Versus) -> ReportModel:
    gates = each.candidate.info.suite.get("gates") or ()
    first = comparison_questions(each.compared, gates, model.headline, each.why)
    return replace(model, first=first, headline=(*model.headline[:1], *model.headline[2:]))


def _is_detail(section: Section) -> bool:
    long = sum(len(table.rows) for table in section.tables) > _MOST_OPEN
    return section.key == "all" or (section.key != "changed" and long)


def _subtitle(found: Sequence[Versus], models: Sequence[ReportModel]) -> Line:
    """What is in common and what differs, before any number."""
    said = []
    for each, model in zip(found, models, strict=True):
        section = model.section("differs")
        facts = section.facts if section is not None else ()
        texts = [f"{fact.name} {plain(fact.text)}" for fact in facts[:_MOST_SAID]]
        more = f" and {len(facts) - _MOST_SAID} more" if len(facts) > _MOST_SAID else ""
        against = f" from {each.compared.reference.name}" if len(found) > 1 else ""
        said.append(
            f"{plain(model.subtitle)}. Differs{against}: {', '.join(texts) or 'nothing that was recorded'}{more}."
        )
    return line(" ".join(said))


def _setups(found: Sequence[Versus]) -> tuple[Section, ...]:
    """The machine and command of each run, without repetition."""
    runs: dict[str, tuple[str, RunSummary]] = {}
    for each in found:
        for side, summary in ((each.compared.reference, each.reference), (each.compared.candidate, each.candidate)):
            runs.setdefault(summary.info.run, (side.name if side.source != "arm" else summary.info.run, summary))
    sections = []
    for number, (name, summary) in enumerate(runs.values()):
        typed = command_line(summary.info.argv)
        facts = (*environment_facts(summary), *((Fact("Command", line(code(typed))),) if typed else ()))
        heading, gist = f"Set-up of {name}", sentence(machine_line(summary.info))
        sections.append(Section(f"environment-{number + 1}", heading, facts=facts, folded=True, gist=gist))
    return tuple(section for section in sections if not section.empty)


def _names(runs: Sequence[RecordedRun]) -> list[str]:
    """The runs' tags if all have different ones, else their names."""
    tags = [run.info.tag for run in runs]
    if all(tags) and len(set(tags)) == len(tags):
        return [str(tag) for tag in tags]
    return [run.info.run for run in runs]
