"""`gpubench history`: a metric over the stored runs."""

import sys
from pathlib import Path

import rich_click as click

from gpubench.cli.shared_options import (
    database_option,
    json_option,
    select_option,
    share,
    store_option,
    wide_option,
)
from gpubench.core.errors import UsageError


@click.command(name="history")
@click.argument("metric", metavar="[METRIC]", default="throughput")
@select_option
@click.option("--suite", metavar="NAME", help="Only runs of this suite.")
@click.option("--floor", type=share, default="3%", show_default=True, help="Smallest change of level to report.")
@json_option
@wide_option
@store_option
@database_option
def command(
    metric: str,
    *,
    selection: str | None,
    suite: str | None,
    floor: float,
    as_json: bool,
    wide: bool,
    store: Path,
    database: str | None,
) -> None:
    """Show a metric across stored runs and flag shifts.

    With --db, across the runs in a database (`gpubench db sync`).

    Each case of each machine is a separate series. A change needs four runs on either side and is found by the energy
    statistic with permutations. Take it as a reason to measure again, never as a gate: stored runs were not
    interleaved.

    \b
    Examples:
      gpubench history                                     throughput of every case
      gpubench history peak_memory_allocated_bytes --suite cnn
      gpubench history throughput -k 'precision=amp-bf16' --floor 5% --json
      gpubench history --db sqlite:///runs.db --suite cnn
    """  # noqa: D301 - click looks for the character itself
    from gpubench.analysis.history.case_history import histories
    from gpubench.cli.gate.choose_sides import by_settings
    from gpubench.cli.past_runs import nothing_found, open_past_runs
    from gpubench.core.did_you_mean import near_aside
    from gpubench.core.metrics import METRICS
    from gpubench.report.comparison.comparison_report import unknown_metrics

    if unknown_metrics([metric]):
        said = f"{metric!r} is not a metric that can get better or worse{near_aside(metric, METRICS)}"
        raise UsageError(said, hint="`gpubench list metrics` names them.")
    notes: list[str] = []
    runs = open_past_runs(store, database, suite, notes)
    keeps = None if selection is None else by_settings(selection)
    found = histories(runs, metric, keeps, floor=floor)
    if not found:
        raise nothing_found(f"{metric}{' for a matching case' if selection else ''}", store, database)
    if as_json:
        from gpubench.report.comparison.history_screen import history_document
        from gpubench.report.comparison.json_documents import to_lines

        sys.stdout.write(to_lines(history_document(metric, found, floor=floor)))
        return
    from gpubench.cli.screens.final_screen import result_writer
    from gpubench.report.comparison.history_screen import build_history
    from gpubench.report.render.result_screen import print_comparison

    print_comparison(result_writer(wide=wide), build_history(metric, found, floor=floor, notes=notes))
