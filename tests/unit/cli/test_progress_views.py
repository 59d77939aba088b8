import io
from collections.abc import Iterator

import pytest
from fakes.events import events_of
from fakes.hostile import MOVES_A_TERMINAL, hostile_run
from fakes.runs import cpu_run, invented_run
from fakes.screens import Still, Ticking, a_console, writer

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.cli.console import make_console, redraws
from gpubench.cli.screens.run_progress import LiveProgress, LogProgress, open_progress
from gpubench.cli.screens.status_lines import Running, Tally, status_lines
from gpubench.core.records import ContestRecord, Status
from gpubench.report.build import build_report
from gpubench.report.model.inert_text import cell_width
from gpubench.report.pages.case_page import case_page
from gpubench.report.render.result_screen import final_screen
from gpubench.report.view.run_view import View
from gpubench.runner.events import ContestFinished, ContestStarted, Event, LaunchProgress


def said_by(progress: LogProgress, file: io.StringIO, events: Iterator[Event]) -> str:
    with progress:
        for event in events:
            progress(event)
    return file.getvalue()


def test_a_log_has_a_line_per_launch_and_the_table_at_its_end() -> None:
    file = io.StringIO()
    said = said_by(LogProgress(make_console(file), clock=Ticking()), file, events_of(invented_run()))
    launches = [line for line in said.splitlines() if line.startswith("[")]
    assert len(launches) == 40
    assert said.index(launches[-1]) < said.index("samples/s  step ms")
    assert "\x1b" not in said


def test_a_log_has_a_line_per_round_of_a_contest() -> None:
    file = io.StringIO()
    ended = ContestRecord(cases=(1, 2, 3), label="train on cpu", round=2, status=Status.OK, wall_s=6.62)
    failed = ended.model_copy(update={"status": Status.FAILED, "round": 3, "wall_s": None})
    events = [
        ContestStarted("train on cpu", 3, 2, 24),
        ContestFinished(ended),
        ContestStarted("train on cpu", 3, 3, 24),
        ContestFinished(failed),
    ]
    assert said_by(LogProgress(make_console(file)), file, iter(events)).splitlines() == [
        "contest: train on cpu  round 2 of at most 24  3 cases in turn  6.6 s",
        "contest: train on cpu  round 3 of at most 24  failed",
    ]


def test_the_live_view_ends_with_its_rows_and_no_redrawn_line() -> None:
    file = io.StringIO()
    progress = LiveProgress(a_console(file, 100, color=True), clock=Ticking())
    with progress:
        for event in events_of(cpu_run()):
            progress(event)
    assert progress.live is None
    assert "cpu" in file.getvalue()


def test_hostile_names_are_inert_in_every_view() -> None:
    run = hostile_run()
    file = io.StringIO()
    text = said_by(LogProgress(make_console(file), clock=Ticking()), file, events_of(run))
    live_file = io.StringIO()
    live = Still(a_console(live_file, 80), clock=Ticking())
    for event in events_of(run, stop_before_last=True):
        live(event)
    final_file = io.StringIO()
    summary = summarise_run(run)
    final_screen(writer(final_file, 80), build_report(View(summary), pages=False))
    for entry in summary.cases:
        writer(final_file, 80).page(case_page(entry, summary.info, text="\x1b[31mlog\u202e"))
    for said in (text, live_file.getvalue(), live.drawn().plain, final_file.getvalue()):
        assert said
        assert not any(sign in said for sign in MOVES_A_TERMINAL)


RUNNING = Running(
    "train cuda amp-bf16 bX NHWC bench",
    2,
    3,
    "measuring",
    LaunchProgress(61, 0.0442, 0.006, 0.005, 0.4, {"power_w": 612.0, "memory_used_bytes": 7e9}),
)
TALLY = Tally(41, 228, 1092.0, 940.0, {"failed": 1})


def numbers_of(lines: list[str]) -> set[str]:
    return {
        word
        for word in " ".join(lines).split()
        if any(char.isdigit() for char in word) and "bf16" not in word and "..." not in word
    }


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_status_lines_keep_to_the_width_and_their_numbers_whole(width: int) -> None:
    lines = status_lines(RUNNING, TALLY, width)
    assert all(cell_width(line) <= width for line in lines)
    assert numbers_of(lines)
    assert numbers_of(lines) <= numbers_of(status_lines(RUNNING, TALLY, 200))


def test_a_pipe_ci_and_a_dumb_terminal_are_not_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert redraws(Terminal())
    assert not redraws(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not redraws(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("CI", "true")
    assert not redraws(Terminal())
    assert isinstance(open_progress(), LogProgress)
