"""Charts of several panels over one axis: distributions of step time, and a launch over time."""

from typing import Any

from gpubench.report.drawing import palette
from gpubench.report.drawing.sheet import GROUPED, WIDTH, Rows, Sheet, color, series_of
from gpubench.report.model.inert_text import inert


def spread(sheet: Sheet) -> Any:
    """A histogram per case, one below the other, on one axis of deviations from the median."""
    import altair as alt

    rows = sheet.rows("series", "low", "high", "share", "case")
    series = series_of(rows)
    cases = list(dict.fromkeys(row["case"] for row in rows))
    scale = alt.Scale(domain=[min(row["low"] for row in rows), max(row["high"] for row in rows)], nice=False)
    panels = []
    for number, case in enumerate(cases):
        last = number == len(cases) - 1
        axis = alt.Axis(format="+~r", grid=False, tickCount=6, labels=last, ticks=last)
        title = sheet.options.get("x_title") if last else None
        x = alt.X("low:Q", bin="binned", title=title, scale=scale, axis=axis)
        bars = sheet.chart_of([row for row in rows if row["case"] == case]).mark_bar(binSpacing=0)
        median = sheet.chart_of([{"zero": 0}]).mark_rule(color=palette.name("axis"), strokeDash=[2, 2])
        layers = [
            median.encode(x=alt.X("zero:Q", scale=scale)),
            bars.encode(x=x, x2="high:Q", y=alt.Y("share:Q", title=None, axis=None), color=color(series, legend=False)),
        ]
        panels.append(alt.layer(*layers).properties(width=WIDTH, height=52, title=_panel_title(case)))
    return alt.vconcat(*panels, spacing=6)


def _panel_title(text: str) -> Any:
    import altair as alt

    return alt.TitleParams(
        text, anchor="start", fontWeight="normal", fontSize=12.5, color=palette.name("ink"), offset=2, frame="bounds"
    )


def timeline(sheet: Sheet) -> Any:
    """A panel per quantity over one axis of time; spans are shaded through all of them."""
    import altair as alt

    rows = sheet.rows("panel", "x", "y")
    spans: Rows = [
        {"from": start, "to": end, "reason": inert(reason)} for start, end, reason in sheet.options.get("spans", ())
    ]
    scale = alt.Scale(domain=[0, max([row["x"] for row in rows] + [span["to"] for span in spans])], nice=False)
    names = [inert(name) for name in sheet.options["panels"]]
    line_color = palette.precision(str(sheet.options.get("precision")))
    panels = []
    for number, panel in enumerate(names):
        last = number == len(names) - 1
        axis = alt.Axis(grid=False, labels=last, ticks=last, tickCount=7)
        x = alt.X("x:Q", title=sheet.options.get("x_title") if last else None, scale=scale, axis=axis)
        y = alt.Y(
            "y:Q",
            title=None,
            scale=alt.Scale(zero=False, nice=True),
            axis=alt.Axis(tickCount=3, format=GROUPED, minExtent=46),
        )
        line = sheet.chart_of([row for row in rows if row["panel"] == panel]).mark_line(
            strokeWidth=1.5, color=line_color
        )
        layers = [line.encode(x=x, y=y)]
        if spans:
            shade = sheet.chart_of(spans).mark_rect(color=palette.name("shade"), opacity=0.8)
            layers.insert(
                0, shade.encode(x=alt.X("from:Q", scale=scale), x2="to:Q", description=alt.Description("reason:N"))
            )
        panels.append(alt.layer(*layers).properties(width=WIDTH, height=62, title=_panel_title(panel)))
    return alt.vconcat(*panels, spacing=8)
