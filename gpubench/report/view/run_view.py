"""One run as seen by the sections of its report; made once for all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Status
from gpubench.report.model.report_model import Chart, Line, code, line
from gpubench.report.model.words import count, left_out_texts
from gpubench.report.view.contests import Contest, charted, contests
from gpubench.report.view.samples import Samples, fastest_of_each
from gpubench.suite.cases.labels import varying

if TYPE_CHECKING:
    from gpubench.profile.figures.summary_model import ProfileSummary

MOST_IN_FULL = 2000
MOST_REASONS = 3
QUIET = (Status.SKIPPED, Status.UNSUPPORTED)
"""Statuses that are not failures: this machine cannot run the case."""


@dataclass(frozen=True)
class View:
    """`name` is the run's name in commands; `samples` and `profiles` are by case number.

    `notices` are remarks on the stored run itself (a torn line, a migrated record). `charts` is false for formats
    without them. Tables of single quantities with more than `most_rows` rows show only the fastest case of each
    precision; the table of all cases has the first `most_listed` of them. With `list_skipped`, cases that this machine
    could not run get rows, instead of one line per reason. `decided`: the decision, if already made.
    """

    summary: RunSummary
    name: str = ""
    samples: Samples = field(default_factory=dict)
    profiles: "Mapping[int, ProfileSummary]" = field(default_factory=dict)
    notices: Sequence[str] = ()
    charts: bool = False
    most_rows: int | None = None
    most_listed: int | None = None
    list_skipped: bool = False
    decided: Decision | None = None

    @cached_property
    def decision(self) -> Decision:
        return self.decided or Decision(self.summary)

    @cached_property
    def everything(self) -> tuple[CaseSummary, ...]:
        """Measured cases, then quality runs."""
        return (*self.summary.cases, *(quality.summary for quality in self.summary.quality))

    @cached_property
    def listed(self) -> tuple[CaseSummary, ...]:
        """The measured cases that tables list."""
        return self._listed(self.summary.cases)

    def _listed(self, entries: Sequence[CaseSummary]) -> tuple[CaseSummary, ...]:
        return tuple(entry for entry in entries if self.list_skipped or entry.status not in QUIET)

    @property
    def skipped_lines(self) -> tuple[Line, ...]:
        """One line per reason why cases could not run, and how to list them; empty if they are listed."""
        quiet = [] if self.list_skipped else [entry for entry in self.everything if entry.status in QUIET]
        texts = left_out_texts((entry.kind, entry.status.value, entry.reason or "") for entry in quiet)
        more = len(texts) - MOST_REASONS
        shown = [*texts[:MOST_REASONS], *([f"and for {count(more, 'more reason')}"] if more > 0 else [])]
        how = ("; ", code("show --all"), " lists them.")
        return tuple(line(text, *(how if text is shown[-1] else ".")) for text in shown)

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """Settings that vary among the listed cases."""
        return varying(entry.case for entry in self.listed)

    @cached_property
    def few(self) -> tuple[CaseSummary, ...]:
        """The cases that tables of single quantities show."""
        shown = self.summary.cases
        if self.most_rows is None or len(shown) <= self.most_rows:
            return tuple(shown)
        chosen = {id(entry) for contest in contests(self.decision) for entry in fastest_of_each(contest)}
        return tuple(entry for entry in shown if id(entry) in chosen)

    @property
    def in_full(self) -> tuple[CaseSummary, ...]:
        """The cases that get a page: all, or only a few if there are too many for a browser."""
        listed = self._listed(self.everything)
        return listed if len(listed) <= MOST_IN_FULL else self.few

    @property
    def few_note(self) -> tuple[Line, ...]:
        """Which cases those tables leave out, and where to find them."""
        if len(self.few) == len(self.summary.cases):
            return ()
        what = "The fastest case of each precision, mode and device; every case is under All cases"
        return (line(f"{what}, and in ", code("gpubench show RUN --all"), "."),)

    @cached_property
    def _charted(self) -> tuple[Contest, ...]:
        return charted(self.decision) if self.charts else ()

    def chart_each(self, *makers: Callable[[Contest], Chart | None]) -> tuple[Chart, ...]:
        """The charts of each contest, without those that lack data."""
        return tuple(chart for contest in self._charted for make in makers if (chart := make(contest)) is not None)
