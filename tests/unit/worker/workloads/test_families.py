"""Models that libraries know by name, in small configurations: every family trains, infers and is checked."""

import json

import pytest
import torch

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.worker.checks.parity import check
from gpubench.worker.checks.work_counts import count_flops
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.registry import resolve

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
CONFIGS = {
    "bert": {**SMALL, "vocab_size": 100},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 100, "bos_token_id": 0, "eos_token_id": 0},
    "t5": {"d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 2, "d_kv": 16, "vocab_size": 100},
    "wav2vec2": {
        **SMALL,
        "vocab_size": 32,
        "conv_dim": [32] * 7,
        "num_conv_pos_embedding_groups": 4,
        "num_conv_pos_embeddings": 16,
    },
    "clip": {
        "text_config": {**SMALL, "max_position_embeddings": 77, "vocab_size": 100, "eos_token_id": 2},
        "vision_config": {**SMALL, "image_size": 32, "patch_size": 16},
        "projection_dim": 16,
    },
}
TEXT, SPEECH = {"params": {"length": 16}}, {"params": {"audio_s": 0.5}}
FAMILIES = [
    ("bert@masked-lm", TEXT),
    ("bert@question-answering", TEXT),
    ("gpt2@causal-lm", TEXT),
    ("gpt2@sequence-classification", TEXT),
    ("t5@seq2seq-lm", TEXT),
    ("wav2vec2@ctc", SPEECH),
    ("clip@contrastive", TEXT),
    ("torchvision-segmentation:lraspp_mobilenet_v3_large", {"image_size": 64}),
    ("timm:test_vit", {}),
]


@pytest.fixture(autouse=True)
def _extras():
    pytest.importorskip("transformers", reason="pip install 'gpubench[text]'")
    pytest.importorskip("timm", reason="pip install 'gpubench[vision]'")


@pytest.fixture
def named(tmp_path):
    def make(name):
        architecture, _, task = name.partition("@")
        if not task:
            return name
        file = tmp_path / f"{architecture}.json"
        file.write_text(json.dumps({"model_type": architecture, **CONFIGS[architecture]}))
        return f"hf:{file}@{task}"

    return make


def case_of(name, settings, **changes):
    return Case.model_validate({"workload": name, "batch_size": 2, **settings, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize(("name", "settings"), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_a_step_is_finite_counted_and_like_fp64(named, name, settings, mode):
    case = case_of(named(name), settings, mode=mode)
    workload = resolve(case.workload)
    step = workload.build(case, "cpu")
    step()
    health, facts = workload.health(), workload.probe()
    assert health.finite
    assert health.parameters_moved is (True if mode == "train" else None)
    assert (facts["batch_size"], facts["training"]) == (2, mode == "train")
    workload.close()
    assert count_flops(workload, case).per_sample > 0
    assert check(workload, case, "cpu").passed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert@masked-lm", "torchvision-segmentation:lraspp_mobilenet_v3_large"])
def test_autocast_is_what_products_compute_in(named, name):
    case = case_of(named(name), dict(FAMILIES)[name], precision="amp-bf16")
    workload = resolve(case.workload)
    workload.build(case, "cpu")
    assert "bfloat16" in workload.probe()["compute_dtype"]


@pytest.mark.slow
def test_a_detector_of_one_stage_is_measured_and_checked():
    case = case_of("torchvision-detection:ssdlite320_mobilenet_v3_large", {}, mode="infer")
    workload = resolve(case.workload)
    workload.build(case, "cpu")()
    assert workload.health().finite
    assert check(workload, case, "cpu").passed


def test_the_loss_of_an_ssd_is_not_compared():
    case = case_of("torchvision-detection:ssdlite320_mobilenet_v3_large", {})
    assert "rounding changes" in check(resolve(case.workload), case, "cpu")


@pytest.mark.slow
def test_flops_of_a_detector_are_those_of_one_batch():
    case = case_of("torchvision-detection:ssdlite320_mobilenet_v3_large", {}, mode="train")
    found = count_flops(resolve(case.workload), case)
    assert found.depends_on_data
    assert found.per_sample > 1e8


def test_a_detector_of_two_stages_says_why_it_has_no_parity():
    case = case_of("torchvision-detection:fasterrcnn_mobilenet_v3_large_320_fpn", {"image_size": 64})
    assert "at random" in check(resolve(case.workload), case, "cpu")


def test_a_detector_is_not_put_into_a_cuda_graph():
    case = case_of("torchvision-detection:retinanet_resnet50_fpn", {}, cuda_graph=True)
    with pytest.raises(Unsupported, match="reads values on the host"):
        resolve(case.workload).build(case, "cpu")


def test_tokens_that_are_padding_are_counted(named):
    case = case_of(named("bert@masked-lm"), {"params": {"length": 16, "shortest": 0.25}}, batch_size=64)
    workload = resolve(case.workload)
    workload.build(case, "cpu")
    for num_samples, contents in workload.held():
        assert num_samples == 64
        assert contents.unit == "tokens"
        assert contents.num_units + contents.num_padded == contents.num_elements == 64 * 16
        assert 0.2 < contents.num_padded / contents.num_elements < 0.55


def test_speech_is_counted_in_seconds(named):
    case = case_of(named("wav2vec2@ctc"), SPEECH)
    workload = resolve(case.workload)
    workload.build(case, "cpu")
    assert workload.held()[0][1].num_units == 2 * 0.5


MILLIONS = {
    "hf:bert@sequence-classification": 109.5,
    "hf:distilbert@question-answering": 66.4,
    "hf:t5@seq2seq-lm": 60.5,
    "hf:wav2vec2@ctc": 94.4,
    "hf:clip@contrastive": 151.3,
    "torchvision-detection:retinanet_resnet50_fpn": 34.1,
    "torchvision-segmentation:fcn_resnet50": 33.0,
    "timm:vit_base_patch16_224": 86.6,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_models_have_as_many_parameters_as_published(name):
    with torch.device("meta"):
        model = resolve(name).make_model(Case(workload=name))
    assert round(sum(each.numel() for each in model.parameters()) / 1e6, 1) == MILLIONS[name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:bertt@masked-lm", "bert"),
        ("hf:bert@masked", "masked-lm"),
        ("hf:bert", "question-answering"),
        ("timm:convnext_tinny", "convnext_tiny"),
        ("torchvision-detection:retinanet", "retinanet_resnet50_fpn"),
        ("torchvision-segmentation:fcn_resnet5", "fcn_resnet50"),
    ],
)
def test_an_unknown_name_lists_near_ones(name, said):
    with pytest.raises(UsageError) as caught:
        resolve(name)
    assert said in caught.value.hint


def test_an_unknown_parameter_lists_those_there_are(named):
    name = named("bert@masked-lm")
    with pytest.raises(UsageError, match="no parameter 'size'") as caught:
        resolve(name).check(case_of(name, {"params": {"size": 3}}))
    assert "`length`" in caught.value.hint
