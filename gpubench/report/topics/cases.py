"""Every measured case with its speed, memory and energy."""

from gpubench.core.metrics import METRICS
from gpubench.report.model.report_model import Section, Table, line
from gpubench.report.view.case_tables import MARKS, MEMORY, absent_notes, case_table, metrics_present
from gpubench.report.view.run_view import View

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
    memory = line("mem: peak allocated by torch on a GPU; on a CPU the peak resident memory above its baseline.")
    shown = any(column.key == MEMORY for column in table.columns)
    return Section("cases", "All cases", lines=(memory,) if shown else (), tables=(table,))


def cases_table(view: View) -> Table:
    """The speed in use first, then what some case has."""
    entries = view.summary.cases
    timings = {entry.case.timing for entry in entries}
    unused = (
        {"throughput", "step_time_s"} if timings == {"latency"} else set() if "latency" in timings else {"latency_s"}
    )
    names = [name for name in (*_METRICS, *METRICS.added) if name not in unused]
    names = [name for name in names if name in ("throughput", "latency_s") or metrics_present(entries, [name])]
    notes = (MARKS, *absent_notes(entries, ("mean_power_w", "energy_per_sample_j")))
    return case_table("cases", entries, view.axes, names, notes=notes)
