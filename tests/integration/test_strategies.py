"""Each strategy trains with two real ranks over gloo, and learns what one process learns."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.hosting import NEEDS_TWO_RANKS

from gpubench.core.records import Status
from gpubench.store.run_reader import load_run

ROOT = Path(__file__).parents[2]

pytestmark = [
    NEEDS_TWO_RANKS,
    pytest.mark.timeout(660),  # of one run that all tests look at, on a machine with other work
]

SUITE = """\
schema: 1
name: strategies
defaults: {mode: train, world_size: 2, batch_size: 16, cpu_threads: 1}
matrix:
  strategy: [ddp, fsdp2, tp, pp]
  workload: [cnn, "net:MLP", "net:Tokens", "net:Differs"]
when:
  - {if: {workload: cnn}, set: {image_size: 8}}
  - {if: {workload: ["net:MLP", "net:Differs"]}, set: {input: "8"}}
  - {if: {workload: "net:Tokens"}, set: {input: "int50:6"}}
include:
  - {workload: cnn, image_size: 8, strategy: fsdp2, scaling: strong, precision: amp-bf16}
  - {workload: cnn, image_size: 8, strategy: tp, scaling: strong, precision: bf16}
  - {workload: cnn, image_size: 8, strategy: pp, scaling: strong, precision: bf16, micro_batches: 4}
  - {workload: cnn, image_size: 8, strategy: pp, compile: default}
  - {workload: "net:Two", input: "8", strategy: pp}
  - {workload: "net:Branches", input: "8", strategy: pp}
  - {workload: "net:Convolution", input: "3x4x4", strategy: tp}
measure: {min_time: 50ms, max_time: 100ms, min_steps: 10, target_rel_ci: 50%, repeats: 1, timeout: 90s}
contest: off
"""

NET = """\
import os
import torch
from torch import nn

class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, values):
        return self.body(values)

class Differs(MLP):
    # The second rank begins with other weights, which a strategy that exchanges gradients would never notice.
    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.body[2].weight.mul_(1 + int(os.environ["RANK"]))

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 50)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens)))

class Two(MLP):
    def forward(self, values):
        return {"logits": self.body(values)}

class Branches(MLP):
    def forward(self, values):
        return self.body(values if values.sum() > 0 else -values)

class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 4)

    def forward(self, images):
        return self.layer(images).flatten(1)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strategies")
    (folder / "net.py").write_text(NET)
    (folder / "strategies.yaml").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "gpubench", "run", "strategies.yaml", "--store", "runs", "--json", "--no-report"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    (stored,) = (folder / "runs").iterdir()
    return load_run(stored)


def record_of(run, **settings):
    wanted = {"precision": "fp32", "compile": "off", **settings}
    case = next(case for case in run.info.cases if all(case.settings[name] == wanted[name] for name in wanted))
    return next(record for record in run.records if record.case_index == case.index)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "tp", "pp"])
@pytest.mark.parametrize("workload", ["cnn", "net:MLP", "net:Tokens"])
def test_two_ranks_learn_what_one_process_learns(run, strategy, workload):
    record = record_of(run, strategy=strategy, workload=workload)
    assert (record.status, record.reason) == (Status.OK, None)
    assert record.metrics["ranks_loss_rel_error"] < 1e-5
    assert record.metrics["ranks_gradient_rel_error"] < 1e-5
    assert len({rank.pid for rank in record.ranks}) == 2


@pytest.mark.parametrize("strategy", ["fsdp2", "tp", "pp"])
def test_ranks_that_begin_with_other_weights_are_invalid(run, strategy):
    record = record_of(run, strategy=strategy, workload="net:Differs")
    (found,) = [found for found in record.findings if found.code == "GB313"]
    assert found.effect == "invalidates"
    assert record.metrics["ranks_gradient_rel_error"] > 0.01


def test_ddp_gives_all_ranks_the_weights_of_the_first(run):
    """So the comparison is with what the second rank would do alone, which its own weights are not."""
    record = record_of(run, strategy="ddp", workload="net:Differs")
    assert any(found.code == "GB313" for found in record.findings)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "tp", "pp"])
def test_a_step_does_the_samples_of_all_ranks(run, strategy):
    record = record_of(run, strategy=strategy, workload="cnn")
    assert record.metrics["throughput"] == pytest.approx(32 / record.metrics["step_time_s"])
    assert record.effective.batch_size == 16


@pytest.mark.parametrize(("strategy", "precision"), [("fsdp2", "amp-bf16"), ("tp", "bf16"), ("pp", "bf16")])
def test_a_shared_batch_in_bfloat16_agrees_within_its_digits(run, strategy, precision):
    record = record_of(run, strategy=strategy, precision=precision)
    assert (record.status, record.reason) == (Status.OK, None)
    assert not [found for found in record.findings if found.code == "GB313"]
    assert record.metrics["throughput"] == pytest.approx(16 / record.metrics["step_time_s"])


@pytest.mark.parametrize(
    ("strategy", "said"), [("fsdp2", "each other's parameters"), ("tp", "parts of a layer"), ("pp", "micro-batches")]
)
def test_a_rank_that_is_waited_for_inside_forward_has_no_own_time_and_says_why(run, strategy, said):
    record = record_of(run, strategy=strategy, workload="cnn")
    assert record.metrics["own_time_s"] is None
    assert said in record.absent["own_time_s"]
    assert all(said in rank.absent["communication_share"] for rank in record.ranks)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strategy": "pp", "compile": "default"}, "compiling them is not measured yet"),
        ({"workload": "net:Two"}, "returns one tensor"),
        ({"workload": "net:Branches"}, "torch.export cannot trace net:Branches as a pipeline: "),
        ({"workload": "net:Convolution"}, "splits nn.Linear layers of at least 2 outputs"),
    ],
)
def test_what_a_strategy_cannot_do_is_unsupported_with_one_sentence(run, settings, said):
    record = record_of(run, **settings)
    assert record.status is Status.UNSUPPORTED, record.reason
    assert said in record.reason
    assert "\n" not in record.reason
