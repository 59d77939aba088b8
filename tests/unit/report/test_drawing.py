import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from fakes.hostile import HOSTILE, MOVES_A_TERMINAL, hostile_run
from fakes.reports import charts_of

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report.drawing import palette
from gpubench.report.drawing.draw import FORMS, draw, specification, stand_alone
from gpubench.report.model.report_model import Chart, Datum, ReportModel
from gpubench.report.render.csv_text import chart_csv

SVG = "{http://www.w3.org/2000/svg}"
LINES = Chart(
    "batch",
    "lines",
    "amp-bf16 is fastest",
    "Each line is one precision.",
    "Line chart.",
    ("precision", "batch size", "samples/s", "low", "high", "line", "standing", "other settings"),
    (
        ("fp32", 64, 100.0, 99.0, 101.0, "", "valid", ""),
        ("fp32", 128, 150.0, 149.0, 151.0, "", "valid", ""),
        ("fp32", 256, None, None, None, "", "OOM", ""),
        ("amp-bf16", 64, 200.0, None, None, "", "valid", ""),
        ("amp-bf16", 256, 400.0, None, None, "", "suspect", ""),
    ),
    {"x_scale": "log2"},
)
WATERFALL = Chart(
    "waterfall",
    "waterfall",
    "precision bought most",
    "Downwards.",
    "Waterfall.",
    ("change", "before", "after", "low", "high", "ratio", "reading"),
    (
        ("precision fp32 → tf32", 1.0, 2.0, 1.9, 2.1, 2.0, "faster"),
        ("layout NCHW → NHWC", 2.0, 1.8, None, None, 0.9, "slower"),
    ),
    {"x_title": "times the base"},
)
STRIP = Chart(
    "ranks",
    "strip",
    "rank 1 takes longer",
    "Each bar is a step of one rank.",
    "Bars.",
    ("rank", "part", "from ms", "to ms"),
    (("rank 0", "own", 0.0, 15.0), ("rank 0", "waits", 15.0, 37.0), ("rank 1", "own", 0.0, 37.0)),
    {"x_title": "ms"},
)
ROOFLINE = Chart(
    "roofline",
    "roofline",
    "near its roof",
    "Each mark is one case.",
    "Roofline.",
    ("precision", "FLOP/byte", "TFLOP/s", "case", "what", "standing"),
    (
        ("fp32", 1.0, 2.0, "", "roof", "valid"),
        ("fp32", 100.0, 50.0, "", "roof", "valid"),
        ("fp32", 20.0, 30.0, "conv", "case", "valid"),
    ),
)


def _run(number: int) -> tuple[Datum, ...]:
    started = "unknown" if number == 3 else f"2026-11-{number:02d}T10:00:00Z"
    value = 100.0 if number < 5 else 90.0
    return (number, f"run-{number}", started, value, value - 1, value + 1, value, 3, None)


HISTORY = Chart(
    "history",
    "history",
    "Throughput: -10% at run-5",
    "One point per run.",
    "Throughput of a case over eight runs.",
    ("number", "run", "started", "samples/s", "low", "high", "level", "launches", "commit"),
    tuple(map(_run, range(1, 9))),
    {"y_title": "samples/s", "changes": [(5, True)], "precision": "amp-bf16"},
)


@pytest.fixture(scope="module")
def one_of_each(matrix_model: ReportModel) -> dict[str, Chart]:
    found = {chart.form: chart for chart in matrix_model.charts}
    return {**found, "lines": LINES, "waterfall": WATERFALL, "roofline": ROOFLINE, "strip": STRIP, "history": HISTORY}


def test_a_history_has_dates_its_levels_and_its_change() -> None:
    svg = draw(HISTORY)
    assert {"2026-11-01", "2026-11-08", "3"} <= set(texts(svg)), "a start that is no date is the number of its run"
    assert svg.count("var(--ink)") >= 2
    assert svg.count("var(--bad)") == 1
    tooltips = [element.text for element in ET.fromstring(svg).iter(f"{SVG}title")]
    assert "run-1, 2026-11-01T10:00:00Z: 100 samples/s" in tooltips


def test_a_history_of_one_run_or_of_equal_values_is_drawn() -> None:
    for rows in (HISTORY.rows[:1], tuple((*row[:3], 0.0, None, None, 0.0, 3, None) for row in HISTORY.rows)):
        assert "samples/s" in texts(draw(replace(HISTORY, rows=rows, options={**HISTORY.options, "changes": []})))


@pytest.fixture(scope="module")
def drawn(one_of_each: dict[str, Chart]) -> dict[str, str]:
    return {form: draw(chart) for form, chart in one_of_each.items()}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_every_form_follows_the_schema_of_vega_lite(one_of_each: dict[str, Chart]) -> None:
    assert set(one_of_each) == set(FORMS)
    for chart in one_of_each.values():
        spec = specification(chart, validate=True)
        assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")


def test_every_form_is_drawn_with_words_for_who_cannot_see_it(
    one_of_each: dict[str, Chart], drawn: dict[str, str]
) -> None:
    for form, chart in one_of_each.items():
        root = ET.fromstring(drawn[form])
        assert root.get("role") == "img"
        assert root.get("aria-label") == chart.alt
        assert root.findtext(f"{SVG}title") == chart.title
        assert root.findtext(f"{SVG}desc") == chart.alt
        assert len(list(root.iter(f"{SVG}path"))) + len(list(root.iter(f"{SVG}rect"))) >= 2


def test_a_drawing_holds_nothing_that_a_strict_page_refuses(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert not re.search(r"\bstyle=|\bon[a-z]+=|<script|<foreignObject|<image|href|<!DOCTYPE|<!ENTITY", svg)
        assert len(svg) < 60_000


def test_a_precision_has_its_own_colour_and_shape_in_every_chart() -> None:
    svg = draw(LINES)
    assert "var(--c-fp32)" in svg
    assert "var(--c-amp-bf16)" in svg
    assert palette.PRECISIONS["amp-bf16"][0] == "#0072B2"
    assert {palette.PRECISIONS[name][0] for name in ("amp-fp16", "tf32", "fp32")} == {"#56B4E9", "#E69F00", "#444444"}
    assert len({colours[0] for colours in palette.PRECISIONS.values()}) == len(palette.PRECISIONS)
    assert set(palette.SHAPES) == set(palette.PRECISIONS)
    assert len(set(palette.SHAPES.values())) == len(palette.SHAPES)


def test_an_out_of_memory_batch_is_marked_and_a_mark_says_its_figures() -> None:
    svg = draw(LINES)
    assert "✕ OOM" in texts(svg)
    tooltips = [element.text for element in ET.fromstring(svg).iter(f"{SVG}title")]
    assert "fp32, batch size 64, 100 samples/s, 95 % interval 99 to 101" in tooltips
    assert "amp-bf16, batch size 256, 400 samples/s, suspect" in tooltips


def test_deviations_are_written_out_on_their_axis() -> None:
    """`+20`, never `+2e+1`."""
    rows = tuple(("fp32", low, low + 10.0, 0.1, "fp32 b64") for low in range(-20, 60, 10))
    chart = Chart(
        "steps",
        "spread",
        "steady",
        "Each row is one case.",
        "Histogram.",
        ("precision", "low", "high", "share", "case"),
        rows,
    )
    assert {"+20", "+40"} <= set(texts(draw(chart)))


def test_a_file_of_its_own_has_colours_and_paper_and_no_names(one_of_each: dict[str, Chart]) -> None:
    for chart in one_of_each.values():
        svg = stand_alone(draw(chart))
        assert "var(" not in svg
        paper = ET.fromstring(svg)[0]
        assert (paper.tag, paper.get("fill")) == (f"{SVG}rect", "#ffffff")
    assert "#0072B2" in stand_alone(draw(LINES))


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_background(dark: bool) -> None:
    colours = palette.tokens(dark=dark)
    for name in ("--ink", "--muted", "--good", "--bad", "--warn", "--accent"):
        assert contrast(colours[name], colours["--paper"]) >= 4.5, name


def test_in_the_dark_every_precision_stands_out_from_the_background() -> None:
    colours = palette.tokens(dark=True)
    for word in palette.PRECISIONS:
        assert contrast(colours[f"--c-{word}"], colours["--paper"]) >= 4.5, word


def contrast(first: str, second: str) -> float:
    """WCAG 2: (lighter + 0.05) / (darker + 0.05) of relative luminances."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_hostile_text_is_drawn_as_text() -> None:
    charts = [chart for section in charts_of(summarise_run(hostile_run())).values() for chart in section]
    assert charts
    for chart in charts:
        svg = draw(replace(chart, title=HOSTILE, alt=HOSTILE))
        root = ET.fromstring(svg)
        assert not [
            element
            for element in root.iter()
            if element.tag.removeprefix(SVG) in ("script", "img", "image", "foreignObject", "a")
        ]
        assert not any(sign in svg for sign in MOVES_A_TERMINAL)


def test_the_data_of_a_chart_are_csv_without_empty_columns() -> None:
    assert chart_csv(LINES).splitlines()[:3] == [
        "precision,batch size,samples/s,low,high,standing",
        "fp32,64,100,99,101,valid",
        "fp32,128,150,149,151,valid",
    ]


def test_a_formula_in_a_name_is_text_in_a_spreadsheet() -> None:
    row = ("=1+1", 64, -1.5, None, None, "", "@x", 'a,"b"\n')
    assert chart_csv(replace(LINES, rows=(row,))).splitlines()[1] == '\'=1+1,64,-1.5,\'@x,"a,""b""\\n"'
