"""Everything that a suite or a case can ask of a GPU, on the fake CUDA. Takes half an hour, so `make test` leaves it out:

pytest tests/sweep
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.cuda import control
from sweep.combinations import GROUPS

from gpubench.core.records import Status
from gpubench.store.run_reader import load_run

HERE = Path(__file__).parent
FAST = [
    "--no-report",
    "--repeats",
    "1",
    "-s",
    "measure.min_time=0s",
    "-s",
    "measure.max_time=1s",
    "-s",
    "measure.min_window=0s",
    "-s",
    "measure.target_rel_ci=0.5",
    "-s",
    "measure.min_steps=5",
    "-s",
    "measure.telemetry=boundary",
]
SUITES = {
    "roofline": "",
    "cnn": "-k device=cuda",
    "cnn-accuracy": "-k device=cuda -s quality.epochs=1 -s quality.seeds=1",
    "cnn-limit": "",
    "dataloading": "-k device=cuda -s image_size=28",
    "inference": "-k device=cuda -s image_size=64",
    "ablation": "-s image_size=64 -s measure.parity=false",
    "resnet50": "-s image_size=64 -s measure.parity=false",
    "frameworks": "-k device=cuda",
    "scaling": "-k device=cuda",
    "fleet": "-k device=cuda",
    "compression": "-k device=cuda -s precision=fp32 -s compress=none,int8-weight,int8-dynamic -s quality=off",
    "text": "-k device=cuda -s precision=fp32 -s quality=off",
    "vision-tasks": "-k device=cuda -s workload=vision:segmentation,vision:embedding -s quality=off",
}
"""The fake has no fused attention of cuDNN and none of its recurrent layers, so text in half precision and speech are
left out; so is what takes boxes or zeros from values: detection, training on the data, pruning."""
NO_VALUES = {"GB301", "GB302", "GB303", "GB305", "GB306", "GB317", "GB318"}
"""What a kernel that computes nothing, in no time, leads to; under TF32 its products show no precision."""


@pytest.fixture(scope="module")
def environ():
    if reason := control.missing():
        pytest.skip(reason)
    return os.environ | control.environment(FAKE_GPU_BYTES=140 * control.GIB)


def _run(command, environ):
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environ, timeout=3000, check=False
    )


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("group", GROUPS)
def test_every_combination_of_settings_runs_as_cuda_allows(group, environ, tmp_path):
    done = _run([str(HERE / "combinations.py"), group], environ | {"FAKE_CUDA_LOG": str(tmp_path / "log")})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == {}
    assert found["outcomes"]["ran"]


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("suite", SUITES)
def test_every_case_of_a_shipped_suite_is_a_row_and_invalid_for_want_of_values_alone(suite, environ, tmp_path):
    log = tmp_path / "log"
    options = ["-m", "gpubench", "run", suite, "--out", str(tmp_path / "run"), *FAST, *SUITES[suite].split()]
    done = _run(options, environ | {"FAKE_CUDA_LOG": str(log)})
    assert done.returncode in (0, 3), done.stdout + done.stderr  # without parity a figure may count as valid
    run = load_run(tmp_path / "run")
    assert {record.case_index for record in run.records} >= {
        case.index for case in run.info.cases if not case.skip_status
    }
    for record in run.records:
        codes = {finding.code for finding in record.findings if finding.code.startswith("GB3")}
        assert codes <= NO_VALUES, record
        assert record.status in (Status.OK, Status.UNSUPPORTED) or codes == {"GB301"}, record.reason
    assert not log.exists()
