"""A task's own score, wherever a report speaks of it: its name, unit and direction, trivial answers, the data."""

import pytest
from fakes.runs import Invented, a_quality

from gpubench.analysis.compare.compare_sides import COMPARED, compare_sides
from gpubench.analysis.compare.run_sides import side_of
from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.cli.screens.case_rows import launch_text
from gpubench.report.headline import answers, headline
from gpubench.report.model.report_model import plain
from gpubench.report.pages.case_page import case_page
from gpubench.report.render.json_document import run_document
from gpubench.report.topics.accuracy import quality_tables, to_target_tables
from gpubench.report.topics.best import best_tables
from gpubench.report.view.score_charts import accuracy_charts

SPEECH, SCENES, SENTENCES = "speech:recognition", "vision:segmentation", "text:translation"
SUITE = {"schema": 1, "name": "tasks", "quality": {"reference": {"precision": "fp32"}, "max_accuracy_drop": "1pp"}}
TRIVIAL = {
    SPEECH: {"the same digits every time": 0.9},
    SCENES: {"background everywhere": 0.08, "bright pixels": 0.1},
    SENTENCES: {"copying the source": 0.155, "nearest training sentence": 0.35},
}
METRIC = {SPEECH: ("wer", "lower"), SCENES: ("miou", "higher"), SENTENCES: ("bleu", "higher")}


def tasks(scores, *, digest="4dc07c", target=None):
    """A run with one measured case and one quality run per (workload, precision, score)."""
    made = Invented()
    for workload, precision, score in scores:
        same = {"workload": workload, "device": "cpu", "precision": precision}
        made.measured(f"{workload} {precision}", 100.0, mode="train", batch_size=16, **same)
        planned = made.plan(f"quality {workload} {precision}", kind="quality", mode="train", data="digits", **same)
        name, better = METRIC[workload]
        update = {"score_name": name, "score": score, "score_better": better, "scores": {name: score}}
        update |= {"accuracy": None, "precision_macro": None, "recall_macro": None, "data_digest": digest}
        update |= {
            "baselines": TRIVIAL[workload],
            "target_accuracy": target,
            "validation_score_per_epoch": (0.5, score),
        }
        made.add(planned, 1, quality=a_quality(0.9).model_copy(update=update))
    return made.run(suite=SUITE)


@pytest.fixture(scope="module")
def two():
    return summarise_run(
        tasks([(SPEECH, "fp32", 0.041), (SPEECH, "bf16", 0.061), (SCENES, "fp32", 0.593), (SCENES, "bf16", 0.6)])
    )


def column(table, key):
    at = [each.key for each in table.columns].index(key)
    return [row.cells[at].full for row in table.rows]


def test_each_task_has_a_table_with_its_own_score_and_direction(two):
    speech, scenes = quality_tables(two)
    assert speech.title == f"Quality runs of {SPEECH}: WER, lower is better"
    assert scenes.title == f"Quality runs of {SCENES}: mIoU, higher is better"
    assert "WER %" in [each.title for each in speech.columns]
    assert column(speech, "wer") == ["4.10", "6.10"]
    assert column(scenes, "miou") == ["59.3", "60.0"]


def test_a_higher_error_rate_is_beyond_the_limit_and_a_higher_overlap_is_not(two):
    speech, scenes = quality_tables(two)
    assert column(speech, "difference") == ["", "+2.0 points"]
    assert column(speech, "verdict") == ["reference", "beyond the limit"]
    assert column(scenes, "verdict") == ["reference", "within the limit"]
    (found,) = [each for entry in two.cases for each in entry.findings if each.code == "GB307"]
    assert found.message.startswith("Test WER +2.00 points against fp32")


def test_the_best_trivial_answer_is_the_lowest_error_or_the_highest_score(two):
    speech, scenes = quality_tables(two)
    assert column(speech, "trivial") == ["90.0", "90.0"]
    assert column(scenes, "trivial") == ["10.0", "10.0"]
    assert "Trivial answers on the same test: bright pixels 10.0% and background everywhere 8.0%." in [
        plain(note) for note in scenes.notes
    ]
    assert any("digest 4dc07c" in plain(note) for note in scenes.notes)


def test_a_model_that_a_trivial_answer_beats_is_said_to_be_no_better():
    (table,) = quality_tables(summarise_run(tasks([(SENTENCES, "fp32", 0.24)])))
    assert column(table, "verdict") == ["reference; no better than nearest training sentence"]
    assert column(table, "bleu") == ["24.0"]
    assert "BLEU points" in [each.title for each in table.columns]


def test_a_column_for_several_tasks_names_the_score_in_every_cell(two):
    (table,) = best_tables(Decision(two))
    assert column(table, "score") == ["WER 4.1%", "WER 6.1%", "mIoU 59.3%", "mIoU 60.0%"]
    assert "WER: lower is better." in [plain(note) for note in table.notes]


def test_the_headline_has_the_score_beside_the_trivial_answer():
    decision = Decision(summarise_run(tasks([(SPEECH, "fp32", 0.041)])))
    assert any(
        "trained at fp32 it reaches 4.1% test WER (trivially, the same digits every time 90.0%; lower is better)"
        in plain(said)
        for said in headline(decision)
    )
    assert [answer.figures[-1] for answer in answers(decision)] == [("test WER", "4.1%")]


def test_a_chart_puts_its_limit_on_the_worse_side(two):
    charts = {chart.key: chart for chart in accuracy_charts(two)}
    assert charts["accuracy-speech-recognition"].options["limit"] == pytest.approx(5.1)
    assert "Right of the rule is worse" in charts["accuracy-speech-recognition"].reading
    assert (
        charts["accuracy-speech-recognition"].title
        == f"{SPEECH}: WER rises above what the suite allows with bf16 (6.1 %)"
    )
    assert charts["accuracy-vision-segmentation"].options["limit"] == pytest.approx(58.3)
    learning = charts["learning-speech-recognition"]
    assert learning.title == f"{SPEECH}: Every precision is within a point of its best validation WER, in epoch 2"


def test_targets_of_two_tasks_stand_in_two_tables():
    summary = summarise_run(tasks([(SPEECH, "fp32", 0.041), (SCENES, "fp32", 0.593)], target=0.05))
    speech, _ = to_target_tables(summary)
    assert plain(speech.notes[0]).startswith("Target: WER of 5.0% on the validation split")


def test_the_page_of_a_quality_run_has_the_digest_of_its_data(two):
    entry = next(each.summary for each in two.quality if each.metric == "wer")
    section = next(each for each in case_page(entry, two.info).sections if each.key == "training")
    facts = {fact.name: plain(fact.text) for fact in section.facts}
    assert facts["Score"] == "test WER 4.1%; lower is better"
    assert facts["Trivial answers"] == "the same digits every time 90.0%"
    assert facts["Data digest"] == "4dc07c; scores compare only where it is equal"


def test_the_document_says_what_judges_a_task(two):
    found = [case["quality"] for case in run_document(two)["cases"]]
    assert found[0] is None, "a measured case"
    assert found[1] == {
        "score": "wer",
        "better": "lower",
        "trivial": {"the same digits every time": 0.9},
        "data": "digits",
        "data_digests": ["4dc07c"],
        "num_train": 1257,
        "num_validation": 270,
        "num_test": 270,
        "epochs": 8,
    }


def test_a_finished_training_is_shown_with_its_score():
    run = tasks([(SENTENCES, "fp32", 0.24)])
    planned = next(each for each in run.info.cases if each.kind == "quality")
    record = next(each for each in run.records if each.case_index == planned.index)
    assert launch_text(planned, record) == "24.0 points BLEU"


def test_scores_are_not_compared_where_the_data_differ():
    sides = [side_of(tasks([(SPEECH, "fp32", 0.04)], digest=digest), digest) for digest in ("4dc07c", "b56cd6")]
    compared = compare_sides(*sides, COMPARED)
    (change,) = [change for change in compared.changes if "wer" in change.changes]
    assert change.changes["wer"].judgement == "unclear"
    assert change.changes["wer"].reason == "not the same data: digests 4dc07c and b56cd6"
