"""The setting `input`: the shape of one sample."""

import re
from typing import NamedTuple

_PATTERN = re.compile(r"^(int[1-9]\d{0,8}:)?[1-9]\d{0,8}(x[1-9]\d{0,8}){0,5}$")


class InputShape(NamedTuple):
    """One sample, without the batch dimension. `below`: it holds integers from 0 to one less; None: floats."""

    below: int | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> "InputShape":
        """From `3x224x224` or `int30000:128`. ValueError for anything else."""
        if not _PATTERN.match(text):
            raise ValueError(
                f"not the shape of a sample: {text!r}; write 3x224x224, or int30000:128 for integers below 30000"
            )
        kind, _, sizes = text.rpartition(":")
        return cls(int(kind.removeprefix("int")) if kind else None, tuple(map(int, sizes.split("x"))))
