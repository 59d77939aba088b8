"""Modules of the user's as they are: every kind of class, function, instance and output."""

import dataclasses
import io
import sys

import pytest
import torch
from torch import nn

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.worker import effective_settings
from gpubench.worker.checks import parity
from gpubench.worker.checks.recount import WorkCount
from gpubench.worker.checks.work_counts import count_flops
from gpubench.worker.failures import as_failed
from gpubench.worker.process.check_workloads import why_unusable
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.users_module import UsersModule

MODELS = """
import dataclasses
import sys
import warnings
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Linear(width, 5)
    def forward(self, images):
        return self.head(torch.relu(self.norm(self.conv(images))).mean((2, 3)))

@dataclasses.dataclass
class Output:
    hidden: torch.Tensor
    logits: torch.Tensor

class Structured(Net):
    def forward(self, images):
        logits = super().forward(images)
        return Output(logits * 2, logits)

class Named(Net):
    def forward(self, images):
        return {"mask": torch.ones(len(images), dtype=torch.bool), "logits": super().forward(images)}

class Sized(Net):
    def __len__(self):
        raise TypeError("no length, as after torch.compile")

class Spectral(Net):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(3, 1, 1, dtype=torch.cfloat))
    def forward(self, images):
        mixed = torch.fft.fft2(images.float()) * self.weights
        return super().forward(torch.fft.ifft2(mixed).real.to(images.dtype))

class Größe(Net): pass

class OwnLoss(Net):
    def forward(self, images):
        logits = super().forward(images)
        return {"loss": logits.square().mean(), "logits": logits}

class Tables(nn.Module):
    # Cached in the dtype of the first input, in plain attributes that no cast reaches, as rotary positions are.
    def __init__(self):
        super().__init__()
        self.out, self.table = nn.Linear(6, 4), None
    def forward(self, x):
        if self.table is None:
            self.table = torch.arange(6).to(x.dtype)
        return self.out(x * self.table)

class Droplets(nn.Module):
    # No probabilities of dropout, whatever is in their names.
    def __init__(self):
        super().__init__()
        self.out, self.droplet_radius, self.drop_ratio, self.attention_dropout = nn.Linear(6, 4), 0.5, 0.25, 0.5
    def forward(self, x):
        x = nn.functional.dropout(x, self.attention_dropout, self.training)
        return self.out(x / self.droplet_radius) * int(1 / self.drop_ratio)

class OfItsInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)
    def forward(self, x):
        if not self.training:
            return {"loss": self.out(x).square().mean()}
        energy = self.out(x.requires_grad_(True)).square().sum()
        (force,) = torch.autograd.grad(energy, x, create_graph=True)
        return {"loss": force.square().mean() + energy}

class TrainsOnItsLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)
    def forward(self, x):
        y = self.out(x)
        return {"loss": y.square().mean()} if self.training else [y]

class Carried(nn.Module):
    # The state goes from batch to batch, as in truncated backpropagation through time.
    def __init__(self):
        super().__init__()
        self.embed, self.cell, self.state = nn.Embedding(50, 6), nn.LSTM(6, 8, batch_first=True), None
        self.out, self.norm = nn.Linear(8, 50), nn.BatchNorm1d(5)
        self.seen, self.steps = [], 0
    def forward(self, tokens):
        self.steps += 1
        hidden, state = self.cell(self.norm(self.embed(tokens)), self.state)
        self.state = tuple(each.detach() for each in state)
        self.seen.append(state[0].detach())
        assert {each.shape for each in self.seen} == {state[0].shape}
        return self.out(hidden)

class Cache(nn.Module):
    # Its buffer is replaced in each pass.
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)
        self.register_buffer("seen", torch.zeros(0))
    def forward(self, x):
        y = self.out(x)
        self.seen = torch.cat([self.seen, y.detach().float().mean().reshape(1)])
        return y

class Ghosts(nn.Module):
    # Normalises groups of four samples.
    def __init__(self):
        super().__init__()
        self.out, self.norm = nn.Linear(6, 4), nn.BatchNorm1d(4)
    def forward(self, x):
        return torch.cat([self.norm(part) for part in self.out(x).view(-1, 4, 4).unbind(0)])

class Waves(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(4))
    def forward(self, x):
        return torch.fft.rfft(x) * self.weights

class Spectrum(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(4, dtype=torch.cfloat))
        self.order = nn.Parameter(torch.arange(6), requires_grad=False)
        self.out = nn.Linear(6, 4)
    def forward(self, x):
        waves = torch.fft.rfft(x.float()[:, self.order]) * self.weights
        return self.out(torch.fft.irfft(waves, n=6).to(self.out.weight.dtype))

class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    def forward(self, x):
        return self.layer(x.view(-1, 3, 8)).mean(1)

class Legal(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)
        self.register_buffer("illegal", torch.arange(4) < 2)
    def forward(self, x):
        logits = self.out(x).masked_fill(self.illegal, float("-inf"))
        return {"logits": logits, "mask": torch.full((4, 4), float("-inf")).triu(1)}

class Force(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)
    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().clone().requires_grad_(True)
            return torch.autograd.grad(self.out(x).square().sum(), x, create_graph=self.training)[0]

class Contrast(nn.Module):
    # All of its loss is computed in the model's own type.
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 8)
    def forward(self, x):
        each = nn.functional.normalize(self.out(x))
        return nn.functional.cross_entropy(each @ each.t() * 10, torch.arange(len(x)))

class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "Sparse CSR tensor support is in beta state"
            self.register_buffer("kept", torch.eye(6).to_sparse_csr())
    def forward(self, x):
        return self.out((self.kept @ x.t()).t())

class ByNumpy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.detach().float().numpy() * 2).to(x.dtype)
    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2

class Numpy(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)
    def forward(self, x):
        return ByNumpy.apply(self.out(x))

class Language(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.embed, self.out = nn.Embedding(50, width), nn.Linear(width, 50)
    def forward(self, tokens):
        return self.out(self.embed(tokens))

class Conditional(Net):
    def forward(self, images, kinds, *, scale=1.0):
        return super().forward(images) * (1 + kinds[:, None] * scale)

class Masked(Language):
    def forward(self, tokens, mask=None):
        return super().forward(tokens) * mask[..., None]

class FromDict(Language):
    def forward(self, batch):
        return super().forward(batch["tokens"]).mean(1) + batch["extra"]

class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
    def forward(self, images):
        return self.conv(images)

class Nothing(Net):
    def forward(self, images):
        super().forward(images)

class Frozen(nn.Module):
    def forward(self, images):
        return images.flatten(1)

class TimeFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)
    def forward(self, x):
        return self.out(x).transpose(0, 1)

class NeedsWidth(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.out = nn.Linear(6, width)
    def forward(self, x):
        return self.out(x)

class NoBuild:
    pass

def make(width=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(12, width))

def makes_text():
    return nn.Identity if False else "text"

class EverySecond(nn.Module):
    def __init__(self):
        super().__init__()
        self.out, self.calls = nn.Linear(6, 4), 0
    def forward(self, x):
        self.calls += 1
        if self.calls % 2:
            return self.out(x)
        with torch.autocast("cpu", enabled=False):
            return self.out(x.float())

class Raises(Net):
    def forward(self, images):
        raise ValueError("my own\\nmistake")

class Exits(Net):
    def forward(self, images):
        sys.exit(3)

class NoForward(nn.Module):
    pass

class WantsGpu(Net):
    def forward(self, images):
        raise RuntimeError("Found no NVIDIA driver on your system.")

def returns_nothing():
    pass

def returns_class():
    return Net

def wants(a, b):
    pass

regression = nn.Linear(6, 1)
half = nn.Linear(6, 4).to(torch.bfloat16)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    scripted = torch.jit.script(nn.Sequential(nn.Linear(6, 4), nn.ReLU()))
number = 3
"""


RAISED_AT = next(number for number, line in enumerate(MODELS.splitlines(), 1) if "my own" in line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("models")
    (made / "users_models.py").write_text(MODELS, encoding="utf-8")
    (made / "my-models.py").write_text(MODELS, encoding="utf-8")
    (made / "leaves.py").write_text("import sys\nsys.exit('usage: leaves.py FILE')\n")
    before = list(sys.path)
    yield made
    sys.path[:] = before


@pytest.fixture
def built(folder):
    made = []

    def build(name, **settings):
        case = Case(workload=f"users_models:{name}", batch_size=4, **settings)
        workload = resolve(case.workload, (str(folder),), params=case.params)
        made.append(workload)
        return workload, workload.build(case, "cpu"), case

    yield build
    for workload in made:
        getattr(workload, "close", lambda: None)()


IMAGES = {"input": "3x8x8"}


@pytest.mark.parametrize(
    ("name", "settings", "loss"),
    [
        ("Net", IMAGES, "cross-entropy"),
        ("Structured", IMAGES, "cross-entropy"),
        ("Named", IMAGES, "cross-entropy"),
        ("OwnLoss", IMAGES, "output"),
        ("Spectral", IMAGES, "cross-entropy"),
        ("Language", {"input": "int50:6"}, "cross-entropy"),
        ("Autoencoder", IMAGES, "mse"),
        ("make", {"input": 12}, "cross-entropy"),
        ("regression", {"input": "6"}, "mse"),
        ("Net", {**IMAGES, "loss": "mse"}, "mse"),
        ("Net", {"input": "images=3x8x8"}, "cross-entropy"),
        ("Conditional", {"input": "3x8x8+int10"}, "cross-entropy"),
        ("Masked", {"input": "tokens=int50:6+mask=bool:6"}, "cross-entropy"),
        ("FromDict", {"input": "tokens=int50:6+extra=50"}, "cross-entropy"),
        ("Autoencoder", {**IMAGES, "loss": "cross-entropy"}, "cross-entropy"),
        ("TrainsOnItsLoss", {"input": "6"}, "cross-entropy"),
        ("Contrast", {"input": "6"}, "output"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
def test_a_module_trains_and_equals_fp64(built, name, settings, loss, precision):
    workload, step, case = built(name, precision=precision, **settings)
    workload.reset_health()
    for _ in range(2):
        step()
    health = workload.health()
    assert (health.finite, health.parameters_moved, health.optimizer_steps) == (True, True, 2)
    assert workload._judged.loss == loss
    assert parity.check(workload, case, "cpu").passed


@pytest.mark.parametrize("name", ["Net", "Structured", "Language", "OwnLoss", "Sized", "Größe"])
def test_a_module_infers(built, name):
    workload, step, case = built(name, mode="infer", input="int50:6" if name == "Language" else "3x8x8")
    step()
    assert workload.health().finite
    assert parity.check(workload, case, "cpu").passed


@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize("name", ["Tables", "Droplets"])
def test_a_module_is_taken_as_it_is(built, name, mode, precision):
    workload, step, case = built(name, mode=mode, precision=precision, input="6")
    step()
    assert parity.check(workload, case, "cpu").passed


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_complex_outputs_are_judged_by_both_of_their_parts(built, mode):
    workload, step, case = built("Waves", mode=mode, input="6")
    step()
    assert workload._judged == ("mse", (4, 2), None, False, False)
    assert parity.check(workload, case, "cpu").passed


@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
@pytest.mark.parametrize("mode", ["train", "infer"])
def test_parameters_that_no_precision_converts_are_none_of_its_business(built, mode, precision):
    workload, step, case = built("Spectrum", mode=mode, precision=precision, input="6")
    step()
    facts = workload.probe()
    assert facts["parameter_dtype"] == ("bfloat16" if precision == "bf16" else "float32")
    assert facts["compute_dtype"] == ("float32" if precision == "fp32" else "bfloat16")
    assert parity.check(workload, case, "cpu").passed


@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16", "fp16"])
def test_attention_that_torch_computes_in_float32_is_the_precision_of_its_weights(built, mode, precision):
    workload, step, case = built("Attentive", mode=mode, precision=precision, input="24")
    step()
    assert effective_settings.read_back(case, workload.probe(), "cpu").precision == precision
    assert parity.check(workload, case, "cpu").passed


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_a_model_masks_is_finite_enough_and_equal(built, precision):
    workload, step, case = built("Legal", mode="infer", precision=precision, input="6")
    step()
    assert workload.health().finite
    assert parity.check(workload, case, "cpu").passed


def test_a_gradient_in_inference_is_refused_with_what_to_do(built):
    _, step, _ = built("Force", mode="infer", input="6")
    with pytest.raises(RuntimeError) as caught:
        step()
    assert "torch.inference_mode(False)" in as_failed(caught.value, "warmup").reason
    built("Force", input="6")[1]()


@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize(("name", "shape"), [("Carried", "int50:5"), ("Cache", "6"), ("Ghosts", "6")])
def test_looks_at_a_few_samples_leave_no_trace(built, name, shape, mode):
    workload, step, _ = built(name, mode=mode, input=shape)
    step()
    held = len(getattr(workload.model, "seen", ()))
    assert workload.probe()["compute_dtype"] == "float32"
    assert len(getattr(workload.model, "seen", ())) == held
    step()
    assert workload.health().finite


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_where_torch_cannot_trace_a_layout_only_this_thread_is_seen(built, mode):
    workload, step, case = built("Sparse", mode=mode, input="6")
    facts = workload.probe()
    assert facts["compute_dtype"] == "float32"
    assert facts["extra"]["unwatched"] == "other threads: torch cannot trace a torch.sparse_csr tensor"
    assert optional_facts.probe(workload, case, step)["extra"]["not_seen"] == ["precision"]
    count = WorkCount(case)
    count.watch(step)
    assert count.after_steps(step) == []


def test_a_module_may_ask_for_the_gradient_of_its_input(built):
    workload, step, _ = built("OfItsInput", input="6")
    step()
    workload.renew_inputs()
    step()
    assert workload.health().finite


def test_what_cannot_be_counted_without_values_is_no_failure(built):
    workload, step, case = built("Numpy", input="6")
    step()
    assert parity.check(workload, case, "cpu").passed
    counted = count_flops(workload, case)
    assert counted.per_sample is None
    assert "could not count this model without running it: TypeError" in counted.reason


def test_flops_are_those_of_the_module(built):
    workload, _, case = built("make", input="12", mode="infer", params={"width": 7})
    assert count_flops(workload, case).per_sample == 2 * 12 * 7


def test_layout_and_data_path_are_as_for_built_in_models(built):
    workload, step, _ = built("Net", input="3x8x8", memory_format="channels_last", data_path="loader", num_workers=1)
    step()
    assert workload.probe()["memory_format"] == "channels_last"
    _, step, _ = built("Language", input="int50:6", data_path="loader", num_workers=1)
    step()


@pytest.mark.parametrize("name", ["Conditional", "Masked", "FromDict"])
def test_several_inputs_arrive_as_forward_takes_them(built, name):
    shapes = {
        "Conditional": "3x8x8+int10",
        "Masked": "mask=bool:6+tokens=int50:6",
        "FromDict": "extra=50+tokens=int50:6",
    }
    images = {"memory_format": "channels_last"} if name == "Conditional" else {}
    workload, step, case = built(name, input=shapes[name], mode="infer", precision="bf16", **images)
    step()
    assert workload.health().finite
    assert workload.probe()["batch_size"] == 4
    assert workload.probe()["parameter_dtype"] == "bfloat16"
    assert count_flops(workload, case).per_sample > 0
    _, step, _ = built(name, input=shapes[name], data_path="loader", num_workers=1)
    step()


def test_inputs_hold_what_was_asked_for(built):
    workload, _, _ = built("Masked", input="tokens=int3:6+mask=bool:6", precision="bf16")
    samples, targets = workload.source.batches[0]
    assert {name: (part.dtype, tuple(part.shape)) for name, part in samples.items()} == {
        "tokens": (torch.int64, (4, 6)),
        "mask": (torch.bool, (4, 6)),
    }
    assert samples["tokens"].unique().tolist() == [0, 1, 2]
    assert (targets.dtype, tuple(targets.shape)) == (torch.int64, (4, 6))


def test_a_compiled_module_takes_several_inputs(built):
    workload, _, _ = built("Masked", input="tokens=int50:6+mask=bool:6")
    compiled = torch.compile(workload.model, backend="eager", fullgraph=True)
    samples, _ = workload.source.batches[0]
    assert torch.equal(compiled(samples), workload.model(samples))


def test_weights_depend_on_the_seed_alone(built):
    first, second, third = (built("Net", seed=seed, **IMAGES)[0].model for seed in (1, 1, 2))
    weights = [model.conv.weight.detach() for model in (first, second, third)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_instance_is_copied_for_every_launch(folder, built):
    workload, step, _ = built("regression", input="6")
    before = sys.modules["users_models"].regression.weight.detach().clone()
    step()
    assert torch.equal(sys.modules["users_models"].regression.weight, before)
    assert workload.model is not sys.modules["users_models"].regression


def test_real_images_bring_their_classes(built):
    workload, step, _ = built("make", data="digits", image_size=2, params={"width": 10})
    step()
    samples, targets = workload.source.batches[0]
    assert samples.shape[-2:] == (2, 2)
    assert (targets.dtype, int(targets.max()) < 10) == (torch.int64, True)


def test_a_file_is_found_beside_the_suite_and_in_the_working_folder(folder, monkeypatch):
    case = Case(workload="my-models.py:Net", input="3x8x8")
    assert isinstance(resolve(case.workload, (str(folder),)), UsersModule)
    monkeypatch.chdir(folder)
    assert isinstance(resolve(case.workload), UsersModule)
    assert isinstance(resolve(f"{folder}/my-models.py:Net"), UsersModule)
    with pytest.raises(UsageError, match=r"There is no file other\.py"):
        resolve("other.py:Net")


def test_torchscript_trains_as_an_instance(built):
    workload, step, _ = built("scripted", input="6")
    workload.reset_health()
    step()
    assert workload.health().parameters_moved
    assert sys.modules["users_models"].scripted is not workload.model


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_instance_may_be_of_another_type(built, precision):
    workload, step, _ = built("half", input="6", precision=precision)
    step()
    assert workload.probe()["parameter_dtype"] == {"fp32": "float32", "bf16": "bfloat16"}[precision]


def test_a_module_that_leaves_autocast_in_every_second_call_is_found_out(built):
    workload, _, _ = built("EverySecond", input="6", precision="amp-bf16")
    assert workload.probe()["autocast_dtype"] == "bfloat16+none"


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("Net", {}, "Net takes (images): gpubench needs the shape of one sample"),
        ("Net", {"input": "3x8x8+4"}, "takes (images), and was given 2 inputs"),
        ("Conditional", IMAGES, "takes (images, kinds, *, scale=1.0), and was given 1 input"),
        ("Conditional", {"input": "images=3x8x8"}, "and was given inputs named images"),
        ("Masked", {"input": "token=int50:6+mask=bool:6"}, "samples of token=6, mask=6: TypeError"),
        ("FromDict", {"input": "tokens=int50:6+extra=7"}, "samples of tokens=6, extra=7: RuntimeError"),
        ("Net", {"input": "4x8x8"}, "cannot take a batch of 2 samples of 4x8x8: RuntimeError"),
        ("Net", {"data": "digits", "image_size": 8}, "digits has 10 classes, and users_models:Net returns 5 classes"),
        ("Net", {**IMAGES, "params": {"wid": 3}}, "unexpected keyword argument 'wid'"),
        ("NeedsWidth", {"input": "6"}, "missing a required argument: 'width'"),
        ("wants", {"input": "6"}, "missing a required argument: 'a'"),
        ("regression", {"input": "6", "params": {"width": 3}}, "takes no `params`"),
        ("Nothing", IMAGES, "returned nothing: there is no tensor of floats in it"),
        ("Net", {**IMAGES, "loss": "output"}, "returned no loss"),
        ("Frozen", IMAGES, "has no parameters to train"),
        ("TimeFirst", {"input": "5x6"}, "returned 5x2x4 for a batch of 2: the first dimension must be the batch"),
        ("regression", {"input": "6", "loss": "cross-entropy"}, "cross-entropy needs several classes"),
        ("NoBuild", {}, "is a class without `build"),
        ("number", {}, "is a value of type int"),
        ("returns_nothing", {}, "returned nothing, not a module"),
        ("returns_class", {}, "returned a value of type type, not a module"),
        ("makes_text", {}, "returned a value of type str, not a module"),
        ("Nett", {}, "has no 'Nett'"),
        ("Language", {"input": "int50:6", "memory_format": "channels_last"}, "is a layout of images"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(folder, name, settings, said):
    found = why_unusable(Case(workload=f"users_models:{name}", **settings), (str(folder),))
    assert found is not None
    assert said in found[0]


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        (
            "NeedsWidth",
            "missing a required argument: 'width'",
            "It takes (width). Arguments are given as params: -s params.width=VALUE",
        ),
        ("wants", "missing a required argument: 'a'", "-s params.a=VALUE -s params.b=VALUE"),
        ("sys", "users_models:sys is the module sys", "Name an nn.Module"),
        ("Raises", f"ValueError: my own mistake (users_models.py, line {RAISED_AT})", "The module takes (images)"),
        ("Exits", "ended the process when it was called: sys.exit(3)", "Raise an exception"),
        ("NoForward", 'missing the required "forward" function', "Give the class a `forward`"),
        ("WantsGpu", "Found no NVIDIA driver", "without `.cuda()`"),
        ("Nothing", "returned nothing", "`forward` returns a tensor"),
    ],
)
def test_a_target_that_does_not_work_is_answered_with_what_to_do(folder, name, said, hint):
    found = why_unusable(
        Case(workload=f"users_models:{name}", input="6" if name == "NeedsWidth" else "3x8x8", mode="infer"),
        (str(folder),),
    )
    assert found is not None
    assert said in found[0]
    assert hint in found[1]


@pytest.mark.parametrize(
    ("code", "said", "hint"),
    [
        ("import notthere", "ModuleNotFoundError: No module named 'notthere' (broken0.py, line 1)", "Install notthere"),
        ("class Net(:", "SyntaxError: invalid syntax (broken1.py, line 1)", ""),
        ("\nraise OSError('no file')", "OSError: no file (broken2.py, line 2)", ""),
        ("input()", "EOFError", "__main__"),
    ],
)
def test_a_module_that_cannot_be_imported_is_answered_with_its_line(folder, monkeypatch, code, said, hint, request):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    name = f"broken{request.node.callspec.indices['code']}"
    (folder / f"{name}.py").write_text(code)
    found = why_unusable(Case(workload=f"{name}:Net", input="3"), (str(folder),))
    assert said in found[0]
    assert hint in found[1]


def test_a_module_that_ends_the_process_is_named(folder):
    said, hint = why_unusable(Case(workload="leaves:Net"), (str(folder),))
    assert "ended the process while it was imported: sys.exit('usage: leaves.py FILE')" in said
    assert "__main__" in hint


def test_a_module_without_parameters_can_be_measured_in_inference(built):
    _, step, _ = built("Frozen", mode="infer", **IMAGES)
    step()
    with pytest.raises(Unsupported, match="no parameters"):
        built("Frozen", **IMAGES)


def test_a_module_is_seen_as_it_computes(built):
    workload, _, _ = built("Language", input="int50:6", precision="amp-bf16")
    facts = workload.probe()
    assert facts["autocast_dtype"] == "bfloat16"
    assert facts["batch_size"] == 4
    assert dataclasses.is_dataclass(workload) is False
    assert isinstance(workload.model, nn.Module)
