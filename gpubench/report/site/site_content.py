"""What a site shows: runs, and the history of each metric of each case on each machine."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from gpubench.analysis.compare.compare_sides import COMPARED
from gpubench.analysis.history.case_history import CaseHistory, HistoryPoint, PastRun, histories
from gpubench.analysis.summary.case_summary import ComparableCase
from gpubench.report.comparison.history_screen import Moved

CaseKey = tuple[str, str]
"""Suite and case id."""
INDEX = "index.html"

_REPORT = "report.html"
_LONGEST_SLUG = 40


@dataclass(frozen=True)
class SiteContent:
    """`runs` oldest first; `found`: the histories by metric; `reports`: the address of a run's report, by name and
    creation time.
    """

    runs: tuple[PastRun, ...]
    found: Mapping[str, tuple[CaseHistory, ...]]
    reports: Mapping[tuple[str, str], str]
    floor: float

    @cached_property
    def cases(self) -> dict[CaseKey, dict[str, dict[str, CaseHistory]]]:
        """The histories of each case by machine and metric, in the order of the metrics."""
        made: dict[CaseKey, dict[str, dict[str, CaseHistory]]] = {}
        for metric, found in self.found.items():
            for each in found:
                of_case = made.setdefault((each.suite, each.case_id), {})
                of_case.setdefault(each.machine, {}).setdefault(metric, each)
        return made

    @cached_property
    def newest(self) -> dict[CaseKey, ComparableCase]:
        """Each case as the newest run measured it. An accuracy run of the same settings has the same id."""
        every = [((run.side.suite, case.case_id), case) for run in self.runs for case in run.side.cases]
        return dict(sorted(every, key=lambda entry: entry[1].kind == "measure"))

    @cached_property
    def by_name(self) -> dict[tuple[str, str], PastRun]:
        return {(run.run, run.created): run for run in self.runs}

    @property
    def suites(self) -> list[str]:
        return sorted({suite for suite, _ in self.cases})

    @property
    def machines(self) -> list[str]:
        return sorted({machine for found in self.cases.values() for machine in found})

    def moved(self, suite: str | None = None, machine: str | None = None, case_id: str | None = None) -> list[Moved]:
        """Changes of level, the newest first, of all or of what is named."""
        wanted = (suite, machine, case_id)
        changed = [
            (metric, each, change)
            for metric, found in self.found.items()
            for each in found
            if all(
                asked in (None, has)
                for asked, has in zip(wanted, (each.suite, each.machine, each.case_id), strict=True)
            )
            for change in each.changes
        ]
        return sorted(changed, key=lambda row: (row[2].after.created, row[2].after.run), reverse=True)

    def first_of_each(self, suite: str | None = None, machine: str | None = None) -> list[tuple[str, CaseHistory]]:
        """The first metric (its speed, if measured) of each case on each machine."""
        firsts = (next(iter(found.items())) for machines in self.cases.values() for found in machines.values())
        return [
            (metric, each) for metric, each in firsts if suite in (None, each.suite) and machine in (None, each.machine)
        ]

    def runs_of(self, found: Iterable[CaseHistory]) -> list[PastRun]:
        """The runs with a point in any of these, oldest first."""
        names = {(point.run, point.created) for each in found for point in each.points}
        return [run for run in self.runs if (run.run, run.created) in names]

    def run_of(self, point: HistoryPoint) -> PastRun:
        return self.by_name[point.run, point.created]

    def case(self, history: CaseHistory) -> str:
        """The file of its page, as for `suite` and `machine`."""
        return case_page_name((history.suite, history.case_id))

    def suite(self, name: str) -> str:
        return _page_name("suite", name)

    def machine(self, name: str) -> str:
        return _page_name("machine", name)

    def report(self, run: str, created: str) -> str:
        return self.reports.get((run, created), "")


def case_page_name(key: CaseKey) -> str:
    return _page_name("case", *key)


def digest_of(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _page_name(kind: str, *parts: str) -> str:
    """A file name of ASCII letters, digits and hyphens that differs wherever the names differ."""
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower())[:_LONGEST_SLUG].strip("-")
    return f"{kind}-{slug}-{digest_of(*parts)}.html" if slug else f"{kind}-{digest_of(*parts)}.html"


def site_content(runs: Sequence[PastRun], folder: Path, *, floor: float) -> SiteContent:
    """Runs given oldest first, for a site in `folder`; `floor` as for `histories`."""
    found = {metric: made for metric in COMPARED if (made := histories(runs, metric, floor=floor))}
    reports = {(run.run, run.created): href for run in runs if (href := _report_of(run, folder.resolve()))}
    return SiteContent(tuple(runs), found, reports, floor)


def _report_of(run: PastRun, site: Path) -> str:
    """The address of the run's report, seen from the site; empty without one."""
    report = run.folder / _REPORT if run.folder is not None else None
    if report is None or not report.is_file():
        return ""
    return quote(os.fsencode(os.path.relpath(report.resolve(), site)))
