"""Compresses a model before it runs: int8 weights (torchao) or pruned ones (torch.nn.utils.prune).

int8 applies to linear layers only, as torchao quantises convolutions only with a calibration. Pruning applies to linear
layers and convolutions. What took effect is read from the weights and from the operators of a pass.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import Unsupported, need

PRUNED_SHARE = 0.5
_TOLERANCE = 0.01
_PRUNED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LEAST_ROWS = 16
"""Layers with fewer outputs stay dense, because the tiles of 2:4 kernels are larger."""


def refuse(case: Case) -> None:
    """Unsupported or Missing if the case's compression cannot be measured here."""
    if case.compress == "none":
        return
    if case.mode == "train":
        raise Unsupported("a compressed model is measured in inference; the quality stage trains it first")
    if case.world_size > 1:
        raise Unsupported("compressed models of several ranks are not measured yet")
    if case.compress == "sparse-2to4" and (case.device_type != "cuda" or case.precision not in ("fp16", "bf16")):
        raise Unsupported("2:4 kernels need a CUDA device and weights in fp16 or bf16")
    if case.compress.startswith("int8"):
        need("compression", "torchao")


def compress(model: nn.Module, kind: str) -> None:
    """Changes the model in place. Unsupported if no layer can be compressed."""
    layers = [each for each in model.modules() if isinstance(each, nn.Linear if kind != "prune-50" else _PRUNED)]
    if kind == "int8-dynamic":
        layers = [each for each in layers if _multiplies_int8(each.weight)]
    if not layers:
        raise Unsupported(f"the model has no layer that `compress: {kind}` changes")
    if kind.startswith("int8"):
        quantisation = _torchao()
        chosen = "Int8WeightOnlyConfig" if kind == "int8-weight" else "Int8DynamicActivationInt8WeightConfig"
        quantisation.quantize_(model, getattr(quantisation, chosen)(), filter_fn=lambda each, _: each in layers)
        return
    pruned = masks(model, kind)
    hold(pruned)
    if kind == "sparse-2to4":
        from torch.sparse import to_sparse_semi_structured

        for layer in pruned:
            layer.weight = nn.Parameter(to_sparse_semi_structured(layer.weight.detach()), requires_grad=False)


def _torchao() -> Any:
    """Imports torchao without torch's log warnings about it, which say nothing about the workload."""
    log = logging.getLogger("torch.utils._pytree")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return import_module("torchao.quantization")
    finally:
        log.setLevel(level)


def masks(model: nn.Module, kind: str) -> dict[Any, torch.Tensor]:
    """Per layer, 1 for weights to keep and 0 for those to prune: the smaller half of each layer, or of every four."""
    found: dict[Any, torch.Tensor] = {}
    for layer in model.modules():
        if kind == "prune-50" and isinstance(layer, _PRUNED):
            from torch.nn.utils import prune

            weight = layer.weight.detach()
            smallest: Any = prune.L1Unstructured(PRUNED_SHARE)
            found[layer] = smallest.compute_mask(weight, torch.ones_like(weight))
        elif kind == "sparse-2to4" and isinstance(layer, nn.Linear) and _fits_2to4(layer.weight):
            fours = layer.weight.detach().abs().reshape(-1, 4)
            kept = torch.zeros_like(fours).scatter_(1, fours.topk(2, dim=1).indices, 1)
            found[layer] = kept.reshape(layer.weight.shape)
    return found


def hold(pruned: Mapping[Any, torch.Tensor]) -> None:
    """Sets the pruned weights to 0."""
    for layer, mask in pruned.items():
        layer.weight.data.mul_(mask)


def _multiplies_int8(weight: torch.Tensor) -> bool:
    """For other sizes torchao copies to the CPU and multiplies there (`safe_int_mm`, because of cuBLAS)."""
    return weight.device.type != "cuda" or not any(size % 8 for size in weight.shape)


def _fits_2to4(weight: torch.Tensor) -> bool:
    return weight.shape[1] % 64 == 0 and weight.shape[0] % _LEAST_ROWS == 0


def plain(weight: torch.Tensor) -> torch.Tensor:
    """The values of a compressed weight as an ordinary tensor."""
    own: Callable[[], torch.Tensor] | None = getattr(weight, "dequantize", None) if _is_int8(weight) else None
    if own is not None:
        return own()
    return weight.to_dense() if _is_2to4(weight) else weight


def facts(model: nn.Module, seen: dict[str, Any]) -> dict[str, Any]:
    """`compress`: the compression that the weights and the operators of a pass (`seen`, from `watched_steps.observe`)
    show. `compressed`: number of compressed layers, their share of all weights, and the bytes of the model's tensors.
    """
    layers = [each for each in model.modules() if isinstance(each, _PRUNED)]
    kinds = {id(each): _kind(each.weight) for each in layers}
    if any(kind == "prune-50" for kind in kinds.values()) and not all(kind == "prune-50" for kind in kinds.values()):
        kinds = {key: kind if kind != "prune-50" else "none" for key, kind in kinds.items()}  # the zeros are accidental
    changed = [each for each in layers if kinds[id(each)] != "none"]
    named = {kinds[id(each)] for each in changed}
    kind = named.pop() if len(named) == 1 else "+".join(sorted(named)) or "none"
    if kind == "int8-weight" and any("int8" in each for each in seen["extra"]["product_dtypes"]):
        kind = "int8-dynamic"
    total = sum(parameter.numel() for parameter in model.parameters())
    return {
        "compress": kind,
        "compressed": {
            "layers": len(changed),
            "layer_types": dict(Counter(type(each).__name__ for each in changed)),
            "share_of_weights": sum(each.weight.numel() for each in changed) / max(1, total),
            "model_bytes": stored_bytes(model),
        },
    }


def _kind(weight: torch.Tensor) -> str:
    if _is_int8(weight):
        return "int8-weight"
    if _is_2to4(weight):
        return "sparse-2to4"
    zeros = float((weight.detach() == 0).double().mean())
    rounding = max(_TOLERANCE, 1 / max(1, weight.numel()))
    return "prune-50" if abs(zeros - PRUNED_SHARE) <= rounding else "none"


def _is_int8(weight: torch.Tensor) -> bool:
    data = getattr(weight, "qdata", None)
    return isinstance(data, torch.Tensor) and data.dtype is torch.int8


def _is_2to4(weight: torch.Tensor) -> bool:
    return type(weight).__name__.startswith("SparseSemiStructured")


def stored_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers on this rank; a compressed weight counts with its parts."""
    return sum(_bytes(tensor) for tensor in (*model.parameters(), *model.buffers()))


def _bytes(tensor: torch.Tensor) -> int:
    names, _ = tensor.__tensor_flatten__() if hasattr(tensor, "__tensor_flatten__") else ((), None)
    parts = [part for name in names if isinstance(part := getattr(tensor, name), torch.Tensor)]
    return sum(map(_bytes, parts)) if parts else tensor.numel() * tensor.itemsize


def without_integers(seen: dict[str, Any]) -> dict[str, Any]:
    """`seen` with the dtype of everything but int8 products: the case's precision."""
    computed = set((seen["compute_dtype"] or "").split("+")) - {"int8", "uint8", "int32", ""}
    others = {name for name in seen["extra"]["other_dtypes"] if "int" not in name}
    return {**seen, "compute_dtype": "+".join(sorted(computed or others)) or None}
