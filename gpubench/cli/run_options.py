"""Options of `gpubench run`: which exclude each other, and the `-s` overrides that some of them stand for."""

from collections.abc import Mapping
from typing import Any

import rich_click as click

from gpubench.cli.run_arms import AskedArms

_MOST_REPEATS = 1000


def repeats_value(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The value for `-s measure.repeats=`: `5`, `auto`, or `{min: 3, max: 12}` for `3..12`."""
    if value is None or value == "auto":
        return value
    least, dots, most = value.partition("..")
    numbers = [least, most] if dots else [least]
    if not all(number.isdecimal() and 1 <= int(number) <= _MOST_REPEATS for number in numbers):
        raise click.BadParameter(f"expected a number from 1 to 1000, 3..12 or auto, got {value!r}", ctx, param)
    return f"{{min: {least}, max: {most}}}" if dots else value


def check_options(options: Mapping[str, Any], arms: AskedArms) -> None:
    """click.UsageError for options that exclude each other. `options` are the parameters of the command by name."""
    _check_resume(options)
    if options["everything"] and not options["dry_run"]:
        raise click.UsageError("--all goes with --dry-run; `gpubench show RUN --all` lists every case of a stored run.")
    if options["selection"] is not None and options["cases"]:
        raise click.UsageError("-k and --case exclude each other.")
    arms.check_use(repeats=options["repeats"], resumed=options["resumed"] is not None)
    if len(options["inputs"]) > 1 and any("," in shape for shape in options["inputs"]):
        raise click.UsageError(
            "Each of several --input takes one shape; to try several, join them: -s input=3x64x64+10,3x128x128+10."
        )
    if options["price"] is not None and options["arms"]:
        raise click.UsageError("--price cannot be combined with --arm: an hour costs the same for all arms.")
    if options["baseline"] is not None and options["arms"]:
        raise click.UsageError("--baseline cannot be combined with --arm: arms are compared with the first one.")
    if options["baseline"] is not None and options["as_json"]:
        raise click.UsageError(
            "--json prints the run alone; `gpubench compare REF @last --json` prints the comparison with a stored one."
        )


def _check_resume(options: Mapping[str, Any]) -> None:
    """What has no meaning without --resume, and what a resumed run has already."""
    if (options["suite"] is None) == (options["resumed"] is None):
        raise click.UsageError("Name a suite or target to run, or a run to --resume.")
    if options["resumed"] is None:
        for name in ("force", "trust"):
            if options[name]:
                raise click.UsageError(f"--{name} applies only to a stored run: add --resume RUN.")
        return
    if any(options[name] for name in ("overrides", "selection", "cases", "dry_run")):
        raise click.UsageError("--resume cannot be combined with -s, -k, --case or --dry-run.")
    planned = [
        f"--{name}" for name in ("tag", "seed", "out", "repeats", "timeout", "engine") if options[name] is not None
    ]
    planned += ["--price"] if options["price"] is not None else []
    planned += ["--no-contest"] if options["no_contest"] else []
    if planned:
        raise click.UsageError(f"--resume continues the run as planned: it cannot be combined with {planned[0]}.")


def overrides_of(
    *, repeats: str | None, no_contest: bool, timeout: float | None, engine: str | None
) -> tuple[str, ...]:
    """The `-s` overrides that these options stand for."""
    values: dict[str, object] = {"measure.repeats": repeats, "contest": "off" if no_contest else None}
    values |= {"measure.timeout": timeout, "cluster.engine": engine}
    return tuple(f"{setting}={value}" for setting, value in values.items() if value is not None)
