"""Every measured case with its speed, memory and energy; cases without figures, grouped by how and why they ended."""

from collections import Counter
from collections.abc import Iterable, Sequence

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status
from gpubench.report.model.report_model import Column, Section, Table, code, line, lines, plain
from gpubench.report.model.words import count, ranges
from gpubench.report.view.case_tables import (
    MARKS,
    MEMORY,
    absent_notes,
    case_table,
    metrics_present,
    status_word,
    tone,
)
from gpubench.report.view.run_view import QUIET, View

_METRICS = (
    "throughput",
    "latency_s",
    "step_time_s",
    "largest_batch",
    MEMORY,
    "energy_per_sample_j",
    "mean_power_w",
    "achieved_flops",
)


def section(view: View) -> Section:
    table = cases_table(view)
    shown = any(column.key == MEMORY for column in table.columns)
    many = view.most_rows is not None and len(view.in_full) < len(view.listed)
    said = lines(
        "mem: peak allocated by torch on a GPU; on a CPU the peak resident memory above its baseline." if shown else "",
        f"With this many cases, only {len(view.in_full)} open in full here, the fastest of each precision, mode and "
        "device; `gpubench show RUN:NUMBER` shows any."
        if many
        else "",
    )
    counts = Counter(status_word(entry) for entry in view.summary.cases)
    gist = ", ".join(f"{number} {word}" for word, number in counts.items())
    return Section("cases", "All cases", lines=said, tables=(table,), gist=gist)


def cases_table(view: View) -> Table:
    """The speed first, then the metrics that some case has."""
    entries = view.listed
    timings = {entry.case.timing for entry in entries}
    unused = (
        {"throughput", "step_time_s"} if timings == {"latency"} else set() if "latency" in timings else {"latency_s"}
    )
    names = [name for name in (*_METRICS, *METRICS.added) if name not in unused]
    known = {"throughput", "latency_s", *metrics_present(entries, names)}
    names = [name for name in names if name in known]
    notes = (MARKS, *absent_notes(entries, ("mean_power_w", "energy_per_sample_j")))
    shown = entries[: view.most_listed]
    if len(shown) < len(entries):
        every, figures = (code(f"gpubench show {view.name or 'RUN'} {option}") for option in ("--all", "--csv"))
        of_all = f"The first {len(shown)} of {len(entries)} cases; "
        notes = (line(of_all, every, " lists them all, ", figures, " prints their figures."), *notes)
    return case_table("cases", shown, view.axes, names, notes=notes)


def _numbers(entries: Sequence[CaseSummary]) -> str:
    """Case numbers, with quality runs (which the table of cases does not list) separately."""
    kinds = (("measure", ""), ("quality", "quality runs "))
    of_kind = ((what, [entry.planned.index for entry in entries if entry.planned.kind == kind]) for kind, what in kinds)
    return ", ".join(f"{what}{ranges(numbers)}" for what, numbers in of_kind if numbers)


_ORDER = [Status.FAILED, Status.TIMEOUT, Status.OOM, Status.UNSUPPORTED, Status.SKIPPED]
_COLUMNS = (
    Column("mark", "", "left", cell=lambda found: "" if found[0].status in QUIET else "-"),
    Column("status", "status", "left", cell=lambda found: status_word(found[0])),
    Column("count", "cases", cell=len),
    Column("numbers", "#", "left", flexible=True, cell=lambda found: _numbers(found)),
    Column("reason", "reason", "left", flexible=True, cell=lambda found: found[0].reason or ""),
)


def unmeasured_section(view: View) -> Section | None:
    """Cases without figures; those that this machine cannot run take one line per reason."""
    said = view.skipped_lines
    table = unmeasured_table(entry for entry in view.everything if view.list_skipped or entry.status not in QUIET)
    if table is None and not said:
        return None
    ends = [] if table is None else [[cell.text for cell in row.cells] for row in table.rows]
    gists = [f"{number} {status}: {reason}" for _, status, number, _, reason in ends]
    gists += [plain(each).partition(";")[0] for each in said]
    more = f", and {count(len(gists) - 1, 'other reason')}" if len(gists) > 1 else ""
    heading, tables = "Cases without figures", (table,) if table else ()
    gist = f"{gists[0]}{more}"
    return Section("unmeasured", heading, short="Without figures", lines=said, tables=tables, gist=gist)


def unmeasured_table(summaries: Iterable[CaseSummary]) -> Table | None:
    """One row per status and reason, failures first. None if every case has figures."""
    groups: dict[tuple[Status, str], list[CaseSummary]] = {}
    for entry in summaries:
        if entry.status is not Status.OK:
            groups.setdefault((entry.status, entry.reason or ""), []).append(entry)
    ordered = sorted(groups.values(), key=lambda found: _ORDER.index(found[0].status))
    return Table.of("unmeasured", _COLUMNS, ordered, tone=lambda found: tone(found[0])) if ordered else None
