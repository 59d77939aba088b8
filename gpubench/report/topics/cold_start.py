"""The cost of the first steps of a process."""

from gpubench.report.model.report_model import Section, line
from gpubench.report.view.case_tables import metrics_section
from gpubench.report.view.run_view import View

_METRICS = (
    "first_step_s",
    "build_s",
    "cuda_context_s",
    "compile_s",
    "time_to_steady_s",
    "warmup_steps",
    "isolation_s",
    "graph_breaks",
    "recompilations",
)


def section(view: View) -> Section:
    said = line("One-off costs: none of this is in throughput.")
    return metrics_section(view, "cold", "Cold start", _METRICS, said=said)
