"""A run as tracked runs of MLflow: one for the run, and within it one per case."""

import logging
import os
import time
import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import CRASHED, Record, Status
from gpubench.report.sinks.exported_run import ExportedRun

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "gpubench"
"""Name of the experiment, unless $MLFLOW_EXPERIMENT_NAME gives another."""

_DEFAULTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""MLflow reports its use to its makers, and tries an unreachable server for minutes, unless told otherwise."""

_NOT_TRIED = (Status.SKIPPED, Status.UNSUPPORTED)
_MOST_VALUE = 500


def send_to_mlflow(run: ExportedRun, uri: str) -> str:
    """Makes a tracked run with a nested run per case that was tried, and says where it is.

    `uri`: of the tracking server or database; empty for MLflow's own choice ($MLFLOW_TRACKING_URI). Each call makes
    another tracked run. If it fails half way, the tracked run has the status FAILED.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that MLflow uses
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        client = MlflowClient(tracking_uri=uri or None)
        parent = _create(client, run)
        try:
            _fill(client, run, parent)
        except BaseException:
            client.set_terminated(parent, status="FAILED")
            raise
        client.set_terminated(parent, status="FINISHED", end_time=_span_ms(run.stored.records)[1])
    return f"MLflow run {parent} in {client.tracking_uri}"


def _create(client: "MlflowClient", run: ExportedRun) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    tags = {f"gpubench.{fact}": value[:_MOST_VALUE] for fact, value in run.facts().items()}
    began_ms = int(datetime.fromisoformat(run.info.created).timestamp() * 1000)
    created = client.create_run(experiment, run_name=run.info.run, tags=tags, start_time=began_ms)
    return str(created.info.run_id)


def _fill(client: "MlflowClient", run: ExportedRun, parent: str) -> None:
    parameters = {"repeats": run.info.repeats, "seed": run.info.seed, **run.facts()}
    counts = {
        f"{arm}.cases_{status}" if arm else f"cases_{status}": float(number)
        for arm, summary in run.sides.items()
        for status, number in summary.counts.items()
    }
    _log(client, parent, parameters, counts)
    experiment = client.get_run(parent).info.experiment_id
    for arm, case in run.cases():
        if case.status not in _NOT_TRIED:
            _add_case(client, experiment, parent, arm, case)
    with run.documents() as paths:
        for path in paths:
            client.log_artifact(parent, str(path))


def _add_case(client: "MlflowClient", experiment: str, parent: str, arm: str, case: CaseSummary) -> None:
    tags = {
        "mlflow.parentRunId": parent,
        "gpubench.case": case.case_id,
        "gpubench.kind": case.kind,
        "gpubench.arm": arm,
        "gpubench.status": case.status.value,
        "gpubench.reason": (case.reason or "")[:_MOST_VALUE],
        "gpubench.validity": case.validity.value,
        "gpubench.correctness": case.correctness,
        "gpubench.findings": " ".join(dict.fromkeys(entry.code for entry in case.findings)),
    }
    name = f"{arm}: {case.label}" if arm else case.label
    given = {key: value for key, value in tags.items() if value}
    began_ms, ended_ms = _span_ms(case.records)
    nested = client.create_run(experiment, start_time=began_ms, run_name=name, tags=given).info.run_id
    figures: dict[str, float] = {}
    for metric, found in case.metrics.items():
        ends = {metric: found.value, f"{metric}.low": found.low, f"{metric}.high": found.high}
        figures |= {key: value for key, value in ends.items() if value is not None}
    _log(client, nested, case.settings, figures)
    client.set_terminated(nested, "FAILED" if case.status in CRASHED else "FINISHED", ended_ms)


def _span_ms(records: Sequence[Record]) -> tuple[int | None, int | None]:
    """When the launches began and ended, in Unix milliseconds; None where unknown, for MLflow's own clock."""
    spans = [(record.started_unix_s, record.wall_s or 0.0) for record in records]
    known = [(begin, begin + length) for begin, length in spans if begin is not None]
    if not known:
        return None, None
    return int(min(begin for begin, _ in known) * 1000), int(max(end for _, end in known) * 1000)


def _log(client: "MlflowClient", run_id: str, parameters: Any, metrics: dict[str, float]) -> None:
    """Parameters without those that are None; metrics at step 0, as a run has one figure each."""
    from mlflow.entities import Metric, Param

    now_ms = int(time.time() * 1000)
    client.log_batch(
        run_id,
        params=[Param(key, str(value)[:_MOST_VALUE]) for key, value in parameters.items() if value not in (None, {})],
        metrics=[Metric(key, value, now_ms, 0) for key, value in metrics.items()],
    )
