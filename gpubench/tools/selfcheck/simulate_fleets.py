"""Fleets with known slow cards: how many are named, and how many healthy ones with them."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpubench.analysis.fleet.judge_cards import (
    FALSE_DISCOVERY_RATE,
    RETEST_ROUNDS,
    Probe,
    name_slow,
    screen,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

FLEETS = (8, 64, 512, 4096)
LAUNCHES = 8
LAUNCH_SD = 0.002
PROBES = 3
LEAST_FOUND = 0.95
MOST_FALSE = 0.001


@dataclass(frozen=True)
class FleetScenario:
    """`spread`: standard deviation between healthy cards; `slow`: how much slower the slow ones are than the centre of
    the healthy, in one of three probes; `share` of the cards that are slow (0: a single one), one rack or driver
    together. `judged_from`: the smallest fleet for which the targets are meant; None: they are not.
    """

    name: str
    spread: float = 0.002
    slow: float = 0.01
    share: float = 0.0
    judged_from: int | None = 8


FLEET_SCENARIOS = (
    FleetScenario("all healthy", slow=0.0),
    FleetScenario("one card 1 % slow"),
    FleetScenario("one card 2 % slow", slow=0.02),
    FleetScenario("an eighth (a rack) 1 % slow", share=0.125),
    FleetScenario("three tenths (a driver) 1 % slow", share=0.3, judged_from=64),
    FleetScenario("all healthy, cards differ by 0.5 %", spread=0.005, slow=0.0, judged_from=None),
    FleetScenario("all healthy, cards differ by 2 %", spread=0.02, slow=0.0, judged_from=None),
    FleetScenario("one card 7 % slow, cards differ by 2 %", spread=0.02, slow=0.07, judged_from=None),
)


@dataclass(frozen=True)
class FleetCounts:
    """Over all simulated fleets: slow and healthy cards, and how many of each were suspected and named."""

    scenario: FleetScenario
    num_cards: int
    slow: int
    healthy: int
    slow_named: int
    healthy_suspected: int
    healthy_named: int

    @property
    def found(self) -> float | None:
        return self.slow_named / self.slow if self.slow else None

    @property
    def met(self) -> bool:
        """Targets, with three standard errors of the simulation."""
        if self.scenario.judged_from is None or self.num_cards < self.scenario.judged_from:
            return True
        most = MOST_FALSE + 3 * math.sqrt(MOST_FALSE / self.healthy)
        least = LEAST_FOUND - 3 * math.sqrt(LEAST_FOUND * (1 - LEAST_FOUND) / max(1, self.slow))
        return self.healthy_named <= most * self.healthy and (self.found is None or self.found >= least)


def run_fleets(scenario: FleetScenario, num_cards: int, fleets: int, seed: int) -> FleetCounts:
    """Whole fleets: screening by `LAUNCHES` launches of three probes, and suspects again in turn with a healthy one."""
    import numpy as np

    rng = np.random.default_rng([seed, FLEET_SCENARIOS.index(scenario), num_cards])
    num_slow = max(1, round(scenario.share * num_cards)) if scenario.slow else 0
    slow_named = suspected = named = 0
    for _ in range(fleets):
        looked: set[int] = set()
        slow: set[int] = set()
        for number in range(PROBES):
            truth = rng.normal(0, scenario.spread, num_cards)
            if number == 0:
                truth[:num_slow] = math.log1p(scenario.slow)
            probe = _measured(truth, rng)
            screening = screen(probe, num_probes=PROBES)
            again = {
                card: rng.normal(
                    truth[card] - truth[screening.reference], math.sqrt(2) * LAUNCH_SD, RETEST_ROUNDS
                ).tolist()
                for card in screening.suspects
            }
            looked.update(screening.suspects)
            slow.update(name_slow(screening, again, fdr=FALSE_DISCOVERY_RATE))
        slow_named += sum(card < num_slow for card in slow)
        suspected += sum(card >= num_slow for card in looked)
        named += sum(card >= num_slow for card in slow)
    return FleetCounts(
        scenario, num_cards, num_slow * fleets, (num_cards - num_slow) * fleets, slow_named, suspected, named
    )


def _measured(truth: "FloatArray", rng: "np.random.Generator") -> Probe:
    """As `probe_of` makes it of launches, drawn at once: levels, and the pooled standard deviation."""
    import numpy as np

    df = len(truth) * (LAUNCHES - 1)
    launch_sd = LAUNCH_SD * math.sqrt(rng.chisquare(df) / df)
    levels = truth + rng.normal(0, LAUNCH_SD / math.sqrt(LAUNCHES), len(truth))
    return Probe(levels, np.full(len(truth), launch_sd / math.sqrt(LAUNCHES)), launch_sd, float(df))


FLEET_HEADER = (
    "| fleet | cards | slow cards | named | healthy cards | suspected, of 1,000 | named, of 1,000 |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def fleet_row(counts: FleetCounts) -> str:
    found = "-" if counts.found is None else f"{counts.found:.1%}"
    per_thousand = [f"{1000 * each / counts.healthy:.2f}" for each in (counts.healthy_suspected, counts.healthy_named)]
    cells = (
        counts.scenario.name,
        f"{counts.num_cards:,}",
        f"{counts.slow:,}",
        found,
        f"{counts.healthy:,}",
        *per_thousand,
    )
    return f"| {' | '.join(cells)} |"
