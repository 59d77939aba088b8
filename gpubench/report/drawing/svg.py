"""Charts as SVG: drawn by vl-convert, stripped of what a page does not need, described for screen readers."""

import re
import xml.etree.ElementTree as ET
from typing import Any

from gpubench.report.drawing import palette
from gpubench.report.drawing.draw import specification
from gpubench.report.model.inert_text import inert
from gpubench.report.model.report_model import Chart

_SVG = "http://www.w3.org/2000/svg"
_LONG = re.compile(r"(\d+\.\d{2})\d+")
_TOKEN = re.compile(r"var\((--[a-z0-9-]+)\)")
_NUMBERS = ("d", "transform", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "cx", "cy")


def draw(chart: Chart) -> str:
    """The chart as SVG with names for colours, to stand inside a page that declares them; scales to its place."""
    return ET.tostring(_cleaned(chart), encoding="unicode")


def stand_alone(drawing: str) -> str:
    """A drawing as a separate SVG file, in light colours on paper."""
    head, box, rest = re.split(r'(viewBox="0 0 [\d.]+ [\d.]+")', drawing, maxsplit=1)
    width, height = box.split('"')[1].split()[2:]
    opening, _, body = rest.partition(">")
    paper = f'<rect width="{width}" height="{height}" fill="{palette.name("paper")}"/>'
    colours = palette.tokens(dark=False)
    return _TOKEN.sub(lambda match: colours[match[1]], f"{head}{box}{opening}>{paper}{body}") + "\n"


def _cleaned(chart: Chart) -> ET.Element:
    ET.register_namespace("", _SVG)
    # The document is vl-convert's, made from our own specification: nothing from outside is parsed as markup.
    root = ET.fromstring(_convert(specification(chart)))  # noqa: S314
    _tidy(root)
    size = root.get("viewBox", "").split()
    for name in list(root.attrib):
        if name not in ("viewBox", "width", "height"):
            del root.attrib[name]
    root.set("role", "img")
    root.set("aria-label", inert(chart.alt))
    root.set("width", size[2])
    root.set("height", size[3])
    for at, (tag, text) in enumerate((("title", chart.title), ("desc", chart.alt))):
        words = ET.Element(f"{{{_SVG}}}{tag}")
        words.text = inert(text)
        root.insert(at, words)
    return root


def _convert(spec: dict[str, Any]) -> str:
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(spec)
    return drawn


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
