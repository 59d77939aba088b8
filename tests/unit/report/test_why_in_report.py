"""What `--why` found, in the report of a run with arms."""

import pytest
from fakes.explained import explained
from fakes.gate_runs import two_arms

from gpubench.profile.figures.kept_explanations import KEPT_FILE, keep_explanations, kept_explanations
from gpubench.report.model.report_model import plain
from gpubench.report.render.html import render_html
from gpubench.report.render.markdown import render_markdown
from gpubench.report.write import report_of
from gpubench.store.run_reader import load_run


@pytest.fixture
def folder(tmp_path):
    """A run in which 64 is slower and 128 the same."""
    made = two_arms()
    made.measured(1000.0, head=900.0, batch_size=64)
    made.measured(1000.0, head=1001.0, batch_size=128)
    return made.write(tmp_path, "arms")


def model_of(folder):
    return report_of(load_run(folder))


def why(folder):
    return [section for section in model_of(folder).sections if section.key.startswith("why")]


def test_the_attribution_is_in_both_documents_with_intervals_and_what_is_left(folder):
    keep_explanations(folder, {"64": explained(explained=0.5)})
    model = model_of(folder)
    for document in (render_html(model, {}), render_markdown(model)):
        assert "Why: 64" in document
        assert "aten::relu became aten::gelu" in document
        assert "+10.0% (+9.0, +11.0)" in document
        assert "50.0% of the verdict" in document
        assert "the rest" in document
        assert "0.0% (-1.0, +1.0)" in document


def test_the_cause_is_among_the_first_questions(folder):
    keep_explanations(folder, {"64": explained()})
    (said,) = [plain(fact.text) for fact in model_of(folder).first if fact.name == "Why: 64"]
    assert said.startswith("forward +10.0%")


def test_an_explanation_of_another_verdict_says_so(folder):
    keep_explanations(folder, {"64": explained()})
    (section,) = why(folder)
    assert any("asked of another verdict; here it is +11." in plain(said) for said in section.lines)


def test_only_slower_cases_are_explained(folder):
    keep_explanations(folder, {"128": explained(), "gone": explained()})
    assert why(folder) == []


def test_only_the_arms_that_were_asked_about_are_explained(folder):
    keep_explanations(folder, {"64": explained(reference="head", candidate="base")})
    assert why(folder) == []


def test_an_explanation_takes_the_place_of_the_older_one(folder):
    keep_explanations(folder, {"64": explained(), "128": explained()})
    keep_explanations(folder, {"64": explained(turns=5)})
    assert {label: each.turns for label, each in kept_explanations(folder, "base", "head").items()} == {
        "64": 5,
        "128": 12,
    }


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 2}', '{"schema": 1, "why": [{"label": "64"}]}'])
def test_a_file_that_cannot_be_read_takes_nothing_from_the_report(folder, content):
    (folder / KEPT_FILE).write_text(content)
    assert why(folder) == []
