"""Predicts unmeasured settings from measured ones: a Gaussian process over a grid of settings.

A setting's log speed is the sum of an effect per axis, one per pair of axes, and a remainder: each normal, and
correlated between values of a numeric axis (neighbouring batch sizes are alike). It only proposes; blocks decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

_LEVEL_SD = 3.0
"""SD of the level that all settings share: effectively unknown."""

_AXIS_SD = 0.4
_REST_SHARE = 0.35
"""SD of the remainder, as a share of that of pairs."""

_PAIR_SDS = (0.06, 0.12, 0.25)
_LAUNCH_SDS = (0.01, 0.04, 0.15)
_BLOCK_SD = 0.009
"""SD of a setting in one contest process, on log speed (0.8 % on a quiet machine)."""

_REACH = 2.0
"""Distance, in values of a numeric axis, at which the correlation falls to 1/e."""


@dataclass(frozen=True)
class Known:
    """A measured log score, higher is better. `point` is a row of the grid, `process` the number of its process.

    Scores in a contest process compare only with each other (`alone` is False); launches compare with all launches.
    """

    point: int
    process: int
    score: float
    alone: bool


class SpeedModel:
    """`codes` has a row per setting of the grid and a column per axis: the position of its value on the axis."""

    def __init__(self, codes: "IntArray", numeric: Sequence[bool], known: Sequence[Known]) -> None:
        import numpy as np

        self._codes, self._numeric = codes, numeric
        self._at = np.array([each.point for each in known])
        self._scores = np.array([each.score for each in known])
        process = np.array([each.process for each in known])
        alone = np.array([each.alone for each in known])
        self._together = process[:, None] == process[None, :]
        self._shared_contest = self._together & ~alone[:, None] & ~alone[None, :]
        self._own_launch = self._together & alone[:, None] & alone[None, :]
        parts = self._prior_parts(self._at, self._at)
        tried = [(self._fit(parts, pair, launch), pair) for pair in _PAIR_SDS for launch in _LAUNCH_SDS]
        (_, self._lower, self._weights), self._pair_sd = max(tried, key=lambda each: each[0][0])

    def _fit(
        self, parts: "tuple[FloatArray, FloatArray]", pair_sd: float, launch_sd: float
    ) -> "tuple[float, FloatArray, FloatArray]":
        import numpy as np
        from scipy.linalg import solve_triangular

        cov = parts[0] + pair_sd**2 * parts[1] + _BLOCK_SD**2 * np.eye(len(self._at))
        cov += self._shared_contest * _LEVEL_SD**2 + self._own_launch * launch_sd**2
        lower = np.linalg.cholesky(cov)
        half = solve_triangular(lower, self._scores, lower=True)
        weights = solve_triangular(lower, half, lower=True, trans=1)
        likelihood = float(-half @ half / 2 - np.log(np.diag(lower)).sum())
        return likelihood, lower.astype(np.float64), np.asarray(weights, dtype=np.float64)

    def _prior_parts(self, rows: "IntArray", columns: "IntArray") -> "tuple[FloatArray, FloatArray]":
        """The prior covariance of level and axes; that of pairs and remainder, for an SD of 1."""
        import numpy as np

        total, squares = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)))
        rest = np.ones_like(total)
        for axis, numeric in enumerate(self._numeric):
            apart = np.abs(self._codes[rows, axis][:, None] - self._codes[columns, axis][None, :])
            alike = np.exp(-apart / _REACH) if numeric else (apart == 0).astype(float)
            total += alike
            squares += alike**2
            rest *= alike
        return _LEVEL_SD**2 + _AXIS_SD**2 * total, (total**2 - squares) / 2 + _REST_SHARE**2 * rest

    def _prior(self, rows: "IntArray", columns: "IntArray") -> "FloatArray":
        axes, pairs = self._prior_parts(rows, columns)
        return axes + self._pair_sd**2 * pairs

    def moments(self, points: "IntArray") -> "tuple[FloatArray, FloatArray]":
        """Mean and standard deviation of the log score at each of these points."""
        import numpy as np

        mean, half = self._reach(points)
        own = self._prior(points[:1], points[:1])[0, 0]  # the same for every point
        return mean, np.sqrt(np.maximum(own - (half**2).sum(axis=0), 1e-12))

    def draws(self, points: "IntArray", number: int, rng: "np.random.Generator") -> "FloatArray":
        """Possible log scores of the points, given the measurements: a row per draw."""
        import numpy as np

        mean, half = self._reach(points)
        cov = self._prior(points, points) - half.T @ half
        lower = np.linalg.cholesky(cov + 1e-8 * np.eye(len(points)))
        found: FloatArray = mean + rng.standard_normal((number, len(points))) @ lower.T
        return found

    def _reach(self, points: "IntArray") -> "tuple[FloatArray, FloatArray]":
        from scipy.linalg import solve_triangular

        cross = self._prior(points, self._at)
        return cross @ self._weights, solve_triangular(self._lower, cross.T, lower=True)
