"""Rules of other tools for the same step times: whether they call the second arm slower.

From the tools' sources. Each rule gets the data that its tool would gather: pyperf 20 processes with three values each,
the others one process per side with all its steps. None of them pairs or interleaves.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gpubench.stats.estimators import t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]

Rule = Callable[["FloatArray", "FloatArray"], "BoolArray"]

PYPERF_PROCESSES = 20
PYPERF_VALUES = 3
REPETITIONS = 20


def pyperf(reference: "FloatArray", candidate: "FloatArray") -> "BoolArray":
    """`pyperf compare_to`: Student's t with pooled variance at 95 %, all values of all processes as if independent."""
    import numpy as np

    first, second = (_values(arm[:, :PYPERF_PROCESSES], PYPERF_VALUES) for arm in (reference, candidate))
    error = np.sqrt((first.var(axis=-1, ddof=1) + second.var(axis=-1, ddof=1)) / first.shape[-1])
    score = (second.mean(axis=-1) - first.mean(axis=-1)) / error
    return np.asarray(score >= t_quantile(0.975, 2 * first.shape[-1] - 2))


def _values(launches: "FloatArray", per_launch: int) -> "FloatArray":
    """Means of equal parts of each launch, all launches in one axis."""
    trials, rounds, steps = launches.shape
    parts = launches[..., : steps // per_launch * per_launch].reshape(trials, rounds, per_launch, -1)
    means: FloatArray = parts.mean(axis=-1).reshape(trials, -1)
    return means


def google_benchmark(reference: "FloatArray", candidate: "FloatArray") -> "BoolArray":
    """`compare.py` of google/benchmark: Mann-Whitney U on the repetitions of one process, two-sided 5 %."""
    import numpy as np
    from scipy.stats import mannwhitneyu

    first, second = (_values(arm[:, :1], REPETITIONS) for arm in (reference, candidate))
    p_value = mannwhitneyu(first, second, axis=-1, method="asymptotic").pvalue
    return np.asarray((p_value < 0.05) & (np.median(second, axis=-1) > np.median(first, axis=-1)))


def criterion(reference: "FloatArray", candidate: "FloatArray") -> "BoolArray":
    """criterion.rs: t-test at 5 % and the whole interval of the change of the mean beyond the noise threshold of 1 %.

    The bootstraps are replaced by their normal limits, which they reach at this many samples; an interval beyond the
    threshold implies the t-test.
    """
    import numpy as np

    first, second = reference[:, 0], candidate[:, 0]
    change = second.mean(axis=-1) / first.mean(axis=-1) - 1
    spread = [arm.std(axis=-1, ddof=1) / arm.mean(axis=-1) / np.sqrt(arm.shape[-1]) for arm in (first, second)]
    error = np.hypot(*spread) * (1 + change)
    return np.asarray(change - 1.96 * error > 0.01)


def nvbench(reference: "FloatArray", candidate: "FloatArray") -> "BoolArray":
    """`nvbench_compare.py`: SLOW if the change of the mean exceeds the smaller relative standard deviation."""
    import numpy as np

    first, second = reference[:, 0], candidate[:, 0]
    noise = np.minimum(*(arm.std(axis=-1, ddof=1) / arm.mean(axis=-1) for arm in (first, second)))
    return np.asarray(second.mean(axis=-1) / first.mean(axis=-1) - 1 > noise)


def pytest_benchmark(reference: "FloatArray", candidate: "FloatArray") -> "BoolArray":
    """`--benchmark-compare-fail=median:2%`."""
    return _threshold(reference, candidate, 0.02)


def torchbench(reference: "FloatArray", candidate: "FloatArray") -> "BoolArray":
    """TorchBench's regression detector: a change of more than 7 %."""
    return _threshold(reference, candidate, 0.07)


def _threshold(reference: "FloatArray", candidate: "FloatArray", limit: float) -> "BoolArray":
    import numpy as np

    first, second = np.median(reference[:, 0], axis=-1), np.median(candidate[:, 0], axis=-1)
    return np.asarray(second / first - 1 > limit)


RULES: dict[str, Rule] = {
    "pyperf": pyperf,
    "google-benchmark U test": google_benchmark,
    "criterion": criterion,
    "nvbench compare": nvbench,
    "pytest-benchmark median:2%": pytest_benchmark,
    "TorchBench 7 %": torchbench,
}
