"""The progress of a run on stderr: a growing table with lines that are redrawn, or a plain log.

Both listen to the runner's events and print nothing else. One redraw per second is all that may disturb the
measurement.
"""

import sys
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gpubench.cli.console import UNLIMITED, progress_console, prose_width, redraws, table_width
from gpubench.cli.screens.case_rows import CaseRows, launch_text
from gpubench.cli.screens.run_header import header_facts
from gpubench.cli.screens.status_lines import Running, Tally, status_lines
from gpubench.core.records import Status
from gpubench.core.units import format_duration
from gpubench.report.model.inert_text import cell_width, inert
from gpubench.report.model.report_model import Tone, line
from gpubench.report.model.words import count
from gpubench.report.render.terminal import TONES, TerminalReport
from gpubench.runner.events import (
    CaseFinished,
    ContestFinished,
    ContestStarted,
    Event,
    HostStarted,
    LaunchFinished,
    LaunchPhase,
    LaunchProgress,
    LaunchStarted,
    Notice,
    RoundFinished,
    RunFinished,
    RunStarted,
)
from gpubench.store.run_info import PlannedCase

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from gpubench.cli.standing_verdicts import Verdicts

_RECENT = 4
_NOTICED = ("failed", "timeout", "oom")


class RunProgress(ABC):
    """A listener of a run, and a context manager around it, which keeps count and prints the growing table."""

    def __init__(
        self,
        console: "Console",
        *,
        wide: bool = False,
        clock: Callable[[], float] = time.monotonic,
        verdicts: "Verdicts | None" = None,
    ) -> None:
        self.console = console
        self.verdicts = verdicts
        self.clock = clock
        self.width = UNLIMITED if wide else console.width if console.is_terminal else table_width(console.file)
        self.writer = TerminalReport(console, self.width, min(console.width, prose_width(console.file)))
        self.rows: CaseRows | None = None
        self.running: Running | None = None
        self.counts: Counter[str] = Counter()
        self.started_s = self.clock()
        self.num_launches = 0
        self.num_before = 0
        self.num_done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._start(event)
            case LaunchStarted():
                label = event.case.label if event.arm is None else f"{event.case.label} [{event.arm}]"
                self.running = Running(label, event.repeat, event.repeats)
            case LaunchPhase():
                if (now := self.running) is not None:
                    progress = LaunchProgress(0, telemetry=now.progress.telemetry)
                    self.running = Running(now.label, now.repeat, now.repeats, event.name, progress)
            case LaunchProgress():
                if (now := self.running) is not None:
                    progress = replace(event, telemetry=event.telemetry or now.progress.telemetry)
                    self.running = replace(now, progress=progress)
            case LaunchFinished():
                self.num_done, self.num_launches, self.running = event.num_done, event.num_launches, None
                self.counts[event.record.status.value] += 1
                self.launch_finished(event)
            case RoundFinished():
                self.round_finished(event)
            case CaseFinished():
                self._case_finished(event)
            case ContestStarted():
                self.running = Running(f"contest: {event.label}", event.number, event.most)
            case ContestFinished():
                self.contest_finished(event)
                self.running = None
            case Notice():
                self.print_text(f"note: {event.message}", "warning")
                if event.hint:
                    self.print_text(f"      {event.hint}", "muted")
            case HostStarted():
                self.host_started(event)
            case RunFinished():
                self.close()
        self.refresh()

    def _start(self, event: RunStarted) -> None:
        self.started_s = self.clock()
        self.num_launches, self.num_done = event.num_launches, event.num_launches_done
        self.num_before = event.num_launches_done
        self.rows = CaseRows(event.info, self.width - 2 if self.width < UNLIMITED else self.width)
        self.writer.facts(header_facts(event.info, event.folder, event.num_launches_done))
        self.writer.blank()

    def _case_finished(self, event: CaseFinished) -> None:
        # The header names the cases that the plan skips.
        if event.case.skip_status is not None or self.rows is None:
            return
        if event.case.kind == "quality":
            self.quality_finished(event)
            return
        if self.verdicts is not None:
            self._verdicts_finished(event.case)
            return
        lines, tone = self.rows.row(event.case, event.records)
        for text in lines:
            self.row(text, tone)

    def _verdicts_finished(self, case: PlannedCase) -> None:
        """The row of a case with arms: the final standing of each."""
        assert self.verdicts is not None
        for standing in self.verdicts.of(case):
            self.print_text(f"  {case.label}: {standing}", standing.tone)

    def tally(self) -> Tally:
        elapsed_s = self.clock() - self.started_s
        fresh = self.num_done - self.num_before
        remaining_s = elapsed_s / fresh * (self.num_launches - self.num_done) if fresh > 0 else None
        noticed = {name: self.counts[name] for name in _NOTICED if self.counts[name]}
        return Tally(self.num_done, self.num_launches, elapsed_s, remaining_s, noticed)

    def print_text(self, text: str, tone: Tone = "plain") -> None:
        self.writer.text(line(text), tone=tone)

    @abstractmethod
    def row(self, text: str, tone: Tone) -> None: ...
    @abstractmethod
    def launch_finished(self, event: LaunchFinished) -> None: ...
    @abstractmethod
    def quality_finished(self, event: CaseFinished) -> None: ...

    def round_finished(self, event: RoundFinished) -> None:  # noqa: B027
        """A round of a run with arms is over: `verdicts` are up to date."""

    def contest_finished(self, event: ContestFinished) -> None:  # noqa: B027
        """A process of a contest is over: `running` says which round it was."""

    def host_started(self, event: HostStarted) -> None:  # noqa: B027
        """A worker host is up."""

    def refresh(self) -> None:  # noqa: B027 - a log has nothing to do
        """Something changed."""

    def close(self) -> None:  # noqa: B027
        """Called when the run has ended, perhaps with an error; may be called twice."""


class LiveProgress(RunProgress):
    """For a terminal: rows stay; the latest launches and the status lines below them are redrawn."""

    def __init__(self, console: "Console", **options: Any) -> None:
        super().__init__(console, **options)
        self.forming: dict[int, list[str]] = {}
        self.recent: deque[str] = deque(maxlen=_RECENT)
        self.live: Live | None = None
        self.has_header = False

    def _start(self, event: RunStarted) -> None:
        from rich.live import Live

        super()._start(event)
        self.live = Live(
            get_renderable=self.drawn,
            console=self.console,
            transient=True,
            refresh_per_second=1,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.live.start()

    def row(self, text: str, tone: Tone) -> None:
        from rich.text import Text

        if not self.has_header and self.rows is not None:
            self.has_header = True
            if self.rows.left_out:
                self.print_text(f"  not shown at this width: {', '.join(self.rows.left_out)} (--wide)", "muted")
            self.console.print(Text("  " + self.rows.header(), style="dim"), soft_wrap=True)
        self.console.print(Text("  " + text, style=TONES[tone]), soft_wrap=True)

    def round_finished(self, event: RoundFinished) -> None:
        """Moves the case's standing to the end."""
        if self.verdicts is not None:
            self.forming.pop(event.case.index, None)
            self.forming[event.case.index] = [
                f"  {inert(event.case.label)}: {standing}" for standing in self.verdicts.of(event.case)
            ]

    def _verdicts_finished(self, case: PlannedCase) -> None:
        self.forming.pop(case.index, None)
        super()._verdicts_finished(case)

    def launch_finished(self, event: LaunchFinished) -> None:
        if event.record.arm is not None and event.record.status is Status.OK and event.case.kind == "measure":
            return  # the verdicts after its round are shown instead
        repeat = f"  launch {event.record.repeat}" if event.case.kind == "measure" else ""
        self.recent.append(f"  {inert(event.case.label)}{repeat}  {launch_text(event.case, event.record)}")

    def quality_finished(self, event: CaseFinished) -> None:
        for record in event.records[-1:]:
            self.print_text(f"  {event.case.label}: {launch_text(event.case, record)}", "plain")

    def refresh(self) -> None:
        if self.live is not None:
            self.live.refresh()

    def close(self) -> None:
        if self.live is not None:
            live, self.live = self.live, None
            live.stop()

    def drawn(self) -> "Text":
        """The lines that are redrawn."""
        from rich.text import Text

        width = self.console.width
        forming = [text for texts in self.forming.values() for text in texts][-_RECENT:]
        recent = [text for text in (*self.recent, *forming) if cell_width(text) < width]
        lines = ["", *status_lines(self.running, self.tally(), width - 1)]
        drawn = Text("\n".join(recent), style="dim", no_wrap=True)
        return Text.assemble(drawn, "\n" if recent else "", "\n".join(lines), no_wrap=True)


class LogProgress(RunProgress):
    """For a pipe, a dumb terminal or CI: a line per launch, then the rows; nothing is redrawn."""

    def __init__(self, console: "Console", **options: Any) -> None:
        super().__init__(console, **options)
        self.kept: list[tuple[str, Tone]] = []
        self.settled: list[tuple[str, Tone]] = []

    def row(self, text: str, tone: Tone) -> None:
        self.kept.append((text, tone))

    def launch_finished(self, event: LaunchFinished) -> None:
        tally = self.tally()
        place = f"[{event.num_done:>{len(str(event.num_launches))}}/{event.num_launches}]"
        arm = "" if event.record.arm is None else f" [{event.record.arm}]"
        repeat = f"{arm}  launch {event.record.repeat}" if event.case.kind == "measure" else arm
        left = "" if not tally.remaining_s else f"  (about {format_duration(tally.remaining_s)} left)"
        self.print_line(f"{place} {inert(event.case.label)}{repeat}  {launch_text(event.case, event.record)}{left}")

    def quality_finished(self, event: CaseFinished) -> None:
        """Prints nothing: its launches were logged."""

    def round_finished(self, event: RoundFinished) -> None:
        for standing in () if self.verdicts is None else self.verdicts.of(event.case):
            self.print_line(f"  {inert(event.case.label)}: {standing}")

    def _verdicts_finished(self, case: PlannedCase) -> None:
        """Printed with the others at the end, because the line of its last round is just above."""
        assert self.verdicts is not None
        self.settled += [(f"{inert(case.label)}: {standing}", standing.tone) for standing in self.verdicts.of(case)]

    def contest_finished(self, event: ContestFinished) -> None:
        record, most = event.record, "" if self.running is None else f" of at most {self.running.repeats}"
        said = f"{count(len(record.cases), 'case')} in turn" if record.status is Status.OK else record.status.value
        took = "" if record.wall_s is None else f"  {format_duration(record.wall_s)}"
        self.print_line(f"contest: {inert(record.label)}  round {record.round}{most}  {said}{took}")

    def host_started(self, event: HostStarted) -> None:
        self.print_line(f"worker host {event.pid} ready after {format_duration(event.seconds)}")

    def close(self) -> None:
        """Prints the table at the end, because rows between log lines would be hard to read."""
        if self.kept and self.rows is not None:
            self._print_rows([(self.rows.header(), "plain"), *self.kept])
        if self.settled:
            self._print_rows(self.settled)
        self.kept, self.settled = [], []

    def _print_rows(self, rows: "list[tuple[str, Tone]]") -> None:
        from rich.text import Text

        self.writer.blank()
        for text, tone in rows:
            self.console.print(Text("  " + text, style=TONES[tone]), soft_wrap=True)

    def print_line(self, text: str) -> None:
        """One line of any length: log lines are searched, not read."""
        from rich.text import Text

        self.console.print(Text(text), soft_wrap=True)


def open_progress(*, wide: bool = False, verdicts: "Verdicts | None" = None) -> RunProgress:
    """The progress for stderr. `verdicts` are those of a run with arms, updated before this listener."""
    console = progress_console()
    make = LiveProgress if redraws(sys.stderr) else LogProgress
    return make(console, wide=wide, verdicts=verdicts)
