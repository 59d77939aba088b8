"""The setting `input`: the shapes of one sample's inputs."""

import re
from typing import NamedTuple

_PATTERN = re.compile(r"(?:(?P<name>[^\W\d]\w*)=)?(?:(?P<kind>bool|int[1-9][0-9]{0,8})(?::|$))?(?P<sizes>.*)")
_SIZES = re.compile(r"[1-9]\d{0,8}(x[1-9]\d{0,8}){0,5}", re.ASCII)


class InputShape(NamedTuple):
    """One input of one sample, without the batch dimension. `below`: it holds integers below this, or with `is_bool`
    booleans; None: floats.
    """

    below: int | None
    shape: tuple[int, ...]
    is_bool: bool = False

    @property
    def itemsize(self) -> int | None:
        """Bytes of one element; None for floats, whose type is the case's."""
        return None if self.below is None else 1 if self.is_bool else 8


Inputs = InputShape | tuple[InputShape, ...] | dict[str, InputShape]
"""A module's inputs: a single one, several in order, or by name."""


def parse_inputs(text: str) -> Inputs:
    """From `3x224x224`, `int30000:128`, `3x64x64+int1000` (two inputs, the second an integer per sample), or
    `tokens=int30000:128+mask=bool:128`. ValueError for anything else.
    """
    found: list[tuple[str | None, InputShape]] = []
    for part in text.split("+"):
        match = _PATTERN.fullmatch(part.strip())
        name, kind, sizes = match.group("name", "kind", "sizes") if match else (None, None, "")
        if not _SIZES.fullmatch(sizes) and (sizes or not kind or part.endswith(":")):
            raise ValueError(
                f"not the shape of a sample: {part!r}; write 3x224x224, int30000:128 for integers below 30000, "
                "bool:128, or NAME=SHAPE for an argument of `forward`"
            )
        below = None if kind is None else 2 if kind == "bool" else int(kind.removeprefix("int"))
        shape = tuple(map(int, sizes.split("x"))) if sizes else ()
        found.append((name, InputShape(below, shape, kind == "bool")))
    names = [name for name, _ in found if name is not None]
    if not names:
        return found[0][1] if len(found) == 1 else tuple(shape for _, shape in found)
    if len(names) < len(found):
        raise ValueError(f"either all inputs have a name or none: {text!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"an input is named twice: {text!r}")
    return {str(name): shape for name, shape in found}
