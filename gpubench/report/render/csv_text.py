"""Charts and tables as CSV that a spreadsheet opens without running anything in it."""

import csv
import io

from gpubench.report.model.inert_text import inert
from gpubench.report.model.report_model import Chart, Datum

_FORMULA = ("=", "+", "-", "@")


def chart_csv(chart: Chart) -> str:
    """What the chart is drawn from; columns in which nothing stands are left out."""
    kept = [at for at in range(len(chart.columns)) if any(row[at] not in (None, "") for row in chart.rows)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_field(chart.columns[at]) for at in kept])
    writer.writerows([[_field(row[at]) for at in kept] for row in chart.rows])
    return file.getvalue()


def _field(value: Datum) -> str:
    """Numbers in six digits; text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = inert(str(value))
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
