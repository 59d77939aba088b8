"""From a `Chart` to SVG: a Vega-Lite specification through altair, drawn by vl-convert, tidied and described."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from gpubench.report.drawing import palette, panels, plane, ranks
from gpubench.report.drawing.sheet import Sheet
from gpubench.report.model.inert_text import inert
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


_SVG = "http://www.w3.org/2000/svg"
_LONG = re.compile(r"(\d+\.\d{2})\d+")
_TOKEN = re.compile(r"var\((--[a-z0-9-]+)\)")
_NUMBERS = ("d", "transform", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "cx", "cy")


def draw(chart: Chart) -> str:
    """The chart as SVG with names for colours, for a page that declares them; scales to its place."""
    import vl_convert

    ET.register_namespace("", _SVG)
    # The document is vl-convert's, made from our own specification: nothing from outside is parsed as markup.
    root = ET.fromstring(vl_convert.vegalite_to_svg(specification(chart)))  # noqa: S314
    _tidy(root)
    width, height = root.get("viewBox", "").split()[2:]
    for name in set(root.attrib) - {"viewBox"}:
        del root.attrib[name]
    root.attrib.update({"width": width, "height": height, "role": "img", "aria-label": inert(chart.alt)})
    for at, (tag, text) in enumerate((("title", chart.title), ("desc", chart.alt))):
        words = ET.Element(f"{{{_SVG}}}{tag}")
        words.text = inert(text)
        root.insert(at, words)
    return ET.tostring(root, encoding="unicode")


def stand_alone(drawing: str) -> str:
    """A drawing as a separate SVG file, in light colours on paper."""
    head, box, rest = re.split(r'(viewBox="0 0 [\d.]+ [\d.]+")', drawing, maxsplit=1)
    width, height = box.split('"')[1].split()[2:]
    opening, _, body = rest.partition(">")
    paper = f'<rect width="{width}" height="{height}" fill="{palette.name("paper")}"/>'
    colours = palette.tokens(dark=False)
    return _TOKEN.sub(lambda match: colours[match[1]], f"{head}{box}{opening}>{paper}{body}") + "\n"


def _tidy(parent: ET.Element) -> None:
    """Leaves out what is not drawn, spells numbers shortly, and turns the description of a mark into its tooltip."""
    for child in list(parent):
        if _is_nothing(child):
            parent.remove(child)
            continue
        said = child.get("aria-label") if child.get("role") == "graphics-symbol" else None
        is_mark = child.get("aria-roledescription", "").endswith(("mark", "symbol", "point", "bar", "rect mark"))
        for name in [
            name
            for name in child.attrib
            if name.startswith("aria-") or name in ("role", "class", "pointer-events", "style")
        ]:
            del child.attrib[name]
        for name in _NUMBERS:
            value = child.get(name)
            if value is not None:
                child.set(name, _LONG.sub(r"\1", value))
        if said and is_mark and child.tag != f"{{{_SVG}}}g":
            words = ET.SubElement(child, f"{{{_SVG}}}title")
            words.text = said
        _tidy(child)


def _is_nothing(element: ET.Element) -> bool:
    path = element.get("d", "")
    return element.get("display") == "none" or path in ("M0,0h0v0h0Z", "M0,0L0,0")
