import re

import pytest
from fakes.matrix import matrix_run
from fakes.runs import Invented, cpu_run, invented_run

from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.findings import finding
from gpubench.core.records import Status
from gpubench.report.headline import headline
from gpubench.report.model.report_model import plain

TRAIN = {"mode": "train", "data": "digits", "batch_size": 64}


def sentences(run: object) -> list[str]:
    return [plain(line).replace("\u202f", " ") for line in headline(Decision(summarise_run(run)))]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def said() -> list[str]:
    return sentences(invented_run())


def test_the_fastest_valid_setting_is_named_with_its_interval_and_gains(said: list[str]) -> None:
    (line,) = [line for line in said if line.startswith("Training on the GPU:")]
    assert line.startswith("Training on the GPU: amp-bf16 b1024 was fastest, 289 615 samples/s ±0.5%")
    assert "3.43x ±0.01 as fast as fp32 at its best" in line
    assert "88.0x ±1.7 as fast as the baseline (cpu fp32 b256)" in line


def test_accuracy_stands_beside_the_speed_of_training(said: list[str]) -> None:
    assert any(line.endswith("trained at amp-bf16 it reaches 97.0% test accuracy (fp32: 97.4%).") for line in said)


def test_a_case_that_failed_parity_never_wins_and_the_reason_is_said(said: list[str]) -> None:
    (line,) = [line for line in said if "amp-fp16" in line]
    assert line.startswith("Faster but not counted: amp-fp16 b1024, 302 290 samples/s ±0.2%: Logits differ by 0.12")
    assert line.endswith("(GB305)")


def test_a_case_that_drifted_never_wins_and_the_reason_is_said(said: list[str]) -> None:
    assert any(line.startswith("Faster but not counted: amp-bf16 b64") and "(GB202)" in line for line in said)


def test_the_gpu_is_held_against_the_cpu(said: list[str]) -> None:
    assert "Training: the GPU was 88.0x ±1.7 as fast as the CPU, each at its best setting." in said


def test_one_launch_gives_no_interval_and_no_winner() -> None:
    made = Invented(repeats=1)
    made.measured(
        "cpu fp32",
        2_894.0,
        findings=[finding("GB206", "One launch: no interval.")],
        device="cpu",
        precision="fp32",
        **TRAIN,
    )
    (line,) = sentences(made.run())
    assert line.startswith("Training on the CPU: no figure can be called best; fp32 had the best, 2 9")
    assert "±" not in line
    assert "few-launches (GB206)" in line


def test_an_output_that_was_not_verified_is_not_called_best() -> None:
    made = Invented()
    made.measured("cpu fp32", 2_894.0, parity=None, device="cpu", precision="fp32", **TRAIN)
    (line,) = sentences(made.run())
    assert line.endswith("but its output was not verified.")


def test_latency_is_told_for_the_smallest_batch_and_never_beside_throughput() -> None:
    made = Invented()
    for batch in (1, 8):
        made.measured(
            f"infer b{batch}",
            900.0,
            device="cpu",
            precision="fp32",
            mode="infer",
            timing="latency",
            data="digits",
            batch_size=batch,
        )
    (line,) = sentences(made.run())
    assert line.startswith("Inference latency on the CPU: fp32 b1 reached 1.109 ms ±0.4%")
    assert "samples/s" not in line


def test_several_workloads_are_told_apart() -> None:
    made = Invented()
    for workload in ("cnn", "torchvision:resnet18"):
        made.measured(workload, 900.0, workload=workload, device="cpu", precision="fp32", **TRAIN)
    assert [line.split(":")[0] for line in sentences(made.run())] == [
        "Training on the CPU (cnn)",
        "Training on the CPU (torchvision",
    ]


def test_a_run_without_figures_says_so() -> None:
    made = Invented()
    made.ended("cpu fp32", Status.FAILED, "RuntimeError: no", device="cpu", precision="fp32", **TRAIN)
    assert sentences(made.run()) == ["No case has a figure: see below for how each ended."]


def test_without_a_gpu_only_the_cpu_is_spoken_of() -> None:
    assert all("GPU" not in line for line in sentences(cpu_run()))


def test_energy_per_sample_stands_beside_that_of_fp32(said: list[str]) -> None:
    assert any("amp-bf16 b1024: 2.11 mJ per sample (fp32 at its best: 7.26 mJ)" in line for line in said)


def test_every_other_precision_is_held_against_fp32_with_its_accuracy() -> None:
    said = sentences(matrix_run())
    (line,) = [line for line in said if line.startswith("Training on the GPU, against fp32")]
    assert re.search(r"at its best: tf32 1\.8\dx ±0\.0\d \(97\.\d% accuracy\) and amp-fp16", line)
    (line,) = [line for line in said if line.startswith("Inference on the CPU, against fp32")]
    assert re.search(r"amp-bf16 0\.6\dx ±0\.0\d\.$", line), "inference has no accuracy of its own"


def test_the_largest_batch_that_fits_is_told_once_per_precision() -> None:
    said = sentences(matrix_run(oom_from=1024))
    assert [line for line in said if "memory:" in line] == [
        "Training on the GPU, memory: fp32 fits batch 256 and not 1024."
    ]


def test_the_gpu_and_training_come_first(said: list[str]) -> None:
    assert [line.split(":")[0] for line in sentences(matrix_run()) if "was fastest" in line] == [
        "Training on the GPU",
        "Inference on the GPU",
        "Training on the CPU",
        "Inference on the CPU",
    ]
    assert said[0].startswith("Training on the GPU")
