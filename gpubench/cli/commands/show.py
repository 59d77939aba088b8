"""`gpubench show`: a stored run, or one of its cases in full."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.shared_options import complete_runs, json_option, price_of, price_option, store_option, wide_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpubench.analysis.summary.case_summary import CaseSummary
    from gpubench.analysis.summary.run_summary import RunSummary
    from gpubench.store.run_info import RunInfo
    from gpubench.store.run_reader import Run
    from gpubench.suite.machine_prices import Price

SECTIONS = (
    "switches",
    "best",
    "waterfall",
    "effects",
    "ceilings",
    "scaling",
    "collectives",
    "compression",
    "accuracy",
    "cases",
    "unmeasured",
    "findings",
    "repeat",
)

_MOST_LISTED = 1000
"""Most rows in the table of cases; more would push the answers off the screen."""


@click.command(name="show")
@click.argument("run", metavar="[RUN[:CASE]]", default="@last", shell_complete=complete_runs)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print the long table (a row per case and metric) as CSV.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Every section (step times, memory, energy, ...) and case, also those that could not run here.",
)
@price_option
@wide_option
@store_option
def command(
    run: str, *, as_json: bool, as_csv: bool, everything: bool, price: "Price | None", wide: bool, store: Path
) -> None:
    """One run or one case in full.

    RUN is a folder, the start of a run's name, a tag, `@last` (the default), or `@last~2` (two before the last).
    CASE is a number in the run's table, a label, or a case id. A run with arms is shown arm by arm (`gpubench compare`
    compares them), and --json and --csv name the arm of each case.

    \b
    Examples:
      gpubench show                    the last run
      gpubench show @last~1 --all      every section of the run before it
      gpubench show @last:12           case 12: settings, figures, findings
      gpubench show --price 2.5/h      also samples per unit of money
      gpubench show 20261123 --json    as schemas/run-document-1.json describes
      gpubench show baseline --csv > runs.csv
    """  # noqa: D301 - click looks for the character itself
    from gpubench.analysis.compare.run_sides import arms_of
    from gpubench.analysis.summary.run_summary import summarise_run
    from gpubench.cli.open_run import open_run, pick_case, shown_name
    from gpubench.store.run_names import split_case

    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    reference, case = split_case(run)
    stored = open_run(reference, store)
    hourly = price_of(price, stored.info.environment)
    if as_json or as_csv:
        sys.stdout.writelines(_exported(stored, case, hourly, as_json=as_json))
        return
    name, arms = shown_name(stored.folder, store), arms_of(stored)
    for arm in arms or (None,):
        summary = summarise_run(stored, arm=arm, price_per_hour=hourly)
        told = "" if arm is None else f", arm {arm}{_given(summary.info, arm)}"
        chosen = None if case is None else pick_case(summary, case)
        if chosen is not None:
            _print_case(chosen, summary.info, stored.folder, told, wide=wide)
        else:
            _print_run(summary, stored, name, told, everything=everything, wide=wide)
    if arms:
        click.echo(f"\n`gpubench compare {name}` compares the arms.")


def _given(info: "RunInfo", arm: str) -> str:
    """What was asked for the arm, in brackets; empty if nothing was."""
    asked = next((each.asked for each in info.arms if each.name == arm), "")
    return f" ({asked})" if asked else ""


def _exported(stored: "Run", case: str | None, price: float | None, *, as_json: bool) -> "Iterator[str]":
    """The document or the long table of a run, or of one of its cases; arms are kept apart."""
    from gpubench.cli.open_run import pick_case
    from gpubench.report.render.json_document import sides_text
    from gpubench.report.sinks.exported_run import ExportedRun, summarise_sides
    from gpubench.report.sinks.table_files import csv_parts

    sides = summarise_sides(stored, price_per_hour=price)
    index = None if case is None else pick_case(next(iter(sides.values())), case).planned.index
    if as_json:
        return sides_text(sides, folder=str(stored.folder), case=index)
    return csv_parts(ExportedRun(stored, sides), index)


def _print_case(chosen: "CaseSummary", info: "RunInfo", folder: Path, arm: str, *, wide: bool) -> None:
    from dataclasses import replace

    from gpubench.cli.screens.final_screen import result_writer
    from gpubench.profile.figures.summary_model import stored_profile, stored_trace
    from gpubench.report.pages.case_page import case_page
    from gpubench.report.pages.profile_page import profile_page

    page = case_page(chosen, info, text=_log(chosen, folder))
    first, *others = page.sections
    page = replace(page, sections=(replace(first, heading=f"{first.heading}{arm}"), *others))
    profile = stored_profile(folder, chosen.planned.index)
    if profile is not None:
        more = profile_page(profile, trace=stored_trace(folder, chosen.planned.index))
        page = replace(page, sections=(*page.sections, *more))
    result_writer(wide=wide).page(page)


def _log(chosen: "CaseSummary", folder: Path) -> str:
    """The end of the log of the first failed launch; empty if there is none."""
    from gpubench.store.run_reader import read_log

    logs = (record.failure.log for record in chosen.records if record.failure is not None and record.failure.log)
    return next((text for log in logs if (text := read_log(folder, log))), "")


def _print_run(summary: "RunSummary", stored: "Run", name: str, arm: str, *, everything: bool, wide: bool) -> None:
    from dataclasses import replace

    from gpubench.cli.screens.final_screen import result_writer
    from gpubench.profile.figures.summary_model import stored_profiles
    from gpubench.report.build import build_report, sections_of
    from gpubench.report.view.run_view import View

    view = View(
        summary,
        name=name,
        profiles=stored_profiles(stored.folder),
        notices=stored.dropped,
        most_listed=None if everything else _MOST_LISTED,
        list_skipped=everything,
    )
    writer = result_writer(wide=wide)
    model = build_report(view, pages=False, only=())
    writer.report(replace(model, title=f"{model.title}{arm}"))
    # Written as they are made: together, the tables of ten thousand cases take more memory than their figures.
    for section in sections_of(view, None if everything else SECTIONS):
        writer.section(section)
