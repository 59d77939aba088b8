"""`gpubench list`: suites, workloads, metrics, findings, stored runs."""

from collections.abc import Callable
from pathlib import Path

import rich_click as click

from gpubench.cli.shared_options import json_option, store_option, wide_option
from gpubench.report.model.inert_text import json_text

KINDS = ("suites", "workloads", "metrics", "findings", "runs")


@click.command(name="list")
@click.argument("kind", metavar=f"[{'|'.join(KINDS)}]", type=click.Choice(KINDS), default="suites")
@click.argument("name", metavar="[NAME]", required=False)
@json_option
@wide_option
@store_option
def command(kind: str, name: str | None, *, as_json: bool, wide: bool, store: Path) -> None:
    """Suites, workloads, metrics, findings, stored runs.

    With NAME, shows that one in full: what a finding code means, what a metric is.

    \b
    Examples:
      gpubench list                        suites that ship with gpubench
      gpubench list findings GB204         what a code means and what to do
      gpubench list metrics throughput
      gpubench list runs --store results --json
    """  # noqa: D301 - click looks for the character itself
    from gpubench.cli.screens import listings
    from gpubench.cli.screens.final_screen import result_writer

    read: dict[str, Callable[[], listings.Listing]] = {
        "suites": listings.suites,
        "workloads": listings.workloads,
        "metrics": listings.metrics,
        "findings": listings.findings,
        "runs": lambda: listings.runs(store),
    }
    listing = read[kind]()
    if name is not None:
        listing = listing.only(name)
    if as_json:
        click.echo(json_text({"schema": 1, kind: listing.entries}, indent=2))
        return
    writer = result_writer(wide=wide)
    if name is not None:
        for number, entry in enumerate(listing.entries):
            if number:
                writer.blank()
            writer.facts(listing.facts(entry))
        return
    if listing.entries:
        writer.table(listing.table())
    for said in listing.notes if listing.entries else listing.when_empty:
        writer.text(said, indent="  ", tone="muted")
