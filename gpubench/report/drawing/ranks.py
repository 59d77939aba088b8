"""Charts with a row per category: ratios with their intervals, marks of one quantity, and fields of two settings."""

import math
from collections.abc import Sequence
from typing import Any

from gpubench.report.drawing import palette
from gpubench.report.drawing.sheet import GROUPED, ROW, WIDTH, Sheet, color, marks, series_of
from gpubench.report.model.inert_text import cell_width, inert

_BELOW_ONE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
_ABOVE_ONE = (1.05, 1.1, 1.2, 1.5, 2, 3, 5, 7, 10, 20, 30, 50, 100, 200, 500, 1000)
_LABELS = 150
_LETTER = 6.5
"""Pixels per letter of a label. Long labels make the rest narrower, because a phone shrinks wide charts."""
_READINGS = {
    "faster": "good",
    "slower": "bad",
    "same": "accent",
    "unclear": "muted",
    "weakened": "muted",
}


def forest(sheet: Sheet) -> Any:
    """Ratios with their intervals on a log axis, with a rule at 1."""
    import altair as alt

    rows = sheet.rows("label", "ratio", "low", "high", "pairs", "reading")
    for row in rows:
        interval = "" if row["low"] is None else f", 95 % interval {row['low']:.3g} to {row['high']:.3g}"
        row["said"] = f"{row['label']}: {row['ratio']:.3g} times{interval}, {row['reading']}"
    ends = [value for row in rows for value in (row["ratio"], row["low"], row["high"]) if value]
    low, high = min(0.95, *ends) * 0.97, max(1.05, *ends) * 1.03
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    axis = alt.Axis(values=_ratio_ticks(low, high), format="~g", grid=True)
    x = alt.X("ratio:Q", title=sheet.options.get("x_title"), scale=scale, axis=axis)
    order = [row["label"] for row in rows]
    y = alt.Y("label:N", title=None, sort=order, axis=alt.Axis(grid=False, domain=False, ticks=False))
    tones = alt.Scale(domain=list(_READINGS), range=[palette.name(tone) for tone in _READINGS.values()])
    tone = alt.Color("reading:N", scale=tones, legend=None)
    one = sheet.chart_of([{"one": 1}]).mark_rule(color=palette.name("axis"), strokeWidth=1.5)
    base = sheet.chart_of(rows)
    span = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=3)
    layers = [
        one.encode(x=alt.X("one:Q", scale=scale)),
        span.encode(x=alt.X("low:Q", scale=scale), x2="high:Q", y=y, color=tone),
        base.mark_point(filled=True, size=80, opacity=1).encode(
            x=x, y=y, color=tone, description=alt.Description("said:N")
        ),
    ]
    return alt.layer(*layers).properties(width=WIDTH - _LABELS, height=max(2, len(rows)) * ROW)


def _ratio_ticks(low: float, high: float) -> list[float]:
    """1, and round ratios at least a sixth of the axis apart."""
    apart = math.log(high / low) / 6
    ticks = [1.0]
    for tick in sorted(_BELOW_ONE + _ABOVE_ONE, key=lambda each: abs(math.log(each))):
        if low <= tick <= high and all(abs(math.log(tick / other)) >= apart for other in ticks):
            ticks.append(tick)
    return sorted(ticks)


def waterfall(sheet: Sheet) -> Any:
    """A bar per change from the speed before it to the speed with it, on a log axis, each on top of the last."""
    import altair as alt

    rows = sheet.rows("label", "before", "after", "low", "high", "ratio", "reading")
    for row in rows:
        row["times"] = f"x{row['ratio']:.2f}"
        row["right"] = max(value for value in (row["before"], row["after"], row["high"]) if value)
        row["said"] = f"{row['label']}: {row['ratio']:.3g} times, {row['after']:.3g} times the base"
    ends = [value for row in rows for value in (row["before"], row["after"], row["low"], row["high"]) if value]
    low, high = min(ends) * 0.97, max(ends) * 1.25
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    axis = alt.Axis(values=_ratio_ticks(low, high), format="~g", grid=True)
    x = alt.X("before:Q", title=sheet.options.get("x_title"), scale=scale, axis=axis)
    order = [row["label"] for row in rows]
    y = alt.Y("label:N", title=None, sort=order, axis=alt.Axis(grid=False, domain=False, ticks=False))
    tones = alt.Scale(domain=["faster", "slower"], range=[palette.name("good"), palette.name("bad")])
    base = sheet.chart_of(rows)
    layers = [
        base.mark_bar(height=14, opacity=0.85).encode(
            x=x,
            x2="after:Q",
            y=y,
            color=alt.Color("reading:N", scale=tones, legend=None),
            description=alt.Description("said:N"),
        ),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(color=palette.name("ink"), strokeWidth=1.5)
        .encode(x=alt.X("low:Q", scale=scale), x2="high:Q", y=y),
        base.mark_text(align="left", dx=7).encode(x=alt.X("right:Q", scale=scale), y=y, text="times:N"),
    ]
    return alt.layer(*layers).properties(width=WIDTH - _LABELS, height=max(2, len(rows)) * ROW)


def heat(sheet: Sheet) -> Any:
    """Fields shaded by value with the accent colour, stronger if faster, on which text stays readable."""
    import altair as alt

    rows = sheet.rows("x", "y", "value")
    x_title = sheet.chart.columns[0]
    for row in rows:
        row["text"] = f"{row['value']:.2f}" if row["value"] < 9.995 else f"{row['value']:.0f}"
        row["said"] = f"{row['y']}, {x_title} {row['x']}: {row['text']} times the slowest"
    x_order, y_order = ([inert(each) for each in sheet.options[name]] for name in ("x_order", "y_order"))
    bare = {"domain": False, "ticks": False}
    x = alt.X("x:N", title=x_title, sort=x_order, axis=alt.Axis(labelAngle=0, **bare))
    y = alt.Y("y:N", title=None, sort=y_order, axis=alt.Axis(**bare))
    most = max(1.01, *(row["value"] for row in rows))
    shade = alt.Scale(type="log", domain=[1, most], range=[0.04, 0.55])
    base = sheet.chart_of(rows).encode(x=x, y=y)
    field = base.mark_rect(fill=palette.name("accent"), stroke=palette.name("paper"), strokeWidth=2).encode(
        fillOpacity=alt.FillOpacity("value:Q", scale=shade, legend=None), description=alt.Description("said:N")
    )
    width, height = min(WIDTH, 64 * len(x_order)), max(2, len(y_order)) * (ROW + 4)
    return alt.layer(field, base.mark_text().encode(text="text:N")).properties(width=width, height=height)


def dots(sheet: Sheet) -> Any:
    """A row per category with its marks, intervals where known, a limit across and ticks."""
    import altair as alt

    rows = sheet.rows("row", "x", "low", "high", "series", "standing", "case")
    for row in rows:
        row["said"] = f"{row['row']}: {row['x']:,.5g} {sheet.chart.columns[1]}" + (
            f" ({row['case']})" if row["case"] else ""
        )
    series, order = series_of(rows), list(dict.fromkeys(row["row"] for row in rows))
    zero, form = bool(sheet.options.get("zero")), sheet.options.get("x_format", GROUPED)
    scale = alt.Scale(zero=zero, nice=True, padding=0 if zero else 16)
    x = alt.X(
        "x:Q",
        title=sheet.options.get("x_title"),
        scale=scale,
        axis=alt.Axis(format=form, tickCount=5, labelOverlap=True),
    )
    y = alt.Y("row:N", title=None, sort=order, axis=alt.Axis(domain=False, ticks=False, grid=True))
    layers = []
    spans = [row for row in rows if row["low"] is not None]
    if spans:
        span = sheet.chart_of(spans).mark_rule(strokeWidth=2)
        layers.append(span.encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=color(series, legend=False)))
    layers += marks(sheet.chart_of(rows), series, legend=False, x=x, y=y)
    layers += [*_ticks(sheet, sheet.options.get("ticks", ()), x, y), *sheet.limit_rule("x")]
    spare = WIDTH + _LABELS // 2 - _LETTER * max(map(cell_width, order))
    width = min(max(spare, WIDTH - _LABELS), WIDTH - _LABELS // 2)
    return alt.layer(*layers).properties(width=width, height=max(2, len(order)) * ROW)


_PARTS = ("accent", "warn", "grid")


def strip(sheet: Sheet) -> Any:
    """A bar per row, from its start to its end in parts that follow each other; the legend names them."""
    import altair as alt

    rows = sheet.rows("row", "part", "begin", "end")
    for row in rows:
        row["said"] = f"{row['row']}: {row['part']} {row['end'] - row['begin']:,.4g} {sheet.options.get('x_title', '')}"
    order, parts = (list(dict.fromkeys(row[name] for row in rows)) for name in ("row", "part"))
    x = alt.X("begin:Q", title=sheet.options.get("x_title"), axis=alt.Axis(format=GROUPED, tickCount=5))
    y = alt.Y("row:N", title=None, sort=order, axis=alt.Axis(grid=False, domain=False, ticks=False))
    tones = alt.Scale(domain=parts, range=[palette.name(_PARTS[number % len(_PARTS)]) for number in range(len(parts))])
    bars = (
        sheet.chart_of(rows)
        .mark_bar(height=14)
        .encode(
            x=x,
            x2="end:Q",
            y=y,
            color=alt.Color("part:N", scale=tones, legend=alt.Legend(title=None)),
            description=alt.Description("said:N"),
        )
    )
    width = min(WIDTH, WIDTH + _LABELS // 2 - _LETTER * max(map(cell_width, order)))
    return alt.layer(bars).properties(width=max(width, WIDTH - _LABELS), height=max(2, len(order)) * ROW)


def _ticks(sheet: Sheet, ticks: Sequence[tuple[str, float]], x: Any, y: Any) -> list[Any]:
    import altair as alt

    if not ticks:
        return []
    label = str(sheet.options.get("ticks_label", ""))
    rows = [{"row": inert(name), "x": value, "said": f"{inert(name)}: {label} {value:,.5g}"} for name, value in ticks]
    mark = sheet.chart_of(rows).mark_tick(color=palette.name("ink"), thickness=2.5, size=18)
    return [mark.encode(x=x, y=y, description=alt.Description("said:N"))]
