"""Memory, out of memory, and which card a case ran on."""

import os
import shutil
import subprocess
import sys

import pytest
from fakes.hosting import QUICK, HostUnderTest

pytestmark = pytest.mark.gpu
needs_nvidia_smi = pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="nvidia-smi is not installed")


def _smi(query, *arguments):
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def _told(record, *names):
    """Metrics of a record; skips where the driver gives none, with its reason."""
    values = [record.metrics[name] for name in names]
    for name, value in zip(names, values, strict=True):
        if value is None:
            pytest.skip(f"{name}: {record.absent[name]}")
    return values


def test_an_oom_is_a_row_with_its_sizes_and_the_next_case_is_clean(host):
    messages, _ = host.run("torchvision:resnet50", device="cuda", batch_size=2**20, measure=QUICK)
    failed = messages[-1]
    assert (failed.type, failed.status) == ("failed", "oom")
    assert failed.failure.requested_bytes > 0
    assert failed.failure.total_bytes > failed.failure.free_bytes >= 0
    messages, _ = host.run("cnn", device="cuda", data="digits", measure=QUICK)
    assert messages[-1].type == "result"
    assert messages[-1].metrics["allocator_retries"] == 0


def test_peak_memory_is_what_a_hand_computed_workload_holds(host):
    """`torch_workloads:HoldsMemory` keeps 256 MiB and takes 512 MiB more inside each step."""
    messages, _ = host.run("torch_workloads:HoldsMemory", device="cuda", measure=QUICK)
    assert messages[-1].type == "result", messages[-1]
    assert messages[-1].metrics["peak_memory_allocated_bytes"] == pytest.approx(768 * 2**20, rel=0.001)
    assert messages[-1].metrics["peak_memory_reserved_bytes"] >= 768 * 2**20


@needs_nvidia_smi
def test_the_uuid_of_the_worker_is_that_of_the_driver(host):
    uuids = _smi("uuid").splitlines()
    device = host.hello.devices[0]
    assert any(device["uuid"].removeprefix("GPU-") in uuid for uuid in uuids), (device, uuids)
    messages, _ = host.run("cnn", device="cuda", data="digits", measure=QUICK)
    assert messages[-1].effective.device_uuid == device["uuid"]


def test_a_card_that_is_hidden_is_not_measured(tmp_path):
    hidden = HostUnderTest(tmp_path, CUDA_VISIBLE_DEVICES="")
    try:
        assert hidden.hello.devices == ()
        assert hidden.hello.cuda_unavailable
    finally:
        hidden.close()


def test_a_card_named_by_its_uuid_is_found(tmp_path, host):
    uuid = host.hello.devices[-1]["uuid"]
    named = HostUnderTest(tmp_path, CUDA_VISIBLE_DEVICES=uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    try:
        assert [device["uuid"] for device in named.hello.devices] == [uuid]
    finally:
        named.close()


@needs_nvidia_smi
def test_power_and_energy_agree_with_what_nvidia_smi_logs(tmp_path, host):
    """A long steady case, with nvidia-smi logging beside it: mean power within 5 %."""
    from gpubench.api import run_suite

    suite = tmp_path / "power.yaml"
    suite.write_text(
        "schema: 1\nname: power\nrequires: cuda\n"
        "defaults: {workload: 'torchvision:resnet50', device: cuda, precision: amp-bf16, batch_size: 64,"
        " memory_format: channels_last}\n"
        "measure: {min_time: 20s, max_time: 40s, min_window: 20s, repeats: 1}\n"
    )
    log, card = tmp_path / "smi.csv", host.hello.devices[0]["uuid"]
    with log.open("w") as output:
        smi = subprocess.Popen(
            ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-lms", "200", "-i", card],
            stdout=output,
        )
        try:
            run = run_suite(suite, store=tmp_path / "runs")
        finally:
            smi.terminate()
            smi.wait()
    (record,) = run.records
    mean_w, energy_j = _told(record, "mean_power_w", "energy_j")
    assert record.telemetry["energy_valid"], record.telemetry
    readings = [float(line) for line in log.read_text().split() if line.replace(".", "").isdigit()]
    if not readings:
        pytest.skip("nvidia-smi logs no power of this card")
    busy = sorted(each for each in readings if each > max(readings) / 2)  # not the start, nor the check on the CPU
    logged_w = busy[len(busy) // 2]
    assert mean_w == pytest.approx(logged_w, rel=0.05)
    assert energy_j == pytest.approx(mean_w * record.window.duration_s, rel=1e-6)


@pytest.mark.usefixtures("host")
def test_telemetry_knows_the_card_that_the_case_ran_on(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "gpubench",
            "run",
            "cnn-smoke",
            "-s",
            "device=cuda",
            "-s",
            "quality=off",
            "--repeats",
            "1",
            "--store",
            str(tmp_path),
            "--no-report",
        ],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    from gpubench.store.run_reader import load_run

    (folder,) = tmp_path.iterdir()
    for record in load_run(folder).records:
        assert record.telemetry["available"], record.telemetry
        assert record.effective.device_uuid.removeprefix("GPU-") in record.telemetry["device"]["uuid"]
        assert record.metrics["device_memory_used_bytes"] > 0
        assert _told(record, "mean_power_w")[0] > 0


@pytest.mark.usefixtures("host")
def test_an_idle_card_takes_less_than_a_busy_one(tmp_path):
    from gpubench.api import run_suite

    suite = tmp_path / "idle.yaml"
    suite.write_text(
        "schema: 1\nname: idle\nrequires: cuda\n"
        "defaults: {workload: cnn, data: digits, device: cuda, batch_size: 1024}\n"
        "measure: {min_time: 5s, max_time: 20s, repeats: 1}\n"
    )
    (record,) = run_suite(suite, store=tmp_path / "runs").records
    above_j, energy_j, clock_mhz = _told(record, "energy_above_idle_j", "energy_j", "sm_clock_mhz")
    assert 0 < above_j < energy_j
    assert clock_mhz > 0
