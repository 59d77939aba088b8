"""How long a run will take, before anything is known but its settings."""

from collections.abc import Sequence
from typing import NamedTuple

from gpubench.store.run_info import PlannedCase
from gpubench.suite.model.suite import Suite

OVERHEAD_S = 1.0
"""A forked child, its build, its warm-up's first step and its parity check, for a small network."""

TRAINING_S = (2.0, 30.0)
"""A training run of the reference CNN on small real data, per learning rate: from a GPU to a slow CPU."""


class Forecast(NamedTuple):
    """Launches, and the least and most seconds they should take. Compilation and large models come on top."""

    num_launches: int
    least_s: float
    most_s: float


def forecast(
    suite: Suite, planned: Sequence[PlannedCase], *, host_s: float, num_arms: int = 1, rounds: int | None = None
) -> Forecast:
    """`host_s` is what starting a worker host costs here: one is started for every round. `rounds`: instead of the
    suite's repeats.
    """
    repeats = suite.measure.repeats if rounds is None else rounds
    wanted = [case for case in planned if case.skip_status is None]
    measured = sum(case.kind == "measure" for case in wanted) * repeats * num_arms
    quality = suite.quality
    seeds = 0 if quality is None else quality.seeds
    trained = sum(case.kind == "quality" for case in wanted) * seeds * num_arms
    rates = 1 if quality is None else len(quality.learning_rate)
    num_rounds = (repeats if measured else 0) + (seeds if trained else 0)
    least_launch_s = min(suite.measure.min_time, suite.measure.max_time) + OVERHEAD_S
    return Forecast(
        measured + trained,
        num_rounds * host_s + measured * least_launch_s + trained * rates * TRAINING_S[0],
        num_rounds * host_s + measured * (suite.measure.max_time + OVERHEAD_S) + trained * rates * TRAINING_S[1],
    )
