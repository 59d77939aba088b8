"""Settings as people say them: a short title for each, and a word for each value."""

from collections.abc import Callable, Iterable
from typing import Any

from gpubench.suite.model.case import Case

TITLES = {
    "workload": "workload",
    "mode": "mode",
    "device": "device",
    "precision": "precision",
    "batch_size": "batch",
    "memory_format": "layout",
    "cudnn_enabled": "cuDNN on",
    "cudnn_benchmark": "cuDNN",
    "cudnn_deterministic": "determ.",
    "compile": "compile",
    "cuda_graph": "graph",
    "data": "data",
    "data_root": "data root",
    "data_path": "input",
    "num_workers": "workers",
    "image_size": "image",
    "num_classes": "classes",
    "optimizer": "optimizer",
    "fused": "fused",
    "learning_rate": "lr",
    "accumulate": "accumulate",
    "timing": "timing",
    "cpu_threads": "threads",
    "seed": "seed",
    "env": "env",
    "python": "python",
}

_NUMBERS = {
    "batch_size",
    "num_workers",
    "image_size",
    "num_classes",
    "learning_rate",
    "accumulate",
    "cpu_threads",
    "seed",
}

_WORDS: dict[str, Callable[[Any], str]] = {
    "memory_format": lambda value: "NHWC" if value == "channels_last" else "NCHW",
    "cudnn_benchmark": lambda value: "bench" if value else "heur.",
    "env": lambda value: " ".join(f"{name}={text}" for name, text in sorted(value.items())) or "-",
}


def title(name: str) -> str:
    """The column title of a setting."""
    return TITLES.get(name, name)


def is_number(name: str) -> bool:
    return name in _NUMBERS


def word(name: str, value: Any) -> str:
    """A value of the setting `name` in a table: `channels_last` is NHWC, a yes-or-no is `on` or `off`."""
    if name in _WORDS:
        return _WORDS[name](value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def varying(cases: Iterable[Case]) -> tuple[str, ...]:
    """Settings in which these cases differ, in the order of `Case`."""
    everything = list(cases)
    return tuple(name for name in Case.model_fields if len({repr(getattr(case, name)) for case in everything}) > 1)
