"""The pages of a site: all runs, a suite, a machine, a case."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gpubench.analysis.compare.run_sides import Difference
from gpubench.analysis.history.case_history import CaseHistory, HistoryPoint, PastRun
from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate
from gpubench.core.units import format_percent
from gpubench.report.comparison.change_cells import metric_title, unit_of
from gpubench.report.comparison.history_screen import (
    MIN_RUNS,
    changes_tables,
    headline_of,
    measure_again,
    series_tables,
)
from gpubench.report.model.figure_cells import figure_cell
from gpubench.report.model.report_model import (
    EMPTY,
    Cell,
    Column,
    Fact,
    Line,
    ReportModel,
    Section,
    Span,
    Table,
    code,
    line,
    lines,
    link,
)
from gpubench.report.model.words import count, pattern
from gpubench.report.site.history_chart import history_chart
from gpubench.report.site.site_content import INDEX, CaseKey, SiteContent, case_page_name, digest_of
from gpubench.suite.model.case import Case

VERSIONS = ("packages.gpubench", "worker.torch", "worker.cuda", "worker.cudnn", "driver.driver", "python.version")
_MOST_CHANGES = 100
_MOST_RUNS = 1000
_MOST_POINTS = 200
_HARDWARE = ("gpu", "cpu", "driver", "system")

Page = Callable[[], ReportModel]


def site_pages(site: SiteContent) -> dict[str, Page]:
    """What makes each page, by file name."""
    return {
        INDEX: partial(_index, site),
        **{site.suite(name): partial(_suite, site, name) for name in site.suites},
        **{site.machine(name): partial(_machine, site, name) for name in site.machines},
        **{case_page_name(key): partial(_case, site, key) for key in site.cases},
    }


def _index(site: SiteContent) -> ReportModel:
    def last(name: str) -> str:
        return next(run.created[:10] for run in reversed(site.runs) if run.side.suite == name)

    suites = (
        Column("suite", "suite", "left", cell=lambda name: Cell(name, href=site.suite(name))),
        Column("cases", "cases", cell=lambda name: sum(suite == name for suite, _ in site.cases)),
        Column("runs", "runs", cell=lambda name: sum(run.side.suite == name for run in site.runs)),
        Column("changes", "changes", cell=lambda name: len(site.moved(name))),
        Column("last", "last run", "left", cell=last),
    )
    machines = (
        Column("machine", "machine", "left", flexible=True, cell=lambda name: Cell(name, href=site.machine(name))),
        Column("cases", "cases", cell=lambda name: sum(name in machines for machines in site.cases.values())),
        Column("changes", "changes", cell=lambda name: len(site.moved(machine=name))),
    )
    body = (
        Section("suites", "Suites", tables=(Table.of("suites", suites, site.suites),)),
        Section("machines", "Machines", tables=(Table.of("machines", machines, site.machines),)),
    )
    return _page(site, "All runs", (), site.first_of_each(), site.moved(), site.runs, body)


def _suite(site: SiteContent, name: str) -> ReportModel:
    found = site.first_of_each(name)
    body = (Section("series", "Cases", tables=series_tables(found, site)),)
    runs = [run for run in site.runs if run.side.suite == name]
    return _page(site, f"Suite {name}", _home(), found, site.moved(name), runs, body)


def _machine(site: SiteContent, name: str) -> ReportModel:
    found = site.first_of_each(machine=name)
    runs = site.runs_of(each for _, each in found)
    facts = tuple(
        Fact(Difference(fact, None, None).shown, line(str(value)))
        for fact, value in (runs[-1].side.environment if runs else {}).items()
        if fact.startswith(_HARDWARE) and not isinstance(value, list | tuple)
    )
    body = (
        Section("series", "Cases", tables=series_tables(found, site)),
        Section("facts", f"The machine in {runs[-1].run}", facts=facts, short="Machine"),
    )
    return _page(site, name, _home(), found, site.moved(machine=name), runs, body)


def _case(site: SiteContent, key: CaseKey) -> ReportModel:
    suite, case_id = key
    machines = site.cases[key]
    case = site.newest[key]
    changed = Case.model_validate(case.settings).model_dump(mode="json", exclude_defaults=True)
    facts = (
        Fact("Settings", line(code(pattern(changed) or "defaults"))),
        Fact("Case id", line(case_id)),
        Fact("Suite", line(link(suite, site.suite(suite)))),
    )
    precision = str(case.settings.get("precision", ""))
    body = [Section("case", "Case", facts=facts)]
    for number, (machine, found) in enumerate(machines.items(), start=1):
        charts = tuple(
            history_chart(metric, each, f"{metric}-{digest_of(suite, case_id, machine)}", precision=precision)
            for metric, each in found.items()
        )
        said = line(link("All cases on this machine", site.machine(machine)))
        tables = (_points(site, found),)
        body.append(Section(f"machine-{number}", machine, lines=(said,), charts=charts, tables=tables))
    every = [(metric, each) for found in machines.values() for metric, each in found.items()]
    moved, runs = site.moved(suite, case_id=case_id), site.runs_of(each for _, each in every)
    return _page(site, case.label, _home(link(f"suite {suite}", site.suite(suite))), every, moved, runs, body)


def _home(*more: Span) -> Line:
    parts: list[str | Span] = [link("All runs", INDEX)]
    for each in more:
        parts += [" / ", each]
    return line(*parts, ": ")


def _page(
    site: SiteContent,
    title: str,
    trail: Line,
    found: Sequence[tuple[str, CaseHistory]],
    moved: Sequence[Any],
    runs: Sequence[PastRun],
    body: Sequence[Section],
) -> ReportModel:
    """A page with the changes of level first, then its `body`, then versions and runs."""
    cases = len({(each.suite, each.case_id) for _, each in found})
    days = sorted(run.created[:10] for run in runs)
    period = f" from {days[0]} to {days[-1]}" if days else ""
    floor = format_percent(site.floor)
    said = f"{count(cases, 'case')} over {count(len(runs), 'run')}{period}; changes of {floor} and more"
    more = lines(f"The newest {_MOST_CHANGES} of {len(moved)}." if len(moved) > _MOST_CHANGES else "")
    sections = (
        Section("changes", "Changes of level", lines=more, tables=changes_tables(moved[:_MOST_CHANGES], site)),
        Section("next", "Next", lines=measure_again(moved)),
        *body,
        Section("versions", "Versions", tables=(_versions(runs),)),
        Section("runs", "Runs", tables=(_runs(site, runs),), folded=True, gist=count(len(runs), "run")),
    )
    short = sum(len(each.points) < MIN_RUNS for _, each in found)
    return ReportModel(
        title=title,
        subtitle=(*trail, *line(said)),
        run="",
        headline=(headline_of(moved, len(found), short),),
        sections=tuple(section for section in sections if not section.empty),
        kind="history",
    )


def version_of(run: PastRun, name: str) -> str:
    """A version that the run's environment names; empty if unknown."""
    environment = run.side.environment
    found = environment.get(name, environment.get(name.replace("worker.", "packages.", 1)))
    return "" if found is None else str(found)


def _version_columns(get: Callable[[Any], PastRun]) -> tuple[Column, ...]:
    def column(name: str) -> Column:
        title = Difference(name, None, None).shown
        return Column(name.replace(".", "-"), title, "left", cell=lambda item: version_of(get(item), name))

    return tuple(map(column, VERSIONS))


def _versions(runs: Sequence[PastRun]) -> Table:
    """The runs with each combination of versions, the newest first."""
    groups: dict[tuple[str, ...], list[PastRun]] = {}
    for run in runs:
        groups.setdefault(tuple(version_of(run, name) for name in VERSIONS), []).append(run)
    columns = (
        *_version_columns(lambda group: group[-1]),
        Column("count", "runs", cell=len),
        Column("first", "first", "left", cell=lambda group: group[0].created[:10]),
        Column("last", "last", "left", cell=lambda group: group[-1].created[:10]),
    )
    newest = sorted(groups.values(), key=lambda group: group[-1].created, reverse=True)[:_MOST_CHANGES]
    return Table.of("versions", columns, newest).without_empty_columns()


def _run_columns(site: SiteContent, get: Callable[[Any], PastRun]) -> tuple[Column, ...]:
    def name(item: Any) -> Cell:
        run = get(item)
        return Cell(run.run, href=site.report(run.run, run.created))

    return (
        Column("run", "run", "left", cell=name),
        Column("started", "started (UTC)", "left", cell=lambda item: get(item).created[:16].replace("T", " ")),
    )


def _runs(site: SiteContent, runs: Sequence[PastRun]) -> Table:
    columns = (
        *_run_columns(site, lambda run: run),
        Column("tag", "tag", "left", cell=lambda run: run.tag),
        Column("suite", "suite", "left", cell=lambda run: Cell(run.side.suite, href=site.suite(run.side.suite))),
        Column("machine", "machine", "left", cell=lambda run: run.machine),
        Column("commit", "commit", "left", cell=lambda run: run.side.facts.get("git commit")),
        *_version_columns(lambda run: run),
    )
    return Table.of(
        "runs", columns, runs[: -_MOST_RUNS - 1 : -1], notes=_newest(runs, _MOST_RUNS)
    ).without_empty_columns()


def _points(site: SiteContent, found: dict[str, CaseHistory]) -> Table:
    """The figures of a case on one machine, run by run, the newest first."""

    def figures(metric: str) -> Column:
        at = {(point.run, point.created): point for point in found[metric].points}
        spec, unit = METRICS[metric], unit_of(metric)

        def cell(point: HistoryPoint) -> Cell:
            here = at.get((point.run, point.created))
            if here is None:
                return EMPTY
            return figure_cell(Estimate(value=here.value, low=here.low, high=here.high, n=here.n), spec, spread=True)

        return Column(metric, f"{metric_title(metric)} {unit}".strip(), cell=cell)

    every = {(p.created, p.run): p for each in found.values() for p in each.points}
    points = [every[key] for key in sorted(every, reverse=True)]
    columns = (
        *_run_columns(site, site.run_of),
        *map(figures, found),
        Column("launches", "launches", cell=lambda point: point.n),
        Column("commit", "commit", "left", cell=lambda point: point.commit),
        *_version_columns(site.run_of),
    )
    table = Table.of(
        "points",
        columns,
        points[:_MOST_POINTS],
        notes=_newest(points, _MOST_POINTS, "; the data of the charts has all"),
    )
    return table.without_empty_columns()


def _newest(items: Sequence[Any], most: int, more: str = "") -> tuple[Line, ...]:
    return lines(f"The newest {most} of {len(items)}{more}." if len(items) > most else "")
