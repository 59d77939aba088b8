"""How good a trained model is, and what a batch holds, in the words of the task."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

_NONE: Mapping[str, float] = MappingProxyType({})


class Score(NamedTuple):
    """What `evaluate` found. `name` is a metric (`gpubench list metrics`), whose direction is the score's.

    Values are shares of 1, as all of gpubench's shares: a BLEU of 24 is 0.24. `others` are further metrics of the same
    model; `baselines` the same score of something trivial by its name, such as copying the input.
    """

    name: str
    value: float
    others: Mapping[str, float] = _NONE
    baselines: Mapping[str, float] = _NONE


class Contents(NamedTuple):
    """What one batch holds: `num_units` tokens or seconds of audio that are no padding (`unit` None: the task has no
    unit but the sample), and how many of its `num_elements` are padding.
    """

    unit: Literal["tokens", "audio_s"] | None
    num_units: float
    num_elements: int
    num_padded: int
