"""`gpubench validate`: checks a suite file and counts its cases."""

from typing import TYPE_CHECKING, Any

import rich_click as click

from gpubench.cli.print_errors import say, say_warning
from gpubench.cli.shared_options import complete_suites, json_option, select_option, set_option, wide_option
from gpubench.core.errors import ExitStatus, SuiteError, UsageError
from gpubench.core.secrets import hide_secrets, mask_text
from gpubench.report.model.inert_text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpubench.report.model.report_model import Fact
    from gpubench.suite.load import LoadedSuite
    from gpubench.suite.model.case import Case
    from gpubench.suite.read.problems import Problem


@click.command(name="validate")
@click.argument("suite", metavar="SUITE", shell_complete=complete_suites)
@set_option
@select_option
@click.option("--cases", "list_cases", is_flag=True, help="List the cases.")
@json_option
@wide_option
def command(
    suite: str, *, overrides: tuple[str, ...], selection: str | None, list_cases: bool, as_json: bool, wide: bool
) -> int:
    """Check a suite file and count its cases.

    Shows every mistake at once, with line and column, and warns about settings that are valid but probably not meant.
    Workloads of your own are imported. Use `gpubench run SUITE --dry-run` to see what would run on this machine.

    \b
    Examples:
      gpubench validate cnn
      gpubench validate cnn --cases -k 'device=cuda and mode=train'
      gpubench validate my.yaml --json     for editors: mistakes with line and column
    """  # noqa: D301 - click looks for the character itself
    from gpubench.runner.check_workloads import unusable_workloads
    from gpubench.suite.load import load_suite, missing_workloads
    from gpubench.suite.read.problems import suite_error

    try:
        loaded = load_suite(suite, overrides)
        missing = missing_workloads(loaded) or missing_workloads(
            loaded,
            unusable_workloads(loaded.cases, loaded.beside, timeout_s=loaded.suite.measure.timeout, say=say),
        )
        if missing:
            raise suite_error(missing)
    except SuiteError as found:
        if not as_json:
            raise
        _print_json({"schema": 1, "ok": False, "problems": [_problem(each) for each in found.problems]})
        return found.exit_status
    cases, trained = _selected(loaded, selection)
    if as_json:
        _print_json(_document(loaded, cases, trained, list_cases=list_cases))
    else:
        _print(loaded, cases, trained, list_cases=list_cases, wide=wide)
    return ExitStatus.OK


Labelled = tuple[tuple[int, str, "Case"], ...]
"""Number (as `gpubench run` with the same options counts), label and case."""


def _selected(loaded: "LoadedSuite", selection: str | None) -> tuple[Labelled, Labelled]:
    """The selected cases, with their labels in the whole suite, and the quality runs that follow from them."""
    from gpubench.suite.cases.expand import quality_cases
    from gpubench.suite.cases.labels import label_cases
    from gpubench.suite.select.expression import parse_selection

    wanted = None if selection is None else parse_selection(selection)
    labelled = zip(label_cases(loaded.cases), loaded.cases, strict=True)
    measured = _numbered((label, case) for label, case in labelled if wanted is None or wanted.matches(case))
    if wanted is not None and loaded.cases and not measured:
        raise UsageError(
            f"No case of {loaded.suite.name} matches {selection!r}.",
            hint=f"`gpubench validate {loaded.suite.name} --cases` lists them.",
        )
    trained = quality_cases(loaded.suite, [case for _, _, case in measured])
    return measured, _numbered(zip(label_cases(trained), trained, strict=True))


def _numbered(entries: "Iterable[tuple[str, Case]]") -> Labelled:
    return tuple((index, label, case) for index, (label, case) in enumerate(entries, start=1))


def _print(loaded: "LoadedSuite", cases: Labelled, trained: Labelled, *, list_cases: bool, wide: bool) -> None:
    from gpubench.cli.screens.final_screen import result_writer
    from gpubench.report.model.report_model import Cell, Column, Row, Table, code, line
    from gpubench.report.model.words import count

    for each in loaded.warnings:
        say_warning(each)
    writer = result_writer(wide=wide)
    writer.heading(mask_text(f"{loaded.suite.name}: {loaded.suite.description}".rstrip(": ")))
    writer.facts(_facts(loaded, cases, trained))
    if list_cases and cases:
        writer.blank()
        columns = (Column("index", "#"), Column("label", "case", "left"), Column("id", "id", "left", priority=1))
        rows = tuple(Row((Cell(str(index)), Cell(label), Cell(case.case_id))) for index, label, case in cases)
        writer.table(Table("cases", columns, rows))
    writer.blank()
    said = count(len(loaded.warnings), "warning") if loaded.warnings else "No mistakes"
    more = "" if list_cases or not cases else "--cases lists the cases; "
    writer.text(line(f"{said}. ", more, code(f"gpubench run {_name(loaded)} --dry-run"), " says what would run here."))


def _facts(loaded: "LoadedSuite", cases: Labelled, trained: Labelled) -> "tuple[Fact, ...]":
    from gpubench.core.units import format_duration
    from gpubench.report.model.report_model import Fact, line
    from gpubench.report.model.words import count

    suite, expansion = loaded.suite, loaded.expansion
    made = [count(expansion.num_combinations, "combination")]
    made += [f"{expansion.num_excluded} excluded"] if expansion.num_excluded else []
    made += [f"a path of {count(len(suite.path), 'change')}"] if suite.path else []
    made += [f"{len(suite.include)} included"] if suite.include else []
    left = "" if len(cases) == len(loaded.cases) else f" of {len(loaded.cases)}"
    least, most = suite.measure.least_repeats, suite.measure.most_repeats
    repeats = count(most, "launch", "launches") if least == most else f"{least} to {most} launches"
    launches = f"{len(cases) * most}: {repeats} per case"
    facts = [
        Fact("target" if loaded.target else "file", line(loaded.source)),
        Fact("digest", line(loaded.digest)),
        *(Fact(name, line(_values(name, values))) for name, values in suite.matrix.items()),
        Fact("cases", line(f"{len(cases)}{left} ({', '.join(made)})")),
        Fact("launches", line(f"{launches}, each measuring at most {format_duration(suite.measure.max_time)}")),
    ]
    if suite.quality is not None:
        runs = len(trained) * suite.quality.seeds
        facts.append(
            Fact(
                "quality",
                line(f"{count(runs, 'quality run')} of {count(suite.quality.epochs, 'epoch')}"),
            )
        )
    if suite.requires:
        facts.append(Fact("requires", line(f"{suite.requires}; elsewhere every case is skipped")))
    return tuple(facts)


def _values(name: str, values: list[Any]) -> str:
    from gpubench.suite.cases.labels import short_word
    from gpubench.suite.model.settings import normal
    from gpubench.suite.select.patterns import text_of

    held = [normal(name, value) for value in values]
    return ", ".join(
        short_word(name, value) if isinstance(value, dict) or value is None else text_of(value) for value in held
    )


def _name(loaded: "LoadedSuite") -> str:
    """The suite's name on a command line."""
    from gpubench.suite.read.shipped import shipped_suites

    shipped = shipped_suites().get(loaded.suite.name)
    same = shipped is not None and loaded.path is not None and shipped == loaded.path.resolve()
    return loaded.suite.name if same else loaded.source


def _document(loaded: "LoadedSuite", cases: Labelled, trained: Labelled, *, list_cases: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": 1,
        "ok": True,
        "suite": {
            "name": loaded.suite.name,
            "description": loaded.suite.description,
            "digest": loaded.digest,
            "path": None if loaded.path is None else str(loaded.path),
        },
        "num_combinations": loaded.expansion.num_combinations,
        "num_excluded": loaded.expansion.num_excluded,
        "num_cases": len(cases),
        "num_launches": len(cases) * loaded.suite.measure.most_repeats,
        "num_quality_runs": len(trained) * (loaded.suite.quality.seeds if loaded.suite.quality else 0),
        "problems": [_problem(each) for each in loaded.warnings],
    }
    if list_cases:
        document["cases"] = [
            {"index": index, "id": case.case_id, "label": label, "settings": case.settings}
            for index, label, case in cases
        ]
    return document


def _problem(problem: "Problem") -> dict[str, Any]:
    """Line and column count from 1, as editors do; those of an option (`-s`) are within its text."""
    mark = problem.mark
    return {
        "severity": problem.severity,
        "path": problem.path,
        "message": problem.message,
        "suggestion": problem.suggestion or None,
        "source": mark.source.name,
        "line": mark.line + 1,
        "column": mark.column + 1,
        "length": mark.length,
    }


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json_text(hide_secrets(document), indent=2))
