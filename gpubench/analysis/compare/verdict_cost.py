"""Forecasts what a verdict costs, from a pilot's noise: rounds, minutes, and the chance of finding a change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from gpubench.analysis.compare.case_changes import round_log_ratios
from gpubench.analysis.compare.compare_sides import LEAST_ROUNDS
from gpubench.analysis.compare.run_sides import arms_of
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RecordedRun, summarise_run
from gpubench.analysis.verdict.interleaved_rounds import judge_many
from gpubench.analysis.verdict.judge import Level
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.analysis.verdict.many_comparisons import FALSE_DISCOVERY_RATE, SCREEN_ALPHA, SCREEN_ROUNDS
from gpubench.core.metrics import METRICS
from gpubench.core.records import Record
from gpubench.stats.estimators import TRIM, rounds_needed, trimmed_location, trimmed_moments

if TYPE_CHECKING:
    from gpubench.analysis.verdict.interleaved_rounds import FloatArray

TRIALS = 2000
CONFIDENCE = 0.9


@dataclass(frozen=True)
class VerdictForecast:
    """The outcome of comparisons with a given spread of rounds, from simulated normal rounds.

    `found`: share of true slow-downs (of `sesoi` by default) that are called `slower`. `rounds_same` and
    `rounds_slower`: mean rounds until the verdict with no change and at that slow-down. `needed`: total rounds that
    would find it 95 times in 100; None if that is unaffordable.
    """

    found: float
    rounds_same: float
    rounds_slower: float
    needed: int | None


@dataclass(frozen=True)
class CasePlan:
    """One case of the pilot. `spread`: standard deviation of a round's log ratio, from `rounds` rounds.

    `low` and `high` are its 90 % interval. `seconds` is the time of a round with both arms. Without a forecast,
    `reason` says why.
    """

    case_id: str
    label: str
    level: Level
    rounds: int
    spread: float | None
    low: float | None
    high: float | None
    seconds: float
    forecast: VerdictForecast | None
    reason: str = ""


@dataclass(frozen=True)
class VerdictPlan:
    """`overhead_s`: time of a round besides its launches (starting worker hosts)."""

    settings: CompareSettings
    cases: tuple[CasePlan, ...]
    overhead_s: float

    @property
    def seconds_same(self) -> float:
        """Seconds until every case is settled if nothing changed."""
        known = [(case.forecast.rounds_same, case.seconds) for case in self.cases if case.forecast]
        most_rounds = max((rounds for rounds, _ in known), default=0)
        return sum(rounds * s for rounds, s in known) + self.overhead_s * most_rounds

    @property
    def seconds_most(self) -> float:
        """Seconds if no case is ever settled."""
        known = [case.seconds for case in self.cases if case.forecast]
        return self.settings.max_rounds * (sum(known) + (self.overhead_s if known else 0.0))


def plan(pilot: RecordedRun, settings: CompareSettings, *, seed: int = 0, one_by_one: int | None = None) -> VerdictPlan:
    """A plan from a pilot of two equal arms, or from a run without arms, of which two launches make a round.

    The spread of step times (or latencies) decides; INVALID figures count too, because only their noise matters. More
    cases than `one_by_one` are judged as a suite, screened and then confirmed (None: always one by one).

    The ratio of two independent launches varies by the square root of two times as much as either.
    """
    arms = arms_of(pilot)
    draws = _draws(settings, seed)
    num = sum(case.skip_status is None and case.kind == "measure" for case in pilot.info.cases)

    cases = []
    if len(arms) >= 2:
        sides = [summarise_run(pilot, arm=arm, metrics=()).cases for arm in arms[:2]]
        for before, after in zip(sides[0], sides[1], strict=True):
            ratios, level = round_log_ratios(METRICS[after.speed_metric], before, after)
            seconds = _seconds([*before.records, *after.records])
            cases.append(_case(after, level, list(ratios.values()), 1.0, seconds, settings))
    else:
        for case in summarise_run(pilot, metrics=()).cases:
            logs = [math.log(value) for value in case.launch_values(case.speed_metric).values() if value > 0]
            cases.append(_case(case, "launch", logs, math.sqrt(2), 2 * _seconds(case.records), settings))

    def foresee(spread: float) -> VerdictForecast:
        screened = one_by_one is not None and num > one_by_one
        return _forecast_screened(spread, settings, draws, num) if screened else forecast(spread, settings, draws=draws)

    foreseen = (case if case.spread is None else replace(case, forecast=foresee(case.spread)) for case in cases)
    return VerdictPlan(settings, tuple(foreseen), _overhead_s(pilot.records))


def spread_of(logs: Sequence[float], trim: float = TRIM) -> float:
    """Standard deviation of one round's log ratio, from the standard error of the trimmed mean of rounds."""
    return trimmed_location(logs, trim).standard_error * math.sqrt(len(logs))


def _draws(settings: CompareSettings, seed: int) -> "FloatArray":
    import numpy as np

    num = max(settings.max_rounds, SCREEN_ROUNDS + LEAST_ROUNDS)
    draws: FloatArray = np.random.default_rng(seed).standard_normal((TRIALS, num))
    return draws


def forecast(
    spread: float, settings: CompareSettings, *, effect: float | None = None, draws: "FloatArray | None" = None
) -> VerdictForecast:
    """The forecast for a given `spread` (standard deviation of a round's log ratio) and a true slow-down of `effect`
    (None: of `sesoi`).
    """
    shift = math.log1p(settings.sesoi if effect is None else effect)
    noise = spread * (_draws(settings, 0) if draws is None else draws)[:, : settings.max_rounds]
    same, slower = (judge_many(each + noise, settings) for each in (0.0, shift))
    found = float((slower.verdict == "slower").mean())
    looks = settings.schedule()
    needed = rounds_needed(spread, shift, looks[-1].alpha, trim=settings.trim)
    return VerdictForecast(
        found=found,
        rounds_same=float(same.rounds.mean()),
        rounds_slower=float(slower.rounds.mean()),
        needed=None if needed is None else max(needed, looks[0].rounds),
    )


def _forecast_screened(
    spread: float, settings: CompareSettings, draws: "FloatArray", num_cases: int
) -> VerdictForecast:
    """The forecast for one changed case among unchanged ones.

    It is found if its first rounds look slower and the fresh ones, as many as the limit leaves, are below the smallest
    step of Benjamini and Hochberg over as many suspects as chance is expected to give.
    """
    import numpy as np

    shift = math.log1p(settings.sesoi)
    fresh = draws.shape[1] - SCREEN_ROUNDS
    level = FALSE_DISCOVERY_RATE / (1 + 2 * SCREEN_ALPHA * (num_cases - 1))
    first, again = draws[:, :SCREEN_ROUNDS], draws[:, SCREEN_ROUNDS:]
    up, down, _ = _directions(spread * first, settings)
    same = float(((up < SCREEN_ALPHA) | (down < SCREEN_ALPHA)).mean())
    up, down, _ = _directions(shift + spread * first, settings)
    suspected = (up < SCREEN_ALPHA) | (down < SCREEN_ALPHA)
    confirmed, _, mean = _directions(shift + spread * again, settings)
    found = np.asarray((up < SCREEN_ALPHA) & (confirmed <= level) & (mean >= math.log1p(settings.sesoi) / 2))
    needed = rounds_needed(spread, shift, 2 * level, trim=settings.trim)
    return VerdictForecast(
        found=float(found.mean()),
        rounds_same=SCREEN_ROUNDS + fresh * same,
        rounds_slower=SCREEN_ROUNDS + fresh * float(suspected.mean()),
        needed=None if needed is None else SCREEN_ROUNDS + max(needed, LEAST_ROUNDS),
    )


def _directions(logs: "FloatArray", settings: CompareSettings) -> tuple["FloatArray", "FloatArray", "FloatArray"]:
    """The one-sided p-values of slower and faster, and the trimmed mean, per row."""
    import numpy as np
    from scipy.special import stdtr

    mean, error, df = trimmed_moments(logs, settings.trim)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, mean / error, np.sign(mean) * np.inf)
    return stdtr(df, -t), stdtr(df, t), mean


def _case(
    case: CaseSummary, level: Level, logs: Sequence[float], factor: float, seconds: float, settings: CompareSettings
) -> CasePlan:
    """A case without its forecast. The interval of the standard deviation is sqrt(df / chi2), exact for normal
    values.
    """
    from scipy.special import chdtri

    if len(logs) < LEAST_ROUNDS:
        why = case.reason or f"{len(logs)} of the {LEAST_ROUNDS} rounds that a forecast needs"
        return CasePlan(case.case_id, case.label, level, len(logs), None, None, None, seconds, None, why)
    df, tail = trimmed_location(logs, settings.trim).df, (1 - CONFIDENCE) / 2
    spread = factor * spread_of(logs, settings.trim)
    low, high = (spread * math.sqrt(df / chdtri(df, q)) for q in (tail, 1 - tail))
    return CasePlan(case.case_id, case.label, level, len(logs), spread, low, high, seconds, None)


def _seconds(records: Sequence[Record]) -> float:
    """Wall time of one case's launches per round, median over rounds; a process shared by arms counts once."""
    rounds: dict[int, dict[tuple[float | None, int | None, str | None], float]] = {}
    for record in records:
        if record.wall_s is not None:
            known = record.started_unix_s is not None and record.pid is not None
            launch = (record.started_unix_s, record.pid, None if known else record.arm)
            rounds.setdefault(record.repeat, {})[launch] = record.wall_s
    return median(sum(taken.values()) for taken in rounds.values()) if rounds else 0.0


def _overhead_s(records: Sequence[Record]) -> float:
    """Median time from the end of a round's last launch to the start of the next round's first."""
    times: dict[int, list[float]] = {}
    for record in records:
        if record.started_unix_s is not None and record.wall_s is not None and record.kind == "measure":
            ends = (record.started_unix_s, record.started_unix_s + record.wall_s)
            times.setdefault(record.repeat, []).extend(ends)
    rounds = [times[repeat] for repeat in sorted(times)]
    gaps = [max(0.0, min(after) - max(before)) for before, after in pairwise(rounds)]
    return median(gaps) if gaps else 0.0
