"""The public long table."""

from typing import TYPE_CHECKING, Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS
from gpubench.suite.model.case import Case

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = tuple(Case.model_fields)
_OF_CASE = ("index", "case", "kind", "label", *SETTINGS, "status", "reason", "validity", "correctness")
COLUMNS = (*_OF_CASE, "metric", "value", "low", "high", "n", "unit")


def frame(run: RunSummary) -> "pd.DataFrame":
    """One row per case and metric, settings in columns, values in the registry's SI units, 95 % intervals.

    A case without figures has one row with `metric` and `value` missing, so that no case is lost in a group-by.
    `frame.pivot_table(index=["precision", "batch_size"], columns="metric", values="value")` makes it wide.
    """
    import pandas as pd

    rows = [row for case in (*run.cases, *(entry.summary for entry in run.quality)) for row in _rows(case)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"n": "Int64", "value": "float64", "low": "float64", "high": "float64"})


def _rows(summary: CaseSummary) -> list[dict[str, Any]]:
    common = {
        "index": summary.planned.index,
        "case": summary.planned.case_id,
        "kind": summary.planned.kind,
        "label": summary.planned.label,
        **{name: _cell(value) for name, value in summary.case.settings.items()},
        "status": summary.status.value,
        "reason": summary.reason,
        "validity": summary.validity.value,
        "correctness": summary.correctness,
    }
    figures = [
        {"metric": name, "value": found.value, "low": found.low, "high": found.high, "n": found.n}
        | {"unit": METRICS[name].unit}
        for name, found in summary.metrics.items()
    ]
    return [{**common, **figure} for figure in figures or [{}]]


def _cell(value: Any) -> Any:
    """Environment variables as text, so that a column of them can be grouped by."""
    return ",".join(f"{name}={text}" for name, text in sorted(value.items())) if isinstance(value, dict) else value
