"""Short names of cases, made of what tells them apart."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from gpubench.suite.model.case import Case

_LONGEST_WORD = 40
_QUIET = (
    "cudnn_enabled",
    "cudnn_deterministic",
    "compile",
    "cuda_graph",
    "data_root",
    "num_workers",
    "num_classes",
    "fused",
    "accumulate",
    "cpu_threads",
    "env",
    "python",
)
"""Settings that are named only where they are not at their default."""


def label_cases(cases: Sequence[Case]) -> tuple[str, ...]:
    """A label for each case: the settings in which these cases differ, in the order of `Case`, in as few words as
    possible.

    `train cpu amp-bf16 b64 NHWC`. What is off by default (compile, a CUDA graph, environment variables) is named where
    it is on. No two labels are equal. A case that nothing tells from others gets what it is.
    """
    names = [name for name in Case.model_fields if len({repr(getattr(case, name)) for case in cases}) > 1]
    names = names or ["workload", "mode", "device", "precision", "batch_size"]
    labels = [_label(case, names) for case in cases]
    return _unique(_unique(labels, [str(case.case_id) for case in cases]), [f"#{at + 1}" for at in range(len(cases))])


def _label(case: Case, names: Sequence[str]) -> str:
    values = {name: getattr(case, name) for name in names}
    defaults = {name: Case.model_fields[name].get_default(call_default_factory=True) for name in names}
    spoken = [name for name in names if name not in _QUIET or values[name] != defaults[name]]
    return " ".join(short_word(name, values[name]) for name in spoken or names)


def short_word(name: str, value: Any) -> str:
    """A setting's value in a label: `b64`, `NHWC`, `bench`, `compile=default`."""
    text = _WORDS[name](value) if name in _WORDS else str(value)
    if len(text) <= _LONGEST_WORD:
        return text
    half = (_LONGEST_WORD - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def _unique(labels: Sequence[str], endings: Sequence[str]) -> tuple[str, ...]:
    """Labels that several cases share get an ending."""
    counts = Counter(labels)
    return tuple(
        label if counts[label] == 1 else f"{label} {ending}" for label, ending in zip(labels, endings, strict=True)
    )


def _either(on: str, off: str) -> Callable[[Any], str]:
    return lambda value: on if value else off


def _named(name: str) -> Callable[[Any], str]:
    return lambda value: f"{name}=default" if value is None else f"{name}={value}"


def _variables(env: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(env.items())) or "env=default"


_WORDS: dict[str, Callable[[Any], str]] = {
    "batch_size": lambda value: f"b{value}",
    "memory_format": lambda value: "NHWC" if value == "channels_last" else "NCHW",
    "cudnn_enabled": _either("cudnn", "no-cudnn"),
    "cudnn_benchmark": _either("bench", "heur."),
    "cudnn_deterministic": _either("determ.", "any-algo"),
    "compile": _named("compile"),
    "cuda_graph": _either("graph", "no-graph"),
    "data_root": _named("root"),
    "num_workers": lambda value: f"w{value}",
    "image_size": lambda value: "own-px" if value is None else f"{value}px",
    "num_classes": _named("classes"),
    "fused": _either("fused", "unfused"),
    "learning_rate": lambda value: f"lr={value:g}",
    "accumulate": lambda value: f"acc{value}",
    "cpu_threads": _named("threads"),
    "seed": lambda value: f"seed{value}",
    "env": _variables,
    "python": _named("python"),
}
