"""A run as a tracked run of Weights & Biases, with its cases as a table."""

import os
from pathlib import Path
from typing import Any

from gpubench.report.sinks.exported_run import ExportedRun
from gpubench.report.sinks.table_files import typed_table

PROJECT = "gpubench"
"""Name of the project, unless the sink or $WANDB_PROJECT gives another."""


def send_to_wandb(run: ExportedRun, project: str) -> str:
    """Makes a tracked run and says where it is. `project` may be empty.

    Offline, in the run's folder or $WANDB_DIR, unless $WANDB_MODE says otherwise: `wandb sync` sends such a folder
    later. The library's own notes on machine, code, packages and console are switched off. Each call makes another
    tracked run.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else the library reports its errors to its makers
    import wandb

    facts = run.facts()
    tracked = wandb.init(
        project=project or os.environ.get("WANDB_PROJECT") or PROJECT,
        name=run.info.run,
        group=run.info.suite_name,
        job_type="benchmark",
        tags=[run.info.tag] if run.info.tag else None,
        config={"repeats": run.info.repeats, "seed": run.info.seed, **facts},
        mode=os.environ.get("WANDB_MODE") or "offline",
        dir=os.environ.get("WANDB_DIR") or run.stored.folder,
        reinit="create_new",
        settings=wandb.Settings(
            console="off",
            silent=True,
            host=facts.get("host", ""),
            save_code=False,
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        ),
    )
    try:
        tracked.log({"cases": _table(wandb, run)})
        tracked.summary.update(_summary(run))
        with run.documents() as paths:
            artifact = wandb.Artifact(f"report-{run.info.run}", type="report")
            for path in paths:
                artifact.add_file(str(path), policy="mutable")
            tracked.log_artifact(artifact)
            tracked.finish()
    except BaseException:
        tracked.finish(exit_code=1)
        raise
    folder = Path(tracked.dir).parent
    return f"{folder} (`wandb sync` sends it)" if tracked.offline else str(tracked.url)


def _table(wandb: Any, run: ExportedRun) -> Any:
    """The long table, with None for what is absent."""
    table = typed_table(run).astype(object)
    rows = table.where(table.notna(), None).to_numpy().tolist()
    return wandb.Table(columns=list(table.columns), data=rows, allow_mixed_types=True)


def _summary(run: ExportedRun) -> dict[str, float]:
    """The speed of each usable case under its label, and how many cases ended in which way."""
    found: dict[str, float] = {}
    for arm, case in run.cases():
        figure = case.metrics.get(case.speed_metric)
        if case.usable and figure is not None:
            found["/".join(filter(None, (arm, case.label, case.speed_metric)))] = figure.value
    for arm, summary in run.sides.items():
        for status, number in summary.counts.items():
            found["/".join(filter(None, (arm, f"cases_{status}")))] = number
    return found
