"""`gpubench report`: the report of a stored run, or of runs held against each other, as files that travel."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.shared_options import complete_runs, store_option
from gpubench.core.errors import UsageError

if TYPE_CHECKING:
    from gpubench.report.model.report_model import ReportModel
    from gpubench.store.run_reader import Run

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
    help="Compare RUN with this one; may be given several times.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="FILE.html, or FILE.md with its charts in FILE-charts/ (default: both in the run folder; `-`: Markdown on stdout).",
)
@click.option(
    "--allow-unpaired", is_flag=True, help="Call stored runs slower or faster although they were not interleaved."
)
@click.option("--force", is_flag=True, help="Overwrite FILE; compare where GPU, suite or settings differ all the same.")
@store_option
def command(
    run: str, *, references: tuple[str, ...], output: Path | None, allow_unpaired: bool, force: bool, store: Path
) -> None:
    """Write the report of a stored run.

    One HTML file that opens anywhere, without a network, and its Markdown twin with SVG charts that a code host shows:
    what was fastest and how sure that is, what each setting does, batch size, memory, energy, efficiency, steadiness,
    accuracy, every case with the command that repeats it, set-up, method. `gpubench run` writes the same at its end.

    With --against: what differs, the verdicts with their intervals, both runs in each chart. A run with arms is
    reported as the comparison of its arms.

    \b
    Examples:
      gpubench report                          both files, in the last run's folder
      gpubench report 20261123 -o h100.html    another run, another place
      gpubench report after --against before   two runs by their tags
      gpubench report @last -o - | less        Markdown on stdout
    """  # noqa: D301 - click looks for the character itself
    from gpubench.cli.open_run import open_run

    _check_output(output, force=force)
    stored = open_run(run, store)
    others = [open_run(reference, store) for reference in references]
    model = _model(stored, others, store, allow_unpaired=allow_unpaired, force=force)
    if str(output) == "-":
        from gpubench.report.render.markdown import render_markdown

        sys.stdout.write(render_markdown(model))
        return
    click.echo(_write(model, output, stored.folder, _stem(others)))


def _check_output(path: Path | None, *, force: bool) -> None:
    """Before anything is computed: a name that says what to write, and nothing overwritten unasked."""
    if path is None or str(path) == "-":
        return
    if path.suffix.lower() not in (*_HTML, *_MARKDOWN):
        raise UsageError(
            f"a report is HTML or Markdown: {path} ends in neither .html nor .md",
            hint="Give the file a name that ends in .html or .md.",
        )
    if _exists(path) and not force:
        raise UsageError(f"{path} exists", hint="Add --force to overwrite it.")


def _exists(path: Path) -> bool:
    """False also for what cannot be a path, which writing says better."""
    try:
        return path.exists()
    except OSError:
        return False


def _model(stored: "Run", others: "list[Run]", store: Path, *, allow_unpaired: bool, force: bool) -> "ReportModel":
    from gpubench.cli.open_run import shown_name
    from gpubench.report.write import report_of

    if not others:
        return report_of(stored, shown_name(stored.folder, store))
    from gpubench.report.comparison.versus import runs_report

    return runs_report(stored, others, allow_unpaired=allow_unpaired, force=force)


def _stem(others: "list[Run]") -> str:
    """The file name in the run folder: a comparison must not take the place of the run's own report."""
    return "report" if not others else f"report-against-{'-'.join(run.folder.name for run in others)}"


def _write(model: "ReportModel", output: Path | None, folder: Path, stem: str) -> Path:
    from gpubench.report.write import write_both, write_html, write_markdown

    if output is None:
        return write_both(model, folder, stem)
    return write_html(model, output) if output.suffix.lower() in _HTML else write_markdown(model, output)
