"""Warnings and what they tell a person to do, given what the case already does."""

from pathlib import Path

import pytest
from fakes import traces

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace


def summary_of(scenario: traces.Scenario, folder: Path, **options):
    return summarize(read_trace(traces.write_sqlite(scenario, folder / "t.sqlite")), **options)


def codes(summary) -> list[str]:
    return [each.code for each in summary.warnings]


def one_kind(name: str, *, data_us: int = 0) -> traces.Scenario:
    """Two steps of 1000 us that keep the GPU busy with one kernel, after `data_us` of fetching input."""
    scenario = traces.Scenario()
    for index in range(2):
        base = 1000 * (index + 1)
        scenario.spans.append(traces.Span("step", base, base + 1000))
        if data_us:
            scenario.spans.append(traces.Span("data", base, base + data_us))
        scenario.spans.append(traces.Span("forward", base + data_us, base + data_us + 100))
        scenario.work.append(traces.Work("kernel", name, base + data_us + 10, base + 1000, base + data_us + 5))
    return scenario


def test_a_busy_gpu_is_gpu_bound_and_draws_no_remark(tmp_path: Path):
    summary = summary_of(one_kind(traces.GEMM), tmp_path)
    assert summary.devices[0].bound == "gpu"
    assert summary.devices[0].bound_statement.startswith("GPU-bound: busy 99% of the time")
    assert codes(summary) == []


def test_waiting_for_data_is_input_bound_and_the_remedy_knows_the_loader(tmp_path: Path):
    case = {"device": "cuda", "precision": "fp32", "data_path": "loader", "num_workers": 2}
    summary = summary_of(one_kind(traces.GEMM, data_us=400), tmp_path, case=case)
    assert summary.devices[0].bound == "input"
    (remark,) = summary.warnings
    assert (remark.code, remark.message) == ("GB506", "GPU 0 waited for input 40.0% of the time.")
    assert remark.hint.startswith("Give the loader more workers than 2")


def test_the_remedy_for_launches_leaves_out_what_is_done_already(tmp_path: Path):
    case = {"mode": "train", "cuda_graph": False, "compile": "default", "fused": True, "precision": "amp-bf16"}
    summary = summary_of(traces.two_steps(), tmp_path, case=case)
    remark = next(each for each in summary.warnings if each.code == "GB505")
    assert remark.hint == "Launch less often or more cheaply: CUDA graphs (`cuda_graph`), a larger batch."


@pytest.mark.parametrize(("precision", "warned"), [("amp-bf16", True), ("tf32", True), ("fp32", False), (None, True)])
def test_products_without_tensor_cores_are_a_warning_unless_strict_fp32_was_asked(precision, warned, tmp_path: Path):
    case = None if precision is None else {"precision": precision}
    summary = summary_of(one_kind("ampere_sgemm_128x64_tn"), tmp_path, case=case)
    assert ("GB509" in codes(summary)) is warned


def test_kernels_of_triton_say_nothing_about_tensor_cores(tmp_path: Path):
    summary = summary_of(one_kind("triton_tem_fused_mm_0"), tmp_path, case={"precision": "amp-bf16"})
    assert "GB509" not in codes(summary)


def test_layout_conversions_are_a_warning(tmp_path: Path):
    summary = summary_of(one_kind("void cudnn::ops::nchwToNhwcKernel<__half>(Params)"), tmp_path)
    assert codes(summary) == ["GB510"]


@pytest.mark.parametrize(("measured_s", "warned"), [(0.001005, False), (0.00088, False), (0.00087, True)])
def test_a_profiled_step_above_115_percent_of_a_measured_one_is_a_warning(measured_s, warned, tmp_path: Path):
    summary = summary_of(traces.two_steps(), tmp_path, measured_step_time_s=measured_s)
    assert summary.perturbation.ratio == pytest.approx(0.001005 / measured_s)
    assert ("GB502" in codes(summary)) is warned


def test_another_number_of_steps_than_asked_for_is_a_warning(tmp_path: Path):
    summary = summary_of(traces.two_steps(), tmp_path, expected_steps=10)
    remark = next(each for each in summary.warnings if each.code == "GB511")
    assert remark.message == "10 steps were asked for, the trace holds 2."


def test_a_cuda_case_without_gpu_rows_is_a_warning_even_where_no_call_was_seen(tmp_path: Path):
    scenario = traces.Scenario(spans=traces.two_steps().spans)
    assert codes(summary_of(scenario, tmp_path, case={"device": "cuda:0"})) == ["GB501"]
