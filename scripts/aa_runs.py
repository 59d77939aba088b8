"""Real comparisons with known answers on this machine: the reference CNN against itself, and against itself slowed down.

    python scripts/aa_runs.py measure --folder reports/aa        hours; interrupted and called again, it goes on
    python scripts/aa_runs.py report --folder reports/aa         the counts as Markdown

Each run is one suite whose cases differ in their seed alone, so that each case is a comparison of its own: 40 of equal arms,
and 20 for each slow-down, at both levels of interleaving. Cases leave a run when they are settled. What `gpubench plan`
predicts from the noise of the equal arms stands beside what was found.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import click

from gpubench.analysis.changes import CaseChange
from gpubench.analysis.comparing import Compared, compare_sides
from gpubench.analysis.planning import forecast, plan
from gpubench.analysis.settings import CompareSettings
from gpubench.analysis.sides import arm_sides
from gpubench.cli.progress import open_progress
from gpubench.cli.verdicts import Verdicts
from gpubench.core.units import format_percent
from gpubench.report.setup import machine_line
from gpubench.runner.arms import Arm
from gpubench.runner.run import ResumeRequest, RunRequest, resume, start
from gpubench.spec.load import parse_suite
from gpubench.store.runs import Run, load_run

HERE = Path(__file__).resolve().parent
LEVELS = ("block", "launch")
EFFECTS = (0.03, 0.05, 0.10)
SUITE = """
schema: 1
name: aa
description: The reference CNN against itself, {cases} times.
defaults: {{workload: "aa_workload:SlowedCNN", data: digits, mode: train, device: cpu, batch_size: {batch}, cpu_threads: {threads}}}
matrix: {{seed: [{seeds}]}}
measure: {{min_time: 500ms, max_time: {max_time}, min_steps: 40, target_rel_ci: 2%, telemetry: off, parity: off}}
"""


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
@click.option("--rounds", default=24, show_default=True, help="The most rounds of a comparison.")
@click.option("--max-time", default="1s", show_default=True, help="Of one launch's measurement.")
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
@click.option("--batch", default=64, show_default=True, help="Samples per step: short steps give a launch more turns.")
@click.option("--level", "levels", multiple=True, type=click.Choice(LEVELS), default=LEVELS, show_default=True)
def measure(
    folder: Path, equal: int, trials: int, rounds: int, max_time: str, threads: int, batch: int, levels: Sequence[str]
) -> None:
    """Measure what is not there yet."""
    for level in levels:
        for trial in (Trial(level, 0.0, equal), *(Trial(level, effect, trials) for effect in EFFECTS)):
            place = folder / trial.name
            if (place / "done").exists():
                continue
            run(trial, place, rounds=rounds, max_time=max_time, threads=threads, batch=batch)
            (place / "done").touch()
            click.echo(f"{trial.name}: {place}", err=True)


def run(trial: Trial, place: Path, *, rounds: int, max_time: str, threads: int, batch: int) -> None:
    """One run, judged between its rounds as `gpubench run --arm` does."""
    seeds = ", ".join(str(seed) for seed in range(trial.cases))
    text = SUITE.format(cases=trial.cases, seeds=seeds, threads=threads, max_time=max_time, batch=batch)
    loaded = parse_suite(text)
    settings = {"learning_rate": 1e-3 * (1 + trial.effect)} if trial.effect else {}
    given = {f"set.{name}": str(value) for name, value in settings.items()}
    arms = (Arm("first"), Arm("second", settings=settings, given=given))
    request = RunRequest(
        loaded, out=place, seed=20261123, arms=arms, rounds=rounds, interleave="block" if trial.level == "block" else "launch",
        search_path=(str(HERE),), argv=tuple(sys.argv),
    )  # fmt: skip
    verdicts = Verdicts([arm.name for arm in arms], rounds, CompareSettings(max_rounds=rounds))
    with open_progress(wide=True, verdicts=verdicts) as progress:
        if (place / "run.json").exists():
            again = ResumeRequest(place, arms=arms, search_path=(str(HERE),))
            outcome = resume(again, progress, settled=verdicts)
        else:
            outcome = start(request, progress, settled=verdicts)
        if outcome.interrupted:
            raise KeyboardInterrupt


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("reports/aa"), show_default=True)
def report(folder: Path) -> None:
    """The counts as Markdown."""
    header = [
        "level",
        "slow-down",
        "comparisons",
        "slower",
        "faster",
        "same",
        "unclear",
        "predicted slower",
        "rounds",
        "estimate",
    ]
    rows = []
    info = None
    for level in LEVELS:
        if not (folder / f"{level}-equal" / "done").exists():
            continue
        equal = load_run(folder / f"{level}-equal")
        info = equal.info
        spreads = [case.spread for case in plan(equal, settings_of(equal)).cases if case.spread is not None]
        for effect in (0.0, *EFFECTS):
            place = folder / Trial(level, effect, 0).name
            if (place / "done").exists():
                rows.append(_row(level, effect, load_run(place), spreads))
        click.echo(
            f"* {level}: a round's ratio varies by {format_percent(median(spreads))} (median of {len(spreads)} comparisons of equal arms)"
        )
    if info is None:
        raise click.UsageError(f"{folder} holds no finished run of equal arms")
    click.echo(f"* machine: {machine_line(info)}; seed {info.seed}\n")
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    click.echo("\n".join("| " + " | ".join(line) + " |" for line in lines))


def settings_of(run: Run) -> CompareSettings:
    return CompareSettings(max_rounds=run.info.repeats)


def _row(level: str, effect: float, run: Run, spreads: Sequence[float]) -> list[str]:
    reference, (other,) = arm_sides(run)
    settings = settings_of(run)
    compared: Compared = compare_sides(reference, other, ("throughput",), settings)
    found = [_comparison(change) for change in compared.changes]
    counts = Counter(each.verdict for each in found)
    predicted = mean(forecast(spread, settings, effect=effect).found for spread in spreads) if effect else None
    return [
        level,
        format_percent(effect) if effect else "none",
        str(len(found)),
        *(str(counts[word]) for word in ("slower", "faster", "same", "unclear")),
        "" if predicted is None else f"{predicted * len(found):.1f}",
        f"{mean(each.rounds for each in found):.1f}",
        format_percent(median(each.change for each in found), signed=True),
    ]  # fmt: skip


def _comparison(change: CaseChange):  # type: ignore[no-untyped-def]
    found = change.changes["throughput"].comparison
    assert found is not None, change.label
    return found


if __name__ == "__main__":
    main()
