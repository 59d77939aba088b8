"""`gpubench export`: a stored run for other programs."""

from pathlib import Path

import rich_click as click

from gpubench.cli.shared_options import complete_runs, sink_option, store_option
from gpubench.core.errors import ExitStatus


@click.command(name="export")
@click.argument("run", metavar="[RUN]", default="@last", shell_complete=complete_runs)
@sink_option("--to", "Where to send it", required=True)
@store_option
def command(run: str, *, sinks: tuple[str, ...], store: Path) -> int:
    """Send a stored run to other programs.

    FILE.prom is OpenMetrics text for node exporter's textfile collector, replaced at once and never seen half written.
    FILE.parquet and FILE.csv are the long table of `gpubench show --csv`: a row per case and metric. mlflow and wandb
    make a tracked run with the report in it; wandb stays offline unless $WANDB_MODE is online. Parquet, MLflow and
    Weights & Biases are extras: pip install 'gpubench[parquet,mlflow,wandb]'. Files are overwritten.

    `gpubench run --export SINK` does the same when a run ends. Exit status 2 if a sink failed; the others got the run.

    \b
    Examples:
      gpubench export --to /var/lib/node_exporter/gpubench.prom    the last run
      gpubench export before --to before.parquet
      gpubench export --to mlflow:sqlite:///mlflow.db
      gpubench export --to wandb:my-project
    """  # noqa: D301 - click looks for the character itself
    from gpubench.cli.exports import checked_sinks, export_to
    from gpubench.cli.open_run import open_run
    from gpubench.report.sinks.exported_run import ExportedRun, summarise_sides

    named = checked_sinks(sinks)
    stored = open_run(run, store)
    sent = export_to(named, ExportedRun(stored, summarise_sides(stored)))
    for where in sent:
        click.echo(where)
    return ExitStatus.OK if len(sent) == len(named) else ExitStatus.USAGE
