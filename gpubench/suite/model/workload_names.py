"""What `workload:` may name. A built-in workload is one entry here and one file in the worker."""

import os
from collections.abc import Collection, Iterable, Sequence
from importlib.machinery import all_suffixes
from importlib.util import find_spec
from pathlib import Path
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
    "read": f"{_WORKER}.operators.movement:Read",
    "write": f"{_WORKER}.operators.movement:Write",
    "triad": f"{_WORKER}.operators.movement:Triad",
    "launch": f"{_WORKER}.operators.movement:EmptyLaunch",
}
"""What `operators:<operator>` may name, each with the class that the worker imports."""

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_to_all", "send_recv")
"""What `collectives:<name>` may name."""

LINK = "link"
"""Name in `params` of the speed of the link between ranks, a size per second."""


class ModelLibrary(NamedTuple):
    """Models of another package by their names. `extra` of gpubench brings the package, if it is not always there."""

    made_by: str
    package: str
    example: str
    extra: str | None = None


LIBRARIES = {
    "torchvision": ModelLibrary(f"{_WORKER}.torchvision_cnn:TorchvisionCNN", "torchvision", "resnet18"),
    "torchvision-detection": ModelLibrary(
        f"{_WORKER}.by_name.torchvision_detection:TorchvisionDetector", "torchvision", "retinanet_resnet50_fpn"
    ),
    "torchvision-segmentation": ModelLibrary(
        f"{_WORKER}.by_name.torchvision_segmentation:TorchvisionSegmentation", "torchvision", "fcn_resnet50"
    ),
    "timm": ModelLibrary(f"{_WORKER}.by_name.timm_models:TimmModel", "timm", "convnext_tiny", "vision"),
    "hf": ModelLibrary(
        f"{_WORKER}.by_name.transformers_models:TransformersModel", "transformers", "bert@masked-lm", "text"
    ),
}
"""What may stand before `:<model>`."""


def missing_extra(workload: str) -> str | None:
    """Why a library's models cannot be made by this interpreter, and the command that helps; None if they can."""
    library = LIBRARIES.get(workload.partition(":")[0]) if ":" in workload else None
    if library is None or library.extra is None or find_spec(library.package) is not None:
        return None
    return f"{library.package} is not installed: pip install 'gpubench[{library.extra}]'"


def missing_compressor(compress: str) -> str | None:
    """Why this interpreter cannot compress a model so, and the command that helps; None if it can."""
    if not compress.startswith("int8") or find_spec("torchao") is not None:
        return None
    return "torchao is not installed: pip install 'gpubench[compression]'"


TASKS = {
    "vision": {
        "segmentation": f"{_WORKER}.vision.segmentation:Segmentation",
        "detection": f"{_WORKER}.vision.detection:Detection",
        "embedding": f"{_WORKER}.vision.embedding:Verification",
    },
    "speech": {
        "commands": f"{_WORKER}.speech.commands:SpeechCommands",
        "recognition": f"{_WORKER}.speech.recognition:SpeechRecognition",
    },
    "text": {
        "translation": f"{_WORKER}.text.translation:Translation",
        "classification": f"{_WORKER}.text.classification:TextClassification",
    },
    "multimodal": {"fusion": f"{_WORKER}.multimodal.fusion:Fusion"},
}
"""What `vision:<task>` and its like may name, each with the class that the worker imports."""

BY_NAME = {
    "operators": tuple(OPERATORS),
    "collectives": COLLECTIVES,
    **{kind: tuple(tasks) for kind, tasks in TASKS.items()},
}
"""Families whose names are all known here."""

FAMILIES = {
    "torchvision:<model>": "Any classification model of torchvision by its name (resnet18, resnet50, "
    "mobilenet_v3_large, ...), random weights.",
    "torchvision-detection:<model>": "Any of torchvision's detectors (retinanet_resnet50_fpn, fasterrcnn_resnet50_fpn, "
    "ssdlite320_mobilenet_v3_large, ...), random weights.",
    "torchvision-segmentation:<model>": "Any of torchvision's segmentation models (fcn_resnet50, deeplabv3_resnet50, "
    "lraspp_mobilenet_v3_large, ...), random weights.",
    "timm:<model>": "Any image classifier of timm by its name (convnext_tiny, efficientnet_b0, ...), random weights; "
    "needs gpubench[vision].",
    "hf:<architecture>@<task>": "Any architecture of transformers for a task (bert@masked-lm, t5@seq2seq-lm, "
    "wav2vec2@ctc, ...), random weights, nothing downloaded; or hf:<config.json>@<task>; needs gpubench[text].",
    "operators:<operator>": "One operator alone: matmul, conv2d, copy, read, write, triad or launch, with its sizes in "
    "`shape`; the measured ceilings come from these.",
    "collectives:<name>": "What ranks tell each other: all_reduce, all_gather, reduce_scatter, broadcast, all_to_all "
    "or send_recv, with messages of `shape` bytes; needs `world_size` (docs/scaling.md).",
    "vision:<task>": "segmentation (U-Net), detection (RetinaNet) or embedding (verification), on real digits.",
    "speech:<task>": "commands (GRU) or recognition (GRU with CTC), on words that espeak-ng says.",
    "text:<task>": "translation or classification (Transformers), on this machine's gettext catalogues.",
    "multimodal:<task>": "fusion: a digit that is written and said.",
    "<module>:<Name>": "Your own, on the Python path or beside the suite file (or <file.py>:<Name>): an nn.Module "
    "class, a function that returns a module, or a class with build(case, device).",
}

EXAMPLES = (*BUILT_IN, *FAMILIES)


def first_on_the_path(search_path: Iterable[str]) -> list[str]:
    """The folders that a worker imports from first: the suite's, then PYTHONPATH."""
    return [*search_path, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def modules_beside(search_path: Iterable[str]) -> dict[str, Path]:
    """Modules and packages in these folders, and the file that importing each would run; the first folder wins."""
    found: dict[str, Path] = {}
    for folder in map(Path, search_path):
        files = [*folder.glob("*/__init__.py"), *(each for end in all_suffixes() for each in folder.glob(f"*{end}"))]
        for file in files:  # a package wins over a module of the same name
            name = file.parent.name if file.name == "__init__.py" else file.name.partition(".")[0]
            found.setdefault(name, file)
    return {name: found[name] for name in sorted(found) if name.isidentifier()}


def module_names(files: Collection[Path]) -> set[str]:
    """The names under which `files` are imported: modules and packages that are not inside another package of
    `files`.
    """
    names = {}
    for file in files:
        module = file.parent if file.name == "__init__.py" else file
        if file.name.endswith(tuple(all_suffixes())) and module.parent / "__init__.py" not in files:
            names[file] = module.name.partition(".")[0]
    return set(names.values())


def is_users(workload: str) -> bool:
    """Whether it is the user's own: `module:Name` or `file.py:Name`."""
    kind, colon, _ = workload.partition(":")
    return bool(colon) and kind not in (*LIBRARIES, *BY_NAME)


def find_file(name: str, folders: Sequence[str]) -> Path | None:
    """The file that `file.py:Name` names, in one of the folders or the working folder."""
    places = (Path(folder, name) for folder in (*folders, "."))
    return next((place.absolute() for place in places if place.is_file()), None)
