"""`python -m gpubench.tools.selfcheck statistics`."""

import sys

import click

from gpubench.tools.selfcheck.simulate_verdicts import TARGET_NOTES, render, run_selfcheck


@click.group()
def main() -> None:
    """Slow checks of gpubench's claims, run by hand and stored in the documentation."""


@main.command()
@click.option(
    "--trials", type=click.IntRange(1), default=10_000, show_default=True, help="Comparisons per scene and effect."
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


if __name__ == "__main__":
    main()
