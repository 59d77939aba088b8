"""The output of `gpubench run --dry-run`: cases, skips with reasons, launches and time."""

from collections.abc import Sequence

import click

from gpubench.cli.print_errors import say
from gpubench.cli.screens.final_screen import result_writer
from gpubench.core.records import Status
from gpubench.core.secrets import hide_secrets, mask_text
from gpubench.core.units import format_duration
from gpubench.report.model.inert_text import json_text
from gpubench.report.model.report_model import Cell, Column, Row, Table, code, line
from gpubench.report.model.words import count, left_out_texts
from gpubench.report.view.run_view import QUIET
from gpubench.runner.check_workloads import unusable_workloads
from gpubench.runner.plan import forecast
from gpubench.store.run_info import PlannedCase
from gpubench.suite.load import LoadedSuite
from gpubench.suite.read.find_workload import why_missing


def print_plan(
    loaded: LoadedSuite,
    planned: Sequence[PlannedCase],
    *,
    host_s: float,
    as_json: bool,
    wide: bool,
    num_arms: int = 1,
    rounds: int | None = None,
    everything: bool = False,
) -> None:
    """Prints to stdout, as a table or a JSON document. With arms, for the most `rounds` of a case. Cases that this
    machine cannot run take one line per reason; with `everything`, one row each.
    """
    expected = forecast(loaded.suite, planned, host_s=host_s, num_arms=num_arms, rounds=rounds)
    if as_json:
        document = {
            "schema": 1,
            "suite": {"name": loaded.suite.name, "digest": loaded.digest},
            "cases": [case.model_dump(mode="json") for case in planned],
            "launches": expected.num_launches,
            "expected_s": {"least": round(expected.least_s, 1), "most": round(expected.most_s, 1)},
            "contests": [{"label": label, "cases": number} for label, number in expected.contests],
            "contests_expected_s": {
                "least": round(expected.contests_least_s, 1),
                "most": round(expected.contests_most_s, 1),
            },
        }
        click.echo(json_text(hide_secrets(document), indent=2))
        return
    columns = (
        Column("index", "#"),
        Column("label", "case", "left"),
        Column("id", "id", "left", priority=2),
        Column("here", "here", "left", flexible=True),
    )
    rows = []
    quiet = [] if everything else [case for case in planned if case.skip_status in QUIET]
    for case in (case for case in planned if case not in quiet):
        here = "quality run" if case.kind == "quality" else "measured"
        if case.skip_status is not None:
            here = mask_text(f"{case.skip_status.value}: {case.skip_reason}")
        rows.append(Row((Cell(str(case.index)), Cell(case.label), Cell(case.case_id), Cell(here))))

    writer = result_writer(wide=wide)
    writer.table(Table("plan", columns, tuple(rows)))
    writer.blank()
    for text in left_out_texts((case.kind, str(case.skip_status), case.skip_reason or "") for case in quiet):
        writer.text(line(mask_text(text), "; ", code("--all"), " lists them."))
    skipped = sum(case.skip_status is not None for case in planned)
    cases = f"{count(len(planned) - skipped, 'case')} would run" + (f", {skipped} would not" if skipped else "")
    writer.text(line(f"{cases}: {count(expected.num_launches, 'launch', 'launches')}. Nothing ran."))
    if expected.contests:
        held = ", ".join(f"{label} ({count(number, 'case')})" for label, number in expected.contests)
        span = f"{format_duration(expected.contests_least_s)} to {format_duration(expected.contests_most_s)}"
        writer.text(line(f"Then cases take turns in one process: {held}: {span}. --no-contest skips this."))
    if expected.num_launches:
        span = f"{format_duration(expected.least_s)} to {format_duration(expected.most_s)}"
        writer.text(line(f"Expected time: {span} (steady cases end early; compiling and large models take longer)."))


def without_workload(loaded: LoadedSuite, planned: Sequence[PlannedCase]) -> tuple[PlannedCase, ...]:
    """The plan, with cases marked as failed if their workload cannot be found here."""
    why = {case.workload: why_missing(case.workload, loaded.beside)[0] for case in loaded.cases}
    found = [case for case in loaded.cases if not why[case.workload] and case.workload != loaded.target]
    timeout_s = loaded.suite.measure.timeout
    unusable = unusable_workloads(found, loaded.beside, timeout_s=timeout_s, say=say)
    why |= {name: said for name, (said, _) in unusable.items()}
    return tuple(
        case.model_copy(update={"skip_status": Status.FAILED, "skip_reason": why[case.case.workload]})
        if case.skip_status is None and case.case.python is None and why.get(case.case.workload)
        else case
        for case in planned
    )
