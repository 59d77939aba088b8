"""The score of a trained model and the contents of a batch, in the task's own terms."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

_NONE: Mapping[str, float] = MappingProxyType({})


class Score(NamedTuple):
    """The result of `evaluate`. `name` is a metric (`gpubench list metrics`), which defines whether higher is better.

    Values are from 0 to 1: a BLEU of 24 is 0.24. `others` are further metrics of the same model; `baselines` are scores
    of trivial methods by their names, such as copying the input.
    """

    name: str
    value: float
    others: Mapping[str, float] = _NONE
    baselines: Mapping[str, float] = _NONE


class Contents(NamedTuple):
    """What a batch holds: `num_units` tokens or seconds of audio without padding (`unit` None: the task counts
    samples), and how many of its `num_elements` are padding.
    """

    unit: Literal["tokens", "audio_s"] | None
    num_units: float
    num_elements: int
    num_padded: int
