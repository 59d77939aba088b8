"""From a `Chart` to a Vega-Lite specification, through altair."""

from collections.abc import Callable
from typing import Any

from gpubench.report.drawing import palette, panels, plane, ranks
from gpubench.report.drawing.sheet import Sheet
from gpubench.report.model.report_model import Chart, ChartForm

FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
"""Their letters are equally wide, so that text keeps the room that was reckoned for it."""

_SIZE = 12.5

FORMS: dict[ChartForm, Callable[[Sheet], Any]] = {
    "lines": plane.lines,
    "scatter": plane.scatter,
    "roofline": plane.roofline,
    "waterfall": ranks.waterfall,
    "forest": ranks.forest,
    "heat": ranks.heat,
    "dots": ranks.dots,
    "spread": panels.spread,
    "timeline": panels.timeline,
}

_TEXT = {"labelFontSize": _SIZE, "titleFontSize": _SIZE, "titleFontWeight": "normal"}
_CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": "transparent",
    "padding": 8,
    "view": {"stroke": None},
    "axis": {
        "labelColor": palette.name("ink"),
        "titleColor": palette.name("muted"),
        "gridColor": palette.name("grid"),
        "domainColor": palette.name("axis"),
        "tickColor": palette.name("axis"),
        "labelLimit": 260,
        "titlePadding": 8,
        **_TEXT,
    },
    "legend": {
        "labelColor": palette.name("ink"),
        "titleColor": palette.name("muted"),
        "orient": "top",
        "direction": "horizontal",
        "columns": 4,
        "labelLimit": 220,
        "offset": 8,
        "symbolOpacity": 1,
        **_TEXT,
    },
    "text": {"color": palette.name("ink"), "fontSize": _SIZE},
    "concat": {"spacing": 8},
}


def specification(chart: Chart, *, validate: bool = False) -> dict[str, Any]:
    """The chart as a Vega-Lite document with its data inside. Colours are names: see `report.charts.palette`.

    `validate` checks every part against Vega-Lite's schema, which takes longer than drawing it.
    """
    from altair.utils.schemapi import debug_mode

    with debug_mode(validate):
        sheet = Sheet(chart)
        spec: dict[str, Any] = FORMS[chart.form](sheet).configure(**_CONFIG).to_dict(validate=validate)
    return {**spec, "datasets": sheet.datasets}
