"""Contests and launch numbers with known answers: the estimator, its stopping rule, and what they get wrong."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpubench.analysis.insight.paired_ratios import still_wanted
from gpubench.analysis.summary.contest_levels import CONTEST, contest_levels, judged, paired_estimate
from gpubench.core.records import ContestRecord, Status
from gpubench.stats.estimators import column_levels
from gpubench.stats.launch_looks import CONFIDENCE, are_enough, located, looks
from gpubench.store.run_info import PlannedCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

SPEEDS = (1.0, 1.0, 1.05, 1 / 1.1)
"""The cases of a contest: two are equal, one is 5 % faster, one 10 % slower."""

_EQUAL, _FASTER, _SLOWER = 2, 3, 4
_SLOWER_MODE = 0.3


@dataclass(frozen=True)
class ContestScenario:
    """How blocks vary, on log time. `process`: SD of an arm from process to process; `block`: of a block; `drift`: SD
    of the steps of a random walk that all blocks of a turn share; `stalled`: share of blocks that take 1.5 to 10
    times as long, and `turns` of a process. `mode`: (share, size) of processes in which an arm has a slower mode.
    """

    name: str
    process: float = 0.004
    block: float = 0.02
    drift: float = 0.02
    stalled: float = 0.02
    turns: int = 40
    mode: tuple[float, float] = (0.0, 0.0)


CONTEST_SCENARIOS = (
    ContestScenario("quiet", process=0.002, block=0.01, stalled=0.0),
    ContestScenario("usual"),
    ContestScenario(
        "busy: blocks vary 10 %, a fifth stalls", process=0.006, block=0.1, drift=0.1, stalled=0.2, turns=15
    ),
    ContestScenario("processes vary 1 %", process=0.01),
    ContestScenario("processes vary 3 %", process=0.03),
    ContestScenario("two modes, 3 % apart", mode=(0.3, 0.03)),
)

LAUNCH_SCENARIOS = (
    "vary 0.5 %",
    "vary 1 %",
    "vary 2 %",
    "vary 3 %",
    "heavy tails, 1 %",
    "two modes, 1.5 % apart",
    "two modes, 3 % apart",
    "two modes, 12 % apart",
)
LAUNCH_TARGETS = (0.01, 0.03)


@dataclass(frozen=True)
class ContestCounts:
    """Shares over simulated contests. `decided` is of the effects of 5 and 10 %, with the right sign; `half_width` the
    median over effects, in relative terms; `coverage` that of the intervals of all ratios.
    """

    scenario: ContestScenario
    equal_called_different: float
    itself_called_different: float
    decided: float
    wrong: float
    coverage: float
    half_width: float
    mean_rounds: float


def run_contests(scenario: ContestScenario, trials: int, seed: int) -> ContestCounts:
    """Simulates whole contests, from the blocks of their turns to verdicts, stopped as in a run."""
    import numpy as np

    rng = np.random.default_rng([seed, len(scenario.name), round(scenario.process * 1e4), scenario.turns])
    cases = [
        PlannedCase(index=index, case_id=str(index), label=str(index), settings={"arm": index})
        for index in range(1, len(SPEEDS) + 1)
    ]
    different = itself = decided = wrong = covered = effects = rounds = 0
    widths: list[float] = []
    for _ in range(trials):
        records: list[ContestRecord] = []
        while len(records) < CONTEST.max_rounds:
            records.append(_process(scenario, rng, len(records) + 1))
            if len(records) >= CONTEST.looks[0] and not still_wanted(cases, (), records):
                break
        (levels,) = contest_levels(records)
        rounds += len(records)
        aa = levels.itself
        itself += aa is not None and aa.verdict in ("slower", "faster")
        for index in (_EQUAL, _FASTER, _SLOWER):
            logs = list(levels.log_ratios(index, 1).values())
            found, ratio, truth = judged(logs, levels.twins), paired_estimate(logs), SPEEDS[index - 1]
            assert found is not None, "every case has three rounds"
            assert ratio.low is not None and ratio.high is not None, "three rounds have an interval"  # noqa: PT018
            called = {"slower": 1, "faster": -1}.get(found.verdict, 0)  # of speeds: above 1 is faster
            covered += ratio.low <= truth <= ratio.high
            widths.append((ratio.high - ratio.low) / 2 / ratio.value)
            if index == _EQUAL:
                different += called != 0
                continue
            effects += 1
            decided += called == (1 if truth > 1 else -1)
            wrong += called == (-1 if truth > 1 else 1)
    return ContestCounts(
        scenario=scenario,
        equal_called_different=different / trials,
        itself_called_different=itself / trials,
        decided=decided / effects,
        wrong=wrong / effects,
        coverage=covered / (3 * trials),
        half_width=float(np.median(widths)),
        mean_rounds=rounds / trials,
    )


def _process(scenario: ContestScenario, rng: "np.random.Generator", number: int) -> ContestRecord:
    import numpy as np

    times = [-math.log(speed) for speed in (*SPEEDS, 1.0)]  # the last is the first case's twin
    arms = len(times)
    level = np.array(times) + rng.normal(0, scenario.process, arms)
    share, size = scenario.mode
    level += size * ((rng.random(arms) < share) - share)
    table = level + rng.normal(0, scenario.drift, (scenario.turns, 1)).cumsum(axis=0)
    table = table + rng.normal(0, scenario.block, (scenario.turns, arms))
    stalled = rng.random((scenario.turns, arms)) < scenario.stalled
    table = table + stalled * np.log(rng.uniform(1.5, 10.0, (scenario.turns, arms)))
    speeds = [-each for each in column_levels(table)]
    return ContestRecord(
        cases=tuple(range(1, arms)),
        label="simulated",
        round=number,
        status=Status.OK,
        log_speeds=dict(enumerate(speeds[:-1], start=1)),
        twin=speeds[-1],
    )


def launch_coverage(
    scenario: str, trials: int, seed: int, *, least: int, most: int, target: float = 0.01
) -> tuple[float, float]:
    """How often the quoted interval of a case holds its true figure if launches go on until it is narrow enough, and
    the mean number of launches.
    """
    import numpy as np

    rng = np.random.default_rng([seed, LAUNCH_SCENARIOS.index(scenario)])
    held = launches = 0
    for logs in _launches(scenario, rng, trials, most):
        number = next(n for n in looks(least, most) if are_enough(logs[:n], least, most, target))
        low, high = located(logs[:number]).interval(CONFIDENCE)
        held += low <= 0 <= high
        launches += number
    return held / trials, launches / trials


def _launches(scenario: str, rng: "np.random.Generator", trials: int, most: int) -> list[list[float]]:
    import numpy as np

    shape, size = (trials, most), float(next(word for word in scenario.split() if word[0].isdigit())) / 100
    if scenario.startswith("vary"):
        logs = rng.normal(0, size, shape)
    elif scenario.startswith("heavy"):
        logs = rng.standard_t(3, shape) * size / math.sqrt(3)
    else:
        slower = (rng.random(shape) < _SLOWER_MODE).astype(np.float64)
        logs = size * (slower - _SLOWER_MODE) + rng.normal(0, 0.005, shape)
    return [[float(value) for value in row] for row in logs]


def render_contests(counts: "list[ContestCounts]") -> str:
    columns = (
        "scenario",
        "equal cases differ",
        "a case and its twin differ",
        "5 and 10 % decided",
        "wrong sign",
        "coverage",
    )
    lines = [f"| {' | '.join((*columns, 'half-width', 'processes'))} |", "| --- |" + " ---: |" * 7]
    for each in counts:
        shares = (each.equal_called_different, each.itself_called_different, each.decided, each.wrong, each.coverage)
        cells = (
            each.scenario.name,
            *(f"{share:.1%}" for share in shares),
            f"{each.half_width:.1%}",
            f"{each.mean_rounds:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def render_launches(trials: int, seed: int) -> str:
    lines = [
        "| launches | " + " | ".join(f"to {target:.0%}: coverage | launches" for target in LAUNCH_TARGETS) + " |",
        "| --- |" + " ---: |" * 2 * len(LAUNCH_TARGETS),
    ]
    for scenario in LAUNCH_SCENARIOS:
        found = [launch_coverage(scenario, trials, seed, least=3, most=12, target=target) for target in LAUNCH_TARGETS]
        lines.append(f"| {scenario} | " + " | ".join(f"{share:.1%} | {number:.1f}" for share, number in found) + " |")
    return "\n".join(lines)
