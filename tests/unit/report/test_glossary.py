"""The glossary of a report: the words it uses, no others, linked from where they first stand."""

import re

import pytest
from fakes.runs import cpu_run

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report.build import build_report
from gpubench.report.glossary import TERMS, term_of, with_glossary
from gpubench.report.model.report_model import ReportModel, Section, line, plain
from gpubench.report.render.html import render_html
from gpubench.report.render.markdown import render_markdown
from gpubench.report.view.run_view import View


@pytest.fixture(scope="module")
def cpu_model() -> ReportModel:
    return build_report(View(summarise_run(cpu_run()), charts=True))


def explained(model: ReportModel) -> list[str]:
    section = model.sections[-1]
    assert section.key == "glossary", "it closes the report"
    return [fact.name for fact in section.facts]


def test_every_word_that_is_explained_is_used(cpu_model: ReportModel) -> None:
    said = render_markdown(cpu_model).partition("## Words used here")[0]
    assert {"launch", "interval", "half-width", "steady", "parity"} <= set(explained(cpu_model))
    assert [term for term in explained(cpu_model) if not re.search(TERMS[term][0], said)] == []


def test_words_of_other_reports_are_not_explained(cpu_model: ReportModel) -> None:
    assert {"contest", "NVTX", "MFU", "OOM", "two levels"}.isdisjoint(explained(cpu_model))


def test_a_word_is_linked_where_it_first_stands_and_there_alone() -> None:
    sections = (Section("one", "One", lines=(line("Each launch and its interval; a launch again."),)),)
    model = with_glossary(ReportModel("title", line(), "run", (line("No launch."),), sections))
    page = render_html(model, {})
    assert page.count('<a class="term" href="#term-launch">launch</a>') == 1
    assert 'No <a class="term" href="#term-launch">launch</a>.' in page
    assert 'its <a class="term" href="#term-interval">interval</a>' in page
    assert '<dt id="term-launch">launch</dt>' in page


def test_text_stays_as_it_was_but_for_its_links() -> None:
    said = "Half-width ±2% of `launch` over 3 launches; amp-bf16 prelaunch."
    model = with_glossary(ReportModel("title", line(), "run", (line(said),), ()))
    assert plain(model.headline[0]) == said


def test_a_screen_has_no_glossary() -> None:
    assert build_report(View(summarise_run(cpu_run()))).section("glossary") is None


@pytest.mark.parametrize("form", ["launches", "95 % interval", "samples/s", "±", "took turns", "A/A"])
def test_a_form_of_a_word_leads_to_its_term(form: str) -> None:
    assert term_of(form) in TERMS


def test_a_word_is_explained_in_a_line_or_two() -> None:
    assert all(text.endswith(".") and len(text) < 140 for _, text in TERMS.values())
    with pytest.raises(ValueError, match="not in the glossary"):
        term_of("prelaunch")
