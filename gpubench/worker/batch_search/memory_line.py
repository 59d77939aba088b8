"""Memory as a line of the batch: what every sample costs, and what is there without any."""

from collections.abc import Sequence
from typing import NamedTuple


class Line(NamedTuple):
    """`fixed_bytes + per_sample_bytes * batch`. `deviation`: the largest relative distance of a trial from it."""

    fixed_bytes: float
    per_sample_bytes: float
    deviation: float


def fit_line(points: Sequence[tuple[int, int]]) -> Line | None:
    """Least squares of the relative error over (batch, peak bytes), so that small trials count as much as large ones.

    None with fewer than two different batches.
    """
    known = [(float(batch), float(peak)) for batch, peak in points if peak > 0]
    if len({batch for batch, _ in known}) < 2:
        return None
    weights = [1 / peak**2 for _, peak in known]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, known, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, known, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, known, strict=True))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, known, strict=True)) / spread
    fixed = mean_y - slope * mean_x
    deviation = max(abs(fixed + slope * x - y) / y for x, y in known)
    return Line(fixed, slope, deviation)
