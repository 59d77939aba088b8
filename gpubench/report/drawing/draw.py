"""Draws a `Chart` as SVG: a Vega-Lite specification by altair, drawn by vl-convert, then tidied."""

import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpubench.report.drawing import levels, palette, panels, plane, ranks
from gpubench.report.drawing.sheet import Sheet
from gpubench.report.model.inert_text import inert
from gpubench.report.model.report_model import Chart, ChartForm

FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
"""Their letters have equal widths, so that text fits the room computed for it."""

_SIZE = 12.5

FORMS: dict[ChartForm, Callable[[Sheet], Any]] = {
    "lines": plane.lines,
    "scatter": plane.scatter,
    "roofline": plane.roofline,
    "waterfall": ranks.waterfall,
    "forest": ranks.forest,
    "heat": ranks.heat,
    "dots": ranks.dots,
    "strip": ranks.strip,
    "spread": panels.spread,
    "timeline": panels.timeline,
    "history": levels.history,
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
    """The chart as a Vega-Lite document with its data inside. Colours are names: see `report.drawing.palette`.

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
    """The chart as SVG that scales to its place, with colour names that the page declares."""
    import vl_convert

    ET.register_namespace("", _SVG)
    # The document comes from vl-convert and our own specification: no outside text is parsed as markup.
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


_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from gpubench.report.drawing import draw; draw.main()"
)
_START_TIMEOUT_S = 120.0
_CHART_TIMEOUT_S = 5.0
_MANY = 16
"""As many charts take two processes less time than one, which needs a second to start."""


def draw_apart(charts: Sequence[Chart]) -> tuple[dict[str, str], dict[str, str]]:
    """Drawings by key, and reasons by key for charts without one. They are drawn in another process, many in two,
    because the JavaScript engine kills its process if memory runs short.
    """
    halves = [charts[::2], charts[1::2]] if len(charts) >= _MANY else [charts]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(_draw_in_child, halves))
    drawings, reasons = (dict(item for part in parts for item in part.items()) for parts in zip(*found, strict=True))
    return drawings, reasons


def _draw_in_child(charts: Sequence[Chart]) -> tuple[dict[str, str], dict[str, str]]:
    drawings: dict[str, str] = {}
    reasons: dict[str, str] = {}
    left = list(charts)
    while left:
        why, answers = _ask_child(left)
        for answer in answers:
            (drawings if answer.get("svg") else reasons)[answer["key"]] = answer.get("svg") or answer["error"]
        rest = [chart for chart in left if chart.key not in drawings and chart.key not in reasons]
        # A child that died on one chart may draw the others; one that drew nothing never will.
        lost = rest[:1] if answers else rest
        reasons |= {chart.key: why for chart in lost}
        left = rest[len(lost) :]
    return drawings, reasons


def _ask_child(charts: Sequence[Chart]) -> tuple[str, list[dict[str, str]]]:
    """How the child ended, and its answers up to then."""
    command = [sys.executable, "-I", "-c", _CHILD, json.dumps(sys.path)]
    limit_s = _START_TIMEOUT_S + _CHART_TIMEOUT_S * len(charts)
    try:
        ended = subprocess.run(command, input=pickle.dumps(charts), capture_output=True, check=False, timeout=limit_s)
        why, said = _end_of(ended), ended.stdout
    except subprocess.TimeoutExpired as error:
        why, said = f"the process that draws took more than {limit_s:.0f} s", error.stdout or b""
    except OSError as error:
        why, said = f"the process that draws could not be started: {error.strerror}", b""
    return why, [json.loads(each) for each in said.splitlines(keepends=True) if each.endswith(b"\n")]


def _end_of(ended: "subprocess.CompletedProcess[bytes]") -> str:
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        return f"the process that draws was ended by {name}; too little memory (`ulimit -v`) does that"
    last = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return f"the process that draws ended with status {ended.returncode}: {last}".removesuffix(": ")


def main() -> None:
    """Reads charts as a pickle from stdin, and prints an answer per line: `key` with `svg` or `error`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keeps prints of libraries out of the answers
    for chart in pickle.load(sys.stdin.buffer):  # noqa: S301 - from our own parent
        try:
            answer = {"svg": draw(chart)}
        except Exception as error:  # noqa: BLE001 - one chart must not cost the others
            answer = {"error": f"{type(error).__name__}: {error}".partition("\n")[0][:200]}
        print(json.dumps({"key": chart.key, **answer}), file=answers, flush=True)


def stand_alone(drawing: str) -> str:
    """A drawing as a stand-alone SVG file, in light colours on paper."""
    head, box, rest = re.split(r'(viewBox="0 0 [\d.]+ [\d.]+")', drawing, maxsplit=1)
    width, height = box.split('"')[1].split()[2:]
    opening, _, body = rest.partition(">")
    paper = f'<rect width="{width}" height="{height}" fill="{palette.name("paper")}"/>'
    colours = palette.tokens(dark=False)
    return _TOKEN.sub(lambda match: colours[match[1]], f"{head}{box}{opening}>{paper}{body}") + "\n"


def _tidy(parent: ET.Element) -> None:
    """Removes what is not drawn, shortens numbers, and turns descriptions of marks into tooltips."""
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
