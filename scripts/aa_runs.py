"""Real comparisons with known answers on this machine: the reference CNN against itself, and against itself slowed
down.

    python scripts/aa_runs.py measure --folder reports/aa                   # hours; call it again to continue
    python scripts/aa_runs.py collect --folder reports/aa > rounds.csv          every round of every comparison
    python scripts/aa_runs.py report rounds.csv                                 the counts as Markdown
    python scripts/aa_runs.py contests --folder reports/aa                  # one case under two names; it goes on

Each run is one suite whose cases differ in their seed alone, so that each case is a comparison of its own: 40 of equal
arms, and 20 for each slow-down, at both levels of interleaving. Cases leave a run when they are settled. What `gpubench
plan` foretells from the noise of the equal arms stands beside what was found.
"""

import csv
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean, median

import click

from gpubench.analysis.compare.case_changes import round_log_ratios
from gpubench.analysis.compare.run_sides import arm_sides
from gpubench.analysis.compare.verdict_cost import forecast, spread_of
from gpubench.analysis.insight.paired_ratios import still_wanted
from gpubench.analysis.summary.contest_levels import contest_levels
from gpubench.analysis.verdict.interleaved_rounds import compare_log_ratios
from gpubench.analysis.verdict.judge import Comparison
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.cli.screens.run_progress import open_progress
from gpubench.cli.standing_verdicts import Verdicts
from gpubench.core.metrics import METRICS
from gpubench.core.units import format_percent
from gpubench.runner.arms.arm import Arm
from gpubench.runner.run import ResumeRequest, RunRequest, resume, start
from gpubench.runner.run_session import Decisions
from gpubench.store.run_reader import Run, load_run
from gpubench.suite.load import parse_suite

HERE = Path(__file__).resolve().parent
LEVELS = ("block", "launch")
EFFECTS = (0.03, 0.05, 0.10)
ROUNDS = 24
SETTINGS = CompareSettings(max_rounds=ROUNDS)
COLUMNS = ("asked", "slow_down", "comparison", "level", "round", "log_ratio")
SUITE = """
schema: 1
name: aa
description: The reference CNN against itself, {cases} times.
defaults: {{workload: "aa_workload:SlowedCNN", data: digits, mode: train, device: cpu,
           batch_size: {batch}, cpu_threads: {threads}}}
matrix: {{seed: [{seeds}]}}
measure: {{min_time: 500ms, max_time: {max_time}, min_steps: 40, target_rel_ci: 2%, telemetry: off, parity: off}}
"""


TWO_NAMES = """
schema: 1
name: two-names
description: The reference CNN, and its equal under another name (a learning rate takes no time).
defaults: {workload: cnn, data: digits, mode: train, device: cpu, batch_size: 8, cpu_threads: 1}
matrix: {learning_rate: [0.001, 0.001001]}
measure: {repeats: 1, min_time: 100ms, max_time: 200ms, min_steps: 10, telemetry: off, parity: off}
contest: {budget: 7500ms}
"""
CONTEST_COLUMNS = ("contest", "round", "other_name", "itself")


@dataclass(frozen=True)
class Trial:
    """One run: `cases` comparisons at a level, the second arm slowed down by `effect`."""

    level: str
    effect: float
    cases: int

    @property
    def name(self) -> str:
        return f"{self.level}-{self.effect:.0%}" if self.effect else f"{self.level}-equal"


@click.group()
def main() -> None:
    """Real comparisons with known answers."""


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("reports/aa"), show_default=True)
@click.option("--equal", default=40, show_default=True, help="Comparisons of equal arms per level.")
@click.option("--trials", default=20, show_default=True, help="Comparisons per slow-down and level.")
@click.option("--max-time", default="1s", show_default=True, help="Of one launch's measurement.")
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
@click.option("--batch", default=64, show_default=True, help="Samples per step: short steps give a launch more turns.")
@click.option("--level", "levels", multiple=True, type=click.Choice(LEVELS), default=LEVELS, show_default=True)
def measure(
    folder: Path, equal: int, trials: int, max_time: str, threads: int, batch: int, levels: Sequence[str]
) -> None:
    """Measure what is not there yet."""
    for level in levels:
        for trial in (Trial(level, 0.0, equal), *(Trial(level, effect, trials) for effect in EFFECTS)):
            place = folder / trial.name
            if (place / "done").exists():
                continue
            run(trial, place, max_time=max_time, threads=threads, batch=batch)
            (place / "done").touch()
            click.echo(f"{trial.name}: {place}", err=True)


def run(trial: Trial, place: Path, *, max_time: str, threads: int, batch: int) -> None:
    """One run, judged between its rounds as `gpubench run --arm` does."""
    seeds = ", ".join(str(seed) for seed in range(trial.cases))
    text = SUITE.format(cases=trial.cases, seeds=seeds, threads=threads, max_time=max_time, batch=batch)
    loaded = parse_suite(text)
    settings = {"learning_rate": 1e-3 * (1 + trial.effect)} if trial.effect else {}
    given = {f"set.{name}": str(value) for name, value in settings.items()}
    arms = (Arm("first"), Arm("second", settings=settings, given=given))
    request = RunRequest(
        loaded,
        out=place,
        seed=20261123,
        arms=arms,
        rounds=ROUNDS,
        interleave="block" if trial.level == "block" else "launch",
        search_path=(str(HERE),),
        argv=tuple(sys.argv),
    )
    verdicts = Verdicts([arm.name for arm in arms], ROUNDS, SETTINGS)
    with open_progress(wide=True, verdicts=verdicts) as progress:
        if (place / "run.json").exists():
            again = ResumeRequest(place, arms=arms, search_path=(str(HERE),))
            outcome = resume(again, progress, Decisions(settled=verdicts))
        else:
            outcome = start(request, progress, Decisions(settled=verdicts))
        if outcome.interrupted:
            raise KeyboardInterrupt


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("reports/aa"), show_default=True)
def collect(folder: Path) -> None:
    """Every round of every comparison as CSV: all that a verdict rests on."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for trial in (Trial(level, effect, 0) for level in LEVELS for effect in (0.0, *EFFECTS)):
        if (folder / trial.name / "done").exists():
            writer.writerows(_rounds(trial, load_run(folder / trial.name)))


def _rounds(trial: Trial, run: Run) -> Iterator[tuple[str, str, str, str, int, str]]:
    reference, (other,) = arm_sides(run)
    for before, after in zip(reference.cases, other.cases, strict=True):
        logs, level = round_log_ratios(METRICS["throughput"], before, after)
        for repeat, value in logs.items():
            yield trial.level, f"{trial.effect:g}", after.label, level, repeat, f"{value:.6f}"


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("reports/aa"), show_default=True)
@click.option("--contests", "num", default=100, show_default=True, help="Contests to have in all.")
def contests(folder: Path, num: int) -> None:
    """Contests of one case under two names: appends the log ratios of each round to `contests.csv`."""
    file = folder / "contests.csv"
    begun = file.exists()
    done = len(read_contests(file)) if begun else 0
    with file.open("a", newline="", buffering=1) as lines:
        writer = csv.writer(lines, lineterminator="\n")
        if not begun:
            writer.writerow(CONTEST_COLUMNS)
        for number in range(done + 1, num + 1):
            with tempfile.TemporaryDirectory() as place:
                outcome = start(
                    RunRequest(parse_suite(TWO_NAMES), out=Path(place) / "run", seed=20261130 + number),
                    decisions=Decisions(still_wanted=still_wanted),
                )
                (levels,) = contest_levels(load_run(outcome.folder).contests)
            first, second = levels.cases
            pairs = zip(levels.log_ratios(second, first).items(), levels.twins, strict=True)
            writer.writerows((number, at, f"{other:.6f}", f"{itself:.6f}") for (at, other), itself in pairs)


def read_contests(path: Path) -> dict[str, list[tuple[float, float]]]:
    """By contest, the log ratios of its rounds: the same case under another name, and the first case's twin."""
    found: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines):
            found.setdefault(row["contest"], []).append((float(row["other_name"]), float(row["itself"])))
    return found


@main.command()
@click.argument("rounds", type=click.Path(path_type=Path, exists=True))
def report(rounds: Path) -> None:
    """The counts as Markdown, from what `collect` wrote."""
    click.echo("\n".join(tables(read_rounds(rounds))))


@dataclass(frozen=True)
class Measured:
    """One comparison: the log ratio of each of its rounds, second arm over first."""

    asked: str
    effect: float
    name: str
    level: str
    logs: tuple[float, ...]

    @property
    def found(self) -> Comparison:
        return compare_log_ratios(self.logs, SETTINGS)


def read_rounds(path: Path) -> list[Measured]:
    with path.open(newline="") as lines:
        rows = [tuple(row[name] for name in COLUMNS) for row in csv.DictReader(lines)]
    return [
        Measured(asked, float(effect), name, level, tuple(float(row[5]) for row in group))
        for (asked, effect, name, level), group in groupby(rows, key=lambda row: row[:4])
    ]


def tables(measured: Sequence[Measured]) -> list[str]:
    """A row per level and slow-down. How many `gpubench plan` foretells stands beside how many were found: from how
    much the rounds of these comparisons vary, and from how much those of the equal arms did, at another time.
    """
    header = [
        "level",
        "slow-down",
        "comparisons",
        "slower",
        "faster",
        "same",
        "unclear",
        "slower, predicted",
        "by equal arms",
        "rounds vary by",
        "rounds",
        "estimate",
    ]
    lines = [header, ["---", *("---:" for _ in header[1:])]]
    for level in LEVELS:
        spreads = [spread_of(each.logs) for each in measured if each.asked == level and each.effect == 0]
        for effect in (0.0, *EFFECTS):
            group = [each for each in measured if each.asked == level and each.effect == effect]
            lines += [_row(level, effect, group, spreads)] if group else []
    return ["| " + " | ".join(row) + " |" for row in lines]


def _row(level: str, effect: float, group: Sequence[Measured], spreads: Sequence[float]) -> list[str]:
    found = [each.found for each in group]
    counts = Counter(each.verdict for each in found)
    own = [spread_of(each.logs) for each in group]
    return [
        level,
        format_percent(effect, decimals=0) if effect else "none",
        str(len(found)),
        *(str(counts[word]) for word in ("slower", "faster", "same", "unclear")),
        *(f"{predicted(noise, effect) * len(found):.1f}" if effect else "" for noise in (own, spreads)),
        format_percent(median(own)),
        f"{mean(each.rounds for each in found):.1f}",
        format_percent(median(each.change for each in found), signed=True),
    ]


def predicted(spreads: Sequence[float], effect: float) -> float:
    """The share of comparisons called slower where rounds vary by so much."""
    return mean(forecast(spread, SETTINGS, effect=effect).found for spread in spreads)


if __name__ == "__main__":
    main()
