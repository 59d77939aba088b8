"""The command line: a table of contents. Each command is a separate module, imported on use."""

import sys
from collections.abc import Sequence

import rich_click as click

from gpubench.cli.console import set_color
from gpubench.cli.lazy_group import LazyCommand, LazyGroup
from gpubench.cli.own_variables import set_own_variables
from gpubench.cli.print_errors import set_debug, status_of
from gpubench.cli.streams import prepare_streams
from gpubench.core.version import __version__

COMMANDS = (
    LazyCommand("run", "Measure", "Run a suite and store the results."),
    LazyCommand("tune", "Measure", "Search for the fastest correct settings of a model."),
    LazyCommand("node", "Measure", "Serve a run elsewhere as one of its machines."),
    LazyCommand("stat", "Measure", "Measure any program: time, memory, energy, clocks."),
    LazyCommand("profile", "Measure", "Run one case under a profiler, or read a trace."),
    LazyCommand("validate", "Measure", "Check a suite file and count its cases."),
    LazyCommand("init", "Measure", "Write a starter suite and model."),
    LazyCommand("compare", "Analyse", "Compare runs, case by case."),
    LazyCommand("check", "Analyse", "Fail if a run regressed from its baseline: the CI gate."),
    LazyCommand("bisect", "Analyse", "Find the commit that made a case slower."),
    LazyCommand("plan", "Analyse", "Estimate how many rounds and how long a verdict takes."),
    LazyCommand("history", "Analyse", "Show a metric across stored runs and flag shifts."),
    LazyCommand("db", "Analyse", "Keep the runs of a team in one database."),
    LazyCommand("site", "Analyse", "Write a static site over all stored runs."),
    LazyCommand("report", "Analyse", "Write the report of a stored run."),
    LazyCommand("export", "Analyse", "Send a stored run to other programs."),
    LazyCommand("list", "Inspect", "Suites, workloads, metrics, findings, stored runs."),
    LazyCommand("show", "Inspect", "One run or one case in full."),
    LazyCommand("doctor", "Inspect", "Check this machine for anything that spoils measurements."),
    LazyCommand("completion", "Inspect", "Print the completion script of a shell."),
)

HELP = """GPU benchmarking and profiling with numbers you can trust.

A suite file names the settings to try (device, precision, batch size, layout, cuDNN, ...). `run` measures every
combination, each launch in its own process, reads the settings back, and says how certain each figure is.

\b
Examples:
  gpubench run cnn-smoke        a first run, under a minute
  gpubench run cnn --dry-run    what would run here, and for how long
  gpubench show @last           the latest run again
  gpubench show @last:3         one of its cases in full

\b
Exit status:
  0 ok    1 gate failed    2 usage error    3 a case failed
  4 machine unfit (--strict)    130 interrupted    141 broken pipe
"""

HELP_STYLE = {"theme": "default-slim", "text_paragraph_linebreaks": "\n\n", "style_helptext": "", "max_width": 100}
"""How rich-click draws the help of a command."""


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "rich_help_config": HELP_STYLE},
)
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    expose_value=False,
    is_eager=True,
    callback=set_color,
    help="When to use colour; `auto` respects the terminal and NO_COLOR.",
)
@click.option(
    "--debug",
    is_flag=True,
    envvar="GPUBENCH_DEBUG",
    expose_value=False,
    is_eager=True,
    callback=set_debug,
    help="Show the traceback of an unexpected error.",
)
@click.version_option(__version__, "-V", "--version", message="gpubench %(version)s")
def cli() -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line (by default the process's) and returns its exit status. Prints errors, raises none."""
    set_own_variables()
    prepare_streams()
    return status_of(cli, list(sys.argv[1:] if arguments is None else arguments))
