"""The hand-computed answers of `fakes.traces.two_steps`, from every form in which a trace may come."""

from pathlib import Path

import pytest
from fakes import traces

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace

US = 1000


@pytest.fixture(params=["nsys", "torch", "torch.gz"])
def summary(request: pytest.FixtureRequest, tmp_path: Path):
    scenario = traces.two_steps()
    if request.param == "nsys":
        path = traces.write_sqlite(scenario, tmp_path / "t.sqlite")
    else:
        path = traces.write_kineto(scenario, tmp_path / ("t.json.gz" if request.param.endswith("gz") else "t.json"))
    return summarize(read_trace(path))


def test_idle_is_one_minus_the_union_of_all_gpu_work_over_the_window(summary):
    device = summary.devices[0]
    assert device.window_ns == 2010 * US  # from the first step to the end of the copy that the last one launched
    assert device.busy_ns == 1470 * US
    assert device.idle == pytest.approx(540 / 2010)
    assert device.largest_gap_ns == 140 * US


def test_every_gap_has_a_reason(summary):
    why = summary.devices[0].idle_reasons
    assert why.input * 2010 == pytest.approx(240)
    assert why.launch * 2010 == pytest.approx(290)
    assert why.dependency * 2010 == pytest.approx(10)
    assert summary.devices[0].bound == "launch"
    assert summary.devices[0].bound_statement == (
        "launch-bound: idle 27% of the time, 14% because the host had not launched the next work yet."
    )


def test_kernels_are_counted_per_step_without_the_warm_up(summary):
    device = summary.devices[0]
    assert (summary.steps, device.kernels, device.kernels_per_step, device.streams) == (2, 14, 7.0, 2)
    assert device.kernel_ns == 1300 * US


def test_tensor_core_share_is_of_kernel_time_and_names_its_source(summary):
    device = summary.devices[0]
    assert device.tensor_core_share == pytest.approx(400 / 650)  # the `ffma` convolution does not count
    assert device.tensor_core_unknown_share == 0
    assert device.tensor_core_source == "kernel names"


def test_classes_and_top_kernels_are_shares_of_kernel_time(summary):
    device = summary.devices[0]
    assert [(each.kernel_class, each.count, round(each.share * 650)) for each in device.classes] == [
        ("conv", 4, 300),
        ("gemm", 2, 200),
        ("comm", 2, 80),
        ("optimizer", 2, 50),
        ("elementwise", 2, 10),
        ("reduce", 2, 10),
    ]
    top = device.top_kernels[0]
    assert (top.name, top.kernel_class, top.tensor_core, top.per_step) == (traces.DGRAD, "conv", "yes", 1.0)
    assert sum(each.share for each in device.top_kernels) == pytest.approx(1)


def test_copies_have_bytes_rate_overlap_and_pageable_bytes(summary):
    up, down = summary.devices[0].copies["h2d"], summary.devices[0].copies["d2h"]
    assert (up.count, up.bytes, up.bytes_per_step, up.busy_ns) == (2, 8_000_000, 4_000_000, 240 * US)
    assert up.gb_per_s == pytest.approx(8_000_000 / 240_000)
    assert up.overlap == pytest.approx(20 / 120)
    assert up.pageable_bytes == 4_000_000
    assert (down.count, down.bytes, down.overlap, down.pageable_bytes) == (1, 4_000, 0.0, 0)
    assert down.gb_per_s == pytest.approx(0.2)


def test_phases_have_host_time_gpu_time_and_span_per_step(summary):
    rows = {each.name: each for each in summary.devices[0].phases}
    assert list(rows) == ["data", "h2d", "forward", "loss", "backward", "optimizer"]
    found = {
        name: (
            row.cpu_ns / US,
            row.gpu_busy_ns / US,
            None if row.gpu_span_ns is None else row.gpu_span_ns / US,
            row.kernels_per_step,
        )
        for name, row in rows.items()
    }
    assert found == {
        "data": (100, 0, None, 0),
        "h2d": (50, 120, 120, 0),
        "forward": (250, 300, 300, 2),
        "loss": (50, 10, 10, 1),
        "backward": (350, 250, 250, 2),  # launched by autograd's thread, on which no range was ever pushed
        "optimizer": (150, 55, 55, 1),
    }
    assert rows["backward"].gpu_share == pytest.approx(560 / 1570)


def test_the_unattributed_share_is_reported(summary):
    device = summary.devices[0]
    assert device.unattributed_ns == 40 * US
    assert device.unattributed_share == pytest.approx(40 / 1570)


def test_step_time_is_the_window_over_the_steps(summary):
    assert summary.step_time_ns == 1005 * US


def test_warnings_name_what_to_do(summary):
    assert [each.code for each in summary.warnings] == ["GB504", "GB503", "GB505"]
    assert summary.warnings[0].message.startswith(
        "GPU 0: 3.8 MiB of 7.6 MiB went to the device through pageable memory at 33.3 GB/s"
    )
    assert "pin" in summary.warnings[0].hint.lower()


def test_both_readers_give_the_same_device_block(tmp_path: Path):
    scenario = traces.two_steps()
    nsys = summarize(read_trace(traces.write_sqlite(scenario, tmp_path / "t.sqlite")))
    torch = summarize(read_trace(traces.write_kineto(scenario, tmp_path / "t.json.gz")))
    assert nsys.devices == torch.devices
    assert nsys.host_phases == torch.host_phases
    assert (nsys.tool, torch.tool) == ("nsys", "torch")
