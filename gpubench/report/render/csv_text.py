"""Charts and tables as CSV in which a spreadsheet runs nothing."""

import csv
import io
from typing import TYPE_CHECKING

from gpubench.report.model.inert_text import inert
from gpubench.report.model.report_model import Chart, Datum

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = tuple("=+-@＝＋－＠")


def chart_csv(chart: Chart) -> str:
    """The chart's data, without empty columns."""
    kept = [at for at in range(len(chart.columns)) if any(row[at] not in (None, "") for row in chart.rows)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_field(chart.columns[at]) for at in kept])
    writer.writerows([[_field(row[at]) for at in kept] for row in chart.rows])
    return file.getvalue()


def _field(value: Datum) -> str:
    """Numbers with six digits; text that a spreadsheet would read as a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return csv_field(value) if isinstance(value, str) else str(value)


def csv_field(text: str) -> str:
    """Text as one visible line, with an apostrophe in front if a spreadsheet would read it as a formula."""
    shown = inert(text)
    return f"'{shown}" if text.lstrip().startswith(_FORMULA) else shown


def safe_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with `csv_field` applied to all its text."""
    for name in table.select_dtypes(exclude="number"):
        texts = {text: csv_field(text) for text in set(table[name]) if isinstance(text, str)}
        if any(text != shown for text, shown in texts.items()):
            table[name] = [texts.get(value, value) for value in table[name]]
    return table
