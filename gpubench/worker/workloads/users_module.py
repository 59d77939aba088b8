"""Makes a workload of the user's module: an nn.Module class, a function that returns one, or an instance."""

import copy
import inspect
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.suite.model.input_shape import Inputs, InputShape, parse_inputs
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.classifier.classifier import Classifier
from gpubench.worker.workloads.classifier.formats import Format, Samples, parts_of
from gpubench.worker.workloads.numerics import NUMERICS, own_dtype, real_parts
from gpubench.worker.workloads.supervised.batches import Cast, seeded
from gpubench.worker.workloads.supervised.steps import tensors_in
from gpubench.worker.workloads.supervised.undisturbed import FEW, of_few, undisturbed
from gpubench.worker.workloads.users_errors import raised, remedy


class Judged(NamedTuple):
    """How a module's output is judged: the loss, the shape of one sample's target, and the number of classes (None:
    floats).

    `last`: classes are the output's last dimension, as for tokens, instead of its second. `asked`: the suite names the
    loss.
    """

    loss: str
    target_shape: tuple[int, ...] = ()
    num_classes: int | None = None
    last: bool = False
    asked: bool = False


class SeveralInputs(nn.Module):
    """Adapts a module whose `forward` takes several arguments to one: a tuple, or a dict by name."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, samples: Samples) -> Any:
        return self.module(**samples) if isinstance(samples, dict) else self.module(*samples)


class UsersModule(Classifier):
    """`module:Net`, `file.py:Net`: all that the built-in models have, with inputs as in `case.input`.

    Without `case.loss`, outputs N x C and tokens N x L x C get cross-entropy with random classes; a scalar output, or
    an output with a `loss`, is the loss itself; anything else is compared with random targets (mse).
    """

    default_image_size = 224

    def __init__(self, name: str, target: Any) -> None:
        super().__init__()
        self.name, self._target = name, target
        self._judged: Judged | None = None
        self._spare: nn.Module | None = None

    def make_model(self, case: Case) -> nn.Module:
        """The module, called with `case.params` as keyword arguments. UsageError if that returns no module, or one that
        does not take the case's inputs.
        """
        spare, self._spare = self._spare, None
        # One that was called in its own dtype may keep tables of it, which a cast does not reach.
        if spare is None or own_dtype(spare) != NUMERICS[case.precision].weights:
            return self._taking(self._made(case), self._inputs_of(case))
        return spare

    def _taking(self, module: nn.Module, inputs: Inputs) -> nn.Module:
        """Leaves a module alone whose `forward` takes all inputs as one argument (a dict for named ones)."""
        if isinstance(inputs, InputShape):
            self._check_arguments(module, 1, {})
            return module
        if isinstance(inputs, tuple):
            self._check_arguments(module, len(inputs), {})
        elif not _binds(module, 0, inputs) and _binds(module, 1, {}):
            return module
        else:
            self._check_arguments(module, 0, inputs)
        return SeveralInputs(module)

    def _check_arguments(self, module: nn.Module, num: int, names: Mapping[str, Any]) -> None:
        if not _binds(module, num, names):
            given = f"inputs named {', '.join(names)}" if names else f"{num} input{'' if num == 1 else 's'}"
            raise UsageError(
                f"{self.name} takes {_arguments_of(module)}, and was given {given}.",
                hint="Give --input once for each argument of `forward`, in order or by name: "
                "--input tokens=int30000:128 --input mask=bool:128; in a suite "
                "`input: tokens=int30000:128+mask=bool:128`.",
            )

    def _made(self, case: Case) -> nn.Module:
        if isinstance(self._target, nn.Module):
            if case.params:
                raise UsageError(f"{self.name} is a module instance, so it takes no `params`.", hint="Name its class.")
            return _copied(self._target)
        made = called(self.name, self._target, case.params)
        if not isinstance(made, nn.Module):
            raise UsageError(f"{self.name} returned {_kind(made)}, not an nn.Module.")
        return made

    def input_format(self, case: Case) -> Format:
        """The shapes of a batch. UsageError if no input is named, or the module cannot take it."""
        inputs = self._inputs_of(case)
        if case.memory_format == "channels_last" and not any(len(part.shape) == 3 for part in parts_of(inputs)):
            raise Unsupported(f"channels_last is a layout of images, and a sample of {case.input} is not an image")
        self._judged = self._judged or self._judge(case, Format(inputs, None))
        if case.data != "synthetic":
            self._check_classes(case, self._judged)
        return Format(inputs, self._judged.num_classes, self._judged.target_shape)

    def _check_classes(self, case: Case, judged: Judged) -> None:
        num_classes = super().num_classes(case.model_copy(update={"num_classes": None}))
        if judged.num_classes is None or judged.target_shape or judged.num_classes < num_classes:
            got = "no classes" if judged.num_classes is None or judged.target_shape else f"{judged.num_classes} classes"
            raise UsageError(f"{case.data} has {num_classes} classes, and {self.name} returns {got}.")

    def _inputs_of(self, case: Case) -> Inputs:
        if case.input is not None and case.data == "synthetic":
            return parse_inputs(case.input)
        if case.image_size is not None or case.data != "synthetic":
            size = self.image_size(case)
            return InputShape(None, (3, size, size))
        raise UsageError(
            f"{self.name} takes {_arguments_of(self._made(case))}: gpubench needs the shape of one sample.",
            hint="Give it as --input 3x224x224 (an image), --input 128 (numbers) or --input int30000:128 (token ids "
            "below 30 000), once for each argument of `forward`; in a suite as `input`.",
        )

    def _judge(self, case: Case, sizes: Format) -> Judged:
        """Decides from one forward of a few samples on the CPU."""
        torch.manual_seed(case.seed)
        model = self._spare = self._taking(self._made(case), sizes.inputs)
        if case.mode == "train" and not any(parameter.requires_grad for parameter in model.parameters()):
            raise Unsupported(f"{self.name} has no parameters to train; measure it with -s mode=infer")
        cast, was_training = Cast(own_dtype(model), torch.contiguous_format), model.training

        def output_of(num_samples: int) -> tuple[Any, int]:
            samples = cast(sizes.random(num_samples, seeded(case.seed))[0])
            with torch.no_grad(), undisturbed(model):
                return model.eval()(samples), num_samples

        try:
            output, num_samples = of_few(case, output_of)
        except Exception as error:
            raise UsageError(
                f"{self.name} cannot take a batch of {FEW} samples of {_shown_inputs(sizes.inputs)}: {raised(error)}",
                hint=remedy(error)
                or "Is the shape of one sample right (--input)? It has no batch dimension. "
                f"The module takes {_arguments_of(_inner(model))}.",
            ) from error
        model.train(was_training)
        own = own_loss(output)
        if case.loss == "output" or (case.loss is None and own is not None):
            if own is None:
                raise UsageError(f"{self.name} returned no loss, which `loss: output` asks for.")
            return Judged("output")
        shape = tuple(self.logits(output).shape)
        if not shape or shape[0] != num_samples:
            raise UsageError(
                f"{self.name} returned {_shown(shape)} for a batch of {num_samples}: the first dimension must be the "
                "batch."
            )
        is_text = any(part.below is not None and part.shape for part in parts_of(sizes.inputs))
        if case.loss is None and self._computed(output).is_complex():
            return Judged("mse", shape[1:])
        return self._by_shape(case, shape[1:], is_text=is_text)._replace(asked=case.loss is not None)

    def _by_shape(self, case: Case, shape: tuple[int, ...], *, is_text: bool) -> Judged:
        last = is_text and len(shape) == 2
        if case.loss == "mse" or (case.loss is None and not last and (len(shape) != 1 or shape[0] < 2)):
            return Judged("mse", shape)
        if not shape or (shape[-1] if last else shape[0]) < 2:
            raise UsageError(f"{self.name} returned {_shown(shape)} per sample: cross-entropy needs several classes.")
        if last:
            return Judged("cross-entropy", shape[:-1], shape[-1], last=True)
        return Judged("cross-entropy", shape[1:], shape[0])

    def loss(self, output: Any, targets: torch.Tensor) -> torch.Tensor:
        """The loss that `case.loss` names, that the model computes itself, or that fits the output's shape."""
        judged, own = self._judged or Judged("cross-entropy"), own_loss(output)
        if judged.loss == "output" and own is None:
            raise UsageError(f"{self.name} returned no loss in training mode, as it did in evaluation mode.")
        if own is not None and not judged.asked:  # some return it in training mode only
            return own
        logits = self.logits(output)
        if judged.loss == "mse":
            return nn.functional.mse_loss(logits, targets.to(logits.dtype))
        if judged.last:
            logits, targets = logits.flatten(0, -2), targets.flatten()
        return nn.functional.cross_entropy(logits, targets)

    def logits(self, output: Any) -> torch.Tensor:
        """The output itself, its `logits`, or its first tensor of floats; of complex numbers, their two parts."""
        return real_parts(self._computed(output))

    def _computed(self, output: Any) -> torch.Tensor:
        named = _member(output, "logits")
        tensors = [named] if isinstance(named, torch.Tensor) else tensors_in(output)
        floats = next((each for each in tensors if each.is_floating_point() or each.is_complex()), None)
        if floats is None:
            raise UsageError(
                f"{self.name} returned {_kind(output)}: there is no tensor of floats in it.",
                hint="`forward` returns a tensor, or a dict, tuple or object that holds one.",
            )
        return floats


def _inner(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, SeveralInputs) else module


def _signature(module: nn.Module) -> inspect.Signature | None:
    """The signature of `forward` without annotations; None if it has none, or only passes its arguments on."""
    try:
        signature = inspect.signature(module.forward)
    except (TypeError, ValueError):
        return None
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)


def _arguments_of(module: nn.Module) -> str:
    return str(_signature(module) or "arguments that it does not name")


def _binds(module: nn.Module, num: int, names: Mapping[str, Any]) -> bool:
    """Whether `forward` accepts `num` positional arguments and the named ones."""
    signature = _signature(module)
    try:
        return signature is None or signature.bind(*[None] * num, **names) is not None
    except TypeError:
        return False


def _copied(module: nn.Module) -> nn.Module:
    if not isinstance(module, torch.jit.ScriptModule):
        return copy.deepcopy(module)
    buffer = io.BytesIO()  # a deep copy of TorchScript has parameters that cannot be trained
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
        torch.jit.save(module, buffer)
        buffer.seek(0)
        loaded: nn.Module = torch.jit.load(buffer)  # type: ignore[no-untyped-call]
    return loaded


def own_loss(output: Any) -> torch.Tensor | None:
    """The loss that a model computes itself: a scalar output, or the output's `loss`."""
    named = _member(output, "loss")
    for found in (output, named):
        if isinstance(found, torch.Tensor) and found.ndim == 0 and found.is_floating_point():
            return found
    return None


def called(name: str, target: Callable[..., Any], params: Mapping[str, Any]) -> Any:
    """Calls `target` with these keyword arguments. UsageError if it does not accept them."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # built-in callables have no signature
        signature = None
    if signature is not None:
        try:
            signature.bind(**params)
        except TypeError as error:
            raise UsageError(
                f"{name} cannot be called: {error}.",
                hint=f"It takes {signature}. Arguments are given as params: {_as_params(signature, params)}.",
            ) from error
    return target(**params)


def _as_params(signature: inspect.Signature, given: Mapping[str, Any]) -> str:
    """`-s` options for the required arguments that were not given."""
    needed = [
        name
        for name, one in signature.parameters.items()
        if one.default is one.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and name not in given
    ]
    return " ".join(f"-s params.{name}=VALUE" for name in needed or ["NAME"])


def _member(output: Any, name: str) -> Any:
    if isinstance(output, torch.Tensor):
        return None
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _shown_inputs(inputs: Inputs) -> str:
    if isinstance(inputs, dict):
        return ", ".join(f"{name}={_shown(part.shape)}" for name, part in inputs.items())
    return " and ".join(_shown(part.shape) for part in parts_of(inputs))


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
