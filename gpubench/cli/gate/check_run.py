"""`gpubench check` of a stored run, and the output of its outcome: files, GitHub, the screen."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from gpubench.analysis.compare.compare_sides import SPEED_METRICS, compare_sides, refuse
from gpubench.analysis.gate.gate_outcome import Checked, check, metrics_of, settings_for
from gpubench.cli.gate.choose_sides import CheckRequest, rules_for_run, sides_to_check
from gpubench.cli.gate.keep_baseline import first_baseline, keep
from gpubench.cli.open_run import open_run, shown_name
from gpubench.cli.print_errors import say
from gpubench.cli.screens.final_screen import result_writer
from gpubench.core.errors import ExitStatus, MachineUnfitError
from gpubench.core.findings import unfit
from gpubench.core.metrics import SESOI
from gpubench.core.records import CRASHED
from gpubench.report.comparison.gate_screen import build_check, gate_title
from gpubench.report.comparison.json_documents import gate_document, to_lines
from gpubench.report.comparison.why_slower import Answer, why_sections
from gpubench.report.model.report_model import code, line
from gpubench.report.render.github import annotations, step_summary
from gpubench.report.render.junit import junit_xml
from gpubench.report.render.result_screen import print_comparison
from gpubench.store.atomic_files import store_error, write_output
from gpubench.store.run_reader import Run

GATE_NAME = "gate.json"


def check_stored(reference: str, asked: CheckRequest, end: "CheckEnd", *, strict: bool) -> int:
    """The gates of a stored run, with fresh rounds and a new baseline if asked for. Returns the exit status."""
    from gpubench.cli.gate.remeasure import remeasure  # imports the runner, which few checks need

    run = open_run(reference, asked.store)
    codes = unfit({found.code for record in run.records for found in record.findings}) if strict else ()
    if codes:
        raise MachineUnfitError(
            f"the machine was not fit while {run.info.run} was measured: {', '.join(codes)}",
            hint=f"`gpubench list findings {codes[0]}` explains it; without --strict the run is checked anyway.",
        )
    written = first_baseline(run, asked)
    if written is not None:
        return end.first(run, written)
    rules, declared = rules_for_run(run, asked.gates)
    sides = sides_to_check(run, asked)
    settings = settings_for(rules, asked.sesoi or run.info.sesoi or SESOI)
    compared = compare_sides(*sides, metrics_of(rules), settings, allow_unpaired=asked.allow_unpaired)
    refuse(compared, force=asked.force)
    again = remeasure(run, compared, allow_unpaired=asked.allow_unpaired, force=asked.force)
    checked = check(
        compared, rules, declared=declared, rounds=asked.rounds, remeasure=again, on_unclear=asked.on_unclear
    )
    checked = keep(checked, run, asked)
    answers = _why(run, checked, asked) if asked.why else None
    gate = end.output or run.folder / GATE_NAME
    return end.report(checked, shown_name(run.folder, asked.store), gate=gate, why=answers)


def _why(run: Run, checked: Checked, asked: CheckRequest) -> dict[str, Answer]:
    """What makes the cases slower that fail a gate on speed."""
    from gpubench.cli.why import explain_slower

    failed = [result for result in checked.results if result.outcome == "fail" and result.rule.metric in SPEED_METRICS]
    cases = {change.case_id: change for result in failed for change in result.failures}
    if not cases:
        say("No case fails a gate on speed, so there is nothing to explain.")
    return explain_slower(run, checked.fresh or checked.compared, tuple(cases.values()), force=asked.force)


@dataclass(frozen=True)
class CheckEnd:
    """Writes the outcome of a check."""

    junit: Path | None
    output: Path | None
    as_json: bool
    wide: bool

    def report(self, checked: Checked, name: str, *, gate: Path | None, why: dict[str, Answer] | None = None) -> int:
        """Writes the files first, so that they exist even if the terminal cannot be written to. Returns the exit
        status.

        `gate.json` and JUnit XML are written whole or not at all. StoreError if a file cannot be written.
        """
        model = build_check(checked, run=name, extra=why_sections(why or {}))
        document = gate_document(checked, why)
        texts = [] if gate is None else [(gate, to_lines(document))]
        texts += [] if self.junit is None else [(self.junit, junit_xml(checked))]
        for path, text in texts:
            write_output(path, text)
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            try:
                with Path(summary).open("a", encoding="utf-8") as file:
                    file.write(step_summary(model))
            except OSError as error:
                raise store_error("write", Path(summary), error) from error
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for each in annotations(checked):
                click.echo(each, err=True)  # stdout is for results
        undecided = [gate_title(result) for result in checked.results if result.outcome in ("unclear", "no data")]
        if checked.on_unclear == "warn" and undecided:
            say(f"warning: not decided everywhere: {', '.join(undecided)}")
        if self.as_json:
            sys.stdout.write(to_lines(document))
        else:
            print_comparison(result_writer(wide=self.wide), model)
        return checked.status

    def first(self, run: Run, written: Path) -> int:
        """The outcome for a run that became the first baseline, with none to check it against."""
        crashed = any(record.status in CRASHED for record in run.records)
        status = ExitStatus.CASE_FAILED if crashed else ExitStatus.OK
        if self.as_json:
            sys.stdout.write(to_lines({"schema": 1, "status": int(status), "baseline_written": str(written)}))
        else:
            said = line("Baseline written: ", code(str(written)), ". There was none to check against. Commit it.")
            result_writer(wide=self.wide).text(said)
        return status
