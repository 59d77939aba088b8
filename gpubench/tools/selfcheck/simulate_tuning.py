"""Searches with known answers: `gpubench tune`'s choice on simulated grids of settings."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Protocol

from gpubench.analysis.tuning.grid import LAUNCHES_PER_SETTING, FailureKind, Space, TriedPoints
from gpubench.analysis.tuning.search import Search

if TYPE_CHECKING:
    import numpy as np

CPU_AXES = {"threads": 3, "precision": 3, "layout": 2, "compile": 2, "batch": 5}
GPU_AXES = {"precision": 4, "layout": 2, "autotune": 2, "compile": 2, "graph": 2, "fused": 2, "batch": 5}
APART = {"threads", "autotune"}
"""Axes whose values cannot share a process."""

NUMERIC = {"threads", "batch"}

LOUD = 0.1
"""Launches that vary by more are simulated on the smaller grids of a CPU alone: those of a GPU take hours then."""

STRONG_PAIRS = 0.06
"""Then one pair of values in twenty changes the speed by 30 %: outside the target."""

WITHIN = 0.01
SHARE_WITHIN, MOST_COST = 0.95, 0.15


@dataclass(frozen=True)
class Grid:
    """A grid with its answers. `speeds`: log speed of each point; `failed`: those that do not work."""

    name: str
    space: Space
    speeds: tuple[float, ...]
    failed: dict[int, FailureKind]

    @property
    def best(self) -> float:
        return max(speed for point, speed in enumerate(self.speeds) if point not in self.failed)


class GridScenario(Protocol):
    """How a machine measures: log speeds, of a launch or of points that take turns in a process."""

    def launch(self, grid: Grid, point: int, rng: "np.random.Generator", /) -> float: ...

    def process(self, grid: Grid, points: Sequence[int], rng: "np.random.Generator") -> dict[int, float]: ...


@dataclass(frozen=True)
class TuneScenario:
    """Normal errors of log speed. `launch_sd`: of a launch, `process_sd`: of a setting in a contest process."""

    name: str
    launch_sd: float = 0.02
    process_sd: float = 0.006

    def launch(self, grid: Grid, point: int, rng: "np.random.Generator") -> float:
        return grid.speeds[point] + float(rng.normal(0, self.launch_sd))

    def process(self, grid: Grid, points: Sequence[int], rng: "np.random.Generator") -> dict[int, float]:
        level = rng.normal(0, self.launch_sd)
        return {point: grid.speeds[point] + level + float(rng.normal(0, self.process_sd)) for point in points}


TUNE_SCENARIOS = (
    TuneScenario("quiet", launch_sd=0.008, process_sd=0.003),
    TuneScenario("usual"),
    TuneScenario("launches vary 15 %", launch_sd=0.15, process_sd=0.01),
)


@dataclass(frozen=True)
class Searched:
    """What a search chose: `behind` the grid's best by this much (log speed), `cost` a share of the grid's launches."""

    grid: Grid
    behind: float
    cost: float
    covered: bool | None


def space_of(axes: dict[str, int]) -> Space:
    names = list(axes)
    codes = tuple(product(*(range(number) for number in axes.values())))
    apart = [at for at, name in enumerate(names) if name in APART]
    kinds: dict[tuple[int, ...], int] = {}
    groups = tuple(kinds.setdefault(tuple(code[at] for at in apart), len(kinds)) for code in codes)
    numeric = tuple(name in NUMERIC for name in names)
    return Space(codes, numeric, groups, batch_axis=names.index("batch"), precision_axis=names.index("precision"))


def simulated_grid(kind: str, number: int, seed: int, pair: float | None = None) -> Grid:
    """A step is arithmetic, launching and input, and each setting acts on one of them, so that settings interact.

    Precision and layout change the speed of arithmetic, a larger batch how well it uses the device, compile and graph
    the cost of launching; input is constant. In addition, every pair of values has a random effect (SD `pair`, one in
    twenty five times as large). Values fail everywhere or in part of the grid.
    """
    import numpy as np

    rng = np.random.default_rng([seed, number, kind == "gpu"])
    axes = CPU_AXES if kind == "cpu" else GPU_AXES
    names, space = list(axes), space_of(axes)
    effects = {name: np.concatenate([[0.0], rng.normal(0.1, 0.35, size - 1)]) for name, size in axes.items()}
    pair = float(rng.choice([0.01, 0.02, 0.04])) if pair is None else pair
    pairs = {
        (one, other): rng.normal(0, pair, (axes[one], axes[other]))
        * (1 + 5 * (rng.random((axes[one], axes[other])) < 0.05))
        for at, one in enumerate(names)
        for other in names[at + 1 :]
    }
    launching, entering, half = rng.uniform(0.05, 1.5), rng.uniform(0.0, 0.5), rng.uniform(0.3, 3.0)
    fits = rng.choice([axes["batch"], axes["batch"] - 1])
    broken = [(name, int(rng.integers(1, axes[name]))) for name in names if rng.random() < 0.08]
    speeds: list[float] = []
    failed: dict[int, FailureKind] = {}
    for point, code in enumerate(space.codes):
        at = dict(zip(names, code, strict=True))
        batch = 2.0 ** at["batch"]
        arithmetic = batch + half
        math_speed = sum(
            effects[name][at[name]] for name in ("precision", "layout", "threads", "autotune") if name in at
        )
        launch_speed = sum(abs(effects[name][at[name]]) for name in ("graph", "fused") if name in at)
        launch_speed += 0.7 * (at["compile"] > 0) * (1 - 0.5 * (at.get("graph", 0) > 0))
        step = arithmetic * math.exp(-math_speed - 0.5 * effects["compile"][at["compile"]])
        step = max(step, launching * math.exp(-launch_speed)) + 0.3 * launching * math.exp(-launch_speed)
        step += entering * batch
        speed = math.log(batch / step)
        speed += sum(table[at[one], at[other]] for (one, other), table in pairs.items())
        speeds.append(speed + rng.normal(0, 0.004))
        if at["batch"] >= fits and (at["precision"] < 2):
            failed[point] = "oom"
        elif any(at[name] == value for name, value in broken):
            failed[point] = "wrong"
    return Grid(f"{kind} {number}", space, tuple(speeds), failed)


def search_grid(grid: Grid, scenario: GridScenario, rng: "np.random.Generator") -> Searched:
    """A whole search, measured as the scenario does."""
    measured, seed = TriedPoints(), int(rng.integers(2**31))
    while (ask := Search(grid.space, measured, seed=seed).next()) is not None:
        for point in ask.launch:
            if ask.repeat not in measured.launches.get(point, {}):
                _launch(grid, scenario, rng, measured, point, ask.repeat)
        before = len(measured.contests)
        _contests(grid, scenario, rng, measured, ask.contest)
        measured.num_twins += (len(measured.contests) - before) * (ask.stage == "final")
    search = Search(grid.space, measured, seed=seed)
    full = LAUNCHES_PER_SETTING * len(grid.space.codes)
    if search.start is None:
        return Searched(grid, math.inf, measured.cost / full, None)
    ratio = search.together
    truth = grid.speeds[search.best] - grid.speeds[search.start]
    covered = None if ratio.low is None or ratio.high is None else ratio.low <= truth <= ratio.high
    return Searched(grid, grid.best - grid.speeds[search.best], measured.cost / full, covered)


def _launch(
    grid: Grid, scenario: GridScenario, rng: "np.random.Generator", measured: TriedPoints, point: int, repeat: int
) -> None:
    if point not in measured.order:
        measured.order.append(point)
    if point in grid.failed:
        measured.failed[point] = grid.failed[point]
        return
    measured.launches.setdefault(point, {})[repeat] = scenario.launch(grid, point, rng)


def _contests(
    grid: Grid, scenario: GridScenario, rng: "np.random.Generator", measured: TriedPoints, points: Sequence[int]
) -> None:
    by_group: dict[int | None, list[int]] = {}
    for point in points:
        by_group.setdefault(grid.space.groups[point], []).append(point)
    for members in by_group.values():
        first, *others = members
        for at in range(0, len(others), 7):
            measured.contests.append(scenario.process(grid, (first, *others[at : at + 7]), rng))


@dataclass(frozen=True)
class TuneCounts:
    """Shares over searches; `behind` in per cent at the 95th percentile, `cost` the mean share of a grid's launches."""

    name: str
    searches: int
    within: float
    behind_95: float
    mean_cost: float
    most_cost: float
    coverage: float
    judged: bool = True

    @property
    def met(self) -> bool:
        if not self.judged:
            return True
        error = math.sqrt(SHARE_WITHIN * (1 - SHARE_WITHIN) / self.searches)
        return self.within >= SHARE_WITHIN - 3 * error and self.most_cost <= MOST_COST


def count_searches(name: str, found: Sequence[Searched], *, judged: bool = True) -> TuneCounts:
    import numpy as np

    behind = np.array([each.behind for each in found])
    covered = [each.covered for each in found if each.covered is not None]
    return TuneCounts(
        name=name,
        searches=len(found),
        within=float(np.mean(behind <= -math.log(1 - WITHIN))),
        behind_95=float(np.quantile(behind, 0.95)),
        mean_cost=float(np.mean([each.cost for each in found])),
        most_cost=max(each.cost for each in found),
        coverage=float(np.mean(covered)),
        judged=judged,
    )


def run_tuning(grids: int, seed: int) -> Iterator[TuneCounts]:
    """A row of the table for each kind of grid and scenario, from `grids` grids."""
    import numpy as np

    for scenario in TUNE_SCENARIOS:
        for kind in ("cpu", "gpu") if scenario.launch_sd < LOUD else ("cpu",):
            rng = np.random.default_rng([seed, len(scenario.name)])
            done = [search_grid(simulated_grid(kind, number, seed), scenario, rng) for number in range(grids)]
            yield count_searches(f"{kind.upper()}, {scenario.name}", done)
    rng = np.random.default_rng([seed, 6])
    strong = [simulated_grid("cpu", number, seed, STRONG_PAIRS) for number in range(grids)]
    yield count_searches(
        "CPU, strong pairs", [search_grid(grid, TUNE_SCENARIOS[1], rng) for grid in strong], judged=False
    )


TUNE_HEADER = """| grid | searches | within 1 % | 95 % are within | cost | most | coverage |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def tuning_row(counts: TuneCounts) -> str:
    shares = (counts.within, -math.expm1(-counts.behind_95), counts.mean_cost, counts.most_cost, counts.coverage)
    return f"| {counts.name} | {counts.searches} | {' | '.join(f'{share:.1%}' for share in shares)} |"
