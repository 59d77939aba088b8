"""The operators by name."""

import difflib

from gpubench.core.errors import UsageError
from gpubench.worker.workloads.operators.arithmetic import Conv2d, Matmul
from gpubench.worker.workloads.operators.movement import Copy, EmptyLaunch
from gpubench.worker.workloads.operators.operator import Operator

OPERATORS: dict[str, type[Operator]] = {"matmul": Matmul, "conv2d": Conv2d, "copy": Copy, "launch": EmptyLaunch}


def make_operator(name: str) -> Operator:
    """UsageError with the nearest names if there is no such operator."""
    if name in OPERATORS:
        return OPERATORS[name]()
    near = difflib.get_close_matches(name.lower(), OPERATORS, n=1, cutoff=0.4)
    hint = f"Did you mean 'operators:{near[0]}'?" if near else f"Operators: {', '.join(OPERATORS)}."
    raise UsageError(f"There is no operator {name!r}.", hint=hint)
