"""Builds, steps and judges combinations of settings in this process, on whatever CUDA is here: `python combinations.py GROUP`.

Prints a JSON object: how many ran, why others are unsupported, and what went wrong by case.
"""

import collections
import itertools
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker import effective_settings
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.registry import resolve

LAYOUTS, MODES, SWITCH = ("contiguous", "channels_last"), ("train", "infer"), (False, True)


def _product(**values: Any) -> Iterator[dict[str, Any]]:
    for chosen in itertools.product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def classifiers() -> Iterator[dict[str, Any]]:
    """Precision, layout, graph and mode of both built-in networks."""
    yield from _product(
        workload=("cnn", "resnet9"), precision=tuple(PRECISIONS), memory_format=LAYOUTS, cuda_graph=SWITCH, mode=MODES
    )


def training() -> Iterator[dict[str, Any]]:
    """Optimizer, accumulation and data path."""
    yield from _product(
        workload=("cnn",),
        data=("digits",),
        precision=("fp32", "amp-fp16", "fp16", "bf16"),
        optimizer=("sgd", "adam", "adamw"),
        fused=SWITCH,
        cuda_graph=SWITCH,
        accumulate=(1, 3),
        data_path=("resident", "pinned", "pageable", "loader"),
    )
    yield from _product(workload=("cnn",), data_path=("loader",), num_workers=(2,), cuda_graph=SWITCH)


def operators() -> Iterator[dict[str, Any]]:
    for workload, shape in (("matmul", "256"), ("conv2d", None), ("copy", "16MiB"), ("launch", None)):
        named = {"workload": f"operators:{workload}", **({"shape": shape} if shape else {})}
        for case in _product(mode=MODES, precision=tuple(PRECISIONS), cuda_graph=SWITCH):
            yield named | case
    for mix in ("read", "write", "triad"):
        yield {"workload": f"operators:{mix}", "mode": "infer", "shape": "16MiB"}
    for data_path in ("pinned", "pageable"):
        yield {"workload": "operators:copy", "mode": "infer", "shape": "16MiB", "data_path": data_path}


def models() -> Iterator[dict[str, Any]]:
    """A graphed training step of every kind of torchvision's classifiers but ViT, whose attention asks cuDNN for a plan
    that the fake does not have.
    """
    names = (
        "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 "
        "mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d "
        "shufflenet_v2_x0_5 squeezenet1_0 swin_t vgg11 wide_resnet50_2"
    )
    for name in names.split():
        size = 299 if name == "inception_v3" else 224
        yield {"workload": f"torchvision:{name}", "precision": "amp-bf16", "cuda_graph": True, "image_size": size}


def compiled() -> Iterator[dict[str, Any]]:
    for mode, precision, compile_mode in (
        ("train", "amp-bf16", "default"),
        ("infer", "tf32", "default"),
        ("train", "amp-bf16", "reduce-overhead"),
        ("infer", "fp16", "reduce-overhead"),
    ):
        yield {"workload": "cnn", "mode": mode, "precision": precision, "compile": compile_mode}
    for mode in MODES:
        yield {
            "workload": "resnet9",
            "mode": mode,
            "compile": "default",
            "cuda_graph": True,
            "memory_format": LAYOUTS[1],
        }


GROUPS = {each.__name__: each for each in (classifiers, training, operators, models, compiled)}


def run(settings: dict[str, Any]) -> None:
    """In the worker's order. Raises what goes wrong."""
    case = Case(**{"device": "cuda", "batch_size": 8, **settings})
    effective_settings.prepare(case, torch)
    workload = resolve(case.workload)
    step = workload.build(case, case.device)
    for judge in ("probe", "reset_health", "health"):
        for _ in range(3):
            step()
        torch.cuda.synchronize()
        getattr(workload, judge, lambda: None)()
    getattr(workload, "close", lambda: None)()


def main(group: str) -> None:
    warnings.simplefilter("ignore")
    outcomes: collections.Counter[str] = collections.Counter()
    wrong: dict[str, str] = {}
    log = Path(os.environ.get("FAKE_CUDA_LOG") or tempfile.mkstemp()[1])
    for settings in GROUPS[group]():
        before = log.stat().st_size if log.exists() else 0
        try:
            run(settings)
        except Unsupported as error:
            outcomes[f"unsupported: {error}"] += 1
            continue
        except Exception as error:
            wrong[str(settings)] = traceback.format_exception(error)[-1].strip()
            continue
        outcomes["ran"] += 1
        if log.exists() and (complaints := log.read_bytes()[before:].decode()):
            wrong[str(settings)] = complaints
    json.dump({"outcomes": outcomes, "wrong": wrong}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(sys.argv[1])
