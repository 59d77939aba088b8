"""The first screen of a report: three questions, each answered in a sentence of what the run decided."""

import pytest
from fakes.matrix import matrix_run
from fakes.runs import Invented, cpu_run

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import ContestRecord, Status
from gpubench.report.build import build_report
from gpubench.report.comparison.versus import runs_report
from gpubench.report.model.report_model import ReportModel, plain
from gpubench.report.render.html import render_html
from gpubench.report.render.markdown import render_markdown
from gpubench.report.view.run_view import View

GPU = {"mode": "train", "device": "cuda", "data": "digits"}


def answered(model: ReportModel) -> dict[str, str]:
    return {fact.name: plain(fact.text).strip() for fact in model.first}


def report_of(run: object, name: str = "one") -> ReportModel:
    return build_report(View(summarise_run(run), name=name, charts=True))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def matrix_answers() -> dict[str, str]:
    return answered(report_of(matrix_run(batches=(64, 256))))


def test_a_buyer_reads_what_is_fastest_and_what_a_sample_costs(matrix_answers: dict[str, str]) -> None:
    said = matrix_answers["What is fastest"]
    assert said.startswith("Training on the GPU: amp-bf16 b256 NHWC bench was fastest, ")
    assert said.endswith(" mJ per sample.")


def test_a_tuner_reads_what_to_switch_on_the_most_paying_first(matrix_answers: dict[str, str]) -> None:
    said = matrix_answers["What to switch on"]
    assert said.startswith("For training on the GPU: precision amp-bf16 (")
    assert "batch 256 (" in said
    assert said.endswith("and cuDNN bench (1.08x).")


def test_who_watches_for_regressions_reads_how_sure_it_is(matrix_answers: dict[str, str]) -> None:
    said = matrix_answers["How sure it is"]
    assert "Half of the figures are known to ±" in said
    assert "no case was measured against itself (A/A)" in said
    assert said.endswith("gpubench check one says whether it got slower than its baseline.")


def test_what_no_case_has_is_said_to_be_unknown_and_why() -> None:
    said = answered(report_of(cpu_run(3)))
    assert said["What is fastest"].endswith(" Energy is unknown (no NVIDIA driver).")
    assert said["What to switch on"] == "For training on the CPU: keep precision fp32."


def test_the_error_of_a_case_against_itself_is_named() -> None:
    run = cpu_run(3)
    rounds = [
        ContestRecord(
            cases=(1, 2), label="cpu", round=number, status=Status.OK, log_speeds={1: 8.0, 2: 7.5}, twin=8.0 + error
        )
        for number, error in enumerate((0.004, -0.004, 0.003, -0.003), 1)
    ]
    said = answered(report_of(type(run)(run.info, run.records, contests=tuple(rounds))))["How sure it is"]
    assert "a case differed from itself by up to " in said
    assert "% (A/A)" in said


def test_one_launch_per_case_is_sure_of_nothing() -> None:
    made = Invented(1)
    made.measured("fp32", 100.0, precision="fp32", **GPU)
    said = answered(report_of(made.run()))
    assert said["How sure it is"].startswith("1 launch per case: no figure has an interval.")
    assert said["What to switch on"] == "No two cases differ in one setting alone: nothing to advise."


def test_without_a_figure_nothing_is_answered() -> None:
    made = Invented()
    made.plan("fp32", skip=(Status.SKIPPED, "no CUDA device"), precision="fp32", **GPU)
    model = report_of(made.run())
    assert model.first == ()
    assert "has a figure: see below" in render_html(model, {})


def test_a_document_says_nothing_twice() -> None:
    model = report_of(cpu_run(3))
    assert render_markdown(model).count("was fastest") == 1
    assert render_html(model, {}).count("was fastest") == 1


def compared(speed: float, gates: list[dict[str, object]]) -> dict[str, str]:
    batches, suite = (64, 256), {"schema": 1, "name": "cnn", "gates": gates}
    before, after = (
        matrix_run(batches=batches, modes=("train",), quality=False, speed=factor, tag=tag, suite=suite)
        for tag, factor in (("before", 1.0), ("after", speed))
    )
    return answered(runs_report(after, [before], allow_unpaired=True))


def test_a_comparison_says_whether_it_is_slower_within_its_gates_and_how_sure_it_is() -> None:
    said = compared(0.9, [{"metric": "throughput", "max_regression": "3%"}])
    assert said["Faster or slower"].startswith("Speed: 32 slower and 4 the same of 36 cases. Step time +9.8%")
    assert said["Within its gates"].startswith("No: throughput is over 3.0% worse in 32 cases (gates of the suite)")
    assert said["How sure it is"].startswith("Stored runs, launches not paired; half of the changes are known to ±")


def test_a_comparison_within_the_default_gates_says_that_they_are_those() -> None:
    said = compared(1.0, [])["Within its gates"]
    assert "throughput, latency" not in said, "what neither run has is not judged"
    assert "pass (gates by default, as the suite has none)" in said


def test_training_and_inference_of_one_device_are_both_answered_and_what_both_lack_once() -> None:
    made = Invented()
    for mode, fast in (("train", 200.0), ("infer", 900.0)):
        shared = {"mode": mode, "device": "cpu"}
        made.measured(f"{mode} fp32", 100.0, precision="fp32", **shared)
        made.measured(f"{mode} bf16", fast, precision="amp-bf16", **shared)
    said = answered(report_of(made.run()))
    assert "Training on the CPU: " in said["What is fastest"]
    assert "Inference on the CPU: " in said["What is fastest"]
    assert said["What is fastest"].count("Energy is unknown") == 1
    assert said["What to switch on"] == (
        "For training on the CPU: precision amp-bf16 (2.0x). For inference on the CPU: precision amp-bf16 (9.0x)."
    )
