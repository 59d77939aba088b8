"""Charts over two quantities: lines over batch sizes or epochs, and marks of speed against energy."""

from collections.abc import Sequence
from typing import Any

from gpubench.report.drawing import palette
from gpubench.report.drawing.sheet import GROUPED, HEIGHT, WIDTH, Rows, Sheet, color, marks, said, series_of
from gpubench.report.model.inert_text import cell_width

_DASHES = ([1, 0], [5, 4], [2, 2], [8, 3, 2, 3], [12, 4], [8, 3, 2, 3, 2, 3])
_MOST_TICKS = 9
_MOST_NAMED = 4
_MOST_LEGEND = 40


def lines(sheet: Sheet) -> Any:
    """One line per precision; dashes show what else differs (kind of memory, device, run)."""
    import altair as alt

    everything = sheet.rows("series", "x", "y", "low", "high", "kind", "standing", "others")
    x_title, y_title = sheet.chart.columns[1:3]
    points = [row | {"said": said(row, x_title, y_title)} for row in everything if row["y"] is not None]
    series = series_of(everything)
    log = {"type": "log", "base": 2} if sheet.options.get("x_scale") == "log2" else {"zero": False}
    values = sorted({row["x"] for row in everything})
    ticks = alt.Axis(
        values=values[:: max(1, -(-len(values) // _MOST_TICKS))], grid=False, format="d", labelOverlap=True
    )
    x = alt.X("x:Q", title=x_title, scale=alt.Scale(nice=False, padding=14, **log), axis=ticks)
    large = max((abs(row["y"]) for row in points), default=0.0) >= 10_000
    axis = alt.Axis(format="~s" if large else GROUPED, tickCount=6)
    if sheet.options.get("y_scale") == "log":
        axis = alt.Axis(format="~g", tickCount=5)
    scale = alt.Scale(type=sheet.options.get("y_scale", "linear"), zero=sheet.options.get("zero", True), nice=True)
    y = alt.Y("y:Q", title=y_title, scale=scale, axis=axis)
    base = sheet.chart_of(points)
    figures = sheet.chart_of([row for row in points if row["standing"] != "launch"])
    layers = [
        figures.mark_line(strokeWidth=2).encode(x=x, y=y, color=color(series), detail=["kind:N"], **_dashes(everything))
    ]
    banded = [row for row in points if row["low"] is not None]
    if banded:
        band = sheet.chart_of(banded).mark_area(opacity=0.22)
        layers.insert(0, band.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=color(series), detail=["kind:N"]))
    layers += [*marks(base, series, x=x, y=y), *sheet.limit_rule("y")]
    layers += _ooms(sheet, [row for row in everything if row["y"] is None], x, series)
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def _dashes(rows: Rows) -> dict[str, Any]:
    import altair as alt

    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    if len(kinds) < 2:
        return {}
    scale = alt.Scale(domain=kinds, range=[_DASHES[number % len(_DASHES)] for number in range(len(kinds))])
    # Below the chart, because beside the colour legend it would overlap it or widen the drawing.
    columns = 1 if sum(cell_width(kind) for kind in kinds) > _MOST_LEGEND else len(kinds)
    legend = alt.Legend(
        title=None, symbolStrokeColor=palette.name("ink"), symbolType="stroke", orient="bottom", columns=columns
    )
    return {"strokeDash": alt.StrokeDash("kind:N", scale=scale, legend=legend)}


def _ooms(sheet: Sheet, rows: Rows, x: Any, series: Sequence[str]) -> list[Any]:
    """A cross on the axis per batch that ran out of memory; crosses at one batch are stacked."""
    import altair as alt

    met: dict[float, int] = {}
    layers = []
    for row in {(row["series"], row["x"]): row for row in rows}.values():
        rank = met[row["x"]] = met.get(row["x"], -1) + 1
        place = {"y": HEIGHT - 9 - 15 * rank, "align": "right", "dx": 12}
        mark = sheet.chart_of([row]).mark_text(text="✕ OOM", fontWeight="bold", **place)
        what = f"{row['series']} ran out of memory at batch {row['x']}"
        layers.append(mark.encode(x=x, color=color(series, legend=False), description=alt.value(what)))
    return layers


def scatter(sheet: Sheet) -> Any:
    """Marks on two quantities; a line joins those on the frontier, which are labelled."""
    import altair as alt

    rows = sheet.rows("series", "x", "y", "case", "frontier", "standing")
    x_title, y_title = sheet.chart.columns[1:3]
    for row in rows:
        row["said"] = f"{row['case']}: {row['x']:,.6g} {x_title}, {row['y']:,.4g} {y_title}"
    zero = alt.Scale(zero=True, nice=True)
    x = alt.X("x:Q", title=x_title, scale=zero, axis=alt.Axis(format="~s", grid=False, tickCount=5, labelOverlap=True))
    y = alt.Y("y:Q", title=y_title, scale=zero, axis=alt.Axis(format=GROUPED, tickCount=6))
    best = sorted((row for row in rows if row["frontier"]), key=lambda row: row["x"])
    thin = {"color": palette.name("muted"), "strokeWidth": 1.2}
    if sheet.options.get("join"):
        line = sheet.chart_of(rows).mark_line(**thin).encode(x=x, y=y, detail="case:N", order="standing:N")
    else:
        line = sheet.chart_of(best).mark_line(**thin, strokeDash=[3, 3]).encode(x=x, y=y)
    layers = [line, *marks(sheet.chart_of(rows), series_of(rows), x=x, y=y)]
    layers += [
        name.encode(x=x, y=y, text="case:N") for name in _names(sheet, best, max((row["x"] for row in rows), default=0))
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def _names(sheet: Sheet, best: Rows, most: float) -> list[Any]:
    """Labels of the marks on the frontier, below them, where no other case can be; of many only the last ones."""
    names = []
    for rank, row in enumerate(reversed(best[-_MOST_NAMED:])):
        right = row["x"] > 0.4 * most
        place: dict[str, Any] = {"align": "right" if right else "left", "baseline": "top", "dx": 6 if right else -6}
        base = sheet.chart_of([row])
        halo = base.mark_text(
            **place, dy=8 + 14 * rank, stroke=palette.name("paper"), strokeWidth=4, strokeJoin="round"
        )
        names += [halo, base.mark_text(**place, dy=8 + 14 * rank)]
    return names


def roofline(sheet: Sheet) -> Any:
    """A roof and marks per precision, both axes logarithmic."""
    import altair as alt

    rows = sheet.rows("series", "x", "y", "case", "what", "standing")
    x_title, y_title = sheet.chart.columns[1:3]
    for row in rows:
        row["said"] = (
            f"{row['case'] or row['what']} ({row['series']}): {row['y']:,.4g} {y_title} at {row['x']:,.4g} {x_title}"
        )
    log = alt.Scale(type="log", nice=False)
    x = alt.X("x:Q", title=x_title, scale=log, axis=alt.Axis(format="~g", grid=False, tickCount=6, labelOverlap=True))
    y = alt.Y("y:Q", title=y_title, scale=log, axis=alt.Axis(format="~g", tickCount=6))
    series = series_of(rows)
    roofs = sheet.chart_of([row for row in rows if row["what"] == "roof"])
    line = roofs.mark_line(strokeWidth=2, opacity=0.75).encode(x=x, y=y, color=color(series))
    cases = sheet.chart_of([row for row in rows if row["what"] == "case"])
    return alt.layer(line, *marks(cases, series, x=x, y=y)).properties(width=WIDTH, height=HEIGHT)
