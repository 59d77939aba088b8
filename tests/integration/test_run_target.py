"""`gpubench run FILE.py:NAME`: from a model in a file to figures, in one command."""

import json

import pytest

from gpubench.cli.main import main

MODEL = """
import torch
from torch import nn

print("imported")

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, width, 3), nn.Linear(width, 5)

    def forward(self, images):
        return {"logits": self.head(torch.relu(self.conv(images)).mean((2, 3)))}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)


def test_a_model_in_a_file_is_measured_by_one_command(here, capfd):
    short = ["-s", "measure.min_time=50ms", "-s", "measure.max_time=0.5s", "-s", "contest=off", "--repeats", "1"]
    settings = ["-s", "device=cpu", "-s", "precision=fp32,amp-bf16", "-s", "params.width=4,8", "-s", "batch_size=2"]
    status = main(["run", "net.py:Net", "--input", "3x8x8", *settings, *short, "--no-report", "--json"])
    out, err = capfd.readouterr()
    assert status == 0, err
    document = json.loads(out)
    assert document["suite"]["name"] == "Net"
    cases = document["cases"]
    assert [case["settings"]["params"] for case in cases] == [{"width": 4}, {"width": 8}] * 2
    for case in cases:
        assert case["metrics"]["throughput"]["value"] > 0
        assert case["metrics"]["parity_logits_rel_error"]["value"] < 0.05
        assert case["metrics"]["achieved_flops"]["value"] > 0


@pytest.mark.parametrize("command", [["run"], ["validate"], ["run", "--dry-run"]], ids=" ".join)
def test_a_target_that_cannot_take_its_input_ends_before_anything_is_measured(here, capfd, command):
    status = main([*command, "net.py:Net", "-s", "input=4x8x8", "-s", "device=cpu"])
    out, err = capfd.readouterr()
    assert status == 2
    assert "net.py:Net cannot take a batch of 2 samples of 4x8x8" in " ".join(out.split()) + err
    assert "None:" not in out + err
