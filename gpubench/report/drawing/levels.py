"""A history: points over run after run, the level they are at, and where it changed."""

import re
from typing import Any

from gpubench.report.drawing import palette
from gpubench.report.drawing.sheet import GROUPED, HEIGHT, WIDTH, Rows, Sheet

_MOST_MARKS = 200
"""With more runs than this, a line shows them without a mark for each."""
_NUM_TICKS = 4
_LEAST_SPAN = 0.04
"""The least height of the axis, as a share of the values: noise of a thousandth must not look like a storm."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def history(sheet: Sheet) -> Any:
    import altair as alt

    rows = sheet.rows("x", "run", "started", "y", "low", "high", "level", "n", "commit")
    title = sheet.options["y_title"]
    for row in rows:
        row["said"] = f"{row['run']}, {row['started']}: {row['y']:,.6g} {title}"
    x = alt.X("x:Q", title="run (date it started, UTC)", scale=alt.Scale(nice=False, padding=10), axis=_dates(rows))
    y = alt.Y("y:Q", title=title, scale=_scale(rows), axis=alt.Axis(format=GROUPED, tickCount=6))
    colour = palette.precision(str(sheet.options.get("precision")))
    points = sheet.chart_of(rows)
    layers = [points.mark_line(strokeWidth=1, opacity=0.55, color=colour, aria=False).encode(x=x, y=y)]
    if len(rows) <= _MOST_MARKS:
        mark = points.mark_point(filled=True, size=30, opacity=1, color=colour)
        layers.append(mark.encode(x=x, y=y, description=alt.Description("said:N")))
    starts = [at for at, _ in sheet.options["changes"]]
    ends = []
    for first, after in zip([1, *starts], [*starts, len(rows) + 1], strict=True):
        level = rows[first - 1]["level"]
        ends += [{"x": at, "y": level, "part": first} for at in (first, after - 1)]
    heavy = sheet.chart_of(ends).mark_line(strokeWidth=2.5, color=palette.name("ink"), aria=False)
    layers.append(heavy.encode(x=x, y=y, detail="part:O"))
    for at, worse in sheet.options["changes"]:
        rule = sheet.chart_of([{"x": at, "said": f"changed at {rows[at - 1]['run']}"}])
        dashed = rule.mark_rule(strokeDash=[5, 3], strokeWidth=1.5, color=palette.name("bad" if worse else "good"))
        layers.append(dashed.encode(x=x, description=alt.Description("said:N")))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def _scale(rows: Rows) -> Any:
    import altair as alt

    low, high = (choose(row["y"] for row in rows) for choose in (min, max))
    spare = max(0.0, (abs(low) + abs(high)) / 2 * _LEAST_SPAN - (high - low)) / 2
    return alt.Scale(domain=[low - spare, high + spare], zero=False, nice=True)


def _dates(rows: Rows) -> Any:
    """An axis over run numbers that shows the dates of a few."""
    import altair as alt

    last = len(rows) - 1
    chosen = sorted({round(last * at / (_NUM_TICKS - 1)) for at in range(_NUM_TICKS)}) if last else [0]
    days = [rows[at]["started"][:10] for at in chosen]
    said = ", ".join(f"'{day if _DAY.fullmatch(day) else at + 1}'" for at, day in zip(chosen, days, strict=True))
    values = [at + 1 for at in chosen]
    return alt.Axis(values=values, grid=False, labelFlush=True, labelExpr=f"[{said}][indexof({values}, datum.value)]")
