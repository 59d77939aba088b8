"""The screens that golden files hold: the same invented run, in the widths and places in which people look at it."""

import io
from collections.abc import Callable, Iterator

from fakes.events import events_of
from fakes.runs import cpu_run, invented_run
from rich.console import Console

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.cli.console import UNLIMITED, make_console
from gpubench.cli.screens.run_progress import LiveProgress, LogProgress, RunProgress
from gpubench.report.build import build_report
from gpubench.report.pages.case_page import case_page
from gpubench.report.render.result_screen import final_screen
from gpubench.report.render.terminal import TerminalReport
from gpubench.report.view.run_view import View
from gpubench.runner.events import Event, RunFinished

WIDTHS = (60, 80, 100, 140)
PROSE = 100


class Ticking:
    """A clock that goes on by a second at each look."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


class Still(LiveProgress):
    """The live view without its redrawing: rows as they are printed, and `drawn()` for the lines below them."""

    def _start(self, event: Event) -> None:
        RunProgress._start(self, event)


def a_console(file: io.StringIO, width: int | None, *, color: bool = False) -> Console:
    return Console(
        file=file,
        width=width or PROSE,
        force_terminal=color or None,
        color_system="256" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def writer(file: io.StringIO, width: int | None, *, color: bool = False) -> TerminalReport:
    """`width` None: a pipe, whose tables nothing limits."""
    return TerminalReport(a_console(file, width, color=color), width or UNLIMITED, min(width or PROSE, PROSE))


def final(width: int | None, *, color: bool = False) -> str:
    file = io.StringIO()
    model = build_report(View(summarise_run(invented_run()), name="20261123"), pages=False)
    final_screen(writer(file, width, color=color), model)
    return file.getvalue()


def case(width: int | None) -> str:
    file = io.StringIO()
    summary = summarise_run(invented_run())
    for at in (5, 9):
        writer(file, width).page(
            case_page(summary.cases[at], summary.info, text="Traceback\nRuntimeError: no" if at == 9 else "")
        )
    return file.getvalue()


def everything(width: int | None) -> str:
    file = io.StringIO()
    writer(file, width).report(build_report(View(summarise_run(cpu_run()), name="20261123"), pages=False))
    return file.getvalue()


def live(width: int) -> str:
    """The view in the middle of the last launch: header, rows, and the lines that are drawn again."""
    file = io.StringIO()
    progress = Still(a_console(file, width), clock=Ticking())
    progress.width = width
    progress.writer = writer(file, width)
    for event in events_of(invented_run(), stop_before_last=True):
        progress(event)
    return f"{file.getvalue()}{progress.drawn().plain}\n"


def log() -> str:
    """A pipe, CI or a dumb terminal: a line per launch, then the table."""
    file = io.StringIO()
    with LogProgress(make_console(file), clock=Ticking()) as progress:
        for event in _until_the_end(events_of(invented_run())):
            progress(event)
    return file.getvalue()


def _until_the_end(events: Iterator[Event]) -> Iterator[Event]:
    from fakes.events import FOLDER

    yield from events
    yield RunFinished(FOLDER, interrupted=False, elapsed_s=60.0)


SCREENS: dict[str, Callable[[], str]] = {
    **{f"final-{width}": (lambda width=width: final(width)) for width in WIDTHS},
    **{f"live-{width}": (lambda width=width: live(width)) for width in WIDTHS},
    **{f"case-{width}": (lambda width=width: case(width)) for width in WIDTHS},
    **{f"everything-{width}": (lambda width=width: everything(width)) for width in WIDTHS},
    "final-pipe": lambda: final(None),
    "case-pipe": lambda: case(None),
    "log": log,
}
