"""The report that compares runs: what differs, verdicts with their intervals, both runs in each chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gpubench.analysis.compare.compare_sides import Compared, compare_sides, refuse
from gpubench.analysis.compare.run_sides import arm_sides, arms_of, side_of
from gpubench.analysis.summary.run_summary import RecordedRun, RunSummary, summarise_run
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.report.comparison.comparison_report import build_comparison
from gpubench.report.comparison.versus_charts import versus_charts
from gpubench.report.model.report_model import Fact, Line, ReportModel, Section, code, line, plain
from gpubench.report.model.words import joined
from gpubench.report.topics.method import command_line
from gpubench.report.topics.set_up import environment_facts

_MOST_SAID = 6


@dataclass(frozen=True)
class Versus:
    """One comparison with the summaries of its sides, for charts."""

    compared: Compared
    reference: RunSummary
    candidate: RunSummary


def runs_report(
    candidate: RecordedRun,
    references: Sequence[RecordedRun],
    *,
    settings: CompareSettings | None = None,
    allow_unpaired: bool = False,
    force: bool = False,
) -> ReportModel:
    """A run against one or more others. UsageError where their numbers mean nothing together, unless `force`."""
    after, names = summarise_run(candidate), _names([*references, candidate])
    side = side_of(candidate, names[-1])
    found = []
    for run, name in zip(references, names, strict=False):
        compared = compare_sides(side_of(run, name), side, settings=settings, allow_unpaired=allow_unpaired)
        refuse(compared, force=force)
        found.append(Versus(compared, summarise_run(run), after))
    return build_versus(found)


def arms_report(
    run: RecordedRun, reference: str | None = None, summaries: Mapping[str, RunSummary] | None = None
) -> ReportModel:
    """The arms of one run against its first, or the one named; `summaries` by arm, if there are some already."""
    of = summaries or {arm: summarise_run(run, arm=arm) for arm in arms_of(run)}
    first, others = arm_sides(run, reference, of)
    return build_versus([Versus(compare_sides(first, side), of[first.name], of[side.name]) for side in others])


def build_versus(found: Sequence[Versus]) -> ReportModel:
    """One report of comparisons that share their candidate, or their reference."""
    models = [_model(each.compared) for each in found]
    several = len(found) > 1
    sections = [
        _renamed(section, number, each.compared if several else None)
        for number, (each, model) in enumerate(zip(found, models, strict=True))
        for section in _with_charts(model, each, number)
    ]
    names = list(
        dict.fromkeys(name for each in found for name in (each.compared.reference.name, each.compared.candidate.name))
    )
    return ReportModel(
        title=f"{found[0].compared.candidate.name} against {joined([each.compared.reference.name for each in found])}"
        if not _arms(found)
        else f"{joined([each.compared.candidate.name for each in found])} against {found[0].compared.reference.name}",
        subtitle=_subtitle(found, models),
        run=", ".join(names),
        headline=tuple(
            said for each, model in zip(found, models, strict=True) for said in _headline(each, model, several)
        ),
        sections=(*sections, *_setups(found)),
    )


def _model(compared: Compared) -> ReportModel:
    """What `compare` prints, with every row and its reason at the end."""
    model = build_comparison(compared)
    rows = build_comparison(compared, verbose=True).section("all")
    return model if rows is None else replace(model, sections=(*model.sections, rows))


def _arms(found: Sequence[Versus]) -> bool:
    return found[0].compared.candidate.source == "arm"


def _headline(each: Versus, model: ReportModel, several: bool) -> Sequence[Line]:
    """The verdicts; where there are several comparisons, each says of which it speaks."""
    if not several:
        return model.headline
    names = f"{each.compared.candidate.name} against {each.compared.reference.name}: "
    return [(*line(names), *said) for said in model.headline[:2]]


def _subtitle(found: Sequence[Versus], models: Sequence[ReportModel]) -> Line:
    """What is in common, and what differs: before any number."""
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


def _with_charts(model: ReportModel, each: Versus, number: int) -> Sequence[Section]:
    """The sections of one comparison, its charts after what differs."""
    charts = versus_charts(each.compared, each.reference, each.candidate, suffix=f"-{number + 1}" if number else "")
    shown = Section("charts", "Before and after", charts=charts)
    keys = [section.key for section in model.sections]
    at = keys.index("differs") + 1 if "differs" in keys else 0
    sections = [*model.sections[:at], shown, *model.sections[at:]]
    return [section for section in sections if not section.empty]


def _renamed(section: Section, number: int, compared: Compared | None) -> Section:
    """Keys stay apart where a report holds several comparisons, and headings say which one they belong to."""
    if compared is None:
        return section
    heading = f"{section.heading}: {compared.candidate.name} against {compared.reference.name}"
    return replace(section, key=f"{section.key}-{number + 1}" if number else section.key, heading=heading)


def _setups(found: Sequence[Versus]) -> tuple[Section, ...]:
    """Machine and command of each run, once."""
    runs: dict[str, tuple[str, RunSummary]] = {}
    for each in found:
        for side, summary in ((each.compared.reference, each.reference), (each.compared.candidate, each.candidate)):
            runs.setdefault(summary.info.run, (side.name if side.source != "arm" else summary.info.run, summary))
    sections = []
    for number, (name, summary) in enumerate(runs.values()):
        typed = command_line(summary.info.argv)
        facts = (*environment_facts(summary), *((Fact("Command", line(code(typed))),) if typed else ()))
        sections.append(Section(f"environment-{number + 1}", f"Set-up of {name}", facts=facts))
    return tuple(section for section in sections if not section.empty)


def _names(runs: Sequence[RecordedRun]) -> list[str]:
    """Runs by their tags if all have different ones, else by their names."""
    tags = [run.info.tag for run in runs]
    if all(tags) and len(set(tags)) == len(tags):
        return [str(tag) for tag in tags]
    return [run.info.run for run in runs]
