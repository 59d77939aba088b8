"""Options and completions that several commands share."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from gpubench.suite.machine_prices import Price
    from gpubench.suite.model.suite import Suite

Decorator = Callable[[Any], Any]


class Share(click.ParamType):  # type: ignore[type-arg]
    """A share above 0 and below 1: `3%` or `0.03`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from gpubench.core.units import parse_fraction

        try:
            fraction = parse_fraction(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not 0 < fraction < 1:
            self.fail(f"must be above 0 and below 1, got {value}", param, ctx)
        return fraction


share = Share()


class _Price(click.ParamType):  # type: ignore[type-arg]
    """`2.5/h`, or a file of prices by machine."""

    name = "price"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Price":
        from gpubench.suite.machine_prices import Price

        try:
            return Price.of_text(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


price = _Price()
price_option: Decorator = click.option(
    "--price",
    type=price,
    metavar="X/h|FILE",
    help="What the machine costs, in any currency: 2.5/h, or a YAML file with `NAME: X/h` for each machine or device. "
    "Adds what samples cost.",
)


def price_of(price: "Price | None", environment: Mapping[str, Any]) -> float | None:
    """The price of the machine of a run, by its environment."""
    from gpubench.machine.environment import comparable, machine_names

    return None if price is None else price.of(machine_names(environment.get("hostname"), comparable(environment)))


def price_here(price: "Price | None", suite: "Suite | None" = None) -> float | None:
    """The price of this machine, on which `suite` is measured. UsageError for a file, if it takes several machines."""
    if price is None or price.path is None:
        return None if price is None else price.hour
    if suite is not None and suite.cluster is not None and suite.cluster.engine != "local":
        raise click.UsageError(
            f"{price.path} has prices of single machines, and this suite is measured on several: give what an hour of "
            "all of them costs, such as --price 20/h."
        )
    from gpubench.machine.environment import collect

    return price_of(price, collect({}))


def seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A callback: `20m`, `4.2ms`, `1h30m` or a number of seconds, above 0."""
    from gpubench.core.units import parse_duration

    if value is None:
        return None
    try:
        found = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error
    if found <= 0:
        raise click.BadParameter(f"must be more than 0, got {value}", ctx, param)
    return found


DEFAULT_STORE = Path("reports")

store_option: Decorator = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_STORE,
    show_default=True,
    metavar="DIR",
    envvar="GPUBENCH_STORE",
    help="Folder that holds the runs.",
)

database_option: Decorator = click.option(
    "--db",
    "database",
    metavar="URL",
    envvar="GPUBENCH_DB",
    help="A database of runs: see `gpubench db --help`.",
)

_SINK = "FILE.prom (OpenMetrics), FILE.parquet, FILE.csv, mlflow[:URI] or wandb[:PROJECT]; can be repeated."


def sink_option(name: str, purpose: str, **settings: Any) -> Decorator:
    """An option that names sinks: `purpose` begins its help."""
    return click.option(name, "sinks", multiple=True, metavar="SINK", help=f"{purpose}: {_SINK}", **settings)


json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")

set_option: Decorator = click.option(
    "-s",
    "--set",
    "overrides",
    multiple=True,
    metavar="AXIS=V,..",
    help="Replace an axis or setting: batch_size=64,256, device=cpu, measure.max_time=5s, quality=off.",
)

input_option: Decorator = click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="SHAPE",
    help="Shape of one sample of your own model: 3x224x224, int30000:128, bool:128. Once for each argument of "
    "`forward`, in order or as NAME=SHAPE.",
)

loss_option: Decorator = click.option(
    "--loss",
    type=click.Choice(["cross-entropy", "mse", "output"]),
    metavar="LOSS",
    help="Loss of your own model: cross-entropy, mse, or output if it returns its loss.",
)


def model_settings(inputs: tuple[str, ...], loss: str | None) -> tuple[str, ...]:
    """`--input` and `--loss` as values for `-s`."""
    settings = [f"input={json.dumps('+'.join(inputs), ensure_ascii=False)}"] if inputs else []
    return (*settings, *(() if loss is None else (f"loss={loss}",)))


_TAG = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


def _tag(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A tag that cannot be mistaken for a path, `@last` or `run:case`."""
    if value is not None and not _TAG.fullmatch(value):
        raise click.BadParameter(
            f"a tag may contain letters, digits, '.', '-' and '_', and starts with a letter or digit; got {value!r}",
            ctx,
            param,
        )
    return value


tag_option: Decorator = click.option(
    "--tag", callback=_tag, metavar="NAME", help="A name for the run that other commands accept."
)

select_option: Decorator = click.option(
    "-k", "selection", metavar="EXPR", help="Only cases that match: 'precision=amp-bf16 and batch_size>=64'."
)

wide_option: Decorator = click.option("--wide", is_flag=True, help="Show every column, whatever the width.")


def complete_suites(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """Suites of the package, then files."""
    from click.shell_completion import CompletionItem

    from gpubench.suite.read.shipped import shipped_suites

    names = [CompletionItem(name) for name in shipped_suites() if name.startswith(incomplete)]
    return names if names and "/" not in incomplete else [*names, CompletionItem(incomplete, type="file")]


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """`@last` and the runs of the store."""
    from click.shell_completion import CompletionItem

    store = ctx.params.get("store") or DEFAULT_STORE
    found = sorted((head.parent.name for head in Path(store).glob("*/run.json")), reverse=True)
    return [CompletionItem(name) for name in ("@last", *found) if name.startswith(incomplete)]
