"""Launches whose work is not in the trace: whatever was lost, idle time has no reason there, and it is said."""

from pathlib import Path

import pytest
from fakes import traces
from fakes.odd_traces import T0, event, kineto, nsys, rank_events, said


def copy_at(at: int, number: int) -> list[dict]:
    return [
        event("cuda_runtime", "cudaMemcpyAsync", T0 + at, 5, correlation=number),
        event(
            "gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", T0 + at + 10, 20, pid=0, tid=7, device=0, correlation=number
        ),
    ]


@pytest.mark.parametrize("beside", ["copy", "memset"])
def test_all_kernels_may_be_lost_beside_one_copy(beside, tmp_path: Path):
    events = [each for each in rank_events() if each["cat"] != "kernel"] + copy_at(10, 900)
    if beside == "memset":
        events[-1] |= {"cat": "gpu_memset", "name": "Memset (Device)"}
        events[-2]["name"] = "cudaMemsetAsync"
    summary = kineto(tmp_path, events)
    assert summary.steps == 3
    assert said(summary)["GB515"].startswith(f"6 of {6 + (beside == 'copy')} launches have no GPU work in the trace")
    device = summary.devices[0]
    assert (device.bound, device.idle_reasons.unknown) == (None, pytest.approx(device.idle, abs=0.02))


def test_copies_may_be_lost_beside_all_kernels(tmp_path: Path):
    lost = [each for number in (901, 902) for each in copy_at(10 * number, number)[:1]]
    assert said(kineto(tmp_path, rank_events() + lost))["GB515"].startswith("2 of 8 launches")


@pytest.mark.parametrize("name", ["cudaGraphLaunch", "cuGraphLaunch", "hipGraphLaunch", "cudaLaunch", "cuLaunchGrid"])
def test_work_of_a_graph_or_of_an_old_call_may_be_lost(name, tmp_path: Path):
    lost = event("cuda_runtime", name, T0 + 380, 5, correlation=901)
    summary = kineto(tmp_path, [*rank_events(), lost])
    assert said(summary)["GB515"].startswith("1 of 7 launches")
    assert summary.devices[0].idle_reasons.unknown > 0


def test_a_graph_launch_of_nsys_is_lost_without_its_row(tmp_path: Path):
    scenario = traces.Scenario(spans=traces.two_steps().spans)
    scenario.work = [traces.Work("graph", "", 1100 + at, 1150 + at, 1050 + at) for at in (0, 300, 600, 1000)]
    summary = nsys(tmp_path, "DELETE FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE WHERE correlationId = 2", scenario=scenario)
    assert said(summary)["GB515"].startswith("1 of 4 launches")


def test_a_call_without_a_name_may_have_been_a_launch(tmp_path: Path):
    """Its gap has no known reason, but it is not called a launch."""
    nameless = event("cuda_runtime", "", T0 + 380, 5, correlation=901)
    summary = kineto(tmp_path, [*rank_events(), nameless])
    assert summary.unread == {"calls without a name": 1}
    assert "GB515" not in said(summary)
    assert summary.devices[0].idle_reasons.unknown > 0
    unnamed = nsys(tmp_path, "UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET nameId = 9999 WHERE correlationId = 3")
    assert unnamed.unread == {"calls without a name": 1}


def test_work_of_another_number_excuses_no_lost_launch(tmp_path: Path):
    """A second cut out of a long capture begins with kernels launched before it, and ends with launches yet to run."""
    events = rank_events()
    early = [
        event("kernel", traces.GEMM, T0 - 900 + 10 * n, 5, pid=0, tid=7, device=0, correlation=800 + n)
        for n in range(3)
    ]
    late = [event("cuda_runtime", "cudaLaunchKernel", T0 + 2900 + 10 * n, 5, correlation=900 + n) for n in range(2)]
    assert said(kineto(tmp_path, [*early, *events, *late]))["GB515"].startswith("2 of 8 launches")


def test_small_memsets_leave_no_work(tmp_path: Path):
    empty = event("cuda_runtime", "cudaMemsetAsync", T0 + 380, 5, correlation=901)
    assert "GB515" not in said(kineto(tmp_path, [*rank_events(), empty]))
