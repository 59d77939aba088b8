"""Scenarios drawn at random, read from both formats and compared with a plain account of every microsecond."""

import tempfile
from pathlib import Path

from fakes import traces
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace

US = 1000
FIRST, LENGTH = 100, 60
NAMES = (traces.GEMM, traces.CONV, traces.LOSS, "triton_poi_fused_relu_0")
PHASES = (("data", 0, 10), ("h2d", 10, 15), ("forward", 15, 30), ("backward", 32, 50), ("optimizer", 50, 58))

works = st.builds(
    lambda kind, name, launched, delay, length, thread, stream, device, linked, pageable: traces.Work(
        kind,
        name if kind == "kernel" else "",
        launched + delay,
        launched + delay + length,
        launched if linked else None,
        thread,
        stream,
        device,
        4096 if kind != "kernel" else None,
        "h2d" if kind == "copy" else None,
        pageable if kind == "copy" else None,
    ),
    st.sampled_from(["kernel", "kernel", "kernel", "copy", "memset"]),
    st.sampled_from(NAMES),
    st.integers(FIRST - 30, 330),
    st.integers(0, 40),
    st.integers(0, 50),
    st.sampled_from([traces.MAIN, traces.AUTOGRAD]),
    st.integers(7, 9),
    st.integers(0, 1),
    st.sampled_from([True, True, True, False]),
    st.booleans(),
)


def scenario_of(num_steps: int, work: list[traces.Work]) -> traces.Scenario:
    scenario = traces.Scenario(work=work)
    for index in range(num_steps):
        base = FIRST + LENGTH * index
        scenario.spans.append(traces.Span("step", base, base + LENGTH, payload=index))
        scenario.spans += [traces.Span(name, base + low, base + high) for name, low, high in PHASES]
    return scenario


def phase_at(moment: int, num_steps: int) -> str | None:
    at = moment - FIRST
    if not 0 <= at < LENGTH * num_steps:
        return None
    return next((name for name, low, high in PHASES if low <= at % LENGTH < high), None)


def both(scenario: traces.Scenario):
    with tempfile.TemporaryDirectory() as folder:
        nsys = summarize(read_trace(traces.write_sqlite(scenario, Path(folder) / "t.sqlite", shuffle=1)))
        torch = summarize(read_trace(traces.write_kineto(scenario, Path(folder) / "t.json")))
    return nsys, torch


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.lists(works, min_size=1, max_size=14))
def test_figures_are_those_of_a_plain_account(num_steps, work):
    nsys, torch = both(scenario_of(num_steps, work))
    assert nsys.devices == torch.devices
    low, high = FIRST, FIRST + LENGTH * num_steps
    for device in nsys.devices:
        own = [each for each in work if each.device == device.device]
        inside = [each for each in own if low <= (each.start if each.launched is None else each.launched) < high]
        end = max([high, *(each.end for each in inside)])
        busy = {moment for each in own for moment in range(max(each.start, low), min(each.end, end))}
        assert device.window_ns == (end - low) * US
        assert device.busy_ns == len(busy) * US
        assert abs(device.idle - (1 - len(busy) / (end - low))) < 1e-12
        kernels = [each for each in inside if each.kind == "kernel"]
        assert device.kernels_per_step == len(kernels) / num_steps
        kernel_us = sum(each.end - each.start for each in kernels)
        on_tensor_cores = sum(each.end - each.start for each in kernels if each.name == traces.GEMM)
        assert (
            device.tensor_core_share is None
            if not kernel_us
            else abs(device.tensor_core_share - on_tensor_cores / kernel_us) < 1e-12
        )
        copies = [each for each in inside if each.kind == "copy"]
        assert device.copies["h2d"].bytes == 4096 * len(copies)
        assert device.copies["h2d"].pageable_bytes == 4096 * sum(bool(each.pageable) for each in copies)
        _check_phases(device, inside, num_steps)
        if device.idle_reasons is not None:
            assert abs(sum(device.idle_reasons.model_dump().values()) - device.idle) < 1e-9


def _check_phases(device, inside, num_steps):
    placed = [(each, None if each.launched is None else phase_at(each.launched, num_steps)) for each in inside]
    for name, low, high in PHASES:
        found = next(each for each in device.phases if each.name == name)
        mine = [each for each, phase in placed if phase == name]
        covered = {moment for each in mine for moment in range(each.start, each.end)}
        assert found.gpu_busy_ns == len(covered) * US / num_steps
        assert found.cpu_ns == (high - low) * US
        assert found.kernels_per_step == sum(each.kind == "kernel" for each in mine) / num_steps
    assert device.unattributed_ns == sum(each.end - each.start for each, phase in placed if phase is None) * US
