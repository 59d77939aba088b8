"""Grids of settings that were measured as a whole, and searches of them: `gpubench tune` on what real launches said.

A grid is a suite and a CSV file of the same name, with a row per measurement: `case` (its number in the suite), `kind`,
`process` and `log_speed`. A launch is the log of samples per second; in a contest's process only differences count.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, TextIO, cast, get_args

from gpubench.analysis.tuning.grid import FailureKind
from gpubench.analysis.tuning.tuned_run import TunedRun, failure_of
from gpubench.core.records import Status, latest, latest_contests
from gpubench.runner.contest.groups import process_groups
from gpubench.store.run_reader import Run
from gpubench.suite.load import load_suite
from gpubench.tools.selfcheck.simulate_tuning import Grid, Searched, TuneCounts, count_searches, search_grid

if TYPE_CHECKING:
    import numpy as np

COLUMNS = ("case", "kind", "process", "log_speed")
_SWEEPS = 50
"""More than enough for levels and processes to agree to six digits."""

Levels = dict[int, float]
Row = tuple[int, str, str, str]


@dataclass(frozen=True)
class StoredScenario:
    """Draws what was measured: as a launch, one of the point's launches; in a process, the point's level plus how far
    it was from that level in one of its processes (one of any point's, if it was in fewer than two).
    """

    launches: Mapping[int, Sequence[float]]
    off: Mapping[int, Sequence[float]]

    @cached_property
    def _of_others(self) -> list[float]:
        return [off for several in self.off.values() for off in several]

    def launch(self, _: Grid, point: int, rng: "np.random.Generator") -> float:
        return float(rng.choice(self.launches[point]))

    def process(self, grid: Grid, points: Sequence[int], rng: "np.random.Generator") -> Levels:
        return {point: grid.speeds[point] + float(rng.choice(self.off.get(point, self._of_others))) for point in points}


@dataclass(frozen=True)
class StoredGrid:
    """A measured grid. `grid.speeds` are the answers: from processes where there are any, else from launches."""

    grid: Grid
    scenario: StoredScenario

    def searches(self, number: int, seed: int) -> list[Searched]:
        """So many searches of the grid, each with its own draws."""
        import numpy as np

        return [search_grid(self.grid, self.scenario, np.random.default_rng([seed, at])) for at in range(number)]


def grid_rows(suite: Path, runs: Sequence[Run]) -> Iterator[Row]:
    """The rows of a grid measured in several runs: every launch, and every setting of every process of a contest."""
    number = {str(case.case_id): at for at, case in enumerate(load_suite(str(suite)).cases, start=1)}
    for at, run in enumerate(runs, start=1):
        case_of = {case.index: number[case.case_id] for case in run.info.cases}
        for record in latest(run.records):
            if record.status is Status.SKIPPED:  # the budget was used up
                continue
            said = failure_of(record) or f"{math.log(record.metrics['throughput'] or math.nan):.4f}"
            yield case_of[record.case_index], "launch", f"{at}.{record.repeat}", said
        for contest in latest_contests(run.contests):
            if contest.status is Status.OK:
                place = f"{at}.{contest.round}.{case_of[contest.cases[0]]}.{contest.part}"
                yield from ((case_of[case], "contest", place, f"{log:.4f}") for case, log in contest.log_speeds.items())


def read_grid(suite: Path) -> StoredGrid:
    """The grid of a suite file and the CSV beside it. ValueError if a case has no launch, or the file another row."""
    cases = load_suite(str(suite)).cases
    space = TunedRun(cases, process_groups(cases), "speed", (), (), ()).space
    launches: dict[int, list[float]] = {}
    processes: dict[str, Levels] = {}
    failed: dict[int, FailureKind] = {}
    with suite.with_suffix(".csv").open(newline="") as file:
        for row in csv.DictReader(file):
            point, said = int(row["case"]) - 1, row["log_speed"]
            if said in get_args(FailureKind):
                failed[point] = cast(FailureKind, said)
            elif row["kind"] == "launch":
                launches.setdefault(point, []).append(float(said))
            else:
                processes.setdefault(row["process"], {})[point] = float(said)
    missing = [point + 1 for point in range(len(cases)) if point not in launches and point not in failed]
    if missing:
        raise ValueError(f"{suite.with_suffix('.csv')}: no launch of cases {missing}")
    levels, off = _levels(list(processes.values()))
    speeds = {point: median(each) for point, each in launches.items()}
    speeds |= _in_launches(levels, speeds, list(processes.values()))
    answers = tuple(speeds.get(point, -math.inf) for point in range(len(cases)))
    return StoredGrid(Grid(suite.stem, space, answers, failed), StoredScenario(launches, off))


def _levels(processes: Sequence[Levels]) -> tuple[Levels, dict[int, list[float]]]:
    """Each point's level, and by how much it was off in each of its processes.

    Least squares for a level per point and one per process, which have a point in common. What is off is made larger by
    as much as fitting a level to few processes makes it smaller.
    """
    points = sorted({point for process in processes for point in process})
    level = dict.fromkeys(points, 0.0)
    base = [0.0] * len(processes)
    of_point = {point: [at for at, process in enumerate(processes) if point in process] for point in points}
    for _ in range(_SWEEPS):
        base = [fmean(log - level[point] for point, log in process.items()) for process in processes]
        level = {point: fmean(processes[at][point] - base[at] for at in of_point[point]) for point in points}
    off = {}
    for point, at_all in of_point.items():
        if len(at_all) < 2:  # it would be off by nothing
            continue
        wider = math.sqrt(len(at_all) / max(1, len(at_all) - 1))
        off[point] = [wider * (processes[at][point] - base[at] - level[point]) for at in at_all]
    return level, off


def _in_launches(levels: Levels, launched: Levels, processes: Sequence[Levels]) -> Levels:
    """Levels of processes on the scale of launches: points that processes connect are moved by the same amount."""
    connected: list[set[int]] = []
    for process in processes:
        joined = {*process}.union(*(each for each in connected if each & process.keys()))
        connected = [each for each in connected if not each & joined] + [joined]
    moved: Levels = {}
    for points in connected:
        by = fmean(launched[point] - levels[point] for point in points)
        moved |= {point: levels[point] + by for point in points}
    return moved


def run_stored(folder: Path, number: int, seed: int) -> Iterator[TuneCounts]:
    """A row of the table for each grid in the folder, from `number` searches."""
    for suite in sorted(folder.glob("*.yaml")):
        yield count_searches(suite.stem, read_grid(suite).searches(number, seed))


def write_rows(rows: Iterable[Row], file: TextIO) -> None:
    """The rows as CSV, in the order of the suite."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    ordered: list[Row] = sorted(rows, key=lambda row: (row[1] == "contest", row[0], row[2]))
    writer.writerows(ordered)
