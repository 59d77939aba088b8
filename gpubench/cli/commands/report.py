"""`gpubench report`: the report of a stored run or of a comparison of runs, as self-contained files."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.shared_options import complete_runs, price_of, price_option, store_option
from gpubench.core.errors import UsageError

if TYPE_CHECKING:
    from gpubench.suite.machine_prices import Price

_HTML = (".html", ".htm")
_MARKDOWN = (".md", ".markdown")


@click.command(name="report")
@click.argument("run", metavar="[RUN]", default="@last", shell_complete=complete_runs)
@click.option(
    "--against",
    "references",
    multiple=True,
    metavar="RUN2",
    shell_complete=complete_runs,
    help="Compare RUN with this one; can be repeated.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="FILE.html, or FILE.md with charts in FILE-charts/ (default: both, in the run folder; "
    "`-`: Markdown on stdout).",
)
@click.option("--allow-unpaired", is_flag=True, help="Call stored runs slower or faster even if not interleaved.")
@click.option("--force", is_flag=True, help="Overwrite FILE; compare even if GPU, suite or settings differ.")
@price_option
@store_option
def command(
    run: str,
    *,
    references: tuple[str, ...],
    output: Path | None,
    allow_unpaired: bool,
    force: bool,
    price: "Price | None",
    store: Path,
) -> None:
    """Write the report of a stored run.

    One HTML file that opens without a network, and the same as Markdown with SVG charts for code hosts: what was
    fastest and how certain that is, the effect of each setting, batch size, memory, energy, efficiency, steadiness,
    scores, every case with the command that repeats it, set-up, method. `gpubench run` writes the same when it ends.

    With --against, it shows what differs, the verdicts with their intervals, and both runs in each chart. A run with
    arms is reported as the comparison of its arms.

    \b
    Examples:
      gpubench report                          both files, in the last run's folder
      gpubench report 20261123 -o h100.html    another run, another place
      gpubench report after --against before   two runs by tag
      gpubench report --price 2.5/h            with what samples cost
      gpubench report @last -o - | less        Markdown on stdout
    """  # noqa: D301 - click looks for the character itself
    from gpubench.analysis.summary.run_summary import summarise_run
    from gpubench.cli.open_run import open_run, shown_name
    from gpubench.report.comparison.versus import runs_report
    from gpubench.report.render.markdown import render_markdown
    from gpubench.report.write import report_of, write_both, write_html, write_markdown
    from gpubench.store.atomic_files import prepare_output

    if output is not None and str(output) != "-":  # refused before anything is computed
        if output.suffix.lower() not in (*_HTML, *_MARKDOWN):
            raise UsageError(
                f"a report is HTML or Markdown: {output} ends in neither .html nor .md",
                hint="Give the file a name that ends in .html or .md.",
            )
        with suppress(OSError):  # not a path at all, which writing reports better
            if output.exists() and not force:
                raise UsageError(f"{output} exists", hint="Add --force to overwrite it.")
        prepare_output(output)
    stored = open_run(run, store)
    if price is not None and (references or stored.info.arms):
        raise click.UsageError("--price is for one run; for two machines: `gpubench compare --machines --price`.")
    others = [open_run(reference, store) for reference in references]
    stem = "report"
    if others:
        model = runs_report(stored, others, allow_unpaired=allow_unpaired, force=force)
        stem += f"-against-{'-'.join(other.folder.name for other in others)}"  # the run's own report stays
    else:
        summary = summarise_run(stored, price_per_hour=price_of(price, stored.info.environment)) if price else None
        model = report_of(stored, shown_name(stored.folder, store), summary)
    if output is None:
        click.echo(write_both(model, stored.folder, stem))
    elif str(output) == "-":
        sys.stdout.write(render_markdown(model))
    else:
        html = output.suffix.lower() in _HTML
        click.echo(write_html(model, output) if html else write_markdown(model, output, force=force))
