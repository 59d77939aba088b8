"""`gpubench profile`: profiles one case, or reads an existing trace."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from gpubench.cli.shared_options import complete_suites, json_option, seconds, set_option, store_option, wide_option
from gpubench.report.model.inert_text import json_text

if TYPE_CHECKING:
    from gpubench.profile.capture.capture_case import ToolChoice
    from gpubench.profile.figures.summary_model import ProfileSummary

_TOP = 10
_OTHER_COLUMNS = 64
_LEAST_NAME = 32
_HELP = """Run one case under a profiler, or read a trace.

For the options of a capture, see `gpubench profile case --help`; the word `case` is optional.

\b
Examples:
  gpubench profile SUITE -k 'precision=amp-bf16 and batch_size=64'
  gpubench profile SUITE --case ID
  gpubench profile RUN:CASE
  gpubench profile read FILE
"""


_top_option = click.option(
    "--top", default=_TOP, show_default=True, type=click.IntRange(1, 1000), help="Kernels to list."
)


class _CaseUnlessNamed(click.RichGroup):
    """Allows `gpubench profile SUITE ...`: passes anything that is not a subcommand to `case`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            word = next((each for each in args if each in self.commands), None) if args[0].startswith("-") else None
            rest = list(args)
            if word is not None:  # `profile --color never read FILE`: options belong to the subcommands
                rest.remove(word)
            args = [word or "case", *rest]
        return super().parse_args(ctx, args)


@click.group(name="profile", cls=_CaseUnlessNamed, help=_HELP)
def command() -> None:
    pass


@command.command(name="read")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--step", "step_name", metavar="NAME", help="Name of the range that marks a step, in a trace of another program."
)
@click.option("--process", type=int, metavar="PID", help="The process to look at, if several have steps.")
@click.option(
    "--measured",
    callback=seconds,
    metavar="TIME",
    help="Step time without a profiler (`4.2ms`), to show how much the profiler slowed it down.",
)
@click.option("--nsys", metavar="PATH", help="Path of the nsys that opens a .nsys-rep.")
@_top_option
@json_option
@wide_option
def read(
    file: Path,
    *,
    step_name: str | None,
    process: int | None,
    measured: float | None,
    nsys: str | None,
    top: int,
    as_json: bool,
    wide: bool,
) -> None:
    """Summarise FILE: .nsys-rep, .sqlite (nsys export), .json/.json.gz (torch.profiler), .csv (ncu), of any program."""
    from gpubench.profile.capture.run_tool import open_trace
    from gpubench.profile.figures.summarize import TOP_KERNELS, summarize

    trace = open_trace(file, nsys)
    summary = summarize(
        trace, step_name=step_name, process=process, measured_step_time_s=measured, top=max(top, TOP_KERNELS)
    )
    show(summary, as_json=as_json, wide=wide, trace=file, top=top)


def show(
    summary: "ProfileSummary", *, as_json: bool, wide: bool, trace: Path | None, top: int = _TOP, label: str = ""
) -> None:
    """The result on stdout: JSON, or the screen. `trace` is where the trace was kept (None: it was not)."""
    if as_json:
        click.echo(json_text(summary.model_dump(mode="json", by_alias=True), indent=2))
        return
    from gpubench.cli.screens.final_screen import result_writer
    from gpubench.report.pages.profile_page import profile_page

    writer = result_writer(wide=wide)
    name_width = max(_LEAST_NAME, writer.table_width - _OTHER_COLUMNS)
    head, *sections = profile_page(summary, label=label, trace=trace, top=top, name_width=name_width)
    writer.heading(head.heading)
    writer.facts(head.facts)
    for section in sections:
        writer.section(section)


@command.command(name="case")
@click.argument("target", metavar="SUITE|RUN:CASE", shell_complete=complete_suites)
@click.option(
    "-k", "selection", metavar="EXPR", help="Select the one case to profile: 'precision=amp-bf16 and batch_size=64'."
)
@click.option("--case", "named", metavar="ID", help="The case to profile: its id, the start of its id, or its label.")
@set_option
@click.option(
    "--tool",
    type=click.Choice(["auto", "nsys", "ncu", "torch"]),
    default="auto",
    show_default=True,
    help="The profiler.",
)
@click.option(
    "--steps",
    default=10,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Steady steps to capture (ncu: always 1).",
)
@click.option("-n", "--dry-run", is_flag=True, help="Print the command line, run nothing.")
@click.option("--no-keep-trace", "keep_trace", flag_value=False, help="Delete the trace, and keep only the figures.")
@click.option("--keep-trace", "keep_trace", flag_value=True, default=True, hidden=True)
@click.option("--memory", is_flag=True, help="Also write torch's allocation snapshot of the steady steps (CUDA).")
@click.option(
    "--pass-env",
    metavar="NAME",
    multiple=True,
    help="Pass this variable to the program even though it looks like a secret.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Profile even if the stored run's code has changed, or --out contains other files.",
)
@click.option("--trust", is_flag=True, help="Allow a stored run from another user or machine to start its code.")
@click.option("--download", is_flag=True, help="Allow data sets to be downloaded into their `data_root`.")
@store_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for this profile (default: a new one in the store, or in the run's folder).",
)
@click.option(
    "--timeout",
    default="10m",
    show_default=True,
    callback=seconds,
    metavar="TIME",
    help="Stop the profiler after this long.",
)
@click.option("--nsys", metavar="PATH", help="Path of the nsys to use.")
@click.option("--ncu", metavar="PATH", help="Path of the ncu to use.")
@_top_option
@json_option
@wide_option
def case(
    target: str,
    *,
    selection: str | None,
    named: str | None,
    overrides: tuple[str, ...],
    tool: "ToolChoice",
    steps: int,
    dry_run: bool,
    keep_trace: bool,
    memory: bool,
    pass_env: tuple[str, ...],
    force: bool,
    trust: bool,
    download: bool,
    store: Path,
    out: Path | None,
    timeout: float,
    nsys: str | None,
    ncu: str | None,
    top: int,
    as_json: bool,
    wide: bool,
) -> None:
    """Capture steady-state steps of one case and say where their time goes.

    SUITE is a file or the name of a suite that ships with gpubench; --case, -k and -s must leave one case. RUN:CASE is
    a case of a stored run, as for `gpubench show`: its profile goes into the run's folder, and into its report.
    """
    from gpubench.cli import profile_case
    from gpubench.profile.capture import capture_case

    wanted: dict[str, Any] = {"steps": steps, "out": out, "memory": memory, "download": download, "store": store}
    chosen = profile_case.choose(target, selection, named, overrides, force=force, trust=trust, **wanted)
    made = capture_case.plan(chosen.job, tool, nsys=nsys, ncu=ncu, pass_env=pass_env)
    if dry_run:
        click.echo(profile_case.command_line(made))
        return
    captured = profile_case.capture(made, chosen, timeout_s=timeout, keep_trace=keep_trace, force=force)
    kept = captured.trace if keep_trace else None
    show(captured.summary, as_json=as_json, wide=wide, trace=kept, top=top, label=chosen.job.label)
