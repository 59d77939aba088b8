"""What `workload:` may name. A built-in workload is one entry here and its own file in the worker."""

from typing import NamedTuple

_WORKER = "gpubench.worker.workloads"


class BuiltIn(NamedTuple):
    """`made_by`: the class (`module:Class`) that the worker imports; `what` a step is."""

    made_by: str
    what: str


BUILT_IN = {
    "cnn": BuiltIn(
        f"{_WORKER}.cnn:CNN",
        "The reference CNN: two 3x3 convolutions with ReLU and max-pooling, one fully connected layer.",
    ),
    "resnet9": BuiltIn(
        f"{_WORKER}.resnet9:CifarNet",
        "A small residual network for 32 px, with a published recipe for 94 % on CIFAR-10 (quality stage).",
    ),
}
"""Workloads with a bare name."""

OPERATORS = {
    "matmul": f"{_WORKER}.operators.arithmetic:Matmul",
    "conv2d": f"{_WORKER}.operators.arithmetic:Conv2d",
    "copy": f"{_WORKER}.operators.movement:Copy",
    "launch": f"{_WORKER}.operators.movement:EmptyLaunch",
}
"""What `operators:<operator>` may name, each with the class that the worker imports."""

FAMILIES = {
    "torchvision:<model>": "Any classification model of torchvision by its name (resnet18, resnet50, "
    "mobilenet_v3_large, ...), random weights.",
    "operators:<operator>": "One operator alone: matmul, conv2d, copy or launch, with its sizes in `shape`; "
    "the measured ceilings come from these.",
    "<module>:<Class>": "Your own: a class with build(case, device) that returns a callable doing one step, on the "
    "Python path or beside the suite file.",
}

EXAMPLES = (*BUILT_IN, *FAMILIES)


def is_users(workload: str) -> bool:
    """Whether it is a class in a file of the user: `module:Class`."""
    kind, colon, _ = workload.partition(":")
    return bool(colon) and kind not in ("torchvision", "operators")
