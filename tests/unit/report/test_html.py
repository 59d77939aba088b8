import base64
import hashlib
import itertools
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from fakes.hostile import HOSTILE, MOVES_A_TERMINAL, hostile_run
from fakes.runs import cpu_run, invented_run

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report.build import build_report
from gpubench.report.model.report_model import ReportModel, plain
from gpubench.report.render.html import render_html
from gpubench.report.view.run_view import View

OPTIONAL = {
    "td": ("td", "th", "tr", "tbody"),
    "th": ("td", "th", "tr", "tbody"),
    "tr": ("tr", "tbody"),
    "thead": ("tbody",),
    "tbody": (),
    "caption": ("thead",),
    "dt": ("dt", "dd"),
    "dd": ("dt", "dd"),
    "li": ("li",),
    "p": ("ul",),
}
"""Elements whose end tag HTML lets a page leave out, with the start tags that end them; so does the end of a parent."""

VOID = {"meta", "link", "br", "img", "input", "hr"}
DRAWING = '<svg viewBox="0 0 10 10" role="img" aria-label="a drawing"></svg>'


class Page(HTMLParser):
    """The elements of a page in order, with their attributes; fails on one that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        while self.open and tag in OPTIONAL.get(self.open[-1], ()):
            self.open.pop()
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1] != tag and self.open[-1] in OPTIONAL:
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(model: ReportModel) -> str:
    return render_html(model, {chart.key: DRAWING for chart in model.charts})


NOSCRIPT = re.compile(r'<noscript id="full-(\d+)">(.*?)</noscript>', re.DOTALL)


def cells_of(text: str) -> list[list[str]]:
    """The rows of every table of a case in full."""
    rows = re.findall(r"<tr>(.*?)(?=<tr>|<tbody>|</table>)", text, re.DOTALL)
    return [[unescape(cell) for cell in re.split(r"<t[hd]>", row)[1:]] for row in rows]


@pytest.fixture(scope="module")
def page(matrix_model: ReportModel) -> str:
    return page_of(matrix_model)


@pytest.fixture(scope="module")
def parsed(page: str) -> Page:
    return Page(page)


def test_the_page_is_well_formed_and_in_order(parsed: Page) -> None:
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), "no level of heading is left out"


def test_nothing_is_asked_of_the_network(page: str, parsed: Page) -> None:
    addresses = [
        value
        for _, attributes in parsed.elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data")
    ]
    assert all(address is not None and address.startswith(("#", "data:,")) for address in addresses)
    assert not re.search(r"@import|url\(", page)


def test_the_policy_lets_nothing_run_but_the_pages_own_script_and_style(page: str, parsed: Page) -> None:
    (policy,) = [
        meta["content"] or "" for meta in parsed.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert policy.startswith("default-src 'none'; ")
    for text in (script, style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", page)


def test_the_finding_in_words_comes_first_then_what_to_switch_on(page: str) -> None:
    order = [
        page.index(text)
        for text in (
            "was fastest",
            'class="answers"',
            "What to switch on</h3>",
            "More in words",
            'id="best"',
            'id="cases"',
        )
    ]
    assert order == sorted(order)


def test_each_contest_is_answered_in_figures(matrix_model: ReportModel) -> None:
    first = matrix_model.answers[0]
    assert (first.subject, first.precision, first.setting) == ("Training on the GPU", "amp-bf16", "b4096 NHWC bench")
    assert [name for name, _ in first.figures] == [
        "samples/s",
        "times fp32",
        "times the baseline",
        "energy per sample",
        "peak memory",
        "test accuracy",
    ]


def test_a_fastest_case_that_may_not_win_says_why_in_its_answer() -> None:
    model = build_report(View(summarise_run(invented_run(repeats=1))))
    assert model.answers
    assert all("One launch" in answer.why_not for answer in model.answers if "GB206" in answer.why_not)
    assert "! Not called best: " in page_of(model)


def test_tables_have_captions_and_headings_for_columns_and_rows(page: str, parsed: Page) -> None:
    assert len(parsed.of("table")) == len(parsed.of("caption")) > 5
    outside = Page(NOSCRIPT.sub("", page))
    scopes = [heading.get("scope") for heading in outside.of("th") if heading.get("aria-hidden") != "true"]
    assert set(scopes) == {"col", "row"}
    regions = [each for each in outside.of("div") if each.get("role") == "region"]
    assert all(each.get("tabindex") == "0" and each.get("aria-label") for each in regions), (
        "what scrolls is reached by the keyboard"
    )


def test_ids_are_unique(parsed: Page) -> None:
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_every_chart_has_its_finding_how_to_read_it_and_its_data(page: str, matrix_model: ReportModel) -> None:
    assert page.count("<figure ") == len(matrix_model.charts) == page.count('class="csv"')
    readings = {(section.key, chart.reading) for section in matrix_model.sections for chart in section.charts}
    assert page.count("<b>How to read:</b>") == len(readings), "charts of a section that are read alike say so once"
    assert "samples/s,low,high" in page


def test_an_effect_is_drawn_beside_its_figure(parsed: Page) -> None:
    strips = [each for each in parsed.of("svg") if (each.get("class") or "").startswith("strip")]
    assert len(strips) > 10
    assert {each["class"] for each in strips} <= {"strip good", "strip bad", "strip muted"}


def test_every_case_is_a_row_and_follows_in_full(page: str, matrix_model: ReportModel) -> None:
    assert len(re.findall(r'id="case-\d+"', page)) == 144
    cases = dict(NOSCRIPT.findall(page))
    assert set(cases) == {str(each.index) for each in matrix_model.pages}
    assert set(re.findall(r'href="#full-(\d+)"', page)) == set(cases), "its row leads to it"
    case = cases["5"]
    headings = re.findall(r"<h3>(.*?)</h3>", case)
    assert headings[0].startswith("Case 5: ")
    assert headings[1:] == ["To repeat just this case", "Settings", "Telemetry", "Figures", "Launches"]
    assert unescape(case).count("<code>gpubench run suites/cnn.yaml --case ") == 1
    assert ["precision", "fp32", "fp32"] in cells_of(case)


def test_nothing_of_a_case_is_left_out_in_full(page: str, matrix_model: ReportModel) -> None:
    cases = dict(NOSCRIPT.findall(page))
    for each in matrix_model.pages:
        shown = cells_of(cases[str(each.index)])
        tables = [table for section in each.sections for table in section.tables]
        assert all([cell.full for cell in row.cells] in shown for table in tables for row in table.rows)
        text = unescape(re.sub(r"<[^>]+>", "", cases[str(each.index)]))
        assert all(plain(fact.text) in text for section in each.sections for fact in section.facts)


def test_telemetry_of_a_case_is_told_in_words(page: str) -> None:
    facts = dict(re.findall(r"<dt>(.*?)<dd>(.*?)(?=<dt>|</dl>)", dict(NOSCRIPT.findall(page))["5"]))
    assert facts["Energy"] == "from the energy counter, interpolated between its ticks, ±1.4% over this window"
    assert facts["Held down"] == "20.0% by power limit"


def test_200_cases_take_less_than_2_mb_with_room_for_their_charts(page: str) -> None:
    assert len(page.encode()) / 144 * 200 < 1_400_000, "drawings come on top"


@pytest.mark.parametrize("run", [cpu_run(), invented_run(), invented_run(repeats=1)], ids=["cpu", "gpu", "one launch"])
def test_any_run_makes_a_page(run: Any) -> None:
    Page(page_of(build_report(View(summarise_run(run), charts=True))))


def test_hostile_text_is_inert() -> None:
    model = build_report(View(summarise_run(hostile_run()), charts=True, notices=(HOSTILE,)))
    page = page_of(model)
    parsed = Page(page)
    assert len(parsed.of("script")) == 1
    assert parsed.of("img") == []
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert not any(sign in page for sign in MOVES_A_TERMINAL)
    assert "49" not in " ".join(parsed.text).split(), "nothing is evaluated"
    assert "<script>alert(1)</script>" in "".join(parsed.text), "and it is shown as it was written"
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in case for _, case in NOSCRIPT.findall(page))


def test_the_title_of_the_page_is_that_of_the_report(page: str, parsed: Page, matrix_model: ReportModel) -> None:
    assert f"<title>{matrix_model.title}</title>" in page
    assert plain(matrix_model.subtitle) in "".join(parsed.text)
