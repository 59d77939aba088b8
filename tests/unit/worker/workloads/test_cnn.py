import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads import compiled
from gpubench.worker.workloads.cnn import ReferenceCNN
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.supervised.steps import TrainStep


def count_forwards(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    return calls


def test_the_reference_cnn_is_the_documented_one():
    model = ReferenceCNN()
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes == {
        "conv1.weight": (16, 3, 3, 3),
        "conv1.bias": (16,),
        "conv2.weight": (32, 16, 3, 3),
        "conv2.bias": (32,),
        "fc.weight": (10, 32 * 7 * 7),
        "fc.bias": (10,),
    }
    assert model(torch.zeros(2, 3, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(("image_size", "inputs"), [(28, 1568), (32, 2048), (30, 1568), (4, 32)])
def test_the_linear_layer_follows_the_image_size(image_size, inputs):
    model = ReferenceCNN(num_classes=7, image_size=image_size)
    assert model.fc.in_features == inputs
    assert model(torch.zeros(1, 3, image_size, image_size)).shape == (1, 7)


def test_images_too_small_for_two_pools_are_refused():
    with pytest.raises(ValueError, match="at least 4 x 4 pixels"):
        ReferenceCNN(image_size=3)


def test_a_training_step_does_exactly_one_forward(built):
    workload, step, _ = built()
    calls = count_forwards(workload.model)
    for _ in range(3):
        step()
    assert calls == [True, True, True]


def test_accumulation_does_one_forward_per_micro_step_and_one_optimizer_step(built):
    workload, step, _ = built(accumulate=4)
    calls = count_forwards(workload.model)
    updates = []
    workload.optimizer.register_step_post_hook(lambda *_: updates.append(1))
    step()
    assert (len(calls), len(updates)) == (4, 1)


def test_inference_is_in_eval_mode_without_gradients(built):
    workload, step, _ = built(mode="infer")
    seen = []
    workload.model.register_forward_hook(
        lambda module, *_: seen.append((module.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
    )
    output = step()
    assert seen == [(False, False, True)]
    assert output.is_inference()
    assert workload.optimizer is None


def test_the_optimizer_holds_every_parameter_of_the_model(built):
    workload, _, _ = built(optimizer="adamw")
    held = {id(parameter) for group in workload.optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in workload.model.parameters()}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("fused", [False, True])
def test_training_moves_the_parameters_and_keeps_the_loss_finite(built, optimizer, fused):
    workload, step, _ = built(optimizer=optimizer, fused=fused)
    step()
    health = workload.health()
    assert (health.finite, health.parameters_moved, health.optimizer_steps) == (True, True, 1)
    assert health.extra["unmoved_parameters"] == []
    assert workload.probe()["fused"] is fused


def test_an_optimizer_that_holds_other_parameters_is_noticed(built):
    workload, step, _ = built()
    stranger = torch.nn.Parameter(torch.zeros(1))
    stranger.grad = torch.ones(1)
    step.optimizer = torch.optim.SGD([stranger], lr=0.1)
    step()
    assert workload.health().parameters_moved is False


def test_a_loss_that_was_nan_once_stays_noticed(built):
    workload, step, _ = built()
    images, _ = workload.source.batches[0]
    healthy = images.clone()
    images[0] = float("nan")
    step()
    images.copy_(healthy)
    for parameter in workload.model.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    step()
    assert workload.health().finite is False


def test_an_infinite_output_is_noticed_in_inference(built):
    workload, step, _ = built(mode="infer")
    for _ in range(3):
        step()
    workload.source.batches[3][0][0, 0, 0, 0] = float("inf")
    assert workload.health().finite is True, "the fourth batch had no turn"
    workload.source.batches[2][0][0, 0, 0, 0] = float("inf")
    assert workload.health().finite is False


def test_reset_health_forgets_what_came_before(built):
    workload, step, _ = built()
    step()
    workload.reset_health()
    health = workload.health()
    assert (health.optimizer_steps, health.parameters_moved) == (0, None)


def test_accumulated_gradients_equal_those_of_the_big_batch(built):
    small, step, _ = built(accumulate=4, batch_size=2, optimizer="sgd")
    batches = [small.source.batches[i] for i in range(4)]
    step()
    big = resolve("cnn").place_model(Case(image_size=12), torch.device("cpu"))
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    torch.nn.functional.cross_entropy(big(images), labels).backward()
    for ours, theirs in zip(small.model.parameters(), big.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7)


def test_weights_depend_on_the_seed_alone():
    def weights(**settings):
        model = resolve("cnn").place_model(Case.model_validate(settings), torch.device("cpu"))
        return model.fc.weight.detach().float()

    assert torch.equal(weights(seed=3), weights(seed=3, mode="infer", memory_format="channels_last"))
    assert not torch.equal(weights(seed=3), weights(seed=4))


class Overflowing(TrainStep):
    """Spoils the gradient in chosen steps, as an overflow of the scaled loss would."""

    def _backward(self, loss):
        super()._backward(loss)
        if self.num_steps in (1, 3):
            next(iter(self.model.parameters())).grad[0] = float("inf")


def test_steps_that_the_scaler_skips_are_counted_and_do_not_move_the_weights(built):
    workload, step, _ = built(precision="amp-fp16", optimizer="adam")
    step.__class__ = Overflowing
    moved = []
    for _ in range(5):
        before = workload.model.conv1.bias.detach().clone()
        step()
        moved.append(not torch.equal(before, workload.model.conv1.bias))
    health = workload.health()
    assert moved == [True, False, True, False, True]
    assert (health.scaler_skipped_steps, health.optimizer_steps) == (2, 3)
    assert step.scaler.get_scale() == 65536.0 / 4


def test_the_scaler_keeps_its_state_from_step_to_step(built):
    workload, step, _ = built(precision="amp-fp16")
    step.scaler._init_scale = 16.0
    step.scaler.set_growth_interval(2)
    for _ in range(4):
        step()
    assert step.scaler.get_scale() == 16.0 * 2 * 2
    assert workload.health().scaler_skipped_steps == 0
    assert workload.probe()["grad_scaler"] is True


def test_the_scaler_tells_how_long_it_waits_for_the_device(built):
    workload, step, _ = built(precision="amp-fp16")
    for _ in range(3):
        step()
    assert len(workload.device_waits_s) == 3
    assert all(wait > 0 for wait in workload.device_waits_s)
    workload.reset_health()
    assert workload.device_waits_s == []
    assert built(precision="amp-bf16")[0].device_waits_s is None


@pytest.mark.parametrize("fused", [False, True])
def test_skips_are_counted_with_fused_optimizers_too(built, fused):
    workload, step, _ = built(precision="amp-fp16", optimizer="adam", fused=fused)
    step.__class__ = Overflowing
    for _ in range(2):
        step()
    assert workload.health().scaler_skipped_steps == 1


@pytest.mark.parametrize(
    ("precision", "compute", "weights"),
    [
        ("fp32", "float32", "float32"),
        ("amp-bf16", "bfloat16", "float32"),
        ("amp-fp16", "float16", "float32"),
        ("bf16", "bfloat16", "bfloat16"),
        ("fp16", "float16", "float16"),
    ],
)
@pytest.mark.parametrize("mode", ["train", "infer"])
def test_convolutions_and_products_really_compute_in_the_precision_asked_for(built, precision, compute, weights, mode):
    workload, step, _ = built(precision=precision, mode=mode)
    step()
    facts = workload.probe()
    assert facts["compute_dtype"] == facts["output_dtype"] == compute
    assert facts["parameter_dtype"] == weights
    steps = facts["extra"]["watched_steps"]
    assert facts["extra"]["convolution_dtypes"] == {compute: 2 * steps}
    assert facts["extra"]["product_dtypes"] == {compute: steps}


def test_channels_last_holds_for_the_input_and_for_every_convolution(built):
    workload, step, _ = built(memory_format="channels_last")
    step()
    facts = workload.probe()
    assert facts["memory_format"] == "channels_last"
    layers = {"channels_last": 2 * facts["extra"]["watched_steps"]}
    assert facts["extra"]["convolution_input_layouts"] == facts["extra"]["convolution_weight_layouts"] == layers
    assert workload.source.batches[0][0].stride() == (12 * 12 * 3, 1, 12 * 3, 3)


def test_phases_open_in_the_order_of_a_step(built):
    names = []

    @contextmanager
    def phases(name):
        names.append(name)
        yield

    workload = resolve("cnn", phases=phases)
    step = workload.build(Case(image_size=12, batch_size=4, accumulate=2), "cpu")
    step()
    micro = ["data", "h2d", "forward", "loss", "backward"]
    assert names == [*micro, *micro, "optimizer"]


def test_looking_at_the_step_leaves_its_weights_and_its_count_alone(built):
    workload, step, _ = built()
    before = {name: value.clone() for name, value in workload.model.state_dict().items()}
    workload.probe()
    assert step.num_steps == 0
    assert all(torch.equal(before[name], value) for name, value in workload.model.state_dict().items())
    assert all(parameter.grad is None for parameter in workload.model.parameters())


def test_compilation_finds_nothing_from_earlier_unless_a_folder_is_named(monkeypatch, tmp_path):
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    variables = compiled.CACHE_VARIABLE, compiled.TRITON_CACHE_VARIABLE

    def set_folders(*folders):
        for name, folder in zip(variables, folders, strict=True):
            monkeypatch.delenv(name, raising=False)
            if folder is not None:
                monkeypatch.setenv(name, folder)

    def folders():
        return tuple(os.environ.get(name) for name in variables)

    def folders_for(mode):
        with compiled.cold_caches(mode):
            return folders()

    default = default_cache_dir()
    for shared in ((None, None), (default, None), (default, str(Path(default, "triton", "0")))):
        set_folders(*shared)
        first, second = folders_for("default"), folders_for("default")
        assert len({*first, *second, *shared, None, default}) == 4 + len({*shared, None, default})
        assert not any(Path(folder).exists() for folder in first)
        assert folders_for("off") == folders() == shared
    set_folders(str(tmp_path), None)
    assert folders_for("default") == (str(tmp_path), None)
    set_folders(None, str(tmp_path))
    assert folders_for("default")[1] == folders()[1] == str(tmp_path)


def test_triton_keeps_its_kernels_where_the_worker_says(monkeypatch, tmp_path):
    knobs = pytest.importorskip("triton.knobs", reason="torch came without Triton")
    monkeypatch.setenv(compiled.TRITON_CACHE_VARIABLE, str(tmp_path))
    assert knobs.cache.dir == str(tmp_path)


@pytest.mark.slow
def test_a_compiled_step_compiles_once_and_says_so(built):
    from gpubench.worker.workloads import optional_facts as facts

    before = compiled.compile_stats()
    workload, step, case = built(compile="default", batch_size=4)
    for _ in range(3):
        step()
    stats = facts.compile_stats(case).since(before)
    assert stats.num_graphs == 1
    assert (stats.graph_breaks, stats.recompilations) == (0, 0)
    assert stats.compile_s > 0
    assert facts.probe(workload, case, step)["compile"] == "default"
    assert workload.health().parameters_moved is True


@pytest.mark.slow
def test_more_variants_of_a_model_than_torch_compiles_by_itself_are_compiled_or_an_error(monkeypatch):
    real, seen = torch.compile, []

    def counting(graph, _inputs):
        seen.append(graph)
        return graph.forward

    monkeypatch.setattr(
        torch, "compile", lambda model, *, mode, dynamic: real(model, backend=counting, dynamic=dynamic)
    )

    class Model(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layer = torch.nn.Linear(width, 2)

        def forward(self, images):
            return self.layer(images)

    def run(width):
        compiled.compile_model(Model(width), "default", "cpu")(torch.ones(3, width))

    with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=False):
        for width in range(1, 13):
            run(width)
        assert len(seen) == 12
        monkeypatch.setattr(compiled, "MOST_VARIANTS", 12)
        torch._dynamo.config.recompile_limit = 12
        with pytest.raises(Exception, match="recompile_limit"):
            run(13)
