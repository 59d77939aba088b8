"""Each tracker with its real library, in local folders. The libraries are large, so the test extra leaves them out."""

import json
import os
import time
from pathlib import Path

import pytest
from fakes.gate_runs import two_arms
from fakes.reports import draw_nothing
from fakes.runs import RUN_NAME, invented_run
from fakes.stored import stored

from gpubench.core.errors import StoreError
from gpubench.report.sinks.exported_run import ExportedRun, summarise_sides
from gpubench.report.sinks.sink import parse_sink
from gpubench.store.run_reader import load_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of these libraries, and of theirs
]

REPORT = "<!doctype html><title>as it was written</title>"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Neither a server nor the home folder is touched, and what a sink sets for its library is undone."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "WANDB_"))]:
        monkeypatch.delenv(name)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "data"))
    for name in ("MLFLOW_DISABLE_TELEMETRY", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, {"MLFLOW_DISABLE_TELEMETRY": "true"}.get(name, "false"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def run(tmp_path):
    there = stored(invented_run(tag="odd"), tmp_path / RUN_NAME)
    (there.folder / "report.html").write_text(REPORT)
    return ExportedRun(there, summarise_sides(there))


@pytest.fixture
def database(tmp_path):
    return f"sqlite:///{tmp_path}/runs.db"  # the library keeps databases open by their names


@pytest.fixture
def client(database):
    tracking = pytest.importorskip("mlflow.tracking", reason="an extra: pip install 'gpubench[mlflow]'")
    return tracking.MlflowClient(tracking_uri=database)


@pytest.fixture
def wandb():
    return pytest.importorskip("wandb", reason="an extra: pip install 'gpubench[wandb]'")


def tracked(client, name="gpubench"):
    """The tracked run, and those in it by their name."""
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    (parent,) = [each for each in found if "mlflow.parentRunId" not in each.data.tags]
    nested = [each for each in found if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {each.info.run_name: each for each in nested}


def test_mlflow_has_a_run_with_a_nested_run_per_case_that_was_tried(client, database, run):
    said = parse_sink(f"mlflow:{database}").send(run)
    parent, nested = tracked(client)
    assert said == f"MLflow run {parent.info.run_id} in {database}"
    assert (parent.info.run_name, parent.info.status) == (RUN_NAME, "FINISHED")
    assert parent.data.tags["gpubench.tag"] == "odd"
    assert parent.data.params["torch"] == "2.13.0"
    assert parent.data.metrics["cases_ok"] == 13
    assert sorted(nested) == sorted(
        case.label for _, case in run.cases() if case.records and case.status != "unsupported"
    )
    (case,) = [case for _, case in run.cases() if case.label == "cuda fp32 b1024"]
    there, figure = nested[case.label].data, case.metrics["throughput"]
    assert (there.params["precision"], there.params["batch_size"]) == ("fp32", "1024")
    ends = [there.metrics[f"throughput{end}"] for end in ("", ".low", ".high")]
    assert ends == [figure.value, figure.low, figure.high]
    assert there.tags["gpubench.validity"] == "valid"
    assert nested["cuda tf32 b256"].info.status == "FAILED"
    assert "illegal memory access" in nested["cuda tf32 b256"].data.tags["gpubench.reason"]
    assert nested["cuda fp32 b16384"].data.metrics == {}


def test_mlflow_keeps_the_report_and_the_figures_as_artifacts(client, database, run):
    parse_sink(f"mlflow:{database}").send(run)
    parent, _ = tracked(client)
    kept = {
        each.path: client.download_artifacts(parent.info.run_id, each.path)
        for each in client.list_artifacts(parent.info.run_id)
    }
    assert sorted(kept) == ["report.html", "run.json"]
    assert Path(kept["report.html"]).read_text() == REPORT
    assert json.loads(Path(kept["run.json"]).read_text())["run"]["name"] == RUN_NAME


def test_mlflow_tells_arms_apart(client, database, tmp_path, monkeypatch):
    draw_nothing(monkeypatch)
    made = two_arms()
    made.measured(1000.0, head=900.0, batch_size=64)
    there = load_run(made.write(tmp_path, "ab"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nightly")
    parse_sink(f"mlflow:{database}").send(ExportedRun(there, summarise_sides(there)))
    parent, nested = tracked(client, "nightly")
    assert {name: round(each.data.metrics["throughput"], -2) for name, each in nested.items()} == {
        "base: 64": 1000,
        "head: 64": 900,
    }
    assert sorted(each.path for each in client.list_artifacts(parent.info.run_id)) == [
        "report.html",
        "run-base.json",
        "run-head.json",
    ]


def test_an_mlflow_run_that_broke_off_is_marked_and_said(client, database, run, monkeypatch):
    monkeypatch.setattr(
        type(client), "log_artifact", lambda *_: (_ for _ in ()).throw(ConnectionError("gone\nfar away"))
    )
    with pytest.raises(StoreError, match=r"^ConnectionError: gone$"):
        parse_sink(f"mlflow:{database}").send(run)
    assert tracked(client)[0].info.status == "FAILED"


def test_an_mlflow_server_that_is_not_there_is_said(client, database, run):
    with pytest.raises(StoreError, match=r"^MlflowException: .*127\.0\.0\.1"):
        parse_sink("mlflow:http://127.0.0.1:9").send(run)


def test_wandb_keeps_a_run_offline_in_its_folder(wandb, run):
    said = parse_sink("wandb:speed").send(run)
    (folder,) = run.stored.folder.glob("wandb/offline-run-*")
    assert said == f"{folder} (`wandb sync` sends it)"
    (table,) = folder.glob("files/media/table/cases_*.table.json")
    content = json.loads(table.read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    (case,) = [case for _, case in run.cases() if case.label == "cuda fp32 b1024"]
    (row,) = [row for row in rows if row["case"] == case.case_id and row["metric"] == "throughput"]
    figure = case.metrics["throughput"]
    assert [row[name] for name in ("value", "low", "high", "batch_size")] == [
        figure.value,
        figure.low,
        figure.high,
        1024,
    ]
    assert [row["value"] for row in rows if row["status"] == "oom"] == [None]


def test_what_wandb_will_send_is_the_run_and_nothing_of_this_machine(wandb, run):
    parse_sink("wandb:speed").send(run)
    (log,) = run.stored.folder.glob("wandb/offline-run-*/run-*.wandb")
    records = whole_log(log)
    (begun,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (begun.project, begun.display_name, list(begun.tags)) == ("speed", RUN_NAME, ["odd"])
    config = {item.key: json.loads(item.value_json) for item in begun.config.update if item.key}
    assert config["gpu"] == "NVIDIA Imaginary 80GB"
    assert begun.host == "fake-host"  # the run's own
    summary = {}
    for record in records:
        summary |= {item.key or "/".join(item.nested_key): item.value_json for item in record.summary.update}
    assert float(summary["cuda fp32 b1024/throughput"]) == pytest.approx(84_410, rel=0.02)
    assert "cuda amp-fp16 b1024/throughput" not in summary  # invalid
    (artifact,) = [each.artifact for each in records if each.artifact.type == "report"]
    assert sorted(entry.path for entry in artifact.manifest.contents) == ["report.html", "run.json"]
    files = {path.name for path in log.parent.glob("files/*")}
    assert files <= {"media", "config.yaml", "wandb-summary.json", "output.log"}


def whole_log(path):
    """The records up to the end of the run, which another process of the library may still be writing."""
    ends = time.monotonic() + 30
    while True:
        records = read_log(path)
        kinds = [each.WhichOneof("record_type") for each in records]
        if "exit" in kinds:
            return records
        assert time.monotonic() < ends, kinds
        time.sleep(0.05)


def read_log(path):
    """The records of an offline run's log: LevelDB's format in blocks of 32 KiB, after 7 bytes of the library's own."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(parts))
            parts = b""
    return records


def test_a_wandb_run_that_broke_off_is_said_and_ended(wandb, run, monkeypatch):
    monkeypatch.setattr(wandb.Artifact, "add_file", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no artifact")))
    with pytest.raises(StoreError, match="RuntimeError: no artifact"):
        parse_sink("wandb").send(run)
    (log,) = run.stored.folder.glob("wandb/offline-run-*/run-*.wandb")
    assert [record.exit.exit_code for record in whole_log(log) if record.WhichOneof("record_type") == "exit"] == [1]
