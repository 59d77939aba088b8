"""Tables of a run for pandas."""

from typing import TYPE_CHECKING, Any

from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS
from gpubench.suite.model.case import Case

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = tuple(Case.model_fields)
_OF_CASE = ("index", "case", "kind", "label", *SETTINGS, "status", "reason", "validity", "correctness")
COLUMNS = (*_OF_CASE, "metric", "value", "low", "high", "n", "unit")


def wide_frame(run: RunSummary) -> "pd.DataFrame":
    """One row per case, indexed by the settings that vary (else by label): `status`, then the value of each metric, NaN
    if there is none. Intervals are in the long table.
    """
    import pandas as pd

    long = frame(run)
    of_case = long.drop_duplicates("index").set_index("index")
    differing = [name for name in ("kind", *SETTINGS) if len(of_case[name].unique()) > 1]
    values = long.dropna(subset=["metric"]).pivot_table(index="index", columns="metric", values="value")
    order = [name for name in METRICS if name in values]
    wide = pd.concat([of_case[[*(differing or ["label"]), "status"]], values[order]], axis="columns")
    return wide.set_index(differing or ["label"])


def frame(run: RunSummary) -> "pd.DataFrame":
    """One row per case and metric, settings in columns, values in the registry's SI units, 95 % intervals.

    A case without figures has one row with `metric` and `value` missing, so that a group-by loses no case.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for case in (*run.cases, *(entry.summary for entry in run.quality)):
        settings = {name: _cell(value) for name, value in case.settings.items()}
        common = {"index": case.planned.index, "case": case.case_id, "kind": case.kind, "label": case.label, **settings}
        common |= {"status": case.status.value, "reason": case.reason}
        common |= {"validity": case.validity.value, "correctness": case.correctness}
        figures = [
            {"metric": name, "unit": METRICS[name].unit, **found.model_dump(include={"value", "low", "high", "n"})}
            for name, found in case.metrics.items()
        ]
        rows += [{**common, **figure} for figure in figures or [{}]]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"n": "Int64", "value": "float64", "low": "float64", "high": "float64"})


def _cell(value: Any) -> Any:
    """Environment variables as text, so that a column of them can be grouped by."""
    return ",".join(f"{name}={text}" for name, text in sorted(value.items())) if isinstance(value, dict) else value
