"""Short names of cases, made of what tells them apart."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.model.settings import default

_LONGEST_WORD = 40


def label_cases(cases: Sequence[Case]) -> tuple[str, ...]:
    """A label for each case: the settings in which these cases differ, in the order of `Case`, in as few words as
    possible.

    `train cpu amp-bf16 b64 NHWC`. What is off by default (compile, a CUDA graph, environment variables) is named where
    it is on. No two labels are equal. A single case is named by workload, mode, device,
    precision and batch size.
    """
    names = [name for name in Case.model_fields if len({repr(getattr(case, name)) for case in cases}) > 1]
    names = names or ["workload", "mode", "device", "precision", "batch_size"]
    labels = [_label(case, names) for case in cases]
    return _unique(_unique(labels, [str(case.case_id) for case in cases]), [f"#{at + 1}" for at in range(len(cases))])


def _label(case: Case, names: Sequence[str]) -> str:
    values = {name: getattr(case, name) for name in names}
    spoken = [name for name in names if not SPECS[name].quiet or values[name] != default(name)]
    return " ".join(short_word(name, values[name]) for name in spoken or names)


def short_word(name: str, value: Any) -> str:
    """A setting's value in a label: `b64`, `NHWC`, `bench`, `compile=default`."""
    text = SPECS[name].label(value)
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
