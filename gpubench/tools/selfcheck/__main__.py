"""`python -m gpubench.tools.selfcheck statistics`."""

import sys
from pathlib import Path

import click

from gpubench.store.run_reader import load_run
from gpubench.tools.selfcheck.measure_agents import COST_HEADER, cost_row, measure_agents
from gpubench.tools.selfcheck.simulate_bisections import SPREADS, render_searches, run_searches
from gpubench.tools.selfcheck.simulate_contests import CONTEST_SCENARIOS, render_contests, render_launches, run_contests
from gpubench.tools.selfcheck.simulate_fleets import FLEET_HEADER, FLEET_SCENARIOS, FLEETS, fleet_row, run_fleets
from gpubench.tools.selfcheck.simulate_tuning import TUNE_HEADER, run_tuning, tuning_row
from gpubench.tools.selfcheck.simulate_verdicts import TARGET_NOTES, render, run_selfcheck
from gpubench.tools.selfcheck.stored_grids import grid_rows, run_stored, write_rows


@click.group()
def main() -> None:
    """Slow checks of gpubench's claims, run by hand and stored in the documentation."""


@main.command()
@click.option(
    "--trials", type=click.IntRange(1), default=10_000, show_default=True, help="Comparisons per scenario and effect."
)
@click.option(
    "--suites", type=click.IntRange(1), default=1_000, show_default=True, help="Suites of 50 unchanged cases."
)
@click.option("--seed", default=20261123, show_default=True, help="Seed of the whole simulation.")
def statistics(trials: int, suites: int, seed: int) -> None:
    """Simulate comparisons with known answers and count the verdicts; exit 1 if a target is missed.

    A target is missed if the count is more than three standard errors beyond it, so few trials miss fewer.
    """
    found = run_selfcheck(trials=trials, suites=suites, seed=seed)
    click.echo(render(found))
    missed = found.missed
    click.echo(TARGET_NOTES if not missed else "Missed targets:\n" + "\n".join(f"* {line}" for line in missed))
    sys.exit(1 if missed else 0)


@main.command()
@click.option("--trials", type=click.IntRange(1), default=1000, show_default=True, help="Contests per scenario.")
@click.option("--seed", default=20261130, show_default=True, help="Seed of the whole simulation.")
def contests(trials: int, seed: int) -> None:
    """Simulate whole contests, block by block, and count verdicts; exit 1 if equal cases differ in more than 1 %."""
    counts = [run_contests(scenario, trials, seed) for scenario in CONTEST_SCENARIOS]
    click.echo(render_contests(counts))
    most = 0.01 + 3 * (0.01 / trials) ** 0.5
    wrong = [each for each in counts if max(each.equal_called_different, each.itself_called_different) > most]
    sys.exit(1 if wrong else 0)


@main.command()
@click.option("--trials", type=click.IntRange(1), default=10_000, show_default=True, help="Cases per scenario.")
@click.option("--seed", default=20261130, show_default=True, help="Seed of the whole simulation.")
def launches(trials: int, seed: int) -> None:
    """Simulate cases whose launches go on until their interval is narrow enough, and count what it covers."""
    click.echo(render_launches(trials, seed))


@main.command()
@click.option("--trials", type=click.IntRange(1), default=200, show_default=True, help="Searches per scenario.")
@click.option("--seed", default=20261130, show_default=True, help="Seed of the whole simulation.")
def bisect(trials: int, seed: int) -> None:
    """Simulate searches for one slow commit of 128; exit 1 if fewer than 95 % find it within 12 judgements."""
    counts = [run_searches(spread, trials, seed) for spread in SPREADS]
    click.echo(render_searches(counts))
    least = 0.95 - 3 * (0.95 * 0.05 / trials) ** 0.5
    sys.exit(1 if any(min(each.right, each.within) < least * trials for each in counts) else 0)


@main.command()
@click.option("--grids", type=click.IntRange(1), default=100, show_default=True, help="Searches per row.")
@click.option("--seed", default=20261130, show_default=True, help="Seed of the whole simulation.")
@click.option(
    "--stored",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Search the measured grids in this folder instead of simulated ones.",
)
def tune(grids: int, seed: int, stored: Path | None) -> None:
    """Search grids whose best setting is known; exit 1 if the choice or its cost misses the target.

    The choice is to be within 1 % of the best in 95 % of the searches, less three standard errors, and no search may
    take more than 15 % of the grid's launches.
    """
    click.echo(TUNE_HEADER)
    met = True
    for counts in run_tuning(grids, seed) if stored is None else run_stored(stored, grids, seed):
        click.echo(tuning_row(counts))
        met = met and counts.met
    sys.exit(0 if met else 1)


@main.command()
@click.argument("suite", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
def grid(suite: Path, runs: tuple[Path, ...]) -> None:
    """Print the launches and contests of RUNS of a suite as the CSV of a measured grid."""
    write_rows(grid_rows(suite, [load_run(run) for run in runs]), sys.stdout)


@main.command()
@click.option(
    "--fleets",
    type=click.IntRange(1),
    default=4000,
    show_default=True,
    help="Fleets of 8 cards per scenario; of more cards fewer, but at least a twentieth.",
)
@click.option("--seed", default=20261130, show_default=True, help="Seed of the whole simulation.")
def fleet(fleets: int, seed: int) -> None:
    """Simulate fleets with known slow cards and count who is named; exit 1 if a target is missed.

    Where cards agree to 0.2 %, 95 % of those that are 1 % slow are to be named, and at most one healthy card in 1,000.
    A target is missed if the count is more than three standard errors beyond it.
    """
    click.echo(FLEET_HEADER)
    met = True
    for num_cards in FLEETS:
        for scenario in FLEET_SCENARIOS:
            counts = run_fleets(scenario, num_cards, max(1, fleets * 8 // num_cards, fleets // 20), seed)
            click.echo(fleet_row(counts))
            met = met and counts.met
    sys.exit(0 if met else 1)


@main.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(1))
def agents(numbers: tuple[int, ...]) -> None:
    """Measure what a fleet of so many agents costs the run: messages, bytes, files, time and memory per card."""
    click.echo(COST_HEADER)
    for number in numbers or (64,):
        click.echo(cost_row(measure_agents(number)))


if __name__ == "__main__":
    main()
