"""Forwards of a few samples that leave no trace in the model."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from gpubench.suite.model.case import Case

FEW = 2
_MOST = 256
_OF_ANY_MODULE = frozenset(vars(nn.Module()))

Found = TypeVar("Found")


@contextmanager
def undisturbed(model: nn.Module, *, buffers_only: bool = False) -> Iterator[None]:
    """Puts back what a forward changes in the model's buffers and in the attributes of its modules: a carried state has
    the shape of the batch that left it.

    What a forward adds (a layer, a table) stays. Layers without sizes are left alone, and so are the attributes of
    TorchScript's modules.
    """
    contents = [(buffer, buffer.detach().clone()) for buffer in model.buffers() if not is_lazy(buffer)]
    held = [(module, dict(module._buffers), _attributes(module)) for module in _plain_modules(model)]  # noqa: SLF001
    try:
        yield
    finally:
        for module, buffers, attributes in held:
            _put_back(module._buffers, buffers)  # noqa: SLF001
            if not buffers_only:
                _put_back(vars(module), {name: value for name, (value, _) in attributes.items()})
                for value, content in attributes.values():
                    if isinstance(value, list):
                        value[:] = content
                    elif isinstance(value, dict):
                        value.clear()
                        value.update(content)
        for buffer, content in contents:
            with torch.no_grad(), torch.inference_mode(buffer.is_inference()):
                buffer.copy_(content)


def of_few(case: Case, work: Callable[[int], Found], *, most: int = _MOST) -> Found:
    """`work(2)`; if a model refuses so few samples, `work` of the case's batch, unless that is larger than `most`.
    Raises as the first attempt did if none works.
    """
    try:
        return work(FEW)
    except Exception as error:
        if case.batch_size == "max" or not FEW < case.batch <= most:
            raise
        try:
            return work(case.batch)
        except Exception:  # noqa: BLE001 - few samples were not the reason
            raise error from None


def _plain_modules(model: nn.Module) -> Iterator[nn.Module]:
    for module in model.modules():
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if not isinstance(module, torch.jit.ScriptModule) and not any(map(is_lazy, own)):
            yield module


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """The module's own attributes, and what those hold that are lists or dicts."""
    return {
        name: (value, copy.copy(value) if isinstance(value, list | dict) else None)
        for name, value in vars(module).items()
        if name not in _OF_ANY_MODULE
    }


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    now.update({name: before[name] for name in before.keys() & now.keys()})
