import pytest
import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.supervised.normalisation import settle
from gpubench.worker.workloads.torchvision_cnn import AUXILIARY_WEIGHTS, TorchvisionCNN, model_names


def test_every_listed_model_is_a_classification_model():
    names = model_names()
    assert {"resnet18", "resnet50", "mobilenet_v3_large", "vit_b_16"} <= set(names)
    assert not {"raft_large", "fcn_resnet50", "r3d_18", "quantized_resnet18"} & set(names)


@pytest.mark.parametrize(
    ("name", "image_size", "num_classes"),
    [("resnet18", 224, 1000), ("inception_v3", 299, 1000), ("vit_b_16", 224, 1000)],
)
def test_sizes_default_to_the_models_own(name, image_size, num_classes):
    layout = resolve(f"torchvision:{name}").input_format(Case())
    assert (layout.image_size, layout.num_classes) == (image_size, num_classes)


def test_real_data_decides_the_number_of_classes():
    assert resolve("torchvision:resnet18").num_classes(Case(data="digits")) == 10


@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_resnet18_steps_in_both_modes_and_layouts(built, mode, memory_format):
    workload, step, _ = built(
        workload="torchvision:resnet18",
        image_size=32,
        batch_size=2,
        mode=mode,
        memory_format=memory_format,
        num_classes=5,
    )
    step()
    facts = workload.probe()
    assert facts["memory_format"] == memory_format
    assert facts["training"] is (mode == "train")
    assert facts["inference_mode"] is (mode == "infer")
    assert workload.health().finite is True
    assert workload.model.fc.out_features == 5


def test_a_resnet18_training_step_does_exactly_one_forward(built):
    workload, step, _ = built(workload="torchvision:resnet18", image_size=32, batch_size=2)
    calls = []
    workload.model.register_forward_hook(lambda *_: calls.append(1))
    step()
    assert len(calls) == 1
    assert int(workload.model.bn1.num_batches_tracked) == 1


def test_looking_at_a_training_step_leaves_running_statistics_and_the_random_state_alone(built):
    workload, _, _ = built(workload="torchvision:mobilenet_v3_small", image_size=32, batch_size=2)
    before = {name: value.clone() for name, value in workload.model.state_dict().items()}
    random_state = torch.get_rng_state()
    workload.probe()
    assert all(torch.equal(before[name], value) for name, value in workload.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


class Auxiliary(TorchvisionCNN):
    """Only the loss of a model with auxiliary classifiers."""


@pytest.mark.parametrize(("name", "num_auxiliary"), [("googlenet", 2), ("inception_v3", 1)])
def test_auxiliary_classifiers_add_their_weighted_loss(name, num_auxiliary):
    workload = Auxiliary(name)
    generator = torch.Generator().manual_seed(0)
    outputs = [torch.randn(4, 3, generator=generator) for _ in range(1 + num_auxiliary)]
    labels = torch.tensor([0, 1, 2, 0])
    losses = [torch.nn.functional.cross_entropy(output, labels) for output in outputs]
    expected = losses[0] + AUXILIARY_WEIGHTS[name] * sum(losses[1:])
    torch.testing.assert_close(workload.loss(tuple(outputs), labels), expected)
    assert workload.logits(tuple(outputs)) is outputs[0]


@pytest.mark.slow
def test_googlenet_trains_with_its_auxiliary_classifiers(built):
    workload, step, _ = built(workload="torchvision:googlenet", image_size=64, batch_size=2, num_classes=4)
    step()
    assert workload.health().finite is True
    assert workload.model.aux1.fc2.weight.grad.any()
    assert workload.model.aux2.fc2.weight.grad.any()


def test_a_size_the_model_cannot_take_is_unsupported_with_its_reason():
    workload = resolve("torchvision:vit_b_32")
    with pytest.raises(Unsupported, match="vit_b_32 for 100 x 100 pixels"):
        workload.build(Case(image_size=100, batch_size=1), "cpu")


class Residuals(torch.nn.Module):
    """Sums that double at every block, as residual sums of an untrained network do."""

    def __init__(self):
        super().__init__()
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(3, 3, 1) for _ in range(40))
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(3) for _ in range(40))

    def forward(self, images):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            torch.nn.init.constant_(conv.weight, 1.0)
            images = images + norm(conv(images))
        return images


def a_few_images():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_settled_statistics_keep_a_deep_residual_sum_within_fp16():
    model = Residuals().eval()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert model(images).abs().max() > torch.finfo(torch.float16).max
        assert settle(model, a_few_images)(images).abs().max() < 100


def test_settling_keeps_the_mode_and_touches_no_weight():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).train()
    weights = model[0].weight.detach().clone()
    settle(model, a_few_images)
    assert model.training
    assert torch.equal(model[0].weight, weights)
    assert torch.equal(model[1].running_mean, torch.zeros(4))
    assert len(set(model[1].running_var.tolist())) == 1
    assert model[1]._forward_pre_hooks == {}
