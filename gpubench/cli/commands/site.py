"""`gpubench site`: a static site over all runs."""

from pathlib import Path

import rich_click as click

from gpubench.cli.print_errors import say
from gpubench.cli.shared_options import database_option, share, store_option


@click.command(name="site")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path, file_okay=False))
@click.option("--floor", type=share, default="3%", show_default=True, help="Smallest change of level to report.")
@click.option("--force", is_flag=True, help="Write into a folder that has other files.")
@store_option
@database_option
def command(out: Path, *, floor: float, force: bool, store: Path, database: str | None) -> None:
    """Write a static site over all stored runs.

    Into the folder OUT: an index, and a page per suite, machine and case, with the history of each metric, its changes
    of level (as `gpubench history` finds them), the versions that were measured, and links to the reports of runs that
    have one. Pages need no server, no network and no script.

    With --db, over the runs in a database (`gpubench db sync`). Written again, the site is brought up to date: pages of
    cases that no run has any more are removed. Links to reports are relative, so publish OUT together with the runs.

    \b
    Examples:
      gpubench site reports/site                      over the runs in reports/
      gpubench site site --db sqlite:///runs.db
      gpubench site site --store /shared/reports --floor 5%
    """  # noqa: D301 - click looks for the character itself
    from gpubench.cli.past_runs import nothing_found, open_past_runs
    from gpubench.report.site.site_content import site_content
    from gpubench.report.site.write_site import check_site_folder, write_site

    check_site_folder(out, force=force)  # refused before anything is computed
    notes: list[str] = []
    runs = open_past_runs(store, database, None, notes)
    for note in notes:
        say(f"note: {note}")
    content = site_content(runs, out, floor=floor)
    if not content.cases:
        raise nothing_found("a figure", store, database)
    click.echo(write_site(content, out, force=force))
