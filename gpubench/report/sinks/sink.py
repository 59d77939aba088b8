"""The sinks by name, and what a user writes to name one."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from gpubench.core.errors import GpubenchError, StoreError, UsageError
from gpubench.report.model.inert_text import shorten
from gpubench.report.sinks.exported_run import ExportedRun
from gpubench.report.sinks.mlflow_runs import send_to_mlflow
from gpubench.report.sinks.open_metrics import write_open_metrics
from gpubench.report.sinks.table_files import write_csv, write_parquet
from gpubench.report.sinks.wandb_run import send_to_wandb
from gpubench.store.atomic_files import prepare_output

_MOST_SAID = 300


class SinkSpec(NamedTuple):
    """A kind of sink. `send` gets the run and the rest of the sink's name, and returns where the run went.

    `module`: the one it needs, which the extra of gpubench called `extra` installs.
    """

    title: str
    send: Callable[[ExportedRun, str], str]
    module: str | None = None
    extra: str = ""


FILES = {
    ".prom": SinkSpec("OpenMetrics text", write_open_metrics),
    ".parquet": SinkSpec("Parquet", write_parquet, "pyarrow", "parquet"),
    ".csv": SinkSpec("CSV", write_csv),
}
"""By the ending of the file."""

TRACKERS = {
    "mlflow": SinkSpec("MLflow", send_to_mlflow, "mlflow", "mlflow"),
    "wandb": SinkSpec("Weights & Biases", send_to_wandb, "wandb", "wandb"),
}
"""By the word before the colon."""


@dataclass(frozen=True)
class Sink:
    """A place for a run. `where` is a file, or what follows the tracker's name (a URI, a project; may be empty)."""

    spec: SinkSpec
    where: str
    text: str

    def check(self) -> None:
        """UsageError if its library is missing, StoreError if its file cannot be written: before hours of work."""
        if self.spec.module is not None and find_spec(self.spec.module) is None:
            raise UsageError(
                f"{self.spec.title} needs {self.spec.module}, which is not installed",
                hint=f"Install it: pip install 'gpubench[{self.spec.extra}]'",
            )
        if self.spec in FILES.values():
            prepare_output(Path(self.where))

    def send(self, run: ExportedRun) -> str:
        """Sends the run and says where it went. StoreError with the reason if that fails, whatever a library raises."""
        try:
            return self.spec.send(run, self.where)
        except GpubenchError:
            raise
        except Exception as error:
            said = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise StoreError(f"{type(error).__name__}: {shorten(said, _MOST_SAID)}") from error


def parse_sink(text: str) -> Sink:
    """`FILE.prom`, `FILE.parquet`, `FILE.csv`, `mlflow[:URI]` or `wandb[:PROJECT]`. UsageError for anything else."""
    name, _, rest = text.partition(":")
    if name in TRACKERS:
        return Sink(TRACKERS[name], rest, text)
    spec = FILES.get(Path(text).suffix.lower())
    if spec is None:
        endings = ", ".join(FILES)
        raise UsageError(
            f"{text!r} is no place to export a run to",
            hint=f"Name a file that ends in one of {endings}, or mlflow[:URI] or wandb[:PROJECT].",
        )
    return Sink(spec, text, text)
