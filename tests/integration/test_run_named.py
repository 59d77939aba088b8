"""`gpubench run hf:...`: from an architecture of transformers to figures in one command, with nothing downloaded."""

import json

import pytest

from gpubench.cli.main import main

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 100,
}


def test_an_architecture_is_measured_by_one_command(tmp_path, monkeypatch, capfd):
    pytest.importorskip("transformers", reason="pip install 'gpubench[text]'")
    (tmp_path / "tiny.json").write_text(json.dumps({"model_type": "bert", **SMALL}))
    monkeypatch.chdir(tmp_path)
    short = ["-s", "measure.min_time=50ms", "-s", "measure.max_time=0.5s", "--repeats", "1", "-s", "contest=off"]
    settings = ["-s", "device=cpu", "-s", "precision=fp32,amp-bf16", "-s", "batch_size=2", "-s", "params.length=16"]
    status = main(["run", "hf:tiny.json@sequence-classification", *settings, *short, "--no-report", "--json"])
    out, err = capfd.readouterr()
    assert status == 0, err
    cases = json.loads(out)["cases"]
    assert [case["effective"]["precision"] for case in cases] == ["fp32", "amp-bf16"]
    for case in cases:
        assert case["correctness"] == "pass"
        assert case["metrics"]["token_throughput"]["value"] > 0
        assert case["metrics"]["flops_per_sample"]["value"] > 0
