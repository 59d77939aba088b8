"""Lines on contests: their size, and the machine's own error."""

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.contest_levels import ContestLevels, paired_estimate
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Line, line
from gpubench.report.model.words import count, place, task


def contest_lines(summary: RunSummary) -> tuple[Line, ...]:
    """One line per contest: `Training on the CPU: 3 cases took turns in 4 processes; a case against itself +0.2%`."""
    by_index = {entry.planned.index: entry for entry in summary.cases}
    return tuple(_line(each, by_index[each.first]) for each in summary.contests if each.first in by_index)


def _line(contest: ContestLevels, first: CaseSummary) -> Line:
    held = f"{count(len(contest.cases), 'case')} took turns in {count(contest.num_processes, 'process', 'processes')}"
    used = count(contest.threads or 0, "CPU thread")
    threads = "" if contest.threads is None else f", with {used} as others used the rest"
    return line(f"{task(first.case)} on {place(first.case.device)}: {held}{threads}{_itself(contest)}.")


def _itself(contest: ContestLevels) -> str:
    if not contest.twins:
        return "; there was no room for a case against itself"
    ratio = paired_estimate(contest.twins)
    said = f"; one case against itself (A/A): {format_percent(ratio.value - 1, signed=True)}"
    if ratio.low is None or ratio.high is None:
        return said
    ends = " to ".join(format_percent(end - 1, signed=True) for end in (ratio.low, ratio.high))
    return f"{said} ({ends})"
