"""Parts of every drawing: named data, colours and shapes by series, described marks."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpubench.report.drawing import palette
from gpubench.report.model.inert_text import inert
from gpubench.report.model.report_model import Chart

WIDTH = 340
HEIGHT = 210
ROW = 30
GROUPED = ",~f"
"""Axis labels as 1,900 and 0.002: whole numbers grouped, no more decimals than the ticks need."""

Rows = list[dict[str, Any]]


class Sheet:
    """A chart being drawn. Data is named and kept outside the drawing, because altair would copy it."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.options = chart.options
        self.datasets: dict[str, Rows] = {}

    def rows(self, *names: str) -> Rows:
        """Rows under short names, with inert text: column titles may hold characters that Vega reads as paths."""
        return [
            {key: inert(value) if isinstance(value, str) else value for key, value in zip(names, row, strict=True)}
            for row in self.chart.rows
        ]

    def data(self, rows: Rows) -> Any:
        import altair as alt

        name = f"data{len(self.datasets)}"
        self.datasets[name] = rows
        return alt.NamedData(name)

    def chart_of(self, rows: Rows) -> Any:
        import altair as alt

        return alt.Chart(self.data(rows))

    def limit_rule(self, channel: str) -> list[Any]:
        """A named rule across the chart at the limit; nothing without a limit."""
        import altair as alt

        limit = self.options.get("limit")
        if limit is None:
            return []
        base = self.chart_of([{"limit": limit, "said": str(self.options.get("limit_label", ""))}])
        place = {"y": alt.Y("limit:Q")} if channel == "y" else {"x": alt.X("limit:Q")}
        rule = base.mark_rule(strokeDash=[6, 3], color=palette.name("bad"), strokeWidth=1.5).encode(**place)
        if channel == "y":
            name = base.mark_text(align="right", baseline="bottom", dy=-3, color=palette.name("bad"))
            return [rule, name.encode(text="said:N", x=alt.value(WIDTH), **place)]
        name = base.mark_text(align="right", baseline="bottom", dx=4, color=palette.name("bad"))
        return [rule, name.encode(text="said:N", y=alt.value(-3), **place)]


def series_of(rows: Rows, key: str = "series") -> list[str]:
    """Names in the order of precisions, then the others in order of appearance."""
    met = list(dict.fromkeys(str(row[key]) for row in rows))
    known = [word for word in palette.PRECISIONS if word in met]
    return known + [word for word in met if word not in palette.PRECISIONS]


def color(series: Sequence[str], *, legend: bool = True) -> Any:
    import altair as alt

    scale = alt.Scale(domain=list(series), range=[palette.precision(word) for word in series])
    return alt.Color("series:N", scale=scale, legend=alt.Legend(title=None) if legend else None)


def shape(series: Sequence[str], *, legend: bool = True) -> Any:
    import altair as alt

    scale = alt.Scale(domain=list(series), range=[palette.SHAPES.get(word, "circle") for word in series])
    return alt.Shape("series:N", scale=scale, legend=alt.Legend(title=None) if legend else None)


def marks(base: Any, series: Sequence[str], *, legend: bool = True, **encoding: Any) -> list[Any]:
    """Points: filled for valid figures, hollow for weakened or unverified ones, small for single launches."""
    import altair as alt

    said = {
        "color": color(series, legend=legend),
        "shape": shape(series, legend=legend),
        "description": alt.Description("said:N"),
        **encoding,
    }
    launch = base.transform_filter("datum.standing === 'launch'").mark_circle(size=26, opacity=0.65)
    full = base.transform_filter("datum.standing === 'valid'").mark_point(filled=True, size=70, opacity=1)
    hollow = base.transform_filter("datum.standing !== 'valid' && datum.standing !== 'launch'").mark_point(
        filled=False, fill=palette.name("paper"), size=70, strokeWidth=2, opacity=1
    )
    small = {name: value for name, value in said.items() if name != "shape"}
    return [launch.encode(**small), full.encode(**said), hollow.encode(**said)]


def said(row: Mapping[str, Any], x_title: str, y_title: str) -> str:
    """The tooltip of a mark on a line."""
    parts = [str(row["series"]), str(row.get("kind") or ""), f"{x_title} {row['x']:g}", f"{row['y']:,.6g} {y_title}"]
    if row.get("low") is not None and row.get("high") is not None:
        parts.append(f"95 % interval {row['low']:,.6g} to {row['high']:,.6g}")
    parts.append(str(row.get("others") or ""))
    if row.get("standing") not in (None, "valid", "launch"):
        parts.append(str(row["standing"]))
    return ", ".join(part for part in parts if part)
