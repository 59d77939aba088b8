"""Finishes a run: result, report, comparison with a baseline, and the exit status of `gpubench run`."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import rich_click as click

from gpubench.analysis.compare.compare_sides import COMPARED, Compared, compare_sides, refuse
from gpubench.analysis.compare.run_sides import Side, arm_sides, arms_of, side_of
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.cli.console import filled, table_width
from gpubench.cli.exports import export_to
from gpubench.cli.open_run import shown_name
from gpubench.cli.print_errors import say
from gpubench.cli.run_arms import AskedArms
from gpubench.cli.screens.final_screen import print_compared, print_compared_json, result_writer
from gpubench.core.errors import ExitStatus, MachineUnfitError, UsageError
from gpubench.core.findings import Validity, unfit, validity
from gpubench.core.metrics import SESOI
from gpubench.core.records import CRASHED, Status, latest
from gpubench.machine.doctor.examination import unfit_rows
from gpubench.report.build import build_report
from gpubench.report.comparison.comparison_report import build_comparison
from gpubench.report.comparison.versus import arms_report
from gpubench.report.model.report_model import ReportModel
from gpubench.report.render.json_document import run_document, to_json
from gpubench.report.render.result_screen import RESULT_SECTIONS, final_screen, print_comparison
from gpubench.report.sinks.exported_run import ExportedRun, summarise_sides
from gpubench.report.sinks.sink import Sink
from gpubench.report.view.run_view import View
from gpubench.report.write import keep_ceilings, report_of, write_both
from gpubench.runner.run import RunOutcome
from gpubench.store.run_info import RunInfo
from gpubench.store.run_reader import Run, load_run


class RunEnding:
    """The options of `gpubench run` that concern its end. The run is compared with `baseline`."""

    def __init__(
        self,
        strict: bool,
        report: bool,
        as_json: bool,
        wide: bool,
        arms: AskedArms,
        baseline: Side | None,
        *,
        allow_empty: bool = False,
        exports: Sequence[Sink] = (),
    ) -> None:
        self.strict, self.report, self.as_json, self.wide = strict, report, as_json, wide
        self.arms, self.baseline, self.allow_empty = arms, baseline, allow_empty
        self.exports = exports

    def before(self, info: RunInfo) -> None:
        """Called before the first launch: `--strict` refuses an unfit machine."""
        if not self.strict:
            return
        uses_gpu = any(planned.case.device_type == "cuda" for planned in info.cases)
        bad = unfit_rows(info.environment, uses_gpu=uses_gpu)
        if bad:
            raise MachineUnfitError(
                f"this machine is not fit for measuring: {'; '.join(bad)}",
                hint="`gpubench doctor` says what to do; without --strict the run continues.",
            )

    def after(self, outcome: RunOutcome, store: Path) -> int:
        """Ends the run. Each side is summarised once, and the report built once, for file and screen."""
        stored = load_run(outcome.folder)
        name = shown_name(stored.folder, store)
        sides = summarise_sides(stored)
        show = self._compare_arms if stored.info.arms else self._show
        written = show(stored, name, sides)
        sent = self._export(stored, name, sides, interrupted=outcome.interrupted)
        if not self.as_json:
            _print_next(stored, name, written, sent, interrupted=outcome.interrupted)
        status = self._status(stored, interrupted=outcome.interrupted)
        return status or (ExitStatus.OK if len(sent) == len(self.exports) else ExitStatus.USAGE)

    def _export(self, stored: Run, name: str, sides: Mapping[str, RunSummary], *, interrupted: bool) -> tuple[str, ...]:
        """Where the run went. Half a run is not sent: what it lacks would look as if it were gone."""
        if not (interrupted and self.exports):
            return export_to(self.exports, ExportedRun(stored, sides))
        options = " ".join(f"--to {shlex.quote(sink.text)}" for sink in self.exports)
        say(
            f"note: not exported, because the run is not complete: `gpubench export {name} {options}` sends it as it is"
        )
        return ()

    def _show(self, stored: Run, name: str, sides: Mapping[str, RunSummary]) -> Path | None:
        """Prints the screen of a run without arms, and the changes since the baseline. Returns the report's path."""
        summary = sides[""]
        keep_ceilings(summary)
        model = report_of(stored, name, summary) if self.report else None
        return _shown_and_written(model, stored, lambda: self._print(stored, summary, model, name))

    def _print(self, stored: Run, summary: RunSummary, model: ReportModel | None, name: str) -> None:
        if self.as_json:
            sys.stdout.write(to_json(run_document(summary, folder=str(stored.folder))))
            return
        writer = result_writer(wide=self.wide)
        final_screen(writer, model or build_report(View(summary, name=name), pages=False, only=RESULT_SECTIONS))
        writer.blank()
        if self.baseline is not None:
            compared = compare_sides(self.baseline, side_of(stored, stored.info.run, summary=summary))
            try:
                refuse(compared)
            except UsageError as error:  # the run is stored in any case
                say(f"note: not compared with the baseline: {error}")
            else:
                print_comparison(result_writer(wide=self.wide), build_comparison(compared))
            writer.blank()

    def _compare_arms(self, stored: Run, _name: str, summaries: Mapping[str, RunSummary]) -> Path | None:
        """Prints the output of `gpubench compare`: every arm against the first. Returns the report's path."""
        model = arms_report(stored, summaries=summaries, folder=stored.folder) if self.report else None
        first, others = arm_sides(stored, summaries=summaries)
        settings = CompareSettings(sesoi=self.arms.sesoi or stored.info.sesoi or SESOI)
        found = [compare_sides(first, side, COMPARED, settings) for side in others]
        return _shown_and_written(model, stored, lambda: self._print_arms(stored, found))

    def _print_arms(self, stored: Run, found: Sequence[Compared]) -> None:
        if self.as_json:
            print_compared_json(found)
            return
        click.echo()
        for number, each in enumerate(found):
            print_compared(each, (stored.folder, stored.folder), verbose=False, wide=self.wide, again=bool(number))
        click.echo()

    def _status(self, stored: Run, *, interrupted: bool) -> int:
        if interrupted:
            return ExitStatus.INTERRUPTED
        codes = {entry.code for record in stored.records for entry in record.findings}
        if self.strict and unfit(codes):
            found = ", ".join(unfit(codes))
            raise MachineUnfitError(
                f"the run is stored, and the machine was not fit while it was measured: {found}",
                hint=f"`gpubench list findings {unfit(codes)[0]}` explains.",
            )
        ended = {record.status for record in stored.records} | {case.skip_status for case in stored.info.cases}
        if ended & CRASHED:
            return ExitStatus.CASE_FAILED
        measured = {
            record.arm
            for record in latest(stored.records)
            if record.status is Status.OK and validity(record.findings) is not Validity.INVALID
        }
        lacking = [arm for arm in arms_of(stored) or (None,) if arm not in measured]
        if not lacking or self.allow_empty:
            return ExitStatus.OK
        of_arm = f" of arm {lacking[0]}" if lacking[0] is not None else ""
        say(f"No case{of_arm} gave a valid figure: exit status 3. --allow-empty makes that 0.")
        return ExitStatus.CASE_FAILED


def _shown_and_written(model: ReportModel | None, stored: Run, show: Callable[[], None]) -> Path | None:
    """Writes the report after the result is on the screen, as drawing may lack memory, and files room. If stdout takes
    no more (a full disk, a reader that is gone), the report is written all the same before that is raised.
    """
    try:
        show()
        sys.stdout.flush()
    except OSError:
        if model is not None:
            write_both(model, stored.folder)
        raise
    return None if model is None else write_both(model, stored.folder)


def _print_next(stored: Run, name: str, written: Path | None, sent: Sequence[str], *, interrupted: bool) -> None:
    """Prints where the run is, and what to type next. An explanation that does not fit its line goes below it."""
    lines = [("Report", str(written), "") if written is not None else ("Run", str(stored.folder), "")]
    lines += [("" if number else "Sent to", where, "") for number, where in enumerate(sent)]
    if interrupted:
        lines.append(("Next", f"gpubench run --resume {name}", "measures what is missing"))
    elif stored.info.arms:
        lines.append(("Next", f"gpubench compare {name} -v", "every row with its reason"))
        lines.append(("", f"gpubench check {name}", "the gate: exit 1 if a limit is broken"))
    else:
        lines.append(("Next", f"gpubench show {name}", "every effect, case and finding"))
        lines.append(("", f"gpubench show {name}:1", "one case in full"))
    widest = max(len(what) for _, what, why in lines if why)
    longest = max(len(why) for *_, why in lines)
    width = table_width(sys.stdout)
    for title, what, why in lines:
        beside = why and widest + 11 + longest <= width
        if len(what) + 8 > width and not why:  # a long path gets its own line
            click.echo(f"{title}\n{what}".lstrip())
            continue
        click.echo(filled(f"{what:<{widest}}   {why}" if beside else what, width, f"{title:<8}", " " * 8))
        if why and not beside:
            click.echo(filled(why, width, " " * 10))
