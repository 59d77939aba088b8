"""Tables of a run for pandas."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS
from gpubench.suite.model.case import Case

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = tuple(Case.model_fields)
_OF_CASE = ("index", "case", "kind", "label", *SETTINGS, "status", "reason", "validity", "correctness")
_FIGURE = ("metric", "value", "low", "high", "n", "unit")
COLUMNS = (*_OF_CASE, *_FIGURE)


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
    return with_figures(case_frame(run), cases_of(run))


def cases_of(run: RunSummary) -> tuple[CaseSummary, ...]:
    """Measured cases and quality entries, in the order of the rows."""
    return (*run.cases, *(entry.summary for entry in run.quality))


def case_frame(run: RunSummary) -> "pd.DataFrame":
    """One row per case, without figures. The types of its columns follow from the values of the whole run."""
    import pandas as pd

    rows = [
        (
            *(case.planned.index, case.case_id, case.kind, case.label),
            *(_cell(case.settings.get(name)) for name in SETTINGS),
            *(case.status.value, case.reason, case.validity.value, case.correctness),
        )
        for case in cases_of(run)
    ]
    return pd.DataFrame(rows, columns=list(_OF_CASE))


def with_figures(rows: "pd.DataFrame", cases: Sequence[CaseSummary]) -> "pd.DataFrame":
    """The long table of these rows of `case_frame`: each repeated for every figure of its case."""
    import pandas as pd

    figures: list[tuple[Any, ...]] = []
    at: list[int] = []
    for number, case in enumerate(cases):
        found = [
            (name, each.value, each.low, each.high, each.n, METRICS[name].unit) for name, each in case.metrics.items()
        ]
        figures += found or [(None,) * len(_FIGURE)]
        at += [number] * max(1, len(found))
    table = pd.DataFrame(figures, columns=list(_FIGURE))
    table = pd.concat([rows.iloc[at].reset_index(drop=True), table], axis="columns")
    return table.astype({"n": "Int64", "value": "float64", "low": "float64", "high": "float64"})


def _cell(value: Any) -> Any:
    """Environment variables as text, so that a column of them can be grouped by."""
    return ",".join(f"{name}={text}" for name, text in sorted(value.items())) if isinstance(value, dict) else value
